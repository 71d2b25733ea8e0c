"""Downloads from servers that break off, lie about lengths, send wrong bytes or change."""

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import SSLError

import numpy as np
import pytest

from cdfss_bench import downloads
from cdfss_bench.downloads import Settings, Unreachable, WrongBytes, download
from cdfss_bench.errors import UserError

CONTENT = np.random.RandomState(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = Settings(timeout=5, patience=2, pause=0.01)


@dataclass
class Server:
    """What a local server sends and how it misbehaves.

    Attributes:
        ranges: whether parts may be asked for.
        break_after: bytes after which each connection breaks.
        breaks: connections that break; further ones do not.
        claim: added to every length that is stated.
        shift: added to the place at which a part begins, without saying so.
        statuses: sent for the first requests instead of an answer.
        asked: the Range header of each request.
    """

    address: str = ""
    content: bytes = CONTENT
    etag: str = '"one"'
    ranges: bool = True
    break_after: int = 0
    breaks: int = 0
    claim: int = 0
    shift: int = 0
    chunked: bool = False
    statuses: list[int] = field(default_factory=list[int])
    asked: list[str] = field(default_factory=list[str])


class Handler(BaseHTTPRequestHandler):
    state: Server

    def do_GET(self) -> None:
        state, wanted = self.state, self.headers.get("Range", "")
        state.asked.append(wanted)
        if state.statuses:
            self.send_error(state.statuses.pop(0))
            return
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)
        fresh = self.headers.get("If-Range", state.etag) == state.etag
        total = len(state.content)
        start, end = 0, total
        if state.ranges and match and fresh:
            start = int(match[1])
            end = int(match[2]) + 1 if match[2] else total
            if start >= total:
                self.send_error(416)
                return
            self.send_response(206)
            claimed = total + state.claim
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{claimed}")
        else:
            self.send_response(200)
        if state.etag:
            self.send_header("ETag", state.etag)
        if not state.chunked:
            self.send_header("Content-Length", str(end - start + state.claim))
        self.end_headers()
        body = state.content[start + state.shift : end + state.shift]
        breaking = state.breaks > 0
        state.breaks -= breaking
        try:
            self.wfile.write(body[: state.break_after] if breaking else body)
        except (BrokenPipeError, ConnectionResetError):
            return  # the client has all that it wanted

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(downloads, "_CHUNK", 10_000)
    state = Server()
    handler = type("Own", (Handler,), {"state": state})
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    state.address = f"http://127.0.0.1:{httpd.server_address[1]}/data.zip"
    thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield state
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def fetched(server: Server, folder: Path, sha256: str = SHA256) -> bytes:
    path = download(server.address, folder / "data.zip", sha256=sha256, settings=QUICK)
    assert [p.name for p in folder.iterdir()] == ["data.zip"]
    return path.read_bytes()


@pytest.mark.parametrize("content", [CONTENT, b"small", b""])
@pytest.mark.parametrize(
    ("ranges", "chunked"), [(True, False), (False, False), (False, True)],
    ids=["in parts", "whole", "without a length"],
)  # fmt: skip
def test_a_file_comes_in_one_request(
    server: Server, tmp_path: Path, content: bytes, *, ranges: bool, chunked: bool
) -> None:
    server.content, server.ranges, server.chunked = content, ranges, chunked
    assert fetched(server, tmp_path, hashlib.sha256(content).hexdigest()) == content
    assert content == b"" or server.asked == ["bytes=0-"]


def test_what_is_here_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.zip").write_bytes(CONTENT)
    assert fetched(server, tmp_path) == CONTENT
    assert server.asked == []


def test_a_server_that_breaks_off_is_resumed(server: Server, tmp_path: Path) -> None:
    server.break_after, server.breaks = 20_000, 9
    assert fetched(server, tmp_path) == CONTENT
    assert len(server.asked) > 9
    assert sum(int(a.split("=")[1].split("-")[0]) % 75_000 > 0 for a in server.asked) >= 5


def test_a_server_that_is_busy_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.break_after, server.breaks = 20_000, 1
    path = tmp_path / "data.zip"
    seen: list[int] = []

    def listener(done: int, total: int) -> None:
        if not seen:
            server.statuses = [503, 429]
        seen.append(done)
        assert total == len(CONTENT)

    patient = replace(QUICK, patience=3)
    download(server.address, path, sha256=SHA256, settings=patient, listener=listener)
    assert path.read_bytes() == CONTENT
    assert seen == sorted(seen)
    assert seen[-1] == len(CONTENT)


def test_a_server_that_gives_up_leaves_what_came_and_the_next_command_resumes(
    server: Server, tmp_path: Path
) -> None:
    server.break_after, server.breaks = 20_000, 1000

    def dies(done: int, total: int) -> None:
        del total
        if done >= 100_000:
            server.break_after = 0

    with pytest.raises(Unreachable, match="broke off after") as caught:
        download(server.address, tmp_path / "data.zip", settings=QUICK, listener=dies)
    assert caught.value.hint == "type the same command again: what came is kept"
    assert {p.name for p in tmp_path.iterdir()} == {"data.zip.part", "data.zip.part.json"}
    server.breaks = 0
    server.asked.clear()
    assert fetched(server, tmp_path) == CONTENT
    assert server.asked == ["bytes=100000-299999"]


