"""`data fetch`: public files come, for the others a person is told what to do."""

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from cdfss_bench.datasets import DOMAINS
from cdfss_bench.datasets.core.card import Download
from cdfss_bench.datasets.prepare import fetching
from cdfss_bench.datasets.prepare.fetching import damage_of, fetch
from cdfss_bench.datasets.prepare.running import prepare
from cdfss_bench.errors import DataError

from ...support import downloads


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    monkeypatch.setenv("no_proxy", "*")
    folder = tmp_path / "site"
    folder.mkdir()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def publish(monkeypatch: pytest.MonkeyPatch, name: str, address: str) -> None:
    """The domain's files at another address, without the hashes of the real ones."""
    card = DOMAINS.card(name)
    moved = tuple(
        entry.model_copy(update={"url": f"{address}/{entry.file}", "sha256": ""})
        for entry in card.downloads
    )
    changed = card.model_copy(update={"downloads": moved})
    monkeypatch.setattr(DOMAINS, "card", lambda _name: changed)


def test_what_is_fetched_can_be_prepared(
    site: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = site
    downloads.zipped(downloads.isic_images(), folder / "ISIC2018_Task1-2_Training_Input.zip")
    downloads.zipped(downloads.isic_masks(), folder / "ISIC2018_Task1_Training_GroundTruth.zip")
    (folder / "isic_class_id.csv").write_bytes(downloads.class_table())
    publish(monkeypatch, "isic", address)
    # A table is no archive, so without the published hash it would be refused.
    monkeypatch.setattr(fetching, "damage_of", lambda _path: "")
    root = tmp_path / "root [1]"
    assert [file.state for file in fetch("isic", root)] == ["downloaded"] * 3
    assert [file.state for file in fetch("isic", root)] == ["here"] * 3
    summary = prepare("isic", root)
    assert summary.counts["1 nevus"] == 2
    assert not [odd for odd in summary.odd if "no use here" in odd]


def test_a_failure_does_not_stop_the_others(
    site: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = site
    downloads.zipped(downloads.isic_masks(), folder / "ISIC2018_Task1_Training_GroundTruth.zip")
    publish(monkeypatch, "isic", address)
    images, masks, table = fetch("isic", tmp_path)
    assert (images.state, masks.state, table.state) == ("failed", "downloaded", "failed")
    assert "ISIC2018_Task1-2_Training_Input.zip could not be downloaded (HTTP Error 404" in (
        images.detail
    )
    note = tmp_path / "downloads/isic/ISIC2018_Task1_Training_GroundTruth.zip.sha256"
    assert note.read_text().endswith("  ISIC2018_Task1_Training_GroundTruth.zip\n")


@pytest.mark.parametrize("name", ["deepglobe", "chestxray", "fss1000"])
def test_what_needs_a_person_is_said_in_two_lines(tmp_path: Path, name: str) -> None:
    (file,) = fetch(name, tmp_path)
    assert file.state == "by hand"
    assert file.detail.startswith("open https://")
    assert file.hint == (
        f"put the file into {tmp_path / 'downloads' / name}, then: "
        f"cdfss-bench data prepare {name} --data-root {tmp_path}"
    )
    # Browsers save Kaggle's file as archive.zip.
    downloads.zipped({"x": b""}, tmp_path / "downloads" / name / "archive.zip")
    assert fetch(name, tmp_path)[0].state == "here"


def test_a_domain_without_a_download_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no download"):
        fetch("mini-chest", tmp_path)


def test_every_download_of_a_card_has_an_address_and_a_name_that_stays_in_its_folder() -> None:
    entries: list[Download] = [e for n in DOMAINS.names() for e in DOMAINS.card(n).downloads]
    assert len(entries) >= 16
    for entry in entries:
        assert bool(entry.url) != bool(entry.page and entry.click)
        assert not entry.file.startswith("/")
        assert ".." not in entry.file
        assert entry.sha256 == "" or len(entry.sha256) == 64
        assert entry.sha256 or not entry.file.endswith((".txt", ".csv"))


def test_damage_of_archives_is_found(tmp_path: Path) -> None:
    files = {f"{n}.png": bytes([n]) * 5000 for n in range(5)}
    whole = {
        "a.zip": downloads.zipped(files, tmp_path / "a.zip"),
        "a.tar": downloads.tarred(files, tmp_path / "a.tar"),
        "a.tgz": downloads.tarred(files, tmp_path / "a.tgz"),
    }
    for path in whole.values():
        assert damage_of(path) == ""
    for path in whole.values():
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        assert damage_of(path) != ""
    downloads.zipped(files, whole["a.zip"])
    whole["a.zip"].write_bytes(whole["a.zip"].read_bytes().replace(bytes([3]) * 99, b"x" * 99, 1))
    assert damage_of(whole["a.zip"]) == "3.png in it is damaged"
    (tmp_path / "page").write_text(" <!DOCTYPE html>")
    assert damage_of(tmp_path / "page") == "it is a web page"
