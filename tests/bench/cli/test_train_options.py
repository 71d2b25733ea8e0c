"""Tests of what `train` makes of its options."""

from dataclasses import fields

import pytest

from cdfss_bench.bench.cli.train_options import TrainOptions
from cdfss_bench.bench.training.plan import TrainingPlan
from cdfss_bench.errors import UserError


def test_a_value_of_zero_is_typed_and_a_switch_that_is_off_is_not() -> None:
    typed = TrainOptions(methods=["ssp"], sam=0.0, hold_out=0.0, lr=0.0).plan_values()
    assert typed == {"methods": ["ssp"], "sam": 0.0, "hold_out": 0.0, "lr": 0.0}


def test_epochs_replace_episodes_and_ranges_of_seeds_are_counted_out() -> None:
    typed = TrainOptions(methods=["ssp"], episodes=4, epochs=2, seeds=["0..2"]).plan_values()
    assert typed == {"methods": ["ssp"], "epochs": 2, "seeds": (0, 1, 2)}


def test_every_value_of_a_plan_but_its_evaluation_is_an_option() -> None:
    options = {field.name for field in fields(TrainOptions)}
    assert set(TrainingPlan.model_fields) - options == {"evaluate"}


def test_a_suite_names_its_source_and_must_agree_with_the_source() -> None:
    assert TrainOptions(suite="cdfss").plan_values() == {"source": "pascal"}
    with pytest.raises(UserError, match="--suite mini trains on mini, and --source says pascal"):
        TrainOptions(suite="mini", source="pascal").plan_values()
