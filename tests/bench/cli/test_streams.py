"""Output that cannot be encoded or written ends in a sentence, never in a traceback."""

import codecs
import errno
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdfss_bench.bench.cli.streams import OutputError, finish, guard_streams
from cdfss_bench.files import write_atomically

from ...support.program import PROGRAM
from ...support.records import write_cell

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_cell(tmp_path, episodes=30)
    write_cell(tmp_path, "hsnet", episodes=30)
    return tmp_path


def shell(line: str, results: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A line of the shell, in which `cdfss-bench` is the program and `$R` the results folder."""
    bash = ["bash", "-o", "pipefail", "-c", line.replace("cdfss-bench", PROGRAM)]
    known = {**os.environ, "R": str(results), **environment}
    return subprocess.run(bash, capture_output=True, env=known, check=False, cwd=results)


VERBS = ["report --results $R", "list methods", "list runs --results $R", "--help",
         "verify --results $R",
         "compare ssp hsnet --results $R", "list runs --results $R --json"]  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_writes_in_an_encoding_that_lacks_its_characters(
    verb: str, results: Path
) -> None:
    done = shell(f"cdfss-bench {verb}", results, PYTHONIOENCODING="ascii")
    assert b"Traceback" not in done.stderr
    assert done.stdout.isascii()
    assert done.stderr.isascii()
    assert done.returncode == (1 if verb.startswith("verify") else 0)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "ascii", "utf-8"])
def test_the_table_is_the_same_but_for_its_characters(encoding: str, results: Path) -> None:
    plain = shell("cdfss-bench report --results $R", results, PYTHONIOENCODING="utf-8")
    done = shell("cdfss-bench report --results $R", results, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, plain.stderr)
    assert "ssp" in done.stdout.decode(encoding)
    assert "?" not in done.stdout.decode(encoding)


def test_an_ascii_locale_is_no_obstacle(results: Path) -> None:
    done = shell(
        "cdfss-bench report --results $R", results,
        LC_ALL="POSIX", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0",
    )  # fmt: skip
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


@needs_full
@pytest.mark.parametrize(
    "verb", ["report --results $R", "list methods", "--help", "list runs --json --results $R"]
)
def test_a_full_disk_is_one_sentence_and_exit_code_2(verb: str, results: Path) -> None:
    done = shell(f"cdfss-bench {verb} > /dev/full", results)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: standard output cannot be written: No space left")
    assert len(done.stderr.splitlines()) == 2  # and how to correct it


@needs_full
def test_a_run_on_a_full_disk_keeps_its_record(tmp_path: Path) -> None:
    words = "run -m all-foreground -d mini-lesion --episodes 2 --no-cost --results $R"
    done = shell(f"cdfss-bench {words} > /dev/full", tmp_path)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert done.stderr.splitlines()[-2].startswith(b"error: standard output cannot be written")
    assert list(tmp_path.glob("runs/*/*/*/run.json"))


@needs_full
def test_talk_that_is_lost_stops_no_work(results: Path) -> None:
    done = shell("cdfss-bench new method mine --to $R/mine 2> /dev/full", results)
    assert (done.returncode, len(done.stdout.splitlines())) == (2, 3)
    done = shell("cdfss-bench report --results $R > /dev/full 2> /dev/full", results)
    assert done.returncode == 2


def test_a_closed_output_is_one_sentence_and_exit_code_2(results: Path) -> None:
    done = shell("cdfss-bench report --results $R >&-", results)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: standard output cannot be written: it is closed")
    assert len(done.stderr.splitlines()) == 2


def test_a_closed_output_becomes_no_file(results: Path) -> None:
    """The number of standard output is free: the next file must not get it."""
    done = shell("cdfss-bench report --results $R -f csv -o $R/table.csv >&-", results)
    assert done.returncode == 0, done.stderr
    assert (results / "table.csv").read_text().startswith("suite,")


def test_closed_talk_is_no_mistake(results: Path) -> None:
    done = shell("cdfss-bench new method mine --to $R/mine 2>&-", results)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 3)
    done = shell("cdfss-bench report --results $R/nowhere 2>&- >&-", results)
    assert done.returncode == 2


@pytest.mark.parametrize("verb", ["report --results $R", "list methods --json", "--help"])
def test_a_reader_who_leaves_is_quiet(verb: str, results: Path) -> None:
    for reader in ("head -1", "true"):
        done = shell(f"cdfss-bench {verb} | {reader}", results)
        assert done.returncode == 0
        assert done.stderr == b""


@needs_full
@pytest.mark.parametrize("target", ["/dev/full", "$R/runs"])
def test_an_output_file_that_cannot_be_written_is_one_sentence(target: str, results: Path) -> None:
    done = shell(f"cdfss-bench report --results $R -o {target}", results)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: ")
    assert b"Traceback" not in done.stderr
    assert FULL.is_char_device()


def test_an_output_file_may_be_a_pipe_or_a_device(results: Path) -> None:
    done = shell("cdfss-bench report --results $R -f csv -o /dev/stdout | cat", results)
    assert (done.returncode, done.stdout[:6]) == (0, b"suite,")
    null = Path(os.devnull)
    write_atomically(null, "gone")
    assert null.is_char_device()


def test_a_link_keeps_pointing_where_it_did(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    write_atomically(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there").read_text() == "new"


# -- The streams themselves ----------------------------------------------------------------------


class Raw(io.RawIOBase):
    """Where bytes go; fails as it is told to."""

    def __init__(self, number: int = 0):
        super().__init__()
        self.number, self.written = number, b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        if self.number:
            raise OSError(self.number, os.strerror(self.number))
        self.written += bytes(data)
        return len(data)


Guard = Callable[..., tuple[Raw, Raw]]


@pytest.fixture
def guard(monkeypatch: pytest.MonkeyPatch) -> Guard:
    def guarded(out: int = 0, talk: int = 0, encoding: str = "ascii") -> tuple[Raw, Raw]:
        raws = Raw(out), Raw(talk)
        for name, raw in zip(("stdout", "stderr"), raws, strict=True):
            stream = io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding)
            monkeypatch.setattr(sys, name, stream)
        guard_streams()
        return raws

    return guarded


def test_characters_look_alike(guard: Guard) -> None:
    out, talk = guard()
    sys.stdout.write("ssp · 1–5 ± 0.5 × é ≥ → ─│╭ █ … 漢 \udcff\n")
    sys.stderr.write("naïve · ½ 10⁶\n")
    assert finish() == 0
    assert out.written == b"ssp - 1-5 +/- 0.5 x e >= -> -|| # ... ? ?\n"
    assert talk.written == b"naive - 1/2 10^6\n"


def test_what_an_encoding_has_stays(guard: Guard) -> None:
    out, _ = guard(encoding="cp1252")
    sys.stdout.write("é · ± … ─ ≥\n")
    finish()
    assert codecs.decode(out.written, "cp1252") == "é · ± … - >=\n"


@pytest.mark.parametrize(
    ("number", "is_left"), [(errno.ENOSPC, False), (errno.EIO, False), (errno.EPIPE, True)]
)
def test_an_output_that_fails_says_so_once(number: int, *, is_left: bool, guard: Guard) -> None:
    guard(out=number)
    sys.stdout.write("data\n")
    with pytest.raises(OutputError) as caught:
        finish()
    assert (caught.value.is_left, caught.value.reason) == (is_left, os.strerror(number))
    sys.stdout.write("more\n")
    assert finish() == 0


def test_talk_fails_only_where_its_reader_left(guard: Guard) -> None:
    guard(talk=errno.ENOSPC)
    sys.stderr.write("talk\n")
    assert finish() == 2
    guard(talk=errno.EPIPE)
    with pytest.raises(OutputError):
        sys.stderr.write("talk\n")


def test_streams_of_a_test_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    guard_streams()
    assert isinstance(sys.stdout, io.StringIO)
