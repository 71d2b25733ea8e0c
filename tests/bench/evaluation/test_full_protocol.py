"""The benchmark of the whole protocol, of which a small share is run here."""

import numpy as np
import pytest

from ...benchmarks.full_protocol import Enlarged, main


@pytest.mark.parametrize(
    ("name", "pictures", "episodes"),
    [
        ("fss1000", 2400, 2400),
        ("deepglobe", 9000, 600),
        ("isic", 2594, 600),
        ("chestxray", 566, 600),
    ],
)
def test_enlarged_domains_have_the_published_sizes(name: str, pictures: int, episodes: int) -> None:
    domain = Enlarged(name, 1)
    assert sum(domain.counts) == pictures
    assert domain.length == episodes
    assert len({item.image for entry in domain.classes for item in entry.items}) == pictures


@pytest.mark.parametrize("name", ["deepglobe", "isic", "chestxray"])
def test_masks_move_with_their_pictures(name: str) -> None:
    domain = Enlarged(name, 1)
    items = domain.classes[0].items
    number = next(i for i in range(1, len(items)) if items[i].mask == items[0].mask)
    moved = (37 * number, 101 * number)
    first, other = items[0], items[number]
    assert domain.truth(first).any()
    assert not np.array_equal(domain.image(first), domain.image(other))
    for read in (domain.image, domain.truth):
        assert np.array_equal(np.roll(read(first), moved, axis=(0, 1)), read(other))


def test_a_share_of_the_protocol_runs(capsys: pytest.CaptureFixture[str]) -> None:
    asked = "--methods ssp --backbone resnet-mini --domains chestxray --shots 1 --seeds 2"
    main([*asked.split(), "--share", "0.004"])
    said = capsys.readouterr().out
    assert "chestxray  1-shot      6 episodes" in said
    assert "the plain evaluator takes" in said
