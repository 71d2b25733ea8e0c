"""A cell: one method with its weights on one list of episodes, and the id that names it."""

from __future__ import annotations

import datetime
import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from cdfss_bench.canonical import digest, file_sha256
from cdfss_bench.cards import Catalog, Origin
from cdfss_bench.datasets import DOMAINS, Domain, Manifest
from cdfss_bench.datasets.check.own_folders import refuse_masks_for_pictures
from cdfss_bench.datasets.core.content_index import Signature, signature_of
from cdfss_bench.errors import DataError, RecordError, UserError, WeightsError
from cdfss_bench.methods.backbones.card import BACKBONES
from cdfss_bench.methods.core.contract import Precision
from cdfss_bench.methods.fast import FORMS
from cdfss_bench.methods.registry.name_grammar import METHODS, Composition
from cdfss_bench.methods.weights.resolve import Weights
from cdfss_bench.options import Value

from ..records.cell_folder import CellFolder
from ..records.code_hash import code_hash, package_folder, plugin_hash
from ..records.counts import EVALUATOR_VERSION
from ..records.environment import describe
from ..records.schema import (
    DomainPart,
    EpisodesPart,
    EvaluatorPart,
    MethodPart,
    RunRecord,
    WeightsPart,
    read_record,
)


@dataclass(frozen=True)
class EpisodeSet:
    """Episodes of one domain that a method predicts: the first `limit`, or all.

    `control` is `shuffled-support` or empty.
    """

    domain: Domain
    shots: int
    seed: int
    protocol: str
    limit: int | None = None
    control: str = ""

    @cached_property
    def manifest(self) -> Manifest:
        """The episodes.

        Raises:
            DataError: if the data cannot answer: a class with too few images, a missing file, no
                wrong class to draw supports from, a class whose every mask is empty or full, own
                pictures that are their own masks.
        """
        for entry in self.domain.classes:
            # The published sampler repeats supports, or never returns; neither is K-shot.
            if len(entry.items) < self.shots + 1:
                raise DataError(
                    f"class '{entry.name}' of {self.domain.title} has {len(entry.items)} images, "
                    f"{self.shots}-shot needs at least {self.shots + 1}",
                    hint="use fewer shots (-k 1), or complete the data",
                )
        for name in self.domain.classes_without_truth:
            raise DataError(
                f"no mask of class '{name}' of {self.domain.title} shows anything of it",
                hint=f"cdfss-bench data check '{self.domain.title}' --full names the masks",
            )
        for name in self.domain.classes_without_background:
            raise DataError(
                f"every mask of class '{name}' of {self.domain.title} is full: no pixel of any "
                "image is background",
                hint="draw the masks, or remove the class",
            )
        refuse_masks_for_pictures(self.domain)
        manifest = self.domain.episodes(self.shots, self.seed, self.protocol)
        if self.limit is not None:
            manifest = manifest.head(self.limit)
        return self.domain.shuffled(manifest) if self.control else manifest

    @property
    def is_limited(self) -> bool:
        """Whether fewer episodes are asked than the protocol has."""
        return self.limit is not None and self.limit < self.domain.published_length


