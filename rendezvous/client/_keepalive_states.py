"""
The states of :class:`~rendezvous.client.KeepAlive`, and the transitions between them.

This module is a table only; the service owns the socket and the timers.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

__all__ = ["AWAITING", "TRANSITIONS", "KeepAliveEvent", "KeepAliveState"]


class KeepAliveState(Enum):
    """What the service is doing."""

    STOPPED = "stopped"
    RESOLVING = "looking up the server's name"
    PULSING = "waiting for the answer to a pulse"
    RESTING = "waiting until the next pulse is due"
    VERIFYING = "waiting for the answer to a verify"
    PROVING = "waiting for the answer to the pulse after a verify"
    RETRYING = "waiting after a failure"
    GONE = "no longer known to the server"


class KeepAliveEvent(Enum):
    """The events that change the state."""

    START = "start"
    STOP = "stop"
    RESOLVED = "resolved"
    ON_TIME = "on time"
    VERIFY = "verify"
    UNKNOWN = "unknown"
    VERIFIED = "verified"
    FAILED = "failed"
    DUE = "due"


TRANSITIONS: Final = {
    (KeepAliveState.STOPPED, KeepAliveEvent.START): KeepAliveState.RESOLVING,
    (KeepAliveState.RESOLVING, KeepAliveEvent.RESOLVED): KeepAliveState.PULSING,
    (KeepAliveState.RESOLVING, KeepAliveEvent.FAILED): KeepAliveState.RETRYING,
    (KeepAliveState.PULSING, KeepAliveEvent.ON_TIME): KeepAliveState.RESTING,
    (KeepAliveState.PULSING, KeepAliveEvent.VERIFY): KeepAliveState.VERIFYING,
    (KeepAliveState.PULSING, KeepAliveEvent.UNKNOWN): KeepAliveState.GONE,
    (KeepAliveState.PULSING, KeepAliveEvent.FAILED): KeepAliveState.RETRYING,
    (KeepAliveState.RESTING, KeepAliveEvent.DUE): KeepAliveState.PULSING,
    (KeepAliveState.VERIFYING, KeepAliveEvent.VERIFIED): KeepAliveState.PROVING,
    (KeepAliveState.VERIFYING, KeepAliveEvent.UNKNOWN): KeepAliveState.GONE,
    (KeepAliveState.VERIFYING, KeepAliveEvent.FAILED): KeepAliveState.RETRYING,
    (KeepAliveState.PROVING, KeepAliveEvent.ON_TIME): KeepAliveState.RESTING,
    # A second 1050 in a row must not make a loop without a pause.
    (KeepAliveState.PROVING, KeepAliveEvent.VERIFY): KeepAliveState.RETRYING,
    (KeepAliveState.PROVING, KeepAliveEvent.UNKNOWN): KeepAliveState.GONE,
    (KeepAliveState.PROVING, KeepAliveEvent.FAILED): KeepAliveState.RETRYING,
    (KeepAliveState.RETRYING, KeepAliveEvent.DUE): KeepAliveState.RESOLVING,
} | {(state, KeepAliveEvent.STOP): KeepAliveState.STOPPED for state in KeepAliveState}
"""The next state for each state and event. An event that its state has no entry for is a programming error."""

AWAITING: Final = frozenset({KeepAliveState.PULSING, KeepAliveState.PROVING})
"""The states in which a pulse is outstanding."""
