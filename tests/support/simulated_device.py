"""An accelerator that is simulated: tensors on the device `sim` are computed on the CPU.

What a GPU refuses is refused (operands on the host and on the device in one operation, a host's
generator for the device's numbers, the memory of a tensor as a NumPy array), and what makes a
program wait for a GPU is counted. Built on torch's hooks for backends in Python, which are young:
where they are absent, or a real accelerator is
there (torch takes one kind a process), `AVAILABLE` is False.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import backend_registration
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = "sim"
_SETUP: Callable[..., None] | None = getattr(
    backend_registration, "_setup_privateuseone_for_python_backend", None
)
AVAILABLE = _SETUP is not None and not torch.cuda.is_available()


@dataclass
class Waits:
    """How often the host waited for the device, by operation.

    Attributes:
        by_operation: reading numbers, results whose shape the numbers decide, checks of a
            factorisation, copies from or to memory that is not pinned.
        explicit: calls of `synchronize`, which only timing asks for.
    """

    by_operation: Counter[str] = field(default_factory=Counter[str])
    explicit: int = 0

    @property
    def total(self) -> int:
        """All but the explicit ones."""
        return self.by_operation.total()

    @property
    def uploads(self) -> int:
        """Copies to the device that were waited for."""
        return self.by_operation["upload"]

    def __str__(self) -> str:
        """For messages: the operations, the most frequent first."""
        parts = (f"{name} {number}" for name, number in self.by_operation.most_common())
        return f"{self.total} waits ({', '.join(parts)}), {self.explicit} for timing"


@dataclass
class _State:
    waits: Waits = field(default_factory=Waits)
    largest: int | None = None
    refused: int = 0
    peak: int = 0


_STATE = _State()
_LOCK = threading.Lock()


@contextmanager
def counted_waits() -> Generator[Waits]:
    """The waits of the block, in every thread."""
    before, _STATE.waits = _STATE.waits, Waits()
    try:
        yield _STATE.waits
    finally:
        _STATE.waits = before


@dataclass
class Refusals:
    """How many tensors had no room."""

    count: int = 0


@contextmanager
def largest_tensor(size: int) -> Generator[Refusals]:
    """Within the block no tensor of the device may have more than `size` bytes."""
    _STATE.largest, _STATE.refused = size, 0
    found = Refusals()
    try:
        yield found
    finally:
        found.count = _STATE.refused
        _STATE.largest = None


class SimulatedTensor(Tensor):
    """A tensor on the device; `host` has its numbers."""

    host: Tensor

    # Else what comes back to the host would be made one of these again.
    __torch_function__ = torch._C._disabled_torch_function_impl  # pyright: ignore

    def __new__(cls, host: Tensor) -> SimulatedTensor:
        """Wraps `host`, which nothing else may hold."""
        made = Tensor._make_wrapper_subclass(
            cls,
            host.shape,
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            device=torch.device(DEVICE, 0),
        )
        made.host = host
        return made

    @classmethod
    def __torch_dispatch__(
        cls,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Computes on the CPU."""
        return _run(func, args, kwargs or {})

    def __getitem__(self, places: Any) -> Tensor:
        """Lists of places become a tensor of the device, which torch makes past its hooks."""
        return super().__getitem__(_placed(places))

    def __setitem__(self, places: Any, value: Any) -> None:
        """As `__getitem__`."""
        super().__setitem__(_placed(places), value)

    def tolist(self) -> Any:
        """Waits, as reading numbers does."""
        return self.cpu().tolist()

    def new_tensor(self, data: Any, *, dtype: Any = None, **_: Any) -> Tensor:  # pyright: ignore
        """Numbers of the host, copied to the device."""
        return torch.tensor(data, dtype=dtype or self.dtype, device=self.device)

    def __repr__(self, **_: Any) -> str:
        """Without the numbers, which would be waited for."""
        return f"SimulatedTensor({list(self.shape)}, {self.dtype})"


def _placed(places: Any) -> Any:
    if isinstance(places, tuple):
        return tuple(_placed(place) for place in cast("tuple[Any, ...]", places))
    return torch.tensor(places, device=DEVICE) if isinstance(places, list) else places


# -- one operation ---------------------------------------------------------------------------------

