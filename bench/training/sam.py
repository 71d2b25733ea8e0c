"""Sharpness-aware minimisation: descend by the gradient at the worst neighbour of the weights.

Foret et al., ICLR 2021, eq. 2 with p = 2: `w + rho g / |g|` over all trained parameters together.
LoEC trains its baseline so, to show that flat minima alone do not close the domain gap.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def sharpen(network: nn.Module, loss: Callable[[], Tensor], *, radius: float) -> None:
    """Replaces the gradients of `network` by those at the neighbour that they point to.

    Parameters come back to the bit, and buffers (running statistics) as the first pass left them.

    Args:
        network: after `backward`.
        loss: computes the same objective of the same batch again, with the same draws.
        radius: rho, the distance of the neighbour.
    """
    trained = [p for p in network.parameters() if p.grad is not None]
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    kept = [p.detach().clone() for p in trained]
    with torch.no_grad():
        norms = [p.grad.norm() for p in trained if p.grad is not None]
        length = torch.stack(norms).norm() if norms else torch.zeros(())
        if not bool(length > 0):  # a stationary point has no worst direction
            return
        for parameter in trained:
            assert parameter.grad is not None
            parameter.add_(parameter.grad * (radius / length))
            parameter.grad = None
    loss().backward()
    with torch.no_grad():
        for parameter, value in zip(trained, kept, strict=True):
            parameter.copy_(value)
        for buffer, value in buffers:
            buffer.copy_(value)
