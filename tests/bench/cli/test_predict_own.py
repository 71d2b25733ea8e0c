"""`predict --query`: the mask of a picture of one's own, from supports of one's own."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cdfss_bench.bench.cli import app
from cdfss_bench.bench.evaluation.episode_export import export
from cdfss_bench.bench.evaluation.own_pair import read_pair
from cdfss_bench.bench.planning.episode_set import EpisodeSet
from cdfss_bench.datasets import open_domain
from cdfss_bench.errors import UserError

from ...support.program import program

MINI = ("predict", "-m", "prototype", "--suite", "mini")


def typed(*words: object, method: Sequence[str] = MINI) -> None:
    done = CliRunner().invoke(app, [*method, *map(str, words)])
    if isinstance(done.exception, UserError):
        raise done.exception
    assert done.exit_code == 0, done.output


def drawn(folder: Path, size: tuple[int, int] = (40, 30), value: int = 255) -> tuple[Path, ...]:
    """A query, a support and its mask: a red square on green."""
    width, height = size
    mask = np.zeros((height, width), np.uint8)
    mask[5:20, 8:25] = 1
    picture = np.where(mask[..., None] == 1, (220, 20, 20), (20, 160, 20)).astype(np.uint8)
    paths = folder / "q.png", folder / "s.png", folder / "m.png"
    Image.fromarray(picture[:, ::-1]).save(paths[0])
    Image.fromarray(picture).save(paths[1])
    Image.fromarray(mask * np.uint8(value)).save(paths[2])
    return paths


def test_the_mask_is_the_one_that_a_run_predicts_for_the_same_pictures(tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    line = f"run -m prototype -d mini-lesion -k 2 --episodes 2 --no-cost --save-masks {masks} \
        --results {tmp_path / 'r'}"
    assert CliRunner().invoke(app, line.split()).exit_code == 0
    export(EpisodeSet(open_domain("mini-lesion"), 2, 0, "patnet", 2), tmp_path)
    index = json.loads((tmp_path / "index.json").read_text())
    for asked in index["episodes"]:
        words: list[object] = ["--query", tmp_path / asked["query"]["image"]]
        for support in asked["supports"]:
            words += ["--support", tmp_path / support["image"]]
            words += ["--mask", tmp_path / support["mask"]]
        typed(*words, "-o", tmp_path / "out.png")
        found = np.asarray(Image.open(tmp_path / "out.png"))
        assert np.array_equal(found, np.asarray(Image.open(masks / asked["prediction"])))
        assert set(np.unique(found)) == {0, 255}


def test_mask_and_overlay_have_the_size_of_the_query(tmp_path: Path) -> None:
    query, support, mask = drawn(tmp_path)
    words = ("--query", query, "--support", support, "--mask", mask, "-o")
    typed(*words, tmp_path / "out" / "out.png")
    found = Image.open(tmp_path / "out" / "out.png")
    assert (found.size, found.mode) == ((40, 30), "L")
    truth = np.asarray(Image.open(mask))[:, ::-1]
    both = (np.asarray(found) & truth > 0).sum() / (np.asarray(found) | truth > 0).sum()
    assert both > 0.5
    typed(*words, tmp_path / "out.jpg", "--overlay")
    assert Image.open(tmp_path / "out.jpg").size == (40, 30)
    typed(*words, tmp_path / "over.png", "--overlay")
    shown, before = (np.asarray(Image.open(p)).astype(int) for p in (tmp_path / "over.png", query))
    assert ((shown != before).any(-1) <= (np.asarray(found) > 0)).all()
    assert (shown != before).any()


def test_the_answer_does_not_depend_on_where_the_files_lie(tmp_path: Path) -> None:
    pairs: list[object] = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        query, support, mask = drawn(tmp_path / name)
        pairs.append(read_pair(query, [support], [mask], 64).episode)
    assert pairs[0] == pairs[1]


def test_masks_of_other_values_are_read_as_those_of_own_data(tmp_path: Path) -> None:
    query, support, mask = drawn(tmp_path, value=3)
    with pytest.raises(UserError, match="in place of 0 and 1, or 0 and 255"):
        read_pair(query, [support], [mask], 64)
    found = read_pair(query, [support], [mask], 64, "labels=3")
    assert found.support_masks.unique().tolist() == [0, 1]
    with pytest.raises(UserError, match="unknown option of masks: 'path'"):
        read_pair(query, [support], [mask], 64, "path=x")


def test_pictures_are_turned_as_viewers_show_them(tmp_path: Path) -> None:
    query, support, mask = drawn(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(query).save(tmp_path / "turned.jpg", exif=exif)
    found = read_pair(tmp_path / "turned.jpg", [support], [mask], 64)
    assert found.query.shape == (40, 30, 3)


def test_what_cannot_be_segmented_is_refused_in_a_sentence(tmp_path: Path) -> None:
    query, support, mask = drawn(tmp_path)
    pair, out = ("--support", support, "--mask", mask), ("-o", tmp_path / "out.png")

    def refused(sentence: str, *words: object, method: Sequence[str] = MINI) -> None:
        with pytest.raises(UserError, match=sentence):
            typed(*words, method=method)
        assert not (tmp_path / "out.png").exists()

    refused("--query is missing", *pair, *out)
    refused("as many masks as supports: 0 and 0", "--query", query, *out)
    refused("as many masks as supports: 0 and 1", "--query", query, "--support", support, *out)
    refused("1 and 2 are named", "--query", query, *pair, "--support", support, *out)
    refused("is missing", "--query", tmp_path / "none.png", *pair, *out)
    lost = ("--support", support, "--mask", tmp_path / "none.png")
    refused(r"--mask .*none\.png is missing", "--query", query, *lost, *out)
    refused(r"out\.png would be a folder of pictures", *out)
    refused("is not a PNG file", "--query", query, *pair, "-o", tmp_path)
    refused("is not a PNG file", "--query", query, *pair, "-o", tmp_path / "out.jpg")
    refused("would replace a picture", "--query", query, *pair, "-o", mask)
    for option in (("-d", "mini-lesion"), ("-k", "5"), ("--count", "2"), ("--protocol", "strict")):
        refused("is for episodes of a domain", "--query", query, *pair, *out, *option)
    refused("one method", "--query", query, *pair, *out, "-m", "all-foreground")
    control = ("predict", "-m", "prototype@shuffled-support", "--suite", "mini")
    refused("needs the classes of a domain", "--query", query, *pair, *out, method=control)
    (tmp_path / "text.png").write_text("no picture")
    refused("not a readable image", "--query", tmp_path / "text.png", *pair, *out)
    Image.new("L", (40, 30)).save(mask)
    refused(r"m\.png shows no object", "--query", query, *pair, *out)
    Image.new("L", (30, 40), 255).save(mask)
    refused("is 30x40 but its picture", "--query", query, *pair, *out)


def test_a_mistake_ends_with_exit_code_2(tmp_path: Path) -> None:
    query, support, _ = drawn(tmp_path)
    done = program(*MINI, "--query", query, "--support", support, "-o", tmp_path / "out.png")
    assert done.returncode == 2
    assert done.stderr.startswith("error: a query needs as many masks as supports")
    assert "Traceback" not in done.stderr
