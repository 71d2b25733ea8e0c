"""What all tests share: the optional material beside the checkout, and reference vectors."""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

# Thousands of tiny operations: threads that wait for each other cost more than they give, and the
# processes that tests start share the machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

CHECKOUT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("CDFSS_SHARED", CHECKOUT.parent / "shared"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--gpu-device cpu` runs the tests marked `gpu` on the CPU, to try the tests themselves."""
    parser.addoption("--gpu-device", default="cuda", help="device of the tests marked gpu")
    parser.addoption("--gpu-report", type=Path, help="JSON lines: outcome and figures of each")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `shared` are skipped where the material is absent."""
    if SHARED.is_dir():
        return
    skip = pytest.mark.skip(reason=f"{SHARED} is not here (name it with CDFSS_SHARED)")
    for item in items:
        if "shared" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _private_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's cache, results or settings."""
    for name in list(os.environ):
        if name.startswith("CDFSS_") and name != "CDFSS_SHARED":
            monkeypatch.delenv(name)
    monkeypatch.setenv("CDFSS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the checkout with reference vectors, real samples and weights."""
    return SHARED


def load_script(path: Path) -> ModuleType:
    """A Python file outside the package, imported under its stem."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def fill(shared: Path) -> ModuleType:
    """`fill.py` of the reference vectors: parameters and inputs from a seed."""
    return load_script(shared / "reference" / "fill.py")
