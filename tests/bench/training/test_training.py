"""Source training: the recipe, what is recorded, which weights are kept, what is refused."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from cdfss_bench.bench.training.conduct import Conduct, Files, Step
from cdfss_bench.bench.training.episodes import (
    TrainingEpisodes,
    check_source,
    is_held_out,
    training_batch,
    validation_episodes,
)
from cdfss_bench.bench.training.job import reproduction
from cdfss_bench.bench.training.loader import Loading
from cdfss_bench.bench.training.network import begun, freeze
from cdfss_bench.bench.training.trainer import train
from cdfss_bench.bench.training.validation import Targets, watched_steps
from cdfss_bench.canonical import digest
from cdfss_bench.datasets import open_domain
from cdfss_bench.errors import DataError, RecordError, UserError
from cdfss_bench.methods.hosts.ssp import SSP
from cdfss_bench.methods.registry.name_grammar import parse

from ...support import trees
from ...support.trainings import EVERYTHING, job_of, plan_of, written


@pytest.fixture(autouse=True)
def _common_cache(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures are drawn once for all tests of this page."""
    monkeypatch.setenv("CDFSS_CACHE", str(tmp_path_factory.getbasetemp() / "pictures"))


def stopped_after(step: int) -> Conduct:
    """A training that is interrupted, with a state every second step."""

    def listen(done: Step) -> None:
        if done.number == step:
            raise KeyboardInterrupt

    return Conduct(save_every=2, listener=listen)


# -- the list of episodes --------------------------------------------------------------------------


def drawn(**changed: Any) -> TrainingEpisodes:
    values: dict[str, Any] = {"episodes": 4000, "shots": 1, "seed": 0, **changed}
    return TrainingEpisodes(open_domain("mini-source"), **values)


def test_every_epoch_asks_every_pair_once_in_another_order() -> None:
    some = drawn()
    episodes = list(some)
    first = [(e.class_id, e.query) for e in episodes[: some.per_epoch]]
    second = [(e.class_id, e.query) for e in episodes[some.per_epoch : 2 * some.per_epoch]]
    assert len(set(first)) == some.per_epoch == 1687
    assert set(first) == set(second)
    assert first != second
    assert all(e.query not in e.supports for e in episodes)
    rows = [[e.query, list(e.supports), e.class_id] for e in episodes]
    assert some.sha256 == digest(rows)
    assert list(drawn()) == episodes
    assert list(drawn(seed=1)) != episodes


def test_the_published_oversights_repeat_an_epoch_and_its_draws() -> None:
    whole = drawn(bugs=("epochs-repeat",))
    episodes, one = list(whole), whole.per_epoch
    assert episodes[:one] == episodes[one : 2 * one]
    assert whole.stream(one + 7) == 7
    later = drawn(bugs=("epochs-repeat-from-second",), episodes=3 * one)
    episodes = list(later)
    assert episodes[:one] != episodes[one : 2 * one] == episodes[2 * one :]
    assert [later.stream(n) for n in (7, one + 7, 2 * one + 7)] == [7, one + 7, one + 7]
    assert drawn().stream(one + 7) == one + 7


def test_held_out_images_are_never_trained_on_and_alone_are_validated_with() -> None:
    domain = open_domain("mini-source")
    shown = {n for e in drawn(hold_out=0.2) for n in (e.query, *e.supports)}
    asked = validation_episodes(domain, hold_out=0.2, shots=1, count=40)
    held = {n for e in asked for n in (e.query, *e.supports)}
    assert not shown & held
    assert all(is_held_out(name, 0.2) for name in held)
    names = {name for pool in domain.pools for name in pool.images}
    assert 0.1 < sum(is_held_out(name, 0.2) for name in names) / len(names) < 0.3
    assert len({e.class_id for e in asked}) == len(domain.classes)
    with pytest.raises(DataError, match="among the 0% held out"):
        validation_episodes(domain, hold_out=0.001, shots=5, count=4)


def test_the_border_is_ignored_and_as_published_it_is_background() -> None:
    domain = open_domain("mini-source")
    episodes = list(drawn(episodes=3))
    ours = training_batch(domain, episodes, rng=torch.Generator())
    theirs = training_batch(domain, episodes, rng=torch.Generator(), boundary=True)
    assert bool((ours.query_masks == 255).any())
    assert set(theirs.query_masks.unique().tolist()) == {0, 1}
    assert torch.equal(ours.query_masks == 1, theirs.query_masks == 1)


