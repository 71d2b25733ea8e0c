"""Features of a backbone that is wholly frozen: by its folded form, and kept within a budget."""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor

from cdfss_bench.errors import UserError
from cdfss_bench.methods.core.adaptation import copy_of
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.fast.folded import folded
from cdfss_bench.methods.fast.trained_pyramid import trained_score

from .kept_images import KeptImages, replaced_methods


class FrozenFeatures(KeptImages):
    """Takes the place of a network's `features` in a training step.

    Args:
        network: whose backbone is frozen; stays as it is.
        budget: bytes of features that are kept, in main memory.
        device: for which the folded form is chosen.
    """

    def __init__(self, network: Method, budget: int, device: str):
        super().__init__(budget)
        self.network = network
        self._form = copy_of(network)
        self._form.backbone = folded(network.backbone, channels_last=device.startswith("cpu"))
        self._is_checked = False
        self._score = trained_score(network) if device.startswith("cpu") else None

    def __call__(self, images: Tensor) -> FeatureBatch:
        """[N, 3, H, W] -> N rows, as `Method.features`.

        Raises:
            UserError: if features depend on what is trained.
        """
        if not self._is_checked:
            self._check(images[:1])
        with torch.no_grad():
            return FeatureBatch.cat(self.rows(images))

    @contextmanager
    def in_place(self) -> Generator[None]:
        """Answers for the network for the time of a block."""
        score = {} if self._score is None else {"score": self._score}
        with replaced_methods(self.network, features=self, **score):
            yield

    def computed(self, image: Tensor) -> FeatureBatch:
        """The features of an image [1, 3, H, W], one row."""
        return self._form.features(image)

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
