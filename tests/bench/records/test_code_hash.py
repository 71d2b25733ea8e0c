"""The code hash changes with what can change a count, and with nothing else."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import safetensors.torch
import torch

from cdfss_bench.bench.planning import hashes as planned
from cdfss_bench.bench.records import code_hash as identity
from cdfss_bench.bench.records.code_hash import (
    WITHOUT_NUMBERS,
    code_hash,
    package_folder,
    plugin_hash,
)
from cdfss_bench.datasets import open_domain
from cdfss_bench.methods import parse
from cdfss_bench.methods.weights.card import WeightsCard
from cdfss_bench.methods.weights.checkpoints import write_checkpoint

PROJECT = Path(identity.__file__).parents[2]


def put(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def test_methods_hash_their_own_dependencies() -> None:
    ssp, hsnet = (code_hash(f"cdfss_bench.methods.hosts.{name}") for name in ("ssp", "hsnet"))
    assert ssp != hsnet
    assert ssp == code_hash("cdfss_bench.methods.hosts.ssp")


def test_modules_without_numbers_exist() -> None:
    assert [name for name in WITHOUT_NUMBERS if find_spec(name) is None] == []


def test_a_module_without_source_is_no_hash() -> None:
    with pytest.raises(ValueError, match="no source"):
        code_hash("cdfss_bench.methods.nothing")


# -- What counts ---------------------------------------------------------------------------------

COUNTED = {
    "evaluator": (
        "bench/evaluation/evaluator.py",
        "bench/records/counts.py",
        "bench/evaluation/pixel_counts.py",
        "bench/statistics/metrics.py",
        "bench/statistics/bootstrap.py",
        "bench/evaluation/prediction.py",
        "bench/evaluation/episode_order.py",
        "bench/evaluation/feature_cache.py",
        "bench/runtime/memory.py",
        "bench/runtime/precision.py",
        "bench/api/canonical.py",
        "methods/core/method.py",
        "methods/registry/build.py",
        "methods/weights/checkpoints.py",
        "methods/weights/load.py",
        "methods/weights/resolve.py",
        "datasets/core/transforms.py",
        "datasets/core/domain.py",
    ),
    "method": ("methods/hosts/ssp.py", "methods/fast/ssp.py", "methods/plugins/lem.py",
               "methods/blocks/self_support.py", "methods/backbones/resnet.py"),
    "reader": ("datasets/domains/isic.py", "datasets/core/file_domain.py",
               "datasets/core/transforms.py", "datasets/core/decode_cache.py",
               "datasets/core/domain.py", "datasets/core/manifest.py"),
}  # fmt: skip
IGNORED = ("bench/reporting/leaderboard_table.py", "bench/evaluation/runner.py",
           "bench/reporting/html/document.py", "bench/records/schema.py", "bench/cli/run.py",
           "bench/api/errors.py", "methods/hosts/hsnet.py", "methods/fast/hsnet.py",
           "datasets/domains/deepglobe.py",
           "datasets/check/report.py", "datasets/core/samplers.py")  # fmt: skip


def forget() -> None:
    for cached in (planned.evaluator_code, planned._built_in_code):  # pyright: ignore[reportPrivateUsage]
        cached.cache_clear()


def hashes() -> dict[str, str]:
    forget()
    return {
        "evaluator": planned.evaluator_code(),
        "method": planned.method_code(parse("ssp+lem"), "resnet50"),
        "reader": planned.reader_code(open_domain("isic", root=Path())),
    }


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the project's sources, which the hashes are taken of."""
    for name in ("bench", "methods", "datasets"):
        shutil.copytree(
            PROJECT / name, tmp_path / name, ignore=lambda folder, names: [
                n for n in names if not ((Path(folder) / n).is_dir() or n.endswith(".py"))
            ],
        )  # fmt: skip
    folders = {"cdfss_bench": "bench/api", "cdfss_bench.bench": "bench",
               "cdfss_bench.methods": "methods", "cdfss_bench.datasets": "datasets"}  # fmt: skip

    def found(name: str) -> Path | None:
        for package in sorted(folders, key=len, reverse=True):
            if name == package or name.startswith(f"{package}."):
                inner = name.removeprefix(package).split(".")[1:]
                return identity._file(tmp_path / folders[package], inner)  # pyright: ignore[reportPrivateUsage]
        return None

    monkeypatch.setattr(identity, "_of_project", found)
    yield tmp_path
    monkeypatch.undo()
    forget()


