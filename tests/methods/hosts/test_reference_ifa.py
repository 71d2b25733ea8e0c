"""IFA against what the published code computes."""

from types import ModuleType
from typing import cast

import pytest
import torch
from torch import Tensor

from cdfss_bench.methods import build
from cdfss_bench.methods.blocks.voting import upsampled
from cdfss_bench.methods.core.contract import LossTerm
from cdfss_bench.methods.hosts.ifa import IFA
from cdfss_bench.methods.hosts.ssp import with_own_prototypes

from ...support.vectors import OpenScenes

pytestmark = pytest.mark.shared


def filled(fill: ModuleType) -> IFA:
    net = build("ifa")
    fill.fill(net, 0, "")
    assert isinstance(net, IFA)
    return net


@pytest.fixture(scope="module")
def ifa(fill: ModuleType) -> IFA:
    return filled(fill)


@pytest.mark.parametrize(
    "tag",
    [
        "b2s1_train_refine",
        "b2s1_train",
        "b1s5_train_refine",
        "b2s3_train",
        "b2s1_eval_refine",
    ],
)
def test_there_and_back(tag: str, scenes: OpenScenes, ifa: IFA) -> None:
    reference = scenes("ifa_bfp.npz")
    batch, shots = int(tag[1]), int(tag[3])
    u = reference.array("ifa.u", (1024,))[None, :, None, None]
    v = reference.array("ifa.v", (1024,))[None, :, None, None]

    def features(name: str, rows: int) -> Tensor:
        noise = reference.array(f"ifa.{name}.noise", (rows, 1024, 9, 11))
        low = reference.array(f"ifa.{name}.low", (rows, 9, 11), "mask")[:, None]
        return 2.5 * noise + low * u + (1 - low) * v

    query = features("q", batch)
    # The published code joins supports shot by shot and then reads them episode by episode. In
    # that order, its mixed-up prototypes (b2s3) are those of other episodes.
    support = features("s", batch * shots)
    fore = u + 0.5 * reference.array("ifa.fp", (batch, 1024))[..., None, None]
    back = v + 0.5 * reference.array("ifa.bp", (batch, 1024))[..., None, None]
    rounds = 2 if "refine" in tag else 1
    done = ifa.predicted_both_ways(query, support, fore, back, rounds=rounds)
    found = {
        "query": done.query.first,
        "support": done.support,
        "new_fp": done.fore,
        "new_bp": done.back,
    }
    if done.query.refined is not None:
        found["refined"] = done.query.refined
    stored = [name for name in found if f"{tag}_{name}" in reference.spec["outputs"]]
    assert stored == list(found) if "eval" not in tag else stored == ["query", "refined"]
    for name in stored:
        reference.check(f"{tag}_{name}", found[name])


def test_prototypes_of_episodes_in_a_batch_are_not_mixed(scenes: OpenScenes, ifa: IFA) -> None:
    reference = scenes("ifa_bfp.npz")
    query = reference.array("ifa.q.noise", (2, 1024, 9, 11))
    support = reference.array("ifa.s.noise", (6, 1024, 9, 11))
    fore = reference.array("ifa.fp", (2, 1024))[..., None, None]
    back = reference.array("ifa.bp", (2, 1024))[..., None, None]
    both = ifa.predicted_both_ways(query, support, fore, back, rounds=1)
    for i in range(2):
        rows = slice(3 * i, 3 * i + 3)
        alone = ifa.predicted_both_ways(
            query[i : i + 1], support[rows], fore[i : i + 1], back[i : i + 1], rounds=1
        )
        torch.testing.assert_close(both.fore[i : i + 1], alone.fore)
        torch.testing.assert_close(both.back[i : i + 1], alone.back, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(both.support[rows], alone.support, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", ["small_1shot", "small_5shot"])
def test_inference_is_ssps(case: str, scenes: OpenScenes, ifa: IFA) -> None:
    reference = scenes("ssp_episode.npz")
    query_images, _, images, masks = reference.episode(case)
    with torch.no_grad():
        found = ifa.logits(query_images, images, masks)[:, 0]
    reference.check(f"{case}_refined", found)


def total(terms: dict[str, LossTerm]) -> Tensor:
    return torch.stack([term.weight * term.value for term in terms.values()]).sum()


@pytest.mark.parametrize("case", ["1shot", "5shot"])
def test_losses(case: str, scenes: OpenScenes, fill: ModuleType) -> None:
    reference = scenes("ifa_train.npz")
    net = filled(fill)
    net.train()
    query_images, query_mask, images, masks = reference.episode(case)
    size = (query_images.shape[-2], query_images.shape[-1])
    trained = reference.spec["grad_norm_names"]
    parameters = dict(net.get_submodule("backbone").named_parameters())
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in trained)
    query = net.walked(query_images, last_taps=[net.stage]).tensors[net.stage]
    support = net.walked(images.flatten(0, 1), last_taps=[net.stage]).tensors[net.stage]

    first, second, third = net.passes(query, support, masks)
    assert first.query.refined is not None
    maps = {
        "refined": first.query.refined,
        "query1": first.query.first,
        "query_self": with_own_prototypes(query, query_mask),
        "support_self": with_own_prototypes(support, masks.flatten(0, 1)),
        "support1": first.support,
        "query2": second.query.first,
        "support2": second.support,
        "query3": third.query.first,
        "support3": third.support,
    }
    for name, found in maps.items():
        reference.check(f"{case}_{name}", upsampled(found, size))

    source = net.matching_terms(query, support, query_mask, masks)
    tuning = net.tuning_terms(query, support, query_mask, masks)
    assert list(source) == list(tuning)[:5]
    loss = total(tuning)
    values = [total(source), loss, *(term.value for term in tuning.values())]
    reference.check(f"{case}_losses", torch.stack(values))
    loss.backward()
    norms = [cast("Tensor", parameters[name].grad).norm() for name in trained]
    reference.check(f"{case}_grad_norms", torch.stack(norms))


def test_adaptation_tunes_what_the_published_code_tunes(
    scenes: OpenScenes, fill: ModuleType
) -> None:
    published = scenes("ifa_train.npz").spec["grad_norm_names"]
    net = filled(fill)
    chosen = {id(parameter) for parameter in net._tunable()}  # pyright: ignore[reportPrivateUsage]
    named = net.get_submodule("backbone").named_parameters()
    assert sorted(name for name, parameter in named if id(parameter) in chosen) == published