_COPIES = ("copy_", "_to_copy", "_copy_from")
_READS = ("_local_scalar_dense", "equal", "is_nonzero", "item")
_SHAPED_BY_NUMBERS = (
    "nonzero", "masked_select", "_unique2", "_unique", "unique_dim", "unique_consecutive",
    "unique_dim_consecutive", "bincount",
)  # fmt: skip
_CHECKED = (
    "_linalg_check_errors", "_linalg_eigh", "linalg_eig", "_linalg_svd", "linalg_lstsq",
    "linalg_eigvals", "histc",
)  # fmt: skip
_INDEXED = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # Tensors of inference mode bring composite operations here whole.
    if func._can_decompose() and (parts := func.decompose(*args, **kwargs)) is not NotImplemented:
        return parts
    name = func._schema.name.partition("::")[2]
    given = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
    device = [x for x in given if isinstance(x, SimulatedTensor)]
    host = [x for x in given if not isinstance(x, SimulatedTensor)]
    target = kwargs.get("device")
    onto = None if target is None else torch.device(target).type
    _refuse(name, args, kwargs, device, host, onto)
    _count(name, args, kwargs, device, host, onto)
    # The host's tensors are ordinary ones, whatever mode the caller computes in.
    with torch.inference_mode(mode=False), torch.no_grad():
        found = func(*tree_map(_unwrapped, args), **tree_map(_unwrapped, kwargs))
    to_device = onto == DEVICE or (bool(device) and onto != "cpu")
    for x in device:
        if x.host.shape != x.shape:
            raise NotImplementedError(f"{name} changes a tensor's shape, which is not simulated")
    if name == "copy_" and not isinstance(args[0], SimulatedTensor):
        return args[0]
    own = {id(x.host): x for x in device}

    def wrapped(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if id(value) in own:
            return own[id(value)]
        if not to_device:
            return value
        # A wrapper cannot say that its numbers are to be conjugated or negated when they are read.
        _fits(value)
        with torch.inference_mode(mode=False):
            value = value.resolve_conj().resolve_neg()
            return SimulatedTensor(value)

    return tree_map(wrapped, found)


def _unwrapped(value: Any) -> Any:
    if isinstance(value, SimulatedTensor):
        return value.host
    if isinstance(value, torch.device) and value.type == DEVICE:
        return torch.device("cpu")
    return value


def _refuse(
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    device: list[SimulatedTensor],
    host: list[Tensor],
    onto: str | None,
) -> None:
    generator = kwargs.get("generator")
    drawn_there = onto == DEVICE or (bool(device) and onto is None)
    if generator is not None and generator.device.type == "cpu" and drawn_there:
        raise RuntimeError(f"{name}: expected a '{DEVICE}' generator, found a 'cpu' one")
    if name in _COPIES or not device:
        return
    if name in _INDEXED and isinstance(args[0], SimulatedTensor):
        # Positions may come from the host.
        host = [x for x in args[2:3] if isinstance(x, Tensor) and x.device.type == "cpu"]
    if any(x.dim() > 0 for x in host):
        shapes = [list(x.shape) for x in host]
        raise RuntimeError(
            f"{name}: expected all tensors to be on the same device, but found {DEVICE} and cpu "
            f"{shapes}"
        )


def _count(
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    device: list[SimulatedTensor],
    host: list[Tensor],
    onto: str | None,
) -> None:
    if name in _COPIES:
        up = bool(host) and (onto == DEVICE or name != "_to_copy")
        down = bool(device) and onto == "cpu"
        if name != "_to_copy":
            up = up and isinstance(args[0], SimulatedTensor)
            down = bool(host) and not up
        pinned = kwargs.get("non_blocking", False) or (len(args) > 2 and args[2] is True)
        if up and device and name == "_to_copy":
            up = False
        if (up or down) and not pinned:
            _waited("upload" if up else "download")
        return
    if not device:
        return
    if name in _INDEXED:
        positions = [x for x in args[1] if isinstance(x, Tensor)]
        fills = name != "index" and len(positions) == 1 and args[2].numel() == 1
        if any(not isinstance(x, SimulatedTensor) for x in positions):
            _waited("upload")
        if any(x.dtype in (torch.bool, torch.uint8) for x in positions) and not fills:
            _waited("nonzero")
    elif name == "repeat_interleave" and kwargs.get("output_size") is None:
        _waited(name)
    elif name in (*_READS, *_SHAPED_BY_NUMBERS, *_CHECKED):
        _waited({"_local_scalar_dense": "read"}.get(name, name))


def _waited(name: str) -> None:
    with _LOCK:
        _STATE.waits.by_operation[name] += 1


def _fits(value: Tensor) -> None:
    size = value.untyped_storage().nbytes()
    _STATE.peak = max(_STATE.peak, size)
    if _STATE.largest is not None and size > _STATE.largest:
        _STATE.refused += 1
        raise torch.OutOfMemoryError(f"{DEVICE}: out of memory, {size} bytes were asked for")


# -- what torch asks of a backend ------------------------------------------------------------------


class _Event:
    def __init__(self, **_: Any):
        self._at = 0.0

    def record(self, *_: Any) -> None:
        self._at = time.perf_counter()

    def synchronize(self) -> None:
        _STATE.waits.explicit += 1

    def elapsed_time(self, other: _Event) -> float:
        return 1000 * (other._at - self._at)


class _Module:
    """`torch.sim`, as far as the harness uses `torch.cuda`."""

    Event = _Event

    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, _seed: int) -> None: ...

    def device_count(self) -> int:
        return 1

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]

    def synchronize(self, _device: object = None) -> None:
        _STATE.waits.explicit += 1

    @contextmanager
    def device(self, _device: object) -> Generator[None]:
        yield

    def empty_cache(self) -> None:
        """Nothing is cached."""

    def get_device_name(self, _device: object = None) -> str:
        return "simulated device"

    def mem_get_info(self, _device: object = None) -> tuple[int, int]:
        return 8 << 30, 16 << 30

    def reset_peak_memory_stats(self, _device: object = None) -> None:
        _STATE.peak = 0

    def memory_allocated(self, _device: object = None) -> int:
        return 0

    def max_memory_allocated(self, _device: object = None) -> int:
        return _STATE.peak