@dataclass(frozen=True)
class Cell:
    """A method, its weights, and the episodes that it predicts."""

    composition: Composition
    weights: Weights
    episode_set: EpisodeSet
    precision: Precision = "fp32"

    @cached_property
    def id(self) -> str:
        """sha256 of all that can change the numbers: not device, batch size or threads."""
        return digest(
            {
                "evaluator": [EVALUATOR_VERSION, evaluator_code(), self.precision],
                "method": str(self.composition),
                "options": options_of(self.composition),
                "code": method_code(self.composition, self.weights.backbone),
                "backbone": self.weights.backbone,
                "weights": list(self.weights_sha256),
                "reader": reader_code(self.episode_set.domain),
                "image_size": self.episode_set.domain.card.image_size,
                "episodes": self.episode_set.manifest.sha256,
            }
        )

    @cached_property
    def weights_sha256(self) -> tuple[str, str]:
        """Of the backbone's file and of the checkpoint, as they were when the cell was planned."""
        return weights_sha256(self.weights)

    def refuse_changes(self) -> None:
        """Refuse the cell if its weights or code are no longer those that its id names.

        To be called once its network was loaded: between planning and loading hours may pass.

        Raises:
            UserError: naming what was changed.
        """
        weights = self.weights
        files = (weights.pretrained, weights.checkpoint)
        now = weights_sha256(weights)
        for file, before, after in zip(files, self.weights_sha256, now, strict=True):
            if before != after:
                raise WeightsError(
                    f"the weights file {file} was changed after this cell was planned",
                    hint="type the command again; it plans with the file as it is now",
                )
        refuse_changed_code(self.composition, weights.backbone)

    @property
    def encoder(self) -> str:
        """Hash of all that decides how a picture is encoded: a control's is its method's."""
        return digest(
            {
                "method": str(replace(self.composition, control="")),
                "code": method_code(self.composition, self.weights.backbone),
                "backbone": self.weights.backbone,
                "weights": list(self.weights_sha256),
                "precision": self.precision,
            }
        )

    @property
    def network_key(self) -> tuple[object, ...]:
        """Equal for cells that one network answers."""
        return str(self.composition), self.weights, self.precision

    @property
    def cost_key(self) -> tuple[object, ...]:
        """Equal, and hashable, for cells that cost the same: a control is its host's network."""
        episode_set = self.episode_set
        host = str(replace(self.composition, control=""))
        size = episode_set.domain.card.image_size
        return host, self.weights.backbone, self.precision, episode_set.shots, size

    @property
    def runs_foreign_code(self) -> bool:
        """Whether a part of the method or its backbone does not come with this package."""
        origins = [METHODS.origin(part.card.name) for part in self.composition.parts]
        if self.weights.backbone:
            origins.append(BACKBONES.origin(self.weights.backbone))
        return not all(map(_is_built_in, origins))

    def folder(self, results: Path) -> CellFolder:
        """Where its record belongs."""
        return CellFolder.of(
            results,
            domain=self.episode_set.domain.title,
            shots=self.episode_set.shots,
            label=self.composition.label,
            cell=self.id,
        )

    def finished_record(self, results: Path) -> RunRecord | None:
        """The record under a results folder, if it is complete and its rows are all there."""
        folder = self.folder(results)
        if not folder.record.is_file():
            return None
        try:
            record = read_record(folder.record)
        except RecordError:
            return None
        if record.status != "done" or record.cell != self.id:
            return None
        return record if folder.rows_sha256() == record.episodes.rows_sha256 else None

    def record(self, device: str) -> RunRecord:
        """The record as it begins."""
        episode_set, weights = self.episode_set, self.weights
        pretrained, checkpoint = self.weights_sha256
        return RunRecord(
            cell=self.id,
            status="started",
            domain=domain_part(episode_set.domain),
            episodes=episodes_part(episode_set),
            method=method_part(
                self.composition, weights.backbone, episode_set.domain.card.image_size
            ),
            weights=WeightsPart(
                description=weights.description,
                kind=weights.kind(self.composition),
                words=weights.words(self.composition),
                pretraining=weights.pretraining,
                toy=weights.is_toy and episode_set.domain.card.suite != "mini",
                pretrained=weights.pretrained.name if weights.pretrained else "",
                pretrained_sha256=pretrained,
                checkpoint=weights.checkpoint.name if weights.checkpoint else "",
                checkpoint_sha256=checkpoint,
                selection=weights.selection,
                source=weights.card.source if weights.card else {},
                url=weights.entry.url if weights.entry else "",
            ),
            evaluator=evaluator_part(episode_set.domain, self.precision),
            environment=describe(device),
            command=command_line(),
            started=now(),
        )


