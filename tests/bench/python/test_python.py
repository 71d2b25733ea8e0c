"""The functions of `cdfss_bench`: the same weights, cells and masks as on the command line."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageCms
from typer.testing import CliRunner

from cdfss_bench import build, evaluate, open_domain, predict, read_results, run
from cdfss_bench.bench.cli import app
from cdfss_bench.bench.evaluation.prediction import load_method
from cdfss_bench.bench.planning.planned_cells import plan
from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.bench.python.reading import COLUMNS, Level
from cdfss_bench.bench.records.schema import record_paths
from cdfss_bench.errors import RecordError, UserError, WeightsError

from ...support.records import write_cell
from ..cli.test_predict_own import MINI, drawn


def state(method: torch.nn.Module) -> dict[str, torch.Tensor]:
    return dict(method.state_dict())


@pytest.mark.parametrize(
    ("name", "backbone"),
    [("loec", "resnet-mini"), ("hsnet", "resnet-mini"), ("ssp-vit", "vit-mini")],
)
def test_build_loads_the_weights_that_run_uses(name: str, backbone: str) -> None:
    (planned,) = plan(Selection(methods=(name,), domains=("mini-lesion",), backbone=backbone))
    assert planned.cell is not None
    expected = state(load_method(planned.composition, planned.cell.weights))
    found = build(name, backbone=backbone, pretrained=True)
    bare = build(name, backbone=backbone)
    assert found.training is False
    assert all(torch.equal(value, expected[key]) for key, value in state(found).items())
    assert any(not torch.equal(value, expected[key]) for key, value in state(bare).items())


def test_weights_that_are_missing_are_refused_as_in_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDFSS_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match="no pretrained weights of resnet50") as refused:
        build("loec", pretrained=True)
    assert refused.value.hint is not None
    assert "weights fetch" in refused.value.hint
    folder = tmp_path / "mine"
    with pytest.raises(WeightsError, match="mine"):
        build("loec", pretrained=True, weights_dirs=[folder])
    with pytest.raises(UserError, match="needs the classes of a domain"):
        build("loec@shuffled-support", backbone="resnet-mini", pretrained=True)


def test_a_method_without_its_source_training_warns() -> None:
    with pytest.warns(UserWarning, match=r"^loec: only the weights of its backbone are here"):
        build("loec", backbone="vit-mini", pretrained=True)


def test_predict_gives_the_mask_of_the_command_from_whatever_holds_the_picture(
    tmp_path: Path,
) -> None:
    query, support, mask = drawn(tmp_path)
    typed = ["--query", query, "--support", support, "--mask", mask, "-o", tmp_path / "out.png"]
    assert CliRunner().invoke(app, [*MINI, *map(str, typed)]).exit_code == 0
    expected = np.asarray(Image.open(tmp_path / "out.png")) // 255
    method = build("prototype", backbone="resnet-mini", pretrained=True)
    files = [query, support, mask]
    opened = [Image.open(file) for file in files]
    arrays = [np.asarray(one) for one in opened]
    tensors = [torch.from_numpy(array.copy()) for array in arrays]
    boolean = [*arrays[:2], arrays[2] > 0]
    for one in (files, list(map(str, files)), opened, arrays, tensors, boolean):
        pictures: Any = one
        found = predict(method, pictures[0], [pictures[1]], [pictures[2]])
        assert np.array_equal(found, expected)
        assert (found.dtype, found.shape) == (np.uint8, (30, 40))
    by_name = predict("prototype", query, support, mask, backbone="resnet-mini")
    assert np.array_equal(by_name, expected)
    assert predict(method, query, [support] * 2, [mask] * 2).shape == (30, 40)


def test_predict_turns_a_picture_by_its_orientation(tmp_path: Path) -> None:
    query, support, mask = drawn(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(query).save(tmp_path / "turned.png", exif=exif)
    method = build("prototype", backbone="resnet-mini", pretrained=True)
    for turned in (tmp_path / "turned.png", Image.open(tmp_path / "turned.png")):
        assert predict(method, turned, support, mask).shape == (40, 30)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"query": np.zeros((3, 8, 8), np.uint8)}, r"the query is an array of shape \[3, 8, 8\]"),
        ({"query": np.zeros((8, 8, 3))}, "the query is an array of float64 from 0 to 0"),
        ({"query": np.zeros((0, 8, 3), np.uint8)}, "the query is an empty array"),
        ({"query": "nowhere.png"}, "^nowhere.png is missing"),
        ({"masks": np.zeros((9, 9), bool)}, "mask 1"),
        ({"masks": np.zeros((30, 40), bool)}, "^mask 1 shows no object\n  hint: .*mask_options="),
        ({"masks": np.full((30, 40), 3)}, "in place of 0 and 1"),
        ({"masks": []}, "as many masks as supports: 0 and 1.*\\n.*supports='a.png' masks="),
        ({"query": None}, r"the query is no picture: None \(NoneType\)"),
        ({"query": b"bytes"}, r"the query is no picture: b'bytes' \(bytes\)"),
        ({"query": np.array([["a"]])}, "the query is no picture"),
        ({"supports": None}, "the support is no picture: None"),
        ({"seed": -1}, "seed=-1 is no seed"),
        ({"seed": 1.5}, "seed=1.5 is no seed"),
    ],
)
def test_predict_refuses_in_a_sentence_without_paths_of_its_own(
    tmp_path: Path, change: Mapping[str, Any], sentence: str
) -> None:
    query, support, mask = drawn(tmp_path)
    method = build("prototype", backbone="resnet-mini", pretrained=True)
    given: dict[str, Any] = {"query": query, "supports": support, "masks": mask, **change}
    with pytest.raises(UserError, match=sentence) as refused:
        predict(method, **given)
    assert "/tmp" not in str(refused.value).replace(str(tmp_path), "")


@pytest.mark.parametrize("mode", ["I", "F", "CMYK", "LAB", "LA", "La", "RGBa", "PA"])
def test_predict_reads_every_mode_of_pil_as_a_file_of_it(tmp_path: Path, mode: str) -> None:
    _, support, mask = drawn(tmp_path)
    colours = Image.open(support).convert("RGB")
    grey = np.asarray(colours.convert("L"))
    made = {
        "I": lambda: Image.fromarray(grey.astype(np.int32)),
        "F": lambda: Image.fromarray(grey.astype(np.float32) / 255),
        "LAB": lambda: Image.open(tmp_path / "lab.tif"),
        "La": lambda: colours.convert("LA").convert("La"),
        "RGBa": lambda: colours.convert("RGBA").convert("RGBa"),
    }
    lab = ImageCms.applyTransform(colours, _to_lab())
    assert lab is not None
    lab.save(tmp_path / "lab.tif")
    picture = made.get(mode, lambda: colours.convert(mode))()
    assert picture.mode == mode
    file = tmp_path / "same.tif"
    plain = {"La": "LA", "RGBa": "RGBA", "PA": "RGBA"}
    (picture.convert(plain[mode]) if mode in plain else picture).save(file)
    method = build("prototype", backbone="resnet-mini", pretrained=True)
    expected = predict(method, file, file, mask)
    assert expected.any()
    assert np.array_equal(predict(method, picture, picture, mask), expected)


def _to_lab() -> ImageCms.ImageCmsTransform:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.buildTransform(srgb, lab, "RGB", "LAB")


def test_predict_refuses_a_picture_that_was_closed(tmp_path: Path) -> None:
    query, support, mask = drawn(tmp_path)
    picture = Image.open(query)
    picture.close()
    with pytest.raises(UserError, match="the query cannot be read"):
        predict("prototype", picture, support, mask, backbone="resnet-mini")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"method": "prototype"}, "method='prototype' .* is no method"),
        ({"domain": "mini-lesion"}, "domain='mini-lesion' .* is no domain"),
        ({"episodes": 3}, "episodes=3 .* is no sequence of episodes"),
        ({"episodes": [1]}, "no sequence of episodes holds 1"),
    ],
)
def test_evaluate_says_at_once_what_it_cannot_take(
    change: Mapping[str, Any], sentence: str
) -> None:
    domain = open_domain("mini-lesion")
    given: dict[str, Any] = {
        "method": build("prototype", backbone="resnet-mini"),
        "domain": domain,
        "episodes": domain.episodes(shots=1, length=2),
    }
    assert sum(len(rows) for rows, _ in evaluate(**given)) == 2
    with pytest.raises(UserError, match=sentence):
        evaluate(**{**given, **change})


def test_predict_refuses_a_method_in_training_mode(tmp_path: Path) -> None:
    query, support, mask = drawn(tmp_path)
    with pytest.raises(UserError, match="in training mode"):
        predict(build("ssp", backbone="resnet-mini").train(), query, support, mask)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cells of the command line, with boundary measures."""
    folder = tmp_path_factory.mktemp("results")
    line = "run -m prototype -d mini-lesion -k 1 -k 2 --episodes 3 --no-cost --boundary --results"
    assert CliRunner().invoke(app, [*line.split(), str(folder)]).exit_code == 0
    return folder


