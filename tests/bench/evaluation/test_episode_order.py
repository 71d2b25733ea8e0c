"""The order of episodes, and the allocator's setting."""

import platform
import random
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from cdfss_bench.bench.evaluation.episode_order import reuse_order
from cdfss_bench.bench.evaluation.feature_cache import ByteBudgetStore

Asked = list[tuple[str, list[str]]]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef")))))
def test_every_episode_once_and_those_of_a_query_together(asked: Asked) -> None:
    order = reuse_order(asked)
    assert sorted(order) == list(range(len(asked)))
    queries = [asked[index][0] for index in order]
    runs = [q for i, q in enumerate(queries) if i == 0 or queries[i - 1] != q]
    assert len(runs) == len(set(queries))
    for query in set(queries):
        own = [index for index in order if asked[index][0] == query]
        assert own == sorted(own)


def test_the_next_query_was_just_seen() -> None:
    assert reuse_order([("a", ["x", "c"]), ("b", []), ("c", ["b"]), ("a", ["d"])]) == [0, 3, 2, 1]


class Image:
    nbytes = 1


def encoded(asked: Asked, order: list[int], room: int) -> int:
    """Images encoded with room for so many features, supports' states kept for good."""
    features, states, count = ByteBudgetStore[Image](room), set[str](), 0
    for index in order:
        query, supports = asked[index]
        for image in (query, *supports):
            if image in states and image != query:
                continue
            if features.get(image) is None:
                count += 1
                features.put(image, Image())
        states |= set(supports)
    return count


def test_fewer_images_are_encoded_twice() -> None:
    rng = random.Random(0)
    images = [str(number) for number in range(120)]
    asked = [(rng.choice(images), rng.sample(images, 5)) for _ in range(300)]
    plain = encoded(asked, list(range(len(asked))), 12)
    assert encoded(asked, reuse_order(asked), 12) < 0.7 * plain


def state_in_a_new_process(**environment: str) -> str:
    code = (
        "from cdfss_bench.bench.runtime import allocator as a;"
        "print(a.state(), a.keep_memory(), a.state())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout.strip()


def test_the_allocator_is_left_alone_unless_asked_and_on_request() -> None:
    kept = "keeps" if platform.libc_ver()[0] == "glibc" else "default"
    assert state_in_a_new_process() == f"default {kept} {kept}"
    assert state_in_a_new_process(CDFSS_ALLOCATOR="default") == "default default default"
