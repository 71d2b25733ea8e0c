"""ABCDFSS against what the published code was recorded to compute."""

import copy
from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import cast

import pytest
import torch
from torch import Tensor

from cdfss_bench.methods import build
from cdfss_bench.methods.blocks.otsu import otsu
from cdfss_bench.methods.blocks.shear_fit import Adapter, Views, fit
from cdfss_bench.methods.core.adaptation import copy_of
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.fast.abcdfss import FastABCDFSS
from cdfss_bench.methods.hosts.abcdfss import ABCDFSS, DARK_SHARE, threshold

from ...support.dino_vectors import NewVectors
from ...support.recipes import pictures
from ...support.vectors import stored_vectors

pytestmark = pytest.mark.shared

EPISODES = {"1-shot": "abcd1", "5-shot": "abcd5", "1-shot with an all-zero support mask": "abcde"}
SHORT = "{}, 3 SGD steps (tight tolerances)"
DOUBLE = "{}, the same in float64"

cases = stored_vectors(NewVectors, "abcdfss.npz")


@cache
def trunk(fill: ModuleType, seed: int) -> ABCDFSS:
    net = build("abcdfss", backbone="resnet50")
    assert isinstance(net, ABCDFSS)
    fill.fill(net.backbone, seed)
    return net


def network(cases: NewVectors, adapters: str, dtype: torch.dtype) -> ABCDFSS:
    net = copy.deepcopy(trunk(cases.fill, cases.seed))
    for number, adapter in enumerate(net.adapters, start=3):
        cases.fill.fill(adapter, cases.seed, f"{adapters}.adapter.{number}.")
    return net.to(dtype)


@pytest.mark.parametrize("fast", [False, True], ids=["plain", "fast"])
@pytest.mark.parametrize(
    "case",
    [
        *EPISODES,
        *map(SHORT.format, ["1-shot", "5-shot"]),
        *map(DOUBLE.format, EPISODES),
    ],
)
def test_an_episode(cases: NewVectors, case: str, fast: bool) -> None:
    """Fit, match and decide; every stored output is compared."""
    spec = cases.cases[case]
    wanted = [output["array"] for output in spec["outputs"]]
    double = case.endswith("float64")
    dtype = torch.float64 if double else torch.float32
    source = cases.cases[case.removesuffix(", the same in float64")]
    adapters = source["fill"][1]["prefix"].partition(".")[0]
    net = network(cases, adapters, dtype)
    if fast:
        net.__class__ = FastABCDFSS  # as `optimized_for` does, without folding the backbone
    net.steps = 3 if spec["does"].startswith("3 SGD") else 25
    (query_image, _), (images, masks) = (pictures(cases, one) for one in source["inputs"])
    drawn = cases.fill.rng(f"{adapters}.shear", cases.seed).integers(-20, 21, (2, 2)).tolist()
    assert drawn == source["injected"]["shear_degrees_xy_per_copy"]
    with torch.no_grad():
        query, support = net.encode(query_image.to(dtype)), net.encode(images.to(dtype))
        ready = copy_of(net)
        losses = torch.stack(ready.fit(support, masks.to(dtype), query, [(x, y) for x, y in drawn]))
        states = ready.encode_support(support, masks.to(dtype))
        logits = ready.match_states(query, states, shots=len(masks))
        maps = ready.tap_maps(query, FeatureBatch.cat(cast("Sequence[FeatureBatch]", states)))
        found: dict[str, Tensor] = {
            "losses": losses,
            "tap_maps": maps,
            "score_map": logits[0, 0, 1],
            "threshold": logits[0, 0, 0].amax()[None],
            "mask": ready.decide(logits, query.size)[0],
        }
        found |= {f"losses.step{step}": losses[:, step] for step in range(net.steps)}
        for number, tap in enumerate(ready.taps, start=3):
            adapter = ready.adapter(tap)
            found[f"tap{number}.query_adapted"] = adapter(query.tensors[tap])
            found[f"tap{number}.support_adapted"] = adapter(support.tensors[tap])
            for key, value in adapter.state_dict().items():
                found[f"tap{number}.fitted.{key}"] = value
    assert wanted
    for array in wanted:
        name = array.partition(".")[2].removeprefix("f64.")
        cases.check(case, array, found[name])


def fit_inputs(cases: NewVectors) -> Views:
    """The maps of the case `fit alone on injected maps`."""

    def pair(role: str, count: int) -> tuple[Tensor, Tensor]:
        own = cases.input(f"fitunit.{role}0", (count, 32, 7, 7))
        return own, 0.7 * own + 0.7 * cases.input(f"fitunit.{role}1", (count, 32, 7, 7))

    masks = cases.input("fitunit.m", (4, 7, 7), "uniform")
    return Views(*pair("q", 2), *pair("s", 4), masks)


def test_the_fit_alone(cases: NewVectors) -> None:
    case = "fit alone on injected maps"
    adapter = cases.fill.fill(Adapter(32), cases.seed, "fitunit.adapter.")
    cases.check(case, "fitunit.losses", fit(adapter, fit_inputs(cases), 25))
    for key, value in adapter.state_dict().items():
        cases.check(case, f"fitunit.fitted.{key}", value)


def scores(cases: NewVectors, name: str) -> Tensor:
    if name == "constant":
        return torch.full((60, 80), 0.25)
    if name == "bimodal":
        noise = cases.input("otsu.bimodal", (1, 60, 80))
        return (0.2 + 0.05 * noise + 0.5 * cases.input("otsu.bimodal.mask", (1, 60, 80), "mask"))[0]
    drawn = cases.input(f"otsu.{name}", (1, 60, 80), "uniform")[0]
    return drawn if name == "uniform" else 0.43 + 0.001 * drawn**4


@pytest.mark.parametrize("name", ["uniform", "bimodal", "narrow"])
def test_the_threshold(cases: NewVectors, name: str) -> None:
    shown, case = scores(cases, name), f"otsu.{name}"
    cases.check(case, f"{case}.otsu", otsu(shown, ignored_share=DARK_SHARE)[None])
    cases.check(case, f"{case}.threshold", threshold(shown)[None])
    cases.check(case, f"{case}.mask", shown > threshold(shown))


def test_a_constant_map_is_background(cases: NewVectors) -> None:
    shown = scores(cases, "constant")
    cases.check("constant map", "otsu.constant.mask", shown > threshold(shown))
