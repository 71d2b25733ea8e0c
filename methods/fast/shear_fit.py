"""The adapters of several taps fitted together: `blocks.shear_fit.fit` up to rounding.

What makes it fast: gradients are written out, and features ask for none; a sheared map shows cells
of one map, whose products with the first layer are computed once; the first layer's bias, which the
normalisation takes out again, is left alone; of the contrastive term, whose logits are bounded, one
block of exponentials at a time lies in the cache and gives the value and both gradients.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cdfss_bench.transfer import onto

from ..blocks.shear_fit import LR, MASS_EPS, TEMPERATURE, Adapter
from .products import product, products

CPU_BLOCK, GPU_BLOCK = 2**21, 2**26
"""Elements of the contrastive term's matrices that are computed at a time."""
MOST_CELLS = 2**8
"""Of maps that a CPU takes several pairs of together: of larger ones `product` is the faster."""
NORM_EPS = 1e-12
COSINE_EPS = 1e-8


@dataclass(frozen=True, slots=True)
class Source:
    """The sheared maps of one role, as the maps they show, and those of the sheared images.

    Attributes:
        maps: of several taps, [T, n, C, h, w].
        seen: features of the sheared images [T, N, C, h, w].
        index: which of the n * h * w cells each cell of the N sheared maps shows [N, h * w], on
            the host; n * h * w where it shows none and is zero.
    """

    maps: Tensor
    seen: Tensor
    index: Tensor


def fit_together(
    adapters: Sequence[Adapter],
    query: Source,
    support: Source,
    masks: Tensor,
    *,
    copies: int,
    steps: int,
) -> Tensor:
    """Changes T adapters of equal sizes in `steps` steps; the terms before each, [T, steps, 5].

    Args:
        adapters: of the T taps.
        query: with N = A copies.
        support: with N = K * A copies, a support's together.
        masks: of the supports, sheared [K * A, h, w].
        copies: A.
        steps: of gradient descent.
    """
    parameters = _Parameters.of(adapters)
    roles = (_Role(query), _Role(support))
    pools = _Pools(masks.flatten(1).to(query.maps.dtype), copies)
    found = [_step(parameters, roles, pools) for _ in range(steps)]
    parameters.give(adapters)
    return torch.stack(found, 1) if found else torch.empty((len(adapters), 0, 5))


@dataclass(slots=True)
class _Parameters:
    """Of T adapters: weights [T, 64, C] and [T, 64, 64], vectors [T, 1, 64]; changed in place."""

    conv: Tensor
    scale: Tensor
    shift: Tensor
    linear: Tensor
    bias: Tensor
    eps: float

    @staticmethod
    def of(adapters: Sequence[Adapter]) -> _Parameters:
        def stacked(found: Sequence[Tensor | None]) -> Tensor:
            return torch.stack([value.detach() for value in found if value is not None])

        return _Parameters(
            stacked([a.conv.weight.flatten(1) for a in adapters]),
            stacked([a.bn.weight for a in adapters])[:, None],
            stacked([a.bn.bias for a in adapters])[:, None],
            stacked([a.linear.weight.flatten(1) for a in adapters]),
            stacked([a.linear.bias for a in adapters])[:, None],
            adapters[0].bn.eps,
        )

    @property
    def all(self) -> tuple[Tensor, ...]:
        return (self.conv, self.scale, self.shift, self.linear, self.bias)

    @torch.no_grad()
    def give(self, adapters: Sequence[Adapter]) -> None:
        for number, a in enumerate(adapters):
            for own, found in zip(
                (a.conv.weight, a.bn.weight, a.bn.bias, a.linear.weight, a.linear.bias),
                self.all,
                strict=True,
            ):
                assert own is not None
                own.copy_(found[number].view_as(own))


