"""What a finished, failed or refused cell leaves behind: `run.json`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cdfss_bench import plain_json
from cdfss_bench.canonical import digest
from cdfss_bench.errors import RecordError, UserError
from cdfss_bench.files import write_atomically
from cdfss_bench.methods.backbones.card import BACKBONES
from cdfss_bench.methods.core.contract import Precision
from cdfss_bench.methods.registry.name_grammar import parse
from cdfss_bench.methods.weights.resolve import WeightsKind
from cdfss_bench.methods.weights.search import is_toy

SCHEMA = 1

NOT_TRAINED = " (not source-trained)"
"""Stands behind a method's label where only its backbone is pretrained."""

EXTERNAL = " (external)"
"""Stands behind the name of another program whose masks were counted."""

Status = Literal["started", "done", "failed", "refused", "interrupted"]


# Strict, since a bool or a text in the place of a number is damage and no number.
Count = Annotated[int, Field(strict=True, ge=0)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Size = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0)]
Percent = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, le=100)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class DomainPart(_Part):
    """Which data.

    Attributes:
        name: of the domain's card.
        title: the name with the options that differ from their defaults.
        suite: `cdfss`, `extended`, `mini` or `extra`.
        profile: the named population, or what part of it was there.
        complete: whether the result may stand in the population's column.
        fingerprint: sha256 of names and contents of all files.
        classes: names of the classes that were asked, by id.
        reader: hash of the code that reads it; empty in older records.
        typed: what opens it again, where that is not `title`.
    """

    name: str
    title: str
    suite: str
    profile: str
    complete: bool
    fingerprint: str
    classes: dict[int, str]
    reader: str = ""
    typed: str = ""

    @property
    def opens(self) -> str:
        """What opens the domain again."""
        return self.typed or self.title


class EpisodesPart(_Part):
    """Which episodes.

    Attributes:
        protocol: `patnet` or `strict`.
        shots: supports per episode.
        seed: of the sampler.
        count: episodes in the manifest.
        limited: whether fewer than the protocol's were asked for.
        sha256: of the manifest.
        rows_sha256: of `episodes.jsonl`, once complete.
    """

    protocol: str
    shots: int
    seed: int
    count: int = 0
    limited: bool = False
    sha256: str = ""
    rows_sha256: str = ""


class MethodPart(_Part):
    """Which method.

    Attributes:
        label: as typed.
        composition: the canonical name, aliases resolved.
        given: options that were typed, by part.
        options: every option, by part.
        adaptation: `none`, `episode` or `transductive`.
        backbone: its name.
        input_size: side in pixels of what the backbone sees; 0 in older records and for a control
            without one.
        code: hash of the code of the method and its backbone; of an external one, of its masks.
        external: whether another program wrote the masks: adaptation and pretraining are what its
            author states, and no code of this project decided a pixel.
    """

    label: str
    composition: str
    given: dict[str, dict[str, Any]]
    options: dict[str, dict[str, Any]]
    adaptation: Literal["none", "episode", "transductive"]
    backbone: str
    input_size: Count = 0
    code: str
    external: bool = False


class WeightsPart(_Part):
    """Which weights.

    Attributes:
        description: what they were trained on, for tables.
        kind: what they are to the method (`methods.weights.WeightsKind`); empty in older records.
        words: what they are, in words: source, episodes and selection, or the lack of them.
        pretraining: what the backbone was pretrained on; empty without one and in older records.
        toy: whether they were made for the mini suite and the domain is another's: a trial.
        pretrained: name of the backbone's file.
        pretrained_sha256: of that file.
        checkpoint: name of the source-trained file.
        checkpoint_sha256: of that file.
        selection: how the checkpoint was chosen.
        source: the source data, as the checkpoint's card says.
        url: public address of the backbone's file.
    """

    description: str
    kind: WeightsKind | Literal[""] = ""
    words: str = ""
    pretraining: str = ""
    toy: bool = False
    pretrained: str = ""
    pretrained_sha256: str = ""
    checkpoint: str = ""
    checkpoint_sha256: str = ""
    selection: str = "none"
    source: dict[str, Any] = {}
    url: str = ""


class EvaluatorPart(_Part):
    """Which evaluator: rows of different versions never share a column."""

    version: int
    code: str
    image_size: int
    precision: Precision = "fp32"


