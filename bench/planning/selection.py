"""What a command selects: the same words in every verb and in plan files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from cdfss_bench.cards import validated
from cdfss_bench.datasets import DOMAINS, Domain, open_domain
from cdfss_bench.datasets.core.registry import split_name
from cdfss_bench.errors import DataError, UserError, WeightsError
from cdfss_bench.methods.backbones.card import BACKBONES
from cdfss_bench.methods.core.contract import Precision
from cdfss_bench.methods.weights.search import default_folders

_T = TypeVar("_T")


def _listed(value: Any) -> Sequence[Any]:
    return cast("Sequence[Any]", value) if isinstance(value, list | tuple) else (value,)


def _no_truth_value(value: Any) -> Any:
    if any(isinstance(one, bool) for one in _listed(value)):
        raise ValueError("true and false are no numbers")
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Numbers = Annotated[tuple[int, ...], BeforeValidator(_listed), BeforeValidator(_no_truth_value)]


class Group(BaseModel):
    """Methods of a plan file that differ from the rest in what is said of them here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    methods: Names = Field(min_length=1)
    backbone: str | None = None
    shots: Numbers = ()
    seeds: Numbers = ()
    controls: bool = False


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

    methods: Names = ()
    domains: Names = ()
    shots: Numbers = (1,)
    seeds: Numbers = (0,)
    protocol: Literal["patnet", "strict"] = "patnet"
    suite: Literal["auto", "mini", "cdfss", "extended"] = "auto"
    data_root: Path | None = None
    lists: Path | None = None
    backbone: str | None = None
    weights: dict[str, Path] = {}
    weights_dirs: tuple[Path, ...] = ()
    episodes: Annotated[int, Field(ge=1), BeforeValidator(_no_truth_value)] | None = None
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

    @field_validator("domains")
    @classmethod
    def _domains_as_spelled(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        names = [typed.partition("[") for typed in value]
        return each_once(DOMAINS.canonical(n.strip()) + b + rest for n, b, rest in names)

    @field_validator("backbone")
    @classmethod
    def _backbone_as_spelled(cls, value: str | None) -> str | None:
        return value and BACKBONES.canonical(value)

    @field_validator("shots")
    @classmethod
    def _positive(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or min(value) < 1:
            raise ValueError("shots begin at 1")
        return each_once(value)

    @field_validator("seeds")
    @classmethod
    def _not_negative(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        # The last one is that of numpy's generator, from which the published samplers draw.
        if not value or min(value) < 0 or max(value) >= 2**32:
            raise ValueError("seeds begin at 0 and end at 4,294,967,295")
        return each_once(value)

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
            return "mini" if self._suites == {"mini"} else "cdfss"
        return "cdfss" if self.root is not None else "mini"

    @property
    def is_mini(self) -> bool:
        """Whether all of it is asked on the mini suite's own domains, with its sizes."""
        return self.chosen_suite == "mini" and self._suites <= {"mini"}

    @property
    def _suites(self) -> set[str]:
        """Those that the named domains belong to."""
        return {DOMAINS.card(split_name(name)[0]).suite for name in self.domains}

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


def each_once(values: Iterable[_T]) -> tuple[_T, ...]:
    """In their order: a cell that is named twice is one cell."""
    return tuple(dict.fromkeys(values))


def of_methods(weights: Mapping[str, Path], methods: Iterable[str]) -> dict[str, Path]:
    """Those weights that are named for one of the methods, or for a control's method."""
    names = {part for name in methods for part in (name.strip(), name.strip().partition("@")[0])}
    return {name: file for name, file in weights.items() if name in names}


def open_domains(selection: Selection) -> list[Domain]:
    """The selected domains, opened, each once.

    Raises:
        UserError: for an unknown name, a data root that is not there, or two data sets of one name.
    """
    suite = selection.chosen_suite
    names = selection.domains or [
        name
        for name in DOMAINS.names()
        if DOMAINS.card(name).suite == suite and DOMAINS.card(name).role == "target"
    ]
    opened: dict[str, Domain] = {}
    for typed in names:
        name, options = split_name(typed)
        domain = open_domain(name, selection.root, options, lists=selection.lists)
        known = opened.setdefault(domain.title, domain)
        if _files(known) != _files(domain):
            raise DataError(
                f"{known.typed} and {domain.typed} are both called '{domain.title}' in tables",
                hint="give each a name of its own, such as name=first and name=second",
            )
    return list(opened.values())


def _files(domain: Domain) -> tuple[str, Path]:
    """Which files a domain reads and how, whatever tables call it."""
    options = {key: value for key, value in domain.options.items() if key != "name"}
    return domain.spelled_with(options), domain.root.resolve()


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
