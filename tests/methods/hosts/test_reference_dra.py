"""DR-Adapter against what the published code computes."""

from types import ModuleType

import pytest
import torch
from torch import Tensor

from cdfss_bench.methods import build
from cdfss_bench.methods.blocks.prototypes import cosine_scores
from cdfss_bench.methods.blocks.style import Style, StyleNoise, cycled, perturbed, rectified
from cdfss_bench.methods.blocks.style_alignment import Perturbation, alignment
from cdfss_bench.methods.blocks.voting import upsampled
from cdfss_bench.methods.core.contract import EpisodeBatch
from cdfss_bench.methods.hosts.dra import DRA, Restyled
from cdfss_bench.methods.hosts.ssp import mean_prototypes, pixel_error, with_own_prototypes

from ...support.vectors import OpenScenes, Scenes

pytestmark = pytest.mark.shared

WIDTHS = (128, 256, 512)


def filled(fill: ModuleType) -> DRA:
    net = build("dra")
    fill.fill(net, 0, "")
    assert isinstance(net, DRA)
    return net


@pytest.fixture(scope="module")
def dra(fill: ModuleType) -> DRA:
    return filled(fill)


def test_the_state_dict_has_the_published_entries(dra: DRA) -> None:
    state = dra.state_dict()
    assert len(state) == 300
    assert sum(parameter.numel() for parameter in dra.parameters()) == 59_250_752
    adapters = {key: value for key, value in state.items() if key.startswith("DR_Adapter.")}
    assert sum(value.numel() for value in adapters.values()) == 50_583_680
    for stage, width in enumerate(WIDTHS):
        for layer in (0, 3, 6):
            assert adapters[f"DR_Adapter.{stage}.{layer}.weight"].shape == (width, width, 7, 7)
    assert {"layer0.0.0.weight", "layer0.1.running_mean", "layer3.5.bn3.bias"} <= set(state)


@pytest.mark.parametrize("index", range(3))
def test_adapter(index: int, scenes: OpenScenes, dra: DRA) -> None:
    reference = scenes("dra_parts.npz")
    x = reference.array(f"dra.adapter{index}.x", (2, WIDTHS[index], 40, 44))
    with torch.no_grad():
        reference.check(f"adapter{index}", dra.adapters[index](x))


class Parts:
    """The inputs of `dra_parts.npz`."""

    def __init__(self, reference: Scenes):
        self.reference = reference
        self.query = reference.array("dra.part.q", (2, 128, 40, 44)) + 0.5
        self.support = reference.array("dra.part.s", (2, 128, 40, 44)) + 0.25

    def noise(self, kind: str, scale: float) -> StyleNoise:
        alpha, beta = (
            scale * self.reference.array(f"dra.part.{kind}.{name}", (2, 128, 1, 1))
            for name in ("alpha", "beta")
        )
        return StyleNoise(alpha, beta)

    def datum(self) -> Style:
        mean = self.reference.array("dra.part.datum.mean0", (1, 128, 1, 1))
        spread = self.reference.array("dra.part.datum.var0", (1, 128, 1, 1), "uniform")
        return Style(mean, spread + 0.5)


@pytest.fixture
def parts(scenes: OpenScenes) -> Parts:
    return Parts(scenes("dra_parts.npz"))


def test_local_perturbation(parts: Parts) -> None:
    noise = parts.noise("local", 0.75)
    parts.reference.check("local_alpha", noise.alpha)
    parts.reference.check("local_beta", noise.beta)
    for name, features in (("query", parts.query), ("support", parts.support)):
        found = perturbed(features, Style.of(features).mean, noise)
        parts.reference.check(f"local_{name}", found)


@pytest.mark.parametrize("case", ["global_datum", "global_batch"])
def test_global_perturbation(case: str, parts: Parts) -> None:
    both = Style.cat([Style.of(parts.query), Style.of(parts.support)])
    centre = parts.datum() if case == "global_datum" else both.average()
    for name, features in (("query", parts.query), ("support", parts.support)):
        found = perturbed(features, centre.mean, parts.noise("global", 1.0))
        parts.reference.check(f"{case}_{name}", found)
    parts.reference.check(f"{case}_datum_mean", centre.expand(2).mean)
    parts.reference.check(f"{case}_datum_var", centre.expand(2).var)


def test_rectification_and_its_cycle(parts: Parts, dra: DRA) -> None:
    adapter = dra.adapters[0]
    with torch.no_grad():
        for name, features in (("query", parts.query), ("support", parts.support)):
            found, style = rectified(features, adapter)
            parts.reference.check(f"rectify_{name}", found)
            parts.reference.check(f"rectify_{name}_mean", style.mean)
            parts.reference.check(f"rectify_{name}_var", style.var)
        query, style = rectified(parts.query, adapter)
        second = cycled(query, style, adapter, parts.noise("global", 0.75))
    parts.reference.check("cyclic_mean", second.mean)
    parts.reference.check("cyclic_var", second.var)


