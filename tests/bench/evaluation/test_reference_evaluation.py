"""Counts and metrics against the published evaluator."""

import numpy as np
import pytest
import torch
from PIL import Image

from cdfss_bench.bench.evaluation.pixel_counts import count
from cdfss_bench.bench.statistics.metrics import measure, pooled_by_class
from cdfss_bench.datasets.core.samplers import Pool, patnet_episodes
from cdfss_bench.datasets.core.transforms import normalised, resized_image, resized_labels

from ...support.vectors import Vectors, stored_vectors

pytestmark = pytest.mark.shared

vectors = stored_vectors(Vectors, "evaluation.npz")


@pytest.mark.parametrize("benchmark_name", ["isic", "deepglobe", "lung", "fss", "pascal"])
def test_counts_and_metrics(benchmark_name: str, vectors: Vectors) -> None:
    case = f"evaluate_{benchmark_name}"
    spec = vectors.cases[case]

    def masks(kind: str) -> torch.Tensor:
        names = [f"eval.{benchmark_name}.{kind}.{i}" for i in range(8)]
        return torch.stack([vectors.input(n, (48, 56), "mask") for n in names]).to(torch.uint8)

    predicted, truth = masks("pred"), masks("gt")
    truth[5] = 0
    predicted[6] = 0
    predicted[7] = 1 - truth[7]
    ignore = masks("ignore") * (1 - truth) if benchmark_name == "pascal" else None
    counts = count(predicted, truth, ignore)
    array = np.asarray(counts)
    np.testing.assert_array_equal(vectors.arrays[f"{benchmark_name}.inter"], array[:, [2, 0]].T)
    np.testing.assert_array_equal(vectors.arrays[f"{benchmark_name}.union"], array[:, [3, 1]].T)
    classes = spec["episode_class"]
    expected = range(*spec["class_ids"])
    metrics = measure(classes, counts, expected=expected)
    assert metrics.miou == pytest.approx(spec["miou"], abs=1e-4)
    assert metrics.fb_iou == pytest.approx(spec["fb_iou"], abs=1e-4)
    ids, sums = pooled_by_class(classes, counts)
    columns = [expected.index(int(i)) for i in ids]
    for name, (back, fore) in {"inter": (2, 0), "union": (3, 1)}.items():
        stored = vectors.arrays[f"{benchmark_name}.buf_{name}"]
        np.testing.assert_array_equal(stored[:, columns], sums[:, [back, fore]].T)


def test_preprocessing(vectors: Vectors) -> None:
    inputs = vectors.inputs("preprocess")
    pixels = {name: np.floor(256 * x.numpy()).astype(np.uint8) for name, x in inputs.items()}
    for name, array in (("photo", "pre.image"), ("photo_big", "pre.image_big")):
        image = resized_image(Image.fromarray(pixels[name]), 400)
        vectors.check("preprocess", array, normalised(image))
    mask = resized_labels((pixels["photo_mask"] >= 128).astype(np.uint8), 400)
    vectors.check("preprocess", "pre.mask", torch.from_numpy(mask))


def test_sampling(vectors: Vectors) -> None:
    episodes = vectors.cases["sampling"]["episodes"]
    sizes = (40, 17, 9)
    pools = [
        Pool(c, str(c + 1), tuple(f"{c + 1}/img{j:04d}.jpg" for j in range(n)))
        for c, n in enumerate(sizes)
    ]
    folders = [
        Pool(760 + i, name, tuple(f"/x/{name}/{k}.jpg" for k in range(1, 11)))
        for i, name in enumerate("abc")
    ]
    listed = [(p.class_id, name) for p in folders for name in sorted(p.images)]
    queries = [(760 + i // 10, f"/x/{'abc'[i // 10]}/{i % 10 + 1}.jpg") for i in range(0, 30, 3)]
    assert len(listed) == 30
    for name, expected in episodes.items():
        kind, _, shots = name.partition("_")
        rng = np.random.RandomState(0)
        drawn = patnet_episodes(
            pools if kind == "classwise" else folders,
            None if kind == "classwise" else queries,
            length=len(expected),
            shots=int(shots),
            rng=rng,
        )
        assert [[e.query, *e.supports, e.class_id] for e in drawn] == expected
