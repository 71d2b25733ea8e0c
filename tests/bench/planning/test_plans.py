"""Plan files of `run`: groups with values of their own, and the packaged leaderboard."""

from pathlib import Path
from typing import Any

import pytest

from cdfss_bench.bench.cli.selection_options import SelectionOptions
from cdfss_bench.bench.planning.plan_files import read_plan
from cdfss_bench.bench.planning.planned_cells import plan
from cdfss_bench.bench.planning.selection import Selection, parse_weights
from cdfss_bench.errors import UserError
from cdfss_bench.methods.registry.name_grammar import METHODS

GROUPS = """\
methods: [ssp]
suite: mini
domains: mini-lesion
episodes: 2
seeds: [0, 1]
groups:
  - {methods: [prototype, ssp], backbone: vit-mini, seeds: 3}
  - {methods: prototype, controls: true, shots: 5}
"""

Row = tuple[str, str, int, int]


def rows(selection: Selection) -> list[Row]:
    return [
        (p.composition.label, p.backbone, p.episode_set.shots, p.episode_set.seed)
        for p in plan(selection)
        if p.composition.host.card.backbones
    ]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(GROUPS)
    return path


def typed(file: Path, **options: Any) -> Selection:
    return SelectionOptions(**options).selection(file)


def test_a_group_has_the_plans_values_where_it_names_none(file: Path) -> None:
    assert rows(read_plan(file)) == [
        ("ssp", "resnet-mini", 1, 0),
        ("ssp", "resnet-mini", 1, 1),
        ("prototype", "vit-mini", 1, 3),
        ("ssp", "vit-mini", 1, 3),
        ("prototype", "resnet-mini", 5, 0),
        ("prototype", "resnet-mini", 5, 1),
        ("prototype@shuffled-support", "resnet-mini", 5, 0),
        ("prototype@shuffled-support", "resnet-mini", 5, 1),
    ]


def test_what_is_typed_replaces_a_groups_value_and_methods_choose_rows(file: Path) -> None:
    selection = typed(file, methods=["ssp"], seeds=["7"])
    assert rows(selection) == [("ssp", "resnet-mini", 1, 7), ("ssp", "vit-mini", 1, 7)]
    assert {shots for *_, shots, _ in rows(typed(file, shots=[2]))} == {2}
    with pytest.raises(UserError, match="unknown method of the plan 'loec'"):
        typed(file, methods=["loec"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("groups: [{methods: ssp, shot: 1}]\n", "shot"),
        ("groups: [{backbone: vit-mini}]\n", "methods"),
        ("suite: mini\n", "no method"),
    ],
)
def test_a_plan_that_means_nothing_is_refused(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=sentence):
        typed(path)


def test_an_unknown_plan_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="unknown plan 'leaderbord'") as error:
        read_plan(Path("leaderbord"))
    assert "leaderboard" in str(error.value.hint)


def test_the_leaderboard_holds_every_registered_method_and_all_its_cells_can_run() -> None:
    board = read_plan(Path("leaderboard"))
    cells = list(plan(board.model_copy(update={"episodes": 2})))
    assert [p.reason for p in cells if p.cell is None] == []
    cards = [METHODS.card(name) for name in METHODS.names()]
    runnable = {card.name for card in cards if card.kind != "published"}
    # Plug-ins without a host of their own stand on any.
    carried = {card.name for card in cards if card.kind == "plugin" and not card.alone}
    rows = {p.composition.label for p in cells}
    parts = {part.card.name for p in cells for part in p.composition.parts}
    assert sorted(runnable - carried - rows) == []
    assert sorted(carried - parts) == []
    assert {p.episode_set.domain.title for p in cells} == {
        "mini-chest", "mini-landcover", "mini-lesion", "mini-objects",
    }  # fmt: skip
    assert {p.episode_set.shots for p in cells} == {1, 5}


# -- weights and whose they are ----------------------------------------------------------------


def weights_at(folder: Path) -> Path:
    path = folder / "w.safetensors"
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize("named", ["hsnet", "SSP", "ssp+lem"])
def test_weights_of_a_method_that_is_not_selected_are_refused(tmp_path: Path, named: str) -> None:
    path = weights_at(tmp_path)
    with pytest.raises(UserError, match="which is no method of this selection"):
        Selection(methods=("ssp", "loec"), weights={named: path})
    for methods in (["ssp"], ["ssp", "prototype"]):
        with pytest.raises(UserError, match="is not among the methods of this command"):
            SelectionOptions(methods=methods, weights=[f"{named}={path}"]).selection()


def test_two_weights_files_for_one_method_are_refused(tmp_path: Path) -> None:
    path = weights_at(tmp_path)
    for typed_twice in ([str(path), "b.pth"], [f"ssp={path}", str(path)]):
        with pytest.raises(UserError, match="names two files for ssp"):
            SelectionOptions(methods=["ssp"], weights=typed_twice).selection()


def test_a_file_whose_name_holds_an_equals_sign_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "lr=0.1.pth"
    path.write_bytes(b"")
    assert parse_weights([str(path)], ["ssp"]) == {"ssp": path}


def test_weights_go_to_the_groups_and_controls_of_their_method(tmp_path: Path) -> None:
    path = weights_at(tmp_path)
    file = tmp_path / "plan.yaml"
    file.write_text(
        f"methods: [ssp, hsnet@shuffled-support]\nweights: {{ssp: {path}, hsnet: {path}, ifa: "
        f"{path}}}\ngroups:\n  - methods: [ssp, prototype]\n  - methods: ifa\n"
    )
    held = [set(part.weights) for part in read_plan(file).parts[1:]]
    assert held == [{"ssp"}, {"ifa"}]
    assert set(typed(file, methods=["ssp"]).weights) == {"ssp"}
    asked = [p.asked for p in plan(typed(file, methods=["ssp"])) if p.asked is not None]
    assert asked
    assert all(set(one.weights) == {"ssp"} for one in asked)


def test_a_weights_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path / "wieghts", weights_at(tmp_path)):
        with pytest.raises(UserError, match="does not exist or is not a folder"):
            Selection(methods=("ssp",), weights_dirs=(folder,))


@pytest.mark.parametrize("field", ["shots", "seeds", "episodes"])
def test_true_is_no_number(field: str) -> None:
    for value in (True, [True]):
        with pytest.raises(ValueError, match="no numbers"):
            Selection.model_validate({"methods": ["ssp"], field: value})


def test_what_is_named_twice_in_other_spellings_is_one_cell() -> None:
    asked = {
        "methods": ("all-foreground", "All-Foreground", "ssp+lem+lcm", "loec"),
        "domains": ("mini-lesion", "Mini-Lesion", "mini-lesion[]"),
        "shots": (1, 1),
        "seeds": (0, 1, 0),
        "episodes": 1,
    }
    titles = [planned.title for planned in plan(Selection.model_validate(asked))]
    assert titles == [
        f"{name} · mini-lesion · 1-shot · seed {seed}"
        for name in ("all-foreground", "ssp+lem+lcm", "loec")  # an alias is a row of its own
        for seed in (0, 1)
    ]
