"""
What a client that keeps itself online is doing, and what each thing that happens to it leads to.

The table is the whole of it; who carries it out owns the sockets and timers.
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
    GONE = "given up by the server"


class KeepAliveEvent(Enum):
    """What moves the service on."""

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
"""Where each event leads. An event that its state has no row for is a mistake of the caller."""

AWAITING: Final = frozenset({KeepAliveState.PULSING, KeepAliveState.PROVING})
"""The states in which a pulse is outstanding."""
