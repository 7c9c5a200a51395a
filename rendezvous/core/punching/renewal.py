"""
When a path asks for a new attempt (an ICE restart): nothing is heard from the peer, or only through a relay, or the
relay that is kept as a reserve is gone.
"""

from __future__ import annotations

__all__ = ["Renewal"]

AFTER_SILENCE, AFTER_RELAY = 2.0, 10.0
"""Seconds without an answer, and on a relay, after which a new attempt would help."""

PAUSES = (5.0, 10.0, 30.0, 60.0)
"""Seconds between two requests for a new attempt; the last one repeats."""

LONG_PAUSES = (*PAUSES, 300.0, 600.0)
"""The same, if it is only for a reserve."""

REPLACE_WITHIN, REPLACE_IN_USE_WITHIN = 5.0, 1.0
"""Seconds within which another attempt is to replace a relay that is lost, and one that the path uses. They are spread,
because a TURN server that is restarted loses those of all clients."""


class Renewal:
    """
    The requests for a new attempt.

    :ivar relayed_since: when the path began to use a relay; ``None`` while it uses none.
    :ivar replace_at: when a lost relay should be replaced; ``None`` if none is missing.
    """

    def __init__(self) -> None:
        self.relayed_since: float | None = None
        self.replace_at: float | None = None
        self._requests = 0
        self._not_before = float("-inf")

    def started(self) -> None:
        """An attempt has connected: the pauses are short again, unless it uses a relay as well, or lacks one."""
        if self.relayed_since is None and self.replace_at is None:
            self._requests = 0

    def relay_lost(self, now: float, sample: float) -> None:
        """:param sample: a random number from 0 to 1."""
        within = REPLACE_WITHIN if self.relayed_since is None else REPLACE_IN_USE_WITHIN
        self.replace_at = now + within * sample

    def note_relay(self, there: bool) -> None:
        """:param there: whether the newest attempt has a relay, so that none is missing."""
        if there:
            self.replace_at = None

    def due(self, silent_since: float | None) -> float | None:
        """
        :param silent_since: since when there is no answer from the peer on any pair; ``None`` if there is one.
        :returns: when a new attempt is to be asked for, in seconds.
        """
        times = [self.replace_at]
        if silent_since is not None:
            times.append(silent_since + AFTER_SILENCE)
        elif self.relayed_since is not None:
            times.append(self.relayed_since + AFTER_RELAY)
        earliest = min((time for time in times if time is not None), default=None)
        return None if earliest is None else max(earliest, self._not_before)

    def take(self, now: float, silent_since: float | None) -> bool:
        """:returns: whether a new attempt is to be asked for now."""
        due = self.due(silent_since)
        if due is None or now < due:
            return False
        is_for_reserve = silent_since is None and self.relayed_since is None
        pauses = LONG_PAUSES if is_for_reserve else PAUSES
        self._not_before = now + pauses[min(self._requests, len(pauses) - 1)]
        self._requests += 1
        return True