def table(results: Path, level: Level = "cell") -> Any:
    return read_results(results, level)


def by_cell(cells: Any) -> Any:
    return cells.sort_values("cell", ignore_index=True)


def test_run_means_the_cells_of_the_command(results: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in results.rglob("run.json")}
    told: list[str] = []
    made = run(
        "prototype", ["mini-lesion"], shots=[1, 2], episodes=3, cost=False, boundary=2,
        results=results, told=told.append,
    )  # fmt: skip
    assert {path: path.stat().st_mtime_ns for path in results.rglob("run.json")} == before
    pd.testing.assert_frame_equal(by_cell(made), by_cell(table(results)))
    assert [text.rpartition(": mIoU ")[0] for text in told] == [
        f"prototype · mini-lesion · {shots}-shot · seed 0" for shots in (1, 2)
    ]


def test_the_levels_agree_with_each_other(results: Path) -> None:
    levels: tuple[Level, ...] = ("cell", "class", "episode")
    tables = [table(results, level) for level in levels]
    cells, classes, episodes = tables
    assert [tuple(each.columns) for each in tables] == [COLUMNS[level] for level in levels]
    assert set(cells["code"]) == {"current"}
    assert cells["episodes"].tolist() == [3, 3]
    assert len(episodes) == 6
    assert all(isinstance(supports, tuple) for supports in episodes["supports"])
    assert episodes["boundary_iou"].notna().all()
    for cell in cells.to_dict("records"):
        mine = episodes[episodes["cell"] == cell["cell"]]
        pooled = mine.groupby("class_id")[["inter", "union"]].sum()
        assert (100 * pooled["inter"] / pooled["union"]).mean() == pytest.approx(cell["miou"])
        of_class = classes[classes["cell"] == cell["cell"]]
        assert of_class["iou"].mean() == pytest.approx(cell["miou"])
        assert of_class["dice"].mean() == pytest.approx(cell["dice"])
        assert mine["iou"].mean() == pytest.approx(cell["macro_iou"])
        assert mine["dice"].mean() == pytest.approx(cell["macro_dice"])


