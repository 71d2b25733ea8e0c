"""Activation per stage: a domain that was dimmed must be found, one that was not must not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cdfss_bench.bench.diagnose.features import activity, diagnose
from cdfss_bench.bench.diagnose.finding import Finding
from cdfss_bench.bench.diagnose.subject import Subject
from cdfss_bench.datasets.core.domain import Item

from .test_finding import mini


def found(tmp_path: Path, *domains: str, dimmed: str = "", images: int = 16) -> Finding:
    options = {"images": images, "pictures": 1, "floor": 0.1}
    subject = Subject(mini(domains=domains), tmp_path, options=options)
    # The same things drawn by the same hand: nothing but what is planted tells them apart.
    for domain in subject.targets:
        if domain.title == dimmed:
            bright: Any = domain.image

            def image(item: Item, bright: Any = bright) -> NDArray[np.uint8]:
                picture = bright(item).astype(np.float64)
                grey = np.array([124.0, 116.0, 104.0])  # ImageNet's mean: zero once normalised
                return (grey + 0.1 * (picture - grey)).round().astype(np.uint8)

            vars(domain)["image"] = image
    return diagnose(subject)


def test_activity_of_known_maps() -> None:
    maps = torch.zeros(3, 2, 2, 2)
    maps[0] = -3.0
    maps[1, :, 0, 0] = 4.0
    mean, dead = activity(maps, floor=0.1)
    assert mean.tolist() == [3, 1, 0]
    assert dead.tolist() == [0, 0.75, 1]


def test_a_dimmed_domain_is_found(tmp_path: Path) -> None:
    finding = found(tmp_path, "mini-objects", "mini-landcover", dimmed="mini-objects")
    table = finding.tables["stages"].set_index(["domain", "stage"])
    assert table.loc[("mini-objects", "stem"), "ratio_high"] < 0.5
    assert "weakest in stage stem on mini-objects" in finding.sentences[0]
    assert "below half of it on 1 of 2 targets (mini-objects)" in finding.sentences[2]


def test_a_domain_like_the_source_is_not_called_inactive(tmp_path: Path) -> None:
    finding = found(tmp_path, "mini-objects")
    assert "below half of it on 0 of 1 targets" in finding.sentences[2]
    assert "below the source's on 0 of 1 targets" in finding.sentences[2]


def test_the_source_is_one_and_every_number_has_its_interval(tmp_path: Path) -> None:
    table = found(tmp_path, "mini-chest", images=6).tables["stages"]
    source = table[table["domain"] == "mini-source"]
    assert source["ratio"].tolist() == [1.0] * len(source)
    for name in ("activation", "ratio", "dead"):
        assert (table[f"{name}_low"] <= table[name]).all()
        assert (table[name] <= table[f"{name}_high"]).all()


@pytest.mark.parametrize("method", ["hsnet", "ssp-vit"])
def test_every_host_with_stages_has_features(method: str, tmp_path: Path) -> None:
    subject = Subject(
        mini(method, domains=("mini-chest",)),
        tmp_path,
        options={"images": 2, "pictures": 1, "floor": 0.1},
    )
    assert diagnose(subject).tables["stages"]["stage"].nunique() > 2
