"""Outputs of frozen first stages kept, and what is trained in a faster form."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from cdfss_bench.errors import UserError
from cdfss_bench.methods.backbones.base import Backbone, EditStage, StageMaps
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.fast.folded import folded
from cdfss_bench.methods.fast.trained import trained_form
from cdfss_bench.methods.fast.trained_matching import trained_terms
from cdfss_bench.methods.fast.trained_spectra import SpectralConvolution, wide_convolutions

from .kept_images import KeptImages, replaced_methods
from .shared_cosines import SharedCosines

_LARGE = 2**18
"""Elements of an image's maps from which the trained stages are faster channels last on a CPU."""


class FrozenStages(KeptImages):
    """Takes the place of a backbone's `walk` in a training step.

    Where a plug-in changes the output of a frozen stage, those behind it are computed from the
    change. On a CPU wide convolutions behind the backbone's are computed by their spectra.

    Args:
        network: stays as it is, in its training mode.
        budget: bytes of outputs that are kept, in main memory.
        device: for which the folded form is chosen.

    Raises:
        UserError: if no stage is frozen and nothing else has a faster form, or the backbone has no
            normalisation to fold.

    Attributes:
        count: of the frozen stages.
    """

    def __init__(self, network: Method, budget: int, device: str):
        super().__init__(budget)
        self.network = network
        backbone = network.backbone
        is_cpu = device.startswith("cpu")
        self._folded = folded(backbone, channels_last=is_cpu)
        self._channels_last = is_cpu
        self._terms = trained_terms(network) if is_cpu else None
        self._wide = wide_convolutions(network) if is_cpu else []
        has_norm = self._folded is not backbone
        self.count = _frozen(backbone) if has_norm else 0
        if not has_norm or not (self.count or self._terms or self._wide):
            raise UserError(
                f"--memory keeps outputs of frozen convolutional stages, and "
                f"{type(network).__name__} on {type(backbone).__name__} has none",
                hint="leave --memory out",
            )
        # A plug-in may change the output of any frozen stage. They share their tensors.
        self._forms = [trained_form(backbone, without=done) for done in range(self.count + 1)]

    def walk(self, images: Tensor, edit: EditStage | None = None) -> Iterator[StageMaps]:
        """As `Backbone.walk`; the frozen stages offer no taps.

        Raises:
            UserError: if features of a frozen stage are read.
        """
        backbone = self.network.backbone
        with torch.no_grad():
            rows = self.rows(images) if self.count else []
        given, done = images, 0
        for index, stage in enumerate(backbone.stages[: self.count]):
            done = index + 1
            output = torch.cat([row.tensors[stage.name] for row in rows])
            given = output if edit is None else edit(index, output)
            is_changed, given = given is not output, self._laid_out(given)
            yield StageMaps(stage, _Unread(stage.name, stage.taps), given)
            if is_changed:
                break

        def replaced(index: int, output: Tensor) -> Tensor:
            if index < done:
                return given
            return output if edit is None else edit(index, output)

        # Of the images nothing is read where the first output is replaced: a corner will do.
        read = images[:1, :, :64, :64] if done else self._laid_out(images)
        for index, maps in enumerate(self._forms[done].walk(read, replaced)):
            if index >= self.count:
                yield maps
            elif index >= done:
                taps = _Unread(maps.stage.name, maps.stage.taps)
                yield StageMaps(maps.stage, taps, maps.output)

    @contextmanager
    def in_place(self) -> Generator[None]:
        """Answers for the network's backbone for the time of a step, and for its matching."""
        network, backbone = self.network, self.network.backbone
        with ExitStack() as stack:
            stack.enter_context(replaced_methods(backbone, walk=self.walk))
            if self._terms is not None:
                stack.enter_context(replaced_methods(network, matching_terms=self._terms))
            for convolution in self._wide:
                spectral = SpectralConvolution(convolution)
                stack.enter_context(replaced_methods(convolution, forward=spectral))
            stack.enter_context(SharedCosines())
            yield

    def computed(self, image: Tensor) -> FeatureBatch:
        """The outputs of the frozen stages for an image [1, 3, H, W], by their names."""
        walk = islice(self._folded.walk(image), self.count)
        outputs = {maps.stage.name: self._laid_out(maps.output) for maps in walk}
        return FeatureBatch((image.shape[-2], image.shape[-1]), outputs)

    def _laid_out(self, maps: Tensor) -> Tensor:
        is_large = self._channels_last and maps[0].numel() >= _LARGE
        layout = torch.channels_last if is_large else torch.contiguous_format
        return maps.contiguous(memory_format=layout)


class _Unread(Sequence[Tensor]):
    """The taps of a frozen stage, which are not kept."""

    def __init__(self, stage: str, count: int):
        self._stage, self._count = stage, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        raise UserError(
            f"--memory keeps outputs of frozen stages, and features inside the frozen "
            f"{self._stage} are read",
            hint="leave --memory out, or freeze fewer stages with --freeze",
        )


def _frozen(backbone: Backbone) -> int:
    """How many of the first stages have nothing to train and no statistics that change."""
    for index in range(len(backbone.stages)):
        modules = backbone.stage_modules(index)
        trained = any(p.requires_grad for p in backbone.stage_parameters(index))
        moving = any(
            isinstance(part, torch.nn.BatchNorm2d) and part.training
            for module in modules
            for part in module.modules()
        )
        if trained or moving:
            return index
    return len(backbone.stages)
