"""APM, the amplitude-phase masker (Tong et al., NeurIPS 2024): a learnt filter on deep features.

"Lightweight Frequency Masker for Cross-Domain Few-Shot Semantic Segmentation", section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones.base import Stage
from ..core.plugin_api import FeaturePlugin

PUBLISHED_SIZE = 400
"""Side in pixels of the images for whose maps the masks are made before any image was seen."""


class APM(FeaturePlugin):
    """Scales amplitude and phase of every frequency of a map by `sigmoid(mask)` (eqs. 5-8).

    `z' = sigmoid(A) |z| exp(i sigmoid(P) angle z)`, `z = fft2(x)`, and the real part of its inverse
    goes on. All masks begin at one, so that sigmoid(1) = 0.731 already changes the maps: the phases
    shrink. An episode begins with masks of its maps' size; masks met with maps of another size are
    interpolated over relative frequency.

    Args:
        steps: of Adam per episode.
        lr: its rate.

    State-dict keys: `apm.mask_amplitude`, `apm.mask_phase`, [1, C or 1, h, w], zero frequency in
    the middle. The published code also shifts channels, so that entry j of a file acts on channel
    j - C//2; inside, entry j acts on channel j.
    """

    key = "apm"
    elastic = ("mask_amplitude", "mask_phase")
    per_channel: ClassVar[bool] = True

    mask_amplitude: nn.Parameter
    mask_phase: nn.Parameter

    def __init__(self, *, steps: int = 60, lr: float = 0.01):
        super().__init__(steps=steps, lr=lr)
        self._initialise(1, 1, 1)
        self.register_state_dict_post_hook(_publish)
        self.register_load_state_dict_pre_hook(_adopt)

    def attach_to(self, stage: Stage) -> None:
        """Masks for images of 400 pixels: 13 x 13 at stride 32."""
        side = -(-PUBLISHED_SIZE // stage.stride)
        self._initialise(stage.channels, side, side)

    def reset(self, features: Tensor, rng: torch.Generator | None) -> None:
        """Masks of ones, [1, C or 1, h, w] for `features` [N, C, h, w]; nothing is drawn."""
        del rng
        self._initialise(*features.shape[1:])
        self.to(features.device, features.dtype)

    def transform(self, features: Tensor) -> Tensor:
        """Filtered maps [N, C, h, w]."""
        return self.transforming(features)()

    def transforming(self, features: Tensor) -> Callable[[], Tensor]:
        """As promised by `FeaturePlugin`; the spectrum is taken once."""
        spectrum = torch.fft.fft2(features)
        amplitude, phase = spectrum.abs(), spectrum.angle()
        size = (features.shape[-2], features.shape[-1])

        def filtered() -> Tensor:
            kept = self._weights(self.mask_amplitude, size)
            turned = self._weights(self.mask_phase, size)
            if features.requires_grad:
                return torch.fft.ifft2(torch.polar(kept * amplitude, turned * phase)).real
            found = _Scaled.apply(kept, turned, amplitude, phase)
            assert isinstance(found, Tensor)
            return found

        return filtered

    def _weights(self, mask: Tensor, size: tuple[int, int]) -> Tensor:
        if mask.shape[-2:] != size:
            mask = F.interpolate(mask, size, mode="bilinear", align_corners=False)
        return torch.fft.ifftshift(mask.sigmoid(), dim=(-2, -1))

    def _initialise(self, channels: int, height: int, width: int) -> None:
        shape = (1, channels if self.per_channel else 1, height, width)
        self.mask_amplitude = nn.Parameter(torch.ones(shape))
        self.mask_phase = nn.Parameter(torch.ones(shape))


class APMS(APM):
    """APM-S: one mask for all channels."""

    per_channel = False


class APMM(APM):
    """APM-M: one mask per channel."""


class _Scaled(torch.autograd.Function):
    """`Re ifft2(kept * amplitude * exp(i * turned * phase))`; a gradient for the masks alone.

    Written out because torch's own way back through `polar` walks over the spectrum twice as often.
    """

    @staticmethod
    def forward(ctx: Any, kept: Tensor, turned: Tensor, amplitude: Tensor, phase: Tensor) -> Tensor:
        """[N, C, h, w] of masks [1, C or 1, h, w] and a spectrum [N, C, h, w]."""
        angle = turned * phase
        cosine, sine, radius = angle.cos(), angle.sin(), kept * amplitude
        ctx.save_for_backward(cosine, sine, radius, amplitude, phase)
        ctx.shape = kept.shape
        return torch.fft.ifft2(torch.complex(radius * cosine, radius * sine)).real

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """An inverse transform of the gradient, turned like the spectrum."""
        cosine, sine, radius, amplitude, phase = ctx.saved_tensors
        spectrum = torch.fft.ifft2(grads[0])
        real, imaginary = spectrum.real, spectrum.imag
        along = (cosine * real).addcmul_(sine, imaginary, value=-1).mul_(amplitude)
        across = (cosine * imaginary).addcmul_(sine, real).mul_(radius).mul_(phase)
        return along.sum_to_size(ctx.shape), across.sum_to_size(ctx.shape).neg(), None, None


def _publish(module: nn.Module, state: dict[str, Any], prefix: str, _metadata: object) -> None:
    for name in APM.elastic:
        mask: Tensor = state[prefix + name]
        state[prefix + name] = mask.roll(mask.shape[1] // 2, dims=1)


def _adopt(module: nn.Module, state: Mapping[str, Any], prefix: str, *_ignored: object) -> None:
    assert isinstance(state, dict)
    for name in APM.elastic:
        mask: Tensor | None = state.get(prefix + name)
        if mask is None or mask.ndim != 4:
            continue
        own: nn.Parameter = getattr(module, name)
        if mask.shape[:2] == own.shape[:2] and mask.shape != own.shape:
            setattr(module, name, nn.Parameter(own.new_empty(mask.shape), own.requires_grad))
        state[prefix + name] = mask.roll(-(mask.shape[1] // 2), dims=1)