@pytest.mark.parametrize("case", ["small_1shot", "full_1shot", "small_5shot"])
def test_whole_network(case: str, scenes: OpenScenes, dra: DRA) -> None:
    reference = scenes("dra_episode.npz")
    query_images, _, images, masks = reference.episode(case)
    styles: list[Style] = []
    hooks = [
        adapter.register_forward_pre_hook(lambda _m, inputs: styles.append(Style.of(inputs[0])))
        for adapter in dra.adapters
    ]
    with torch.no_grad():
        query = dra.encode(query_images)
        support = dra.encode(images.flatten(0, 1))
    for hook in hooks:
        hook.remove()
    features = query.tensors[dra.stage]
    reference.check(f"{case}_query_features", features)
    if f"{case}_style0_mean" in reference.spec["outputs"]:
        for index in range(3):
            style = Style.cat([styles[index], styles[3 + index]])
            reference.check(f"{case}_style{index}_mean", style.mean)
            reference.check(f"{case}_style{index}_var", style.var)
    with torch.no_grad():
        fore, back = mean_prototypes(support.tensors[dra.stage], masks)
        coarse = cosine_scores(features, fore[..., None, None], back[..., None, None])
        reference.check(f"{case}_support_match_low", coarse)
        reference.check(f"{case}_final_low", dra.match(query, support, masks)[:, 0])
        logits = dra.logits(query_images, images, masks)[:, 0]
        reference.check(f"{case}_logits", logits)
        mask = dra.predict(query_images, images, masks)
        assert torch.equal(mask, logits.argmax(1).to(torch.uint8))


def pair(reference: Scenes, name: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Query, its mask, support, its mask of one training input, batch 2, one shot."""
    query, query_mask = reference.scene(f"{name}.q", name, 2, 304, 320)
    support, support_mask = reference.scene(f"{name}.s", name, 2, 304, 320)
    return query, query_mask, support, support_mask


def test_the_bank_of_styles(scenes: OpenScenes, fill: ModuleType) -> None:
    reference = scenes("dra_train.npz")
    net = filled(fill)
    net.train()
    net.begin_round(0, batch=2, rng=torch.Generator())
    for number, name in enumerate(reference.spec["inputs"]["datum"]["batches"], start=1):
        query, query_mask, support, support_mask = pair(reference, name)
        batch = EpisodeBatch(query, query_mask, support[:, None], support_mask[:, None])
        assert not net.loss_terms(batch)
        net.end_step()
        assert net.bank is not None
        for index, style in enumerate(net.bank):
            reference.check(f"datum_after{number}_mean{index}", style.mean.flatten())
            reference.check(f"datum_after{number}_var{index}", style.var.flatten())
    state = net.state_dict()
    reference.check("datum_running_mean_layer0.1", state["layer0.1.running_mean"])
    reference.check("datum_running_var_layer3.5.bn3", state["layer3.5.bn3.running_var"])


@pytest.mark.parametrize("case", ["none", "local", "global", "both"])
def test_training(
    case: str, scenes: OpenScenes, fill: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = scenes("dra_train.npz")
    net = filled(fill)
    net.train()

    def noise(kind: str, scale: float) -> list[StyleNoise]:
        names = [f"dra.train.{kind}.{name}" for name in ("alpha", "beta")]
        drawn = [[scale * reference.array(f"{n}{i}", (2, w, 1, 1)) for n in names]
                 for i, w in enumerate(WIDTHS)]  # fmt: skip
        return [StyleNoise(*pair) for pair in drawn]

    net.bank = [
        Style(
            0.5 * reference.array(f"dra.train.datum.mean{i}", (1, width, 1, 1)),
            0.5 + reference.array(f"dra.train.datum.var{i}", (1, width, 1, 1), "uniform"),
        )
        for i, width in enumerate(WIDTHS)
    ]
    local = noise("local", 0.75) if case in ("local", "both") else None
    shared = noise("global", 1.0) if case in ("global", "both") else None
    name = reference.spec["inputs"][case]["cls"]
    query, query_mask, support, support_mask = pair(reference, name)

    batch = EpisodeBatch(
        query, query_mask, support[:, None], support_mask[:, None], torch.Generator()
    )
    walked = net.restyled(query, support, Perturbation(local, shared))
    for index, trace in enumerate(walked.traces):
        reference.check(f"{case}_style{index}_mean", trace.seen.mean.flatten(1))
        reference.check(f"{case}_style{index}_var", trace.seen.var.flatten(1))
        if trace.target is None or trace.first is None or trace.second is None:
            assert case == "none"
            continue
        named = {"original": trace.target, "first": trace.first, "second": trace.second}
        for which, style in named.items():
            reference.check(f"{case}_params{index}_{which}_mean", style.mean.flatten(1))
            reference.check(f"{case}_params{index}_{which}_var", style.var.flatten(1))
    fore, back = mean_prototypes(walked.support, support_mask[:, None])
    first = net.self_supported(walked.query, fore, back).first
    size = (304, 320)
    reference.check(f"{case}_query", upsampled(first, size))
    own = with_own_prototypes(walked.query, query_mask)
    reference.check(f"{case}_query_self", upsampled(own, size))
    own = with_own_prototypes(walked.support, support_mask)
    reference.check(f"{case}_support_self", upsampled(own, size))
    reference.check(f"{case}_running_mean_layer0.1", net.state_dict()["layer0.1.running_mean"])

    def known(*_given: object, **_named: object) -> Restyled:
        return walked

    monkeypatch.setattr(net, "restyled", known)  # the costly half is not computed twice
    terms = net.loss_terms(batch)
    assert [term.weight for term in terms.values()] == [1, 1, 0.2, 2]
    loss = torch.stack([term.weight * term.value for term in terms.values()]).sum()
    values = torch.stack([loss, *(term.value for term in terms.values())])
    reference.check(f"{case}_losses", values)
    assert torch.equal(terms["style"].value, alignment(walked.traces))
    assert torch.equal(terms["first"].value, pixel_error(first, query_mask))
    loss.backward()
    prefix = "backbone."
    gradients = {key.removeprefix(prefix): p.grad for key, p in net.named_parameters()}
    assert sorted(gradients) == reference.spec["grad_norm_names"]
    norms = [
        torch.tensor(-1.0) if (gradient := gradients[key]) is None else gradient.norm()
        for key in reference.spec["grad_norm_names"]
    ]
    reference.check(f"{case}_grad_norms", torch.stack(norms))
