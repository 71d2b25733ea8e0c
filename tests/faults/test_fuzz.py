"""Whatever is fed in, a right result or a clean error comes out: no traceback, no hang."""

import contextlib
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from cdfss_bench.bench.cli import app
from cdfss_bench.bench.comparison.gathering import leaderboards
from cdfss_bench.bench.comparison.verify import verify
from cdfss_bench.bench.planning.plan_files import read_plan
from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.bench.records.results import run_results
from cdfss_bench.bench.records.schema import read_record
from cdfss_bench.bench.reporting.html.document import as_html
from cdfss_bench.canonical import digest
from cdfss_bench.cards import validated
from cdfss_bench.datasets import DOMAINS, Manifest, open_domain
from cdfss_bench.datasets.core.card import DomainCard
from cdfss_bench.errors import UserError
from cdfss_bench.methods.registry.card import MethodCard
from cdfss_bench.methods.registry.name_grammar import METHODS, parse
from cdfss_bench.plain_yaml import read_yaml

from ..support import trees
from ..support.records import record

pytestmark = [
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
    pytest.mark.filterwarnings("ignore:.*"),
]


SECONDS = 20


def cases(number: int, long: int) -> list[Any]:
    """So many in CI, so many in the long run."""
    return [number, pytest.param(long, marks=pytest.mark.long)]


def fuzz(number: int, strategy: st.SearchStrategy[Any], check: Callable[[Any], object]) -> None:
    """Asks `check` so often; what it raises beside a `UserError` is shrunk and shown."""
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]

    @settings(
        max_examples=number, deadline=None, database=None, suppress_health_check=quiet,
        derandomize=True,
    )  # fmt: skip
    @given(strategy)
    def ask(value: Any) -> None:
        began = time.process_time()
        with contextlib.suppress(UserError):
            check(value)
        # Of the processor and not of the wall: the machine may be busy with something else.
        assert time.process_time() - began < SECONDS

    ask()


words = st.text(max_size=12) | st.sampled_from(
    [
        "ssp",
        "mini-lesion",
        "isic",
        "loec",
        "../../etc/passwd",
        "<img src=x>",
        "\x1b[2J",
        "nan",
        "∞",
        "",
    ]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | words
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4)
)


