"""Files of `torch.save`, opened by torch's safe loader; what it refuses is explained.

Authors keep their settings beside the tensors: an `argparse.Namespace`, a NumPy score, a date. The
safe loader refuses such a file whole. The classes below are let through, each as an empty stand-in
of that name: neither the class of the file nor any code of its package is ever reached.
"""

from __future__ import annotations

import pickletools
import re
import shlex
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

import torch

from cdfss_bench.errors import WeightsError

from .file_kinds import GET_AGAIN, is_torchscript, oddity

_IGNORED = {
    "_codecs": ("encode",),
    "argparse": ("Namespace",),
    "builtins": (
        *("bool", "bytearray", "bytes", "complex", "float", "frozenset", "int", "object", "range"),
        *("set", "slice", "str", "tuple"),
    ),
    "datetime": ("date", "datetime", "time", "timedelta", "timezone"),
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "mmengine.logging.history_buffer": ("HistoryBuffer",),
    "numpy": (
        *("bool", "bool_", "bytes_", "dtype", "float16", "float32", "float64", "int16", "int32"),
        *("int64", "int8", "ndarray", "str_", "uint16", "uint32", "uint64", "uint8"),
    ),
    "numpy._core.multiarray": ("_reconstruct", "scalar"),
    "numpy.core.multiarray": ("_reconstruct", "scalar"),
    "omegaconf.base": ("ContainerMetadata", "Metadata"),
    "omegaconf.dictconfig": ("DictConfig",),
    "omegaconf.listconfig": ("ListConfig",),
    "omegaconf.nodes": ("AnyNode", "BooleanNode", "FloatNode", "IntegerNode", "StringNode"),
    **dict.fromkeys(
        ("pathlib", "pathlib._local"),
        ("Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath"),
    ),
    "pytorch_lightning.callbacks.early_stopping": ("EarlyStopping",),
    "pytorch_lightning.callbacks.model_checkpoint": ("ModelCheckpoint",),
    "torch.torch_version": ("TorchVersion",),
    "types": ("SimpleNamespace",),
    "typing": ("Any",),
    "uuid": ("UUID",),
}
_MAPPINGS = {
    "addict.addict": ("Dict",),
    "builtins": ("dict",),
    "collections": ("defaultdict",),
    "detectron2.config.config": ("CfgNode",),
    "easydict": ("EasyDict",),
    "fvcore.common.config": ("CfgNode",),
    "lightning.fabric.utilities.data": ("AttributeDict",),
    "lightning.pytorch.utilities.parsing": ("AttributeDict",),
    "lightning_fabric.utilities.data": ("AttributeDict",),
    "mmcv.utils.config": ("ConfigDict",),
    "mmengine.config.config": ("ConfigDict",),
    "pytorch_lightning.utilities.parsing": ("AttributeDict",),
    "timm.utils.misc": ("AttrDict",),
    "yacs.config": ("CfgNode",),
}
_LISTS = {"builtins": ("list",), "collections": ("deque",)}

_DANGEROUS = re.compile(
    r"(os|posix|nt|sys|subprocess|shutil|socket|io|_io|runpy|importlib|ctypes|pty|webbrowser|"
    r"urllib|operator|pickle|_pickle|marshal|pkgutil|multiprocessing)(\..*)?"
    r"|builtins\.(eval|exec|compile|open|getattr|setattr|delattr|__import__|apply|execfile|input|"
    r"breakpoint|globals|locals|vars)"
)
_KNOWN_TO_TORCH = re.compile(
    r"torch\.(\w+|cuda\.\w+|_utils\._rebuild\w+|_tensor\._rebuild_from_type_v2|storage\.\w+|"
    r"nn\.parameter\.Parameter|serialization\._get_layout)"
    r"|collections\.(OrderedDict|Counter)|_codecs\.encode|builtins\.(set|bytearray|complex)"
)

_EXTRACT = (
    "import sys, torch; "
    "f = lambda v: f(v.state_dict()) if hasattr(v, 'state_dict') else "
    "{k: f(w) for k, w in v.items()} if isinstance(v, dict) else "
    "v if isinstance(v, (torch.Tensor, int, float, str)) else None; "
    "torch.save(f(torch.load(sys.argv[1], map_location='cpu', weights_only=False)), sys.argv[2])"
)
_EXTRACT_SCRIPT = (
    "import sys, torch; "
    "torch.save(torch.jit.load(sys.argv[1], map_location='cpu').state_dict(), sys.argv[2])"
)
NEVER = "only files with plain tensors are opened; nothing in them is ever executed"


class _Ignored:
    """Takes whatever a class of that name would be built with, and keeps nothing of it."""

    def __new__(cls, *_arguments: object) -> Any:
        return object.__new__(cls)

    def __init__(self, *_arguments: object):
        pass

    def __setstate__(self, _state: object) -> None:
        pass


class _Mapping:
    """Stands in for a kind of dictionary: its items are kept, its class is not."""

    def __new__(cls, *_arguments: object) -> Any:
        return OrderedDict[Any, Any]()


class _List:
    """Stands in for a kind of list."""

    def __new__(cls, *_arguments: object) -> Any:
        return list[Any]()


