"""A line that says how far long work is, for people at a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

__all__ = ["ProgressLine"]

#: Seconds before anything is shown: most work is done by then. And seconds between two changes of the line.
PATIENCE, PAUSE = 0.5, 0.1

_WIDTH = 30
#: Goes to the beginning of the line, and clears it.
_CLEAR = "\r\x1b[K"


class ProgressLine:
    """
    Writes to a terminal, and to nothing else. It is a context manager; at the end the line is gone.

    :param stream: stderr, so that stdout holds results only.
    :param seconds: tells the time.
    """

    def __init__(self, stream: TextIO, seconds: Callable[[], float]) -> None:
        self._stream, self._seconds = stream, seconds
        self._is_shown = False
        self._began = seconds()
        self._next = self._began + PATIENCE if stream.isatty() else float("inf")

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *error: object) -> None:
        if self._is_shown:
            self._stream.write(_CLEAR)
            self._stream.flush()

    def __call__(self, what: str, share: float | None = None) -> None:
        """
        Say how far it is; it may be called very often.

        :param what: is being done.
        :param share: of it that is done, from 0 to 1; ``None`` if that is not known.
        """
        now = self._seconds()
        if now < self._next:
            return
        self._next, self._is_shown = now + PAUSE, True
        self._stream.write(f"{_CLEAR}{what} {_bar(share)}{now - self._began:.0f} s")
        self._stream.flush()


def _bar(share: float | None) -> str:
    if share is None:
        return ""
    done = max(0.0, min(1.0, share))
    filled = int(done * _WIDTH)
    return f"[{'#' * filled}{'-' * (_WIDTH - filled)}] {done:4.0%} "
