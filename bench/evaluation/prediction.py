"""One method, one episode: load the method, let it adapt, match, decide."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from cdfss_bench.canonical import seed_of
from cdfss_bench.datasets import Episode
from cdfss_bench.methods.core.contract import Precision
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.registry.build import build
from cdfss_bench.methods.registry.name_grammar import Composition
from cdfss_bench.methods.weights.load import load_weights
from cdfss_bench.methods.weights.resolve import Weights


def _unmeasured(_step: str) -> AbstractContextManager[None]:
    return nullcontext()


class Prediction(NamedTuple):
    """What a method says of one query.

    Attributes:
        logits: background and foreground, of one map or of one per shot, [1, K or 1, 2, h, w].
        mask: decided from them, uint8 [1, H, W].
    """

    logits: Tensor
    mask: Tensor


def load_method(
    composition: Composition, weights: Weights, *, precision: Precision = "fp32"
) -> Method:
    """The method in eval mode with its weights.

    Raises:
        WeightsError: if a file does not fit.
    """
    network = build(composition, backbone=weights.backbone or None)
    load_weights(network, weights)
    network.precision = precision
    return network.eval()


def adaptation_stream(seed: int, episode: Episode) -> torch.Generator:
    """The private generator of one episode, whatever ran before: of `seed` and the names."""
    asked = (episode.class_id, episode.query, episode.support_class_id, *episode.supports)
    text = "\n".join(map(str, ("adapt", seed, *asked))).encode()
    return torch.Generator().manual_seed(seed_of(text))


def predict_episode(
    method: Method,
    query: FeatureBatch,
    support: FeatureBatch,
    masks: Tensor,
    *,
    rng: torch.Generator | None,
    encode_again: Callable[[Method], tuple[FeatureBatch, FeatureBatch]] | None = None,
    adapt: bool = True,
    measured: Callable[[Literal["adapt", "match"]], AbstractContextManager[None]] = _unmeasured,
) -> Prediction:
    """What `method` says of one query: it adapts where its class does so, matches and decides.

    Args:
        method: stays as it is.
        query: features of the query, one row.
        support: features of the K supports.
        masks: of the supports, [K, H, W] of 0 and 1.
        rng: the episode's private generator, see `adaptation_stream`.
        encode_again: gives query and support as the adapted method encodes them; it is called only
            where adaptation changed the encoder, and needed only for such methods.
        adapt: whether a method that adapts does so; if not it is asked as it is built.
        measured: a context around each of the two steps, for their times.
    """
    ready = method
    if adapt and method.adaptation != "none":
        # Only a method that declares that it is transductive is handed the query.
        shown = query if method.adaptation == "transductive" else None
        with measured("adapt"):
            ready = method.adapt_encoded(support, masks, rng=rng, query=shown)
    with torch.no_grad(), measured("match"):
        if ready is not method and ready.adapts_encoder:
            assert encode_again is not None
            query, support = encode_again(ready)
        logits = ready.match(query, support, masks[None])
        return Prediction(logits, ready.decide(logits, query.size))