def test_everything_that_can_change_a_count_is_in_a_hash_and_nothing_else(copied: Path) -> None:
    before = hashes()
    changed: dict[str, set[str]] = {}
    for name in {*IGNORED, *(name for names in COUNTED.values() for name in names)}:
        path = copied / name
        source = path.read_text(encoding="utf-8")
        path.write_text(source + "\nMENDED = 1\n", encoding="utf-8")
        after = hashes()
        changed[name] = {key for key, value in after.items() if value != before[key]}
        path.write_text(source, encoding="utf-8")
    assert hashes() == before
    for key, names in COUNTED.items():
        assert [name for name in names if key not in changed[name]] == []
    assert {name for name in IGNORED if changed[name]} == set()


def test_a_comment_in_the_evaluator_is_no_change(copied: Path) -> None:
    before = hashes()
    path = copied / "bench" / "evaluation" / "evaluator.py"
    path.write_text(f"# A comment.\n{path.read_text(encoding='utf-8')}", encoding="utf-8")
    assert hashes() == before


def test_the_card_of_a_method_counts_where_it_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    before = planned.method_code(parse("ssp"), "resnet50")
    catalog = planned.METHODS
    card = catalog.card("ssp")
    prose = card.model_copy(update={"summary": "Another sentence."})
    monkeypatch.setitem(catalog._cards, "ssp", prose)  # pyright: ignore[reportPrivateUsage]
    assert planned.method_code(parse("ssp"), "resnet50") == before
    wider = card.model_copy(update={"output_stride": 32})
    monkeypatch.setitem(catalog._cards, "ssp", wider)  # pyright: ignore[reportPrivateUsage]
    assert planned.method_code(parse("ssp"), "resnet50") != before


def test_the_backbone_counts() -> None:
    one, other = (planned.method_code(parse("ssp"), name) for name in ("resnet50", "vgg16"))
    assert one != other


