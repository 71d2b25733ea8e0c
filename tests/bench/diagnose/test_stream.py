"""What a diagnosis adapts is what the evaluator adapts: the same draws, the same counts."""

from pathlib import Path

import pytest

from cdfss_bench.bench.diagnose.masking import ADAPTED, masked
from cdfss_bench.bench.diagnose.probing import probed
from cdfss_bench.bench.diagnose.subject import Subject
from cdfss_bench.bench.evaluation.runner import Runner
from cdfss_bench.bench.planning.planned_cells import plan
from cdfss_bench.bench.records.counts import Counts

from .test_finding import mini

DRAWS = "ifa[steps=2,views=2]"  # views of the support, drawn anew in each episode


def asked(method: str, folder: Path, seed: int) -> Subject:
    chosen = mini(method, domains=("mini-landcover",), episodes=3).model_copy(
        update={"seeds": (seed,)}
    )
    return Subject(chosen, folder)


def recorded(subject: Subject, folder: Path) -> dict[tuple[str, ...], Counts]:
    """What `run` counts in the same episodes, whatever stands before them in the protocol."""
    selection = subject.selection.model_copy(update={"episodes": 12})
    (outcome,) = Runner(folder, with_cost=False).run(list(plan(selection)))
    assert outcome.planned.cell is not None
    cell = outcome.planned.cell
    rows = cell.folder(folder).recover(cell.episode_set.manifest.episodes).values()
    return {(row.episode.query, *row.episode.supports): row.counts for row in rows}


@pytest.mark.parametrize("seed", [0, 3])
def test_a_method_that_draws_adapts_as_in_a_run(seed: int, tmp_path: Path) -> None:
    subject = asked(DRAWS, tmp_path, seed)
    (domain,) = subject.targets
    network, episodes = subject.network(), subject.episodes(domain)
    probe = probed(network, domain, episodes, "cpu", seed=seed)
    assert [row.counts for row in probe.rows] == [
        row.counts for row in subject.rows(network, domain, episodes)
    ]
    known = recorded(subject, tmp_path / "results")
    shared = [row for row in probe.rows if (row.episode.query, *row.episode.supports) in known]
    assert len(shared) >= 2
    for row in shared:
        assert row.counts == known[row.episode.query, *row.episode.supports]
    # The draws decide something here: another seed's are other counts.
    other = probed(network, domain, episodes, "cpu", seed=seed + 1)
    assert [row.counts for row in other.rows] != [row.counts for row in probe.rows]


def test_a_masker_adapts_as_in_a_run(tmp_path: Path) -> None:
    subject = asked("ssp+apm-m[steps=2]", tmp_path, 0)
    (domain,) = subject.targets
    network, episodes = subject.network(), subject.episodes(domain)
    (plugin,) = network.feature_plugins
    found = masked(
        network, domain, episodes, rate=plugin.lr, steps=2, device="cpu",
        seed=0, told=lambda: None,
    )  # fmt: skip
    assert [row.counts for row in found.rows[ADAPTED]] == [
        row.counts for row in subject.rows(network, domain, episodes)
    ]
