"""HLS, PGR and PAC on other hosts: which maps are matched, and what is refused."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cdfss_bench.errors import CompositionError
from cdfss_bench.methods import build, parse
from cdfss_bench.methods.backbones.pulled import attended
from cdfss_bench.methods.blocks import residual_logits
from cdfss_bench.methods.blocks.layer_choice import LayerChoice, smoothed_iou
from cdfss_bench.methods.blocks.voting import upsampled
from cdfss_bench.methods.conformance.probe import Episodes, episodes
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.plugins.hls import HLS
from cdfss_bench.methods.plugins.pac import PAC
from cdfss_bench.methods.plugins.pgr import GRAPH
from cdfss_bench.methods.registry.build import fitting

from ...support.contract import seeded

pytestmark = pytest.mark.usefixtures("one_thread")


def made(name: str, backbone: str = "resnet-mini") -> Method:
    return seeded(build(name, backbone=backbone))


def asked(shots: int, seed: int = 0) -> Episodes:
    return episodes(1, shots, 64, seed=seed)


def hls_of(method: Method) -> HLS:
    (plugin,) = (plugin for plugin in method.map_plugins if isinstance(plugin, HLS))
    return plugin


def pac_of(method: Method) -> PAC:
    (plugin,) = (plugin for plugin in method.score_plugins if isinstance(plugin, PAC))
    return plugin


@torch.no_grad()
def encoded(method: Method, given: Episodes) -> tuple[FeatureBatch, Tensor]:
    return method.encode(given.support_images[0]), given.support_masks[0]


def adapted(method: Method, given: Episodes) -> Method:
    support, masks = encoded(method, given)
    return method.adapt_encoded(support, masks, rng=torch.Generator().manual_seed(0))


@torch.no_grad()
def logits(method: Method, given: Episodes) -> Tensor:
    return method.logits(*given.inputs)


@pytest.mark.parametrize(
    ("host", "backbone", "taps", "mixable"),
    [
        ("ssp", "resnet50-caffe", ["layer2.3", *(f"layer3.{i}" for i in range(6))], range(1, 7)),
        ("ssp", "resnet-mini", ["layer2.1", "layer3.0", "layer3.1"], range(1, 3)),
        ("prototype", "vit-mini", ["blocks.3.0", "blocks.4.0", "blocks.5.0"], range(3)),
    ],
)
def test_the_candidates(host: str, backbone: str, taps: list[str], mixable: range) -> None:
    with torch.device("meta"):
        plugin = hls_of(build(f"{host}+hls", backbone=backbone))
    assert (list(plugin.taps), plugin.mixable) == (taps, mixable)


@pytest.mark.parametrize("name", ["ssp+hls", "prototype+hls"])
@pytest.mark.parametrize("shots", [1, 3])
def test_the_chosen_layer_is_that_whose_prediction_of_the_supports_is_best(
    name: str, shots: int
) -> None:
    """Against the host itself, asked for each support with the others on each candidate."""
    method, given = made(f"{name}[mix=false]"), asked(shots)
    ready = adapted(method, given)
    choice = hls_of(ready).choice
    assert choice is not None
    support, masks = encoded(method, given)
    images = support.tensors["image"]
    if shots == 1:
        brighter = images + images * masks[:, None]
        with torch.no_grad():
            support = FeatureBatch.cat([support, *2 * [method.encode(brighter)]])
        masks = masks.expand(3, -1, -1)
    scores: list[float] = []
    for tap in hls_of(method).taps:
        rows = FeatureBatch(support.size, {"layer3": support.tensors[f"tap:{tap}"]})
        ious: list[Tensor] = []
        for i in range(len(masks)):
            others = [j for j in range(len(masks)) if j != i]
            with torch.no_grad():
                states = [*method.support_states(rows[others], masks[others])]
                found = method.score(rows[i : i + 1], states, shots=len(others))
            ious.append(smoothed_iou(method.decide(found, support.size), masks[i : i + 1]))
        scores.append(float(torch.stack(ious).mean()))
    torch.testing.assert_close(torch.tensor(choice.singles), torch.tensor(scores))
    assert choice.best == max(range(len(scores)), key=lambda layer: scores[layer])
    assert choice.layers == (choice.best,)


@pytest.mark.parametrize(("layers", "weights"), [((1,), (1.0,)), ((1, 2), (0.3, 0.7))])
def test_what_was_chosen_is_matched(layers: tuple[int, ...], weights: tuple[float, ...]) -> None:
    method, given = made("ssp+hls"), asked(2)
    plugin = hls_of(method)
    plugin.choice = LayerChoice(layers, weights, 1, ())
    rows, _ = encoded(method, given)
    taps = [rows.tensors[f"tap:{plugin.taps[layer]}"] for layer in layers]
    unit = [F.normalize(tap, dim=1) for tap in taps]
    mix = sum((w * u for w, u in zip(weights, unit, strict=True)), torch.zeros(()))
    expected = taps[0] if len(taps) == 1 else mix
    torch.testing.assert_close(method.with_chosen_maps(rows).tensors["layer3"], expected)
    again = method.with_chosen_maps(method.with_chosen_maps(rows))
    torch.testing.assert_close(again.tensors["layer3"], expected)


def test_before_an_episode_and_for_the_last_layer_it_is_the_host_alone() -> None:
    alone, carrying = made("ssp"), made("ssp+hls")
    assert torch.equal(logits(alone, asked(2)), logits(carrying, asked(2)))
    hls_of(carrying).choice = LayerChoice((2,), (1.0,), 2, ())
    assert torch.equal(logits(alone, asked(2)), logits(carrying, asked(2)))


def test_beside_a_feature_plug_in_only_maps_of_its_width_are_candidates() -> None:
    choice = hls_of(adapted(made("ssp+hls+apm-s[steps=1]"), asked(2))).choice
    assert choice is not None
    assert len(choice.singles) == 2
    assert min(choice.layers) >= 1


def test_the_choice_comes_before_what_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A feature plug-in learns on the chosen map."""
    method, given = made("ssp+hls+apm-s[steps=0]"), asked(2)

    def choose(self: HLS, *_: object) -> None:
        self.choice = LayerChoice((1,), (1.0,), 1, ())

    monkeypatch.setattr(HLS, "choose", choose)
    ready = adapted(method, given)
    rows, _ = encoded(method, given)
    seen = ready.apply_transforms(rows).tensors["layer3"]
    filtered = ready.feature_plugins[0].transform(rows.tensors["tap:layer3.0"])
    torch.testing.assert_close(seen, filtered)


