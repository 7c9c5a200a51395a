"""Conversions of what the server says about an attempt: to what the puncher takes, and to an error."""

from __future__ import annotations

from collections.abc import Sequence

from rendezvous.client.attempts import Attempt, AttemptState
from rendezvous.client.errors import ConnectFailed
from rendezvous.core.connect import Candidate, CandidateKind, Mapping, Strategy
from rendezvous.core.punching.pairs import Local
from rendezvous.core.punching.rounds import Round

__all__ = ["candidates_of", "error_of", "round_of"]

_KINDS = {kind.value: kind for kind in CandidateKind}
_STRATEGIES = {strategy.value: strategy for strategy in Strategy}
_MAPPINGS = {mapping.value: mapping for mapping in Mapping}

_ENDED = {
    AttemptState.DECLINED: ("declined", "The peer has declined."),
    AttemptState.FAILED: ("failed", "The server says that there can be no path."),
    AttemptState.DONE: ("no-answer", "The peer has ended the attempt."),
}
_EXPIRED = "expired", "The peer has not answered in time: it may be offline, or it does not listen."


def candidates_of(attempt: Attempt) -> list[Candidate]:
    """:returns: the candidates of the peer; a kind that is not known is left out."""
    return [
        Candidate(_KINDS[each.kind], (each.host, each.port)) for each in attempt.peer.candidates if each.kind in _KINDS
    ]


def round_of(attempt: Attempt, hold: float, locals: Sequence[Local]) -> Round:
    """
    :param attempt: with the state ``go``.
    :param hold: seconds to wait before the first probe.
    :param locals: the endpoints of this side.
    :returns: the round that begins; words of the server that are not known count as the most general ones.
    """
    return Round(
        number=attempt.round,
        hold=hold,
        candidates=candidates_of(attempt),
        locals=locals,
        strategy=_STRATEGIES.get(attempt.strategy or "", Strategy.DIRECT),
        mapping=_MAPPINGS.get(attempt.mapping or "", Mapping.UNKNOWN),
        peer_mapping=_MAPPINGS.get(attempt.peer.mapping or "", Mapping.UNKNOWN),
    )


def error_of(attempt: Attempt | None) -> ConnectFailed:
    """
    :param attempt: that has ended; ``None`` if the server has said nothing of it.
    :returns: why there is no path.
    """
    code, reason = _EXPIRED if attempt is None else _ENDED.get(attempt.state, _EXPIRED)
    if attempt is not None and attempt.code is not None:
        return ConnectFailed(attempt.reason or reason, code=attempt.code)
    return ConnectFailed(reason, code=code)
