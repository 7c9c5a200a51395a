"""What is sent while messages are read, collected so that several frames to one socket take one system call."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Batch", "Receiver"]


class Receiver(Protocol):
    """A socket that has something to send."""

    def flush(self) -> None:
        """Send it."""


class Batch:
    """The sockets that have something to send at the end of the present turn. All sockets share one."""

    def __init__(self) -> None:
        self._is_open = False
        self._waiting: list[Receiver] = []

    @property
    def is_open(self) -> bool:
        """:returns: whether messages are read now."""
        return self._is_open

    def add(self, receiver: Receiver) -> None:
        """Have a socket flushed at the end."""
        self._waiting.append(receiver)

    def __enter__(self) -> None:
        """Begin to collect."""
        self._is_open = True

    def __exit__(self, *_: object) -> None:
        """Send all that was collected."""
        self._is_open = False
        waiting, self._waiting = self._waiting, []
        for receiver in waiting:
            receiver.flush()
