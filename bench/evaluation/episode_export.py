"""Episodes for other programs: pictures and support masks as files, and an index that names them.

The masks of queries are never written.
"""

from pathlib import Path
from typing import Literal, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from cdfss_bench import plain_json
from cdfss_bench.datasets import open_domain
from cdfss_bench.datasets.core.registry import split_name
from cdfss_bench.errors import DataError
from cdfss_bench.files import explained_os_errors, write_atomically

from ..planning.episode_set import EpisodeSet
from ..records.cell_folder import safe_name
from .mask_files import PREDICTIONS, MaskFolder, file_name, png_of

INDEX = "index.json"
FORMAT = 1
_IMAGES, _SUPPORT_MASKS = "images", "support_masks"
_ANEW = "write a new one: cdfss-bench episodes export"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Query(_Part):
    """A query.

    Attributes:
        name: published name of the image.
        image: its picture, RGB [S, S] as methods see it, relative to the index; empty where a run
            saved its masks.
    """

    name: str
    image: str = ""


class Support(Query):
    """A support; `mask` is the file of its mask, 0 and 255 [S, S]."""

    mask: str = ""


class IndexedEpisode(_Part):
    """One episode; `prediction` is the file to write, relative to the index."""

    episode: int
    class_id: int
    class_name: str
    query: Query
    supports: tuple[Support, ...]
    prediction: str


class Index(_Part):
    """`index.json`: which episodes these are.

    Attributes:
        format: of this file.
        domain: name with options, or the name that own data were given.
        typed: what opens the domain again, where that is not `domain`.
        profile: the named population.
        fingerprint: sha256 of the data.
        protocol: `patnet` or `strict`.
        shots: supports per episode.
        seed: of the sampler.
        control: `shuffled-support` where the supports are of a wrong class; else empty.
        image_size: side of pictures and masks in pixels.
        manifest_sha256: of the manifest that the episodes are.
        episodes: in order.
    """

    format: Literal[1] = FORMAT
    domain: str
    typed: str = ""
    profile: str
    fingerprint: str
    protocol: Literal["patnet", "strict"]
    shots: int
    seed: int
    control: Literal["", "shuffled-support"] = ""
    image_size: int
    manifest_sha256: str
    episodes: tuple[IndexedEpisode, ...]

    @property
    def asked(self) -> list[tuple[int, int, str, tuple[str, ...], str]]:
        """What every episode asks, without the files of pictures."""
        return [
            (e.episode, e.class_id, e.query.name, tuple(s.name for s in e.supports), e.prediction)
            for e in self.episodes
        ]


def set_name(episode_set: EpisodeSet) -> str:
    """`isic-1shot-seed0-patnet`: the folder of one of several exports."""
    words = (
        f"{episode_set.domain.title}-{episode_set.shots}shot-seed{episode_set.seed}-"
        f"{episode_set.protocol}"
    )
    return safe_name(words + (f"-{episode_set.control}" if episode_set.control else ""))


def mask_folder(folder: Path, episode_set: EpisodeSet) -> MaskFolder:
    """The predicted masks of an export."""
    side = episode_set.domain.card.image_size
    return MaskFolder(folder / PREDICTIONS, len(episode_set.manifest), side)


