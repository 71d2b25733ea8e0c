"""NIfTI volumes and DICOM files as pictures and label maps of own data."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from cdfss_bench.bench.evaluation.own_pair import read_pair
from cdfss_bench.datasets import Domain, open_domain
from cdfss_bench.datasets.core.medical import labels_of, picture_of
from cdfss_bench.datasets.core.transforms import resized_labels
from cdfss_bench.datasets.core.volumes import slices_of
from cdfss_bench.datasets.core.windows import Window
from cdfss_bench.errors import DataError

from ...support import trees
from ...support.medical import SHAPE, labels, save_dicom, save_volume, scan
from ...support.opened import refused as refused_domain

BOTH = "liver:1+kidney:2"


def write_volumes(root: Path, images: str = "imagesTr", masks: str = "labelsTr") -> None:
    for key in range(3):
        save_volume(root / images / f"{key}.nii.gz", scan(key))
        save_volume(root / masks / f"{key}.nii.gz", labels(key))


def opened(root: Path, **options: str) -> Domain:
    return open_domain("folder", None, {"path": str(root), **options}, cache=None)


def refused(root: Path, **options: str) -> DataError:
    return refused_domain("folder", path=str(root), **options)


def test_slices_that_show_a_class_are_its_pictures(tmp_path: Path) -> None:
    write_volumes(tmp_path / "ct")
    domain = opened(tmp_path / "ct", labels=BOTH)
    assert [(c.name, len(c.items)) for c in domain.classes] == [("liver", 12), ("kidney", 6)]
    assert "slices without an object, whose pictures are in no class: 6" in domain.notes
    first = domain.classes[0].items[0]
    assert first.name == "ct/imagesTr/0.nii.gz/axial-0001"
    mask = (labels()[::-1, ::-1, 1].T == 1).astype(np.uint8)
    assert np.array_equal(domain.truth(first), resized_labels(mask, 400))
    image = domain.image(first)
    assert image[domain.truth(first) == 1].mean() > 100 > image[domain.truth(first) == 0].mean()


@pytest.mark.parametrize("protocol", ["patnet", "strict"])
@pytest.mark.parametrize("control", [False, True])
def test_no_support_is_of_the_volume_of_its_query(
    tmp_path: Path, protocol: str, *, control: bool
) -> None:
    write_volumes(tmp_path / "ct")
    domain = opened(tmp_path / "ct", labels=BOTH)
    manifest = domain.episodes(3, protocol=protocol)
    for episode in domain.shuffled(manifest) if control else manifest:
        volume = episode.query.rpartition("/")[0]
        assert not any(name.startswith(volume) for name in episode.supports)


def test_a_class_of_one_volume_has_no_support(tmp_path: Path) -> None:
    write_volumes(tmp_path / "ct")
    for key in (1, 2):
        save_volume(tmp_path / f"ct/labelsTr/{key}.nii.gz", labels(key) % 2)
    with pytest.raises(DataError, match=r"class 'kidney' belong to .*0\.nii\.gz"):
        opened(tmp_path / "ct", labels=BOTH).episodes(1)


@pytest.mark.parametrize(
    ("plane", "axis", "rows"), [("sagittal", 0, 2), ("coronal", 1, 2), ("axial", 2, 1)]
)
def test_slices_lie_as_radiologists_look_at_them(
    tmp_path: Path, plane: str, axis: int, rows: int
) -> None:
    """However the axes are stored: here as left, superior, anterior."""
    upright = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    stored = upright[::-1].transpose(0, 2, 1)
    affine = np.array([[-1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    save_volume(tmp_path / "a.nii", stored, affine)
    slices = slices_of(tmp_path / "a.nii", plane)
    assert len(slices) == SHAPE[axis]
    found = labels_of(slices[2])
    wanted = np.take(upright, 2, axis)
    columns = next(a for a in range(3) if a not in (axis, rows))
    assert found.shape == (SHAPE[rows], SHAPE[columns])
    assert found[0, 0] == wanted[-1, -1]  # most anterior or superior, and right or anterior
    assert np.array_equal(found, wanted[::-1, ::-1].T)


@pytest.mark.parametrize(
    ("window", "white"),
    [
        (Window(-1000, 0, relative=False), 0.8),
        (Window(-1000, -200, relative=False), 1.0),
    ],
)
def test_a_stated_window_decides_black_and_white(
    tmp_path: Path, window: Window, white: float
) -> None:
    values = np.full(SHAPE, -1200, np.int16)
    values[:12] = -200
    save_volume(tmp_path / "a.nii", values)
    picture = np.asarray(picture_of(slices_of(tmp_path / "a.nii", "axial")[0], window))
    assert set(np.unique(picture)) == {0, round(255 * white)}


def test_other_windows_and_planes_are_other_data_and_a_second_start_reads_the_cache(
    tmp_path: Path,
) -> None:
    write_volumes(tmp_path / "ct")
    kinds = [{}, {"window": "-1000..0"}, {"window": "1%..99%"}, {"plane": "coronal"}]
    options = {"path": str(tmp_path / "ct"), "labels": "liver:1+kidney:2"}
    cache = tmp_path / "cache"
    domains = [open_domain("folder", None, {**options, **o}, cache=cache) for o in kinds]
    assert len({domain.fingerprint for domain in domains}) == 4
    pictures = [domain.image(domain.classes[0].items[3]) for domain in domains]
    assert not any(np.array_equal(pictures[0], other) for other in pictures[1:])
    again = open_domain("folder", None, options, cache=cache)
    assert np.array_equal(again.image(again.classes[0].items[3]), pictures[0])


def test_the_fingerprint_covers_volumes_and_labels(tmp_path: Path) -> None:
    write_volumes(tmp_path / "ct")
    seen = {opened(tmp_path / "ct", labels="1+2").fingerprint}
    save_volume(tmp_path / "ct/imagesTr/0.nii.gz", scan(9))
    seen.add(opened(tmp_path / "ct", labels="1+2").fingerprint)
    save_volume(tmp_path / "ct/labelsTr/0.nii.gz", labels(1))
    seen.add(opened(tmp_path / "ct", labels="1+2").fingerprint)
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("volume-7", "segmentation-7"),  # LiTS
        ("img0007", "label0007"),  # BTCV
        ("liver_7_0000", "liver_7"),  # nnU-Net
        ("liver_7", "liver_7_seg"),
    ],
)
def test_volumes_are_paired_as_data_sets_call_them(tmp_path: Path, image: str, mask: str) -> None:
    save_volume(tmp_path / f"ct/images/{image}.nii.gz", scan())
    save_volume(tmp_path / f"ct/labels/{mask}.nii.gz", labels())
    assert opened(tmp_path / "ct", labels="1").counts == (4,)


def test_a_folder_per_patient_with_patterns(tmp_path: Path) -> None:
    for key in range(2):
        for name, values in (("t1", scan(key)), ("t2", scan(key + 5)), ("seg", labels(key))):
            save_volume(tmp_path / f"brats/P{key}/P{key}_{name}.nii.gz", values)
    options = {"images": "*_t1.nii.gz", "masks": "*_seg.nii.gz", "labels": "nonzero"}
    domain = opened(tmp_path / "brats", **options)
    assert domain.counts == (8,)
    assert "P0_t1.nii.gz/axial" in domain.classes[0].items[0].image
    assert "one image and its mask" in refused(tmp_path / "brats", layout="per-image").problem


def test_unsound_volumes_are_refused(tmp_path: Path) -> None:
    write_volumes(tmp_path / "ct")
    label, image = tmp_path / "ct/labelsTr/1.nii.gz", tmp_path / "ct/imagesTr/1.nii.gz"
    save_volume(label, labels()[:-1])
    assert "23x20x6 voxels but its volume" in refused(tmp_path / "ct").problem
    save_volume(label, labels(), np.diag([1, 1, 3, 1.0]))
    assert "lies elsewhere in space" in refused(tmp_path / "ct").problem
    save_volume(label, labels() * np.float32(0.5))
    assert "holds fractions" in refused(tmp_path / "ct").problem
    save_volume(label, labels()[..., None].repeat(2, -1))
    assert "has 4 dimensions (24x20x6x2)" in refused(tmp_path / "ct").problem
    label.write_bytes(label.read_bytes()[:60])
    assert "is not a readable NIfTI volume" in refused(tmp_path / "ct").problem
    label.unlink()
    assert "needs one mask 1.nii.gz" in refused(tmp_path / "ct").problem
    save_volume(label, labels())
    image.unlink()
    trees.save(image.with_name("1.png"), trees.photo(1))
    assert "are not both volumes" in refused(tmp_path / "ct").problem


def write_films(root: Path, **tags: object) -> None:
    for key in range(3):
        values = np.where(trees.blob(key) > 0, 1224, 424).astype(np.int16)
        save_dicom(root / f"images/{key}.dcm", values, "", **tags)
        trees.save(root / f"masks/{key}.png", trees.blob(key))


@pytest.mark.parametrize(
    ("tags", "black", "white"),
    [
        ({}, 0, 255),
        ({"PhotometricInterpretation": "MONOCHROME1"}, 255, 0),
        ({"WindowCenter": 824.5, "WindowWidth": 1601}, 64, 191),
        (
            {"RescaleSlope": 2, "RescaleIntercept": -1024, "WindowCenter": [624.5, 7],
             "WindowWidth": [3201, 9]}, 64, 191,
        ),
    ],
)  # fmt: skip
def test_dicom_files_look_as_they_say(
    tmp_path: Path, tags: dict[str, object], black: int, white: int
) -> None:
    write_films(tmp_path / "xray", **tags)
    domain = opened(tmp_path / "xray")
    assert domain.counts == (3,)
    picture = np.asarray(picture_of(tmp_path / "xray/images/0.dcm", Window()))
    truth = trees.blob(0) > 0
    assert set(np.unique(picture[truth])) == {white}
    assert set(np.unique(picture[~truth])) == {black}


def test_slices_of_a_series_are_no_classes_and_never_meet(tmp_path: Path) -> None:
    for patient in range(2):
        for number in range(3):
            values = trees.blob(number).astype(np.int16)
            save_dicom(tmp_path / f"ct/images/p{patient}/{number}.dcm", values, f"1.2.{patient}")
            trees.save(tmp_path / f"ct/masks/p{patient}/{number}.png", trees.blob(number))
    assert "may be scans or classes" in refused(tmp_path / "ct").problem
    domain = opened(tmp_path / "ct", layout="groups")
    assert [(c.name, len(c.items)) for c in domain.classes] == [("object", 6)]
    for episode in domain.episodes(2):
        query = episode.query.split("/")[2]
        assert {name.split("/")[2] for name in episode.supports} == {"p0", "p1"} - {query}


def test_unsound_dicom_files_are_refused(tmp_path: Path) -> None:
    write_films(tmp_path / "xray")
    path, mask = tmp_path / "xray/images/1.dcm", tmp_path / "xray/masks/1.png"
    values = trees.blob(1).astype(np.int16)
    save_dicom(path, values, NumberOfFrames=2)
    assert "holds 2 frames" in refused(tmp_path / "xray").problem
    save_dicom(path, values, PhotometricInterpretation="PALETTE COLOR")
    with pytest.raises(DataError, match="a DICOM picture in PALETTE COLOR"):
        picture_of(path, Window())
    path.write_bytes(b"no DICOM")
    assert "is not a readable DICOM file" in refused(tmp_path / "xray").problem
    mask.unlink()
    save_dicom(path, values)
    save_dicom(mask.with_suffix(".dcm"), values)
    assert "in which masks are not read" in refused(tmp_path / "xray").problem


def test_a_dicom_file_may_be_a_pair_of_ones_own(tmp_path: Path) -> None:
    write_films(tmp_path / "xray")
    images = [tmp_path / f"xray/images/{key}.dcm" for key in range(2)]
    pair = read_pair(images[0], images[1:], [tmp_path / "xray/masks/1.png"], 32)
    assert set(np.unique(pair.query)) == {0, 255}
    assert pair.query.shape == (trees.HEIGHT, trees.WIDTH, 3)


@pytest.mark.parametrize("window", ["5", "9..1", "1%..99", "-1%..5%", "auto..1"])
def test_windows_that_are_not_understood_are_refused(tmp_path: Path, window: str) -> None:
    write_films(tmp_path / "xray")
    assert f"window={window} names no range" in refused(tmp_path / "xray", window=window).problem


@pytest.mark.parametrize(("name", "kind"), [("nibabel", "NIfTI"), ("pydicom", "DICOM")])
def test_without_its_library_one_sentence_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    (write_volumes if name == "nibabel" else write_films)(tmp_path / "data")
    real = importlib.import_module

    def absent(module: str) -> object:
        if module == name:
            raise ModuleNotFoundError(module)
        return real(module)

    monkeypatch.setattr(importlib, "import_module", absent)
    error = refused(tmp_path / "data")
    assert error.problem.startswith(kind)
    assert error.hint == "pip install 'cdfss-bench[medical]'"