class BatchPart(_Part):
    """The batch that gives an accelerator the most episodes per second.

    Attributes:
        episodes: in it.
        latency_ms: of the whole batch, as in `CostPart`; `encode` is of as many images.
        episodes_per_second: at the median.
        peak_memory_mb: as in `CostPart`.
    """

    episodes: Count
    latency_ms: dict[str, dict[str, Size]]
    episodes_per_second: Size
    peak_memory_mb: Size


class CostPart(_Part):
    """What it costs; one multiply-add counts 2.

    Attributes:
        params: parameters that a forward pass reads.
        flops_encode: per image.
        flops_match: per episode, features given.
        flops_adapt: of learning from one episode, features given; 0 where nothing is learnt.
        flops_episode: of a whole episode, nothing cached.
        flops_query: of one more query against known supports, encoded and matched, without
            learning; None in older records.
        flops_support: of one more support, encoded alone and with its mask; None in older records.
        flops_fft: of the Fourier transforms in a whole episode, `5 N log2 N` each, half that for
            real ones; in none of the other figures.
        flops_published: of a whole episode as the published code computes it, nothing cached;
            None where that is not known.
        uncounted: operations that the counter has no formula for.
        probe: what the figures were taken on.
        latency_ms: p50, p90 and p99 of encoding an image, matching, and a whole episode, batch 1,
            and the number of `runs` they are of; `adapt` is one run, which the episode's include.
        best_batch: None on a CPU, where episodes are taken one by one, and for what learns.
        device: on which the latencies were taken.
        threads: of the CPU; 0 on an accelerator and in older records.
        cpu_share: of the time that was measured, the share in which the measuring thread had a
            processor; below 1 where other programs took it away. None on an accelerator and in
            older records.
        peak_memory_mb: on an accelerator of method and measured work at batch 1, on a CPU of the
            process; 0 where the system does not tell it (Windows).
    """

    params: Count
    flops_encode: Count
    flops_match: Count
    flops_adapt: Count = 0
    flops_episode: Count
    flops_query: Count | None = None
    flops_support: Count | None = None
    flops_fft: Count = 0
    flops_published: Count | None = None
    uncounted: list[str]
    probe: str
    latency_ms: dict[str, dict[str, Size]]
    best_batch: BatchPart | None = None
    device: str
    threads: Count = 0
    cpu_share: Size | None = None
    peak_memory_mb: Size


class MetricsPart(_Part):
    """In percent, derived from the integer rows; see `bench.metrics` and `bench.bootstrap`.

    Attributes:
        miou: pooled per class, mean over classes.
        miou_interval: its 95 % interval over query images; None where a class has too few.
        fb_iou: foreground and background.
        macro_iou: mean of the episodes' own IoU.
        per_class: IoU by class id.
        episodes: how many were counted.
    """

    miou: Percent
    miou_interval: tuple[Number, Number] | None = None
    fb_iou: Percent
    macro_iou: Percent
    per_class: dict[int, Percent]
    episodes: Count


class RunRecord(_Part):
    """Everything known of one cell.

    Attributes:
        schema_version: of this file.
        cell: sha256 of all that can change the numbers.
        status: `started` (perhaps killed), `done`, `failed` (a defect), `refused` (the user can
            correct it) or `interrupted`.
        reason: one sentence where the status is not `done`.
        notes: oddities met on the way.
        command: the command line.
        seal: sha256 of all the rest, set when the record is saved: a slip of an editor or of a
            merge is found. It is no signature: who edits may seal again, rows and all.
    """

    schema_version: Literal[1] = Field(default=SCHEMA, alias="schema")
    cell: str
    status: Status
    reason: str = ""
    domain: DomainPart
    episodes: EpisodesPart
    method: MethodPart
    weights: WeightsPart
    evaluator: EvaluatorPart
    environment: dict[str, Any] = {}
    cost: CostPart | None = None
    metrics: MetricsPart | None = None
    notes: list[str] = []
    command: str = ""
    started: str = ""
    finished: str = ""
    seal: str = ""

    @property
    def name(self) -> str:
        """The label that is shown; a method without its source training, or external, says so."""
        if self.method.external:
            return f"{self.method.label}{EXTERNAL}"
        bare = self.weights_kind == "not source-trained"
        return f"{self.method.label}{NOT_TRAINED}" if bare else self.method.label

    @property
    def is_trial(self) -> bool:
        """Whether it ran with the mini suite's weights on other data; in older records by name."""
        backbone = self.method.backbone
        toy = self.weights.toy or (backbone in BACKBONES and is_toy(backbone))
        return toy and self.domain.suite != "mini"

    @property
    def weights_kind(self) -> WeightsKind | Literal[""]:
        """`weights.kind`; that of an older record is told by its description where possible."""
        if self.weights.kind or not self.weights.description.endswith(" only"):
            return self.weights.kind
        try:
            is_trained = parse(self.method.composition).is_trained
        except UserError:
            return ""
        return "not source-trained" if is_trained else "not needed"

    def sealed(self) -> str:
        """The seal that belongs to the record as it is."""
        return digest(self.model_dump(mode="json", by_alias=True, exclude={"seal"}))

    def save(self, path: Path) -> None:
        """Seals the record and writes it, whole or not at all.

        Raises:
            UserError: if the disk is full or the folder may not be written.
        """
        self.seal = self.sealed()
        values = self.model_dump(mode="json", by_alias=True)
        write_atomically(path, plain_json.dumps(values) + "\n")


