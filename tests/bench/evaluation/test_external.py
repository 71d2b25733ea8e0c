"""Masks of other programs: exported episodes, strict reading, sealed records, the same rows."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cdfss_bench.bench.cli import app
from cdfss_bench.bench.comparison.compare import chosen, compare
from cdfss_bench.bench.comparison.current import state_of
from cdfss_bench.bench.comparison.gathering import leaderboards
from cdfss_bench.bench.comparison.leaderboard import controls_of
from cdfss_bench.bench.comparison.verify import verify
from cdfss_bench.bench.evaluation.episode_export import export
from cdfss_bench.bench.evaluation.evaluator import Settings
from cdfss_bench.bench.evaluation.external import Statement, score
from cdfss_bench.bench.evaluation.mask_files import mask_sha256
from cdfss_bench.bench.evaluation.runner import Runner
from cdfss_bench.bench.evaluation.saved_masks import SavedMasks
from cdfss_bench.bench.planning.episode_set import EpisodeSet
from cdfss_bench.bench.planning.planned_cells import plan
from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.bench.records.results import run_results
from cdfss_bench.bench.records.schema import RunRecord, WeightsPart, record_paths
from cdfss_bench.bench.reporting.qualitative.redrawn import Redrawer
from cdfss_bench.datasets import open_domain
from cdfss_bench.errors import DataError, RecordError, UserError

from ...support import trees
from ...support.program import typed

SIDE = 128
MINE = Statement("mine", pretraining="ImageNet-1k")


def episodes_of(domain: str = "mini-lesion", shots: int = 1, **changes: Any) -> EpisodeSet:
    values: dict[str, Any] = {"seed": 0, "protocol": "patnet", "limit": 4, **changes}
    return EpisodeSet(open_domain(domain), shots, **values)


def answered(folder: Path, episode_set: EpisodeSet, white: int = 255) -> Path:
    """An export with a mask of a growing square for every episode."""
    index = export(episode_set, folder)
    (folder / "predictions").mkdir()
    for asked in index.episodes:
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[: 20 + 10 * asked.episode, :64] = white
        Image.fromarray(mask).save(folder / asked.prediction)
    return folder


def rows(results: Path, label: str) -> bytes:
    (path,) = [p for p in record_paths(results) if p.parts[-3] == label]
    return (path.parent / "episodes.jsonl").read_bytes()


def run(results: Path, masks: SavedMasks | None, **selected: object) -> list[RunRecord]:
    values = {"suite": "mini", "domains": ("mini-lesion",), "episodes": 6, **selected}
    selection = Selection.model_validate(values)
    runner = Runner(results, Settings(), with_cost=False, save_masks=masks)
    outcomes = list(runner.run(plan(selection)))
    assert all(o.how in ("computed", "resumed", "known") for o in outcomes), outcomes
    return [o.record for o in outcomes if o.record is not None]


@pytest.mark.parametrize(
    ("method", "shots"), [("prototype", 1), ("centre-ellipse", 5), ("abcdfss", 1)]
)
def test_scored_masks_of_a_run_give_its_rows_byte_for_byte(
    method: str, shots: int, tmp_path: Path
) -> None:
    (ours,) = run(
        tmp_path / "r",
        SavedMasks(tmp_path / "m", one=True),
        methods=(method,),
        shots=(shots,),
        episodes=2 if method == "abcdfss" else 6,
    )
    theirs = score(tmp_path / "m", MINE, tmp_path / "r").record
    assert rows(tmp_path / "r", "mine") == rows(tmp_path / "r", method)
    assert theirs.metrics == ours.metrics
    assert theirs.episodes == ours.episodes
    assert theirs.domain == ours.domain
    assert theirs.evaluator == ours.evaluator


def test_masks_of_a_domain_with_undecided_pixels_give_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees.write_pascal(tmp_path / "data", lists="../lists/pascal")
    monkeypatch.setenv("CDFSS_DATA_ROOT", str(tmp_path / "data"))
    monkeypatch.setenv("CDFSS_LISTS", str(tmp_path / "lists"))
    selected = {"suite": "cdfss", "domains": ("pascal",), "methods": ("centre-ellipse",)}
    run(tmp_path / "r", SavedMasks(tmp_path / "m", one=True), **selected)
    score(tmp_path / "m", MINE, tmp_path / "r")
    assert rows(tmp_path / "r", "mine") == rows(tmp_path / "r", "centre-ellipse")


def test_several_cells_have_a_folder_each_which_are_scored_together(tmp_path: Path) -> None:
    line = f"run -m all-foreground -d mini-lesion -d mini-chest -k 1 -k 2 --episodes 2 --no-cost \
        --results {tmp_path / 'r'} --save-masks {tmp_path / 'm'}"
    assert CliRunner().invoke(app, line.split()).exit_code == 0
    assert len(list((tmp_path / "m").rglob("index.json"))) == 4
    line = f"score {tmp_path / 'm'} -m mine --results {tmp_path / 'r'} --json"
    done = CliRunner().invoke(app, line.split())
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)) == 4
    for path in record_paths(tmp_path / "r"):
        if path.parts[-3] == "mine":
            twin = path.parents[2] / "all-foreground"
            assert (path.parent / "episodes.jsonl").read_bytes() in {
                p.read_bytes() for p in twin.rglob("episodes.jsonl")
            }


def test_workers_save_the_same_masks(tmp_path: Path) -> None:
    line = (
        f"run -m centre-ellipse -d mini-lesion --episodes 2 --no-cost --results {tmp_path / 'r'} \
        --save-masks {tmp_path / 'm'} --timeout 100"
    )
    assert CliRunner().invoke(app, line.split()).exit_code == 0
    score(tmp_path / "m", MINE, tmp_path / "r")
    assert rows(tmp_path / "r", "mine") == rows(tmp_path / "r", "centre-ellipse")


def test_a_finished_run_saves_the_masks_that_are_missing(tmp_path: Path) -> None:
    masks = SavedMasks(tmp_path / "m", one=True)
    (before,) = run(tmp_path / "r", None, methods=("prototype",))
    (after,) = run(tmp_path / "r", masks, methods=("prototype",))
    assert after == before
    kept = {path.name: path.read_bytes() for path in (tmp_path / "m/predictions").iterdir()}
    assert len(kept) == 6
    (tmp_path / "m/predictions/00002.png").unlink()
    (tmp_path / "m/predictions/00003.png").write_bytes(b"torn")
    stamp = (tmp_path / "m/predictions/00001.png").stat().st_mtime_ns
    run(tmp_path / "r", masks, methods=("prototype",))
    assert kept == {p.name: p.read_bytes() for p in (tmp_path / "m/predictions").iterdir()}
    assert (tmp_path / "m/predictions/00001.png").stat().st_mtime_ns == stamp


def test_an_interrupted_run_saves_every_mask(tmp_path: Path) -> None:
    def listen(progress: Any) -> None:
        if progress.done == 3:
            raise KeyboardInterrupt

    selection = Selection.model_validate(
        {"suite": "mini", "domains": ("mini-lesion",), "episodes": 6, "methods": ("prototype",)}
    )
    masks = SavedMasks(tmp_path / "m", one=True)
    with pytest.raises(KeyboardInterrupt):
        list(Runner(tmp_path / "r", listener=listen, save_masks=masks).run(plan(selection)))
    assert len(list((tmp_path / "m/predictions").iterdir())) == 3
    run(tmp_path / "r", masks, methods=("prototype",))
    score(tmp_path / "m", MINE, tmp_path / "r")
    assert rows(tmp_path / "r", "mine") == rows(tmp_path / "r", "prototype")


def test_an_export_holds_what_methods_see_and_no_mask_of_a_query(tmp_path: Path) -> None:
    episode_set = episodes_of(shots=2)
    export(episode_set, tmp_path)
    index = json.loads((tmp_path / "index.json").read_text())
    assert index["manifest_sha256"] == episode_set.manifest.sha256
    assert index["fingerprint"] == episode_set.domain.fingerprint
    assert (index["shots"], index["seed"], index["protocol"]) == (2, 0, "patnet")
    named = set[str]()
    domain = episode_set.domain
    for number, (asked, told) in enumerate(
        zip(episode_set.manifest, index["episodes"], strict=True)
    ):
        assert told["episode"] == number
        assert told["class_name"] == {c.id: c.name for c in domain.classes}[asked.class_id]
        assert told["prediction"] == f"predictions/{number:05d}.png"
        assert set(told["query"]) == {"name", "image"}
        query = np.asarray(Image.open(tmp_path / told["query"]["image"]))
        assert np.array_equal(query, domain.image(domain.item(asked.class_id, asked.query)))
        named.add(told["query"]["image"])
        for name, support in zip(asked.supports, told["supports"], strict=True):
            item = domain.item(asked.class_id, name)
            mask = np.asarray(Image.open(tmp_path / support["mask"]))
            assert np.array_equal(mask, domain.truth(item) * 255)
            image = np.asarray(Image.open(tmp_path / support["image"]))
            assert np.array_equal(image, domain.image(item))
            named |= {support["image"], support["mask"]}
    written = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.png")}
    assert written == named
    shown = {(s, e.class_id) for e in episode_set.manifest for s in e.supports}
    assert len([name for name in named if name.startswith("support_masks/")]) == len(shown)


def test_exporting_again_keeps_predictions_and_refuses_other_episodes(tmp_path: Path) -> None:
    folder = answered(tmp_path / "e", episodes_of())
    export(episodes_of(), folder)
    assert len(list((folder / "predictions").iterdir())) == 4
    with pytest.raises(DataError, match="holds other episodes"):
        export(episodes_of(seed=1), folder)
    with pytest.raises(DataError, match="holds other episodes"):
        run(tmp_path / "r", SavedMasks(folder, one=True), methods=("prototype",))


@pytest.mark.parametrize("white", [1, 255])
def test_a_scored_row_is_sealed_verified_and_shown_as_external(white: int, tmp_path: Path) -> None:
    folder = answered(tmp_path / "e", episodes_of(), white)
    statement = Statement("mine", "transductive", "ImageNet-1k")
    found = score(folder, statement, tmp_path / "r")
    record = found.record
    assert not found.is_known
    assert (record.name, record.method.adaptation) == ("mine (external)", "transductive")
    assert record.weights.pretraining == "ImageNet-1k"
    (path,) = record_paths(tmp_path / "r")
    assert verify(path.parent).problems == ()
    again = score(folder, statement, tmp_path / "r")
    assert again.is_known
    assert again.record == record
    (board,) = leaderboards([record])
    ((key, row),) = board.rows.items()
    assert (key.label, row.pretraining) == ("mine (external)", "ImageNet-1k")
    shown = CliRunner().invoke(app, ["report", "--results", str(tmp_path / "r")])
    assert "mine (external)" in shown.stdout
    assert "counts the masks of another program" in shown.stdout
    for form in ("md", "csv", "json", "latex", "html"):
        line = ["report", "-f", form, "--results", str(tmp_path / "r")]
        done = CliRunner().invoke(app, [*line, "-o", str(tmp_path / f"board.{form}")])
        assert done.exit_code == 0, done.output
        assert "external" in (tmp_path / f"board.{form}").read_text()


def test_masks_spelled_0_and_1_or_0_and_255_are_the_same_cell(tmp_path: Path) -> None:
    one = score(answered(tmp_path / "a", episodes_of(), 1), MINE, tmp_path / "r")
    two = score(answered(tmp_path / "b", episodes_of(), 255), MINE, tmp_path / "r")
    assert two.is_known
    assert one.record.cell == two.record.cell


def test_other_masks_are_another_cell_and_the_newest_is_shown(tmp_path: Path) -> None:
    folder = answered(tmp_path / "e", episodes_of())
    first = score(folder, MINE, tmp_path / "r").record
    Image.new("L", (SIDE, SIDE), 255).save(folder / "predictions/00001.png")
    second = score(folder, MINE, tmp_path / "r").record
    assert first.cell != second.cell
    assert first.method.code != second.method.code
    second.finished = "2099-01-01T00:00:00+00:00"
    (board,) = leaderboards([second, first])
    (row,) = board.rows.values()
    (shown,) = row.scores.values()
    assert shown.cells == {0: second.cell}
    assert board.left_out.total() == 1


def test_only_the_evaluator_makes_an_external_record_stale(tmp_path: Path) -> None:
    record = score(answered(tmp_path / "e", episodes_of()), MINE, tmp_path / "r").record
    assert state_of(record) == "current"
    record.domain.reader = "old"
    assert state_of(record) == "current"
    record.evaluator.code = "old"
    assert state_of(record) == "stale"


def test_an_external_row_is_compared_and_told_from_a_method_of_its_name(tmp_path: Path) -> None:
    run(tmp_path / "r", None, methods=("prototype",), episodes=4)
    folder = answered(tmp_path / "e", episodes_of())
    score(folder, Statement("prototype"), tmp_path / "r")
    found = run_results(tmp_path / "r")
    ours = chosen(found, "prototype", tmp_path / "r")
    theirs = chosen(found, "prototype (external)", tmp_path / "r")
    assert [a.record.method.external for a in (*ours, *theirs)] == [False, True]
    (comparison,) = compare(ours, theirs)
    assert {comparison.a, comparison.b} == {"prototype", "prototype (external)"}


def test_episodes_of_an_external_row_cannot_be_drawn_again(tmp_path: Path) -> None:
    score(answered(tmp_path / "e", episodes_of()), MINE, tmp_path / "r")
    (answer,) = run_results(tmp_path / "r")
    with pytest.raises(RecordError, match="of another program"):
        Redrawer(None, None, ()).panels(answer)


def test_a_program_without_a_pretrained_backbone_stands_beside_those_without_one(
    tmp_path: Path,
) -> None:
    folder = answered(tmp_path / "e", episodes_of())
    assert score(folder, Statement("a", pretraining="none"), tmp_path / "r").record.weights == (
        WeightsPart(description="external")
    )
    unstated = score(folder, Statement("a"), tmp_path / "r").record
    assert unstated.weights.pretraining == "unknown data"


def test_a_program_has_a_shuffled_support_control(tmp_path: Path) -> None:
    own = answered(tmp_path / "own", episodes_of())
    control = answered(tmp_path / "control", episodes_of(control="shuffled-support"))
    records = [score(folder, MINE, tmp_path / "r").record for folder in (own, control)]
    (board,) = leaderboards(records)
    assert [(a.key.label, b.key.label) for a, b in controls_of(board)] == [
        ("mine (external)", "mine@shuffled-support (external)")
    ]


def drawn(**how: Any) -> Image.Image:
    values = np.zeros((SIDE, SIDE), np.uint8)
    values[:9] = how.pop("value", 255)
    return Image.fromarray(values)


def palette() -> Image.Image:
    image = drawn(value=1).convert("L")
    image = Image.fromarray(np.asarray(image), "P")
    image.putpalette([255, 255, 255, 0, 0, 0])
    return image


def soft() -> Image.Image:
    return Image.fromarray(np.tile(np.arange(SIDE, dtype=np.uint8), (SIDE, 1)))


def three() -> Image.Image:
    values = np.asarray(drawn()).copy()
    values[100] = 1
    return Image.fromarray(values)


WRONG: Mapping[str, tuple[Callable[[], Image.Image], str]] = {
    "another value": (lambda: drawn(value=2), "the value 2 where only 0 and 255"),
    "soft": (soft, "where only 0 and 255"),
    "0, 1 and 255": (three, "the value 1 where only"),
    "16 bits": (lambda: Image.fromarray(np.asarray(drawn()).astype(np.uint16) * 257), "where only"),
    "colours": (lambda: Image.new("RGB", (SIDE, SIDE), "red"), "holds colours"),
    "a palette": (palette, "a palette"),
    "transparency": (lambda: Image.new("LA", (SIDE, SIDE), (255, 9)), "transparency"),
    "size": (lambda: drawn().resize((64, SIDE)), "is 64x128 where 128x128 is due"),
    "0 and 1 among 0 and 255": (lambda: drawn(value=1), "holds 0 and 1 but .* 0 and 255"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_file_that_is_no_such_mask_is_refused_and_named(kind: str, tmp_path: Path) -> None:
    folder = answered(tmp_path / "e", episodes_of())
    draw, sentence = WRONG[kind]
    draw().save(folder / "predictions/00002.png")
    with pytest.raises(DataError, match=rf"00002\.png.*{sentence}"):
        score(folder, MINE, tmp_path / "r")
    assert record_paths(tmp_path / "r") == []


@pytest.mark.parametrize(
    ("form", "sentence"), [("JPEG", "is a JPEG file, no PNG"), ("", "is not a readable image")]
)
def test_another_format_is_refused(form: str, sentence: str, tmp_path: Path) -> None:
    folder = answered(tmp_path / "e", episodes_of())
    path = folder / "predictions/00002.png"
    if form:
        drawn().save(path, form)
    else:
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=rf"00002\.png {sentence}"):
        score(folder, MINE, tmp_path / "r")


@pytest.mark.parametrize("kind", ["1 bit", "three equal channels"])
def test_other_spellings_of_black_and_white_are_read(kind: str, tmp_path: Path) -> None:
    folder = answered(tmp_path / "e", episodes_of())
    before = score(folder, MINE, tmp_path / "r").record
    for path in (folder / "predictions").iterdir():
        mode = "1" if kind == "1 bit" else "RGB"
        Image.open(path).convert(mode).save(path)
    assert score(folder, MINE, tmp_path / "r").record == before


def test_missing_masks_are_counted_and_further_files_named(tmp_path: Path) -> None:
    folder = answered(tmp_path / "e", episodes_of())
    (folder / "predictions/.DS_Store").write_text("x")
    (folder / "predictions/00004.png").write_text("x")
    with pytest.raises(DataError, match=r"holds 1 file beside the masks of 4 episodes: 00004\.png"):
        score(folder, MINE, tmp_path / "r")
    (folder / "predictions/00001.png").unlink()
    with pytest.raises(DataError, match=r"1 of 4 masks is missing in .*: 00001\.png"):
        score(folder, MINE, tmp_path / "r")
    (folder / "predictions/00003.png").unlink()
    with pytest.raises(DataError, match=r"2 of 4 masks are missing in .* first is 00001\.png"):
        score(folder, MINE, tmp_path / "r")
    shutil.rmtree(folder / "predictions")
    with pytest.raises(DataError, match="4 of 4 masks are missing"):
        score(folder, MINE, tmp_path / "r")


def test_an_index_of_other_data_or_another_manifest_is_refused(tmp_path: Path) -> None:
    folder = answered(tmp_path / "e", episodes_of())
    path = folder / "index.json"
    index = json.loads(path.read_text())

    def refused(sentence: str, **changes: Any) -> None:
        path.write_text(json.dumps({**index, **changes}))
        with pytest.raises(UserError, match=sentence):
            score(folder, MINE, tmp_path / "r")

    refused("belongs to other data", fingerprint="0" * 64)
    refused("belongs to another manifest", manifest_sha256="0" * 64)
    refused("belongs to another manifest", seed=1)
    refused("belongs to another manifest", episodes=index["episodes"][:3])
    refused("its episodes are not its manifest's", episodes=index["episodes"][::-1])
    refused("its episodes are not its manifest's", image_size=64)
    refused("names no episodes", episodes=[])
    refused("'protocol'", protocol="none")
    refused("'further'", further=1)
    refused("has format 2", format=2)
    refused("unknown domain", domain="nowhere")
    refused("needs a data root|no ISIC", domain="isic")
    for text in ("", "[]", "{}", "\x00"):
        path.write_text(text)
        with pytest.raises(DataError, match=r"index\.json"):
            score(folder, MINE, tmp_path / "r")
    path.unlink()
    with pytest.raises(DataError, match=r"holds no index\.json"):
        score(folder, MINE, tmp_path / "r")
    assert record_paths(tmp_path / "r") == []


@pytest.mark.parametrize(
    "values",
    [
        {"name": ""},
        {"name": "a/b"},
        {"name": "a\nb"},
        {"name": "a@shuffled-support"},
        {"name": "x" * 65},
        {"name": "a "},
        {"adaptation": "some"},
        {"pretraining": " "},
        {"pretraining": "a\nb"},
    ],
)
def test_what_no_row_can_be_named_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(UserError):
        Statement(**{"name": "mine", **values})


def test_a_mistake_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    folder = answered(tmp_path / "e", episodes_of())
    (folder / "predictions/00000.png").unlink()
    done = typed(["score", folder, "-m", "mine"], tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: 1 of 4 masks is missing in ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


def test_two_folders_of_the_same_episodes_are_not_one_program(tmp_path: Path) -> None:
    for name in ("a", "b"):
        answered(tmp_path / "e" / name, episodes_of())
    done = CliRunner().invoke(app, ["score", str(tmp_path / "e"), "-m", "mine"])
    assert isinstance(done.exception, UserError)
    assert "hold masks of the same episodes" in done.exception.problem


def test_masks_may_lie_elsewhere(tmp_path: Path) -> None:
    folder = answered(tmp_path / "e", episodes_of())
    before = score(folder, MINE, tmp_path / "r").record
    (folder / "predictions").rename(tmp_path / "elsewhere")
    again = score(folder, MINE, tmp_path / "r", predictions=tmp_path / "elsewhere")
    assert again.record == before


def test_the_hash_of_a_mask_is_that_of_its_pixels() -> None:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    before = mask_sha256(mask)
    mask[5, 7] = 1
    assert mask_sha256(mask) != before