def _stand_ins() -> dict[str, type]:
    kinds = ((_IGNORED, _Ignored), (_MAPPINGS, _Mapping), (_LISTS, _List))
    return {
        f"{module}.{name}": type(name, (kind,), {"__module__": module, "__qualname__": name})
        for modules, kind in kinds
        for module, names in modules.items()
        for name in names
    }


_STAND_INS = _stand_ins()


def load_torch(path: Path) -> object:
    """What `torch.save` wrote into `path`, tensors on the CPU; harmless extras are empty.

    Raises:
        WeightsError: if the file is damaged, is something else, or holds objects of classes that
            are not let through.
    """
    allowed: Any = torch.serialization.safe_globals(list(_STAND_INS.values()))
    try:
        # What torch warns of (an unusual pickle protocol) is said by `_refuse` where it matters.
        with allowed, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if path.suffix != ".safetensors":
                return torch.load(path, map_location="cpu", weights_only=True)
            with path.open("rb") as file:  # by its name torch would take it for the other format
                return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in the unpickler in any of a dozen ways
        _refuse(path, error)


def extraction(path: Path, program: str = _EXTRACT) -> str:
    """The shell command that writes the tensors of `path` into a file that is opened here."""
    output = path.with_name(f"{path.stem}-tensors.pth")
    return f"python -c {shlex.quote(program)} {shlex.quote(str(path))} {shlex.quote(str(output))}"


def _refuse(path: Path, error: Exception) -> NoReturn:
    unsafe = f"{path} is not a checkpoint that can be read safely"
    trust = "if you trust whoever made it, run where it was made"
    if what := oddity(path):
        raise WeightsError(f"{unsafe}: it is {what}", hint=f"{GET_AGAIN}; {NEVER}") from error
    if is_torchscript(path):
        raise WeightsError(
            f"{unsafe}: it is a TorchScript archive, a program and not plain tensors",
            hint=f"{NEVER}; {trust}: {extraction(path, _EXTRACT_SCRIPT)}",
        ) from error
    found = scanned(path)
    if dangerous := [name for name in found.names if _DANGEROUS.fullmatch(name)]:
        raise WeightsError(
            f"{unsafe}: it names {_listed(dangerous)}, which no checkpoint needs",
            hint=f"do not use this file; {NEVER}",
        ) from error
    if strange := [name for name in found.names if not _is_known(name)]:
        raise WeightsError(
            f"{unsafe}: it holds objects of {_listed(strange)} beside tensors",
            hint=f"{NEVER}; {trust}: {extraction(path)}",
        ) from error
    if found.protocol > 2:
        raise WeightsError(
            f"{unsafe}: it was written with pickle protocol {found.protocol}, and not 2 as "
            "torch.save does",
            hint=f"{NEVER}; {trust}: {extraction(path)}",
        ) from error
    raise WeightsError(
        f"{unsafe}: it is damaged, incomplete, or no file of torch.save",
        hint=f"{GET_AGAIN}; {NEVER}",
    ) from error


def _is_known(name: str) -> bool:
    return name in _STAND_INS or _KNOWN_TO_TORCH.fullmatch(name) is not None


def _listed(names: list[str]) -> str:
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")


class _Scan:
    """What the pickles of a file name, found without executing them.

    Attributes:
        names: classes and functions, in order.
        protocol: the highest of the pickles.
    """

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self.protocol = 0

    @property
    def names(self) -> list[str]:
        return list(self._names)

    def read(self, file: IO[bytes]) -> None:
        """One pickle of the file.

        Raises:
            ValueError: if it ends too early or is none.
        """
        words: list[str] = []
        memo: dict[int, str | None] = {}
        last: str | None = None
        for code, argument, _ in pickletools.genops(file):
            if code.name == "PROTO":
                self.protocol = max(self.protocol, int(argument or 0))
            elif code.name == "GLOBAL":
                self._note(*str(argument).split(" ", 1))
            elif code.name == "STACK_GLOBAL" and len(words) > 1:
                self._note(*words[-2:])
            if code.name == "MEMOIZE":
                memo[len(memo)] = last
                continue
            if code.name.endswith("PUT"):
                memo[int(argument or 0)] = last
                continue
            is_text = isinstance(argument, str) and code.name != "GLOBAL"
            last = str(argument) if is_text else None
            if code.name.endswith("GET"):
                last = memo.get(int(argument or 0))
            if last is not None:
                words.append(last)

    def _note(self, module: str, name: str = "") -> None:
        # Protocol 2, that of torch.save, has the names of Python 2.
        if (module, name) in NAME_MAPPING:
            module, name = NAME_MAPPING[module, name]
        self._names[f"{IMPORT_MAPPING.get(module, module)}.{name}"] = None


def scanned(path: Path) -> _Scan:
    """The classes and functions that the pickles in `path` name; empty where there is no pickle."""
    scan = _Scan()
    try:
        for file in _pickles(path):
            scan.read(file)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, NotImplementedError, MemoryError):
        pass  # what was found up to here is what can be said
    return scan


def _pickles(path: Path) -> Iterator[IO[bytes]]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith("data.pkl"):
                    with archive.open(name) as file:
                        yield file
        return
    with path.open("rb") as file:
        for _ in range(4):  # magic number, protocol, machine, content
            yield file
