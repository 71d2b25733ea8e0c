"""The least-recently-used store with a byte budget."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from cdfss_bench.bench.evaluation.feature_cache import ByteBudgetStore


@dataclass(frozen=True)
class Value:
    nbytes: int


@given(st.integers(0, 50), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)), max_size=60))
def test_it_never_holds_more_than_its_budget(budget: int, puts: list[tuple[int, int]]) -> None:
    store: ByteBudgetStore[Value] = ByteBudgetStore(budget)
    held: dict[int, int] = {}
    for key, size in puts:
        store.put(key, Value(size))
        held[key] = size
        assert store.used <= budget
        present = {k: s for k, s in held.items() if k in store}
        assert store.used == sum(present.values())
        for k, s in present.items():
            assert store.get(k) == Value(s)


def test_the_least_recently_used_goes_first() -> None:
    store: ByteBudgetStore[Value] = ByteBudgetStore(3)
    for key in "abc":
        store.put(key, Value(1))
    assert store.get("a") is not None
    store.put("d", Value(1))
    assert [key for key in "abcd" if key in store] == ["a", "c", "d"]


def test_what_is_larger_than_the_budget_is_not_kept_and_costs_nobody_his_place() -> None:
    store: ByteBudgetStore[Value] = ByteBudgetStore(3)
    store.put("a", Value(1))
    store.put("b", Value(4))
    assert "a" in store
    assert store.get("b") is None
