"""What nobody asked for does not happen: no network, no foreign code, no terminal left odd."""

import os
import pty
import signal
import socket
import time
from pathlib import Path
from typing import NoReturn

import pytest
from typer.testing import CliRunner

from cdfss_bench.bench.cli import app
from cdfss_bench.errors import UserError

from ..bench.conftest import seeded_weights as seeded_weights
from ..support.program import PROGRAM, typed

VERBS = [
    "run -m prototype -d mini-lesion --episodes 2",
    "run -m prototype -d mini-lesion --episodes 2 --dry-run",
    "report",
    "report -f html",
    "verify",
    "doctor",
    "list methods",
    "list domains",
    "list runs",
    "weights list",
    "data check mini-lesion",
    "train -m ssp --source mini --episodes 2 --batch 2 -o trained",
    "predict -m prototype -d mini-lesion --count 1 -o pictures",
]


def test_nothing_but_fetch_reaches_for_the_network(
    seeded_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[object] = []

    def refuse(*arguments: object, **_more: object) -> NoReturn:
        reached.append(arguments)
        raise OSError("no network in this test")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setenv("CDFSS_WEIGHTS", str(seeded_weights))
    monkeypatch.setenv("CDFSS_DEVICE", "cpu")
    monkeypatch.chdir(tmp_path)
    for verb in VERBS:
        done = CliRunner().invoke(app, verb.split())
        assert done.exit_code in (0, 2), (verb, done.output, done.exception)
        assert not isinstance(done.exception, OSError), verb
    assert reached == []
    done = CliRunner().invoke(app, ["weights", "fetch", "resnet50"])
    assert isinstance(done.exception, UserError), done.exception
    assert reached


def test_a_plug_in_is_read_when_it_is_named_and_run_when_it_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "methods"
    folder.mkdir()
    (folder / "mine.yaml").write_text(
        "title: Mine\nkind: control\nclass: net:Mine\nsummary: leaves a trace\n"
    )
    (folder / "net.py").write_text(
        "from pathlib import Path\n"
        "from cdfss_bench.methods.controls.constant import Constant\n"
        f"Path({str(tmp_path / 'trace')!r}).touch()\n"
        "class Mine(Constant): pass\n"
    )

    # Lying in the working directory is not being named.
    assert "mine" not in typed("list methods", folder).stdout
    assert "unknown method 'mine'" in typed("run -m mine -d mini-chest", folder).stderr
    assert "mine" in typed("list methods --plugin methods", tmp_path).stdout
    assert not (tmp_path / "trace").exists()
    used = "run -m mine -d mini-chest --episodes 1 --no-cost --device cpu --plugin methods"
    assert typed(used, tmp_path).returncode == 0
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_on_a_terminal_leaves_it_clean(
    times: int, seeded_weights: Path, tmp_path: Path
) -> None:
    """A real terminal, the keys typed: the cursor is shown again, no traceback, exit code 130."""
    words = "run -m ssp -d mini-lesion -k 5 --episodes 300 --no-cost --device cpu"
    environment = {
        **os.environ, "CDFSS_WEIGHTS": str(seeded_weights), "CDFSS_RESULTS": str(tmp_path / "r"),
        "TERM": "xterm", "COLUMNS": "100",
    }  # fmt: skip
    child, terminal = pty.fork()
    if child == 0:
        # Who started the tests may have it ignored, which a child would inherit.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execve(PROGRAM, [PROGRAM, *words.split()], environment)
    shown = b""
    deadline, typed = time.monotonic() + 120, 0
    while time.monotonic() < deadline:
        try:
            shown += os.read(terminal, 4096)
        except OSError:
            break
        rows = list(tmp_path.glob("r/runs/*/*/*/episodes.jsonl"))
        if rows and rows[0].read_bytes().count(b"\n") >= 3:
            while typed < times:
                os.write(terminal, b"\x03")
                time.sleep(0.02)
                typed += 1
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    # The second may meet an interpreter that is already leaving; a shell calls both 130.
    ends = {130} if times == 1 else {130, -signal.SIGINT}
    assert os.waitstatus_to_exitcode(status) in ends, shown
    assert b"\x1b[?25l" in shown
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
    assert b"Traceback" not in shown