def test_the_hashes_import_no_torch() -> None:
    program = (
        "import sys; from cdfss_bench.bench.planning import hashes as planned;"
        "from cdfss_bench.methods import parse;"
        "planned.evaluator_code(); planned.method_code(parse('loec'), 'resnet50');"
        "print('torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert said.stdout.split() == [b"False"]


# -- Files that move -----------------------------------------------------------------------------

PACKAGE = {
    "__init__.py": "",
    "net.py": "from .parts.scale import SCALE\nfrom .parts import shift\nfrom . import names\n"
    "import json\n\ndef f(x):\n    return SCALE * x + shift.SHIFT, names, json\n",
    "names.py": "NAME = 'net'\n",
    "parts/__init__.py": "",
    "parts/scale.py": "from ..names import NAME\n\nSCALE = 2 if NAME else 3\n",
    "parts/shift.py": "SHIFT = 1\n",
}
MOVED = {
    "__init__.py": "",
    "models/__init__.py": '"""Where the networks are."""\n',
    "models/net.py": "import json\nfrom ..core import names\nfrom ..core import shift\n"
    "from ..core.scale import SCALE\n\n"
    "def f(x):\n    return SCALE * x + shift.SHIFT, names, json\n",
    "core/__init__.py": "",
    "core/names.py": "NAME = 'net'\n",
    "core/scale.py": "from .names import NAME\n\nSCALE = 2 if NAME else 3\n",
    "core/shift.py": "SHIFT = 1\n",
}


def test_moved_files_with_imports_that_follow_have_the_same_hash(tmp_path: Path) -> None:
    before = plugin_hash(put(tmp_path / "a" / "mine", PACKAGE), "mine")
    assert plugin_hash(put(tmp_path / "b" / "mine", MOVED), "mine") == before


@pytest.mark.parametrize("name", ["core/scale.py", "core/shift.py", "core/names.py"])
def test_moved_files_with_a_changed_constant_have_another(name: str, tmp_path: Path) -> None:
    before = plugin_hash(put(tmp_path / "a" / "mine", PACKAGE), "mine")
    changed = {**MOVED, name: MOVED[name].replace("1", "4").replace("2", "4").replace("net", "x")}
    assert plugin_hash(put(tmp_path / "b" / "mine", changed), "mine") != before


def test_names_that_come_from_the_other_of_two_modules_are_a_change(tmp_path: Path) -> None:
    files = {"net.py": "from a import K\n\nk = K\n", "a.py": "K = 1\n", "b.py": "K = 2\n"}
    before = plugin_hash(put(tmp_path, files))
    (tmp_path / "net.py").write_text("from b import K\n\nk = K\n")
    assert plugin_hash(tmp_path) != before


def test_a_name_is_followed_to_the_module_that_defines_it(copied: Path) -> None:
    short = put(copied / "plug", {"net.py": "from cdfss_bench.datasets import Domain as D\n"})
    full = {"net.py": "from cdfss_bench.datasets.core.domain import Domain as D\n"}
    before = plugin_hash(short)
    assert plugin_hash(put(copied / "other", full)) == before
    path = copied / "datasets" / "core" / "domain.py"
    path.write_text(path.read_text(encoding="utf-8") + "\nMENDED = 1\n", encoding="utf-8")
    assert plugin_hash(short) != before


# -- Plug-ins ------------------------------------------------------------------------------------

PLUGIN = {
    "mine.py": "import torch\n\nSCALE = 1\n",
    "mine.yaml": "title: Mine\nclass: mine:Mine\noutput_stride: 8\n",
    "helper.py": "SIGN = 1\n",
    "inner/deep.py": "SIGN = 1\n",
    "table.json": '{"scale": 1}\n',
    "inner/weights.pt": "bytes\n",
    "test_mine.py": "def test_it(): pass\n",
}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mine.py", "import torch\n\nSCALE = 2\n"),
        ("mine.yaml", "title: Mine\nclass: mine:Mine\noutput_stride: 32\n"),
        ("helper.py", "SIGN = -1\n"),
        ("inner/deep.py", "SIGN = -1\n"),
        ("inner/new.py", "SIGN = -1\n"),
        ("table.json", '{"scale": 2}\n'),
        ("inner/weights.pt", "other\n"),
        ("mine.py", "import torch\nfrom cdfss_bench.methods.hosts.ssp import SSP\nSCALE = 1\n"),
    ],
)
def test_every_file_of_a_plug_in_counts(name: str, text: str, tmp_path: Path) -> None:
    before = plugin_hash(put(tmp_path, PLUGIN))
    assert plugin_hash(put(tmp_path, {name: text})) != before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mine.py", "# A comment.\nimport torch\nSCALE = (1)\n"),
        ("mine.yaml", "# A comment.\nclass: mine:Mine\noutput_stride: 8\ntitle: Ours\n"),
        ("__pycache__/mine.cpython-311.pyc", "compiled"),
        (".git/config", "hidden"),
        ("test_mine.py", "def test_it(): assert True\n"),
        ("tests/test_more.py", "def test_it(): pass\n"),
        ("results/runs/isic-1shot/mine/0/run.json", "{}"),
        ("README.md", "Prose.\n"),
        ("picture.png", "a panel"),
        (".venv/pyvenv.cfg", ""),
        ("env/pyvenv.cfg", ""),
        ("env/lib/other.py", "X = 1\n"),
    ],
)
def test_tests_caches_prose_and_results_do_not_count(name: str, text: str, tmp_path: Path) -> None:
    before = plugin_hash(put(tmp_path, {**PLUGIN, "env/pyvenv.cfg": ""}))
    assert plugin_hash(put(tmp_path, {name: text})) == before


def test_weights_that_were_trained_into_the_folder_do_not_count(tmp_path: Path) -> None:
    before = plugin_hash(put(tmp_path, PLUGIN))
    card = WeightsCard(trained_as="mine", backbone="resnet-mini", selection="last")
    tensors = {f"layer{i}.weight": torch.zeros(1) for i in range(2000)}
    write_checkpoint(tmp_path / "weights" / "mine.safetensors", tensors, card)
    written = ("mine.log.jsonl", "mine.curve.jsonl", "mine.training", "mine.tensorboard/events")
    put(tmp_path, {f"weights/{name}": "{}\n" for name in (*written, "mine.wandb/id")})
    assert plugin_hash(tmp_path) == before
    safetensors.torch.save_file(tensors, tmp_path / "theirs.safetensors")
    assert plugin_hash(tmp_path) != before


