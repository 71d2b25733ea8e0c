"""SSP's matching as source training runs it on a CPU: equal up to rounding, with all gradients.

An image's features are rows, [P, C] of unit length beside their lengths. What is computed of them
adds its gradient to one common buffer, where autograd would write a map of its own for each. Of the
attention the second round computes only the columns that entered or left the selection, and what
each position sees of the background enters its cosine without a map of prototypes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.grad import conv2d_input, conv2d_weight

from ..blocks.prototypes import COSINE_SCALE, resized_masks
from ..blocks.self_support import BACK_THRESHOLD, FORE_THRESHOLD, SHARPNESS, confident
from ..core.contract import LossTerm
from ..core.method import Method
from ..hosts.ssp import (
    AUXILIARY_WEIGHT,
    BACK_SHARES,
    FORE_SHARES,
    REFINED_SHARES,
    SCORE_SHARES,
    SSP,
    pixel_error,
)
from .products import by_onednn

Terms = dict[str, LossTerm]
_EPS = 1e-8
"""Of `torch.nn.functional.cosine_similarity`."""
_POOL_EPS = 1e-5
"""Of `masked_mean`."""
_LARGE = 2**18
"""Elements of an image's features below which its many operations cost more than they save."""


def trained_terms(network: Method) -> Callable[[Tensor, Tensor, Tensor, Tensor], Terms] | None:
    """A function that takes the place of `network.matching_terms`.

    None where the network does not match as SSP does.
    """
    if not isinstance(network, SSP):
        return None
    own = type(network)
    same = (own.matching_terms, own.self_supported, own.matching)
    if same != (SSP.matching_terms, SSP.self_supported, SSP.matching):
        return None

    def terms(query: Tensor, support: Tensor, query_masks: Tensor, support_masks: Tensor) -> Terms:
        # Mixed precision takes the plain form, as it is tested.
        if query[0].numel() < _LARGE or torch.is_autocast_enabled("cpu"):
            return SSP.matching_terms(network, query, support, query_masks, support_masks)
        return _terms(query, support, query_masks, support_masks, refine=network.refine)

    return terms


def _terms(
    query: Tensor, support: Tensor, query_masks: Tensor, support_masks: Tensor, *, refine: bool
) -> Terms:
    """As `SSP.matching_terms`."""
    shots, masks = support_masks.shape[1], support_masks.flatten(0, 1)
    prototypes, support_self = _own(support, masks, [_Rows(maps) for maps in support])
    given = prototypes.unflatten(0, (-1, shots)).mean(1)
    asked = [_Rows(maps) for maps in query]
    _, query_self = _own(query, query_masks, asked)
    scores = [
        _self_supported(rows, *pair, refine=refine) for rows, pair in zip(asked, given, strict=True)
    ]
    firsts, finals = (_maps(each, query) for each in zip(*scores, strict=True))
    terms: Terms = {}
    if refine:
        terms["refined"] = LossTerm(1.0, pixel_error(finals, query_masks))
    terms["first"] = LossTerm(1.0, pixel_error(firsts, query_masks))
    terms["query_self"] = LossTerm(1.0, pixel_error(query_self, query_masks))
    terms["support_self"] = LossTerm(AUXILIARY_WEIGHT, pixel_error(support_self, masks), "supports")
    return terms


def _own(features: Tensor, masks: Tensor, images: Sequence[_Rows]) -> tuple[Tensor, Tensor]:
    """Prototypes [N, 2, C] of foreground and background, and logits of the images from them."""
    soft = torch.cat([resized_masks(masks == value, features) for value in (1, 0)], 1)
    total = soft.sum((2, 3)) + _POOL_EPS
    weights = soft.flatten(2).to(features.dtype) / total[:, :, None].to(features.dtype)
    prototypes = [rows.sums(each) for rows, each in zip(images, weights, strict=True)]
    logits = [
        _logits(*(rows.cosines(one) for one in (own[1], own[0])))
        for rows, own in zip(images, prototypes, strict=True)
    ]
    return torch.stack(prototypes), _maps(logits, features)


