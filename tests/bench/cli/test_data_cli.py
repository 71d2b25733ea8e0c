"""`cdfss-bench data` as people type it: tables, exit codes, and one sentence for every mistake."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cdfss_bench.bench.cli.prepare_words import domain_and_options
from cdfss_bench.datasets import DOMAINS

from ...conftest import CHECKOUT
from ...support import downloads, trees
from ...support.program import PROGRAM, program
from ...test_packaging import loaded_by

Type = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def typed(tmp_path: Path) -> Type:
    return lambda *words: program("data", *words, cwd=tmp_path)


@pytest.fixture
def chest(tmp_path: Path) -> Path:
    return downloads.zipped(downloads.chest(), tmp_path / "down loads [1]" / "archive.zip")


def test_the_help_of_prepare_names_every_domain_with_a_recipe(typed: Type) -> None:
    words = set(re.findall(r"\w+", typed("prepare", "--help").stdout))
    assert {name for name in DOMAINS.names() if DOMAINS.card(name).prepare is not None} <= words


def test_one_mark_of_potholes_is_prepared_and_checked(typed: Type, tmp_path: Path) -> None:
    archive = downloads.zipped(downloads.potholes(), tmp_path / "pothole-mix.zip")
    done = typed(
        "prepare", "pothole", "--from", str(archive), "--marks", "green", "--data-root", "to"
    )
    assert done.returncode == 0
    checked = typed("check", "pothole", "--data-root", "to")
    assert checked.returncode == 0
    assert "images: pothole 2" in checked.stdout
    assert "not checked: The masks of Pothole Mix are in colours" in checked.stdout


def test_prepare_prints_a_table_and_what_was_left_out(typed: Type, chest: Path) -> None:
    done = typed("prepare", "chestxray", "--from", str(chest), "--data-root", "a root")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^ Shenzhen +3$", done.stdout, re.M)
    assert re.search(r"^profile +│ partial: 3 of 566 images$", done.stdout, re.M)
    assert "3 pairs of Montgomery (MCUCXR_*) are left out" in done.stderr
    assert "cdfss-bench data show chestxray --data-root 'a root' -o chestxray.png" in done.stderr
    again = typed("prepare", "chestxray", "--from", str(chest), "--data-root", "a root", "--json")
    report = json.loads(again.stdout)
    assert (report["made"], report["kept"], report["files"]) == (0, 3, 6)
    checked = json.loads(typed("check", "chestxray", "--data-root", "a root", "--json").stdout)
    assert checked[0]["fingerprint"] == report["fingerprint"]


def test_a_problem_is_exit_code_2_and_the_rest_is_made(typed: Type, tmp_path: Path) -> None:
    files = downloads.chest()
    name = "Lung Segmentation/CXR_png/CHNCXR_0004_0.png"
    files[name] = files[name][:50]
    downloads.unpacked(files, tmp_path / "from")
    done = typed("prepare", "chestxray", "--from", "from", "--data-root", "to")
    assert done.returncode == 2
    assert "CHNCXR_0004_0.png is not a readable image" in done.stderr
    assert "hint: replace those files, then type the same command: the rest is kept" in done.stderr
    assert len(list((tmp_path / "to").rglob("*.png"))) == 4


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["prepare", "chestxray", "--order", "a"], "--order decides nothing of chestxray"),
        (["prepare", "chestxray", "--as-published"], "--as-published decides nothing of chestxray"),
        (["prepare", "chestxray", "--hospitals", "all"], "unknown value of option 'hospitals'"),
        (["prepare", "suim", "--marks", "red"], "--marks decides nothing of suim"),
        (["prepare", "pothole", "--marks", "pink"], "unknown value of option 'marks'"),
        (["prepare", "chestx"], "unknown domain 'chestx'"),
        (["prepare", "chestxray", "--form", "x"], "--form decides nothing of chestxray"),
        (["prepare", "chestxray", "-f", "x"], "-f decides nothing of chestxray"),
        (["prepare", "chestxray", "isic"], "isic decides nothing of chestxray"),
        (["prepare", "chestxray", "--hospitals"], "--hospitals needs a value"),
        (
            ["prepare", "chestxray[hospitals=both]", "--hospitals", "both"],
            "option 'hospitals' of chestxray is set twice",
        ),
        (["prepare", "--hospitals", "both"], "no domain is named"),
        (["prepare", "chestxray", "--from", "nowhere"], "nowhere does not exist"),
        (["prepare", "isic", "--classes", "nowhere.csv"], "nowhere.csv does not exist"),
        (["prepare", "folder"], "there is no recipe for Own images with mask files"),
        (["fetch", "mini-chest"], "has no download"),
        (["fetch", "nothing"], "unknown domain 'nothing'"),
    ],
)
def test_mistakes_are_one_sentence(typed: Type, words: list[str], sentence: str) -> None:
    done = typed(*words, "--data-root", "root")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert sentence in done.stderr


def test_without_a_root_the_flag_is_named(typed: Type) -> None:
    for verb in ("fetch", "prepare"):
        done = typed(verb, "isic")
        assert done.returncode == 2
        assert done.stderr.splitlines()[-2:] == [
            "error: no data root is named",
            "  hint: --data-root DIR or CDFSS_DATA_ROOT",
        ]


def test_fetch_says_what_to_click_and_where_to_put_it(typed: Type) -> None:
    done = typed("fetch", "deepglobe", "--data-root", "my data")
    assert done.returncode == 2
    assert "licence: DeepGlobe and DigitalGlobe terms" in done.stderr
    first, second = done.stderr.splitlines()[-2:]
    assert "open https://www.kaggle.com/" in first
    assert second == (
        "    put the file into my data/downloads/deepglobe, then: "
        "cdfss-bench data prepare deepglobe --data-root 'my data'"
    )


def test_a_dry_run_of_fetch_shows_addresses_and_touches_nothing(
    typed: Type, tmp_path: Path
) -> None:
    done = typed("fetch", "isic", "pascal", "--dry-run", "--json", "--data-root", "root")
    pages = json.loads(done.stdout)
    assert [len(pages["isic"]), len(pages["pascal"])] == [3, 10]
    assert not (tmp_path / "root").exists()


def test_preparing_does_not_load_torch(tmp_path: Path, chest: Path) -> None:
    words = ("data", "prepare", "chestxray", "--from", str(chest), "--data-root", "to")
    loaded = loaded_by(PROGRAM, *words, tmp_path=tmp_path)
    assert "PIL" in loaded
    assert not loaded & {"torch", "pandas"}


def test_a_killed_process_is_resumed_to_the_same_tree(tmp_path: Path) -> None:
    source = downloads.unpacked(
        downloads.fss(classes=[f"class_{n}" for n in range(30)]), tmp_path / "from"
    )
    words = [PROGRAM, "data", "prepare", "fss1000", "--from", str(source), "--workers", "1"]
    with subprocess.Popen(
        [*words, "--data-root", str(tmp_path / "killed")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        journal = tmp_path / "killed" / "FSS-1000" / ".prepared.jsonl"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and (
            not journal.exists() or journal.read_bytes().count(b"\n") < 4
        ):
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
    for root in ("killed", "undisturbed"):
        subprocess.run(
            [*words, "--data-root", str(tmp_path / root)], capture_output=True, check=True
        )
    trees_of = [
        {
            path.relative_to(tmp_path / root).as_posix(): path.read_bytes()
            for path in (tmp_path / root).rglob("*.*g")
            if path.is_file()
        }
        for root in ("killed", "undisturbed")
    ]
    assert trees_of[0] == trees_of[1]
    assert len(trees_of[0]) == 600


def test_check_names_what_corrects_each_finding(typed: Type, tmp_path: Path) -> None:
    trees.write_isic(tmp_path)
    done = typed("check", "isic", "fss1000", "--data-root", str(tmp_path), "--full")
    assert done.returncode == 2
    assert (
        "hint: cdfss-bench data fetch fss1000 --data-root DIR, then: cdfss-bench data"
        in done.stdout
    )
    assert "hint: complete the class, or evaluate with fewer shots (-k 2)" in done.stdout
    found = json.loads(typed("check", "isic", "--data-root", str(tmp_path), "--json").stdout)
    assert all(finding["hint"] for finding in found[0]["findings"])


@pytest.mark.parametrize(
    "words",
    [
        ["deepglobe", "--tiles", "as-published"],
        ["deepglobe", "--tiles=as-published"],
        ["deepglobe", "--as-published"],
        ["--tiles", "as-published", "deepglobe"],
        ["deepglobe[tiles=as-published]"],
    ],
)
def test_options_of_a_recipe_are_those_of_its_card(words: list[str]) -> None:
    assert domain_and_options(words) == ("deepglobe", {"tiles": "as-published"})


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--side", "above"], "unknown value of option 'side'"),
        (["--defects", "repair"], "--defects decides nothing of mine"),
    ],
)
def test_a_card_that_declares_an_option_has_its_flag(
    typed: Type, tmp_path: Path, words: list[str], sentence: str
) -> None:
    """No line of the command line knows a domain."""
    card = (CHECKOUT / "datasets" / "domains" / "kvasir.yaml").read_text()
    options = "  options:\n    side: {default: left, choices: [left, right], help: Which side.}\n"
    (tmp_path / "plugin").mkdir()
    card = card.replace("cdfss_bench.datasets.prepare.kvasir:", "recipe:")
    (tmp_path / "plugin" / "mine.yaml").write_text(card.rstrip() + "\n" + options)
    (tmp_path / "plugin" / "recipe.py").write_text(
        "from cdfss_bench.datasets.prepare.kvasir import KvasirRecipe as KvasirRecipe\n"
    )
    where = ["--data-root", "root", "--plugin", "plugin"]
    done = typed("prepare", "mine", *words, *where)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert sentence in done.stderr
    if words[0] == "--defects":
        assert "mine takes --side" in done.stderr


@pytest.mark.parametrize("name", ["sheet.gif", "sheet.txt", "sheet", "."])
def test_a_contact_sheet_is_a_png_or_a_jpeg(typed: Type, name: str) -> None:
    done = typed("show", "mini-lesion", "-o", name)
    assert done.returncode == 2
    assert f"-o {name} is not a PNG or JPEG file" in done.stderr