def test_a_file_that_changed_meanwhile_is_not_mixed(server: Server, tmp_path: Path) -> None:
    server.break_after, server.breaks = 20_000, 1

    def then_down(done: int, total: int) -> None:
        del done, total
        server.statuses = [503] * 3

    with pytest.raises(Unreachable):
        download(
            server.address,
            tmp_path / "data.zip",
            settings=replace(QUICK, patience=0),
            listener=then_down,
        )
    server.statuses = []
    server.content = CONTENT[::-1]
    server.etag = '"two"'
    assert fetched(server, tmp_path, "") == CONTENT[::-1]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_server_that_claims_too_much_is_found_out(
    server: Server, tmp_path: Path, ranges: bool
) -> None:
    server.claim, server.ranges = 1000, ranges
    with pytest.raises(UserError) as caught:
        download(server.address, tmp_path / "data.zip", settings=QUICK)
    assert "300,000 of 301,000 bytes" in caught.value.problem or "416" in caught.value.problem
    assert not (tmp_path / "data.zip").exists()


def test_a_server_that_claims_too_little_is_found_out_by_the_hash(
    server: Server, tmp_path: Path
) -> None:
    server.claim, server.ranges = -1000, False
    with pytest.raises(WrongBytes, match="is not the published file: its sha256 is"):
        download(server.address, tmp_path / "data.zip", sha256=SHA256, settings=QUICK)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ranges", [True, False])
def test_wrong_bytes_are_deleted(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.ranges = ranges
    server.content = CONTENT[:-1] + b"\0"
    with pytest.raises(WrongBytes, match="is not the published file"):
        download(server.address, tmp_path / "data.zip", sha256=SHA256, settings=QUICK)
    assert list(tmp_path.iterdir()) == []


def test_parts_from_the_wrong_place_are_found_out_by_the_hash(
    server: Server, tmp_path: Path
) -> None:
    server.shift = 3
    server.content = CONTENT + b"more"
    with pytest.raises(UserError):
        download(server.address, tmp_path / "data.zip", sha256=SHA256, settings=QUICK)
    assert not (tmp_path / "data.zip").exists()


def test_what_the_caller_finds_wrong_is_said(server: Server, tmp_path: Path) -> None:
    with pytest.raises(WrongBytes, match="it is a web page"):
        download(
            server.address,
            tmp_path / "data.zip",
            damage=lambda path: "it is a web page" if path.stat().st_size == 300_000 else "",
            settings=QUICK,
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_one_sentence_and_is_not_repeated(
    server: Server, tmp_path: Path, status: int
) -> None:
    server.statuses = [status]
    with pytest.raises(Unreachable, match=str(status)):
        download(server.address, tmp_path / "data.zip", settings=QUICK)
    assert len(server.asked) == 1


def test_only_the_web_is_downloaded_from(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="only http and https"):
        download("file:///etc/passwd", tmp_path / "x")


@pytest.mark.parametrize(
    "notes",
    [
        '{"url": 3}',
        "[]",
        '{"url": "URL", "version": "one", "size": 299999}',
        '{"url": "URL", "validator": "one", "total": 300000, "pieces": [[0, 300000, 5]]}',
    ],
)
def test_damaged_notes_on_a_partial_download_begin_it_anew(
    server: Server, tmp_path: Path, notes: str
) -> None:
    (tmp_path / "data.zip.part").write_bytes(b"x" * 300_000)
    (tmp_path / "data.zip.part.json").write_text(notes.replace("URL", server.address))
    assert fetched(server, tmp_path) == CONTENT


def test_a_connection_that_breaks_in_any_way_is_resumed(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, broken = HTTPResponse.read, [OSError(113, "No route to host"), SSLError(1, "bad record")]

    def breaks(self: HTTPResponse, amt: int | None = None) -> bytes:
        data = read(self, amt)
        if broken:
            raise broken.pop()
        return data

    monkeypatch.setattr(HTTPResponse, "read", breaks)
    assert fetched(server, tmp_path) == CONTENT
    assert server.asked == ["bytes=0-", "bytes=0-299999", "bytes=0-299999"]


def test_two_processes_do_not_write_one_file(server: Server, tmp_path: Path) -> None:
    from filelock import FileLock

    with (
        FileLock(tmp_path / ".data.zip.lock"),
        pytest.raises(UserError, match="another process is downloading"),
    ):
        download(server.address, tmp_path / "data.zip", settings=QUICK)


def test_a_disk_too_small_is_refused_first(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil
    from types import SimpleNamespace

    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=10))
    with pytest.raises(UserError, match="are free in"):
        download(server.address, tmp_path / "data.zip", settings=QUICK)