def test_workers_change_nothing_and_a_share_draws_what_the_whole_draws() -> None:
    some = drawn(episodes=7)

    def batches(workers: int, first: int = 0) -> list[tuple[int, Tensor, Tensor]]:
        loading = Loading(some, 2, seed=0, mirror=True, workers=workers)
        return [(b.number, b.batch.query_images, b.draws) for b in loading.steps(first)]

    alone, many, later = batches(0), batches(3), batches(2, first=2)
    assert [number for number, *_ in alone] == [0, 1, 2, 3]
    for one, other in ((alone, many), (alone[2:], later)):
        assert len(one) == len(other)
        for (number, images, draws), (same, pictures, state) in zip(one, other, strict=True):
            assert number == same
            assert torch.equal(images, pictures)
            assert torch.equal(draws, state)
    episodes = list(some)[:4]
    whole, part = (torch.Generator().manual_seed(3) for _ in range(2))
    complete = training_batch(some.domain, episodes, rng=whole, mirror=True)
    mine = training_batch(
        some.domain, episodes, rng=part, mirror=True, share=lambda rows: rows[1::2]
    )
    assert torch.equal(complete.support_images[1::2], mine.support_images)
    assert torch.equal(whole.get_state(), part.get_state())


# -- recipes and records ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("hsnet", {"optimizer": "adam", "lr": 1e-3, "freeze": "all", "batch": 20}),
        ("ssp", {"optimizer": "sgd", "lr": 1e-3, "freeze": "1-2", "batch": 4, "momentum": 0.9}),
        ("loec", {"optimizer": "sgd", "lr": 1e-3, "freeze": "1-2", "episodes": 24000}),
        ("dra", {"optimizer": "sgd", "freeze": "none", "norm": True, "init": "ssp"}),
    ],
)
def test_the_default_is_the_published_recipe(method: str, expected: dict[str, Any]) -> None:
    recipe = parse(method).host.card.recipe
    assert recipe is not None
    assert expected.items() <= recipe.model_dump().items()


def test_what_is_frozen_stays_and_deviations_are_recorded(tmp_path: Path) -> None:
    job, path = job_of(tmp_path, freeze=["1-3"], lr=0.01)
    train(job, path)
    tensors, card = written(path)
    assert card.deviations == {
        "batch": (8, 2), "episodes": (9600, 12), "freeze": ("1-2", "1-3"), "lr": (0.005, 0.01),
    }  # fmt: skip
    assert (card.selection, card.seed, card.as_published) == ("last", 0, ())
    assert card.source["episodes_sha256"] == digest(
        [[e.query, list(e.supports), e.class_id] for e in drawn(episodes=12)]
    )
    network = freeze(begun(job.composition, job.weights, None, 0), job.recipe)
    asked = {n for n, p in network.named_parameters() if p.requires_grad}
    assert set(tensors) <= {name.removeprefix("backbone.") for name in asked}
    assert tensors
    assert "--freeze 1-3" in card.command


def test_oversights_of_the_published_code_are_off_unless_asked_for(tmp_path: Path) -> None:
    assert job_of(tmp_path, "hsnet")[0].bugs == ()
    job, _ = job_of(tmp_path, "hsnet", as_published=True, seeds=[3])
    assert job.bugs == ("epochs-repeat-from-second", "boundary-is-background")
    assert job.seed == 3
    clocked, path = job_of(tmp_path, "ssp", as_published=True)
    assert clocked.bugs == ("wall-clock-seed",)
    assert clocked.seed > 1_600_000_000
    with pytest.raises(KeyboardInterrupt):
        train(clocked, path, stopped_after(2))
    # What was begun goes on with the seed that the clock gave it.
    assert job_of(tmp_path, "ssp", as_published=True)[0].seed == clocked.seed


def test_the_recorded_command_is_the_same_training(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"select": "source-val", "sam": 0.05, "seeds": [2], "lr": 0.01}
    job, _ = job_of(tmp_path, "ssp+lem", **asked)
    words = reproduction(job)
    for word in ("--seed 2", "--select source-val", "--hold-out 0.1", "--sam 0.05", "--lr 0.01"):
        assert word in words


def test_a_training_in_bfloat16_is_recorded_as_one(tmp_path: Path) -> None:
    for method in ("ssp+lem", "ifa"):
        job, path = job_of(tmp_path, method, precision="bf16", episodes=2)
        assert train(job, path).precision == "bf16"
        tensors, _ = written(path)
        assert all(bool(torch.isfinite(t).all()) for t in tensors.values())


# -- which weights are kept ------------------------------------------------------------------------