def export(episode_set: EpisodeSet, folder: Path) -> Index:
    """Write pictures, support masks and the index, which comes last; the index.

    Raises:
        DataError: if the folder holds other episodes, or a picture is unreadable.
        UserError: if the folder cannot be written.
    """
    index = _index_of(episode_set, with_files=True)
    _refuse_others(folder, index)
    domain = episode_set.domain
    written: set[str] = set()

    def put(file: str, data: bytes) -> None:
        path = folder / file
        with explained_os_errors(path, "exporting episodes"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        written.add(file)

    for asked, indexed in zip(episode_set.manifest, index.episodes, strict=True):
        query = domain.item(asked.class_id, asked.query)
        if indexed.query.image not in written:
            put(indexed.query.image, png_of(domain.image(query)))
        for name, support in zip(asked.supports, indexed.supports, strict=True):
            item = domain.item(asked.support_class_id, name)
            if support.image not in written:
                put(support.image, png_of(domain.image(item)))
            if support.mask not in written:
                put(support.mask, png_of(domain.truth(item) * 255))
    _write(folder, index)
    return index


def begin_masks(folder: Path, episode_set: EpisodeSet) -> MaskFolder:
    """The folder for the masks of a run, with an index; an export of the same episodes serves too.

    Raises:
        DataError: if the folder holds other episodes.
        UserError: if it cannot be written.
    """
    index = _index_of(episode_set, with_files=False)
    _refuse_others(folder, index)
    if not (folder / INDEX).is_file():
        _write(folder, index)
    return mask_folder(folder, episode_set)


def read_index(folder: Path) -> Index:
    """The index of an export.

    Raises:
        DataError: if there is none, or it is damaged.
    """
    path = folder / INDEX
    try:
        values: object = plain_json.loads(path.read_text(encoding="utf-8"))
        version = cast("dict[str, object]", values).get("format") if isinstance(values, dict) else 0
        if isinstance(version, int) and version > FORMAT:
            raise DataError(
                f"{path} has format {version}, this version reads up to {FORMAT}",
                hint="pip install --upgrade cdfss-bench",
            )
        return Index.model_validate(values)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{folder} holds no {INDEX}", hint=_ANEW) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "the whole file"
        raise DataError(f"{path}: '{key}': {first['msg'].lower()}", hint=_ANEW) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable index ({error})", hint=_ANEW) from error


def indexed_episodes(folder: Path, root: Path | None, lists: Path | None) -> EpisodeSet:
    """The episodes of an export, drawn again from the data that are here.

    Raises:
        DataError: if the index is damaged or was changed, or belongs to other data or episodes.
    """
    index, path = read_index(folder), folder / INDEX
    name, options = split_name(index.typed or index.domain)
    domain = open_domain(name, root, options, lists=lists)
    if domain.fingerprint != index.fingerprint:
        raise DataError(
            f"{path} belongs to other data: {index.domain} has the fingerprint "
            f"{index.fingerprint[:12]} there and {domain.fingerprint[:12]} here",
            hint="name the data root of the export (--data-root), or export again",
        )
    count = len(index.episodes)
    if not count or index.shots < 1 or not 0 <= index.seed < 2**32:
        raise DataError(f"{path} was changed: it names no episodes that can be drawn", hint=_ANEW)
    episode_set = EpisodeSet(domain, index.shots, index.seed, index.protocol, count, index.control)
    found = _index_of(episode_set, with_files=False)
    if found.manifest_sha256 != index.manifest_sha256:
        raise DataError(
            f"{path} belongs to another manifest: {index.manifest_sha256[:12]} there, "
            f"{found.manifest_sha256[:12]} here",
            hint=_ANEW,
        )
    if (found.asked, found.image_size) != (index.asked, index.image_size):
        raise DataError(f"{path} was changed: its episodes are not its manifest's", hint=_ANEW)
    return episode_set


def _index_of(episode_set: EpisodeSet, *, with_files: bool) -> Index:
    domain, manifest = episode_set.domain, episode_set.manifest
    names = {entry.id: entry.name for entry in domain.classes}
    images: dict[str, str] = {}
    masks: dict[tuple[int, str], str] = {}

    def image_of(class_id: int, name: str) -> str:
        if not with_files:
            return ""
        path = domain.item(class_id, name).image
        return images.setdefault(path, f"{_IMAGES}/{file_name(len(images))}")

    def mask_of(class_id: int, name: str) -> str:
        if not with_files:
            return ""
        return masks.setdefault((class_id, name), f"{_SUPPORT_MASKS}/{file_name(len(masks))}")

    episodes = [
        IndexedEpisode(
            episode=number,
            class_id=asked.class_id,
            class_name=names[asked.class_id],
            query=Query(name=asked.query, image=image_of(asked.class_id, asked.query)),
            supports=tuple(
                Support(
                    name=name,
                    image=image_of(asked.support_class_id, name),
                    mask=mask_of(asked.support_class_id, name),
                )
                for name in asked.supports
            ),
            prediction=f"{PREDICTIONS}/{file_name(number)}",
        )
        for number, asked in enumerate(manifest)
    ]
    return Index(
        domain=domain.title,
        typed=domain.typed if domain.typed != domain.title else "",
        profile=manifest.profile,
        fingerprint=manifest.fingerprint,
        protocol=cast("Literal['patnet', 'strict']", manifest.protocol),
        shots=manifest.shots,
        seed=manifest.seed,
        control=cast("Literal['', 'shuffled-support']", episode_set.control),
        image_size=domain.card.image_size,
        manifest_sha256=manifest.sha256,
        episodes=tuple(episodes),
    )


def _refuse_others(folder: Path, index: Index) -> None:
    if (folder / INDEX).exists() and read_index(folder).manifest_sha256 != index.manifest_sha256:
        raise DataError(f"{folder} holds other episodes", hint="name another folder")


def _write(folder: Path, index: Index) -> None:
    text = plain_json.dumps(index.model_dump(mode="json"))
    write_atomically(folder / INDEX, text + "\n")
