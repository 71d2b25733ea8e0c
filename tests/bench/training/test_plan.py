"""Plans of several trainings: the same words as the flags, one file per ablation."""

from pathlib import Path

import pytest

from cdfss_bench.bench.training.distributed import Processes
from cdfss_bench.bench.training.plan import PLANS, read_training_plan
from cdfss_bench.bench.training.planned_trainings import evaluations, planned
from cdfss_bench.errors import UserError
from cdfss_bench.methods.registry.name_grammar import METHODS, parse

from ...support.trainings import plan_of

KNOWN = sorted(path.stem for path in PLANS.glob("*.yaml"))


def test_a_plan_is_the_product_of_its_lists_each_in_its_folder(tmp_path: Path) -> None:
    plan = plan_of("ssp", freeze=["none", "1-3"], seeds=[0, 4])
    found = list(planned(plan, tmp_path, device="cpu", processes=Processes()))
    assert [(one.job.recipe.freeze, one.job.seed) for one in found] == [
        ("none", 0), ("none", 4), ("1-3", 0), ("1-3", 4),
    ]  # fmt: skip
    assert found[1].output == tmp_path / "freeze=none/seed=4/ssp-resnet-mini.safetensors"


def test_what_is_typed_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text("methods: ssp\nsource: mini\nepochs: 2\nfreeze: 1\nseeds: [1, 2]\n")
    plan = read_training_plan(file, {})
    assert (plan.epochs, plan.freeze, plan.seeds) == (2, ("1",), (1, 2))
    (one,) = planned(
        read_training_plan(file, {"seeds": (3,)}), tmp_path, device="cpu", processes=Processes()
    )
    assert (one.job.recipe.episodes, one.job.seed) == (2 * 1687, 3)
    assert read_training_plan(file, {"episodes": 9}).epochs is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("source: mini\n", "no method is named"),
        ("methods: [ssp]\nfrezee: none\n", "frezee"),
        ("methods: [ssp]\nepochs: 1\nepisodes: 4\n", "give one of them"),
        ("methods: [ssp]\nselect: target-oracle\n", "by target labels"),
        ("methods: [ssp]\nsource: mini\nfreeze: '2'\n", "freeze"),
    ],
)
def test_a_plan_that_means_nothing_is_refused(text: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(text)

    def understood() -> None:
        plan = read_training_plan(file, {})
        list(planned(plan, tmp_path, device="cpu", processes=Processes()))

    with pytest.raises(UserError, match=sentence):
        understood()


@pytest.mark.parametrize("name", KNOWN)
def test_the_ablations_that_come_with_the_package_can_be_run(name: str, tmp_path: Path) -> None:
    plan = read_training_plan(Path(name), {})
    trained = list(planned(plan, tmp_path, device="cpu", processes=Processes()))
    asked = [s for one in trained for s in evaluations(plan, one)]
    assert plan.is_mini
    assert len({s.methods[0] + str(s.weights) for s in asked}) == len(asked) >= 4
    for selection in asked:
        missing = [p for p in ("acpa", "apm-s", "apm-m") if p not in METHODS.names()]
        if not any(f"+{plugin}" in selection.methods[0] for plugin in missing):
            parse(selection.methods[0])


def test_less_of_a_plan_can_be_evaluated(tmp_path: Path) -> None:
    plan = read_training_plan(Path("apm-acpa"), {})
    (one,) = planned(plan, tmp_path, device="cpu", processes=Processes())
    (first, *_) = evaluations(plan, one)
    assert (first.shots, first.episodes) == ((1, 5), None)
    (first, *_) = evaluations(plan, one, episodes=2, shots=[1])
    assert (first.shots, first.episodes) == ((1,), 2)


def test_the_ablations_are_those_that_the_field_asks_for_and_the_study_of_loec_vit() -> None:
    assert KNOWN == ["apm-acpa", "freeze", "lem-lcm", "loec-vit-lcm", "loec-vit-lem"]
    assert PLANS.is_dir()
    plan = read_training_plan(Path("freeze"), {})
    assert plan.freeze == ("none", "1", "1-2", "1-3")
