"""The files of a new method: a network that already runs, its card, and its test."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from string import Template

from cdfss_bench.errors import UserError
from cdfss_bench.files import write_atomically

TEMPLATES = Path(__file__).parent / "templates"


def write_method(name: str, folder: Path, *, package: bool) -> list[Path]:
    """Writes module, card and test of method `name`.

    Args:
        name: as it will be typed behind `-m`.
        folder: where to; made if it is not there.
        package: whether to write an installable package that announces the card.

    Returns:
        The files, in the order in which one reads them.

    Raises:
        UserError: if the name cannot be a method's, is taken, or a file is already there.
    """
    words = _words(name)
    inside = folder / words["package"] if package else folder
    files = {
        inside / f"{words['module']}.py": "method.py.txt",
        inside / f"{name}.yaml": "method.yaml.txt",
        inside / f"test_{words['module']}.py": "test_method.py.txt",
    }
    if package:
        files[folder / "pyproject.toml"] = "pyproject.toml.txt"
    for path in files:
        if path.exists():
            raise UserError(f"{path} already exists", hint="choose another name or another --to")
    inside.mkdir(parents=True, exist_ok=True)
    if package:
        write_atomically(
            inside / "__init__.py", f'"""{words["title"]} for cdfss-bench."""\n'.encode()
        )
    for path, template in files.items():
        text = Template((TEMPLATES / template).read_text(encoding="utf-8")).substitute(words)
        write_atomically(path, text.encode())
    return list(files)


def _words(name: str) -> dict[str, str]:
    from cdfss_bench.methods.registry.name_grammar import METHODS

    module = re.sub(r"\W", "_", name)
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name) or keyword.iskeyword(module):
        raise UserError(
            f"'{name}' cannot be a method's name",
            hint="take small letters, digits and hyphens, beginning with a letter: my-method",
        )
    if name in METHODS:
        raise UserError(f"a method called '{name}' exists already: {METHODS.origin(name)}")
    parts = name.split("-")
    return {
        "name": name,
        "module": module,
        "title": "-".join(part.capitalize() for part in parts),
        "cls": "".join(part.capitalize() for part in parts),
        "distribution": f"cdfss-{name}",
        "package": f"cdfss_{module}",
    }
