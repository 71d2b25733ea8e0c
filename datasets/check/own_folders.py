"""What own data have beside or in place of what is read: other folders, masks for pictures."""

from collections.abc import Sequence
from pathlib import Path
from weakref import WeakKeyDictionary

from cdfss_bench.errors import DataError

from ..core.domain import Domain
from ..core.masks.layouts import IMAGE_FOLDERS, MASK_FOLDERS
from ..core.masks.pairing import folders_in
from ..core.own_domain import OwnDomain
from ..domains.folder import FolderDomain

_COMPARED: WeakKeyDictionary[Domain, str] = WeakKeyDictionary()
"""The first picture that is its own mask, by domain; empty where there is none."""


def folder_notes(domain: Domain) -> list[str]:
    """That a folder like those of pictures or masks lies beside them and is not read."""
    if not isinstance(domain, FolderDomain):
        return []
    top = domain.root / str(domain.options.get("path", "."))
    folders = {Path(path).parent for path in _files(domain)}  # of many files few folders
    read = {name for each in folders if (name := _below(top, domain.root / each))}
    unread = [
        name
        for name in folders_in(top)
        if name not in read and name.lower() in (*IMAGE_FOLDERS, *MASK_FOLDERS)
    ]
    beside = " and ".join(sorted(read))
    return [f"the folder '{name}' beside {beside} is not read" for name in unread]


def refuse_masks_for_pictures(domain: Domain) -> None:
    """Refuse own data in which a picture and its mask are one file, or equal ones.

    Raises:
        DataError: naming the first.
    """
    if not isinstance(domain, OwnDomain):
        return
    if domain not in _COMPARED:
        _COMPARED[domain] = _first_same(domain)
    if found := _COMPARED[domain]:
        raise DataError(
            f"{found} is its own mask: the two files are the same",
            hint="put the pictures into the folder of images, or name their folders with images= "
            "and masks=",
        )


def _first_same(domain: OwnDomain) -> str:
    for item in (item for entry in domain.classes for item in entry.items):
        one = domain.root / item.image
        others = [domain.root / path for path in domain.item_files(item)[1:]]
        if item.image == item.mask or any(_is_same(one, other) for other in others):
            return str(one)
    return ""


def _is_same(one: Path, other: Path) -> bool:
    try:
        if one.stat().st_size != other.stat().st_size:
            return False
        return one.read_bytes() == other.read_bytes()
    except OSError:  # a slice of a volume is no file, and what is missing is refused elsewhere
        return False


def _files(domain: FolderDomain) -> set[str]:
    items = [item for entry in domain.classes for item in entry.items]
    return {path for item in items for path in domain.item_files(item)}


def _below(top: Path, folder: Path) -> str:
    """The folder in `top` that `folder` is or lies in; empty where it lies elsewhere."""
    parts: Sequence[str] = folder.relative_to(top).parts if folder.is_relative_to(top) else ()
    return parts[0] if parts else ""
