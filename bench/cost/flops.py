"""How many operations a piece of work takes: torch's counter, attention and transforms included."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

# Operations that move or compare data, or cost one operation per element: the field counts none.
_FREE = (
    "view", "reshape", "permute", "transpose", "expand", "slice", "select", "cat", "stack",
    "clone", "copy", "detach", "alias", "unsqueeze", "squeeze", "index", "gather", "scatter",
    "split", "to_copy", "empty", "zeros", "ones", "full", "arange", "fill", "lift", "as_strided",
    "add", "sub", "mul", "div", "relu", "clamp", "maximum", "minimum", "gt", "ge", "lt", "le",
    "eq", "ne", "logical", "bitwise", "where", "any", "all", "sum", "mean", "amax", "amin", "exp",
    "sqrt", "rsqrt", "neg", "abs", "sigmoid", "log", "pow", "item", "local_scalar", "hardtanh",
    "unbind", "repeat", "t.default", "unsafe", "pixel", "roll", "flip", "new_", "scalar_tensor",
    "rsub", "sgn", "conj", "masked_fill", "threshold", "profiler",
)  # fmt: skip


class Operations(NamedTuple):
    """What a piece of work took.

    Attributes:
        flops: of convolutions, matrix products and attention; one multiply-add counts 2.
        fft: of Fourier transforms, which the field's figures leave out.
        uncounted: operations that cost something and have no formula.
    """

    flops: int
    fft: int
    uncounted: frozenset[str]


def operations_of(work: Callable[[], object]) -> Operations:
    """The operations of `work`, the same on every device; backward passes count too.

    Outside of inference mode: inside it operations are seen before they are taken apart.
    """
    counter, watch = FlopCounterMode(display=False, custom_mapping=_OURS), _Watch()
    with counter, watch:
        work()
    return Operations(int(counter.get_total_flops()), watch.fft, frozenset(watch.names))


def summed(parts: Iterable[tuple[int, Operations]]) -> Operations:
    """Parts that are done so many times each."""
    known = list(parts)
    return Operations(
        sum(times * part.flops for times, part in known),
        sum(times * part.fft for times, part in known),
        frozenset[str]().union(*(part.uncounted for _, part in known)),
    )


def _attention(
    query: Sequence[int], key: Sequence[int], value: Sequence[int], *_rest: Any, **_more: Any
) -> int:
    """FLOPs of scaled dot-product attention from the shapes [N, heads, tokens, width]."""
    batch, heads, tokens, width = query
    return 2 * batch * heads * tokens * key[2] * (width + value[3])


def _product_onto(
    _sum: Sequence[int], left: Sequence[int], right: Sequence[int], *_rest: Any, **_more: Any
) -> int:
    """FLOPs of a product of [M, K] and [K, N] that is added onto [M, N] in place."""
    return 2 * left[0] * left[1] * right[1]


# torch counts the attention kernels of accelerators, and not the one of CPUs; products that write
# into a new matrix, and not those that add onto one in place.
_OURS: dict[Any, Callable[..., int]] = {
    torch.ops.aten.addmm_: _product_onto,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
}


def _complex_fft(values: Tensor, dims: Sequence[int], *_rest: Any, **_more: Any) -> int:
    return _transforms(values, dims, [values.shape[dim] for dim in dims])


def _from_real_fft(values: Tensor, dims: Sequence[int], *_rest: Any, **_more: Any) -> int:
    return _complex_fft(values, dims) // 2


def _to_real_fft(
    values: Tensor, dims: Sequence[int], normalization: int, last: int, **_more: Any
) -> int:
    del normalization
    return _transforms(values, dims, [*(values.shape[dim] for dim in dims[:-1]), last]) // 2


def _transforms(values: Tensor, dims: Sequence[int], sides: Sequence[int]) -> int:
    """The convention `5 N log2 N` for a complex transform of N points (FFTW's), to the nearest."""
    points = math.prod(sides)
    count = values.numel() // max(1, math.prod(values.shape[dim] for dim in dims))
    return round(count * 5 * points * math.log2(points)) if points else 0


_TRANSFORMS: dict[Any, Callable[..., int]] = {
    torch.ops.aten._fft_c2c: _complex_fft,
    torch.ops.aten._fft_r2c: _from_real_fft,
    torch.ops.aten._fft_c2r: _to_real_fft,
}


class _Watch(TorchDispatchMode):
    """Counts the transforms, and names the operations for which there is no formula."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.fft = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Lets the operation through."""
        name = str(func).removeprefix("aten.")
        packet = getattr(func, "_overloadpacket", None)
        if packet in _TRANSFORMS:
            self.fft += _TRANSFORMS[packet](*args, **(kwargs or {}))
        elif not (packet in flop_registry or packet in _OURS or name.lstrip("_").startswith(_FREE)):
            self.names.add(name.partition(".")[0])
        return func(*args, **(kwargs or {}))
