"""Tiny trees in the published layouts, with the traps that the real downloads hold.

Every picture holds lossless PNG bytes whatever its name says, so that what is read does not depend
on a JPEG library. The traps: stray `.jpeg`, `.txt` and hidden files, names whose string order is
not their numeric order, RGB masks, X-rays without a mask, a second hospital's masks without the
suffix, one tile in two class folders, palette label maps whose colours are not their labels.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

WIDTH, HEIGHT = 40, 28

ISIC_IMAGES = "ISIC/ISIC2018_Task1-2_Training_Input"
ISIC_MASKS = "ISIC/ISIC2018_Task1_Training_GroundTruth"
FILMS = "LungSegmentation/CXR_png"
LUNGS = "LungSegmentation/masks"
VOC = "VOCdevkit/VOC2012"


def photo(key: int, width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    """An RGB picture, another for every key."""
    rows, columns = np.mgrid[0:height, 0:width]
    planes = (rows * 5 + key * 17, columns * 3 + key * 29, (rows + columns) * 2 + key * 7)
    return (np.stack(planes, axis=-1) % 256).astype(np.uint8)


def blob(key: int, width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    """A grey mask: a rectangle of 255 on 0, at another place for every key."""
    top, left = key % (height // 3), key % (width // 3)
    mask = np.zeros((height, width), np.uint8)
    mask[top : top + height // 2, left : left + width // 2] = 255
    return mask


def as_rgb(mask: Pixels) -> Pixels:
    """The mask in three equal channels, as some downloads have it."""
    return np.repeat(mask[..., None], 3, axis=-1)


def save(path: Path, pixels: Pixels) -> None:
    """PNG bytes, whatever the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "PNG", compress_level=1)


def save_labels(path: Path, labels: Pixels) -> None:
    """A palette PNG whose indices are the labels and whose colours are not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels)
    image.putpalette([(value * 91 + 40) % 256 for value in range(768)])
    image.save(path, "PNG", compress_level=1)


def touch(path: Path) -> None:
    """An empty file, for what only lists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def write_fss(root: Path, classes: Iterable[str] = ("bus", "arrow"), count: int = 10) -> None:
    """Class folders of `count` pictures, with strays beside them."""
    for place, name in enumerate(classes):
        folder = root / "FSS-1000" / name
        for number in range(1, count + 1):
            save(folder / f"{number}.jpg", photo(place * 16 + number))
            save(folder / f"{number}.png", as_rgb(blob(number)))
        save(folder / "10.jpeg", photo(99))
        touch(folder / "._1.jpg")
        touch(folder / "Thumbs.db")


SCENES = ("1241_sat_20", "1241_sat_3", "983_sat_01", "77_sat_55")


def write_deepglobe(root: Path, tiles: Mapping[int, Sequence[str]] | None = None) -> None:
    """Six class folders; a tile of several classes is one picture with a mask of each class."""
    chosen = dict.fromkeys(range(1, 7), SCENES) if tiles is None else tiles
    for folder, stems in chosen.items():
        base = root / "Deepglobe" / str(folder) / "test"
        for place, stem in enumerate(stems):
            save(base / "origin" / f"{stem}.jpg", photo(place))
            save(base / "groundtruth" / f"{stem}.png", as_rgb(blob(folder * 5 + place)))
        touch(base / "origin" / "list.txt")


def write_isic(root: Path, folders: Mapping[int, Iterable[int]] | None = None) -> None:
    """Three image folders with interleaved numbers and one flat folder of masks."""
    chosen = {1: (1, 4, 30), 2: (2, 5, 100), 3: (3, 6, 20)} if folders is None else folders
    for folder, numbers in chosen.items():
        for number in numbers:
            name = f"ISIC_{number:07d}"
            save(root / ISIC_IMAGES / str(folder) / f"{name}.jpg", photo(number))
            save(root / ISIC_MASKS / f"{name}_segmentation.png", blob(number))
    touch(root / ISIC_MASKS / "ATTRIBUTION.txt")


def write_class_table(
    path: Path, classes: Mapping[str, Iterable[int]], *, encoding: str = "utf-8"
) -> None:
    """ISIC's class table: the image numbers of each class."""
    rows = [f"ISIC_{number:07d},{name}" for name, numbers in classes.items() for number in numbers]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["ID,Class", *sorted(rows)]) + "\n", encoding=encoding)


