"""What was computed once and may be needed again, within a fixed number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from ..runtime.memory import DEFAULT_BUDGET
from .feature_files import FeatureFiles

if TYPE_CHECKING:
    from torch import Tensor

    from cdfss_bench.methods.core.contract import SupportState
    from cdfss_bench.methods.core.feature_batch import FeatureBatch


class Sized(Protocol):
    """Anything that knows its memory."""

    @property
    def nbytes(self) -> int:
        """Bytes."""
        ...


V = TypeVar("V", bound=Sized)


class ByteBudgetStore(Generic[V]):
    """A least-recently-used store that never holds more than `budget` bytes.

    A value larger than the whole budget is not kept. What the store forgets is computed again with
    the same result, so the budget changes time, never numbers.

    Attributes:
        hits: lookups that were answered.
    """

    def __init__(self, budget: int):
        self.budget = budget
        self.used = 0
        self.hits = 0
        self._values: OrderedDict[Hashable, V] = OrderedDict()

    def get(self, key: Hashable) -> V | None:
        """The value of `key`, which becomes the most recently used, or None."""
        value = self._values.get(key)
        if value is not None:
            self.hits += 1
            self._values.move_to_end(key)
        return value

    def put(self, key: Hashable, value: V) -> None:
        """Keeps `value`, forgetting the least recently used until it fits."""
        if key in self._values:
            self.used -= self._values.pop(key).nbytes
        size = value.nbytes
        if size > self.budget:
            return
        self._make_room(size)
        self._values[key] = value
        self.used += size

    def resize(self, budget: int) -> None:
        """Another budget from now on; what it does not hold is forgotten."""
        self.budget = budget
        self._make_room(0)

    def clear(self) -> None:
        """Forgets everything."""
        self._values.clear()
        self.used = 0

    def __contains__(self, key: Hashable) -> bool:
        """Whether `key` is held; its turn to be forgotten does not change."""
        return key in self._values

    def _make_room(self, size: int) -> None:
        while self.used + size > self.budget:
            _, dropped = self._values.popitem(last=False)
            self.used -= dropped.nbytes


@dataclass
class FeatureStores:
    """What is shared by all cells of one network on one domain, within one budget.

    A sixteenth is for maps. States come before features, up to three quarters: a forgotten state
    costs an encoding too, and is the smaller of both.

    Attributes:
        features: by image.
        states: of supports, by class and name; `keep` puts them there.
        maps: of one query with one support [1, 2, h, w], where shots vote.
        files: features on disk, which outlive the process; None for none.
    """

    budget: int = DEFAULT_BUDGET
    files: FeatureFiles | None = None
    features: ByteBudgetStore[FeatureBatch] = field(init=False)
    states: ByteBudgetStore[SupportState] = field(init=False)
    maps: ByteBudgetStore[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.maps = ByteBudgetStore(self.budget // 16)
        self.states = ByteBudgetStore(self.budget * 3 // 4)
        self.features = ByteBudgetStore(self.budget - self.maps.budget)

    def keep(self, key: tuple[int, str], state: SupportState) -> None:
        """Keeps a support's state; features make room for it."""
        room = self.budget - self.maps.budget
        wanted = self.states.used + state.nbytes
        self.features.resize(room - min(self.states.budget, wanted))
        self.states.put(key, state)
        self.features.resize(room - self.states.used)

    @property
    def used(self) -> int:
        """Bytes held."""
        return self.features.used + self.states.used + self.maps.used

    def clear(self) -> None:
        """Forgets everything."""
        for store in (self.features, self.states, self.maps):
            store.clear()
        self.features.resize(self.budget - self.maps.budget)
