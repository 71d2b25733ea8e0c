"""Files of something new, written from templates: names are checked, nothing is overwritten."""

import keyword
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any, Literal

from cdfss_bench.cards import Catalog
from cdfss_bench.errors import UserError
from cdfss_bench.files import write_atomically

TEMPLATES = Path(__file__).parent / "templates"


def write_new(
    kind: Literal["method", "domain"],
    name: str,
    folder: Path,
    catalog: Catalog[Any],
    *,
    package: bool,
) -> list[Path]:
    """Writes the module, card and test of a new `kind`.

    Returns:
        The files, in the order in which one reads them.

    Raises:
        UserError: if the name cannot be used, is taken, or a file is already there.
    """
    words = _words(kind, name, catalog)
    inside = folder / words["package"] if package else folder
    files = {
        inside / f"{words['module']}.py": f"{kind}.py.txt",
        inside / f"{name}.yaml": f"{kind}.yaml.txt",
        inside / f"test_{words['module']}.py": f"test_{kind}.py.txt",
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


def _words(kind: str, name: str, catalog: Catalog[Any]) -> Mapping[str, str]:
    module = re.sub(r"\W", "_", name)
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name) or keyword.iskeyword(module):
        raise UserError(
            f"'{name}' cannot be a {kind}'s name",
            hint=f"take small letters, digits and hyphens, beginning with a letter: my-{kind}",
        )
    if name in catalog:
        raise UserError(f"a {kind} called '{name}' exists already: {catalog.origin(name)}")
    parts = name.split("-")
    return {
        "name": name,
        "module": module,
        "title": "-".join(part.capitalize() for part in parts),
        "cls": "".join(part.capitalize() for part in parts),
        "distribution": f"cdfss-{name}",
        "package": f"cdfss_{module}",
        "group": f"cdfss_bench.{kind}s",
    }
