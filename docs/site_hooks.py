"""Pages of the site that do not lie in `docs`, and links that leave it.

`README.md` is the first page, `CONTRIBUTING.md` a page, and the reference is made from the
docstrings of what `cdfss_bench` exports. A link to a file elsewhere in the repository becomes the
name of that file, since a site does not hold it; the file must exist.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import cdfss_bench

ROOT = Path(__file__).parents[1]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md"}
"""Files of the repository that are pages of the site."""

_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages."""
    for source, target in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, target, content=_linked(text, ROOT)))
    files.append(File.generated(config, "api.md", content=_reference()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrites the links of a page of `docs`."""
    del config, files
    return _linked(markdown, ROOT / "docs") if page.file.generated_by is None else markdown


def _reference() -> str:
    names = [name for name in cdfss_bench.__all__ if not name.startswith("_")]
    parts = [
        "# Python reference",
        "What `import cdfss_bench` offers; [Python](python.md) shows how it is used.",
        *(f"::: cdfss_bench.{name}" for name in names),
    ]
    return "\n\n".join(parts) + "\n"


def _linked(text: str, folder: Path) -> str:
    def replaced(match: re.Match[str]) -> str:
        picture, words, target, anchor = match.groups()
        path = (folder / target).resolve()
        if not path.exists() or not path.is_relative_to(ROOT):
            raise PluginError(f"a page of {folder} links to {target}, which does not exist")
        name = path.relative_to(ROOT).as_posix()
        inside = PAGES.get(name) or (name.removeprefix("docs/") if name.startswith("docs/") else "")
        if inside:
            return f"{picture}[{words}]({inside}{anchor or ''})"
        return f"{words} (`{name}`)" if words != name else f"`{name}`"

    return _LINK.sub(replaced, text)