def test_what_cannot_be_read_is_refused_or_told(results: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are no records under"):
        read_results(tmp_path)
    level: Any = "row"
    with pytest.raises(UserError, match="unknown level 'row'"):
        read_results(results, level)
    broken = tmp_path / "runs" / "a" / "b" / "c" / "run.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{")
    with pytest.raises(RecordError):
        read_results(tmp_path)
    told: list[RecordError] = []
    with pytest.raises(UserError, match="there are no records"):
        read_results(tmp_path, told=told.append)
    assert len(told) == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"methods": "nonsuch"}, "unknown method"),
        ({"domains": "nonsuch"}, "unknown domain"),
        ({"domains": "isic"}, "ISIC 2018 needs a data root"),
        ({"backbone": "nonsuch"}, "nonsuch"),
        ({"episodes": 0}, "episodes"),
        ({"shots": 0}, "shots begin at 1"),
        ({"jobs": 0}, "at least one process"),
        ({"boundary": float("nan")}, "no number of pixels"),
        ({"device": "tpu9"}, "device tpu9 cannot be used here"),
        ({"methods": ["ssp", "loec"], "weights": "a.safetensors"}, "does not say whose"),
    ],
)
def test_run_refuses_before_anything_is_written(
    tmp_path: Path, change: Mapping[str, Any], sentence: str
) -> None:
    given: dict[str, Any] = {"methods": "prototype", "domains": "mini-lesion", **change}
    with pytest.raises(UserError, match=sentence):
        run(**given, results=tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_run_refuses_to_compute_in_other_numbers_than_records_say(tmp_path: Path) -> None:
    def asked() -> pd.DataFrame:
        return run("all-foreground", "mini-lesion", episodes=1, results=tmp_path / "r", cost=False)

    with (
        torch.autocast("cpu", torch.bfloat16),
        pytest.raises(UserError, match="autocast is active"),
    ):
        asked()
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(UserError, match=r"dtype is torch\.float64"):
            asked()
    finally:
        torch.set_default_dtype(torch.float32)
    assert not (tmp_path / "r").exists()
    assert len(asked()) == 1


def test_reading_results_does_not_load_torch(results: Path) -> None:
    code = (
        "import sys, cdfss_bench; cdfss_bench.read_results(sys.argv[1], 'episode');"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, results], check=True)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"jobs": 1.5}, "jobs=1.5 is no number of processes"),
        ({"jobs": True}, "jobs=True is no number of processes"),
        ({"jobs": "2"}, "jobs='2' is no number of processes"),
        ({"results": None}, "results=None is no folder"),
        # Rows held `true` in place of a tolerance and could never be read again.
        ({"boundary": True}, "boundary=True is no number of pixels"),
        ({"boundary": "2"}, "boundary='2' is no number of pixels"),
        ({"weights": "none.pt"}, "all-foreground has no weights, and none.pt is named for it"),
        ({"methods": []}, "the arguments of run: no method is named"),
    ],
)
def test_run_refuses_values_of_another_kind(
    wrong: Mapping[str, Any], problem: str, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {"methods": "all-foreground", "domains": "mini-lesion"}
    asked |= {"results": tmp_path / "r", "episodes": 1, "cost": False}
    with pytest.raises(UserError) as refused:
        run(**{**asked, **wrong})
    assert refused.value.problem.endswith(problem)
    assert not (tmp_path / "r").exists()


def test_run_takes_the_words_of_the_command_line(tmp_path: Path) -> None:
    found = run(
        "all-foreground,all-background", "mini-lesion,mini-objects", shots="1,5", seeds="0..1",
        episodes=1, results=tmp_path, cost=False,
    )  # fmt: skip
    cells = found[["method", "domain", "shots", "seed"]].drop_duplicates()
    assert len(cells) == len(found) == 16
    with pytest.raises(UserError, match=r"^shots '' is neither a number"):
        run("prototype", "mini-lesion", shots="1,", results=tmp_path)
    with pytest.raises(UserError, match="shots one is neither a number nor a range"):
        run("all-foreground", "mini-lesion", shots="one", results=tmp_path)


def test_run_takes_numbers_of_numpy_and_cells_that_are_named_twice_once(tmp_path: Path) -> None:
    found = run(
        ["all-foreground", "all-foreground"],
        ["mini-lesion", "Mini-Lesion"],
        shots=[1, 1],
        seeds=[0, 0],
        episodes=2,
        boundary=np.float64(2),
        device=torch.device("cpu"),  # pyright: ignore[reportArgumentType]  (it is taken too)
        cost=False,
        results=tmp_path,
    )
    assert len(found) == 1
    (rows,) = tmp_path.rglob("episodes.jsonl")
    assert '"nsd_tolerance":2.0' in rows.read_text()


@pytest.mark.parametrize("size", [0, -5, 1.5, True, 10**6, "128"])
def test_predict_refuses_a_size_that_is_none(size: Any) -> None:
    picture = np.zeros((40, 50, 3), np.uint8)
    method = build("all-foreground")
    with pytest.raises(UserError, match="is no side of a picture in pixels"):
        predict(method, picture, picture, picture[..., 0] == 0, size=size)


def test_predict_refuses_what_is_no_method_and_parameters_of_another_precision() -> None:
    picture = np.zeros((40, 50, 3), np.uint8)
    with pytest.raises(UserError, match="Conv2d is no method"):
        predict(torch.nn.Conv2d(1, 1, 1), picture, picture, picture[..., 0])  # pyright: ignore
    half = build("prototype", backbone="resnet-mini", pretrained=True).half()
    with pytest.raises(UserError, match=r"parameters are torch\.float16"):
        predict(half, picture, picture, picture[..., 0])


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (lambda: build(None), "a method is named by a text, not by None"),  # pyright: ignore
        (lambda: build("ssp", backbone=3), "a backbone is named by a text"),  # pyright: ignore
        (lambda: open_domain(3), "a domain is named by a text, not by 3"),  # pyright: ignore
        (lambda: open_domain("isic", root=3), "3 is no path"),  # pyright: ignore
        (lambda: open_domain("pascal", ".", fold=[1]), "takes a whole number"),  # pyright: ignore
        (lambda: open_domain("folder", ".", path=None), "takes a word, not 'None'"),  # pyright: ignore
        (lambda: open_domain("pascal[fold=1]", ".", fold=2), "is set twice"),
        (lambda: open_domain("mini-lesion").episodes(10**9), "too many to draw"),
        (lambda: open_domain("mini-lesion").episodes(1, length=10**9), "too many to draw"),
        (lambda: open_domain("mini-lesion").episodes(1, protocol=None), "unknown protocol 'None'"),  # pyright: ignore
    ],
)
def test_values_of_another_kind_are_refused_in_a_sentence(
    asked: Callable[[], object], problem: str
) -> None:
    with pytest.raises(UserError) as refused:
        asked()
    assert problem in refused.value.problem


def test_a_domain_is_opened_by_the_words_of_the_command_line(tmp_path: Path) -> None:
    assert open_domain("pascal[fold=1,split=val]", tmp_path).title == "pascal[fold=1,split=val]"


def test_a_cell_whose_folder_was_copied_is_read_once_by_its_newest_record(tmp_path: Path) -> None:
    old = write_cell(tmp_path, "ssp", skill=0.4, finished="2026-01-01")
    write_cell(tmp_path, "ssp", skill=0.6, seed=1, finished="2026-01-01")
    again = write_cell(tmp_path, "SSP", skill=0.5, finished="2026-02-01")
    again.cell = old.cell
    (path,) = (path for path in record_paths(tmp_path) if path.parts[-3] == "SSP")
    again.save(path)
    cells = read_results(tmp_path)
    assert sorted(cells["seed"]) == [0, 1]
    assert again.metrics is not None
    assert cells.set_index("seed").loc[0, "miou"] == again.metrics.miou
    assert len(read_results(tmp_path, "episode")) == 2 * 60
