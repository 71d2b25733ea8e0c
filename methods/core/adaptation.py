"""Learning at test: a copy of the method, its plug-ins reset, some steps of Adam, one episode."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..blocks.voting import upsampled
from .feature_batch import FeatureBatch
from .host import Host
from .leave_one_out import choose_on
from .plugin_api import AnchorPlugin, LearningPlugin

_Host = TypeVar("_Host", bound=Host)

MOST_PIXELS = 2**18
"""Of an episode's supports that are learnt from in one batch: the graphs of five supports of 400
pixels are gigabytes."""


def adapted(
    method: _Host,
    support: FeatureBatch,
    masks: Tensor,
    *,
    rng: torch.Generator | None,
    query: FeatureBatch | None,
) -> _Host:
    """A copy of `method` that learnt from one episode; the backbone is shared, nothing else.

    Map plug-ins choose first. Feature and head plug-ins learn together, to predict each support
    from itself; then anchors learn, each plug-in by its own objective; then score plug-ins choose.

    Args:
        method: stays as it is.
        support: features of the K supports.
        masks: [K, H, W] of 0 and 1.
        rng: the episode's private generator.
        query: features of the query, where the method is transductive.

    Raises:
        ValueError: if `query` or `rng` is missing where it is needed.
    """
    with torch.inference_mode(mode=False), torch.enable_grad():
        support, masks = ordinary(support), masks.clone()
        copied = copy_of(method)
        with torch.no_grad():
            for plugin in copied.map_plugins:
                plugin.choose(copied, support, masks)
            support = copied.with_chosen_maps(support)
        for plugin in copied.feature_plugins:
            if plugin.steps:
                plugin.reset(maps_of(copied, support), rng)
        learners = [p for p in copied.learning_plugins if not isinstance(p, AnchorPlugin)]
        if learners:
            with learning(copied, learners):
                descend(self_prediction_errors(copied, support, masks), copied, learners)
        for plugin in copied.learning_plugins:
            if isinstance(plugin, AnchorPlugin):
                if query is None:
                    raise ValueError(f"{type(plugin).__name__} looks at the query: hand it over")
                with learning(copied, [plugin]):
                    loss = plugin.objective(copied, support, masks, ordinary(query))
                    if loss is not None:
                        descend([loss], copied, [plugin])
        choose_on(copied, support, masks)
        return copied


def copy_of(method: _Host) -> _Host:
    """A copy of `method` that shares the backbone with it."""
    backbone = getattr(method, "backbone", None)
    return copy.deepcopy(method, {} if backbone is None else {id(backbone): backbone})


@contextmanager
def learning(host: Host, plugins: Sequence[LearningPlugin]) -> Generator[None]:
    """While it lasts, what `plugins` learn asks for a gradient and nothing else of the host does.

    The backbone is left alone: it is shared, and adaptation begins at its features.
    """
    own = [*host.head(), *(p for plugin in host.feature_plugins for p in plugin.parameters())]
    before = [parameter.requires_grad for parameter in own]
    learned = {id(parameter) for plugin in plugins for parameter in plugin.learned(host)}
    for parameter in own:
        parameter.requires_grad = id(parameter) in learned
    try:
        yield
    finally:
        for parameter, asked in zip(own, before, strict=True):
            parameter.requires_grad = asked
            parameter.grad = None


def self_prediction_errors(
    host: Host, support: FeatureBatch, masks: Tensor
) -> list[Callable[[], Tensor]]:
    """What gives the cross entropy of the K supports' predictions from themselves.

    Mean over pixels at image size, as in source training: of all supports together where they are
    small, else of each alone.
    """
    together = len(support) if masks.numel() <= MOST_PIXELS else 1

    def error_of(rows: slice) -> Callable[[], Tensor]:
        truth = masks[rows].float()
        predict = host.self_prediction(support[rows], masks[rows])

        def error() -> Tensor:
            back, fore = predict()[:, 0].unbind(1)
            # Of two classes the difference of the scores is enough, and half to be enlarged.
            full = upsampled((fore - back)[:, None], support.size)[:, 0]
            return F.binary_cross_entropy_with_logits(full, truth)

        return error

    return [error_of(slice(i, i + together)) for i in range(0, len(support), together)]


def descend(
    errors: Sequence[Callable[[], Tensor]], host: Host, plugins: Sequence[LearningPlugin]
) -> list[float]:
    """Adam on the mean of `errors`, each plug-in at its own rate for its own number of steps.

    Returns:
        The mean before each step.
    """
    optimizers = [
        (torch.optim.Adam(plugin.learned(host), lr=plugin.lr), plugin.steps) for plugin in plugins
    ]
    losses: list[Tensor] = []
    for step in range(max(steps for _, steps in optimizers)):
        active = [optimizer for optimizer, steps in optimizers if step < steps]
        for optimizer, _ in optimizers:
            optimizer.zero_grad(set_to_none=True)
        shares: list[Tensor] = []
        for error in errors:
            share = error() / len(errors)
            share.backward()
            shares.append(share.detach())
        losses.append(torch.stack(shares).sum())
        for optimizer in active:
            optimizer.step()
    # Read after the last step: a device that waits for the host at each of them idles.
    return torch.stack(losses).cpu().tolist()


def maps_of(host: Host, rows: FeatureBatch) -> Tensor:
    """Maps [N, C, h, w] such as the host's feature plug-ins see."""
    stage = host.adaptable(host.backbone).name
    return rows.tensors[stage] if stage in rows.tensors else rows.group(stage)[0]


def ordinary(rows: FeatureBatch) -> FeatureBatch:
    """The same rows, free to take part in a graph even if they were made in inference mode."""
    if not any(tensor.is_inference() for tensor in rows.tensors.values()):
        return rows
    return FeatureBatch(rows.size, {name: tensor.clone() for name, tensor in rows.tensors.items()})
