"""Trees like the official downloads, with what is odd about them, packed or not."""

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from . import trees

Pixels = NDArray[np.uint8]
Files = dict[str, bytes]

LAND = {
    "agriculture": (255, 255, 0),
    "urban": (0, 255, 255),
    "rangeland": (255, 0, 255),
    "forest": (0, 255, 0),
    "water": (0, 0, 255),
    "barren": (255, 255, 255),
    "unknown": (0, 0, 0),
}


def png(pixels: Pixels) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()


def jpg(pixels: Pixels) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=90)
    return out.getvalue()


def palette_png(labels: Pixels) -> bytes:
    out = io.BytesIO()
    image = Image.fromarray(labels)
    image.putpalette([(value * 91 + 40) % 256 for value in range(768)])
    image.save(out, "PNG")
    return out.getvalue()


def scene(cover: Mapping[tuple[int, int], Sequence[tuple[str, int]]]) -> Pixels:
    """A land-cover mask of 2448x2448: by tile (row, column), bands of (class, rows of 408).

    Tiles that are not named are agriculture.
    """
    mask = np.zeros((2448, 2448, 3), np.uint8)
    mask[:] = LAND["agriculture"]
    for (row, column), bands in cover.items():
        top = row * 408
        for name, rows in bands:
            mask[top : top + rows, column * 408 : (column + 1) * 408] = LAND[name]
            top += rows
    return mask


ALL_SIX: Sequence[tuple[str, int]] = tuple((name, 68) for name in LAND if name != "unknown")
COVER: Mapping[tuple[int, int], Sequence[tuple[str, int]]] = {
    (0, 0): ALL_SIX,
    (0, 1): (("forest", 20), ("water", 388)),  # 20 rows are 4.9 %: stays
    (0, 2): (("forest", 19), ("water", 389)),  # 19 rows are 4.66 %: a sliver
    (0, 3): (("unknown", 300), ("barren", 108)),  # much unknown stays
    (0, 4): (("unknown", 5), ("urban", 200), ("rangeland", 203)),  # a sliver of unknown
    (0, 5): (("unknown", 408),),
}
"""One tile of each kind; the other thirty are agriculture alone."""


def photograph(seed: int) -> Pixels:
    """A satellite picture of 2448x2448 whose every tile is another."""
    small = np.random.RandomState(seed).randint(0, 256, (36, 36, 3)).astype(np.uint8)
    return np.kron(small, np.ones((68, 68, 1), np.uint8))


def deepglobe(scenes: Sequence[int] = (119,), top: str = "") -> Files:
    files: Files = {f"{top}class_dict.csv": b"name,r,g,b\n", f"{top}metadata.csv": b"image_id\n"}
    for number in scenes:
        files[f"{top}train/{number}_sat.jpg"] = jpg(photograph(number))
        files[f"{top}train/{number}_mask.png"] = png(scene(COVER))
    files[f"{top}valid/204494_sat.jpg"] = jpg(np.zeros((8, 8, 3), np.uint8))
    files[f"{top}test/100877_sat.jpg"] = jpg(np.zeros((8, 8, 3), np.uint8))
    return files


LESIONS = {
    "ISIC_0000000": "nevus",
    "ISIC_0000002": "melanoma",
    "ISIC_0000011": "nevus",
    "ISIC_0000012": "seborrheic_keratosis",
}


def isic_images() -> Files:
    folder = "ISIC2018_Task1-2_Training_Input"
    files = {f"{folder}/{n}.jpg": jpg(trees.photo(i)) for i, n in enumerate(LESIONS)}
    return {**files, f"{folder}/LICENSE.txt": b"CC", f"{folder}/ATTRIBUTION.txt": b"by"}


def isic_masks() -> Files:
    folder = "ISIC2018_Task1_Training_GroundTruth"
    files = {f"{folder}/{n}_segmentation.png": png(trees.blob(i)) for i, n in enumerate(LESIONS)}
    return {**files, f"{folder}/LICENSE.txt": b"CC"}


def class_table() -> bytes:
    rows = "".join(f"{name},{kind}\r\n" for name, kind in LESIONS.items())
    return f"ID,Class\r\n{rows}".encode()


def chest(top: str = "Lung Segmentation", *, twice: bool = False) -> Files:
    """Kaggle's folder, which holds a copy of itself under `data/`."""
    files: Files = {f"{top}/NLM-MontgomeryCXRSet-ReadMe.pdf": b"%PDF"}
    for number in range(1, 6):
        name = f"CHNCXR_{number:04d}_{number % 2}"
        files[f"{top}/CXR_png/{name}.png"] = png(trees.photo(number)[..., 0])
        files[f"{top}/ClinicalReadings/{name}.txt"] = b"normal"
        if number > 2:
            files[f"{top}/masks/{name}_mask.png"] = png(trees.blob(number))
    for number in range(1, 4):
        name = f"MCUCXR_{number:04d}_{number % 2}"
        files[f"{top}/CXR_png/{name}.png"] = png(trees.photo(number + 50)[..., 0])
        files[f"{top}/masks/{name}.png"] = png(trees.blob(number))
    files[f"{top}/masks/Thumbs.db"] = b"windows"
    files[f"{top}/test/CHNCXR_0099_1.png"] = png(trees.photo(99)[..., 0])
    if twice:
        files |= {f"data/{path}": data for path, data in files.items()}
    return files