def refused_record(
    composition: Composition, backbone: str, episode_set: EpisodeSet, reason: str, device: str
) -> RunRecord:
    """The record of a cell that cannot be computed: a blank in the tables with its reason."""
    parts = {
        "method": str(composition),
        "backbone": backbone,
        "domain": episode_set.domain.title,
        "question": [episode_set.shots, episode_set.seed, episode_set.protocol, episode_set.limit],
        "refused": True,
    }
    try:
        domain = domain_part(episode_set.domain)
    except DataError:
        domain = DomainPart(
            name=episode_set.domain.card.name,
            title=episode_set.domain.title,
            suite=episode_set.domain.card.suite,
            profile="absent",
            complete=False,
            fingerprint="",
            classes={},
        )
    return RunRecord(
        cell=digest(parts),
        status="refused",
        reason=reason,
        domain=domain,
        episodes=EpisodesPart(
            protocol=episode_set.protocol, shots=episode_set.shots, seed=episode_set.seed
        ),
        method=method_part(composition, backbone, episode_set.domain.card.image_size),
        weights=WeightsPart(description="none"),
        evaluator=evaluator_part(episode_set.domain),
        environment=describe(device),
        command=command_line(),
        started=now(),
        finished=now(),
    )


def domain_part(domain: Domain) -> DomainPart:
    """What a record says of a domain.

    Raises:
        DataError: if its files are not there.
    """
    return DomainPart(
        name=domain.card.name,
        title=domain.title,
        suite=domain.card.suite,
        profile=domain.profile,
        complete=domain.is_complete,
        fingerprint=domain.fingerprint,
        classes={entry.id: entry.name for entry in domain.classes},
        reader=reader_code(domain),
        typed=domain.typed if domain.typed != domain.title else "",
    )


def episodes_part(episode_set: EpisodeSet) -> EpisodesPart:
    """What a record says of its episodes.

    Raises:
        DataError: as `EpisodeSet.manifest`.
    """
    return EpisodesPart(
        protocol=episode_set.protocol,
        shots=episode_set.shots,
        seed=episode_set.seed,
        count=len(episode_set.manifest),
        limited=episode_set.is_limited,
        sha256=episode_set.manifest.sha256,
    )


def evaluator_part(domain: Domain, precision: Precision = "fp32") -> EvaluatorPart:
    """What a record says of the evaluator on a domain."""
    return EvaluatorPart(
        version=EVALUATOR_VERSION,
        code=evaluator_code(),
        image_size=domain.card.image_size,
        precision=precision,
    )


def input_size(composition: Composition, backbone: str, image_size: int) -> int:
    """Side in pixels of what `backbone` sees of square images; 0 without a (known) backbone."""
    if backbone not in BACKBONES:
        return 0
    asked = composition.host.options.get("size")
    side = asked if isinstance(asked, int) and asked > 0 else image_size
    return BACKBONES.card(backbone).seen_size(side)


def options_of(composition: Composition) -> dict[str, dict[str, Value]]:
    """Every option of every part."""
    return {part.card.name: dict(part.options) for part in composition.parts}


def method_part(composition: Composition, backbone: str, image_size: int = 0) -> MethodPart:
    """What a record says of a method that is asked on images of `image_size` pixels."""
    return MethodPart(
        label=composition.label,
        composition=str(composition),
        given={part.card.name: dict(part.given) for part in composition.parts if part.given},
        options=options_of(composition),
        adaptation=composition.adaptation,
        backbone=backbone,
        input_size=input_size(composition, backbone, image_size),
        code=method_code(composition, backbone),
    )


@lru_cache(maxsize=1)
def evaluator_code() -> str:
    """Hash of the code that builds a network, asks it and counts, whatever the method.

    Tables, pages and the rest of the runner are not in it: they change no count.
    """
    names = ("evaluation.prediction", "evaluation.evaluator", "statistics.summary")
    return code_hash(*(f"cdfss_bench.bench.{name}" for name in names))


def method_code(composition: Composition, backbone: str) -> str:
    """Hash of the code of all parts of a method and of its backbone; empty for none."""
    return digest([_card_code(*part) if part[1] else "" for part in _coded(composition, backbone)])


def refuse_changed_code(composition: Composition, backbone: str) -> None:
    """Refuse a method whose files are no longer those that this process has hashed.

    What was imported may be the older or the newer ones, so no hash says which would compute.

    Raises:
        UserError: naming the part.
    """
    for catalog, name in _coded(composition, backbone):
        if name:
            _refuse_changed(catalog, name)


