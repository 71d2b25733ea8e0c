"""What a command selects: the same words in every verb and in plan files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from cdfss_bench.cards import validated
from cdfss_bench.datasets import DOMAINS, Domain, open_domain
from cdfss_bench.datasets.core.registry import split_name
from cdfss_bench.errors import DataError, UserError, WeightsError, unknown
from cdfss_bench.methods.backbones.card import BACKBONES
from cdfss_bench.methods.core.contract import Precision
from cdfss_bench.methods.registry.name_grammar import METHODS, Composition, parse
from cdfss_bench.methods.weights.resolve import Weights, resolve_weights
from cdfss_bench.methods.weights.search import default_folders
from cdfss_bench.plain_yaml import read_yaml

from ..records.schema import NOT_TRAINED
from .cell import Cell, EpisodeSet, file_hash, refuse_changed_plugins
from .plan_words import as_fields

_T = TypeVar("_T")

PLANS = Path(__file__).parent / "plans"
"""Selections that come with the package, named without a path."""


class Group(BaseModel):
    """Methods of a plan file that differ from the rest in what is said of them here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    methods: tuple[str, ...] = Field(min_length=1)
    backbone: str | None = None
    shots: tuple[int, ...] = ()
    seeds: tuple[int, ...] = ()
    controls: bool = False

    @field_validator("methods", "shots", "seeds", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return value if isinstance(value, list | tuple) else (value,)


class Selection(BaseModel):
    """The cells that a command means.

    Attributes:
        methods: names, composed as one likes.
        domains: names, options in brackets; empty for all targets of the suite.
        shots: supports per episode, several to compare.
        seeds: of the sampler; 0 is the published one.
        protocol: `patnet` or `strict`.
        suite: `mini` needs no data, `cdfss` is the four real targets, `extended` the further
            ones of 2025 and 2026; `auto` is `cdfss` where a data root is known.
        data_root: folder of the data sets.
        lists: folder of the published lists.
        backbone: for all methods that can use it.
        weights: a checkpoint file, by method or for the only one.
        weights_dirs: folders with weights.
        episodes: the first so many only.
        precision: of the encoding, `fp32`, `bf16` or `fp16-features`.
        controls: whether the control rows are added, and for each method its shuffled-support
            control.
        groups: further methods, each group with its own backbone, shots or seeds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    methods: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    shots: tuple[int, ...] = (1,)
    seeds: tuple[int, ...] = (0,)
    protocol: Literal["patnet", "strict"] = "patnet"
    suite: Literal["auto", "mini", "cdfss", "extended"] = "auto"
    data_root: Path | None = None
    lists: Path | None = None
    backbone: str | None = None
    weights: dict[str, Path] = {}
    weights_dirs: tuple[Path, ...] = ()
    episodes: int | None = Field(default=None, ge=1)
    precision: Precision = "fp32"
    controls: bool = False
    groups: tuple[Group, ...] = ()

    @model_validator(mode="after")
    def _has_a_method(self) -> Selection:
        if not self.methods and not self.groups:
            raise ValueError("no method is named")
        return self

    @model_validator(mode="after")
    def _gives_weights_to_its_methods(self) -> Selection:
        rows = [*self.methods, *(name for group in self.groups for name in group.methods)]
        for name in self.weights.keys() - of_methods(self.weights, rows).keys():
            raise UserError(
                f"weights are named for '{name}', which is no method of this selection",
                hint=f"its methods are {', '.join(rows)}",
            )
        return self

    @field_validator("weights_dirs")
    @classmethod
    def _are_folders(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        refuse_absent_folders(value)
        return value

    @field_validator("methods", "domains", "shots", "seeds", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return value if isinstance(value, list | tuple) else (value,)

    @field_validator("shots", "seeds", "episodes", mode="before")
    @classmethod
    def _no_truth_value(cls, value: Any) -> Any:
        if any(isinstance(one, bool) for one in _listed(value)):
            raise ValueError("true and false are no numbers")
        return value

    @field_validator("domains")
    @classmethod
    def _domains_as_spelled(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        names = [typed.partition("[") for typed in value]
        return _each_once(DOMAINS.canonical(n.strip()) + b + rest for n, b, rest in names)

    @field_validator("backbone")
    @classmethod
    def _backbone_as_spelled(cls, value: str | None) -> str | None:
        return value and BACKBONES.canonical(value)

    @field_validator("shots")
    @classmethod
    def _positive(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or min(value) < 1:
            raise ValueError("shots begin at 1")
        return _each_once(value)

    @field_validator("seeds")
    @classmethod
    def _not_negative(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        # The last one is that of numpy's generator, from which the published samplers draw.
        if not value or min(value) < 0 or max(value) >= 2**32:
            raise ValueError("seeds begin at 0 and end at 4,294,967,295")
        return _each_once(value)

    @property
    def root(self) -> Path | None:
        """The data root, typed or in the environment."""
        if self.data_root is not None:
            return self.data_root
        named = os.environ.get("CDFSS_DATA_ROOT")
        return Path(named) if named else None

    @property
    def chosen_suite(self) -> Literal["mini", "cdfss", "extended"]:
        """The suite, `auto` decided."""
        if self.suite != "auto":
            return self.suite
        if self.domains:
            suites = {DOMAINS.card(split_name(name)[0]).suite for name in self.domains}
            return "mini" if suites == {"mini"} else "cdfss"
        return "cdfss" if self.root is not None else "mini"

    @property
    def is_mini(self) -> bool:
        """Whether all of it is asked on the mini suite's own domains, with its sizes."""
        return self.chosen_suite == "mini" and all(
            DOMAINS.card(split_name(name)[0]).suite == "mini" for name in self.domains
        )

    def suite_for(self, domain: Domain) -> Literal["mini", "cdfss", "extended"]:
        """The suite whose sizes are meant on a domain: its own, if none was named."""
        if self.suite != "auto":
            return self.suite
        return "mini" if domain.card.suite == "mini" else "cdfss"

    @property
    def folders(self) -> list[Path]:
        """Where weights are looked for, in order."""
        return [*self.weights_dirs, *default_folders()]

    @property
    def parts(self) -> list[Selection]:
        """The methods named for all, then each group, as selections without groups."""
        own = self.model_copy(update={"groups": ()})
        changes = [group.model_dump(exclude_defaults=True) for group in self.groups]
        for change in changes:
            change["weights"] = of_methods(self.weights, change["methods"])
        whole = [own] if self.methods else []
        return whole + [
            validated(Selection, {**own.model_dump(), **change}, "a group of the plan")
            for change in changes
        ]


def refuse_absent_folders(folders: Iterable[Path]) -> None:
    """Refuse weights folders that are not there: other weights would be taken in their place.

    Raises:
        WeightsError: naming the first.
    """
    for folder in folders:
        if not folder.is_dir():
            raise WeightsError(
                f"the weights folder {folder} does not exist or is not a folder",
                hint="name another with --weights-dir DIR, or leave it out",
            )


def _each_once(values: Iterable[_T]) -> tuple[_T, ...]:
    """In their order: a cell that is named twice is one cell."""
    return tuple(dict.fromkeys(values))


def _listed(value: Any) -> Sequence[Any]:
    return cast("Sequence[Any]", value) if isinstance(value, list | tuple) else (value,)


def of_methods(weights: Mapping[str, Path], methods: Iterable[str]) -> dict[str, Path]:
    """Those weights that are named for one of the methods, or for a control's method."""
    names = {part for name in methods for part in (name.strip(), name.strip().partition("@")[0])}
    return {name: file for name, file in weights.items() if name in names}


def read_plan(plan: Path, *, strict: bool = True) -> Selection:
    """A plan file: the words of the flags as YAML keys.

    Args:
        plan: a file, or the name of a plan that comes with the package.
        strict: whether words that say how cells are computed, not which, are refused; the
            command line reads them as its own options.

    Raises:
        UserError: naming the key that is wrong, or the plans that there are.
    """
    path, values = plan_values(plan)
    fields = Selection.model_fields
    kept = {name: value for name, value in values.items() if strict or name in fields}
    typed = kept.get("weights", {})
    if not isinstance(typed, dict):
        many = cast("list[Any]", typed) if isinstance(typed, list) else [typed]
        kept["weights"] = parse_weights([str(one) for one in many], kept.get("methods", ()))
    return validated(Selection, kept, path)


def plan_values(plan: Path) -> tuple[Path, dict[str, Any]]:
    """The file of a plan, and what it says by the names of fields.

    Raises:
        UserError: if it cannot be read.
    """
    path = plan_file(plan, PLANS)
    return path, as_fields(read_yaml(path), path)


def plan_file(plan: Path, packaged: Path) -> Path:
    """The file of a plan that is named by its path or, where it is among `packaged`, by its name.

    Raises:
        UserError: if it can only be a name, and there is none like it.
    """
    if plan.suffix in (".yaml", ".yml") or plan.exists():
        return plan
    known = sorted(path.stem for path in packaged.glob("*.yaml"))
    if str(plan) not in known:
        if is_method(str(plan)):
            raise UserError(
                f"'{plan}' is a method, no plan", hint=f"name methods with -m: -m {plan}"
            )
        raise unknown("plan", str(plan), known)
    return packaged / f"{plan}.yaml"


def is_method(name: str) -> bool:
    """Whether it can be parsed as the name of a method."""
    try:
        parse(name)
    except UserError:
        return False
    return True


def open_domains(selection: Selection) -> list[Domain]:
    """The selected domains, opened.

    Raises:
        UserError: for an unknown name, or a data root that is not there.
    """
    suite = selection.chosen_suite
    names = selection.domains or [
        name
        for name in DOMAINS.names()
        if DOMAINS.card(name).suite == suite and DOMAINS.card(name).role == "target"
    ]
    opened: list[Domain] = []
    for typed in names:
        name, options = split_name(typed)
        opened.append(open_domain(name, selection.root, options, lists=selection.lists))
    return opened


@dataclass(eq=False)
class Planned:
    """A cell, or the `reason` why there is none, with the `hint` that helps.

    Attributes:
        backbone: its name, as far as known.
        error: the defect that stopped it, for `--debug`.
        asked: the selection of this method on this domain alone, from which another process plans
            the same cell.
    """

    composition: Composition
    episode_set: EpisodeSet
    backbone: str = ""
    cell: Cell | None = None
    reason: str = ""
    hint: str | None = None
    error: Exception | None = None
    asked: Selection | None = None

    @property
    def name(self) -> str:
        """The method, `ssp`, or `ssp (not source-trained)` where only its backbone is trained."""
        label = self.composition.label
        return f"{label}{NOT_TRAINED}" if self.lacks_training else label

    @property
    def lacks_training(self) -> bool:
        """Whether the method is trained on source data in its published form and here is not."""
        if self.cell is None:
            return False
        return self.cell.weights.kind(self.composition) == "not source-trained"

    @property
    def title(self) -> str:
        """`loec · isic · 5-shot · seed 0`."""
        asked = self.episode_set
        return f"{self.name} · {asked.domain.title} · {asked.shots}-shot · seed {asked.seed}"

    def refuse(self, error: UserError) -> None:
        """Notes why the cell cannot be computed."""
        self.reason, self.hint = error.problem, error.hint


def compositions(selection: Selection) -> list[Composition]:
    """The selected methods, each once whatever its capitals, in their published sizes.

    Raises:
        CompositionError: for a name that cannot be built.
    """
    names = [*selection.methods, *(_added(selection.methods) if selection.controls else ())]
    found: dict[tuple[str, str], Composition] = {}
    for composition in map(parse, dict.fromkeys(names)):
        found.setdefault((str(composition), composition.label.casefold()), composition)
    return [*found.values()]


def _added(methods: Sequence[str]) -> Iterator[str]:
    """The shuffled-support control of every method that uses its support, then control cards."""
    for name in methods:
        composition = parse(name)
        if not composition.control and composition.host.card.backbones:
            yield f"{name}@shuffled-support"
    yield from (name for name in METHODS.names() if METHODS.card(name).kind == "control")


def plan(selection: Selection) -> Iterator[Planned]:
    """Every cell of the selection, domain by domain, one network's cells side by side.

    What cannot be computed is yielded with its reason; the rest goes on.

    Raises:
        UserError: for names that mean nothing.
    """
    # Methods share an episode set, whose manifest takes longer to draw and hash than all else.
    drawn: dict[EpisodeSet, EpisodeSet] = {}
    opened: dict[str, Domain] = {}
    for part in selection.parts:
        domains = _each_once(opened.setdefault(each.title, each) for each in open_domains(part))
        yield from _plan(part, domains, drawn)


def _plan(
    selection: Selection, domains: Sequence[Domain], drawn: dict[EpisodeSet, EpisodeSet]
) -> Iterator[Planned]:
    published = compositions(selection)
    refuse_changed_plugins(METHODS, {p.card.name for each in published for p in each.parts})
    refuse_changed_plugins(DOMAINS, {domain.card.name for domain in domains})
    resolved: dict[tuple[str, bool], Weights | UserError] = {}
    for domain in domains:
        suite = selection.suite_for(domain)
        on_mini = suite == "mini" and domain.card.suite == "mini"
        for composition in [c.in_miniature() if suite == "mini" else c for c in published]:
            key = (str(composition), on_mini)
            if key not in resolved:
                resolved[key] = weights_of(composition, selection, on_mini=on_mini)
            if _has_no_control(composition, domain, selection):
                continue
            changes = {
                "methods": (composition.label,),
                "domains": (domain.typed,),
                "suite": suite,
                "controls": False,
                "weights": of_methods(selection.weights, [composition.label]),
            }
            asked = selection.model_copy(update=changes)
            for shots in selection.shots:
                for seed in selection.seeds:
                    episode_set = EpisodeSet(
                        domain,
                        shots,
                        seed,
                        selection.protocol,
                        selection.episodes,
                        composition.control,
                    )
                    episode_set = drawn.setdefault(episode_set, episode_set)
                    planned = _planned(composition, episode_set, resolved[key], selection)
                    planned.asked = asked
                    yield planned


def _has_no_control(composition: Composition, domain: Domain, selection: Selection) -> bool:
    """Whether this control was not typed and the domain has no wrong class for its supports."""
    if not composition.control or composition.label in selection.methods:
        return False
    try:
        return len(domain.classes) < 2
    except DataError:
        return False  # absent data is refused with its own reason, cell by cell


def _planned(
    composition: Composition,
    episode_set: EpisodeSet,
    weights: Weights | UserError,
    selection: Selection,
) -> Planned:
    planned = Planned(composition, episode_set, selection.backbone or "")
    if isinstance(weights, UserError):
        planned.refuse(weights)
        return planned
    planned.backbone = weights.backbone
    if (seen := _seen_in_training(weights, episode_set.domain)) is not None:
        planned.refuse(seen)
        return planned
    cell = Cell(composition, weights, episode_set, selection.precision)
    try:
        cell.id  # noqa: B018  (draws the manifest: data errors belong to the plan)
    except UserError as error:
        planned.refuse(error)
        return planned
    planned.cell = cell
    return planned


def _seen_in_training(weights: Weights, domain: Domain) -> DataError | None:
    """Why images of the source may not be asked of these weights; None where they may."""
    source = weights.card.source if weights.card is not None else {}
    kept_out = float(str(source.get("hold_out", 0)))
    if source.get("domain") != domain.whole or kept_out >= (domain.share_held_out or 1):
        return None
    share = domain.share_held_out or kept_out or 0.1
    hint = f"ask '{domain.card.name}[held_out={share:g}]'"
    if share > kept_out:
        hint += f", with weights of a training with --hold-out {share:g}"
    return DataError(
        f"the weights were trained on images of {domain.title}, so it validates nothing", hint=hint
    )


def weights_of(
    composition: Composition, selection: Selection, *, on_mini: bool
) -> Weights | UserError:
    """The weights that a composition runs with, or why there are none.

    On the data of the mini suite (`on_mini`) its own weights are meant.
    """
    host = composition.host.card
    backbone = selection.backbone if host.backbones else None
    checkpoint = _named_checkpoint(composition, selection.weights)
    if checkpoint is not None and not host.backbones:
        return WeightsError(
            f"{composition.label} has no weights, and {checkpoint} is named for it",
            hint="leave out --weights, or name another method with -m",
        )
    try:
        found = resolve_weights(
            composition,
            backbone=backbone,
            checkpoint=checkpoint,
            folders=selection.folders,
            on_mini=on_mini,
        )
        refuse_other_content(found)
    except UserError as error:
        return error
    return found


def refuse_other_content(weights: Weights) -> None:
    """Refuse a backbone's file that has its published sha256 in its name and is another file.

    Raises:
        WeightsError: if it is.
    """
    path, entry = weights.pretrained, weights.entry
    if path is None or entry is None or not entry.sha256 or entry.sha256[:8] not in path.stem:
        return
    if not (found := file_hash(path)).startswith(entry.sha256):
        raise WeightsError(
            f"{path} is not the published file of that name: its sha256 begins with {found[:8]}",
            hint=f"cdfss-bench weights fetch {weights.backbone} gets it; call other weights "
            "otherwise",
        )


def _named_checkpoint(composition: Composition, named: Mapping[str, Path]) -> Path | None:
    # A control that was not given weights of its own runs with those of its method.
    return named.get(composition.label) or named.get(composition.label.partition("@")[0])


def parse_weights(typed: Sequence[str], methods: Sequence[str]) -> dict[str, Path]:
    """`FILE` for the only method, or `METHOD=FILE` for one of several.

    Raises:
        UserError: if it is not clear whose a file is.
    """
    result: dict[str, Path] = {}
    for text in typed:
        method, equals, file = text.rpartition("=")
        if equals and method in methods:
            path = Path(file)
        elif equals and not Path(text).exists() and Path(file).exists():
            raise UserError(
                f"--weights {text}: '{method}' is not among the methods of this command",
                hint=f"its methods are {', '.join(methods) or 'none'}",
            )
        elif len(methods) == 1:
            method, path = methods[0], Path(text)
        else:
            first = methods[0] if methods else "METHOD"
            raise UserError(
                f"--weights {text}: say whose they are",
                hint=f"for example: --weights '{first}={text}'",
            )
        if method in result:
            raise UserError(
                f"--weights names two files for {method}, {result[method]} and {path}",
                hint="leave one out",
            )
        result[method] = path
    return result
