"""What every domain offers: episodes, tensors, titles, and sentences where it cannot."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cdfss_bench.bench.planning.episode_set import EpisodeSet
from cdfss_bench.datasets import DOMAINS, Domain, Episode, Manifest, mini, open_domain
from cdfss_bench.datasets.check.report import check_domain
from cdfss_bench.datasets.core.samplers import SAMPLER_VERSION, is_held_out
from cdfss_bench.datasets.core.transforms import normalised
from cdfss_bench.errors import DataError

from ...support import trees

PUBLISHED = tuple(trees.WRITERS)
MINI = tuple(mini.DOMAINS)
WITH_VOID = ("pascal", "mini-source")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All five published domains, every PASCAL class twice or more; read only."""
    root = tmp_path_factory.mktemp("tree")
    for name, write in trees.WRITERS.items():
        if name != "pascal":
            write(root)
    trees.write_pascal(root, {f"2007_{n:06d}": (1 + n % 3, 6 + n % 2) for n in range(12)})
    return root


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decode cache for the tests of this file."""
    return tmp_path_factory.mktemp("kept")


def opened(name: str, tree: Path, kept: Path | None = None, **options: str | float) -> Domain:
    return open_domain(name, None if name in MINI else tree, options, cache=kept)


def first_queries(manifest: Manifest, count: int) -> list[tuple[int, str]]:
    return [(episode.class_id, episode.query) for episode in manifest[:count]]


# -- tensors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*PUBLISHED, *MINI])
def test_the_tensors_are_those_of_the_named_files_in_the_published_form(
    tree: Path, kept: Path, name: str
) -> None:
    domain = opened(name, tree, kept)
    episode = domain.episodes(3, length=1)[0]
    loaded = domain.load(episode)
    side = 128 if name in MINI else 400
    assert loaded.query_image.shape == (3, side, side)
    for image in (loaded.query_image, loaded.support_images):
        assert image.dtype == torch.float32
        assert image.is_contiguous()
    for mask in (loaded.query_mask, loaded.support_masks):
        assert mask.dtype == torch.uint8
        assert set(mask.unique().tolist()) == {0, 1}
    assert loaded.class_id == episode.class_id
    query, *supports = (
        domain.item(episode.class_id, known) for known in (episode.query, *episode.supports)
    )
    images = np.stack([domain.image(item) for item in supports])
    masks = np.stack([domain.truth(item) for item in supports])
    assert torch.equal(loaded.query_image, normalised(domain.image(query)))
    assert torch.equal(loaded.support_images, normalised(images))
    assert np.array_equal(loaded.query_mask.numpy(), domain.truth(query))
    assert np.array_equal(loaded.support_masks.numpy(), masks)
    voids = (loaded.query_ignore, loaded.support_ignores)
    assert [void is not None for void in voids] == [name in WITH_VOID] * 2
    for void, mask in zip(voids, (loaded.query_mask, loaded.support_masks), strict=True):
        if void is not None:
            assert void.dtype == torch.uint8
            assert void.shape == mask.shape
            assert void.any()
            assert not (void & mask).any()


def test_a_wrong_support_is_shown_with_the_mask_of_its_own_class(tree: Path) -> None:
    domain = opened("deepglobe", tree)
    right = domain.episodes(1, length=1)[0]
    tile = "Deepglobe/3/test/origin/77_sat_55.jpg"
    loaded = domain.load(Episode(right.query, (tile,), right.class_id, 2))
    assert np.array_equal(loaded.support_masks[0].numpy(), domain.truth(domain.item(2, tile)))
    assert loaded.class_id == right.class_id == 0


def test_loading_twice_gives_tensors_of_their_own(tree: Path, kept: Path) -> None:
    domain = opened("isic", tree, kept)
    episode = domain.episodes(2, length=1)[0]
    first = domain.load(episode)
    for tensor in (first.query_image, first.query_mask, first.support_images, first.support_masks):
        tensor.zero_()
    again = domain.load(episode)
    assert again.query_mask.any()
    assert again.support_masks.any()
    assert again.query_image.any()


def test_a_domain_can_be_sent_to_another_process(tree: Path, kept: Path) -> None:
    domain = opened("isic", tree, kept)
    episode = domain.episodes(2, length=1)[0]
    copy: Domain = pickle.loads(pickle.dumps(domain))
    assert torch.equal(copy.load(episode).query_image, domain.load(episode).query_image)
    assert copy.fingerprint == domain.fingerprint


@pytest.mark.parametrize("name", [*PUBLISHED, *MINI])
def test_an_image_that_is_not_there_is_named(tree: Path, name: str) -> None:
    domain = opened(name, tree)
    known = domain.classes[0]
    for class_id, image in ((known.id, "of/another/tree.jpg"), (4321, known.items[0].name)):
        with pytest.raises(DataError) as caught:
            domain.item(class_id, image)
        assert caught.value.problem == (
            f"{domain.title} has no image '{image}' of class {class_id} under {domain.root}"
        )
        assert caught.value.hint == "the manifest was made on other data; draw a new one"


# -- episodes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["patnet", "strict"])
@pytest.mark.parametrize("name", [*PUBLISHED, *MINI])
def test_a_manifest_says_what_decided_it(tree: Path, kept: Path, name: str, protocol: str) -> None:
    domain = opened(name, tree, kept)
    manifest = domain.episodes(1, seed=3, protocol=protocol, length=6)
    assert manifest.domain == domain.title
    assert manifest.fingerprint == domain.fingerprint
    assert manifest.profile == domain.profile
    assert (manifest.protocol, manifest.sampler) == (protocol, SAMPLER_VERSION)
    assert (manifest.shots, manifest.seed, len(manifest)) == (1, 3, 6)


@pytest.mark.parametrize("protocol", ["patnet", "strict"])
@pytest.mark.parametrize("name", [*PUBLISHED, *MINI])
def test_a_seed_gives_one_manifest_and_another_seed_another(
    tree: Path, kept: Path, name: str, protocol: str
) -> None:
    first, again, other = (
        opened(name, tree, kept).episodes(2, seed=seed, protocol=protocol, length=12)
        for seed in (1, 1, 2)
    )
    assert first.sha256 == again.sha256
    assert first.episodes != other.episodes


@pytest.mark.parametrize(
    ("name", "length"),
    [
        ("fss1000", 20),
        ("deepglobe", 600),
        ("isic", 600),
        ("chestxray", 600),
        ("pascal", 24),
        ("mini-landcover", 120),
        ("mini-lesion", 120),
        ("mini-chest", 120),
    ],
)
def test_by_default_there_are_as_many_episodes_as_published(
    tree: Path, name: str, length: int
) -> None:
    assert len(opened(name, tree).episodes(1)) == length


@pytest.mark.parametrize("protocol", ["patnet", "strict"])
def test_the_classes_take_turns(tree: Path, kept: Path, protocol: str) -> None:
    manifest = opened("isic", tree, kept).episodes(1, protocol=protocol, length=7)
    assert [episode.class_id for episode in manifest] == [0, 1, 2, 0, 1, 2, 0]


def test_strict_supports_lie_outside_the_scene_of_the_query(tree: Path, kept: Path) -> None:
    domain = opened("deepglobe", tree, kept)
    for episode in domain.episodes(2, protocol="strict", length=60):
        scenes = [domain.scene(name) for name in (episode.query, *episode.supports)]
        assert scenes[0] not in scenes[1:]


def test_published_supports_may_lie_in_the_scene_of_the_query(tree: Path) -> None:
    domain = opened("deepglobe", tree)
    drawn = domain.episodes(1, length=60)
    assert any(domain.scene(e.query) == domain.scene(e.supports[0]) for e in drawn)


def empty_masks(root: Path, paths: list[str]) -> None:
    for path in paths:
        trees.save(root / path, np.zeros((trees.HEIGHT, trees.WIDTH), np.uint8))


def test_strict_never_uses_a_file_whose_mask_is_empty(tmp_path: Path) -> None:
    trees.write_fss(tmp_path)
    empty_masks(tmp_path, ["FSS-1000/bus/3.png", "FSS-1000/arrow/10.png"])
    used = {
        name
        for episode in open_domain("fss1000", tmp_path).episodes(5, protocol="strict")
        for name in (episode.query, *episode.supports)
    }
    assert len(used) == 18
    assert not used & {"FSS-1000/bus/3.jpg", "FSS-1000/arrow/10.jpg"}


@pytest.mark.parametrize("name", ["fss1000", "isic"])
def test_strict_refuses_a_class_whose_masks_are_all_empty(tmp_path: Path, name: str) -> None:
    trees.WRITERS[name](tmp_path)
    domain = open_domain(name, tmp_path)
    entry = domain.classes[1]
    empty_masks(tmp_path, [item.mask for item in entry.items])
    with pytest.raises(DataError) as caught:
        domain.episodes(1, protocol="strict")
    assert caught.value.problem == f"every mask of class '{entry.name}' of {name} is empty"


def test_a_label_that_its_map_does_not_hold_is_an_empty_mask(tmp_path: Path) -> None:
    trees.write_pascal(tmp_path, {f"2007_{n:06d}": (1,) for n in range(4)})
    path = tmp_path / trees.VOC / "SegmentationClassAug" / "2007_000002.png"
    trees.save_labels(path, trees.label_map((5,)))
    drawn = open_domain("pascal", tmp_path).episodes(2, protocol="strict")
    used = {name for episode in drawn for name in (episode.query, *episode.supports)}
    assert used == {"2007_000000", "2007_000001", "2007_000003"}


@pytest.mark.parametrize(
    ("shots", "seed", "length"),
    [(0, 0, 1), (-1, 0, 1), (1, -1, 1), (1, 2**32, 1), (1, 0, 0), (1, 0, -5)],
)
def test_numbers_out_of_range_are_refused(tree: Path, shots: int, seed: int, length: int) -> None:
    with pytest.raises(DataError) as caught:
        opened("isic", tree).episodes(shots, seed=seed, length=length)
    assert caught.value.problem == (
        "shots and the number of episodes begin at 1, seeds at 0 and end at 4,294,967,295"
    )


@pytest.mark.parametrize("name", WITH_VOID)
def test_a_source_can_be_asked_the_images_that_a_training_holds_out(tree: Path, name: str) -> None:
    whole, held = opened(name, tree), opened(name, tree, held_out=0.5)
    assert held.title == f"{name}[held_out=0.5]"
    assert held.whole == whole.title == name
    assert held.profile == "source validation: the held-out 50% of the images"
    assert not held.is_complete
    expected = {n for pool in whole.pools for n in pool.images if is_held_out(n, 0.5)}
    asked = held.episodes(1, length=held.published_length)
    assert {episode.query for episode in asked} == expected
    assert {n for episode in asked for n in episode.supports} <= expected
    assert 0 < len(expected) < sum(whole.counts)


def test_an_unknown_protocol_is_answered_with_the_nearest(tree: Path) -> None:
    with pytest.raises(DataError) as caught:
        opened("isic", tree).episodes(1, protocol="PATNet")
    assert caught.value.problem == "unknown protocol 'PATNet'"
    assert caught.value.hint == "did you mean patnet?"


@pytest.mark.parametrize("name", ["deepglobe", "fss1000", "mini-landcover", "mini-objects"])
def test_shuffled_supports_are_of_another_class(tree: Path, kept: Path, name: str) -> None:
    domain = opened(name, tree, kept)
    manifest = domain.episodes(2, length=20)
    shuffled = domain.shuffled(manifest)
    assert first_queries(shuffled, 20) == first_queries(manifest, 20)
    assert all(episode.support_class_id != episode.class_id for episode in shuffled)
    assert shuffled == domain.shuffled(manifest)
    assert shuffled.sha256 != manifest.sha256
    assert domain.load(shuffled[0]).support_masks.any()


# -- titles and notes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "title"),
    [
        ("fss1000", {}, "fss1000"),
        ("fss1000", {"split": "test"}, "fss1000"),
        ("fss1000", {"split": "val"}, "fss1000[split=val]"),
        ("pascal", {"fold": "0", "split": "val"}, "pascal[fold=0,split=val]"),
        ("pascal", {"split": "val", "fold": 4}, "pascal[split=val]"),
        ("chestxray", {"hospitals": "both"}, "chestxray[hospitals=both]"),
        ("isic", {}, "isic"),
    ],
)
def test_the_title_shows_the_options_that_differ_from_their_defaults(
    tree: Path, name: str, options: Mapping[str, str | int], title: str
) -> None:
    assert open_domain(name, tree, options).title == title


def test_a_mask_of_another_size_than_its_image_is_noted(tmp_path: Path) -> None:
    trees.write_isic(tmp_path)
    domain = open_domain("isic", tmp_path)
    item = domain.classes[0].items[0]
    trees.save(tmp_path / item.mask, trees.blob(1, 62, 36))
    domain.note_oddities(item, role="a query")
    domain.note_oddities(item, role="a query")
    (note,) = domain.notes
    assert note == (
        f"{item.mask} is 62x36 but its image is {trees.WIDTH}x{trees.HEIGHT}; "
        "both are brought to 400x400, as published"
    )


@pytest.mark.parametrize("role", ["a query", "a support"])
def test_an_empty_mask_is_noted_with_its_role(tmp_path: Path, role: str) -> None:
    trees.write_isic(tmp_path)
    domain = open_domain("isic", tmp_path)
    item = domain.classes[0].items[0]
    empty_masks(tmp_path, [item.mask])
    domain.note_oddities(item, role=role)
    assert list(domain.notes) == [f"{item.mask} is empty and serves as {role}"]


@pytest.mark.parametrize("name", [*PUBLISHED, *MINI])
def test_there_is_nothing_to_note_of_sound_files(tree: Path, kept: Path, name: str) -> None:
    domain = opened(name, tree, kept)
    for entry in domain.classes:
        domain.note_oddities(entry.items[0], role="a query")
    assert not domain.notes


# -- the mini suite ------------------------------------------------------------------------------


def test_the_cards_of_the_mini_suite_are_its_domains() -> None:
    cards = [name for name in DOMAINS.names() if DOMAINS.card(name).suite == "mini"]
    assert cards == sorted(MINI)


@pytest.mark.parametrize("name", MINI)
def test_a_mini_domain_needs_no_root_and_is_complete(name: str) -> None:
    domain = open_domain(name)
    assert domain.is_complete
    assert domain.profile == f"mini-{mini.VERSION}"
    assert not domain.notes


@pytest.mark.parametrize("name", MINI)
def test_a_mini_card_has_the_classes_of_its_module(name: str) -> None:
    drawn = mini.DOMAINS[name]
    assert DOMAINS.card(name).classes == drawn.classes
    found = open_domain(name).classes
    assert [(entry.id, entry.name) for entry in found] == list(enumerate(drawn.classes))
    assert tuple(tuple(item.name for item in entry.items) for entry in found) == drawn.pictures


@pytest.mark.parametrize("name", MINI)
def test_a_mini_picture_is_the_one_its_module_draws(name: str) -> None:
    domain = open_domain(name)
    entry = domain.classes[-1]
    item = entry.items[-1]
    drawn = mini.DOMAINS[name].draw(item.name)
    for _ in range(2):
        assert np.array_equal(domain.image(item), drawn.image)
        assert np.array_equal(domain.truth(item), drawn.labels == entry.id + 1)


def test_the_mini_source_is_the_one_to_train_on() -> None:
    roles = {name: DOMAINS.card(name).role for name in MINI}
    assert [name for name, role in roles.items() if role == "source"] == ["mini-source"]


@pytest.mark.parametrize("name", [n for n in MINI if DOMAINS.card(n).sampling == "listed"])
def test_every_picture_of_a_listed_mini_domain_is_asked_once(name: str) -> None:
    domain = open_domain(name)
    queries = list(domain.listed_queries() or ())
    assert len(queries) == len(set(queries)) == sum(domain.counts) == domain.published_length


# -- files that the published loaders would misread ------------------------------------------------


@pytest.mark.parametrize("top", [4095, 65535])
def test_a_deep_film_is_scaled_and_noted(tmp_path: Path, top: int) -> None:
    trees.write_chest(tmp_path)
    domain = open_domain("chestxray", tmp_path, cache=None)
    item = domain.classes[0].items[0]
    ramp = np.tile(np.linspace(0, top, 400), (400, 1)).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / item.image)
    Image.fromarray((ramp > top // 2).astype(np.uint16) * top).save(tmp_path / item.mask)
    assert np.array_equal(domain.image(item)[..., 0], np.rint(ramp * (255 / top)))
    assert np.array_equal(domain.truth(item), ramp > top // 2)
    domain.note_oddities(item, role="a query")
    said = "has more than 8 bits, which are scaled"
    assert list(domain.notes) == [f"{item.image} {said}", f"{item.mask} {said}"]


def test_a_turned_photograph_of_a_published_domain_is_read_as_published_and_noted(
    tmp_path: Path,
) -> None:
    trees.write_isic(tmp_path)
    domain = open_domain("isic", tmp_path, cache=None)
    item = domain.classes[0].items[0]
    before = domain.image(item)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(tmp_path / item.image).save(tmp_path / item.image, "PNG", exif=exif)
    domain = open_domain("isic", tmp_path, cache=None)
    assert np.array_equal(domain.image(item), before)
    domain.note_oddities(item, role="a query")
    assert list(domain.notes) == [
        f"{item.image} is read as stored, not turned by its EXIF orientation 6"
    ]


@pytest.mark.parametrize("name", ["isic", "deepglobe", "fss1000", "chestxray"])
def test_a_class_without_any_truth_is_named(tmp_path: Path, name: str) -> None:
    trees.WRITERS[name](tmp_path)
    domain = open_domain(name, tmp_path, cache=None)
    assert domain.classes_without_truth == ()
    first = domain.classes[0]
    for item in first.items:
        trees.save(tmp_path / item.mask, trees.blob(1) * 0)
    domain = open_domain(name, tmp_path, cache=None)
    assert domain.classes_without_truth == (first.name,)
    episode_set = EpisodeSet(domain, shots=1, seed=0, protocol="patnet")
    with pytest.raises(DataError, match=f"no mask of class '{first.name}' of {name} shows"):
        _ = episode_set.manifest
    report = check_domain(name, tmp_path, full=True)
    assert not report.usable
    assert any(f"no mask of class '{first.name}' shows" in f.problem for f in report.findings)


@pytest.mark.parametrize(
    "asked",
    [{"shots": 1.5}, {"shots": True}, {"seed": 0.0}, {"length": 2.5}, {"length": True}],
    ids=str,
)
def test_what_is_no_whole_number_draws_no_episodes(asked: dict[str, Any]) -> None:
    domain = open_domain("mini-lesion", cache=None)
    values: dict[str, Any] = {"shots": 1, **asked}
    with pytest.raises(DataError, match="are whole numbers"):
        domain.episodes(**values)


def test_numbers_of_numpy_draw_the_same_episodes() -> None:
    domain = open_domain("mini-lesion", cache=None)
    plain = domain.episodes(shots=2, seed=3, length=4)
    assert domain.episodes(np.int64(2), np.int64(3), length=np.int32(4)).sha256 == plain.sha256  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", ["isic", "deepglobe", "fss1000", "chestxray"])
def test_a_root_that_is_one_level_away_is_named(tmp_path: Path, name: str) -> None:
    root = tmp_path / "data"
    trees.WRITERS[name](root)
    (top,) = (path for path in root.iterdir() if path.is_dir())
    for wrong in (tmp_path, top):
        with pytest.raises(DataError) as caught:
            _ = open_domain(name, wrong, cache=None).classes
        assert caught.value.hint == f"it seems to be one level away: --data-root '{root}'"
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError) as caught:
        _ = open_domain(name, empty, cache=None).classes
    assert caught.value.hint == f"cdfss-bench data check {name} --data-root DIR"