def fss(top: str = "fewshot_data/fewshot_data", classes: Sequence[str] = ("bus", "arrow")) -> Files:
    files: Files = {}
    for place, name in enumerate(classes):
        for number in range(1, 11):
            files[f"{top}/{name}/{number}.jpg"] = jpg(trees.photo(place * 16 + number))
            files[f"{top}/{name}/{number}.png"] = png(trees.as_rgb(trees.blob(number)))
    return files


def voc() -> Files:
    top = "VOCdevkit/VOC2012"
    files: Files = {}
    for place, (name, labels) in enumerate({**trees.TRAINING, **trees.VALIDATION}.items()):
        files[f"{top}/JPEGImages/{name}.jpg"] = jpg(trees.photo(place))
        files[f"{top}/Annotations/{name}.xml"] = b"<annotation/>"
        if place % 2 == 0:
            files[f"{top}/SegmentationClass/{name}.png"] = palette_png(trees.label_map(labels))
    files[f"{top}/JPEGImages/2012_000001.jpg"] = jpg(trees.photo(77))
    return files


def sbd() -> Files:
    every = {**trees.TRAINING, **trees.VALIDATION}
    files: Files = {"benchmark_RELEASE/dataset/train.txt": b"x\n"}
    for place, (name, labels) in enumerate(every.items()):
        plain = trees.label_map(labels)
        plain[plain == 255] = 0
        files[f"benchmark_RELEASE/dataset/cls/{name}.mat"] = mat(plain, compressed=place % 3 > 0)
        files[f"benchmark_RELEASE/dataset/inst/{name}.mat"] = b"MATLAB"
    return files


def fold_lists(tmp: Path) -> Files:
    """The lists of `trees.write_pascal`, as `pascal/trn/fold0.txt` and so on."""
    trees.write_pascal(tmp, lists="lists/pascal")
    base = tmp / "lists"
    return {
        path.relative_to(base).as_posix(): path.read_bytes() for path in base.rglob("fold*.txt")
    }


def mat(labels: Pixels, *, compressed: bool) -> bytes:
    """A level-5 MATLAB file with the struct GTcls {Boundaries, Segmentation, CategoriesPresent}."""
    out = io.BytesIO()
    parts = {
        "Boundaries": np.zeros((1, 2), np.uint8),
        "Segmentation": labels,
        "CategoriesPresent": np.unique(labels[labels > 0])[:, None],
    }
    savemat(out, {"GTcls": parts}, do_compression=compressed)
    return out.getvalue()


def files_of(root: Path) -> Files:
    """A tree as what an archive of it holds."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def nucleus(scratch: Path) -> Files:
    """A folder per image, without one above them."""
    trees.write_nucleus(scratch, base="nucleus")
    return files_of(scratch / "nucleus")


def weedmap(scratch: Path) -> Files:
    """The fields of `RedEdge`, with other channels and both kinds of maps."""
    trees.write_weedmap(scratch, base="weedmap/RedEdge")
    return files_of(scratch / "weedmap")


def isaid(top: str = "iSAID_patches") -> Files:
    """Patches of both parts."""
    files: Files = {}
    for place, (name, labels) in enumerate(trees.PATCHES.items()):
        mask = trees.label_map(labels, 256, 256)
        for part in ("train", "val"):
            files[f"{top}/{part}/images/{name}.png"] = png(trees.photo(place, 256, 256))
            truth = f"{top}/{part}/semantic_png/{name}_instance_color_RGB.png"
            files[truth] = png(mask)
    return files


def potholes() -> Files:
    """Pairs of two parts and two sources, in three colours of marks."""
    files: Files = {}
    for part, kind, colour in (
        ("training", "gaps384", (0, 255, 0)),
        ("training", "pothole600", (255, 0, 0)),
        ("testing", "pothole600", (250, 3, 0)),
    ):
        top = f"pothole-mix/{part}/{kind}"
        for number in range(2):
            mask = np.zeros((trees.HEIGHT, trees.WIDTH, 3), np.uint8)
            mask[trees.blob(number) > 0] = colour
            key = len(files)
            files[f"{top}/images/{number:04d}.jpg"] = jpg(trees.photo(key))
            files[f"{top}/masks/{number:04d}.png"] = png(mask)
    return files


# -- packing ---------------------------------------------------------------------------------------


def unpacked(files: Files, folder: Path) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def zipped(files: Files, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(files: Files, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = "w:gz" if path.name.endswith("gz") else "w"
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


Packer = Callable[[Files, Path], Path]
