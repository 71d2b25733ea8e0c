"""HERA against vectors of its published functions on a small 24-block DINOv3."""

import pytest
import torch
from torch import Tensor

from cdfss_bench.methods.backbones.dino import DinoPlan, DINOv3
from cdfss_bench.methods.backbones.pulled import attended
from cdfss_bench.methods.blocks import residual_logits as pac
from cdfss_bench.methods.blocks.layer_choice import LayerChoice, mix_weights, mixed, mixed_layers
from cdfss_bench.methods.blocks.locality import patch_graph, pull_of, pulled_attention
from cdfss_bench.methods.blocks.subset_fitting import FusionMLP
from cdfss_bench.methods.blocks.voting import upsampled
from cdfss_bench.methods.core.adaptation import copy_of
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.core.leave_one_out import support_views
from cdfss_bench.methods.hosts.hera import HERA

from ...support.dino_vectors import NewVectors, fill_dino
from ...support.recipes import pictures
from ...support.vectors import stored_vectors

pytestmark = [pytest.mark.shared, pytest.mark.usefixtures("one_thread")]

WIDTH, DEPTH, HEADS, FIRST = 128, 24, 4, 12
SIZE, GRID, GAIN = (160, 160), (10, 10), 1.5

vectors = stored_vectors(NewVectors, "hera.npz")


@pytest.fixture(scope="module")
def net(vectors: NewVectors) -> HERA:
    backbone = fill_dino(DINOv3(DinoPlan(WIDTH, HEADS, DEPTH)), vectors.fill, vectors.seed)
    return HERA(backbone).eval()


def episode(vectors: NewVectors, name: str, count: int) -> tuple[Tensor, Tensor]:
    """Images [n, 3, H, W] and masks [n, H, W] of the recipe `episode`."""
    height, width = SIZE
    return pictures(vectors, {"N": name, "n": count, "H": height, "W": width, "gain": GAIN})


@torch.no_grad()
def views(net: HERA, vectors: NewVectors, shots: int) -> tuple[FeatureBatch, Tensor]:
    shown, masks = episode(vectors, f"hera{shots}/support", shots)
    return support_views(net, net.encode(shown), masks)


def test_the_mixes_around_every_layer(vectors: NewVectors) -> None:
    stored = torch.full((12, 6, 10), -1, dtype=torch.int32)
    for row, best in enumerate(range(FIRST, DEPTH)):
        for place, layers in enumerate(mixed_layers(best, FIRST, DEPTH - 1)):
            stored[row, place, : len(layers)] = torch.tensor(layers)
    vectors.check("fusion sets", "sets", stored)


@pytest.mark.parametrize("shots", [1, 5])
def test_the_layer_that_is_chosen(net: HERA, vectors: NewVectors, shots: int) -> None:
    case = f"HLS, {shots}-shot"
    shown, masks = views(net, vectors, shots)
    with torch.no_grad():
        ious = [
            net.judge(net.plain(shown, block), masks, range(len(masks))) for block in net.candidates
        ]
        choice = net.chosen(shown, masks)
    vectors.check(case, f"hls{shots}.per_view", torch.stack(ious))
    vectors.check(case, f"hls{shots}.single", torch.tensor(choice.singles))
    vectors.check(case, f"hls{shots}.fusion", torch.tensor([score for _, score in choice.mixes]))
    assert not choice.is_mix
    winner = torch.tensor([choice.best, choice.layers[0]], dtype=torch.int32) + FIRST
    vectors.check(case, f"hls{shots}.winner", winner)


def test_the_mix_of_layers(net: HERA, vectors: NewVectors) -> None:
    shown, _ = episode(vectors, "hera5/support", 5)
    layers = mixed_layers(17, FIRST, DEPTH - 1)[0]
    weights = mix_weights(vectors.input("hera.scores", (8,), "uniform"), layers)
    vectors.check("fusion map", "fusion.weights", weights)
    with torch.no_grad():
        rows = net.encode(shown[:1])
        maps = [net.plain(rows, layer) for layer in layers]
    vectors.check("fusion map", "fusion.map", WIDTH**0.5 * mixed(maps, weights.tolist()))


@torch.no_grad()
def test_the_attention_that_is_pulled(net: HERA, vectors: NewVectors) -> None:
    case = "PGR in block 17"
    shown, _ = episode(vectors, "hera5/support", 5)
    block, before = net.backbone.block(17), net.encode(shown[:1]).tensors["tokens.16"]
    rotation = net.backbone.rotation(GRID)
    query, key, _ = block.attn.parts(block.norm1(before), rotation)
    pull = pull_of(query, key, registers=4)
    vectors.check(case, "pgr.entropy_q", pull.entropy_q[0])
    vectors.check(case, "pgr.entropy_k", pull.entropy_k[0])
    vectors.check(case, "pgr.gamma", pull.gate[0])
    vectors.check(case, "pgr.alpha", pull.strength[0])
    attention = pulled_attention(query, key, GRID, registers=4)
    vectors.check(case, "pgr.attention", attention)
    vectors.check(case, "pgr.patch_map", patch_graph(attention, first=5))
    middle, _ = attended(net.backbone, 17, before, GRID)
    output = net.backbone.placed(middle + block.mixed(middle), GRID)
    vectors.check(case, "pgr.block_output", output)


