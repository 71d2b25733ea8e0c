"""What a network's frozen part gives for an image, computed once and kept within a budget."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from torch import Tensor, nn

from cdfss_bench.methods.core.feature_batch import FeatureBatch


class KeptImages(ABC):
    """Computes image by image, so that what is given is the same to the bit whatever is kept.

    Images are known again by their content, after mirroring. What was kept stays: in an order that
    is drawn anew in each pass, the budget's share of all images is found again, and replacing would
    find less.

    Args:
        budget: bytes that are kept, in main memory.

    Attributes:
        left: what is left of the budget.
        found: how many images were known.
        asked: how many were asked.
    """

    def __init__(self, budget: int):
        self.left = budget
        self.found = self.asked = 0
        self._kept: dict[bytes, FeatureBatch] = {}

    @abstractmethod
    def computed(self, image: Tensor) -> FeatureBatch:
        """What an image [1, 3, H, W] gives, one row."""

    @abstractmethod
    def in_place(self) -> AbstractContextManager[None]:
        """Answers for the network, or its backbone, for the time of a step."""

    def rows(self, images: Tensor) -> list[FeatureBatch]:
        """One row for each of the images [N, 3, H, W]."""
        return [self._row(image[None]) for image in images]

    def _row(self, image: Tensor) -> FeatureBatch:
        self.asked += 1
        key = hashlib.blake2b(image.cpu().numpy().tobytes(), digest_size=16).digest()
        kept = self._kept.get(key)
        if kept is not None:
            self.found += 1
            return kept.to(image.device)
        row = self.computed(image)
        if row.nbytes <= self.left:
            self.left -= row.nbytes
            self._kept[key] = row.to("cpu").detached_copy()
        return row


@contextmanager
def replaced_methods(module: nn.Module, **methods: Callable[..., Any]) -> Generator[None]:
    """Methods of an instance replaced for the time of a block."""
    instance: Any = module
    for name, method in methods.items():
        setattr(instance, name, method)
    try:
        yield
    finally:
        for name in methods:
            delattr(instance, name)
