"""The contract as a contributor runs it: a method that fails each check must be found."""

from collections.abc import Sequence
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from cdfss_bench.errors import UserError
from cdfss_bench.methods.backbones.card import build_backbone
from cdfss_bench.methods.conformance import checks as conformance
from cdfss_bench.methods.conformance.checks import CHECKS, Broken, Subject, examined
from cdfss_bench.methods.core.contract import Adaptation, EpisodeBatch, LossTerm, SupportState
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.hosts.ssp import SSP

from ...support.contract import compositions

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", [*compositions(), "ssp+hls", "ssp+hls+pac[auto]"])
def test_every_registered_method_passes_every_check(name: str, check: object) -> None:
    assert callable(check)
    check(subject(name))


SUBJECTS: dict[str, Subject] = {}


def subject(name: str) -> Subject:
    return SUBJECTS.setdefault(name, Subject(name))


class Integers(SSP):
    def decide(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        return super().decide(logits, size).long()


class Graded(SSP):
    def decide(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        return 255 * super().decide(logits, size)


class Contrary(SSP):
    def predict(
        self, query_images: Tensor, support_images: Tensor, support_masks: Tensor
    ) -> Tensor:
        return 1 - super().predict(query_images, support_images, support_masks)


class Dividing(SSP):
    def support_states(self, support: FeatureBatch, masks: Tensor) -> Sequence[SupportState]:
        share = masks.float().mean((1, 2))[:, None]
        states = super().support_states(support, masks)
        assert isinstance(states[0], FeatureBatch)
        rows = FeatureBatch.cat([s for s in states if isinstance(s, FeatureBatch)])
        rows = FeatureBatch(rows.size, {k: t / share * share for k, t in rows.tensors.items()})
        return [rows[i : i + 1] for i in range(len(rows))]


class Remembering(SSP):
    asked = 0

    def score(self, query: FeatureBatch, states: Sequence[SupportState], *, shots: int) -> Tensor:
        self.asked += 1
        return super().score(query, states, shots=shots) + self.asked


class Gregarious(SSP):
    def match_states(
        self, query: FeatureBatch, states: Sequence[SupportState], *, shots: int
    ) -> Tensor:
        logits = super().match_states(query, states, shots=shots)
        return logits - logits.mean()


class Normalising(SSP):
    def encode(self, images: Tensor) -> FeatureBatch:
        return super().encode(images - images.mean())


class Detouring(SSP):
    def logits(self, query_images: Tensor, support_images: Tensor, support_masks: Tensor) -> Tensor:
        return 2 * super().logits(query_images, support_images, support_masks)


class Choosy(SSP):
    def score(self, query: FeatureBatch, states: Sequence[SupportState], *, shots: int) -> Tensor:
        return super().score(query, states[::shots], shots=1)


class Drawing(SSP):
    def features(self, images: Tensor) -> FeatureBatch:
        torch.rand(())
        return super().features(images)


class Learning(SSP):
    def features(self, images: Tensor) -> FeatureBatch:
        with torch.no_grad():
            next(iter(self.parameters())).add_(1e-3)
        return super().features(images)


class Overwriting(SSP):
    def predict(
        self, query_images: Tensor, support_images: Tensor, support_masks: Tensor
    ) -> Tensor:
        found = super().predict(query_images, support_images, support_masks)
        query_images.zero_()
        return found


class Peeping(SSP):
    def match(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, query: FeatureBatch, support: FeatureBatch, masks: Tensor, query_mask: Tensor
    ) -> Tensor:
        del query_mask
        return super().match(query, support, masks)


class Undeclared(SSP):
    @property
    def adaptation(self) -> Adaptation:
        return "episode"


class SelfChanging(SSP):
    def adapt(
        self,
        support_images: Tensor,
        support_masks: Tensor,
        *,
        rng: torch.Generator | None = None,
        query_image: Tensor | None = None,
    ) -> Method:
        with torch.no_grad():
            next(iter(self.parameters())).fill_(0.5)
        return self


class Hiding(SSP):
    seeds: ClassVar[list[int]] = []

    def __init__(self, backbone: nn.Module):
        super().__init__(backbone)  # pyright: ignore[reportArgumentType]
        self.seeds.append(0)
        self.shift = float(len(self.seeds))

    def score(self, query: FeatureBatch, states: Sequence[SupportState], *, shots: int) -> Tensor:
        shift = torch.tensor([0.0, self.shift])[:, None, None]
        return super().score(query, states, shots=shots) + shift


class Diverging(SSP):
    def loss_terms(self, batch: EpisodeBatch) -> dict[str, LossTerm]:
        return {"query": LossTerm(1.0, batch.query_images.mean() / 0)}


class Detached(SSP):
    def loss_terms(self, batch: EpisodeBatch) -> dict[str, LossTerm]:
        return {k: LossTerm(1.0, t.value.detach()) for k, t in super().loss_terms(batch).items()}


PLANTED: list[tuple[type[SSP], str, str]] = [
    (Integers, "one_mask_of_zeros_and_ones_per_query", "gives torch.int64"),
    (Graded, "one_mask_of_zeros_and_ones_per_query", "other than 0 and 1"),
    (Contrary, "scores_are_finite_and_decide", "not predicting"),
    (Dividing, "empty_and_full_supports_still_give_scores", "only 0"),
    (Remembering, "the_same_episode_gives_the_same_scores", "remembered"),
    (Gregarious, "an_episode_stands_alone", "alone and in a batch"),
    (Normalising, "an_image_is_encoded_alone_and_without_its_role", "images beside it"),
    (Detouring, "the_three_steps_are_predict", "other scores than logits"),
    (Choosy, "the_order_of_supports_does_not_matter", "in another order"),
    (Drawing, "predicting_changes_nothing", "global random generator"),
    (Learning, "predicting_changes_nothing", "predict changes"),
    (Overwriting, "predicting_changes_nothing", "writes into its inputs"),
    (Peeping, "no_step_is_handed_the_mask_of_the_query", "query_mask"),
    (Undeclared, "adapting_is_declared_private_and_repeatable", "the card says"),
    (SelfChanging, "adapting_is_declared_private_and_repeatable", "return a changed copy"),
    (Hiding, "the_state_dict_can_be_saved_and_loaded", "scores differently"),
    (Diverging, "the_loss_is_finite_and_reaches_what_is_trained", "not a finite scalar"),
    (Detached, "the_loss_is_finite_and_reaches_what_is_trained", "depends on no parameter"),
]


@pytest.mark.parametrize(
    ("network", "check", "sentence"), PLANTED, ids=[planted[0].__name__ for planted in PLANTED]
)
def test_a_broken_promise_is_noticed(
    network: type[SSP], check: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def built(name: str) -> Method:
        return network(build_backbone("resnet-mini", until="semantic", output_stride=8))

    monkeypatch.setattr(conformance, "built", built)
    with pytest.raises(Broken, match=sentence):
        getattr(conformance, check)(Subject("ssp"))


def test_a_method_that_raises_is_a_finding_and_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    class Raising(SSP):
        def features(self, images: Tensor) -> FeatureBatch:
            raise KeyError("stage")

    def built(name: str) -> Method:
        return Raising(build_backbone("resnet-mini", until="semantic", output_stride=8))

    monkeypatch.setattr(conformance, "built", built)
    findings = list(examined("ssp"))
    assert len(findings) == len(CHECKS)
    assert "KeyError: 'stage'" in findings[0].problem


def test_an_unknown_name_is_refused_at_once() -> None:
    with pytest.raises(UserError, match="unknown method 'sps'"):
        next(examined("sps"))
