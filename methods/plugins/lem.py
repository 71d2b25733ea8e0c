"""LEM, the low-level enhancement module of LoEC: perturbs shallow support features in training.

The paper's body was not readable; formula and constants are as quoted from it, the rest follows
two agreeing re-implementations. What is open stands in the card. `sigma=auto` is ours.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from cdfss_bench.errors import CompositionError

from ..backbones.base import Backbone
from ..blocks.contrast import ContrastSpread
from ..core.plugin_api import Role, StagePlugin

AUTO = "auto"
REACH = 2.0
"""Standard deviations of the source's own contrast by which `sigma=auto` raises a support's."""


class LEM(StagePlugin):
    """Swaps the amplitude spectrum of a shallow feature for that of a random convolution of it.

    `F' = F * Theta, Theta ~ N(0, sigma^2)`; `F^t = IFFT(|FFT(F')| exp(i angle FFT(F)))`. It acts in
    training only and draws one Theta per call, shared by the batch.

    Options: see `lem.yaml`.
    """

    def __init__(
        self,
        *,
        stage: int = 1,
        conv: str = "full",
        rescale: str = "none",
        sigma: float | str = 0.1,
        kernel: int = 3,
        prob: float = 1.0,
        on: str = "support",
    ):
        super().__init__()
        if kernel % 2 == 0:
            raise CompositionError(f"option 'kernel' of lem must be odd, not {kernel}")
        self.stage = stage
        self.depthwise = conv == "depthwise"
        self.is_auto = sigma == AUTO
        self.rescale = rescale == "std" or self.is_auto
        self.sigma = 0.1 if self.is_auto else float(sigma)
        self.spread = ContrastSpread()
        self.kernel = kernel
        self.prob = prob
        self.roles = {Role.SUPPORT} if on == "support" else {Role.SUPPORT, Role.QUERY}

    def fit(self, backbone: Backbone) -> None:
        """Checks that the backbone has the stage, and one after it that sees what LEM makes."""
        if backbone.numbered(self.stage) == backbone.stages[-1]:
            raise CompositionError(
                f"lem on stage {self.stage} would change nothing: no stage follows it here"
            )

    def edit(
        self, index: int, output: Tensor, *, role: Role | None, rng: torch.Generator | None
    ) -> Tensor:
        """Perturbs `output` if this is the stage, the role is meant and the draw says so."""
        if index != self.stage - 1 or not self.training:
            return output
        if self.is_auto and role is not None:
            self.spread.see(output, role)
        if role not in self.roles:
            return output
        if rng is None:
            raise ValueError("LEM draws its kernels: give the training batch a generator")
        if self.prob < 1 and float(torch.rand((), generator=rng)) >= self.prob:
            return output
        return self.perturb(output, self.draw(output.shape[1], rng).to(output))

    def draw(self, channels: int, rng: torch.Generator) -> Tensor:
        """Theta, [C, C, k, k] or depthwise [C, 1, k, k], from the step's generator."""
        inside = 1 if self.depthwise else channels
        return self.sigma * torch.randn((channels, inside, self.kernel, self.kernel), generator=rng)

    def perturb(self, features: Tensor, theta: Tensor) -> Tensor:
        """`features` [N, C, h, w] with the amplitude of their convolution with `theta`."""
        groups = features.shape[1] if self.depthwise else 1
        mixed = F.conv2d(features, theta, padding=self.kernel // 2, groups=groups)
        # There is no Fourier transform in bfloat16; float64 stays what it is.
        exact = torch.promote_types(features.dtype, torch.float32)
        amplitude = torch.fft.rfft2(mixed.to(exact)).abs()
        swapped = swap_amplitude(features.to(exact), amplitude).to(features.dtype)
        if self.rescale:
            growth = swapped.std((1, 2, 3), keepdim=True) / features.std((1, 2, 3), keepdim=True)
            swapped = swapped / growth.clamp_min(1e-12) * self.gain
        return swapped

    @property
    def gain(self) -> float:
        """Standard deviation after, over that before, where it is rescaled."""
        return 1 + REACH * self.spread.value if self.is_auto else 1.0

    @property
    def keeps_statistics(self) -> bool:
        """Of the contrast of training images, if they set its strength."""
        return self.is_auto

    def end_step(self) -> None:
        """What the step showed enters the spread."""
        self.spread.commit()

    def training_state(self) -> dict[str, Tensor]:
        """The spread so far."""
        return self.spread.state()

    def load_training_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes back what `training_state` gave."""
        self.spread.load(tensors)


def swap_amplitude(features: Tensor, amplitude: Tensor) -> Tensor:
    """Real [N, C, h, w] with the phase of `features` and `amplitude` (of `rfft2`)."""
    spectrum = torch.fft.rfft2(features)
    magnitude = spectrum.abs()
    # angle(0) is 0: where a channel is dead its new spectrum is real, as exp(i angle) makes it.
    phase = torch.where(magnitude > 0, spectrum / magnitude.clamp_min(1e-30), 1)
    return torch.fft.irfft2(amplitude * phase, s=features.shape[-2:])
