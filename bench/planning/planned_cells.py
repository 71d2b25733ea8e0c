"""From a selection to its cells: each planned, or refused with its reason."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cdfss_bench.datasets import DOMAINS, Domain
from cdfss_bench.errors import DataError, UserError
from cdfss_bench.methods.registry.name_grammar import METHODS, Composition, parse
from cdfss_bench.methods.weights.resolve import Weights

from ..records.schema import NOT_TRAINED
from .cell import Cell
from .episode_set import EpisodeSet
from .hashes import refuse_changed_plugins
from .selection import Selection, each_once, of_methods, open_domains
from .weights_choice import refuse_seen_in_training, weights_of


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
        domains = each_once(opened.setdefault(each.title, each) for each in open_domains(part))
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
                try:
                    resolved[key] = weights_of(composition, selection, on_mini=on_mini)
                except UserError as error:
                    resolved[key] = error
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
    try:
        refuse_seen_in_training(weights, episode_set.domain)
        cell = Cell(composition, weights, episode_set, selection.precision)
        cell.id  # noqa: B018  (draws the manifest: data errors belong to the plan)
        planned.cell = cell
    except UserError as error:
        planned.refuse(error)
    return planned