def test_source_val_keeps_the_best_on_held_out_episodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([10.0, 30.0, 20.0])
    monkeypatch.setattr("cdfss_bench.bench.training.trainer.miou", lambda *_: next(scores))
    job, path = job_of(tmp_path, select="source-val", validate_every=0.34)
    card = train(job, path)
    assert (card.selection, card.score, card.episodes) == ("source-val", 30.0, 8)
    assert written(path)[1].curve == ((4, 10.0), (8, 30.0), (12, 20.0))
    assert card.source["hold_out"] == 0.1
    scores = iter([10.0, 30.0])
    job, other = job_of(tmp_path / "cut", select="source-val", validate_every=0.34)
    with pytest.raises(KeyboardInterrupt):
        train(job, other, stopped_after(4))
    fourth = load_file(Files(other).state)
    assert all(torch.equal(t, fourth[f"network.{n}"]) for n, t in written(path)[0].items())


def test_an_oracle_needs_the_word_and_is_marked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="by target labels"):
        plan_of(select="target-oracle")
    asked: dict[str, Any] = {
        "select": "target-oracle",
        "oracle": True,
        "episodes": 4,
        "eval_episodes": 1,
    }
    job, path = job_of(tmp_path, **asked)
    targets = Targets([open_domain("mini-lesion")], 1, None)
    train(job, path, Conduct(targets=targets))
    card = written(path)[1]
    assert card.selection == "target-oracle"
    assert card.score is not None
    assert "--oracle" in card.command
    assert not path.with_suffix(".curve.jsonl").exists()


def test_the_curve_on_the_targets_changes_no_weight(tmp_path: Path) -> None:
    job, plain = job_of(tmp_path / "plain", "hsnet")
    train(job, plain)
    job, watched = job_of(tmp_path / "watched", "hsnet")
    targets = Targets([open_domain("mini-lesion"), open_domain("mini-chest")], 1, 4 / 1687)
    train(job, watched, Conduct(targets=targets))
    assert plain.read_bytes() == watched.read_bytes()
    rows = [json.loads(r) for r in watched.with_suffix(".curve.jsonl").read_text().splitlines()]
    assert [r["episodes"] for r in rows if r["domain"] == "mini-chest"] == [0, 4, 8, 12]
    assert {r["domain"] for r in rows} == {"mini-lesion", "mini-chest"}
    assert rows[-1]["epochs"] == pytest.approx(12 / 1687, abs=1e-6)
    assert all(0 <= r["miou"] <= 100 for r in rows)


def test_watched_steps() -> None:
    assert watched_steps(10, 2.5) == {2, 5, 8, 10}
    assert watched_steps(10, 0.1) == set(range(1, 11))
    assert watched_steps(10, 100) == {10}


# -- interruptions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("hsnet", {}),
        ("dra", {"init": "none"}),
        ("ssp", {"select": "source-val"}),
        ("ssp+lem[sigma=auto]", {}),
        ("ssp", {**EVERYTHING, "select": "source-val", "validate_every": 0.3}),
        ("dra", {**EVERYTHING, "init": "none", "sam": 0.05}),
        ("hsnet", {**EVERYTHING, "lr_part": [], "memory": 1}),
    ],
)
def test_an_interrupted_training_ends_as_an_undisturbed_one(
    method: str, more: dict[str, Any], tmp_path: Path
) -> None:
    job, whole = job_of(tmp_path / "whole", method, **more)
    train(job, whole)
    job, path = job_of(tmp_path / "cut", method, **more)
    for step in (3, 5):
        with pytest.raises(KeyboardInterrupt):
            train(job, path, stopped_after(step))
        assert not path.exists()
    train(job, path)
    assert path.read_bytes() == whole.read_bytes()
    assert not Files(path).state.exists()
    log, same = (p.with_suffix(".log.jsonl").read_text() for p in (path, whole))
    assert log == same


def test_what_is_complete_is_not_trained_again(tmp_path: Path) -> None:
    job, path = job_of(tmp_path, episodes=2)
    train(job, path)
    before = path.stat().st_mtime_ns

    def never(_step: Step) -> None:
        raise AssertionError("it was trained again")

    train(job, path, Conduct(listener=never))
    assert path.stat().st_mtime_ns == before
    train(job, path, Conduct(fresh=True))
    assert path.stat().st_mtime_ns != before


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({"lr": 0.02}, "recipe.lr was 0.005, is 0.02"),
        ({"seeds": [1]}, "seed was 0, is 1"),
        ({"hold_out": 0.1}, "source.hold_out was nothing, is 0.1"),
        ({"precision": "bf16"}, 'precision was "fp32", is "bf16"'),
        ({"freeze": ["none"]}, 'recipe.freeze was "1-2", is "none"'),
    ],
)
def test_a_changed_recipe_is_refused_and_shown(
    changed: dict[str, Any], shown: str, tmp_path: Path
) -> None:
    job, path = job_of(tmp_path, episodes=4)
    with pytest.raises(KeyboardInterrupt):
        train(job, path, stopped_after(2))
    state = Files(path).state.read_bytes()
    with pytest.raises(UserError) as caught:
        train(job_of(tmp_path, episodes=4, **changed)[0], path)
    assert shown in caught.value.problem
    assert Files(path).state.read_bytes() == state
    train(job, path)
    with pytest.raises(UserError, match=r"was trained with another recipe"):
        train(job_of(tmp_path, episodes=4, **changed)[0], path)