def test_what_run_writes_into_the_folder_does_not_count(tmp_path: Path) -> None:
    before = plugin_hash(put(tmp_path, PLUGIN))
    name = "ab" + 62 * "0"
    put(tmp_path, {"masks/index.json": '{"format": 1, "manifest_sha256": "0"}'})
    put(tmp_path, {f"kept/ab/{name}.safetensors": "encoder outputs"})
    assert plugin_hash(tmp_path) == before
    put(tmp_path, {"masks/index.json": '{"0": "background"}'})
    assert plugin_hash(tmp_path) != before


def test_a_module_that_is_imported_by_name_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = "import importlib\n\nhelper = importlib.import_module('named_helper')\n"
    plugin = put(tmp_path / "plug", {"mine.py": named})
    elsewhere = put(tmp_path / "lib", {"named_helper.py": "SIGN = 1\n"})
    monkeypatch.syspath_prepend(elsewhere)
    before = plugin_hash(plugin)
    put(elsewhere, {"named_helper.py": "SIGN = -1\n"})
    assert plugin_hash(plugin) != before


def test_a_test_file_that_a_method_imports_counts(tmp_path: Path) -> None:
    files = {"mine.py": "import test_time\n", "test_time.py": "STEPS = 1\n"}
    before = plugin_hash(put(tmp_path, files))
    assert plugin_hash(put(tmp_path, {"test_time.py": "STEPS = 2\n"})) != before


def test_a_file_that_cannot_be_parsed_counts_by_its_bytes(tmp_path: Path) -> None:
    before = plugin_hash(put(tmp_path, {"mine.py": "X = 1\n", "old.py": "print 'one'\n"}))
    assert plugin_hash(put(tmp_path, {"old.py": "print 'two'\n"})) != before


def test_where_a_plug_in_lies_does_not_count(tmp_path: Path) -> None:
    assert plugin_hash(put(tmp_path / "a", PLUGIN)) == plugin_hash(put(tmp_path / "b", PLUGIN))


@pytest.mark.parametrize("module", ["shared_helper.py", "shared_helper/__init__.py"])
def test_modules_from_elsewhere_on_the_path_count(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = put(tmp_path / "plug", {"mine.py": "from shared_helper import SIGN\n"})
    elsewhere = put(tmp_path / "lib", {module: "from json import dumps\nSIGN = 1\n"})
    monkeypatch.syspath_prepend(elsewhere)
    identity._elsewhere.cache_clear()  # pyright: ignore[reportPrivateUsage]
    before = plugin_hash(plugin)
    put(elsewhere, {module: "from json import dumps\nSIGN = -1\n"})
    assert plugin_hash(plugin) != before
    identity._elsewhere.cache_clear()  # pyright: ignore[reportPrivateUsage]


def test_installed_packages_count_by_name_and_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = put(tmp_path / "site-packages", {
        "other_net/__init__.py": "X = 1\n",
        "other_net-1.0.dist-info/METADATA": "Name: other_net\nVersion: 1.0\n",
    })  # fmt: skip
    plugin = put(tmp_path / "plug", {"mine.py": "import other_net\n"})
    monkeypatch.syspath_prepend(site)

    def found() -> str:
        for cached in (identity._elsewhere, identity._distribution):  # pyright: ignore[reportPrivateUsage]
            cached.cache_clear()
        return plugin_hash(plugin)

    before = found()
    put(site, {"other_net/__init__.py": "X = 2\n"})
    assert found() == before
    (site / "other_net-1.0.dist-info").rename(site / "other_net-2.0.dist-info")
    put(site, {"other_net-2.0.dist-info/METADATA": "Name: other_net\nVersion: 2.0\n"})
    assert found() != before


def test_the_package_of_an_entry_point_counts_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, {
        "whole_pack/__init__.py": "",
        "whole_pack/cards/__init__.py": "",
        "whole_pack/cards/mine.py": "from ..core import K\nfrom whole_pack.core import L\n",
        "whole_pack/core.py": "K = L = 1\n",
        "whole_pack/beside.py": "Y = 1\n",
    })  # fmt: skip
    monkeypatch.syspath_prepend(tmp_path)
    folder, name = package_folder("whole_pack.cards") or (Path(), "")
    assert (folder, name) == (tmp_path / "whole_pack", "whole_pack")
    before = plugin_hash(folder, name)
    put(tmp_path, {"whole_pack/beside.py": "Y = 2\n"})
    assert plugin_hash(folder, name) != before
    assert "whole_pack" not in sys.modules
