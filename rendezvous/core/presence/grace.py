"""Slots of clients that have ended, until no UDP worker can still write to their records."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import attrs

__all__ = ["FEWEST_TICKS", "TICK", "Grace"]

#: Seconds between two ticks, at least.
TICK = 0.25

#: Ticks for which a slot waits, at least: a second, and the part of a tick in which the client ended.
FEWEST_TICKS = 5


class Grace:
    """
    Epoch-based reclamation (Fraser, Practical lock-freedom, 2004): a worker may still write to the record of a client
    that it has found before the client ended, so the slot is freed only when each worker has ended the batch that it
    was in.

    Each worker has a counter, its epoch, which is odd while the worker is in a batch. The key of a client is taken out
    of the index when the client ends, so a batch that begins afterwards does not find the slot. Example: a client ends
    while worker 0 is in a batch with epoch 7. Its slot waits until that epoch is seen to be another than 7.

    Stores of one processor reach the others in some order, after nanoseconds. So that no order matters, a tick lies
    between the end of the client and the first look at the epochs, and another one between the last look and the
    freeing.

    :param free: frees a slot.
    """

    def __init__(self, free: Callable[[int], None]) -> None:
        self._free = free
        self._fresh: list[int] = []
        self._groups: deque[_Group] = deque()
        self._due: deque[int] = deque()

    def __len__(self) -> int:
        """Count the slots that wait."""
        return len(self._fresh) + sum(len(group.slots) for group in self._groups) + len(self._due)

    def retire(self, slot: int) -> None:
        """Have the slot of a client that has ended freed later. Its key is in no index any more."""
        self._fresh.append(slot)

    def tick(self, epochs: Sequence[int]) -> None:
        """
        See which batches have ended. At least :data:`TICK` seconds lie between two calls.

        :param epochs: the epoch of each worker, in the same order each time; even for one that does not run.
        """
        for group in self._groups:
            group.tick(epochs)
        while self._groups and self._groups[0].is_over:
            self._due.extend(self._groups.popleft().slots)
        if self._fresh:
            self._groups.append(_Group(self._fresh))
            self._fresh = []

    def free_some(self, at_most: int) -> bool:
        """
        Free slots that need not wait any more.

        :returns: whether there are more.
        """
        for _ in range(min(at_most, len(self._due))):
            self._free(self._due.popleft())
        return bool(self._due)

    def free_all(self) -> None:
        """Free all slots: no worker runs any more."""
        for group in self._groups:
            self._due.extend(group.slots)
        self._due.extend(self._fresh)
        self._groups.clear()
        self._fresh = []
        self.free_some(len(self._due))


@attrs.define
class _Group:
    """
    Slots that were retired between the same two ticks.

    :ivar slots: the slots.
    :ivar ticks: how many there were since.
    :ivar awaited: by worker, the epoch of a batch that it was in at the first tick, and still is.
    :ivar clear: whether no worker was awaited any more already when the last tick began.
    """

    slots: list[int]
    ticks: int = 0
    awaited: dict[int, int] = attrs.field(factory=dict)
    clear: bool = False

    def tick(self, epochs: Sequence[int]) -> None:
        self.ticks += 1
        if self.ticks == 1:
            self.awaited = {worker: epoch for worker, epoch in enumerate(epochs) if epoch & 1}
            return
        self.clear = not self.awaited
        self.awaited = {worker: epoch for worker, epoch in self.awaited.items() if epochs[worker] == epoch}

    @property
    def is_over(self) -> bool:
        return self.clear and self.ticks >= FEWEST_TICKS
