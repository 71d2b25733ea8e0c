"""torch.compile, refused in a sentence where it cannot work or works wrongly."""

import os
import shutil
import sys
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from cdfss_bench.errors import UserError


def compiled(module: nn.Module, device: str) -> nn.Module:
    """`module`, compiled by torch when it is first called.

    Raises:
        UserError: if torch needs a C++ compiler for `device` and there is none.
    """
    # The one that torch asks for; it says so in two hundred lines, after the first forward pass.
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if device == "cpu" and shutil.which(compiler) is None:
        raise UserError(
            f"--compile needs a C++ compiler, and '{compiler}' is not here",
            hint="leave --compile out, or install one (apt install g++; CXX names another)",
        )
    return cast("nn.Module", torch.compile(module))


def check_gradient(network: nn.Module, again: Callable[[], Tensor], *, tolerance: float) -> None:
    """Compares the gradients that a compiled objective left with those of the plain one.

    They stay as they are. On a CPU, torch 2.13 compiles HSNet to a gradient of zeros: every loss is
    right, and nothing is learned.

    Args:
        network: after the backward pass.
        again: the plain loss of the same batch, with the same draws.
        tolerance: length of the difference, as a part of the plain gradient's.

    Raises:
        UserError: if they differ by more.
    """
    learned = [p for p in network.parameters() if p.requires_grad]
    found = [p.grad for p in learned]
    network.zero_grad(set_to_none=True)
    again().backward()
    expected = [p.grad for p in learned]
    for parameter, gradient in zip(learned, found, strict=True):
        parameter.grad = gradient
    off = torch.stack([_distance(f, e) for f, e in zip(found, expected, strict=True)]).norm()
    whole = torch.stack([_distance(None, e) for e in expected]).norm()
    if not float(off) <= tolerance * float(whole):  # neither may be NaN
        raise UserError(
            f"torch {torch.__version__} compiles the objective to another gradient: at the first "
            f"step it is {float(off / whole):.0%} of its length away from the plain one",
            hint="leave --compile out",
        )


def _distance(first: Tensor | None, second: Tensor | None) -> Tensor:
    if first is None or second is None:
        only = second if first is None else first
        return torch.zeros(()) if only is None else only.float().norm().cpu()
    return (first.float() - second.float()).norm().cpu()