def write_chest(root: Path, pairs: int = 4, *, unmasked: int = 2, montgomery: int = 3) -> None:
    """Films of two hospitals; those without a mask come first."""
    for number in range(1, unmasked + pairs + 1):
        name = f"CHNCXR_{number:04d}_{number % 2}"
        save(root / FILMS / f"{name}.png", photo(number)[..., 0])
        if number > unmasked:
            save(root / LUNGS / f"{name}_mask.png", blob(number))
    for number in range(1, montgomery + 1):
        name = f"MCUCXR_{number:04d}_{number % 2}"
        save(root / FILMS / f"{name}.png", photo(number + 50)[..., 0])
        save(root / LUNGS / f"{name}.png", blob(number))


TRAINING = {
    "2007_000032": (1, 15),
    "2007_000039": (6, 20),
    "2008_000009": (11,),
    "2008_000074": (16, 1),
    "2009_000012": (2, 6),
    "2010_000700": (11, 16),
    "2011_000001": (20, 2, 15),
}
VALIDATION = {
    "2007_500001": (1, 2),
    "2007_500002": (1,),
    "2007_500003": (2, 8),
    "2007_500004": (8,),
}


def write_pascal(
    root: Path,
    training: Mapping[str, Sequence[int]] = TRAINING,
    validation: Mapping[str, Sequence[int]] = VALIDATION,
    *,
    base: str = VOC,
    lists: str = "splits/pascal",
) -> None:
    """Pictures, label maps with a border of 255, and the fold lists in label order."""
    for split, images in (("trn", training), ("val", validation)):
        for place, (name, labels) in enumerate(images.items()):
            save(root / base / "JPEGImages" / f"{name}.jpg", photo(place))
            save_labels(root / base / "SegmentationClassAug" / f"{name}.png", label_map(labels))
        for fold in range(4):
            lines = sorted(
                (label, name)
                for name, labels in images.items()
                for label in labels
                if (label - 1) // 5 == fold
            )
            path = root / lists / split / f"fold{fold}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{name}__{label:02d}\n" for label, name in lines))