class _Constants(TorchFunctionMode):
    """`torch.tensor` and `torch.as_tensor` onto the device, which torch builds past its hooks."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """On the host first, then copied."""
        options = kwargs or {}
        target = options.get("device")
        if func not in (torch.tensor, torch.as_tensor) or target is None:
            return func(*args, **options)
        return func(*args, **{**options, "device": "cpu"}).to(target)


# Their kernels for all backends make an empty tensor and let it grow, which a wrapper cannot.
_GROWING = ("arange", "arange.start", "arange.start_step", "eye", "eye.m", "linspace")

_REDUCED = ("linear", "matmul", "bmm", "mm", "addmm", "scaled_dot_product_attention")

_LIBRARIES: list[torch.library.Library] = []


def install() -> None:
    """Makes the device known to torch, for the rest of the process."""
    if _LIBRARIES:
        return
    assert _SETUP is not None
    _SETUP(DEVICE, backend_module=_Module())
    anything = torch.library.Library("_", "IMPL")
    anything.fallback(lambda op, *args, **kwargs: _run(op, args, kwargs), "PrivateUse1")
    aten = torch.library.Library("aten", "IMPL")
    for name in _GROWING:
        packet, _, overload = name.partition(".")
        op = getattr(getattr(torch.ops.aten, packet), overload or "default")
        aten.impl(name, partial(_made, op), "PrivateUse1")
    # Mixed precision reaches the products, as on real devices; the rest stays as it is.
    anything.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    for name in _REDUCED:
        op = getattr(torch.ops.aten, name).default
        aten.impl(name, partial(_reduced, op), "AutocastPrivateUse1")
    _LIBRARIES.extend((anything, aten))


@contextmanager
def simulated() -> Generator[str]:
    """The device's name, within a block in which tensors can be made on it."""
    install()
    with _Constants():
        yield DEVICE


def _reduced(op: Any, *args: Any, **kwargs: Any) -> Any:
    def cast(value: Any) -> Any:
        known = isinstance(value, Tensor) and value.dtype == torch.float32
        return value.to(torch.get_autocast_dtype(DEVICE)) if known else value

    with torch.autocast(DEVICE, enabled=False):
        return op(*tree_map(cast, args), **tree_map(cast, kwargs))


def _made(op: Any, *args: Any, **kwargs: Any) -> Any:
    return _run(op, args, kwargs)
