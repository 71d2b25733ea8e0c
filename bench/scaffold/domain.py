"""The files of a new domain: a reader, its card, its test, and pictures to read at once."""

import io
from collections.abc import Iterator
from pathlib import Path

from cdfss_bench.errors import UserError
from cdfss_bench.files import write_atomically

from .writing import write_new

EXAMPLES = {"apple": 6, "duck": 6}
"""Pictures of each class of the card's template; six are enough for five shots."""


def write_domain(
    name: str, folder: Path, *, package: bool, examples: Path
) -> tuple[list[Path], list[Path]]:
    """Writes reader, card and test of domain `name`, and drawn pictures in its layout.

    Returns:
        The files in the order in which one reads them, and the pictures.

    Raises:
        UserError: if the name cannot be a domain's, is taken, or a file is already there.
    """
    from cdfss_bench.datasets import DOMAINS

    home = examples / name
    if home.exists():
        raise UserError(f"{home} already exists", hint="choose another name or another --examples")
    files = write_new("domain", name, folder, DOMAINS, package=package)
    pictures = dict(_pictures(home))
    for path, content in pictures.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    return files, list(pictures)


def _pictures(home: Path) -> Iterator[tuple[Path, bytes]]:
    from PIL import Image

    from cdfss_bench.datasets import open_domain

    drawn = open_domain("mini-objects", cache=None)
    for entry in drawn.classes:
        for number, item in enumerate(entry.items[: EXAMPLES.get(entry.name, 0)], start=1):
            pixels = {"images": drawn.image(item), "masks": 255 * drawn.truth(item)}
            for part, values in pixels.items():
                memory = io.BytesIO()
                Image.fromarray(values).save(memory, "PNG")
                yield home / part / entry.name / f"{number:03}.png", memory.getvalue()
