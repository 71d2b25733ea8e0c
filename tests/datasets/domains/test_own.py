"""Own data in class folders, without a line of code; two further sets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cdfss_bench.datasets import DOMAINS, open_domain
from cdfss_bench.datasets.check.report import check_domain
from cdfss_bench.errors import DataError

from ...support import trees

# -- class folders ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [".", "mugs", "my mugs/[new] ü"])
def test_class_folders_are_classes_and_every_image_is_asked(tmp_path: Path, path: str) -> None:
    trees.write_folder(tmp_path / path, ("dog", "cat"))
    domain = open_domain("folder", tmp_path, path=path)
    assert [(entry.id, entry.name) for entry in domain.classes] == [(0, "cat"), (1, "dog")]
    assert domain.profile == "own: 12 images of 2 classes"
    assert domain.is_complete
    manifest = domain.episodes(shots=5, protocol="strict")
    assert len(manifest) == 12
    assert len({episode.query for episode in manifest}) == 12
    tensors = domain.load(manifest[0])
    assert tensors.support_masks.shape == (5, 400, 400)


def test_masks_of_one_and_zero_are_read_as_they_are(tmp_path: Path) -> None:
    trees.write_folder(tmp_path, ("cat",))
    for number, path in enumerate(sorted((tmp_path / "masks/cat").iterdir())):
        (trees.save_labels if number % 2 else trees.save)(path, trees.blob(number) // 255)
    domain = open_domain("folder", tmp_path, cache=None)
    zero, one = domain.classes[0].items[:2]
    assert domain.truth(zero).any()
    assert domain.truth(one).any()
    findings = check_domain("folder", tmp_path, full=True).findings
    assert [finding.kind for finding in findings if finding.kind in ("values", "empty")] == []


@pytest.mark.parametrize("suffix", ["JPG", "jpeg", "PNG", "bmp", "tif", "webp"])
def test_any_suffix_of_a_picture_will_do(tmp_path: Path, suffix: str) -> None:
    for number in range(2):
        trees.save(tmp_path / f"images/cat/{number}.{suffix}", trees.photo(number))
        trees.save(tmp_path / f"masks/cat/{number}.png", trees.blob(number))
    (tmp_path / "images/cat/notes.txt").write_text("mine")
    assert open_domain("folder", tmp_path).counts == (2,)


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m", " ", "\udcff"])
def test_a_class_that_no_table_can_show_is_refused(tmp_path: Path, name: str) -> None:
    trees.write_folder(tmp_path, ("cat", "dog"))
    for place in ("images", "masks"):
        (tmp_path / place / "cat").rename(tmp_path / place / name)
    with pytest.raises(DataError, match="which a table cannot show") as caught:
        _ = open_domain("folder", tmp_path, cache=None).classes
    assert caught.value.problem.isprintable()
    assert caught.value.hint


def test_an_image_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    trees.write_folder(tmp_path, ("cat",))
    for place in ("images/cat", "masks/cat"):
        first = min((tmp_path / place).iterdir())
        first.rename(first.with_stem("\udcff"))
    with pytest.raises(DataError, match="is not UTF-8") as caught:
        _ = open_domain("folder", tmp_path, cache=None).classes
    assert caught.value.problem.isprintable()


def test_without_folders_the_layout_is_shown(tmp_path: Path) -> None:
    report = check_domain("folder[path=nowhere]", tmp_path, full=False)
    assert not report.usable
    assert "images/<class>/<name>.jpg" in report.findings[0].problem
    assert "name their folder" in report.findings[0].hint


# -- suites and rights -----------------------------------------------------------------------------


def test_further_domains_are_not_in_the_suite_of_the_field() -> None:
    extra = {name for name in DOMAINS.names() if DOMAINS.card(name).suite == "extra"}
    assert extra == {"coco", "folder"}
    extended = {name for name in DOMAINS.names() if DOMAINS.card(name).suite == "extended"}
    assert extended == {*trees.EXTENDED}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_root_can_be_evaluated_on(tmp_path: Path) -> None:
    trees.write_folder(tmp_path / "data", ("cat",))
    for path in (*(tmp_path / "data").rglob("*"), tmp_path / "data"):
        path.chmod(path.stat().st_mode & 0o555)
    domain = open_domain("folder", tmp_path / "data")
    assert domain.load(domain.episodes(shots=1)[0]).query_mask.any()
    for path in (tmp_path / "data", *(tmp_path / "data").rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)
