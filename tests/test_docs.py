"""Every command printed in the documentation is executed here, on small data."""

import doctest
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest

import cdfss_bench

from .conftest import CHECKOUT
from .support import downloads, medical, trees
from .support.program import program

PAGES = sorted(
    path
    for path in (*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").glob("**/*.md"))
    if path.name != "CHANGELOG.md"
)
BY_CI = (".ci/run", "python3 -m venv")
"""Lines that set up an environment: `.ci/run` and the `install` tests execute those."""

OF_THE_BOARD = re.compile(r"cdfss-bench (report|compare|verify) .*--results results/mini\b")
"""Commands that only read the committed records."""

NAMED = re.compile(r"(?<![\w/.-])((?:\.ci|bench|methods|datasets|tests|docs|results)/[\w./-]*\w)")
"""A path of the repository in running text."""


def fenced(page: Path, language: str) -> Iterator[str]:
    yield from re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


def commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for block in fenced(page, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                command = line.partition("  #")[0].strip()
                if command and not command.startswith(("#", *BY_CI)):
                    yield page.name, command


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mapping[str, str]]:
    """A folder with DATA and LISTS, and an environment in which everything is small."""
    folder = tmp_path_factory.mktemp("docs")
    data = folder / "DATA"
    trees.write_fss(data)
    stems = [f"{scene}_sat_00" for scene in range(7)]
    trees.write_deepglobe(data, dict.fromkeys(range(1, 7), stems))
    trees.write_isic(data, {number: range(number, 30, 3) for number in (1, 2, 3)})
    trees.write_chest(data, pairs=8)
    trees.write_pascal(data, lists="../LISTS/pascal")
    write_own(folder, data)
    (folder / "segment.py").write_text(outside_program())
    (folder / "plan.yaml").write_text(next(fenced(CHECKOUT / "README.md", "yaml")))
    write_downloads(folder / "DOWNLOADS")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "CDFSS_CACHE": str(folder / "cache"),
        "CDFSS_WEIGHTS": str(folder / "weights"),
        "CDFSS_EPISODES": "1",
        "CDFSS_SHOTS": "1",
        "CDFSS_TRAIN_EPISODES": "4",
        "CDFSS_BACKBONE": "resnet-mini",
        "CDFSS_DEVICE": "cpu",
        # Downloads must fail at once instead of fetching a hundred megabytes.
        "https_proxy": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }
    return folder, environment


def write_own(folder: Path, data: Path) -> None:
    """What `own-dataset.md` speaks of: mugs in class folders, COCO-style lists, a card."""
    trees.write_folder(data / "mugs", ("red mug", "blue mug"))
    trees.write_flat(data / "desk")
    for key in range(3):
        medical.save_volume(data / f"liver/imagesTr/{key}.nii.gz", medical.scan(key))
        medical.save_volume(data / f"liver/labelsTr/{key}.nii.gz", medical.labels(key))
        trees.save(data / f"plates/p{key}/image.jpg", trees.photo(key))
        trees.save(data / f"plates/p{key}/mask.png", trees.blob(key))
    trees.write_coco(data)
    trees.write_coco(data, annotations="labels/val.json", images="photos")
    page = (CHECKOUT / "docs" / "own-dataset.md").read_text()
    for name in ("mugs.yaml", "reading.py"):
        body = page.partition(f"`plugin/{name}`:")[2].partition("```")[2].partition("```")[0]
        (folder / "plugin").mkdir(exist_ok=True)
        (folder / "plugin" / name).write_text(body.partition("\n")[2])


def outside_program() -> str:
    """The program of `external.md`, which its commands run."""
    (program,) = fenced(CHECKOUT / "docs" / "external.md", "py")
    return program


def write_downloads(folder: Path) -> None:
    """What `data.md` speaks of: trees like the official downloads."""
    downloads.zipped(downloads.isic_images(), folder / "isic" / "images.zip")
    downloads.zipped(downloads.isic_masks(), folder / "isic" / "masks.zip")
    (folder / "isic_class_id.csv").write_bytes(downloads.class_table())
    downloads.zipped(downloads.chest(twice=True), folder / "chest.zip")
    downloads.zipped(downloads.fss(), folder / "fewshot_data.zip")
    downloads.tarred(downloads.voc(), folder / "voc" / "VOCtrainval_11-May-2012.tar")
    downloads.tarred(downloads.sbd(), folder / "voc" / "benchmark.tgz")
    downloads.unpacked(downloads.fold_lists(folder / "scratch"), folder / "voc")
    downloads.zipped(downloads.nucleus(folder / "scratch"), folder / "stage1_train.zip")
    downloads.zipped(downloads.weedmap(folder / "scratch"), folder / "RedEdge.zip")
    downloads.zipped(downloads.isaid(), folder / "iSAID_patches.zip")
    trees.write_isaid_lists(folder / "isaid_lists")
    downloads.zipped(downloads.potholes(), folder / "pothole-mix.zip")


@pytest.mark.parametrize(("page", "command"), list(commands()))
def test_command(page: str, command: str, place: tuple[Path, Mapping[str, str]]) -> None:
    folder, environment = place
    if OF_THE_BOARD.match(command):
        folder = CHECKOUT
        environment = {k: v for k, v in environment.items() if not k.startswith("CDFSS_")}
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if "fetch" in command and "could not be downloaded" in done.stderr:
        assert done.returncode == 2
        return
    refused_only = done.returncode == 2 and "refused: " in done.stderr
    assert done.returncode == 0 or refused_only, f"{page}: {command}\n{done.stderr}"
    assert "Traceback" not in done.stderr


def test_the_program_outside_is_short_and_imports_nothing_of_ours() -> None:
    program = outside_program()
    imported = set(re.findall(r"^(?:import|from) (\w+)", program, re.M))
    assert imported == {"json", "sys", "pathlib", "numpy", "PIL"}
    assert len(program.splitlines()) <= 32


def test_the_readme_shows_what_its_first_command_prints(tmp_path: Path) -> None:
    words = ("run", "--method", "loec", "--shots", "5", "--device", "cpu")
    done = program(*words, cwd=tmp_path, check=True)
    page = (CHECKOUT / "README.md").read_text()
    shown = page.partition("<!-- table -->")[2].partition("<!-- end -->")[0]

    def scores(table: str) -> list[float]:
        line = next(line for line in table.splitlines() if line.strip().startswith("loec"))
        return [float(word) for word in line.split() if re.fullmatch(r"\d+\.\d\d", word)][:5]

    # Another processor may round a pixel or two in a million differently.
    assert scores(shown) == pytest.approx(scores(done.stdout), abs=0.05)
    assert len(scores(shown)) == 5


def test_the_readme_shows_the_board_of_the_records_that_it_names() -> None:
    page = (CHECKOUT / "README.md").read_text()
    before, _, after = page.partition("<!-- board -->")
    command = re.findall(r"`cdfss-bench (report --results [^`]+)`", before)[-1]
    shown = after.partition("```text\n")[2].partition("\n```")[0]
    wide = {**os.environ, "COLUMNS": "80"}
    done = program(*command.split(), cwd=CHECKOUT, env=wide, check=True)
    printed = "\n".join(line.rstrip() for line in done.stdout.splitlines())
    top, _, below = shown.partition("\n…\n")
    assert printed.startswith(top)
    assert below in printed
    assert sum(bool(re.search(r"\d\d\.\d\d", line)) for line in top.splitlines()) >= 3
    assert len(below.splitlines()) >= 3


def test_the_figures_of_reproduced_are_those_of_the_records_and_of_the_papers() -> None:
    page = (CHECKOUT / "docs" / "reproduced.md").read_text()
    targets = ["fss1000", "deepglobe", "isic", "chestxray"]
    # pandas' own types are too wide for what is asked of tables here.
    cells = cast("Any", cdfss_bench.read_results(CHECKOUT / "results" / "sample"))
    cells = cells[(cells["shots"] == 1) & (cells["backbone"] != "mobilenet_v2")]
    ours = cells.groupby(["method", "domain"])["miou"].mean()
    papers = cast("Any", pd.read_csv(CHECKOUT / "results" / "published.csv"))
    for name in ("ssp (not source-trained)", "loec (not source-trained)", "prototype"):
        expected = [f"{ours[name, target]:.2f}" for target in targets]
        assert f"| `{name}` | {' | '.join(expected)} |" in page
    for name in ("SSP", "LoEC"):
        (line,) = re.findall(rf"^\| published {name}, [^|]+\| (.*) \|$", page, re.M)
        figures = [float(word) for word in line.split(" | ")]
        rows = papers[(papers["method"] == name) & (papers["shots"] == 1)][targets]
        assert figures in rows.to_numpy().tolist()
    table = page.partition("## On fragments")[0]
    means = re.findall(r"^\| `[\w-]+` \| (\d\d\.\d+)", table, re.M)
    assert len(means) >= 12
    for mean in means:
        assert float(mean) in papers[["mean", "isic"]].to_numpy()


def test_the_site_builds_and_every_link_holds(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    reference = (tmp_path / "site" / "api.html").read_text()
    for name in cdfss_bench.__all__:
        assert name.startswith("_") or f'id="cdfss_bench.{name}"' in reference
    for words in ("support images per episode", "Opens a domain by name", "Rows of finished"):
        assert words in reference


def test_the_notebook_runs(tmp_path: Path) -> None:
    book = json.loads((CHECKOUT / "docs" / "quickstart.ipynb").read_text())
    code = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    assert len(code) >= 5
    script = "\n\n".join(code)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for block in fenced(page, "python"):
        exec(compile(block, str(page), "exec"), {"__name__": "example"})


@pytest.mark.parametrize("name", [n for n in cdfss_bench.__all__ if not n.startswith("_")])
def test_every_public_function_shows_an_example_that_runs(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CHECKOUT)
    (example,) = doctest.DocTestFinder(recurse=False).find(getattr(cdfss_bench, name), name)
    assert example.examples
    said: list[str] = []
    failed, _ = doctest.DocTestRunner().run(example, out=said.append)
    assert failed == 0, "".join(said)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_and_folder_that_a_page_names_exists(page: Path) -> None:
    for named in NAMED.findall(page.read_text()):
        # `results/runs` is written by `run`; NAME stands for any name.
        if named == "results/runs" or "NAME" in named:
            continue
        assert (CHECKOUT / named).exists(), f"{page.name} names {named}"


def test_the_map_of_packages_is_complete() -> None:
    page = (CHECKOUT / "CONTRIBUTING.md").read_text()
    for folder in ("bench", "methods", "datasets"):
        table = page.partition(f"| `{folder}/` | |")[2].partition("\n\n")[0]
        named = {
            name
            for line in table.splitlines()
            if line.startswith("| `")
            for name in re.findall(r"`([a-z]+)`", line.split("|")[1])
        }
        # A folder of an older checkout may still hold compiled files.
        files = [path for path in (CHECKOUT / folder).glob("*/**/*") if path.suffix != ".pyc"]
        here = {path.relative_to(CHECKOUT / folder).parts[0] for path in files if path.is_file()}
        assert named == here, folder


def test_every_page_with_links_points_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
