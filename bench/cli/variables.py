"""What the variables `CDFSS_...` of the environment mean to the options that read them."""

import os
import re
from functools import partial
from typing import Any

_BETWEEN = re.compile(r"[\s,]+(?![^\[\]]*\])")
"""Blanks and commas between values; within brackets they belong to the options of a name."""


def forget_blank_variables() -> None:
    """Take variables of nothing but blanks as not set, as the empty ones are."""
    for name, value in list(os.environ.items()):
        if name.startswith("CDFSS_") and not value.strip():
            del os.environ[name]


def split_at_blanks_and_commas(option: Any) -> None:
    """Have a repeatable option keep `folder[path=my mugs]` of its variable in one piece."""
    option.value_from_envvar = partial(_values, option)


def _values(option: Any, context: Any) -> list[str] | None:
    text = option.resolve_envvar_value(context)
    return None if text is None else [part for part in _BETWEEN.split(text) if part]
