"""Tests of the messages about typed values: they name the option and what may stand there."""

from pathlib import Path
from typing import Any

import pytest

from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.bench.planning.typed import validated_typed
from cdfss_bench.bench.runtime.device import chosen_device
from cdfss_bench.bench.training.plan import TrainingPlan, read_training_plan
from cdfss_bench.errors import UserError


@pytest.mark.parametrize(
    ("schema", "typed", "problem", "hint"),
    [
        (
            Selection,
            {"protocol": "strikt"},
            "unknown value 'strikt' of --protocol",
            "did you mean strict?",
        ),
        (
            Selection,
            {"precision": "half"},
            "unknown value 'half' of --precision",
            "known are: bf16, fp16-features, fp32",
        ),
        (
            Selection,
            {"episodes": 0},
            "--episodes 0: it must be greater than or equal to 1",
            "leave --episodes out for the usual value",
        ),
        (
            TrainingPlan,
            {"validate_every": 2.0},
            "--validate-every 2.0: it must be less than or equal to 1",
            "leave --validate-every out for the usual value",
        ),
        (
            TrainingPlan,
            {"select": "best"},
            "unknown value 'best' of --select",
            "did you mean last?",
        ),
    ],
)
def test_a_typed_value_is_refused_by_its_option(
    schema: type, typed: dict[str, Any], problem: str, hint: str
) -> None:
    with pytest.raises(UserError) as refused:
        validated_typed(schema, {"methods": ("ssp",), **typed}, None, typed)
    assert (refused.value.problem, refused.value.hint) == (problem, hint)


def test_python_names_the_argument() -> None:
    typed = {"methods": ("ssp",), "suite": "medi"}
    with pytest.raises(UserError, match="unknown value 'medi' of suite"):
        validated_typed(Selection, typed, "the arguments of run", typed, spelled=str)


def test_what_stands_in_a_plan_file_is_refused_by_file_and_key(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("method: ssp\nselect: best\n")
    with pytest.raises(UserError, match=r"plan\.yaml: 'select'"):
        read_training_plan(plan, {"batch": 2})
    plan.write_text("method: ssp\n")
    with pytest.raises(UserError, match=r"^unknown value 'best' of --select"):
        read_training_plan(plan, {"select": "best"})


def test_a_sentence_about_several_options_has_no_prefix() -> None:
    with pytest.raises(UserError, match=r"^memory and compile exclude each other"):
        read_training_plan(None, {"methods": ["ssp"], "memory": 1.0, "compile": True})


def test_an_unknown_device_is_named_without_the_list_of_torch() -> None:
    with pytest.raises(UserError) as refused:
        chosen_device("gpu")
    assert refused.value.problem == "device gpu cannot be used here: torch knows no such device"
    assert refused.value.hint == "name cpu, cuda, cuda:1 or auto"