def _self_supported(
    rows: _Rows, fore: Tensor, back: Tensor, *, refine: bool
) -> tuple[Tensor, Tensor]:
    """Logits [2, P] of the first round and the final ones, as `self_supported_scores`."""
    begun = _logits(rows.cosines(back), rows.cosines(fore))
    chosen, own_fore, own_back = _confident(rows, begun)
    above, below = rows.attention(chosen, chosen)
    fore_1 = FORE_SHARES[0] * fore + FORE_SHARES[1] * own_fore
    plain_1 = BACK_SHARES[0] * own_back
    around = BACK_SHARES[1] / below
    first = _logits(rows.cosines(plain_1, (above, around)), rows.cosines(fore_1))
    if not refine:
        return first, first
    again, own_fore, own_back = _confident(rows, first)
    changed = again != chosen
    given, once, twice = REFINED_SHARES
    fore_2 = FORE_SHARES[0] * fore + FORE_SHARES[1] * own_fore
    fore_2 = given * fore + once * fore_1 + twice * fore_2
    plain_2 = given * back + once * plain_1 + twice * BACK_SHARES[0] * own_back
    if bool(changed.any()):
        more, weight = rows.attention(changed, again)
        now = twice * BACK_SHARES[1] / (below + weight)
        seen = [(above, once * around + now), (more, now)]
    else:
        seen = [(above, (once + twice) * around)]
    second = _logits(rows.cosines(plain_2, *seen), rows.cosines(fore_2))
    return first, SCORE_SHARES[0] * first + SCORE_SHARES[1] * second


def _logits(to_back: Tensor, to_fore: Tensor) -> Tensor:
    return COSINE_SCALE * torch.stack((to_back, to_fore))


def _maps(logits: Sequence[Tensor], features: Tensor) -> Tensor:
    return torch.stack(list(logits)).unflatten(2, features.shape[2:])


