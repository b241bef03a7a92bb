"""What was asked for lately: about so many values, the least recently used ones go first."""

import time
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Holds `most` values or so, and whatever was asked for in the last `keep_seconds`.

    Two generations: what is asked for moves to the younger; when that is half of it all, the
    older one is forgotten. A hit costs one look into a dict, without reordering anything; who
    is in a hurry looks into `young` before asking `get`.
    """

    def __init__(
        self, most: int, keep_seconds: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._half = max(most // 2, 1)
        self._keep_seconds = keep_seconds
        self._clock = clock
        self.young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._began_at = clock()

    def __len__(self) -> int:
        return len(self.young) + len(self._old)

    def get(self, key: K) -> V | None:
        """The value, which was asked for just now."""
        value = self.young.get(key)
        if value is None:
            value = self._old.pop(key, None)
            if value is not None:
                self.put(key, value)
        return value

    def peek(self, key: K) -> V | None:
        """The value, and nobody asked for it."""
        value = self.young.get(key)
        return self._old.get(key) if value is None else value

    def put(self, key: K, value: V) -> None:
        """Hold this value."""
        self._old.pop(key, None)
        self.young[key] = value
        if len(self.young) >= self._half:
            self._turn()

    def replace(self, key: K, value: V) -> None:
        """Put this value in the place of the one that is held, as old as that."""
        if key in self.young:
            self.young[key] = value
        elif key in self._old:
            self._old[key] = value

    def forget(self, key: K) -> None:
        """Hold nothing under this."""
        if self.young.pop(key, None) is None:
            self._old.pop(key, None)

    def _turn(self) -> None:
        # What is in the older generation was asked for before `began_at`.
        now = self._clock()
        if now - self._began_at < self._keep_seconds:
            return
        self._old, self.young, self._began_at = self.young, {}, now
