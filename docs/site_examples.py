"""Shows the doctest under `Example:` of a docstring as code: griffe knows `Examples:` alone."""

from __future__ import annotations

from typing import Any

import griffe


class CodeExamples(griffe.Extension):
    """Reads the section `Example:` as `Examples:`."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Renames the section."""
        if obj.docstring is not None:
            text = obj.docstring.value
            obj.docstring.value = text.replace("\nExample:\n", "\nExamples:\n")
