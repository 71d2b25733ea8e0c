"""Features of a backbone that is wholly frozen: by its folded form, and kept within a budget."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor

from cdfss_bench.errors import UserError
from cdfss_bench.methods.core.adaptation import copy_of
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.fast.folded import folded


class FrozenFeatures:
    """Takes the place of a network's `features` in a training step.

    Every image is encoded by itself, so that its features are the same to the bit whatever is kept
    and however the training was interrupted. They are known again by the image's content, after
    mirroring. What was kept stays: in an order that is drawn anew in each pass, the budget's share
    of all images is found again, and replacing would find less.

    Args:
        network: whose backbone is frozen; stays as it is.
        budget: bytes of features that are kept, in main memory.
        device: for which the folded form is chosen.

    Attributes:
        found: how many images were known.
        asked: how many were asked.
    """

    def __init__(self, network: Method, budget: int, device: str):
        self.network, self.left = network, budget
        self.found = self.asked = 0
        self._kept: dict[bytes, FeatureBatch] = {}
        self._form = copy_of(network)
        self._form.backbone = folded(network.backbone, channels_last=device.startswith("cpu"))
        self._is_checked = False

    def __call__(self, images: Tensor) -> FeatureBatch:
        """[N, 3, H, W] -> N rows, as `Method.features`.

        Raises:
            UserError: if features depend on what is trained.
        """
        if not self._is_checked:
            self._check(images[:1])
        with torch.no_grad():
            return FeatureBatch.cat([self._of(image[None]) for image in images])

    @contextmanager
    def in_place(self) -> Generator[None]:
        """Answers for the network for the time of a block."""
        instance = cast("Any", self.network)
        instance.features = self
        try:
            yield
        finally:
            del instance.features

    def _of(self, image: Tensor) -> FeatureBatch:
        self.asked += 1
        key = image_key(image)
        kept = self._kept.get(key)
        if kept is not None:
            self.found += 1
            return kept.to(image.device)
        row = self._form.features(image)
        if row.nbytes <= self.left:
            self.left -= row.nbytes
            self._kept[key] = row.to("cpu").detached_copy()
        return row

    def _check(self, image: Tensor) -> None:
        with torch.enable_grad():
            row = type(self.network).features(self.network, image)
        if any(tensor.requires_grad for tensor in row.tensors.values()):
            raise UserError(
                f"--memory keeps features, and those of {type(self.network).__name__} depend on "
                "what is trained",
                hint="leave --memory out",
            )
        self._is_checked = True


def image_key(image: Tensor) -> bytes:
    """By which an image is known again: a hash of its content."""
    return hashlib.blake2b(image.cpu().numpy().tobytes(), digest_size=16).digest()
