"""APM and ACPA, alone, on HSNet and while they learn, against what was recorded."""

import copy
from functools import cache
from types import ModuleType

import pytest
import torch
from torch import Tensor

from cdfss_bench.methods import build
from cdfss_bench.methods.backbones.base import Stage
from cdfss_bench.methods.core.adaptation import descend, learning, self_prediction_errors
from cdfss_bench.methods.hosts.hsnet import HSNet
from cdfss_bench.methods.plugins.acpa import ACPA, mean_phase
from cdfss_bench.methods.plugins.apm import APM, APMM, APMS

from ...support.vectors import Vectors, check_votes, check_whole_model, overridden, stored_vectors

pytestmark = pytest.mark.shared

reference = stored_vectors(Vectors, "apm.npz")


@cache
def filled(fill: ModuleType, name: str) -> HSNet:
    net = build(name, backbone="resnet50")
    assert isinstance(net, HSNet)
    masks = {key: value for key, value in net.state_dict().items() if key.startswith("apm.")}
    fill.fill(net, 0, "").eval()
    net.load_state_dict({**net.state_dict(), **masks})
    return net


def whole(vectors: Vectors, fill: ModuleType, case: str) -> HSNet:
    name = "hsnet+apm-s+acpa" if case.startswith("apms") else "hsnet+apm-m+acpa"
    net = overridden(vectors, case, copy.deepcopy(filled(fill, name)))
    given = vectors.cases[case].get("set", {})
    drawn = {key: vectors.input(g["name"], g["shape"], g["kind"]) for key, g in given.items()}
    net.load_state_dict({**net.state_dict(), **drawn})
    return net


@pytest.mark.parametrize("stem", ["s", "m", "m_oddc", "m_even", "m_7"])
def test_masker(stem: str, reference: Vectors) -> None:
    case = f"masker_{stem}"
    inputs = reference.inputs(case)
    features = inputs[f"apm.{stem}.x"]
    masks = {name: inputs[f"apm.{stem}.{name}"] for name in ("mask_amplitude", "mask_phase")}
    module: APM = APMS() if masks["mask_phase"].shape[1] == 1 else APMM()
    module.attach_to(Stage("any", features.shape[1], 32, 1))
    module.reset(features, None)
    reference.check(case, f"apm.{stem}.y0", module.transform(features))
    module.load_state_dict(masks)
    for name, mask in module.state_dict().items():
        assert torch.equal(mask, masks[name])
    found = module.transform(features)
    reference.check(case, f"apm.{stem}.y", found)
    found.square().sum().backward()
    for short, mask in (("ga", module.mask_amplitude), ("gp", module.mask_phase)):
        assert mask.grad is not None
        # Gradients stand where the published entries do.
        reference.check(case, f"apm.{stem}.{short}", mask.grad.roll(mask.shape[1] // 2, 1))


@pytest.mark.parametrize("stem", ["c64", "c64_even", "c2048"])
def test_attention(stem: str, reference: Vectors, fill: ModuleType) -> None:
    case = f"acpa_{stem}"
    features = reference.inputs(case)[f"acpa.{stem}.x"]
    module = ACPA()
    module.attach_to(Stage("any", features.shape[1], 32, 1))
    fill.fill(module, 0, f"acpa.{stem}.")
    reference.check(case, f"acpa.{stem}.pooled", mean_phase(features))
    reference.check(case, f"acpa.{stem}.weight", module.weights(features))
    reference.check(case, f"acpa.{stem}.y", module.gate(features, features))


@pytest.mark.parametrize("case", ["apmm200", "apms200", "apmm400", "apmm200_init"])
def test_whole_model(case: str, reference: Vectors, fill: ModuleType) -> None:
    check_whole_model(reference, case, whole(reference, fill, case))


def test_five_shots_vote(reference: Vectors, fill: ModuleType) -> None:
    case = "apmm200_5shot"
    check_votes(reference, case, whole(reference, fill, case))


def test_fine_tuning_on_the_support(reference: Vectors, fill: ModuleType) -> None:
    case = "finetune_support"
    net = whole(reference, fill, case)
    inputs = reference.inputs(case)
    apm, acpa = net.feature_plugins
    assert isinstance(apm, APM)
    assert isinstance(acpa, ACPA)
    with torch.no_grad():
        support = net.encode(inputs["support_img.0"])
    apm.reset(support.tensors["layer4.0"], None)
    masks = inputs["support_mask.0"]
    with learning(net, [apm, acpa]):
        errors = self_prediction_errors(net, support, masks)
        errors[0]().backward()
        roll = apm.mask_amplitude.shape[1] // 2
        gradients: dict[str, Tensor | None] = {
            "mask_amplitude": apm.mask_amplitude.grad,
            "mask_phase": apm.mask_phase.grad,
            "acpa0": net.get_parameter("acpa.phase_attn.0.weight").grad,
            "acpa2": net.get_parameter("acpa.phase_attn.2.weight").grad,
        }
        for name, gradient in gradients.items():
            assert gradient is not None
            published = gradient.roll(roll, 1) if name.startswith("mask") else gradient
            reference.check(case, f"finetune.grad.{name}", published)
        for plugin in (apm, acpa):
            plugin.lr, plugin.steps = 0.01, 4
        losses = descend(errors, net, [apm, acpa])
    reference.check(case, "finetune.loss", torch.tensor(losses))
