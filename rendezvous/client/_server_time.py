"""The time of the server, by a local clock and its difference from the timestamps in the server's answers."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["ServerTime"]

_MILLISECONDS_FROM = 1e11
"""A timestamp from here on is in milliseconds: as seconds it would lie in the year 5138."""


_LAST = 253402300800000
"""The year 10000, in milliseconds: what is later is no time, and does not fit into a datagram."""


class ServerTime:
    """
    The wall clock of the server.

    A datagram that is signed names the time of the server, which takes it only within 15 s. The clock of this host may
    be wrong by more, so the difference is learned from the ``timestamp`` of HTTP answers.

    :param seconds: the local clock. It only has to run at the right speed.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._ahead: float | None = None

    @property
    def known(self) -> bool:
        """:returns: whether an answer of the server has had a timestamp."""
        return self._ahead is not None

    @property
    def ahead(self) -> float | None:
        """:returns: seconds that the server's clock is ahead of the local one, or ``None`` if it is not known."""
        return self._ahead

    def learn(self, timestamp: float, at: float) -> None:
        """
        Take the time in an answer.

        :param timestamp: of the answer, in seconds or in milliseconds since the epoch. A value that is no time is
            ignored.
        :param at: when it was written, by the local clock.
        """
        try:
            value = float(timestamp)
        except OverflowError:
            return
        if 0 < value < _LAST:
            self._ahead = (value / 1000 if value >= _MILLISECONDS_FROM else value) - at

    def milliseconds(self) -> int:
        """
        :returns: the time of the server, in milliseconds since the epoch.
        :raises RuntimeError: when it is not known.
        """
        if self._ahead is None:
            raise RuntimeError("the time of the server is not known yet")
        return round((self._seconds() + self._ahead) * 1000)