def published_schema() -> dict[str, Any]:
    """JSON Schema of `run.json`, without the prose of this module."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            pairs = cast("dict[str, Any]", value).items()
            return {k: plain(v) for k, v in pairs if not (k == "description" and type(v) is str)}
        return [plain(v) for v in cast("list[Any]", value)] if isinstance(value, list) else value

    return plain(RunRecord.model_json_schema(by_alias=True))


_DAMAGED = "delete its folder and type the run again, or restore the file"


def read_record(path: Path, raw: bytes | None = None) -> RunRecord:
    """The record in `path`, older schemas migrated.

    Args:
        path: of the file.
        raw: its bytes, where they were read before.

    Raises:
        RecordError: if the file is damaged, was edited, or comes from a newer version.
    """
    record, fits = read_whatever_seal(path, raw)
    if not fits:
        raise RecordError(
            f"{path} was changed after it was written: its seal does not fit", hint=_DAMAGED
        )
    return record


def read_whatever_seal(path: Path, raw: bytes | None = None) -> tuple[RunRecord, bool]:
    """The record in `path`, and whether it is as it was written.

    Args:
        path: of the file.
        raw: its bytes, where they were read before.

    Raises:
        RecordError: if the file is damaged or comes from a newer version.
    """
    try:
        values: object = plain_json.loads(path.read_bytes() if raw is None else raw)
    except (OSError, ValueError) as error:
        raise RecordError(
            f"{path} is not a readable record ({error})",
            hint=_DAMAGED,
        ) from error
    version = values.get("schema") if isinstance(values, dict) else None  # pyright: ignore
    if isinstance(version, int) and version > SCHEMA:
        raise RecordError(
            f"{path} has schema {version}, this version reads up to {SCHEMA}",
            hint="pip install --upgrade cdfss-bench",
        )
    try:
        record = RunRecord.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise RecordError(f"{path}: '{key}': {first['msg'].lower()}", hint=_DAMAGED) from error
    # Of the file and not of the model: a later version may know more fields.
    return record, record.seal == sealed(cast("dict[str, Any]", values))


def sealed(values: dict[str, Any]) -> str:
    """The seal that belongs to the values of a record's file."""
    return digest({key: value for key, value in values.items() if key != "seal"})


def record_paths(results: Path) -> list[Path]:
    """Every `run.json` under a results folder, sorted."""
    return sorted((results / "runs").glob("*/*/*/run.json"), key=lambda path: path.parts)


def read_runs(
    results: Path | str = "results", told: Callable[[RecordError], None] | None = None
) -> Iterator[tuple[Path, RunRecord]]:
    """All records under a results folder, with their paths.

    Args:
        results: the folder that `cdfss-bench run` wrote to.
        told: is handed the error of a damaged record, which is left out.

    Raises:
        RecordError: for a damaged record, unless `told` is given.

    Example:
        >>> from cdfss_bench import read_runs
        >>> records = [record for _, record in read_runs("results/sample")]
        >>> sorted({record.episodes.shots for record in records})
        [1, 5]
        >>> {record.episodes.protocol for record in records}
        {'patnet'}
    """
    for path in record_paths(Path(results)):
        try:
            record = read_record(path)
        except RecordError as error:
            if told is None:
                raise
            told(error)
        else:
            yield path, record
