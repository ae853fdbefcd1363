"""Values that took long to make, kept while they are used: bounded by bytes and by age."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

_UNUSED_SECONDS: Final = 600.0


class Weighed(Protocol):
    """What knows how many bytes of memory it takes."""

    @property
    def nbytes(self) -> int:
        """The bytes."""


_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value", bound=Weighed)


@dataclass(slots=True)
class _Entry(Generic[_Value]):
    value: _Value
    used_at: float


class Kept(Generic[_Key, _Value]):
    """The values; each is made once, and who wants another does not wait for it.

    Parameters
    ----------
    most_bytes : int
        Of all together; a value that is larger by itself is given and not kept.
    clock : callable
        Seconds.
    """

    def __init__(self, most_bytes: int, clock: Callable[[], float], unused_seconds: float = _UNUSED_SECONDS) -> None:
        self._most, self._clock, self._unused = most_bytes, clock, unused_seconds
        self._entries: OrderedDict[_Key, _Entry[_Value]] = OrderedDict()  # the longest unused first
        self._making: WeakValueDictionary[_Key, threading.Lock] = WeakValueDictionary()
        self._guard = threading.Lock()

    def of(self, key: _Key, make: Callable[[], _Value]) -> _Value:
        """Return what is kept for a key, or make it; who wants the same meanwhile waits for that."""
        with self._guard:
            one = self._making.setdefault(key, threading.Lock())
        with one:
            found = self._used(key)
            if found is None:
                found = make()
                self._keep(key, found)
            return found

    @property
    def nbytes(self) -> int:
        """The bytes of all that is kept."""
        with self._guard:
            return self._bytes()

    def forget_old(self) -> None:
        """Let go what nobody has used for a while."""
        with self._guard:
            self._forget_old()

    def _used(self, key: _Key) -> _Value | None:
        with self._guard:
            self._forget_old()
            entry = self._entries.get(key)
            if entry is None:
                return None
            entry.used_at = self._clock()
            self._entries.move_to_end(key)
            return entry.value

    def _keep(self, key: _Key, value: _Value) -> None:
        if value.nbytes > self._most:
            return
        with self._guard:
            self._entries[key] = _Entry(value, self._clock())
            while self._bytes() > self._most:
                self._entries.popitem(last=False)

    def _bytes(self) -> int:
        return sum(entry.value.nbytes for entry in self._entries.values())

    def _forget_old(self) -> None:
        before = self._clock() - self._unused
        for key in [key for key, entry in self._entries.items() if entry.used_at < before]:
            del self._entries[key]
