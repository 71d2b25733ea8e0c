"""Cards: where they are found, how they are checked, and the code beside them."""

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from pydantic import Field

from cdfss_bench.cards import Card, Catalog
from cdfss_bench.errors import UserError
from cdfss_bench.options import Option


class Gadget(Card):
    name: str
    title: str
    code: str = Field(default="", alias="class")
    size: int = Field(default=1, ge=1)
    options: dict[str, Option] = {}


GROUP = "cdfss_bench.tested_gadgets"


def write(folder: Path, name: str, text: str = "title: a gadget\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def catalog(folder: Path, *, kind: str = "gadget", package: str = "cdfss_bench") -> Catalog[Gadget]:
    return Catalog(kind=kind, schema=Gadget, folder=folder, package=package, group=GROUP)


@pytest.fixture
def builtin(tmp_path: Path) -> Path:
    folder = tmp_path / "builtin"
    write(folder, "lever")
    write(folder, "wheel", "title: a wheel\nsize: 4\nclass: errors:UserError\n")
    return folder


@pytest.fixture
def announce(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder on the import path; its `announced.txt` names the packages with entry points."""
    place = tmp_path / "site"
    place.mkdir()
    monkeypatch.syspath_prepend(place)

    def announced(*, group: str) -> list[EntryPoint]:
        assert group == GROUP
        lines = (place / "announced.txt").read_text().split()
        return [EntryPoint(name=value, value=value, group=group) for value in lines]

    monkeypatch.setattr("cdfss_bench.cards.entry_points", announced)
    yield place
    for name in [name for name in sys.modules if name.startswith("gadgets_")]:
        del sys.modules[name]


def problem_of(found: Catalog[Gadget], name: str) -> UserError:
    with pytest.raises(UserError) as caught:
        found.card(name)
    return caught.value


def test_names_are_those_of_the_files_sorted(builtin: Path) -> None:
    (builtin / "notes.txt").write_text("no card")
    found = catalog(builtin)
    assert found.names() == ["lever", "wheel"]
    assert "wheel" in found
    assert "gear" not in found


def test_a_card_is_read_once_and_cannot_be_changed(builtin: Path) -> None:
    found = catalog(builtin)
    card = found.card("wheel")
    assert (card.name, card.title, card.size) == ("wheel", "a wheel", 4)
    assert found.card("wheel") is card
    with pytest.raises(ValueError, match="frozen"):
        card.size = 5  # pyright: ignore[reportAttributeAccessIssue]


def test_a_broken_card_does_not_hide_the_others(builtin: Path) -> None:
    write(builtin, "gear", "size: [\n")
    found = catalog(builtin)
    assert found.names() == ["gear", "lever", "wheel"]
    assert found.card("lever").title == "a gadget"
    assert problem_of(found, "gear").problem.endswith("gear.yaml, line 2 is not valid YAML")


def test_an_unknown_name_is_answered_with_the_nearest(builtin: Path) -> None:
    error = problem_of(catalog(builtin), "weel")
    assert error.problem == "unknown gadget 'weel'"
    assert error.hint == "did you mean wheel?"


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("titel: x\n", "'title': field required", None),
        ("title: x\nsice: 3\n", "unknown key 'sice'", "did you mean size?"),
        ("title: x\nclas: a:b\n", "unknown key 'clas'", "did you mean class?"),
        (
            "title: x\nsize: big\n",
            "'size': input should be a valid integer, unable to parse string as an integer",
            None,
        ),
        ("title: x\nsize: 0\n", "'size': input should be greater than or equal to 1", None),
        ("title: 2018\n", "'title': input should be a valid string", None),
        (
            "title: x\noptions: {k: {default: 3, help: h, mim: 1}}\n",
            "unknown key 'options.k.mim'",
            None,
        ),
        ("title: x\noptions: {k: {default: 3}}\n", "'options.k.help': field required", None),
        ("title: x\nname: other\n", "'name: other' is not the file's name", "leave the name out"),
    ],
)
def test_a_wrong_card_is_one_sentence_that_names_file_and_key(
    builtin: Path, text: str, problem: str, hint: str | None
) -> None:
    path = write(builtin, "gear", text)
    error = problem_of(catalog(builtin), "gear")
    assert error.problem == f"{path}: {problem}"
    assert (error.hint or "").startswith(hint or "")
    assert (error.hint is None) == (hint is None)
    assert "\n" not in error.problem


def test_a_card_may_state_the_name_of_its_file(builtin: Path) -> None:
    write(builtin, "gear", "name: gear\ntitle: x\n")
    assert catalog(builtin).card("gear").name == "gear"


def test_a_plugin_folder_adds_its_cards(builtin: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "mine", "gear")
    found = catalog(builtin)
    assert "gear" not in found
    found.add_folder(path.parent)
    assert found.names() == ["gear", "lever", "wheel"]
    assert found.card("gear").title == "a gadget"
    assert str(found.origin("gear")) == str(path)


def test_adding_a_folder_twice_is_adding_it_once(builtin: Path, tmp_path: Path) -> None:
    mine = write(tmp_path / "mine", "gear").parent
    (tmp_path / "link").symlink_to(mine)
    found = catalog(builtin)
    for folder in (mine, mine, tmp_path / "link"):
        found.add_folder(folder)
    assert found.names() == ["gear", "lever", "wheel"]


@pytest.mark.parametrize("name", ["absent", "file"])
def test_a_plugin_folder_that_does_not_exist_is_refused(
    builtin: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError) as caught:
        catalog(builtin).add_folder(tmp_path / name)
    assert caught.value.problem == f"the plug-in folder {tmp_path / name} does not exist"


def test_two_cards_of_one_name_are_refused_with_both_origins(builtin: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "mine", "wheel")
    found = catalog(builtin)
    found.add_folder(path.parent)
    with pytest.raises(UserError) as caught:
        found.names()
    assert caught.value.problem == (
        f"two gadgets are called 'wheel': {builtin / 'wheel.yaml'} and {path}"
    )
    assert caught.value.hint == "rename one of the two cards"


@pytest.mark.parametrize(
    ("kind", "mine"),
    [
        ("method", ["lever", "method", "unmarked", "wheel"]),
        ("domain", ["domain", "lever", "unmarked", "wheel"]),
        ("backbone", ["backbone", "lever", "unmarked", "wheel"]),
    ],
)
def test_one_folder_may_hold_cards_of_every_kind(
    builtin: Path, tmp_path: Path, kind: str, mine: list[str]
) -> None:
    folder = tmp_path / "mine"
    write(folder, "method", "title: x\nkind: host\n")
    write(folder, "domain", "title: x\nrole: target\n")
    write(folder, "backbone", "title: x\nstages: [a]\n")
    write(folder, "unmarked", "title: x\n")
    found = catalog(builtin, kind=kind)
    found.add_folder(folder)
    assert found.names() == mine


def test_an_installed_package_adds_its_cards_and_code(builtin: Path, announce: Path) -> None:
    write(announce / "gadgets_of_others", "gear", "title: a gear\nclass: parts:Gear\n")
    (announce / "gadgets_of_others" / "__init__.py").touch()
    (announce / "gadgets_of_others" / "parts.py").write_text("class Gear:\n    teeth = 12\n")
    (announce / "announced.txt").write_text("gadgets_of_others")
    found = catalog(builtin)
    assert found.names() == ["gear", "lever", "wheel"]
    assert found.origin("gear").package == "gadgets_of_others"
    assert found.code("gear", found.card("gear").code).teeth == 12


def test_a_package_that_repeats_a_builtin_name_is_refused(builtin: Path, announce: Path) -> None:
    path = write(announce / "gadgets_again", "wheel")
    (announce / "gadgets_again" / "__init__.py").touch()
    (announce / "announced.txt").write_text("gadgets_again")
    with pytest.raises(UserError) as caught:
        catalog(builtin).names()
    assert f"{builtin / 'wheel.yaml'} and {path}" in caught.value.problem


def test_broken_packages_leave_the_builtin_cards_alone(builtin: Path, announce: Path) -> None:
    (announce / "gadgets_raising").mkdir()
    (announce / "gadgets_raising" / "__init__.py").write_text("raise RuntimeError('needs CUDA')")
    (announce / "announced.txt").write_text("gadgets_raising.cards absent.cards absent_too")
    found = catalog(builtin)
    assert found.names() == ["lever", "wheel"]
    assert found.card("wheel").size == 4
    error = problem_of(found, "weel")
    assert error.problem == (
        "unknown gadget 'weel'; these packages of cards cannot be read: "
        "gadgets_raising.cards (needs CUDA); absent.cards (No module named 'absent'); "
        "absent_too (there is no such package)"
    )
    assert error.hint == "did you mean wheel?"


def test_builtin_code_comes_from_its_package(builtin: Path) -> None:
    found = catalog(builtin)
    assert found.code("wheel", "errors:UserError") is UserError


def test_two_folders_may_both_hold_a_module_of_one_name(builtin: Path, tmp_path: Path) -> None:
    found = catalog(builtin)
    for name, teeth in (("gear", 12), ("cog", 8)):
        folder = write(tmp_path / name, name, "title: x\nclass: net:Net\n").parent
        (folder / "net.py").write_text(f"class Net:\n    teeth = {teeth}\n")
        found.add_folder(folder)
    assert found.code("gear", "net:Net").teeth == 12
    assert found.code("cog", "net:Net").teeth == 8
    assert found.code("gear", "net:Net") is found.code("gear", "net:Net")
    assert "net" not in sys.modules


def test_classes_of_a_plugin_are_complete(builtin: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", "gear").parent
    (folder / "net.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "@dataclass\nclass Net:\n    teeth: int = 12\n"
    )
    found = catalog(builtin)
    found.add_folder(folder)
    made = found.code("gear", "net:Net")()
    assert made == type(made)(12)
    assert sys.modules[type(made).__module__].Net is type(made)


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ("nett:Net", "there is no module {folder}/nett.py"),
        ("net:Nett", "'class: net:Nett' names Nett, which {folder}/net.py does not define"),
        ("net", "'class: net' is not module:attribute"),
        (":Net", "'class: :Net' is not module:attribute"),
    ],
)
def test_code_of_a_plugin_that_is_not_there_is_one_sentence(
    builtin: Path, tmp_path: Path, reference: str, problem: str
) -> None:
    path = write(tmp_path / "mine", "gear")
    (path.parent / "net.py").write_text("class Net:\n    pass\n")
    found = catalog(builtin)
    found.add_folder(path.parent)
    with pytest.raises(UserError) as caught:
        found.code("gear", reference)
    assert caught.value.problem == f"{path}: {problem.format(folder=path.parent)}"


def test_builtin_code_that_is_not_there_is_one_sentence(builtin: Path) -> None:
    with pytest.raises(UserError) as caught:
        catalog(builtin).code("wheel", "wheels:Wheel")
    assert caught.value.problem == f"{builtin / 'wheel.yaml'}: there is no module 'wheels'"


def test_an_import_that_fails_inside_a_package_is_not_explained_away(
    builtin: Path, announce: Path
) -> None:
    folder = write(announce / "gadgets_failing", "gear", "title: x\n").parent
    (folder / "__init__.py").touch()
    (folder / "parts.py").write_text("import a_module_that_is_not_there\n")
    (announce / "announced.txt").write_text("gadgets_failing")
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):
        catalog(builtin).code("gear", "parts:Gear")


def test_a_plugin_that_fails_is_imported_afresh_once_it_is_corrected(
    builtin: Path, tmp_path: Path
) -> None:
    folder = write(tmp_path / "mine", "gear").parent
    (folder / "net.py").write_text("raise RuntimeError('not yet')")
    found = catalog(builtin)
    found.add_folder(folder)
    with pytest.raises(RuntimeError, match="not yet"):
        found.code("gear", "net:Net")
    (folder / "net.py").write_text("class Net:\n    corrected_at_last = True\n")
    assert found.code("gear", "net:Net").corrected_at_last
