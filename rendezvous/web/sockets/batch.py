"""What is sent while messages are read, collected so that several frames to one socket take one system call."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Batch", "Flushable"]


class Flushable(Protocol):
    """A socket that has something to send."""

    def flush(self) -> None:
        """Send it."""


class Batch:
    """
    The sockets that have something to send at the end of the present turn. All sockets share one.

    :ivar is_open: whether messages are read now.
    """

    def __init__(self) -> None:
        self.is_open = False
        self._waiting: list[Flushable] = []

    def add(self, socket: Flushable) -> None:
        """Have a socket flushed at the end."""
        self._waiting.append(socket)

    def __enter__(self) -> None:
        """Begin to collect."""
        self.is_open = True

    def __exit__(self, *_: object) -> None:
        """Send all that was collected."""
        self.is_open = False
        waiting, self._waiting = self._waiting, []
        for socket in waiting:
            socket.flush()
