"""Is a record what its rows say: every hash and every metric computed again."""

import hashlib
import multiprocessing
import re
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, cast

from cdfss_bench import plain_json
from cdfss_bench.canonical import digest, file_sha256
from cdfss_bench.datasets import Manifest
from cdfss_bench.errors import UserError

from ..records.cell_folder import CellFolder, EpisodeRow, parse_row
from ..records.counted import Counted, parse_rows
from ..records.kept import Kept
from ..records.place import folder_of
from ..records.schema import MetricsPart, RunRecord, read_whatever_seal
from ..runtime.threads import available_cpus
from ..statistics.summary import metrics_of

TOLERANCE = 1e-9
"""Percent by which a sum of floats may differ between processors."""
UNSEALED = "run.json was changed after it was written: its seal does not fit"
INTERVAL_TOLERANCE = 2e-4
MANY = 400
"""Runs from which on several processes share them: one starts in the time of some hundred runs."""

_PERHAPS_TOO_LARGE = re.compile(r"\d(?:[eE][+-]?\d{3}|\d{199})")
"""Is in every text with a number that is too large for a float, and in few others."""
_MOST_MANIFESTS = 64
"""Manifests that stay in memory: most runs share theirs with others."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found in the folder of one run.

    Attributes:
        path: of the folder.
        status: of the record; empty where there is none that can be read.
        problems: a sentence each; none where everything fits.
        unreadable: whether the record, or a number anywhere in the folder, cannot be read.
    """

    path: Path
    status: str
    problems: tuple[str, ...]
    unreadable: bool = False

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {"run": str(self.path), "status": self.status, "problems": list(self.problems)}


def verify_all(paths: Sequence[Path], *, again: bool = False) -> list[Verdict]:
    """`verify` of each of the folders, in order, by as many processes as there are processors.

    A folder in which nothing was wrong before is not computed again while its files hold the same
    bytes and the code is the same.

    Args:
        paths: of the folders.
        again: whether all of them are computed again.
    """
    with Kept("verified") as kept:
        keys = {path: _content(path) for path in paths}
        new = [path for path, key in keys.items() if again or not kept.knows(key)]
        computed = dict(zip(new, _computed(new), strict=True))
        for path, verdict in computed.items():
            # What was changed meanwhile is not noted.
            if not verdict.problems and _content(path) == keys[path]:
                kept.get(keys[path], partial(str, verdict.status))
        return [
            computed.get(path) or Verdict(path, kept.get(keys[path], str), ()) for path in paths
        ]


def without_record(results: Path) -> list[Verdict]:
    """What is said of folders of a results folder that hold rows and no record.

    A run writes the record first, so it was deleted, or a copy of the folder ended too early.
    """
    rows = sorted((results / "runs").glob("*/*/*/episodes.jsonl"))
    lost = [p.parent for p in rows if p.stat().st_size and not CellFolder(p.parent).record.exists()]
    problem = "rows without a run.json: copy it too, or type the run again, which keeps them"
    return [Verdict(path, "", (problem,)) for path in lost]


def _content(path: Path) -> str:
    """Stands for the name of a folder and the bytes of its files."""
    sums: list[str] = []
    folder = CellFolder(path)
    for file in (folder.record, folder.manifest, folder.rows, folder.timings):
        try:
            sums.append(file_sha256(file) if file.is_file() else "")
        except OSError as error:
            sums.append(str(error.errno))
    return digest([path.resolve().parts[-3:], sums])


