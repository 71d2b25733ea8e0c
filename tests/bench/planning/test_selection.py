"""What is typed to select cells."""

from pathlib import Path

import pytest

from cdfss_bench.bench.planning.planned_cells import Planned, plan
from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.datasets import open_domain
from cdfss_bench.errors import DataError

from ...support import trees


def test_names_ignore_case() -> None:
    typed = Selection(
        methods=("LoEC",), domains=("Mini-Lesion",), backbone="ResNet-Mini", episodes=2
    )
    plain = Selection(
        methods=("loec",), domains=("mini-lesion",), backbone="resnet-mini", episodes=2
    )
    (one,), (other,) = plan(typed), plan(plain)
    assert one.cell is not None
    assert other.cell is not None
    assert one.cell.id == other.cell.id


def test_a_domain_is_opened_whatever_its_case() -> None:
    assert open_domain("MINI-Lesion").card.name == "mini-lesion"


def asked(root: Path, **selected: object) -> list[Planned]:
    values = {"methods": ("all-foreground",), "data_root": root, "episodes": 2, **selected}
    return list(plan(Selection.model_validate(values)))


def test_the_suite_extended_is_the_further_targets_and_names_those_that_are_absent(
    tmp_path: Path,
) -> None:
    for name in ("nucleus", "suim", "weedmap"):
        trees.EXTENDED[name](tmp_path)
    cells = asked(tmp_path, suite="extended")
    assert [cell.episode_set.domain.card.name for cell in cells] == [*trees.EXTENDED]
    there = [cell.episode_set.domain.card.name for cell in cells if cell.cell is not None]
    assert there == ["nucleus", "suim", "weedmap"]
    absent = cells[0]
    assert absent.reason.startswith("no iSAID-5i under ")
    assert absent.hint == "cdfss-bench data check isaid --data-root DIR"


@pytest.mark.parametrize("suite", ["auto", "cdfss"])
def test_the_four_classical_targets_stay_the_default_on_data(tmp_path: Path, suite: str) -> None:
    trees.write_nucleus(tmp_path)
    names = [cell.episode_set.domain.card.name for cell in asked(tmp_path, suite=suite)]
    assert names == ["chestxray", "deepglobe", "fss1000", "isic"]


def test_a_further_target_is_asked_by_its_name_alone(tmp_path: Path) -> None:
    trees.write_isaid(tmp_path)
    (one,) = asked(tmp_path, domains=("isaid[fold=1]",))
    assert one.cell is not None
    assert one.title == "all-foreground · isaid[fold=1] · 1-shot · seed 0"


def test_two_data_sets_of_one_name_are_refused_and_one_named_twice_is_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        trees.write_folder(tmp_path / "mine" / name)
    root = tmp_path / "mine"
    a, b = "folder[path=a,name=x]", "folder[path=b,name=x]"
    with pytest.raises(DataError, match=r"path=a,name=x\] and .* are both called 'x'"):
        asked(root, domains=(a, b))
    with pytest.raises(DataError, match="are both called 'x'"):
        asked(root, domains=(a, "folder[path=a,labels=each,name=x]"))
    with pytest.raises(DataError, match=r"are both called 'folder\[path=a\]'"):
        asked(root, domains=(f"folder[path={root / 'a'}]", f"folder[path={tmp_path / 'a'}]"))
    (one,) = asked(root, domains=(a, f"folder[path={root / 'a'},name=x]"))
    assert one.episode_set.domain.title == "x"