def label_map(labels: Sequence[int], width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    """Upright bands of the labels on 0, each with a border of 255 at its right."""
    result = np.zeros((height, width), np.uint8)
    band = width // (len(labels) + 1)
    for place, label in enumerate(labels):
        result[4:-4, place * band : (place + 1) * band - 2] = label
        result[4:-4, (place + 1) * band - 2 : (place + 1) * band] = 255
    return result


def write_folder(root: Path, classes: Sequence[str] = ("cat", "dog"), count: int = 6) -> None:
    """Own images in class folders; masks named in the three ways that are found."""
    for place, name in enumerate(classes):
        for number in range(count):
            key = place * 20 + number
            ending = ("", "_mask", "_segmentation")[number % 3]
            save(root / "images" / name / f"{number:03d}.jpg", photo(key))
            save(root / "masks" / name / f"{number:03d}{ending}.png", blob(key))


def write_flat(root: Path, count: int = 6) -> None:
    """Own images in one folder, with a label map of two objects each."""
    for number in range(count):
        save(root / "images" / f"{number:03d}.jpg", photo(70 + number))
        save(root / "masks" / f"{number:03d}.png", label_map((1, 2)) % 255)


def write_coco(
    root: Path, count: int = 6, *, annotations: str = "annotations.json", images: str = "images"
) -> None:
    """COCO-style annotations: a rectangle of the one class, a triangle of the other."""
    listed: list[dict[str, object]] = []
    drawn: list[dict[str, object]] = []
    for number in range(1, count + 1):
        save(root / images / f"{number}.jpg", photo(60 + number))
        listed.append(
            {"id": number, "file_name": f"{number}.jpg", "width": WIDTH, "height": HEIGHT}
        )
        for category, polygon in (
            (3, [number, 2, number + 9, 2, number + 9, 11, number, 11]),
            (7, [20, 15, 35, 15, 28, 15 + number]),
        ):
            drawn.append(
                {
                    "id": len(drawn) + 1,
                    "image_id": number,
                    "category_id": category,
                    "segmentation": [polygon],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": 7, "name": "wedge"}, {"id": 3, "name": "box"}, {"id": 9, "name": "none"}]
    page = {"images": listed, "annotations": drawn, "categories": categories}
    (root / annotations).parent.mkdir(parents=True, exist_ok=True)
    (root / annotations).write_text(json.dumps(page))


def write_pairs(root: Path, image: str, mask: str, count: int = 3) -> None:
    """Pictures and grey masks under paths that hold `{}` for the number."""
    for number in range(count):
        save(root / image.format(number), photo(number))
        save(root / mask.format(number), blob(number))


def write_suim(root: Path, count: int = 3) -> None:
    """Each picture shows fish and sea floor."""
    for number in range(count):
        save(root / "SUIM/images" / f"d_r_{number}_.jpg", photo(number))
        for place, name in enumerate(("FV", "SR")):
            save(root / "SUIM/masks" / name / f"d_r_{number}_.png", blob(number + place))


def write_kvasir(root: Path, count: int = 3) -> None:
    """Pictures and masks of one name."""
    write_pairs(root / "Kvasir-SEG", "images/cju{}.jpg", "masks/cju{}.jpg", count)


PATCHES = {
    "P0003_0_256_0_256": (1, 9),
    "P0003_0_256_128_384": (1,),
    "P0004_0_256_0_256": (9, 15),
    "P0007_0_256_0_256": (15,),
    "P0007_256_512_0_256": (),
}
"""Patches of aerial images, with the classes that they show."""


def write_isaid(root: Path, patches: Mapping[str, Sequence[int]] = PATCHES) -> None:
    """Patches with index maps; one picture shows no class."""
    for place, (name, labels) in enumerate(patches.items()):
        save(root / "iSAID/val/images" / f"{name}.png", photo(place))
        mask = label_map(labels)
        save(root / "iSAID/val/semantic_png" / f"{name}_instance_color_RGB.png", mask)


def write_isaid_lists(root: Path, patches: Mapping[str, Sequence[int]] = PATCHES) -> None:
    """The three fold lists."""
    for fold in range(3):
        lines = [
            f"{name}__{label:02d}\n"
            for name, labels in patches.items()
            for label in labels
            if (label - 1) // 5 == fold
        ]
        path = root / "val" / f"fold{fold}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines))


def write_nucleus(root: Path, count: int = 3, *, base: str = "Nucleus/stage1_train") -> None:
    """RGBA pictures, each with two nuclei in a mask of its own."""
    for number in range(count):
        folder = root / base / f"{number:02d}ab"
        opaque = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
        save(folder / "images" / f"{folder.name}.png", np.concatenate([photo(number), opaque], -1))
        for nucleus in range(2):
            save(folder / "masks" / f"{number}{nucleus}cd.png", spot(number + 10 * nucleus))


def spot(key: int) -> Pixels:
    """A mask of one small square."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[2 + key % 10 : 10 + key % 10, key : key + 8] = 255
    return mask


def write_pothole(root: Path, count: int = 3) -> None:
    """Pictures of two suffixes with black and white masks."""
    for number in range(count):
        name = f"testing_pothole600_{number}"
        save(root / "Pothole/images" / f"{name}.{('jpg', 'png')[number % 2]}", photo(number))
        save(root / "Pothole/masks" / f"{name}.png", blob(number))


def write_weedmap(
    root: Path, count: int = 3, *, base: str = "WeedMap", maps: Sequence[str] = ("iMap", "color")
) -> None:
    """Two fields of RGB tiles with both kinds of maps, and a field without RGB."""
    for field in ("000", "003"):
        for number in range(count):
            frame = f"frame{number:04d}"
            save(root / base / field / "tile/RGB" / f"{frame}.png", photo(number + int(field)))
            save(root / base / field / "tile/NIR" / f"{frame}.png", photo(number)[..., 0])
            for kind in maps:
                name = f"{field}_{frame}_GroundTruth_{kind}.png"
                path = root / base / field / "groundtruth" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                crop, weed = spot(number) > 0, spot(number + 20) > 0
                if kind == "iMap":
                    codes = np.where(crop, 10000, np.where(weed, 2, 0)).astype(np.uint16)
                    Image.fromarray(codes).save(path)
                else:
                    colours = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
                    colours[crop], colours[weed] = (0, 255, 0), (255, 0, 0)
                    save(path, colours)
    save(root / base / "005/tile/CIR/frame0000.png", photo(9))


EXTENDED: Mapping[str, Callable[[Path], None]] = {
    "isaid": write_isaid,
    "kvasir": write_kvasir,
    "nucleus": write_nucleus,
    "pothole": write_pothole,
    "suim": write_suim,
    "weedmap": write_weedmap,
}
"""What writes a default tree of each domain of the suite `extended`."""

WRITERS: Mapping[str, Callable[[Path], None]] = {
    "fss1000": write_fss,
    "deepglobe": write_deepglobe,
    "isic": write_isic,
    "chestxray": write_chest,
    "pascal": write_pascal,
}
"""What writes a default tree of each published domain."""


def write_all(root: Path) -> None:
    """All five trees under one root."""
    for write in WRITERS.values():
        write(root)
