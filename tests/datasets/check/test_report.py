"""The report on a domain's files: counts, population, damage, oddities, and hints."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cdfss_bench.datasets import DOMAINS, open_domain
from cdfss_bench.datasets.check.findings import Finding
from cdfss_bench.datasets.check.report import DomainReport, check_domain, check_domains

from ...support import trees

PUBLISHED = tuple(trees.WRITERS)
FIRST = f"{trees.ISIC_IMAGES}/1/ISIC_0000001.jpg"
SECOND = f"{trees.ISIC_MASKS}/ISIC_0000004_segmentation.png"
THIRD = f"{trees.ISIC_MASKS}/ISIC_0000002_segmentation.png"


@pytest.fixture
def isic(tmp_path: Path) -> Path:
    """Six lesions of each class, so that nothing but the population is odd."""
    folders = {place: tuple(range(place, 18 + place, 3)) for place in (1, 2, 3)}
    trees.write_isic(tmp_path, folders)
    return tmp_path


@pytest.mark.parametrize("full", [False, True])
def test_a_sound_tree_is_usable_and_counted(isic: Path, full: bool) -> None:
    report = check_domain("isic", isic, full=full)
    assert report.usable
    assert report.profile == "partial: 18 of 2594 images"
    assert report.fingerprint == open_domain("isic", isic).fingerprint
    assert report.classes == {"nevus": 6, "seborrheic_keratosis": 6, "melanoma": 6}
    assert report.findings == []
    assert report.sizes == ({f"{trees.WIDTH}x{trees.HEIGHT}": 18} if full else {})


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_domain_can_be_checked(tmp_path: Path, name: str) -> None:
    trees.WRITERS[name](tmp_path)
    report = check_domain(name, tmp_path, full=True)
    assert report.usable
    assert report.domain == name
    assert sum(report.classes.values()) == sum(open_domain(name, tmp_path).counts)


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_absent_domain_is_not_usable_and_the_layout_is_shown(tmp_path: Path, name: str) -> None:
    report = check_domain(name, tmp_path, full=True)
    assert not report.usable
    assert (report.profile, report.fingerprint, report.classes) == ("", "", {})
    (finding,) = report.findings
    title = DOMAINS.card(name).title
    assert finding.problem.startswith(f"no {title} under {tmp_path}: expected\n")
    assert finding.hint == (
        f"cdfss-bench data fetch {name} --data-root DIR, then: "
        f"cdfss-bench data prepare {name} --data-root DIR"
    )


def test_the_lists_folder_is_looked_into(tmp_path: Path) -> None:
    trees.write_pascal(tmp_path / "data", lists="nowhere")
    trees.write_pascal(tmp_path / "other", lists="own")
    root, lists = tmp_path / "data", tmp_path / "other" / "own"
    assert not check_domain("pascal", root, full=False).usable
    assert check_domain("pascal", root, lists, full=False).usable


def test_damaged_files_are_found_when_every_file_is_opened(isic: Path) -> None:
    (isic / FIRST).write_bytes((isic / FIRST).read_bytes()[:60])
    (isic / SECOND).write_bytes(b"<html>")
    assert check_domain("isic", isic, full=False).usable
    report = check_domain("isic", isic, full=True)
    assert not report.usable
    assert len(report.findings) == 2
    assert report.findings[0].problem.startswith(f"{isic / FIRST} is not a readable image (")
    assert report.findings[1].problem.startswith(f"{isic / SECOND} is not a readable image (")
    assert {finding.hint for finding in report.findings} == {
        ("delete the file, then make it anew: "
        f"cdfss-bench data prepare isic --data-root {isic}")
    }  # fmt: skip


def test_an_image_and_its_mask_that_are_both_damaged_are_both_found(isic: Path) -> None:
    mask = isic / trees.ISIC_MASKS / "ISIC_0000001_segmentation.png"
    for path in (isic / FIRST, mask):
        path.write_bytes(b"")
    findings = check_domain("isic", isic, full=True).findings
    assert [finding.problem.partition(" is not ")[0] for finding in findings] == [
        str(isic / FIRST),
        str(mask),
    ]


def test_empty_masks_and_other_sizes_are_found_when_every_file_is_opened(isic: Path) -> None:
    trees.save(isic / SECOND, np.zeros((trees.HEIGHT, trees.WIDTH), np.uint8))
    trees.save(isic / THIRD, trees.blob(2, 62, 36))
    assert check_domain("isic", isic, full=False).findings == []
    report = check_domain("isic", isic, full=True)
    assert report.usable
    empty, size = (finding.problem for finding in report.findings)
    assert empty == f"{SECOND} is empty and serves as an image of class 'nevus'"
    assert size == (
        f"{THIRD} is 62x36 but its image is {trees.WIDTH}x{trees.HEIGHT}; "
        "both are brought to 400x400, as published"
    )


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, ["class 'bus' has 1 images: it cannot be asked"]),
        (2, ["class 'bus' has 2 images: at most 1-shot"]),
        (5, ["class 'bus' has 5 images: at most 4-shot"]),
        (6, []),
    ],
)
def test_classes_too_small_for_five_shots_are_named(
    tmp_path: Path, count: int, expected: list[str]
) -> None:
    trees.write_fss(tmp_path, ["bus"], count=count)
    findings = check_domain("fss1000", tmp_path, full=False).findings
    assert [finding.problem for finding in findings] == expected
    assert all(finding.hint.startswith("complete the class") for finding in findings)


def test_a_tile_of_several_classes_is_opened_in_each(tmp_path: Path) -> None:
    trees.write_deepglobe(tmp_path, {1: trees.SCENES, 2: trees.SCENES})
    for folder in (1, 2):
        path = tmp_path / f"Deepglobe/{folder}/test/groundtruth/983_sat_01.png"
        trees.save(path, np.zeros((28, 40), np.uint8))
    findings = check_domain("deepglobe", tmp_path, full=True).findings
    assert [finding.problem for finding in findings if finding.kind == "empty"] == [
        f"Deepglobe/{folder}/test/groundtruth/983_sat_01.png is empty and serves as "
        f"an image of class '{name}'"
        for folder, name in ((1, "agriculture"), (2, "urban"))
    ]
    assert not any(finding.kind == "duplicate" for finding in findings)


def test_a_mini_domain_is_always_sound() -> None:
    report = check_domain("mini-chest", None, full=True)
    assert report.usable
    assert report.profile == "mini-1"
    assert report.classes == {"lung": 60}
    assert report.findings == []


def test_an_unknown_domain_is_a_finding_with_the_nearest_name(tmp_path: Path) -> None:
    report = check_domain("issic", tmp_path, full=False)
    assert not report.usable
    assert report.findings == [("absent", "unknown domain 'issic'", "did you mean isic or isaid?")]


def test_masks_with_other_values_than_black_and_white_are_counted(isic: Path) -> None:
    mask = trees.blob(4)
    mask[0, 0] = 77
    trees.save(isic / SECOND, mask)
    (finding,) = check_domain("isic", isic, full=True).findings
    assert finding.kind == "values"
    assert finding.problem.startswith(
        f"1 masks hold other values than 0 and 255, for example {SECOND}"
    )


def test_files_that_are_never_read_are_named(isic: Path) -> None:
    trees.save(isic / trees.ISIC_IMAGES / "1" / "ISIC_0000099.jpeg", trees.photo(9))
    trees.save(isic / trees.ISIC_MASKS / "ISIC_0000098_segmentation.png", trees.blob(9))
    findings = check_domain("isic", isic, full=True).findings
    assert [finding.problem for finding in findings] == [
        f"1 file is never read in {trees.ISIC_IMAGES}/1: ISIC_0000099.jpeg",
        f"1 file is never read in {trees.ISIC_MASKS}: ISIC_0000098_segmentation.png",
    ]


def test_the_same_picture_twice_in_a_domain_is_named(isic: Path) -> None:
    trees.save(isic / FIRST, trees.photo(2))
    (finding,) = check_domain("isic", isic, full=True).findings
    assert finding.kind == "duplicate"
    assert finding.problem == (
        f"the same picture under several names: {FIRST}, {trees.ISIC_IMAGES}/2/ISIC_0000002.jpg"
    )


def test_a_source_picture_that_is_tested_on_is_named_in_both(tmp_path: Path) -> None:
    trees.write_pascal(tmp_path)
    trees.write_chest(tmp_path, pairs=8)
    trees.write_fss(tmp_path, ["bus"])
    source = tmp_path / trees.VOC / "JPEGImages" / "2007_000039.jpg"
    trees.save(source, trees.photo(40))
    (tmp_path / "FSS-1000/bus/3.jpg").write_bytes(source.read_bytes())
    pascal, fss = check_domains(["pascal", "fss1000"], tmp_path, full=True)
    for report in (pascal, fss):
        leaks = [finding.problem for finding in report.findings if finding.kind == "leak"]
        assert any("2007_000039.jpg" in leak and "bus/3.jpg" in leak for leak in leaks)
    quick = check_domains(["pascal", "fss1000"], tmp_path, full=False)
    assert not [f for report in quick for f in report.findings if f.kind == "leak"]


def test_the_fingerprint_of_names_does_not_know_how_files_are_encoded(tmp_path: Path) -> None:
    for place, level in (("a", 1), ("b", 9)):
        trees.write_chest(tmp_path / place)
        path = tmp_path / place / trees.FILMS / "CHNCXR_0003_1.png"
        Image.open(path).copy().save(path, compress_level=level)
    one, two = (check_domain("chestxray", tmp_path / place, full=False) for place in "ab")
    assert one.fingerprint != two.fingerprint
    assert one.names == two.names


# -- how a report reads --------------------------------------------------------------------------


def test_a_report_in_words(isic: Path) -> None:
    report = check_domain("isic", isic, full=False)
    assert report.to_text().splitlines() == [
        "isic: partial: 18 of 2594 images",
        "  images: nevus 6, seborrheic_keratosis 6, melanoma 6",
        (
            "  known populations: isic-2594 (2,594 images), isic-2594-sk-nevus-mel (2,594 images), "
            "isic-2594-nevus-mel-sk (2,594 images)"
        ),
        f"  fingerprint: {report.fingerprint[:16]}, names {report.names[:16]}",
    ]


def test_a_report_in_words_names_findings_and_the_hint_of_each_kind() -> None:
    findings = [Finding("a", f"file {number} is damaged", "get it") for number in range(7)]
    findings.append(Finding("b", "one is empty", ""))
    report = DomainReport("isic", usable=False, findings=findings)
    assert report.to_text().splitlines() == [
        "isic: not usable",
        *(f"  - file {number} is damaged" for number in range(5)),
        "  - and 2 more of the kind (--json has all)",
        "    hint: get it",
        "  - one is empty",
    ]


@pytest.mark.parametrize(
    ("count", "last"),
    [(8, "c7 7"), (9, "c7 7, 1 more"), (240, "c7 7, 232 more")],
)
def test_a_report_in_words_shows_eight_classes_at_most(count: int, last: str) -> None:
    classes = {f"c{number}": number for number in range(count)}
    text = DomainReport("fss1000", usable=True, profile="fss-240x10", classes=classes).to_text()
    assert text.splitlines()[1].endswith(last)
    assert text.count(",") == min(count, 8) - (count <= 8)


def test_a_report_in_json_holds_every_field(isic: Path) -> None:
    report = check_domain("isic", isic, full=True)
    assert json.loads(json.dumps(report.to_json())) == {
        "domain": "isic",
        "usable": True,
        "profile": "partial: 18 of 2594 images",
        "fingerprint": report.fingerprint,
        "classes": {"nevus": 6, "seborrheic_keratosis": 6, "melanoma": 6},
        "expected": dict.fromkeys(
            ["isic-2594", "isic-2594-sk-nevus-mel", "isic-2594-nevus-mel-sk"], 2594
        ),
        "names": report.names,
        "note": "",
        "sizes": {f"{trees.WIDTH}x{trees.HEIGHT}": 18},
        "findings": [],
    }


def test_the_remedies_for_own_data_are_not_those_for_published_data(tmp_path: Path) -> None:
    trees.write_folder(tmp_path)
    trees.save(tmp_path / "masks/cat/000.png", trees.blob(0) * 0)
    first = tmp_path / "images/cat/001.jpg"
    (tmp_path / "images/dog/000.jpg").write_bytes(first.read_bytes())
    report = check_domain("folder", tmp_path, full=True)
    assert report.usable
    kinds = {finding.kind: finding.hint for finding in report.findings}
    assert set(kinds) == {"note", "empty", "duplicate"}
    assert "draw the mask" in kinds["empty"]
    assert "labels=, colors= or ignore=" in kinds["note"]
    assert "published" not in report.to_text()


def test_a_mask_of_own_data_in_doubt_is_not_usable_and_its_option_is_named(tmp_path: Path) -> None:
    trees.write_folder(tmp_path)
    trees.save(tmp_path / "masks/cat/000.png", trees.blob(0) // 255 * 3)
    report = check_domain("folder", tmp_path, full=True)
    assert not report.usable
    (finding,) = report.findings
    assert "hold the values 3 and 255" in finding.problem
    assert "-d 'folder[labels=3,ignore=255]'" in finding.hint
    assert "none needed" not in report.to_text()
