"""`layers` finds the layer in which something was planted, and what a choice by supports gains."""

from pathlib import Path

import pytest
import torch

from cdfss_bench.bench.diagnose import layers
from cdfss_bench.bench.diagnose.drawing import rendered
from cdfss_bench.bench.diagnose.finding import NotApplicable
from cdfss_bench.bench.diagnose.frames import row_where, rows_where
from cdfss_bench.bench.diagnose.layers import HLS, LAST, ORACLE, by_support, layer_names
from cdfss_bench.bench.diagnose.spread import miou_of
from cdfss_bench.methods import build
from cdfss_bench.methods.controls.prototype import Prototype
from cdfss_bench.methods.core.feature_batch import FeatureBatch

from ...support.contract import as_a
from .planted import subject_of

BLOCKS = [f"blocks.{index}" for index in range(6)]


def test_the_layers_of_a_backbone_shallow_to_deep() -> None:
    assert layer_names(build("prototype", backbone="vit-mini").backbone) == BLOCKS
    found = layer_names(build("prototype", backbone="resnet-mini").backbone)
    assert found == ["layer1.0", "layer1", "layer2.0", "layer2", "layer3.0", "layer3"]


def test_the_whole_diagnosis(tmp_path: Path) -> None:
    subject = subject_of("prototype", tmp_path, {}, "mini-lesion", "mini-objects", episodes=6)
    finding = layers.diagnose(subject)
    table, choices = finding.tables["layers"], finding.tables["choices"]
    deepest = subject.network().backbone.semantic
    for domain in subject.targets:
        rows = rows_where(table, domain=domain.title)
        assert list(rows["layer"])[-1] == deepest
        # The last layer is what the method reads, and so what the evaluator computes for it.
        own = miou_of(subject.rows(subject.network(), domain, subject.episodes(domain)))
        assert float(rows["miou"].iloc[-1]) == pytest.approx(own)
        last = row_where(choices, domain=domain.title, choice=LAST)
        assert last["miou"] == pytest.approx(own)
        assert last["gain"] == 0
        by_hls = row_where(choices, domain=domain.title, choice=HLS)
        with_hls = subject.network("prototype+hls")
        asked = subject.rows(with_hls, domain, subject.episodes(domain))
        assert by_hls["miou"] == pytest.approx(miou_of(asked))
        assert set(rows_where(choices, domain=domain.title)["choice"]) == {
            LAST, ORACLE, "by support", HLS,
        }  # fmt: skip
    assert "chosen by HLS" in finding.sentences[2]
    assert "Knowing the best layer of each episode would add" in finding.sentences[1]
    for draw in finding.figures.values():
        assert rendered(draw)[0].startswith(b"\x89PNG")
    assert not subject.reused
    layers.diagnose(subject)
    assert subject.reused


@pytest.mark.parametrize("shots", [1, 3])
def test_the_choice_by_the_support_finds_the_layer_that_shows_the_mask(shots: int) -> None:
    network = as_a(Prototype, build("prototype", backbone="vit-mini"))
    readers = {name: network.reading(name) for name in BLOCKS}
    masks = torch.zeros((shots, 64, 64), dtype=torch.uint8)
    masks[:, 16:48, 16:48] = 1
    rng = torch.Generator().manual_seed(0)
    maps = {name: torch.randn((shots, 8, 16, 16), generator=rng) for name in BLOCKS}
    tone = torch.randn((8, 1, 1), generator=rng)
    inside = masks[:, None, ::4, ::4].float()
    maps["blocks.2"] = (2 * inside - 1) * tone
    chosen = by_support(readers, FeatureBatch((64, 64), maps), masks)
    assert chosen == "blocks.2"


def test_of_equal_layers_the_deeper_is_chosen() -> None:
    network = as_a(Prototype, build("prototype", backbone="vit-mini"))
    readers = {name: network.reading(name) for name in BLOCKS}
    alike = torch.randn((1, 8, 4, 4), generator=torch.Generator().manual_seed(0))
    masks = torch.zeros((1, 32, 32), dtype=torch.uint8)
    masks[:, :16] = 1
    features = FeatureBatch((32, 32), dict.fromkeys(BLOCKS, alike))
    assert by_support(readers, features, masks) == "blocks.5"


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("hsnet", "has no option 'layer'"),
        ("ssp+lcm", "carries plug-ins made for its layer"),
        ("centre-ellipse", "no backbone"),
    ],
)
def test_what_reads_no_single_layer_is_named(method: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(NotApplicable, match=reason):
        layers.diagnose(subject_of(method, tmp_path, {}, "mini-lesion", episodes=2))
