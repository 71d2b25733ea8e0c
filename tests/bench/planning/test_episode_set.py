"""Tests of which numbers of shots a data set can be asked for."""

from pathlib import Path

import pytest

from cdfss_bench.bench.planning.episode_set import EpisodeSet
from cdfss_bench.datasets import Domain, open_domain
from cdfss_bench.datasets.check.report import check_domain
from cdfss_bench.errors import DataError

from ...support import trees


def groups(folder: Path, **frames: int) -> Domain:
    """A domain of videos: frames by name."""
    for number, (name, count) in enumerate(frames.items()):
        for at in range(count):
            picture = f"{name}/{at:03d}.png"
            trees.save(folder / "own/images" / picture, trees.photo(10 * number + at))
            trees.save(folder / "own/masks" / picture, trees.blob(10 * number + at))
    return open_domain("folder[path=own,layout=groups]", folder, cache=None)


@pytest.mark.parametrize("protocol", ["patnet", "strict"])
def test_shots_that_would_repeat_a_support_of_the_other_groups_are_refused(
    protocol: str, tmp_path: Path
) -> None:
    domain = groups(tmp_path, long=5, short=2, other=1)
    for episode in EpisodeSet(domain, 3, 0, protocol).manifest:
        assert episode.query.split("/")[2] not in {n.split("/")[2] for n in episode.supports}
    with pytest.raises(DataError) as refused:
        _ = EpisodeSet(domain, 4, 0, protocol).manifest
    assert refused.value.problem.endswith(
        "has 8 images, and some have only 3 in other volumes, series or groups than theirs: "
        "4-shot would show one twice"
    )


def test_data_check_says_how_many_shots_groups_allow(tmp_path: Path) -> None:
    groups(tmp_path, long=5, short=2, other=1)
    found = check_domain("folder[path=own,layout=groups]", tmp_path, full=False).findings
    (small,) = [finding for finding in found if finding.kind == "small class"]
    assert small.problem == (
        "class 'object' has 8 images, some with only 3 in other volumes, series or groups than "
        "theirs: at most 3-shot"
    )