class _Role:
    """The features of one role, a row per position, and which rows the sheared maps show."""

    def __init__(self, source: Source):
        taps, channels = source.maps.shape[0], source.maps.shape[2]
        self.own, self.seen = (
            maps.permute(0, 1, 3, 4, 2).reshape(taps, -1, channels)
            for maps in (source.maps, source.seen)
        )
        self.own_columns, self.seen_columns = (
            rows.mT.contiguous() for rows in (self.own, self.seen)
        )
        self.index = onto(source.index.flatten(), self.own.device)
        self.maps, self.cells = source.index.shape
        self.distinct = [_distinct(one, self.own.device) for one in source.index]

    def projected(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Rows [T, N * P, 64] of the sheared maps, and of the sheared images' features."""
        own = products(self.own, weight)
        own = torch.cat((own, own.new_zeros(len(own), 1, own.shape[-1])), 1)
        return own[:, self.index], products(self.seen, weight)

    def weight_gradient(self, own: Tensor, seen: Tensor) -> Tensor:
        """[T, 64, C] from the gradients of what `projected` gave."""
        gathered = own.new_zeros((len(own), self.own.shape[1] + 1, own.shape[-1]))
        gathered.index_add_(1, self.index, own)
        found = products(self.own_columns, gathered[:, :-1].mT)
        return found.add_(products(self.seen_columns, seen.mT)).mT


def _distinct(index: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Of a sheared map one position for each cell that it shows, and how often it shows it."""
    order = index.argsort(stable=True)
    _, counts = index[order].unique_consecutive(return_counts=True)
    return onto(order[counts.cumsum(0) - counts], device), onto(counts, device)


class _Pools:
    """Weights [A, N * P] that make prototypes of the supports' rows."""

    def __init__(self, masks: Tensor, copies: int):
        fore = masks.unflatten(0, (-1, copies))
        own_copy = torch.eye(copies, dtype=masks.dtype, device=masks.device)
        self.fore, self.back = (
            (
                own_copy[:, None, :, None] * (one / (one.sum((0, 2), keepdim=True) + MASS_EPS))
            ).flatten(1)
            for one in (fore, 1 - fore)
        )


class _Adapted:
    """What the adapters make of rows [T, R, 64], and how a gradient goes back through them."""

    def __init__(self, rows: Tensor, parameters: _Parameters):
        self._parameters = parameters
        self._centred = rows.sub_(rows.mean(1, keepdim=True))
        variance = self._centred.square().mean(1, keepdim=True)
        self._deviation = (variance + parameters.eps).sqrt()
        self._gain = parameters.scale / self._deviation
        self._hidden = torch.addcmul(parameters.shift, self._centred, self._gain).relu_()
        out = products(self._hidden, parameters.linear).add_(parameters.bias)
        self._length = out.norm(dim=-1, keepdim=True).clamp_min_(NORM_EPS)
        self.unit = out.div_(self._length)

    def back(self, gradient: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """From the gradient of `unit` (overwritten): that of the rows, and of scale to bias."""
        along = (gradient * self.unit).sum(-1, keepdim=True)
        out = gradient.addcmul_(self.unit, along, value=-1).div_(self._length)
        bias = out.sum(1, keepdim=True)
        linear = out.mT @ self._hidden
        hidden = products(out, self._parameters.linear.mT)
        normed = torch.ops.aten.threshold_backward(hidden, self._hidden, 0)
        count = normed.shape[1]
        shift = normed.sum(1, keepdim=True)
        scale = (normed * self._centred).sum(1, keepdim=True) / self._deviation
        rows = normed.sub_(shift / count).addcmul_(
            self._centred, scale / (self._deviation * count), value=-1
        )
        return rows.mul_(self._gain), (scale, shift, linear, bias)


def _step(parameters: _Parameters, roles: tuple[_Role, _Role], pools: _Pools) -> Tensor:
    """One step of gradient descent; the five terms before it, [T, 5]."""
    terms: list[Tensor] = []
    changes = [torch.zeros_like(parameter) for parameter in parameters.all]
    for role in roles:
        own, seen = (_Adapted(rows, parameters) for rows in role.projected(parameters.conv))
        gap, *slopes = _statistics_gap(own.unit, seen.unit, role.maps)
        units = _Units(own.unit, seen.unit, *slopes)
        terms += [_contrast(units, role), gap]
        if role is roles[1]:
            terms.append(_prototype_term(units, pools))
        own_rows, of_own = own.back(units.to_own)
        seen_rows, of_seen = seen.back(units.to_seen)
        changes[0] += role.weight_gradient(own_rows, seen_rows)
        for change, one, other in zip(changes[1:], of_own, of_seen, strict=True):
            change += one + other
    for parameter, change in zip(parameters.all, changes, strict=True):
        parameter.sub_(change, alpha=LR)
    return torch.stack(terms, -1)


def _statistics_gap(own: Tensor, seen: Tensor, maps: int) -> tuple[Tensor, Tensor, Tensor]:
    """`blocks.shear_fit.statistics_gap` [T] of unit rows [T, N * P, 64], and its gradients."""
    cells = own.shape[1] // maps
    each = 1 / (maps * own.shape[-1])
    by_map = [rows.unflatten(1, (maps, -1)) for rows in (own, seen)]
    means = [rows.mean(2, keepdim=True) for rows in by_map]
    centred = [rows - mean for rows, mean in zip(by_map, means, strict=True)]
    own_variance, seen_variance = (
        rows.square().sum(2, keepdim=True) / (cells - 1) for rows in centred
    )
    apart, wider = means[0] - means[1], own_variance - seen_variance
    gap = (apart.abs() + wider.abs()).mean((1, 2, 3))
    level, slope = apart.sign() * (each / cells), wider.sign() * (2 * each / (cells - 1))
    to_own = centred[0].mul_(slope).add_(level).flatten(1, 2)
    to_seen = centred[1].mul_(-slope).sub_(level).flatten(1, 2)
    return gap, to_own, to_seen


class _Units(NamedTuple):
    """Unit rows of the sheared maps and of the sheared images' maps, and their gradients so far."""

    own: Tensor
    seen: Tensor
    to_own: Tensor
    to_seen: Tensor


def _prototype_term(units: _Units, pools: _Pools) -> Tensor:
    """`blocks.shear_fit.prototype_term` [T] of rows [T, N * P, 64]; adds its gradients."""
    pooled = (pools.fore @ units.own, pools.fore @ units.seen, pools.back @ units.seen)
    lengths = [p.norm(dim=-1, keepdim=True).clamp_min(COSINE_EPS) for p in pooled]
    fore, like, unlike = (p / length for p, length in zip(pooled, lengths, strict=True))
    right, wrong = (fore * like).sum(-1, keepdim=True), (fore * unlike).sum(-1, keepdim=True)
    slope = (wrong - right).sigmoid() / fore.shape[1]
    of_fore = slope * ((unlike - wrong * fore) - (like - right * fore)) / lengths[0]
    of_like = slope * (right * like - fore) / lengths[1]
    of_unlike = slope * (fore - wrong * unlike) / lengths[2]
    units.to_own.add_(pools.fore.T @ of_fore)
    units.to_seen.add_(pools.fore.T @ of_like + pools.back.T @ of_unlike)
    return F.softplus(wrong - right).mean((1, 2))


def _contrast(units: _Units, role: _Role) -> Tensor:
    """`blocks.shear_fit.contrast` [T] of rows [T, N * P, 64]; adds its gradients."""
    own, seen, to_own, to_seen = units
    each = 1 / own.shape[1]
    to_own.sub_(seen, alpha=each / TEMPERATURE)
    to_seen.sub_(own, alpha=each / TEMPERATURE)
    matched = (own.flatten(1)[:, None] @ seen.flatten(1)[..., None]).flatten() / TEMPERATURE
    by_pair = _Units(*(t.view(-1, role.cells, t.shape[-1]) for t in units))
    on_cpu = own.device.type == "cpu"
    block = CPU_BLOCK if on_cpu else GPU_BLOCK
    at_once = block // role.cells**2
    if at_once and not (on_cpu and role.cells > MOST_CELLS):
        parts = zip(*(t.split(at_once) for t in by_pair), strict=True)
        logs = [_contrasts(_Units(*part), each) for part in parts]
    else:
        parts = zip(*(t.unbind() for t in by_pair), itertools.cycle(role.distinct), strict=False)
        logs = [_contrast_by_blocks(_Units(*p), shown, each, block) for *p, shown in parts]
    return (torch.cat(logs).view(len(own), -1).sum(1) - matched) * each


def _contrasts(units: _Units, each: float) -> Tensor:
    """The sums of logarithms [pairs] of several pairs [pairs, P, 64]; adds their gradients."""
    powers = torch.bmm(units.own / TEMPERATURE, units.seen.mT).exp_()
    sums = powers.sum(-1, keepdim=True)
    share = (each / TEMPERATURE) / sums
    units.to_own.addcmul_(torch.bmm(powers, units.seen), share)
    units.to_seen.baddbmm_(powers.mT, units.own * share)
    return sums.log_().sum((1, 2))


def _contrast_by_blocks(
    units: _Units, shown: tuple[Tensor, Tensor], each: float, block: int
) -> Tensor:
    """The sum of logarithms [1] of one pair [P, 64], by blocks of rows; adds its gradients.

    Equal rows of the sheared map are computed once, and the first takes the gradient of all: it
    ends in the cell that they show.
    """
    first, counts = shown
    own, seen = units.own[first], units.seen
    scaled, columns = own / TEMPERATURE, seen.T.contiguous()
    times = counts[:, None].to(own.dtype)
    gradient, sums = torch.empty_like(own), torch.empty_like(times)
    height = max(1, block // len(seen))
    for begin in range(0, len(first), height):
        part = slice(begin, begin + height)
        powers = product(scaled[part], seen).exp_()
        sums[part] = powers.sum(-1, keepdim=True)
        share = times[part] * (each / TEMPERATURE) / sums[part]
        gradient[part] = product(powers, columns).mul_(share)
        units.to_seen.add_(product(powers.T, (own[part] * share).T))
    units.to_own.index_add_(0, first, gradient)
    return (sums.log_() * times).sum()[None]
