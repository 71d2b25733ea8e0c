"""What is diagnosed: a method with its weights, the domains, and how much is asked."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cdfss_bench.canonical import canonical_json, digest, seed_of
from cdfss_bench.datasets import Domain, Episode
from cdfss_bench.datasets.core.domain import Item
from cdfss_bench.datasets.core.manifest import alternating, in_turn
from cdfss_bench.datasets.core.transforms import normalised
from cdfss_bench.errors import CompositionError, UserError, WeightsError
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.registry.build import build
from cdfss_bench.methods.registry.name_grammar import Composition, parse
from cdfss_bench.methods.weights.resolve import Weights, pretrained_for
from cdfss_bench.options import Value

from ..evaluation.complete_weights import load_complete
from ..evaluation.evaluator import Settings, evaluate
from ..planning.hashes import method_code, weights_sha256
from ..planning.plan_files import is_method
from ..planning.selection import Selection, open_domains
from ..planning.weights_choice import weights_of
from ..records.cell_folder import EpisodeRow
from ..runtime.threads import fit_threads
from ..training.episodes import validation_episodes
from ..training.network import begun
from ..training.sources import open_source, source_names, source_of_suite
from .finding import NotApplicable
from .numbers import Numbers

EPISODES = 100
"""Of each domain where nothing else is asked: in the mini suite five of each class and more."""

Progress = Callable[[int, int], None]


class Subject:
    """One method as a diagnosis sees it: the first of the selection.

    Numbers are kept in `cache` under `folder`; `usual` episodes of each domain are asked where
    nothing else was typed.

    Attributes:
        shots: supports per episode, the first number that was asked.
        seeds: over which what is drawn is repeated.
        key: what decides the numbers beside the subject itself: the kind, its code, its options.
        identity: all that decided the numbers, once they were measured.
        reused: whether the numbers were at hand.
    """

    def __init__(
        self,
        selection: Selection,
        folder: Path,
        *,
        device: str = "cpu",
        options: Mapping[str, Value] | None = None,
        usual: int = EPISODES,
        progress: Progress = lambda _done, _total: None,
    ):
        self.selection = selection
        self.shots = selection.shots[0]
        self.seeds = selection.seeds
        self.folder = folder
        self.device = device
        self.options = dict(options or {})
        self.usual = usual
        self.progress = progress
        self.key: Mapping[str, object] = {}
        self.identity: Mapping[str, object] = {}
        self.reused = False

    # -- the method ----------------------------------------------------------------------------

    @cached_property
    def composition(self) -> Composition:
        """The method."""
        return self._composed(self.selection.methods[0])

    @property
    def label(self) -> str:
        """What to call it."""
        return self.composition.label

    @cached_property
    def weights(self) -> Weights:
        """The weights that `run` would find.

        Raises:
            WeightsError: if there are none.
        """
        return self.weights_of()

    @property
    def backbone(self) -> str:
        """Its name.

        Raises:
            NotApplicable: for a control without one.
        """
        if not self.weights.backbone:
            raise NotApplicable(f"{self.label} has no backbone to look into")
        return self.weights.backbone

    def weights_of(self, name: str | None = None) -> Weights:
        """The weights that `run` would find for `name`, on this subject's backbone.

        Raises:
            WeightsError: if there are none.
        """
        selection = self.selection
        if name is not None and name != self.label:
            # The partner is compared on the same backbone, with weights of its own.
            backbone = self.weights.backbone or None
            selection = selection.model_copy(update={"weights": {}, "backbone": backbone})
        composition = self._composed(name or self.selection.methods[0])
        return weights_of(composition, selection, on_mini=selection.is_mini)

    def network(self, name: str | None = None, *, trained: bool = True, seed: int = 0) -> Method:
        """A network with weights as `run` builds it, in eval mode on the device.

        One that is not `trained` is what a source training begins with: the pretrained backbone and
        a head drawn from `seed`.

        Raises:
            WeightsError: if the weights are not here.
        """
        composition = self._composed(name or self.selection.methods[0])
        weights = self.weights_of(name)
        if trained:
            network = load_complete(composition, weights)
        else:
            start = pretrained_for(
                composition, backbone=weights.backbone, folders=self.selection.folders
            )
            network = begun(composition, start, None, seed)
        return network.to(self.device).eval()

    def variants(self, *, trained: bool = True) -> dict[str, str]:
        """`without LEM` and `with LEM`: the names of both, the subject itself among them.

        Of `trained` ones only those whose trained weights are here.
        """
        own = [str(part) for part in self.composition.parts]
        names = [part.card.name for part in self.composition.parts]
        bare = [part for part, name in zip(own, names, strict=True) if name != "lem"]
        has_lem = "lem" in names
        with_lem = own if has_lem else [own[0], "lem", *own[1:]]
        found: dict[str, str] = {}
        for word, parts in (("without LEM", bare), ("with LEM", with_lem)):
            name = "+".join(parts)
            if has_lem == (word == "with LEM"):
                found[word] = self.selection.methods[0]
            elif is_method(name) and (self._has_weights(name) or not trained):
                found[word] = name
        return found

    def carrying(self, plugin: str) -> str | None:
        """The name of this method with one more plug-in; None where that cannot run here."""
        name = f"{self.selection.methods[0]}+{plugin}"
        if not is_method(name) or not self._has_weights(name):
            return None
        try:
            build(self._composed(name), backbone=self.backbone)
        except CompositionError:
            return None
        return name

    def _has_weights(self, name: str) -> bool:
        try:
            self.weights_of(name)
        except WeightsError:
            return False
        return True

    def _composed(self, name: str) -> Composition:
        composition = parse(name)
        if composition.control:
            raise NotApplicable(
                f"{name} changes the questions, not the method: diagnose the method"
            )
        mini = self.selection.chosen_suite == "mini"
        return composition.in_miniature() if mini else composition

    # -- the domains ---------------------------------------------------------------------------

    @cached_property
    def targets(self) -> tuple[Domain, ...]:
        """The selected domains, opened.

        Raises:
            DataError: if one is not there.
        """
        found = tuple(open_domains(self.selection))
        fit_threads(max(domain.card.image_size for domain in found))
        return found

    @cached_property
    def source(self) -> Domain:
        """The domain that methods are trained on.

        Raises:
            DataError: if it is not there.
        """
        return open_source(self.source_name, self.selection.root, self.selection.lists)

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The source, then the targets."""
        return (self.source, *self.targets)

    @property
    def episode_count(self) -> int:
        """Episodes of each domain."""
        return self.selection.episodes or self.usual

    def episodes(self, domain: Domain, seed: int | None = None) -> Sequence[Episode]:
        """Episodes of the protocol, classes in turn so that few ask all of them.

        Those of the source are drawn anew from all its images, which a training has seen.
        """
        if domain.title == self.source_title:
            return validation_episodes(
                domain, hold_out=1.0, shots=self.shots, count=self.episode_count
            )
        seed = self.seeds[0] if seed is None else seed
        drawn = domain.episodes(self.shots, seed, self.selection.protocol).episodes
        return list(in_turn(drawn, self.episode_count))

    @property
    def source_title(self) -> str:
        """The source's name, whether it is at hand or not."""
        return source_names()[self.source_name]

    @property
    def source_name(self) -> str:
        """The source as `train --source` names it."""
        return source_of_suite(self.selection.chosen_suite)

    def items(self, domain: Domain, count: int) -> list[tuple[int, Item]]:
        """(class id, item) of `count` images, classes in turn, no image twice; fewer if need be."""
        queues = [[(entry.id, item) for item in entry.items] for entry in domain.classes]
        chosen: dict[str, tuple[int, Item]] = {}
        for class_id, item in alternating(queues):
            if len(chosen) == count:
                break
            chosen.setdefault(item.image, (class_id, item))
        return list(chosen.values())

    def images(self, domain: Domain, count: int) -> Tensor:
        """Normalised images [N, 3, H, W] of `items`, on the CPU."""
        pictures = [domain.image(item) for _, item in self.items(domain, count)]
        return normalised(np.stack(pictures))

    # -- computing -----------------------------------------------------------------------------

    def rows(
        self, network: Method, domain: Domain, episodes: Sequence[Episode]
    ) -> list[EpisodeRow]:
        """The evaluator's rows, in the episodes' order."""
        settings = Settings(device=self.device)
        batches = evaluate(network, domain, episodes, seed=self.seeds[0], settings=settings)
        return sorted((row for rows, _ in batches for row in rows), key=lambda row: row.index)

    def counter(self, total: int) -> Callable[[], None]:
        """What tells the progress one of `total` steps further at each call."""
        done = count(1)
        return lambda: self.progress(next(done), total)

    def generator(self, *words: object) -> torch.Generator:
        """A private CPU stream that belongs to these words and nothing else."""
        return torch.Generator().manual_seed(
            seed_of(canonical_json([str(w) for w in words]).encode())
        )

    def measured(
        self,
        compute: Callable[[], Numbers],
        *,
        methods: Sequence[str] = (),
        also: Mapping[str, object] | None = None,
    ) -> Numbers:
        """`compute()`, or what it gave when everything that decides it was the same.

        Whatever takes time belongs into `compute`; figures and sentences are made from the numbers
        each time.
        """
        self.identity = {**self._identity([self.label, *methods]), **(also or {})}
        path = self.folder / "cache" / f"{digest(self.identity)[:16]}.npz"
        known = Numbers.load(path)
        self.reused = known is not None
        if known is None:
            known = compute()
            known.save(path)
        return known

    def _identity(self, methods: Sequence[str]) -> dict[str, object]:
        compared: dict[str, object] = {}
        for name in methods:
            composition = self._composed(name)
            files = self._files(name)
            compared[name] = {
                "composition": str(composition),
                "code": method_code(composition, str(files.get("backbone", ""))),
                **files,
            }
        domains: dict[str, object] = {}
        for domain in self._at_hand():
            asked = self.episodes(domain)
            domains[domain.title] = {
                "profile": domain.profile,
                "fingerprint": domain.fingerprint,
                "image_size": domain.card.image_size,
                "episodes": len(asked),
                "episodes_sha256": digest([[e.query, list(e.supports), e.class_id] for e in asked]),
            }
        return {
            **self.key,
            "methods": compared,
            "domains": domains,
            "shots": self.shots,
            "seeds": list(self.seeds),
            "protocol": self.selection.protocol,
        }

    def _files(self, name: str) -> dict[str, object]:
        try:
            weights = self.weights_of(name)
        except WeightsError as error:
            return {"weights": f"none are here: {error.problem}"}
        files = (weights.pretrained, weights.checkpoint)
        return {
            "backbone": weights.backbone,
            "weights": [
                {"file": file.name, "sha256": content} if file else None
                for file, content in zip(files, weights_sha256(weights), strict=True)
            ],
            "trained on": weights.description,
        }

    def _at_hand(self) -> Iterator[Domain]:
        try:
            _ = self.source.classes
            yield self.source
        except UserError:
            pass  # kinds that need it say so themselves
        yield from self.targets
