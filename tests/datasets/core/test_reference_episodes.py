"""The published loaders' episodes and tensors, as recorded from them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cdfss_bench.datasets import Domain, open_domain
from cdfss_bench.datasets.core.samplers import patnet_episodes

from ...conftest import load_script

pytestmark = pytest.mark.shared

DOMAINS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "fss": ("fss1000", {}),
    "fss_val": ("fss1000", {"split": "val"}),
    "deepglobe": ("deepglobe", {}),
    "isic": ("isic", {}),
    "lung": ("chestxray", {}),
    "pascal_fold4_trn": ("pascal", {}),
    "pascal_fold0_val": ("pascal", {"fold": 0, "split": "val"}),
}
CASES = [f"{domain}/{shots}shot" for domain in DOMAINS for shots in (1, 5)]


@pytest.fixture(scope="module")
def tree(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    script = load_script(shared / "reference" / "episode_tree.py")
    root = tmp_path_factory.mktemp("tree [with brackets]")
    script.build(str(root), lung_mcu=4)
    return root


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict[str, Any]:
    return json.loads((shared / "reference" / "episodes.json").read_text())


@pytest.fixture(scope="module")
def samples(shared: Path) -> Mapping[str, Any]:
    return np.load(shared / "reference" / "episodes.npz")


def opened(case: str, tree: Path) -> tuple[Domain, int, str]:
    dataset, _, shots = case.partition("/")
    name, options = DOMAINS[dataset]
    return open_domain(name, tree, cache=tree / "cache", **options), int(shots[0]), dataset


@pytest.mark.parametrize("case", CASES)
def test_sequence_and_stream(case: str, tree: Path, golden: dict[str, Any]) -> None:
    domain, shots, key = opened(case, tree)
    record = golden["sets"][case]
    names = golden["names"][key]
    drawn = domain.episodes(shots, seed=0, length=len(record["episodes"]))
    expected = [
        (names[q], tuple(names[s] for s in supports), class_id)
        for q, supports, class_id in record["episodes"]
    ]
    assert [(e.query, e.supports, e.class_id) for e in drawn] == expected
    assert domain.published_length == record["length"]
    rng = np.random.RandomState(0)
    for _ in patnet_episodes(
        domain.pools, domain.listed_queries(), length=len(expected), shots=shots, rng=rng
    ):
        pass
    assert rng.random_sample() == record["after"]


@pytest.mark.parametrize("case", [c for c in CASES if "pascal" not in c])
def test_other_seeds(case: str, tree: Path, golden: dict[str, Any]) -> None:
    domain, shots, key = opened(case, tree)
    names = golden["names"][key]
    for seed, episodes in golden["sets"][case]["other_seeds"].items():
        drawn = domain.episodes(shots, seed=int(seed), length=len(episodes))
        expected = [(names[q], tuple(names[s] for s in sup), c) for q, sup, c in episodes]
        assert [(e.query, e.supports, e.class_id) for e in drawn] == expected


@pytest.mark.parametrize("case", CASES)
def test_tensors(case: str, tree: Path, golden: dict[str, Any], samples: Mapping[str, Any]) -> None:
    domain, shots, _ = opened(case, tree)
    for index, record in golden["sets"][case]["tensors"].items():
        loaded = domain.load(domain.episodes(shots, length=8)[int(index)])
        tensors = {
            "query_img": loaded.query_image,
            "query_mask": loaded.query_mask,
            "support_imgs": loaded.support_images,
            "support_masks": loaded.support_masks,
            "query_ignore_idx": loaded.query_ignore,
            "support_ignore_idxs": loaded.support_ignores,
        }
        for name, tensor in tensors.items():
            if name not in record:
                assert tensor is None
                continue
            assert tensor is not None
            array = tensor.to(torch.float32).numpy()
            assert list(array.shape) == record[name]["shape"]
            assert array.astype(np.float64).sum() == pytest.approx(record[name]["sum_f64"])
            digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
            assert digest == record[name]["sha256_f32"], (index, name)
            stored = f"{case}/{index}/{name}"
            if stored in samples:
                part = (
                    array[..., 3::25, 5::25]
                    if "img" in name
                    else np.packbits(array[..., ::5, ::5].astype(np.uint8), axis=-1)
                )
                np.testing.assert_array_equal(part, samples[stored])