def paths_in(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of everything inside a tree of lists and mappings."""
    yield here
    pairs: Any = ()
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs:
        yield from paths_in(inner, (*here, key))


def changed(whole: Any, path: tuple[Any, ...], to: Any) -> Any:
    """A tree with one place changed."""
    if not path:
        return to
    copy: Any = dict(whole) if isinstance(whole, dict) else list(whole)
    copy[path[0]] = changed(whole[path[0]], path[1:], to)
    return copy


def mutations(whole: Any) -> st.SearchStrategy[Any]:
    """Trees that differ from a good one in a place or two, or have a key too many."""
    places = st.sampled_from(list(paths_in(whole)))
    once = st.tuples(places, values).map(lambda change: changed(whole, *change))
    more = st.tuples(words, values).map(lambda pair: {**whole, pair[0]: pair[1]})
    return once | more


def mappings(whole: Any) -> st.SearchStrategy[Any]:
    """Mutations of what a YAML file may hold; its reader lets nothing but mappings through."""
    return mutations(whole).filter(lambda value: isinstance(value, dict))


def resealed(value: Any, key: str) -> Any:
    """A tree under the hash that belongs to it, where it has one (NaN has no spelling)."""
    if not isinstance(value, dict):
        return value
    body = {name: inner for name, inner in value.items() if name != key}
    with contextlib.suppress(ValueError):
        return {**body, key: digest(body)}
    return value


METHOD_CARDS = [read_yaml(METHODS.origin(name).path) for name in ("ssp", "lcm", "dra", "prototype")]
DOMAIN_CARDS = [read_yaml(DOMAINS.origin(name).path) for name in ("isic", "mini-lesion", "pascal")]


@pytest.mark.parametrize("number", cases(40, 2500))
@pytest.mark.parametrize(
    ("cards", "schema"), [(METHOD_CARDS, MethodCard), (DOMAIN_CARDS, DomainCard)]
)
def test_cards(number: int, cards: list[Any], schema: Any) -> None:
    fuzz(
        number,
        st.sampled_from(cards).flatmap(mappings),
        lambda card: validated(schema, card, Path("card.yaml")),
    )


@pytest.mark.parametrize("number", cases(60, 2500))
def test_bytes_that_call_themselves_yaml(number: int, tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        read_plan(path)

    text = st.text(max_size=80).map(str.encode)
    trees_ = values.map(lambda value: yaml.safe_dump(value, allow_unicode=True).encode("utf-8"))
    fuzz(number, st.binary(max_size=80) | text | trees_, read)


PLAN = {
    "methods": ["ssp"],
    "domains": ["mini-lesion"],
    "shots": [1, 5],
    "seeds": [0],
    "episodes": 3,
}


@pytest.mark.parametrize("number", cases(60, 2500))
def test_plans(number: int) -> None:
    fuzz(number, mappings(PLAN), lambda plan: validated(Selection, plan, Path("plan.yaml")))


@pytest.mark.parametrize("number", cases(60, 2500))
def test_method_names(number: int) -> None:
    parts = st.sampled_from([*METHODS.names(), "+", "[", "]", "=", ",", "@", "k", "1", "-1", "nan"])
    names = st.lists(parts | st.text(max_size=3), max_size=8).map("".join)
    fuzz(number, names, lambda name: str(parse(str(parse(name)))))


@pytest.mark.parametrize("number", cases(60, 2500))
def test_manifests(number: int, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    open_domain("mini-lesion").episodes(2, length=3).save(path)
    whole = json.loads(path.read_text())

    def read(value: Any) -> None:
        path.write_text(json.dumps(value))
        assert Manifest.load(path).sha256 == value["sha256"]

    plain = mutations(whole)
    fuzz(number, plain | plain.map(lambda value: resealed(value, "sha256")), read)


@pytest.mark.parametrize("number", cases(60, 2500))
def test_records(number: int, tmp_path: Path) -> None:
    """A record that can be read can be shown and verified, sealed or not."""
    folder = tmp_path / "runs" / "isic-1shot" / "ssp" / "0123456789abcdef"
    folder.mkdir(parents=True)
    path = folder / "run.json"
    record().save(path)
    whole = json.loads(path.read_text())

    def read(value: Any) -> None:
        path.write_text(json.dumps(value))
        verify(folder)
        read_record(path)
        found = run_results(tmp_path)
        leaderboards(answer.record for answer in found)
        assert "<img src=x" not in as_html(found, None)

    plain = mutations(whole)
    fuzz(number, plain | plain.map(lambda value: resealed(value, "seal")), read)


def picture(width: int, height: int, mode: str, form: str) -> bytes:
    rng = np.random.RandomState(width * 31 + height)
    shape = (height, width) if mode in ("L", "P", "1") else (height, width, len(mode))
    pixels = rng.randint(0, 256, shape).astype(np.uint8)
    out = io.BytesIO()
    image = (
        Image.fromarray(pixels, "L").convert(mode) if len(shape) == 2 else Image.fromarray(pixels)
    )
    image.save(out, form)
    return out.getvalue()


pictures = st.builds(
    picture,
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(["L", "P", "1", "RGB", "RGBA"]),
    st.sampled_from(["PNG", "BMP", "TIFF", "GIF"]),
)


@st.composite
def torn(draw: st.DrawFn) -> bytes:
    """Pictures with some bytes changed, cut, or none."""
    data = bytearray(draw(pictures))
    for _ in range(draw(st.integers(0, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)) | st.just(len(data)))])


@pytest.mark.parametrize("number", cases(60, 2500))
@pytest.mark.parametrize("role", ["image", "mask"])
def test_images_and_masks(number: int, role: str, tmp_path: Path) -> None:
    trees.write_chest(tmp_path, pairs=4)
    domain = open_domain("chestxray", tmp_path, cache=None)
    item = domain.classes[0].items[0]
    path = tmp_path / (item.image if role == "image" else item.mask)
    side = domain.card.image_size

    def read(data: bytes) -> None:
        path.write_bytes(data)
        if role == "image":
            assert domain.image(item).shape == (side, side, 3)
        else:
            mask = domain.truth(item)
            assert mask.shape == (side, side)
            assert set(np.unique(mask)) <= {0, 1}

    fuzz(number, torn() | st.binary(max_size=60), read)


VERBS = [
    ["run", "--dry-run"], ["report"], ["compare"], ["verify"], ["list", "methods"],
    ["list", "domains"], ["list", "runs"], ["data", "check"], ["weights", "list"],
]  # fmt: skip
FLAGS = [
    "-m", "-d", "-k", "--seed", "--protocol", "--suite", "--episodes", "--data-root", "--backbone",
    "--weights", "--json", "--results", "--format", "--device", "--jobs", "--timeout", "--against",
    "-h", "--plugin", "--executor", "--batch", "--memory", "--threads", "--full",
]  # fmt: skip
ARGUMENTS = [
    "ssp", "loec", "prototype", "mini-lesion", "mini-chest", "isic", "0..2", "0..99999999999", "-1",
    "1", "5", "strict", "patnet", "mini", "cdfss", ".", "/", "/dev/null", "nowhere", "resnet-mini",
    "json", "html", "ray", "local", "1e9", "nan", "inf", "\x00", "💥", "a" * 300, "[red]", "%s", "",
]  # fmt: skip


@pytest.mark.parametrize("number", cases(60, 2500))
def test_command_lines(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading verbs only: what would compute is asked for a dry run."""
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()

    def type_in(words: list[str]) -> None:
        done = runner.invoke(app, words)
        if isinstance(done.exception, UserError):
            raise done.exception
        assert done.exception is None or isinstance(done.exception, SystemExit), (
            words,
            done.exception,
        )
        assert done.exit_code in (0, 1, 2)
        assert "Traceback" not in done.output

    verb = st.sampled_from(VERBS)
    rest = st.lists(st.sampled_from([*FLAGS, *ARGUMENTS]) | st.text(max_size=6), max_size=7)
    fuzz(number, st.tuples(verb, rest).map(lambda pair: [*pair[0], *pair[1]]), type_in)
