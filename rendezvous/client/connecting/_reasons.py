"""Why an attempt has ended without a path, by what the server says about it."""

from __future__ import annotations

from rendezvous.client.attempts import Attempt, AttemptState
from rendezvous.client.errors import ConnectFailed

__all__ = ["error_of", "with_relay_failure"]

_ENDED = {
    AttemptState.DECLINED: ("declined", "The peer has declined: it may be busy, or not admit this client."),
    AttemptState.FAILED: ("failed", "The server says that there can be no path."),
    AttemptState.DONE: ("closed", "The peer has ended the attempt."),
}
_EXPIRED = "expired", "The peer has not answered in time: it may be offline, or it does not listen."

#: The codes of attempts in which the peer takes no part.
_OF_THE_PEER = frozenset({"declined", "expired", "closed"})


def error_of(attempt: Attempt | None) -> ConnectFailed:
    """
    :param attempt: that has ended; ``None`` if the server has said nothing of it.
    :returns: why there is no path.
    """
    code, reason = _EXPIRED if attempt is None else _ENDED.get(attempt.state, _EXPIRED)
    if attempt is not None and attempt.code is not None:
        return ConnectFailed(attempt.reason or reason, code=attempt.code)
    return ConnectFailed(reason, code=code)


def with_relay_failure(error: ConnectFailed, relay_failure: str | None) -> ConnectFailed:
    """
    Add why there was no relay. The user, or the operator of the server, may be able to change that.

    :param relay_failure: ``None`` if a relay was not asked for, or is there.
    :returns: the error, unless no relay would have helped: the peer has not taken part.
    """
    if relay_failure is None or error.code in _OF_THE_PEER:
        return error
    return ConnectFailed(f"{error.reason} This host has got no relay: {relay_failure}.", code=error.code)
