"""Learning from a support by predicting each image from every subset of the others.

HERA (CVPR 2026), the fine-tuning of `main_hera.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cdfss_bench.transfer import onto

from .voting import upsampled

RATE = 1.3e-3
"""Of Adam."""
RESIDUAL = 0.30
"""What the correction of a mix of layers weighs."""
FIRST_GAMMA = 1e-3
MLP_RATIO = 4

Pool = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(features [N, C, h, w], masks [N, H, W]) -> fore and background prototypes [N, C]."""
Segment = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(features [1, C, h, w], fore [1, C], back [1, C]) -> logits [1, 2, h, w]."""


class FusionMLP(nn.Module):
    """Corrects a mix of layers position by position: `y = x + 0.30 gamma MLP(LN(x))`.

    Linear maps are drawn uniform in +-1/sqrt(inputs); biases begin at 0.
    """

    def __init__(self, width: int, rng: torch.Generator):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        with torch.random.fork_rng(devices=[]):  # torch draws its own initial values
            self.fc1 = nn.Linear(width, MLP_RATIO * width)
            self.fc2 = nn.Linear(MLP_RATIO * width, width)
        self.gamma = nn.Parameter(torch.full((width,), FIRST_GAMMA))
        with torch.no_grad():
            for layer in (self.fc1, self.fc2):
                bound = 1 / math.sqrt(layer.in_features)
                drawn = torch.rand(layer.weight.shape, generator=rng, device=rng.device)
                layer.weight.copy_((2 * drawn - 1) * bound)
                layer.bias.zero_()

    def forward(self, maps: Tensor) -> Tensor:
        """[N, C, h, w] -> [N, C, h, w]."""
        rows = maps.flatten(2).transpose(1, 2)
        branch = self.fc2(F.gelu(self.fc1(self.norm(rows))))
        rows = rows + RESIDUAL * self.gamma * branch
        return rows.transpose(1, 2).reshape(maps.shape)

    @property
    def learned(self) -> list[nn.Parameter]:
        """What the steps change: all but the normalisation."""
        return [*self.fc1.parameters(), *self.fc2.parameters(), self.gamma]


def fit(
    features: Callable[[], Tensor],
    masks: Tensor,
    parameters: Sequence[nn.Parameter],
    pool: Pool,
    segment: Segment,
    *,
    rate: float = RATE,
) -> list[list[float]]:
    """N - 1 steps of Adam; step n predicts each of N images from every n of the others.

    All cross entropies of a step weigh the same; `masks` [N, H, W] are 0, 1 and 255, which counts
    for neither class. `features` gives maps [N, C, h, w] at the parameters' present values.

    Returns:
        The cross entropies of each step, by image and then by subset in lexicographic order.
    """
    optimizer = torch.optim.Adam(parameters, lr=rate)
    truth = masks.long()
    losses: list[list[float]] = []
    for size in range(1, len(masks)):
        optimizer.zero_grad(set_to_none=True)
        maps = features()
        # Term by term down to the maps and once from there: no step holds the graphs of all terms.
        leaf = maps.detach().requires_grad_()
        prototypes = pool(leaf, masks)
        fore, back = (each.detach().requires_grad_() for each in prototypes)
        terms = list(subsets(len(masks), size))
        found: list[Tensor] = []
        for asked, others in terms:
            shown = onto(torch.tensor(others), leaf.device)
            logits = segment(
                leaf[asked : asked + 1],
                fore[shown].mean(0, keepdim=True),
                back[shown].mean(0, keepdim=True),
            )
            full = upsampled(logits, (masks.shape[-2], masks.shape[-1]))
            loss = F.cross_entropy(full, truth[asked : asked + 1], ignore_index=255)
            (loss / len(terms)).backward()
            found.append(loss.detach())
        for prototype, reached in zip(prototypes, (fore, back), strict=True):
            if reached.grad is not None:  # SSP uses the background's to choose positions only
                prototype.backward(reached.grad, retain_graph=True)
        maps.backward(leaf.grad, inputs=list(parameters))
        optimizer.step()
        losses.append(torch.stack(found).tolist())
    return losses


def subsets(count: int, size: int) -> Iterator[tuple[int, list[int]]]:
    """Each of `count` images with every `size` of the others, in lexicographic order."""
    for asked in range(count):
        others = [index for index in range(count) if index != asked]
        for shown in combinations(others, size):
            yield asked, list(shown)
