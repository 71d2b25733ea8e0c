"""From a method to its fast form: the backbone is folded, and a host may have a class in `fast`."""

from __future__ import annotations

from importlib import import_module
from typing import ClassVar

from ..core.adaptation import copy_of
from ..core.method import Method
from . import FORMS
from .folded import folded
from .projections import projected


class FastForm(Method):
    """A subclass of a host that computes the same otherwise."""

    counted: ClassVar[bool] = True
    """Whether its operations are those that are reported: not where the plain form's number does
    not depend on the data and is the one that can be derived from the paper."""

    def prepare(self, device: str) -> None:
        """Told once, after the copy of a plain method has become one of this class.

        Args:
            device: for which it was asked.
        """


def optimized(method: Method, device: str) -> Method:
    """What `Method.optimized_for` gives; the method itself where it learns its encoder at test.

    Args:
        method: stays as it is.
        device: `cpu`, `cuda`, `cuda:1`.
    """
    if not hasattr(method, "backbone") or method.adapts_encoder:
        return method
    copied = copy_of(method)
    exact_on_gpu = not device.startswith("cpu") and method.precision != "bf16"
    copied.backbone = folded(method.backbone, channels_last=not exact_on_gpu)
    if device.startswith("cpu"):
        copied.backbone = projected(copied.backbone)
    if method.adaptation == "none":
        for parameter in copied.head():
            parameter.requires_grad = False
    form = form_of(type(method))
    if form is not None:
        # A copy of everything that the plain method holds, plug-ins included, but for its class.
        copied.__class__ = form
        assert isinstance(copied, FastForm)
        copied.prepare(device)
    return copied


def form_of(host: type[Method]) -> type[FastForm] | None:
    """The class that computes in the place of `host`; None where there is none."""
    named = FORMS.get(f"{host.__module__}:{host.__qualname__}")
    if named is None:
        return None
    module, _, name = named.partition(":")
    found = getattr(import_module(module), name)
    assert issubclass(found, FastForm)
    assert issubclass(found, host)
    return found
