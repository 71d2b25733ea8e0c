"""Own data with more folders than are read, or with masks in the place of pictures."""

import shutil
from pathlib import Path

import pytest

from cdfss_bench.bench.evaluation.record_notes import notes_of
from cdfss_bench.bench.planning.episode_set import EpisodeSet
from cdfss_bench.datasets import Domain, open_domain
from cdfss_bench.datasets.check.own_folders import folder_notes, refuse_masks_for_pictures
from cdfss_bench.datasets.check.report import check_domain
from cdfss_bench.errors import DataError

from ...support import trees


@pytest.fixture
def data(tmp_path: Path) -> Path:
    trees.write_folder(tmp_path, ("cat", "dog"), count=3)
    return tmp_path


def opened(data: Path, **options: str) -> Domain:
    return open_domain("folder", data, options, cache=None)


@pytest.mark.parametrize("name", ["Images", "labels", "GroundTruth"])
def test_a_folder_beside_those_that_are_read_is_named(name: str, data: Path) -> None:
    assert folder_notes(opened(data)) == []
    (data / name).mkdir()
    (data / "scripts").mkdir()
    expected = f"the folder '{name}' beside images and masks is not read"
    assert folder_notes(opened(data)) == [expected]
    assert expected in notes_of(EpisodeSet(opened(data), shots=1, seed=0, protocol="patnet"))
    found = check_domain("folder", data, full=False)
    assert [(f.kind, f.problem) for f in found.findings if f.kind == "stray"] == [
        ("stray", expected)
    ]


def test_masks_in_place_of_pictures_are_refused(data: Path) -> None:
    refuse_masks_for_pictures(opened(data))
    one = data / "images" / "dog"
    shutil.rmtree(one)
    shutil.copytree(data / "masks" / "dog", one)
    episodes = EpisodeSet(opened(data), shots=1, seed=0, protocol="patnet")
    with pytest.raises(DataError, match=r"dog.* is its own mask: the two files are the same"):
        _ = episodes.manifest
    found = check_domain("folder", data, full=False)
    assert not found.usable
    assert "is its own mask" in found.findings[0].problem


def test_one_folder_for_pictures_and_masks_is_refused(data: Path) -> None:
    with pytest.raises(DataError, match="is its own mask"):
        refuse_masks_for_pictures(opened(data, images="masks"))