@pytest.mark.parametrize(
    ("case", "stem"), [("PAC", "pac"), ("PAC without attention", "pac_noattn")]
)
def test_the_residual_logits(vectors: NewVectors, case: str, stem: str) -> None:
    features = vectors.input("pac.feat", (1, 48, *GRID))
    logits = upsampled(2 * vectors.input("pac.logits.low", (1, 2, *GRID)), SIZE)
    image = vectors.input("pac.image", (1, 3, *SIZE))
    graph = vectors.input("pac.attn", (1, 100, 100), "uniform") ** 4 if case == "PAC" else None
    prior = pac.prior_logit(logits)
    found = pac.residuals(logits, features, image, graph)
    vectors.check(case, f"{stem}.l0", prior)
    names = {"features": "l_sim", "image": "l_img", "attention": "l_attn"}
    assert len(found) == (2 if graph is None else 3)
    for name, residual in found.items():
        vectors.check(case, f"{stem}.{names[name]}", residual)
    scales = [pac.scale_of(residual, prior).flatten() for residual in found.values()]
    vectors.check(case, f"{stem}.scales", torch.cat(scales))
    vectors.check(case, f"{stem}.result", pac.calibrated(logits, features, image, graph))


@pytest.mark.parametrize("winner", ["single", "fusion"])
@pytest.mark.parametrize("shots", [1, 5])
def test_the_fitting_and_the_prediction(
    net: HERA, vectors: NewVectors, shots: int, winner: str
) -> None:
    case, stem = f"adaptation, {shots}-shot, {winner} winner", f"adapt{shots}{winner[0]}"
    copied = copy_of(net)
    shown, masks = views(net, vectors, shots)
    best = int(vectors.arrays[f"hls{shots}.winner"][0])
    if winner == "single":
        copied.choice = LayerChoice((best - FIRST,), (1.0,), best - FIRST, ())
    else:
        copied.choice = published_mix(vectors, shots, best)
        copied.mlp = filled_mlp(vectors)
    losses = copied.learn(shown, masks, None)
    assert [len(step) for step in losses] == vectors.cases[case]["terms_per_step"]
    for number, step in enumerate(losses, start=1):
        vectors.check(case, f"{stem}.losses.step{number}", torch.tensor(step))
    assert copied.mlp is not None
    stored = {spec["array"] for spec in vectors.cases[case]["outputs"]}
    fitted = dict(copied.mlp.named_parameters())
    for name in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"):
        vectors.check(case, f"{stem}.fitted.mlp.{name}", fitted[name])
    if winner == "fusion":
        vectors.check(case, f"{stem}.fitted.ls2.gamma", fitted["gamma"])
        stored.discard(f"{stem}.fitted.ls2.gamma")
    assert sum(".fitted." in name for name in stored) == 4
    check_prediction(copied, vectors, case, stem, shown, masks)


@torch.no_grad()
def check_prediction(
    net: HERA, vectors: NewVectors, case: str, stem: str, shown: FeatureBatch, masks: Tensor
) -> None:
    """What an adapted network makes of its own supports and of the query."""
    shots = int(stem[5])
    votes = torch.stack(net.ious_around_pac(shown, masks, shots), dim=1)
    vectors.check(case, f"{stem}.vote_ious", votes)
    query = net.encode(episode(vectors, f"hera{shots}/query", 1)[0])
    vectors.check(case, f"{stem}.query_features", net.read(query)[0])
    states = net.encode_support(shown[:shots], masks[:shots])
    net.refining = False
    plain = upsampled(net.score(query, states, shots=shots), SIZE)
    vectors.check(case, f"{stem}.logits", plain[:, 0])
    net.refining = True
    refined = net.score(query, states, shots=shots)
    vectors.check(case, f"{stem}.refined", refined[:, 0])
    vectors.check(case, f"{stem}.mask", net.decide(refined, SIZE)[0])


def published_mix(vectors: NewVectors, shots: int, best: int) -> LayerChoice:
    """The window around `best`, weighed as the published fine-tuning weighs it."""
    layers = tuple(layer - FIRST for layer in mixed_layers(best, FIRST, DEPTH - 1)[0])
    scores = torch.from_numpy(vectors.arrays[f"hls{shots}.single"])[list(layers)]
    scores[-1] = scores[:-1].mean()
    weights = mix_weights(scores, layers)
    return LayerChoice(layers, tuple(weights.tolist()), best - FIRST, ())


def filled_mlp(vectors: NewVectors) -> FusionMLP:
    """The correction of a mix with the initial values that `vectors.json` states."""
    mlp = FusionMLP(WIDTH, torch.Generator().manual_seed(0))
    for part in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"):
        own = mlp.get_parameter(part)
        drawn = vectors.fill.value(f"fusion_mlp.mlp.{part}", tuple(own.shape), vectors.seed)
        with torch.no_grad():
            own.copy_(torch.from_numpy(drawn))
    return mlp
