"""`lcm` finds that anchors follow a wrong mask, and that they do not follow a right one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cdfss_bench.bench.diagnose import calibration, lcm
from cdfss_bench.bench.diagnose.calibration import calibrated
from cdfss_bench.bench.diagnose.drawing import rendered
from cdfss_bench.bench.diagnose.finding import NotApplicable
from cdfss_bench.bench.diagnose.frames import rows_where
from cdfss_bench.bench.statistics.metrics import iou
from cdfss_bench.errors import UserError
from cdfss_bench.methods.plugins.lcm import LCM

from .planted import subject_of


def with_score(folder: Path, sign: float) -> calibration.Calibrated:
    """Episodes of a host whose score map is the truth (`sign` 1) or its opposite (-1)."""
    subject = subject_of("ssp+lcm", folder, lcm.OPTIONS, "mini-lesion", episodes=6)
    network, domain = subject.network(), subject.targets[0]
    plugin = network.score_plugins[0]
    assert isinstance(plugin, LCM)
    asked = subject.episodes(domain)
    truths = iter([torch.from_numpy(np.array(domain.truth(domain.item(e.class_id, e.query))))
                   for e in asked])  # fmt: skip

    def planted(*_args: Any, **_options: Any) -> torch.Tensor:
        fore = sign * (next(truths).float() - 0.5)
        return torch.stack((-fore, fore))[None, None]

    network.score = planted
    return calibrated(
        network,
        domain,
        asked,
        {"as stated": plugin},
        stated="as stated",
        deepest=plugin,
        device="cpu",
        told=lambda: None,
    )


def test_a_planted_wrong_mask_has_wrong_anchors_and_a_right_one_right_ones(tmp_path: Path) -> None:
    right, wrong = with_score(tmp_path, 1), with_score(tmp_path, -1)
    assert np.stack(right.hits)[:, 0].all()
    assert np.stack(wrong.hits).mean() < 0.1
    # What is like lesion skin is not like its surroundings: the ranking turns over.
    assert np.nanmean(right.separation) > 0.6 > np.nanmean(wrong.separation)
    assert bool(wrong.worst["gain"][1])
    assert not bool(right.worst["gain"][1])


def test_the_whole_diagnosis(tmp_path: Path) -> None:
    options: dict[str, Any] = {"k": "1,3", "w": "0.6", "beta": "0.7,mean"}
    subject = subject_of(
        "loec", tmp_path, lcm.OPTIONS, "mini-lesion", "mini-landcover", episodes=8, **options
    )
    finding = lcm.diagnose(subject)
    assert set(finding.figures) == {"similarity", "anchors", "settings", "worst"}
    for draw in finding.figures.values():
        assert rendered(draw)[0].startswith(b"\x89PNG")
    settings = rows_where(finding.tables["settings"], domain="mini-lesion")
    assert len(settings) == 3
    assert list(settings["stated"]).count(True) == 1
    episodes = finding.tables["episodes"]
    failure = finding.tables["failure"]
    assert sum(failure["episodes"]) == len(episodes) == 16
    shares = rows_where(finding.tables["similarity"], domain="mini-lesion")
    assert sum(shares["foreground"]) == pytest.approx(1)
    assert "settings some significantly helps on" in finding.sentences[2]
    # The stated setting is what the evaluator computes for the method itself.
    domain = subject.targets[0]
    again = subject.rows(subject.network(), domain, subject.episodes(domain))
    plain = subject.rows(subject.network("ssp+lem"), domain, subject.episodes(domain))
    ious = [iou(row.counts.inter, row.counts.union) for row in again]
    coarse = [iou(row.counts.inter, row.counts.union) for row in plain]
    here = rows_where(episodes, domain="mini-lesion")
    np.testing.assert_allclose(here["coarse IoU"], coarse)
    np.testing.assert_allclose(here["gain"], np.subtract(ious, coarse))


def test_what_it_refuses(tmp_path: Path) -> None:
    with pytest.raises(NotApplicable, match="adapts"):
        lcm.diagnose(subject_of("apm-s", tmp_path, lcm.OPTIONS, "mini-lesion"))
    with pytest.raises(UserError, match="beta=few"):
        lcm.diagnose(subject_of("ssp", tmp_path, lcm.OPTIONS, "mini-lesion", beta="few"))
