"""The evaluator's masks against those of the plain one, episode by episode."""

from pathlib import Path

import pytest

from cdfss_bench.bench.evaluation.evaluator import Settings, evaluate
from cdfss_bench.bench.evaluation.prediction import load_method
from cdfss_bench.datasets import Domain, open_domain
from cdfss_bench.methods import parse
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.weights.resolve import resolve_weights

from ...support.plain_evaluator import Masks, difference, plain_logits

MINI = ("mini-chest", "mini-landcover", "mini-lesion", "mini-objects")


def network(name: str, backbone: str, folders: list[Path]) -> Method:
    composition = parse(name).in_miniature() if backbone == "resnet-mini" else parse(name)
    return load_method(
        composition, resolve_weights(composition, backbone=backbone, folders=folders)
    )


def agree(method: Method, domain: Domain, shots: int, count: int, budget: int) -> None:
    masks = Masks(method)
    episodes = domain.episodes(shots, 0, "patnet", count).episodes
    for rows, _ in evaluate(method, domain, episodes, settings=Settings(budget=budget)):
        for row in rows:
            asked = domain.load(row.episode)
            logits = plain_logits(
                method, asked.query_image, asked.support_images, asked.support_masks
            )
            found = difference(masks.taken(), logits)
            assert found.wrong == 0, f"{found} in episode {row.index} of {domain.title}"
            assert found.differ <= 8, f"{found} in episode {row.index} of {domain.title}"


@pytest.mark.parametrize("domain", MINI)
@pytest.mark.parametrize("name", ["ssp", "loec", "hsnet", "patnet"])
@pytest.mark.parametrize(("shots", "budget"), [(1, 2 << 30), (5, 1 << 20)])
def test_masks_are_those_of_the_plain_evaluator(
    name: str, domain: str, shots: int, budget: int
) -> None:
    agree(network(name, "resnet-mini", []), open_domain(domain), shots, 4, budget)


@pytest.mark.long
@pytest.mark.parametrize("domain", MINI)
@pytest.mark.parametrize("name", ["ssp", "loec", "hsnet", "patnet"])
def test_all_masks_of_the_mini_suite(name: str, domain: str) -> None:
    opened = open_domain(domain)
    agree(network(name, "resnet-mini", []), opened, 5, opened.published_length, 2 << 30)


@pytest.mark.shared
@pytest.mark.parametrize("domain", ["chestxray", "isic"])
@pytest.mark.parametrize("name", ["ssp", "loec"])
def test_masks_on_real_images(name: str, domain: str, shared: Path) -> None:
    method = network(name, "resnet50-caffe", [shared / "weights"])
    agree(method, open_domain(domain, shared / "real"), 5, 2, 2 << 30)