def _computed(paths: Sequence[Path]) -> list[Verdict]:
    processes = available_cpus()
    if len(paths) < MANY or processes == 1:
        return [verify(path) for path in paths]
    context = multiprocessing.get_context("spawn")
    # Only this process answers Ctrl-C.
    ignoring = (signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(processes, context, signal.signal, ignoring) as pool:
        try:
            return list(pool.map(verify, paths, chunksize=50))
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def verify(path: Path) -> Verdict:
    """What does not fit in the folder of a run.

    A finished run is checked whole; of an unfinished one only the record can be.
    """
    folder = CellFolder(path)
    try:
        record, fits = read_whatever_seal(folder.record)
    except UserError as error:
        return Verdict(path, "", (error.problem,), unreadable=True)
    strange = list(_of_numbers(folder))
    problems = [] if fits else [UNSEALED]
    problems += _of_record(record, folder)
    if record.status == "done":
        problems += _of_rows(record, folder)
    return Verdict(path, record.status, (*strange, *problems), unreadable=bool(strange))


def _of_numbers(folder: CellFolder) -> Iterator[str]:
    """Files in which something stands for a number that is none, or a time that nothing takes."""
    for path in (folder.manifest, folder.rows, folder.timings):
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            with_times = path == folder.timings
            yield from (f"{path.name}, {told}" for told in _of_text(text, with_times=with_times))


@lru_cache(maxsize=_MOST_MANIFESTS)
def _of_text(text: str, *, with_times: bool) -> tuple[str, ...]:
    if not with_times and not _may_hold_not_finite(text):
        return ()
    found: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            values: object = plain_json.loads(line)
        except plain_json.NotFiniteError as error:
            found.append(f"line {number}: {error}")
            continue
        except ValueError:
            continue  # torn when a process was killed; what is missing is found elsewhere
        if with_times and isinstance(values, dict):
            times = cast("dict[str, Any]", values)
            found += [f"line {number}: {told}" for told in _of_times(times)]
    return tuple(found)


def _may_hold_not_finite(text: str) -> bool:
    return "NaN" in text or "Infinity" in text or bool(_PERHAPS_TOO_LARGE.search(text))


def _of_times(values: dict[str, Any]) -> Iterator[str]:
    for key, value in values.items():
        if key.endswith("_ms") and (type(value) not in (int, float) or value < 0):
            yield f"'{key}' is {value!r}, which is no time"


def _of_record(record: RunRecord, folder: CellFolder) -> Iterator[str]:
    home = folder_of(record, Path())
    if home.path.parts[-3:] != folder.path.resolve().parts[-3:]:
        yield f"the folder should be {'/'.join(home.path.parts[-3:])} by what run.json says"
    if record.status == "done" and record.metrics is None:
        yield "run.json says that the run is done but holds no metrics"


def _of_rows(record: RunRecord, folder: CellFolder) -> Iterator[str]:
    try:
        raw = folder.rows.read_bytes()
        manifest = _manifest(folder.manifest)
    except (OSError, UserError) as error:
        yield error.problem if isinstance(error, UserError) else f"episodes.jsonl: {error.strerror}"
        return
    if hashlib.sha256(raw).hexdigest() != record.episodes.rows_sha256:
        yield "episodes.jsonl was changed after it was written: its sha256 is another"
    text = raw.decode("utf-8", errors="replace")
    found = parse_rows(text)
    known: Sequence[EpisodeRow] = found.asked.rows if found else []
    if found is None or not found.asked.is_canonical:
        lines = text.splitlines()
        parsed = [parse_row(line) for line in lines]
        for number, (line, row) in enumerate(zip(lines, parsed, strict=True), 1):
            if row is None or row.to_line() != line:
                yield f"episodes.jsonl, line {number}: is not a row as the evaluator writes it"
        known = [row for row in parsed if row is not None]
    yield from _of_manifest(record, manifest)
    yield from _answers(known, manifest)
    side = record.evaluator.image_size
    rows = known if found is None else [] if _all_fit(found, side) else found.rows
    wrong = [row.index for row in rows if not row.counts.fit(side**2)]
    for index in wrong:
        yield f"episode {index}: the pixel counts contradict each other"
    for row in rows:
        if row.index not in wrong and not row.fit(side):
            yield f"episode {row.index}: the boundary measures contradict the pixel counts"
    if known and not wrong and record.metrics is not None:
        yield from _of_metrics(record.metrics, metrics_of(found or known))


def _all_fit(found: Counted, side: int) -> bool:
    """Whether rows without boundary measures are seen to be possible on a grid of that side."""
    inter, union, inter_bg, union_bg = found.counts.T
    fit = (inter <= union) & (inter + union_bg == union + inter_bg) & (inter + union_bg <= side**2)
    # The first condition, since sums of larger counts may have too many bits.
    is_small = bool((found.counts <= side**2).all())
    return is_small and bool(fit.all()) and not any(found.boundaries)


_manifests: dict[str, Manifest] = {}


def _manifest(path: Path) -> Manifest:
    """The manifest in a file; those of equal bytes are read once.

    Raises:
        DataError: if it cannot be read, is no manifest, or was changed after it was written.
    """
    try:
        content = file_sha256(path)
    except OSError:
        return Manifest.load(path)  # which says what is wrong
    if content not in _manifests:
        if len(_manifests) >= _MOST_MANIFESTS:
            _manifests.clear()
        _manifests[content] = Manifest.load(path)
    return _manifests[content]


def _of_manifest(record: RunRecord, manifest: Manifest) -> Iterator[str]:
    said = {
        "sha256": record.episodes.sha256,
        "domain": record.domain.title,
        "fingerprint": record.domain.fingerprint,
        "profile": record.domain.profile,
        "protocol": record.episodes.protocol,
        "shots": record.episodes.shots,
        "seed": record.episodes.seed,
    }
    for name, value in said.items():
        if getattr(manifest, name) != value:
            yield f"run.json and manifest.json disagree on '{name}'"
    if len(manifest) != record.episodes.count:
        yield f"run.json says {record.episodes.count} episodes, manifest.json {len(manifest)}"


def _answers(rows: Sequence[EpisodeRow], manifest: Manifest) -> Iterator[str]:
    if [row.index for row in rows] != list(range(len(manifest))):
        yield f"episodes.jsonl does not hold the {len(manifest)} episodes of the manifest in order"
        return
    for row, asked in zip(rows, manifest, strict=True):
        found = row.episode
        if (found.query, found.supports, found.class_id) != (
            asked.query,
            asked.supports,
            asked.class_id,
        ):
            yield f"episode {row.index} is not the one of the manifest"


def _of_metrics(said: MetricsPart, found: MetricsPart) -> Iterator[str]:
    for name in ("miou", "fb_iou", "macro_iou"):
        ours, theirs = getattr(found, name), getattr(said, name)
        if abs(ours - theirs) > TOLERANCE:
            yield f"'{name}' is {theirs!r} in run.json and {ours!r} by the rows"
    if said.episodes != found.episodes:
        yield f"'episodes' is {said.episodes} in run.json and {found.episodes} by the rows"
    if said.per_class.keys() != found.per_class.keys():
        yield "'per_class' names other classes than the rows"
    elif any(abs(found.per_class[c] - v) > TOLERANCE for c, v in said.per_class.items()):
        yield "'per_class' is not what the rows give"
    ends, again = said.miou_interval, found.miou_interval
    fits = (ends is None) == (again is None) and all(
        abs(a - b) <= INTERVAL_TOLERANCE for a, b in zip(ends or (), again or (), strict=True)
    )
    if not fits:
        yield f"'miou_interval' is {ends} in run.json and {again} by the rows"