def _confident(rows: _Rows, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The confident background, bool [P], and both means [C], foreground first."""
    probability = logits.detach().softmax(0)
    fore = confident(probability[1:], FORE_THRESHOLD)[0]
    back = confident(probability[:1], BACK_THRESHOLD)[0]
    weights = torch.stack((fore, back)).to(logits.dtype)
    own_fore, own_back = rows.sums(weights / weights.sum(1, keepdim=True))
    return back, own_fore, own_back


class _Unit:
    """The features of an image outside of the graph, and the gradient that is gathered for them.

    Attributes:
        rows: of unit length, [P, C].
        gradient: of them, from the first part of the way back to the last.
    """

    def __init__(self, rows: Tensor):
        self.rows = rows
        self.gradient: Tensor | None = None

    def gathered(self) -> Tensor:
        """Where gradients are added."""
        if self.gradient is None:
            self.gradient = torch.zeros_like(self.rows)
        return self.gradient


class _Rows:
    """The features of an image in the graph.

    The functions hold `unit` and not these: in a circle with the graph both would never be freed.

    Args:
        maps: features [C, h, w].

    Attributes:
        unit: outside of the graph.
        length: of the features, [P].
        token: what a function of `unit` takes and gives a gradient to, so that autograd knows when
            all have added theirs.
    """

    def __init__(self, maps: Tensor):
        flat = maps.permute(1, 2, 0).flatten(0, 1)
        with torch.no_grad():
            length = torch.linalg.vector_norm(flat, dim=1).clamp_min(_EPS)
            self.unit = _Unit(flat / length[:, None])
        taken = _Taken.apply(flat, length, self.unit)
        self.length, self.token = cast("tuple[Tensor, Tensor]", taken)

    def sums(self, weights: Tensor) -> Tensor:
        """Weighted sums [k, C] of the features by constant weights [k, P]."""
        return cast("Tensor", _Sums.apply(self.token, weights * self.length, self.unit))

    def cosines(self, prototype: Tensor, *seen: tuple[Tensor, Tensor]) -> Tensor:
        """Cosines [P] with `prototype` [C] and what each position adds to it.

        Args:
            prototype: of all positions.
            seen: pairs of rows [P, C] and their factors [P], which are added.
        """
        if not seen:
            along = cast("Tensor", _Dots.apply(self.token, prototype, self.unit))
            return along / torch.linalg.vector_norm(prototype).clamp_min(_EPS)
        parts = [part for pair in seen for part in pair]
        return cast("Tensor", _Cosines.apply(self.token, prototype, self.unit, *parts))

    def attention(self, columns: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Sums of the features at `columns`, bool [P], weighted as in `local_prototypes`.

        Those of them that are not `chosen`, bool [P], are taken away.

        Returns:
            The sums [P, C] of features and [P] of their weights.
        """
        where = columns.nonzero()[:, 0]
        signs = None if columns is chosen else 2.0 * chosen[where].to(self.length.dtype) - 1
        found = _Attention.apply(self.token, self.length, where, signs, self.unit)
        return cast("tuple[Tensor, Tensor]", found)


class _Taken(torch.autograd.Function):
    """Features into their length and a token; on the way back, the gathered gradient."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, length: Tensor, unit: _Unit) -> tuple[Tensor, Tensor]:
        ctx.unit = unit
        ctx.save_for_backward(length)
        return length.clone(), flat.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (length,), unit = ctx.saved_tensors, ctx.unit
        gradient, unit.gradient = unit.gathered(), None
        along = torch.linalg.vecdot(gradient, unit.rows)
        gradient.addcmul_(unit.rows, (grads[0] * length - along)[:, None])
        return gradient.div_(length[:, None]), None, None


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, token: Tensor, weights: Tensor, unit: _Unit) -> Tensor:
        ctx.unit = unit
        ctx.save_for_backward(weights)
        return weights @ unit.rows

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        (weights,), unit, (grad,) = ctx.saved_tensors, ctx.unit, grads
        unit.gathered().addmm_(weights.t(), grad)
        return grad.new_zeros(()), grad @ unit.rows.t(), None


class _Dots(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, token: Tensor, prototype: Tensor, unit: _Unit) -> Tensor:
        ctx.unit = unit
        ctx.save_for_backward(prototype)
        return unit.rows @ prototype

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        (prototype,), unit, (grad,) = ctx.saved_tensors, ctx.unit, grads
        unit.gathered().addr_(grad, prototype)
        return grad.new_zeros(()), grad @ unit.rows, None


class _Cosines(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, token: Tensor, prototype: Tensor, unit: _Unit, *parts: Tensor) -> Tensor:
        seen = torch.addcmul(prototype, parts[0], parts[1][:, None])
        for part, factor in zip(parts[2::2], parts[3::2], strict=True):
            seen.addcmul_(part, factor[:, None])
        length = torch.linalg.vector_norm(seen, dim=1).clamp_min(_EPS)
        cosines = torch.linalg.vecdot(unit.rows, seen) / length
        ctx.unit = unit
        ctx.save_for_backward(seen, length, cosines, *parts)
        return cosines

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (seen, length, cosines, *parts), unit = ctx.saved_tensors, ctx.unit
        scaled = grads[0] / length
        unit.gathered().addcmul_(seen, scaled[:, None])
        back = unit.rows * scaled[:, None]
        back.addcmul_(seen, (scaled * cosines / length)[:, None], value=-1)
        found: list[Tensor] = []
        for part, factor in zip(parts[::2], parts[1::2], strict=True):
            found += [back * factor[:, None], torch.linalg.vecdot(part, back)]
        return grads[0].new_zeros(()), back.sum(0), None, *found


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, token: Tensor, length: Tensor, where: Tensor, signs: Tensor | None, unit: _Unit
    ) -> tuple[Tensor, Tensor]:
        keys = unit.rows.index_select(0, where)
        likeness = by_onednn(unit.rows, SHARPNESS * keys).exp_()
        if signs is not None:
            likeness *= signs
        ctx.unit, ctx.where = unit, where
        ctx.save_for_backward(likeness, length)
        return _times(likeness, keys * length[where, None]), likeness.sum(1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (likeness, length), unit, where = ctx.saved_tensors, ctx.unit, ctx.where
        above, below = grads
        above = above.contiguous()
        keys, lengths = unit.rows.index_select(0, where), length[where, None]
        slope = by_onednn(above, keys * lengths).add_(below[:, None]).mul_(likeness)
        values = _transposed_times(likeness, above)
        gradient = unit.gathered()
        gradient += _times(slope, SHARPNESS * keys)
        own = _transposed_times(slope, unit.rows).mul_(SHARPNESS).addcmul_(values, lengths)
        gradient.index_add_(0, where, own)
        lengthened = torch.zeros_like(length)
        lengthened[where] = torch.linalg.vecdot(values, keys)
        return below.new_zeros(()), lengthened, None, None, None


# oneDNN's products of rows, as the ways back of a 1x1 convolution; its dilation as in `pointwise`.


def _times(a: Tensor, b: Tensor) -> Tensor:
    """`a b`, [P, n] and [n, C]."""
    size = (1, b.shape[1], len(a), 1)
    kernel = b.as_strided((*b.shape, 1, 1), (b.shape[1], 1, b.shape[1], b.shape[1]))
    found = conv2d_input(size, kernel, _as_map(a), dilation=2)
    return found[0, :, :, 0].t().contiguous()


def _transposed_times(a: Tensor, b: Tensor) -> Tensor:
    """`a^T b`, [P, n] and [P, C]."""
    size = (a.shape[1], b.shape[1], 1, 1)
    return conv2d_weight(_as_map(b), size, _as_map(a), dilation=2)[:, :, 0, 0].contiguous()


def _as_map(rows: Tensor) -> Tensor:
    count, depth = rows.shape
    rows = rows.contiguous()
    return rows.as_strided((1, depth, count, 1), (rows.numel(), 1, depth, depth))
