"""HSNet's matching as source training runs it on a CPU: equal up to rounding, with all gradients.

Of a correlation only the support positions that the mask leaves are computed, and the first
convolution of a block only where it sees one of them. Where little is left of the support, all its
positions lie side by side as channels, [B, positions * C, h, w], channels last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..blocks.conv4d import CenterPivotConv4d, Squeeze
from ..blocks.hpn import HPNLearner, check_support_sizes
from ..core.contract import SupportState
from ..core.feature_batch import FeatureBatch
from ..core.method import Method
from ..hosts.hsnet import HSNet
from .convolution import pointwise
from .mixing import Part
from .products import product
from .small_support import dense_kernel
from .spots import unit_rows
from .windows import windows_of


def trained_score(network: Method) -> Callable[..., Tensor] | None:
    """A function that takes the place of `network.score`, at the parameters' present values.

    None where the network does not score as HSNet does.
    """
    if not isinstance(network, HSNet):
        return None
    own = type(network)
    same = (own.score, own.correlate, own.correlation)
    if same != (HSNet.score, HSNet.correlate, HSNet.correlation):
        return None
    learner = network.hpn_learner

    def score(query: FeatureBatch, states: Sequence[SupportState], *, shots: int) -> Tensor:
        if torch.is_autocast_enabled("cpu"):  # mixed precision: the plain form, as it is tested
            return HSNet.score(network, query, states, shots=shots)
        supports = cast("Sequence[FeatureBatch]", states)
        maps: list[Tensor] = []
        for shot in range(shots):
            support = FeatureBatch.cat(supports[shot::shots])
            pairs = [network.compared(s, query, support) for s in reversed(network.stages)]
            maps.append(_logits(learner, pairs))
        return torch.stack(maps, dim=1)

    return score


def _logits(
    learner: HPNLearner, pairs: Sequence[tuple[Sequence[Tensor], Sequence[Tensor]]]
) -> Tensor:
    blocks = zip(learner.blocks, pairs, strict=True)
    parts = [Part.of(_squeezed(block, *pair)) for block, pair in blocks]
    check_support_sizes([part.side for part in parts])
    side = parts[0].side
    coarse, middle, fine = (part.maps for part in parts)
    mixed = _mixed(learner.encoder_layer4to3, _enlarged(coarse, middle) + middle, side)
    mixed = _mixed(learner.encoder_layer3to2, _enlarged(mixed, fine) + fine, side)
    mean = mixed.unflatten(1, (side[0] * side[1], -1)).mean(1)
    return learner.decode(mean)


def _squeezed(block: Squeeze, query: Sequence[Tensor], support: Sequence[Tensor]) -> Tensor:
    """`block` of the hypercorrelation of taps [B, C, hq, wq] with taps [B, C, hs, ws]."""
    first, *others = block
    volume = torch.stack(
        [
            _first(
                cast("CenterPivotConv4d", first),
                [tap[i] for tap in query],
                [tap[i] for tap in support],
            )
            for i in range(len(query[0]))
        ]
    )
    for layer in others:
        volume = layer(volume)
    return volume


def _first(
    convolution: CenterPivotConv4d, query: Sequence[Tensor], support: Sequence[Tensor]
) -> Tensor:
    """A convolution of one episode's correlation, [C', hq, wq, hs', ws']."""
    over_query, over_support = convolution.conv1, convolution.conv2
    assert over_query.bias is not None
    assert over_support.bias is not None
    size = (query[0].shape[-2], query[0].shape[-1])
    there = torch.stack([(tap.detach() != 0).any(0).flatten() for tap in support]).any(0)
    known = there.nonzero()[:, 0]
    kernel = over_support.kernel_size[0]
    windows, side = windows_of(
        (support[0].shape[-2], support[0].shape[-1]), kernel, convolution.stride
    )
    row = np.full(len(there), len(known), np.int64)
    row[known.numpy()] = np.arange(len(known))
    rows = np.where(windows < 0, len(known), row[windows])
    seen = np.flatnonzero((rows < len(known)).any(1))
    values = _correlated(query, support, known)
    bias = over_query.bias + over_support.bias
    if not len(seen):
        found = values.new_zeros((len(rows), len(bias), size[0] * size[1]))
    else:
        filled = F.pad(values, (0, 0, 0, 0, 0, 1))  # a row of zeros for what is not there
        columns = filled.index_select(0, torch.from_numpy(rows[seen].ravel()))
        columns = columns.view(len(seen), -1, values.shape[2])
        flat = over_support.weight.permute(0, 2, 3, 1).flatten(1)
        sums = torch.matmul(flat, columns)
        pivots = rows[seen, kernel**2 // 2]
        own = np.flatnonzero(pivots < len(known))
        maps = values.index_select(0, torch.from_numpy(pivots[own])).unflatten(2, size)
        ours = F.conv2d(maps, over_query.weight, padding=over_query.padding)
        sums = sums.index_add(0, torch.from_numpy(own), ours.flatten(2))
        found = sums.new_zeros((len(rows), *sums.shape[1:]))
        found = found.index_copy(0, torch.from_numpy(seen), sums)
    found = found + bias[:, None]
    return found.view(*side, -1, *size).permute(2, 3, 4, 0, 1)


def _correlated(query: Sequence[Tensor], support: Sequence[Tensor], known: Tensor) -> Tensor:
    """Correlations of the `known` support positions, [n, taps, hq * wq]; negative ones are zero."""
    maps: list[Tensor] = []
    for asked, shown in zip(query, support, strict=True):
        rows = shown.flatten(1).t().index_select(0, known)
        found = product(unit_rows(rows), unit_rows(asked.flatten(1).t()))
        maps.append(found.clamp(min=0))
    return torch.stack(maps, dim=1)


def _mixed(block: Squeeze, maps: Tensor, side: tuple[int, int]) -> Tensor:
    """A block of stride 1 of [B, positions * C, h, w]."""
    positions = side[0] * side[1]
    modules = list(block)
    for layer, norm in zip(modules[::3], modules[1::3], strict=True):
        convolution, normalise = cast("CenterPivotConv4d", layer), cast("nn.GroupNorm", norm)
        over_query, over_support = convolution.conv1, convolution.conv2
        assert over_query.bias is not None
        assert over_support.bias is not None
        weight = over_query.weight.repeat(positions, 1, 1, 1)
        bias = (over_query.bias + over_support.bias).repeat(positions)
        found = F.conv2d(maps, weight, bias, padding=1, groups=positions)
        found = found + pointwise(maps, dense_kernel(over_support.weight, side))
        height, width = maps.shape[-2:]
        rows = found.permute(0, 2, 3, 1).reshape(len(maps), height * width, positions, -1)
        rows = F.relu(normalise(rows.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
        maps = rows.reshape(len(maps), height, width, -1).permute(0, 3, 1, 2)
    return maps


def _enlarged(maps: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(maps, like.shape[-2:], mode="bilinear", align_corners=True)
