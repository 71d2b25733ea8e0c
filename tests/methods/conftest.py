"""What the method tests share."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from ..support.vectors import OpenScenes, Scenes


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small networks on busy cores: threads that wait for each other cost more than they save."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def scenes(shared: Path, fill: ModuleType) -> OpenScenes:
    """Opens one .npz of the vectors of SSP, DR-Adapter and IFA."""
    return lambda name: Scenes(shared / "reference", name, fill)
