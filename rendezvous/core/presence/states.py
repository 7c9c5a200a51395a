"""
The states of a client, and the times that decide them.

A client's state is never stored. It follows from one timestamp, the last accepted pulse or verify.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum

import attrs

__all__ = ["ON_PULSE", "PresenceState", "PulseCode", "Timers", "state_of"]


class PulseCode(IntEnum):
    """What a pulse is answered with."""

    ON_TIME = 1020
    VERIFY = 1050
    UNKNOWN = 1060


class PresenceState(Enum):
    """The state of a client, which follows from its timestamp. The protocol shows ``NEW`` as PENDING."""

    NEW = "registered, never pulsed"
    ONLINE = "pulsed in time"
    PENDING = "late: must verify"
    GONE = "silent for too long: logged out"


#: What a pulse means in each state. Only what is answered ``ON_TIME`` is recorded.
ON_PULSE: Mapping[PresenceState, PulseCode] = {
    PresenceState.NEW: PulseCode.ON_TIME,
    PresenceState.ONLINE: PulseCode.ON_TIME,
    PresenceState.PENDING: PulseCode.VERIFY,
    PresenceState.GONE: PulseCode.UNKNOWN,
}


@attrs.frozen(kw_only=True)
class Timers:
    """
    The times that decide a state, in seconds.

    :ivar pulse_interval: how often clients pulse.
    :ivar pulse_grace: how much later than that a pulse may come, for network jitter.
    :ivar error_time: how long a silent client is kept, plus one interval.
    :ivar registration_time: how long a new client may take to its first pulse.
    :ivar on_time: seconds after its last activity for which a client is ONLINE.
    :ivar kept: seconds after its last activity for which a client that has pulsed is kept.
    """

    pulse_interval: float = 30.0
    pulse_grace: float = 3.0
    error_time: float = 180.0
    registration_time: float = 300.0
    on_time: float = attrs.field(init=False)
    kept: float = attrs.field(init=False)

    @on_time.default
    def _on_time(self) -> float:
        return self.pulse_interval + self.pulse_grace

    @kept.default
    def _kept(self) -> float:
        return self.error_time + self.pulse_interval


def state_of(timers: Timers, seen: float, pulsed: bool, now: float) -> PresenceState:
    """
    :param seen: when the client was last seen.
    :param pulsed: whether it has an address.
    :returns: what that means now.
    """
    if now > seen + (timers.kept if pulsed else timers.registration_time):
        return PresenceState.GONE
    if not pulsed:
        return PresenceState.NEW
    return PresenceState.ONLINE if now <= seen + timers.on_time else PresenceState.PENDING
