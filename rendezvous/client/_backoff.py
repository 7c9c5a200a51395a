"""
When a client pulses next: numbers in, seconds out.

The caller owns the clock and the randomness; ``sample`` is always one draw from ``[0, 1)``.
"""

from __future__ import annotations

__all__ = ["JITTER", "pulse_delay", "pulse_period", "retry_delay"]

JITTER = 0.1
"""The most that a delay differs from its nominal length, as a share of it, so that clients do not pulse in step."""

FIRST_RETRY = 1.0
"""Seconds before the first retry; each further one waits twice as long."""

_MOST_DOUBLINGS = 30
"""2^30 s is longer than any period; more doublings would only overflow."""


def pulse_period(interval: float) -> float:
    """
    The nominal time between two pulses: two thirds of the interval, so that jitter and travel never make one late.

    :param interval: the server's pulse interval, in seconds.
    :returns: seconds.
    """
    return interval * 2 / 3


def pulse_delay(interval: float, sample: float) -> float:
    """
    How long to wait from one pulse to the next.

    :param interval: the server's pulse interval, in seconds.
    :param sample: a random number in ``[0, 1)``.
    :returns: seconds, within :data:`JITTER` of the period.
    """
    return _jittered(pulse_period(interval), sample)


def retry_delay(interval: float, failures: int, sample: float, *, retry_after: float | None = None) -> float:
    """
    How long to wait before trying again: 1, 2, 4 … seconds, never more than the pulse period, and jittered.

    :param interval: the server's pulse interval, in seconds.
    :param failures: failures in a row so far, this one included; at least one.
    :param sample: a random number in ``[0, 1)``.
    :param retry_after: how long the server has asked to wait, in seconds. It is jittered upwards only, so that clients
        which were refused together do not come back together, and honoured up to one interval: a client that waits
        longer could be late.
    :returns: seconds.
    """
    doublings = min(failures - 1, _MOST_DOUBLINGS)
    delay = _jittered(min(FIRST_RETRY * 2**doublings, pulse_period(interval)), sample)
    return max(delay, min((retry_after or 0.0) * (1 + JITTER * sample), interval))


def _jittered(delay: float, sample: float) -> float:
    return delay * (1 + JITTER * (2 * sample - 1))
