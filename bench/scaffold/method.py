"""The files of a new method: a network that already runs, its card, and its test."""

from pathlib import Path

from .writing import write_new


def write_method(name: str, folder: Path, *, package: bool) -> list[Path]:
    """Writes module, card and test of method `name`.

    Returns:
        The files, in the order in which one reads them.

    Raises:
        UserError: if the name cannot be a method's, is taken, or a file is already there.
    """
    from cdfss_bench.methods.registry.name_grammar import METHODS

    return write_new("method", name, folder, METHODS, package=package)
