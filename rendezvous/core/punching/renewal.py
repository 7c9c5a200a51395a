"""When a path asks for a new attempt (an ICE restart): nothing is heard from the peer, or only through a relay."""

from __future__ import annotations

__all__ = ["Renewal"]

AFTER_SILENCE, AFTER_RELAY = 2.0, 10.0
"""Seconds without an answer, and on a relay, after which a new attempt would help."""

PAUSES = (5.0, 10.0, 30.0, 60.0)
"""Seconds between two requests for a new attempt; the last one repeats."""


class Renewal:
    """
    The requests for a new attempt.

    :ivar relayed_since: when the path began to use a relay; ``None`` while it uses none.
    """

    def __init__(self) -> None:
        self.relayed_since: float | None = None
        self._requests = 0
        self._not_before = float("-inf")

    def started(self) -> None:
        """An attempt has connected: the pauses are short again, unless it uses a relay as well."""
        if self.relayed_since is None:
            self._requests = 0

    def due(self, silent_since: float | None) -> float | None:
        """
        :param silent_since: since when there is no answer from the peer on any pair; ``None`` if there is one.
        :returns: when a new attempt is to be asked for, in seconds.
        """
        if silent_since is not None:
            return max(silent_since + AFTER_SILENCE, self._not_before)
        if self.relayed_since is not None:
            return max(self.relayed_since + AFTER_RELAY, self._not_before)
        return None

    def take(self, now: float, silent_since: float | None) -> bool:
        """:returns: whether a new attempt is to be asked for now."""
        due = self.due(silent_since)
        if due is None or now < due:
            return False
        self._not_before = now + PAUSES[min(self._requests, len(PAUSES) - 1)]
        self._requests += 1
        return True