def test_two_trainings_do_not_share_a_file(tmp_path: Path) -> None:
    job, path = job_of(tmp_path, episodes=2)
    with Files(path).lock(), pytest.raises(RecordError, match="another process is training"):
        train(job, path)


def test_a_damaged_state_is_no_pickle_and_is_named(tmp_path: Path) -> None:
    job, path = job_of(tmp_path, episodes=2)
    Files(path).state.write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(UserError, match="is not the state of a training"):
        train(job, path)


# -- bad input -------------------------------------------------------------------------------------


def poisoned(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """The loss of one step is NaN."""
    original, calls = SSP.loss_terms, 0

    def loss_terms(self: SSP, batch: Any) -> Any:
        nonlocal calls
        calls += 1
        terms = dict(original(self, batch))
        if calls == step:
            terms["first"] = terms["first"]._replace(value=terms["first"].value * float("nan"))
        return terms

    monkeypatch.setattr(SSP, "loss_terms", loss_terms)


def test_a_loss_that_is_no_number_names_the_episodes_and_keeps_the_last_good_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, path = job_of(tmp_path)
    whole = tmp_path / "whole" / path.name
    train(job, whole)
    poisoned(monkeypatch, 4)
    with pytest.raises(UserError) as caught:
        train(job, path, Conduct(save_every=2))
    asked = list(drawn(episodes=12))[6:8]
    assert "the loss is nan at step 4 of 6" in caught.value.problem
    assert all(e.query in caught.value.problem for e in asked)
    assert "the state after step 2 is kept" in caught.value.problem
    assert "--lr" in (caught.value.hint or "")
    monkeypatch.undo()
    train(job, path)
    assert path.read_bytes() == whole.read_bytes()


def test_on_a_full_disk_the_last_state_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, path = job_of(tmp_path)
    whole = tmp_path / "whole" / path.name
    train(job, whole)
    original, calls = os.fsync, 0

    def fsync(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(UserError, match="no space left on the disk"):
        train(job, path, Conduct(save_every=2))
    monkeypatch.undo()
    assert Files(path).state.is_file()
    train(job, path)
    assert path.read_bytes() == whole.read_bytes()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_log_that_cannot_grow_is_explained(tmp_path: Path) -> None:
    job, path = job_of(tmp_path, episodes=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    Files(path).log.path.symlink_to("/dev/full")
    with pytest.raises(UserError, match="no space left on the disk"):
        train(job, path)


@pytest.mark.parametrize(
    ("label", "sentence"),
    [
        (0, "no mask of pascal that was looked at holds the class"),
        (137, "holds label 137, which is none of the 20 classes"),
    ],
)
def test_a_source_is_refused_without_masks_or_with_others(
    label: int, sentence: str, tmp_path: Path
) -> None:
    trees.write_pascal(tmp_path)
    check_source(open_domain("pascal", tmp_path))
    masks = list((tmp_path / trees.VOC / "SegmentationClassAug").glob("*.png"))
    for mask in masks:
        trees.save_labels(mask, np.full((28, 40), label, np.uint8))
    with pytest.raises(DataError, match=sentence):
        check_source(open_domain("pascal", tmp_path))
    for mask in masks:
        mask.unlink()
    with pytest.raises(DataError):
        check_source(open_domain("pascal", tmp_path))


def test_the_drawn_source_is_fine() -> None:
    check_source(open_domain("mini-source"))


def test_a_class_that_the_card_does_not_list_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    domain = open_domain("mini-source")
    card = domain.card.model_copy(update={"classes": domain.card.classes[1:]})
    domain.classes  # noqa: B018  (found before the card changes)
    monkeypatch.setattr(domain, "card", card)
    with pytest.raises(DataError, match="holds a class 'bird' that its card does not list"):
        check_source(domain)
