"""A cell: one method with its weights on one list of episodes, and the id that names it."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from cdfss_bench.canonical import digest
from cdfss_bench.datasets import Domain
from cdfss_bench.errors import DataError, WeightsError
from cdfss_bench.methods.backbones.card import BACKBONES
from cdfss_bench.methods.core.contract import Precision
from cdfss_bench.methods.registry.name_grammar import Composition
from cdfss_bench.methods.weights.resolve import Weights
from cdfss_bench.options import Value

from ..records.cell_folder import CellFolder
from ..records.counts import EVALUATOR_VERSION
from ..records.environment import command_line, describe, now
from ..records.place import finished_record
from ..records.schema import (
    DomainPart,
    EpisodesPart,
    EvaluatorPart,
    MethodPart,
    RunRecord,
    WeightsPart,
)
from .episode_set import EpisodeSet
from .hashes import (
    evaluator_code,
    is_foreign,
    method_code,
    reader_code,
    refuse_changed_code,
    weights_sha256,
)


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
        return is_foreign(self.composition, self.weights.backbone)

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
        return finished_record(self.folder(results), self.id)

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