def refuse_changed_plugins(catalog: Catalog[Any], names: Iterable[str]) -> None:
    """As `refuse_changed_code`, of those methods or domains that do not come with this package.

    Raises:
        UserError: naming what was changed.
    """
    for name in names:
        if name in catalog and not _is_built_in(catalog.origin(name)):
            _refuse_changed(catalog, name)


def _coded(composition: Composition, backbone: str) -> list[tuple[Catalog[Any], str]]:
    return [*((METHODS, part.card.name) for part in composition.parts), (BACKBONES, backbone)]


def _refuse_changed(catalog: Catalog[Any], name: str) -> None:
    if _card_code(catalog, name) != _card_code(catalog, name, again=True):
        raise UserError(
            f"the files of the {catalog.kind} '{name}' ({catalog.origin(name)}) were changed while "
            "this process works with them",
            hint="type the command again; in Python, start a new process",
        )


def reader_code(domain: Domain) -> str:
    """Hash of the code that turns files into pixels; sequences stand in the manifest."""
    card = domain.card
    if card.name not in DOMAINS or DOMAINS.card(card.name).code != card.code:
        # Made by hand, with no card that anybody finds.
        return digest([_built_in_code(_TRANSFORMS), code_hash(type(domain).__module__)])
    return named_reader_code(card.name)


def named_reader_code(name: str) -> str:
    """`reader_code` of the domain whose card has that name.

    Raises:
        UserError: if no card has it.
    """
    return digest([_built_in_code(_TRANSFORMS), _card_code(DOMAINS, name)])


_TRANSFORMS = "cdfss_bench.datasets.core.transforms"


def _card_code(catalog: Catalog[Any], name: str, *, again: bool = False) -> str:
    """Of what a card names: the module and its imports, or all of a plug-in's folder.

    Args:
        catalog: of the card.
        name: of the card.
        again: whether files are hashed as they are now, whatever this process hashed before.
    """
    built_in = _built_in_code.__wrapped__ if again else _built_in_code
    plugin = _plugin_code.__wrapped__ if again else _plugin_code
    card, origin = catalog.card(name), catalog.origin(name)
    module, _, attribute = str(card.code).partition(":")
    if _is_built_in(origin):
        module = f"{origin.package}.{module}"
        form, _, _ = FORMS.get(f"{module}:{attribute}", "").partition(":")
        code = built_in(module, *([form] if form else []))
    else:
        code = plugin(origin.path.parent, origin.package)
    decisive = {key: getattr(card, key) for key in _DECISIVE if hasattr(card, key)}
    return digest([code, attribute, decisive])


def _is_built_in(origin: Origin) -> bool:
    return origin.package is not None and origin.package.startswith("cdfss_bench.")


@lru_cache(maxsize=256)
def _built_in_code(*modules: str) -> str:
    return code_hash(*modules)


@lru_cache(maxsize=64)
def _plugin_code(folder: Path, package: str | None) -> str:
    found = package_folder(package) if package else None
    return plugin_hash(*(found or (folder, package or "")))


_DECISIVE = ("place", "offers", "output_stride", "reads", "adaptation", "pyramid", "stages")
"""What cards say of a network that no option says."""


@lru_cache(maxsize=64)
def _sha256_of(path: Path, _signature: Signature) -> str:
    return file_sha256(path)


def file_hash(path: Path) -> str:
    """sha256 of a file, computed once as long as its signature stays the same."""
    return _sha256_of(path, signature_of(path))


def weights_sha256(weights: Weights) -> tuple[str, str]:
    """Of the backbone's file and of the checkpoint; empty where there is none."""
    pretrained, checkpoint = (
        file_hash(path) if path else "" for path in (weights.pretrained, weights.checkpoint)
    )
    return pretrained, checkpoint


def now() -> str:
    """UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def command_line() -> str:
    """The command as typed; of the program only its name, not its folder."""
    words = [word.encode(errors="backslashreplace").decode() for word in sys.argv[1:]]
    return shlex.join(["cdfss-bench", *words])
