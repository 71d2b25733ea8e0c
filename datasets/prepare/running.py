"""`data prepare` as a function."""

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cdfss_bench.errors import DataError, UserError
from cdfss_bench.files import explained_os_errors
from cdfss_bench.options import Value, resolve

from ..core.registry import DOMAINS, open_domain
from .plan import Summary
from .recipe import Recipe
from .sources import Source
from .work import carry_out


def downloads_folder(root: Path, domain: str) -> Path:
    """Where `data fetch` puts a domain's files and `data prepare` looks for them."""
    return root / "downloads" / domain


def command(verb: str, name: str, root: Path) -> str:
    """`cdfss-bench data VERB NAME --data-root ROOT`, as a shell takes it."""
    return shlex.join(["cdfss-bench", "data", verb, name, "--data-root", str(root)])


def named_root(root: Path | None) -> Path:
    """The data root that was typed or stands in the environment.

    Raises:
        UserError: if there is none.
    """
    place = root or os.environ.get("CDFSS_DATA_ROOT")
    if not place:
        raise UserError("no data root is named", hint="--data-root DIR or CDFSS_DATA_ROOT")
    return Path(place)


def prepare(
    name: str,
    root: Path | None = None,
    places: Sequence[Path] = (),
    options: Mapping[str, Value] | None = None,
    *,
    lists: Sequence[Path] = (),
    workers: int = 0,
    link: bool = False,
    listener: Callable[[int, int], None] | None = None,
) -> Summary:
    """Makes the published layout of a domain under `root` from its official download.

    The same call again does only what is missing; nothing that is there is ever mixed with
    something made differently.

    Args:
        name: of the domain.
        root: the data root, by default `$CDFSS_DATA_ROOT`; created where it is missing.
        places: archives and folders of the download; by default `root/downloads/NAME`.
        options: of the card's `prepare`.
        lists: class tables, fold lists, or folders that hold them.
        workers: threads; 0 takes one per processor.
        link: hard links instead of copies where the download lies unpacked on the same disk.
        listener: is told (done, total).

    Raises:
        UserError: if the domain has no recipe, the download is not what it should be, the folder
            holds something else, or the disk is full.
    """
    card = DOMAINS.card(name)
    if card.prepare is None:
        raise DataError(
            f"{card.title} needs no preparation"
            if card.suite == "mini"
            else f"there is no recipe for {card.title}; put its files where the card says",
            hint=f"cdfss-bench data check {name} shows the layout",
        )
    home = named_root(root)
    reader: type[Recipe] = DOMAINS.code(name, card.prepare.code)
    recipe = reader(card, resolve(card.prepare.options, options or {}, f"prepare {name}"), lists)
    if not places:
        usual = downloads_folder(home, name)
        if not usual.is_dir():
            raise DataError(
                f"there is no download of {card.title} in {usual}",
                hint=f"{command('fetch', name, home)}, or name the archive or folder with --from",
            )
        places = [usual]
    with explained_os_errors(home, "creating the data root"):
        home.mkdir(parents=True, exist_ok=True)
    with Source(places, workplace=home if os.access(home, os.W_OK) else None) as source:
        plan = recipe.plan(source)
        summary = carry_out(plan, home, name, workers=workers, link=link, listener=listener)
    _recognise(summary, home, {k: v for k, v in recipe.options.items() if k in card.options})
    return summary


def _recognise(summary: Summary, home: Path, options: Mapping[str, Value]) -> None:
    try:
        domain = open_domain(summary.domain, home, options)
        summary.profile, summary.fingerprint = domain.profile, domain.fingerprint
    except DataError as error:
        summary.problems.append(error.problem)
