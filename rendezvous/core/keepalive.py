"""
What a client that keeps itself online is doing, and what each thing that happens to it leads to.

The table is the whole of it; who carries it out owns the sockets and timers.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

__all__ = ["AWAITING", "TRANSITIONS", "Event", "State"]


class State(Enum):
    """What the service is doing."""

    STOPPED = "stopped"
    RESOLVING = "looking up the server's name"
    PULSING = "waiting for the answer to a pulse"
    RESTING = "waiting until the next pulse is due"
    VERIFYING = "waiting for the answer to a verify"
    PROVING = "waiting for the answer to the pulse after a verify"
    RETRYING = "waiting after a failure"
    GONE = "given up by the server"


class Event(Enum):
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
    (State.STOPPED, Event.START): State.RESOLVING,
    (State.RESOLVING, Event.RESOLVED): State.PULSING,
    (State.RESOLVING, Event.FAILED): State.RETRYING,
    (State.PULSING, Event.ON_TIME): State.RESTING,
    (State.PULSING, Event.VERIFY): State.VERIFYING,
    (State.PULSING, Event.UNKNOWN): State.GONE,
    (State.PULSING, Event.FAILED): State.RETRYING,
    (State.RESTING, Event.DUE): State.PULSING,
    (State.VERIFYING, Event.VERIFIED): State.PROVING,
    (State.VERIFYING, Event.UNKNOWN): State.GONE,
    (State.VERIFYING, Event.FAILED): State.RETRYING,
    (State.PROVING, Event.ON_TIME): State.RESTING,
    # A second 1050 in a row must not make a loop without a pause.
    (State.PROVING, Event.VERIFY): State.RETRYING,
    (State.PROVING, Event.UNKNOWN): State.GONE,
    (State.PROVING, Event.FAILED): State.RETRYING,
    (State.RETRYING, Event.DUE): State.RESOLVING,
} | {(state, Event.STOP): State.STOPPED for state in State}
"""Where each event leads. An event that its state has no row for is a mistake of the caller."""

AWAITING: Final = frozenset({State.PULSING, State.PROVING})
"""The states in which a pulse is outstanding."""
