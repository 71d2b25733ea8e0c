"""What a record notes of own data."""

import re
from pathlib import Path

import numpy as np

from cdfss_bench.bench.evaluation.record_notes import notes_of
from cdfss_bench.bench.planning.episode_set import EpisodeSet
from cdfss_bench.datasets import open_domain

from ...support import trees

EXCHANGED = "see that object and background are not exchanged"


def exchanged(root: Path) -> list[str]:
    domain = open_domain("folder", root, cache=None)
    notes = notes_of(EpisodeSet(domain, shots=1, seed=0, protocol="patnet"))
    return [note for note in notes if note.endswith(EXCHANGED)]


def test_a_class_of_own_data_that_covers_most_of_its_pictures_is_noted(tmp_path: Path) -> None:
    trees.write_folder(tmp_path, ("cat", "dog"), count=3)
    assert exchanged(tmp_path) == []
    shares: list[float] = []
    for number, path in enumerate(sorted((tmp_path / "masks" / "dog").iterdir())):
        mask = 255 - trees.blob(number)
        trees.save(path, mask)
        shares.append(float(np.mean(mask)) / 255)
    (note,) = exchanged(tmp_path)
    found = re.fullmatch(rf"class 'dog' covers (\d+)% of its pictures: {EXCHANGED}", note)
    assert found is not None
    assert abs(int(found[1]) - 100 * np.mean(shares)) < 2