@pytest.mark.parametrize("block", [3, 4, 5])
def test_pgr_pulls_the_block_that_is_read(block: int) -> None:
    method = made("prototype+hls+pgr", "vit-mini")
    hls_of(method).choice = LayerChoice((block - 3,), (1.0,), block - 3, ())
    rows, _ = encoded(method, asked(2))
    trunk = method.backbone
    before = trunk.stages[block].name
    with torch.no_grad():
        found = method.with_chosen_maps(rows)
        middle, graph = attended(trunk, block, rows.tensors[f"tokens:{before}"], (4, 4))  # pyright: ignore[reportArgumentType]
        behind = middle + trunk.block(block).mixed(middle)  # pyright: ignore
        expected = trunk.closed(behind, (4, 4)) if block == 5 else trunk.placed(behind, (4, 4))  # pyright: ignore
    torch.testing.assert_close(found.tensors["blocks.5"], expected)
    torch.testing.assert_close(found.tensors[GRAPH], graph)
    plain = rows.tensors[f"tap:blocks.{block}.0"]
    assert float((found.tensors["blocks.5"] - plain).abs().max()) > 1e-3


def test_without_hls_the_last_block_is_pulled() -> None:
    alone, pulled = made("prototype", "vit-mini"), made("prototype+pgr", "vit-mini")
    assert pulled.adaptation == "none"
    assert not torch.allclose(logits(alone, asked(2)), logits(pulled, asked(2)))


def test_the_backbone_that_is_taken_has_what_the_plug_ins_need() -> None:
    assert fitting(parse("prototype"))[0] == "resnet50-deep"
    assert fitting(parse("prototype+pgr"))[0] == "vit-b16"
    with torch.device("meta"):
        assert type(build("prototype+pgr").backbone).__name__ == "ViT"


@pytest.mark.parametrize(
    ("name", "backbone"), [("ssp", "resnet-mini"), ("prototype+pgr", "vit-mini")]
)
def test_pac_corrects_what_the_host_scores(name: str, backbone: str) -> None:
    alone, carrying = made(name, backbone), made(f"{name}+pac", backbone)
    given = asked(2)
    rows = carrying.apply_feature_plugins(encoded_query(carrying, given))
    stage = carrying.backbone.semantic
    full = logits(alone, given)[:, 0]
    graph = rows.tensors.get(GRAPH)
    assert (graph is not None) == ("pgr" in name)
    expected = residual_logits.calibrated(full, rows.tensors[stage], given.query_images, graph)
    torch.testing.assert_close(logits(carrying, given)[:, 0], expected, rtol=0, atol=1e-3)


@torch.no_grad()
def encoded_query(method: Method, given: Episodes) -> FeatureBatch:
    return method.encode(given.query_images)


@pytest.mark.parametrize("shots", [1, 3])
def test_pac_acts_where_the_supports_do_not_get_worse(
    shots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = asked(shots)

    def answer(sign: float) -> tuple[bool, Tensor]:
        def corrected(_: PAC, scores: Tensor, rows: FeatureBatch) -> Tensor:
            return sign * upsampled(scores, rows.size)

        monkeypatch.setattr(PAC, "corrected", corrected)
        ready = adapted(made("ssp+pac[auto]"), given)
        return pac_of(ready).acts, logits(ready, given)

    plain = logits(made("ssp"), given)
    same, kept = answer(1.0)
    assert same
    torch.testing.assert_close(kept, plain)
    worse, untouched = answer(-1.0)
    assert not worse
    torch.testing.assert_close(untouched, plain)


@pytest.mark.parametrize("name", ["ssp+pac", "ssp+pac[auto]", "ssp+hls"])
def test_the_adaptation_of_the_network_is_that_of_its_name(name: str) -> None:
    assert parse(name).adaptation == made(name).adaptation


def test_pac_cannot_be_asked_with_one_map() -> None:
    with pytest.raises(CompositionError, match="ask `correct`"):
        PAC().calibrate(torch.zeros(1, 1, 2, 4, 4), torch.zeros(1, 3, 4, 4), (8, 8))
