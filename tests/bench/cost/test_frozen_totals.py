"""The counter against hand-derived totals of INSID3 and FROST, whose work depends on the probe."""

from typing import cast

import pytest
import torch
import torch.nn.functional as F

from cdfss_bench.bench.cost.profile import cost_of, probe
from cdfss_bench.methods import build
from cdfss_bench.methods.blocks.candidates import alike, mean_prototype
from cdfss_bench.methods.blocks.density_ratio import CHUNK
from cdfss_bench.methods.conformance.probe import seeded
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.hosts.debiased import MAP, unit_columns
from cdfss_bench.methods.hosts.frost import FROST, told
from cdfss_bench.methods.hosts.insid3 import INSID3, matched

from ...support.contract import as_a
from ...support.hand_counts import product, resnet_mini

CHANNELS, POSITIONS = 96, 64
"""Of resnet-mini's layer3 at stride 16 on 128 pixels."""

pytestmark = [pytest.mark.parametrize("shots", [1, 5]), pytest.mark.parametrize("svd", [0, 20])]


def debiasing(directions: int) -> int:
    """Into the basis and back."""
    return 2 * product(CHANNELS, directions, POSITIONS)


def gate(references: int, asked: int) -> int:
    """Masked means, likeness to their mean, and the best matches of the positions asked."""
    means = references * product(CHANNELS, POSITIONS, 1)
    matches = references * product(asked, CHANNELS, POSITIONS)
    return means + product(1, CHANNELS, POSITIONS) + matches


def test_the_record_of_the_mini_suites_insid3(svd: int, shots: int) -> None:
    method = as_a(INSID3, seeded(build("insid3", backbone="resnet-mini", svd=svd)).eval())
    cost = cost_of(method, shots=shots, size=128, device="cpu")
    query, supports, masks = probe(shots, 128, "cpu")
    with torch.no_grad():
        rows = method.encode(query)
        states = method.encode_support(method.encode(supports[0]), masks[0])
        own = FeatureBatch.cat(cast("list[FeatureBatch]", states)).tensors
        unit = unit_columns(rows.tensors[MAP])[0]
        tokens = method.debiased(unit, rows.size)
        (found,) = method.decisions([matched(unit, tokens, own["tokens"], own["seen"])])
        basis = method.basis(rows.size, unit)
    directions = 0 if basis is None else basis.shape[1]
    asked = int(alike(found.matched.similarity).sum())
    assert found.clusters is not None
    clusters = len(found.clusters.scores)
    image = resnet_mini(128, layers=3, stride=16)
    match = debiasing(directions) + gate(shots, asked)
    match += product(POSITIONS, CHANNELS, POSITIONS)  # distances; the linkage itself is scipy's
    match += (2 * product(CHANNELS, POSITIONS, clusters)) + product(2, POSITIONS, clusters)
    match += 2 * product(clusters, CHANNELS, 1)
    assert cost.flops_encode == image
    assert cost.flops_support == image + debiasing(directions)
    assert cost.flops_query == image + match
    assert cost.flops_episode == (1 + shots) * image + shots * debiasing(directions) + match


def test_the_record_of_the_mini_suites_frost(svd: int, shots: int) -> None:
    method = as_a(FROST, seeded(build("frost", backbone="resnet-mini", svd=svd)).eval())
    cost = cost_of(method, shots=shots, size=128, device="cpu")
    query, supports, masks = probe(shots, 128, "cpu")
    with torch.no_grad():
        rows = method.encode(query)
        shown = method.encode(supports[0])
        references = method.references(method.encode_support(shown, masks[0]))
        (found,) = method.decisions([method.query(rows)], [references])
        basis = method.basis(rows.size, query)
        matrix = told([references])[0].matrix
        assert matrix is not None
        prototype = mean_prototype(matrix @ references.tokens, references.seen)
    assert found.density is not None
    directions = 0 if basis is None else basis.shape[1]
    views = 2 * shots
    fore = int(references.seen.sum())
    back = views * POSITIONS - fore
    assert max(fore, back) <= CHUNK  # one chunk: every pair of a class is compared
    asked = int(alike(F.cosine_similarity(prototype[:, None], found.whitened, dim=0)).sum())
    image = resnet_mini(128, layers=3, stride=16)
    scatter = views * (product(CHANNELS, POSITIONS, CHANNELS) + product(2, POSITIONS, CHANNELS))
    root = product(CHANNELS, CHANNELS, CHANNELS)
    applied = (1 + views) * product(CHANNELS, CHANNELS, POSITIONS)
    anchors = product(fore, CHANNELS, fore) + product(back, CHANNELS, back + fore)
    ratio = product(POSITIONS, CHANNELS, fore + back)
    walk = product(POSITIONS, CHANNELS, POSITIONS) + 10 * product(POSITIONS, POSITIONS, 1)
    match = debiasing(directions) + scatter + root + applied
    match += gate(views, asked) + anchors + ratio + walk
    support = image + 2 * debiasing(directions)
    assert cost.flops_encode == image
    assert cost.flops_support == image + support
    assert cost.flops_query == image + match
    assert cost.flops_episode == (1 + shots) * image + shots * support + match
