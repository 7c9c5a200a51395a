"""What two clients should do to connect, by their NATs and their candidates; and why they cannot, in words."""

from __future__ import annotations

from collections.abc import Sequence

from rendezvous.core.attempts.attempt import Attempt, Facilities, Side
from rendezvous.core.attempts.candidates import passed_on
from rendezvous.core.attempts.mapping import mapping
from rendezvous.core.connect import Candidate, CandidateKind, NatMapping, Strategy

__all__ = ["BIRTHDAY_ROUND", "NO_PATH", "REASONS", "choose", "reason_of"]

#: The round in which many ports may be tried.
BIRTHDAY_ROUND = 2

#: The code of a failure that a client has reported in words of its own.
NO_PATH = "no-path"

#: The codes of attempts that have failed, and what each means.
REASONS = {
    "symmetric-pair": "Both NATs give every destination another port",
    "udp-blocked": "No datagram of one side has reached the server",
    "no-common-family": "One side has only IPv4 and the other one only IPv6",
    NO_PATH: "No path was found within the time",
}


def reason_of(code: str, *, has_relay: bool) -> str:
    """
    Say why an attempt has failed.

    :param code: one of :data:`REASONS`.
    :param has_relay: whether the server names TURN servers.
    :returns: a sentence.
    """
    if code == NO_PATH:
        return f"{REASONS[code]}."
    return f"{REASONS[code]}; a relay is needed, and {'none has worked' if has_relay else 'this server offers none'}."


def choose(attempt: Attempt, facilities: Facilities) -> tuple[Strategy, str | None]:
    """
    Find out what both sides should do in the present round.

    :returns: the strategy; and with :attr:`Strategy.RELAY` the code of :data:`REASONS` why there is no direct path.
        Without TURN servers the attempt has failed for this reason.
    """
    one, other, round = attempt.controlling, attempt.controlled, attempt.round
    code = _obstacle(one, other, round, facilities)
    if code is not None:
        return Strategy.RELAY, code
    mappings = (mapping(one, round), mapping(other, round))
    if (
        round == BIRTHDAY_ROUND
        and one.given.birthday
        and other.given.birthday
        and NatMapping.ENDPOINT_DEPENDENT in mappings
        and not all(each.is_per_destination for each in mappings)
    ):
        return Strategy.BIRTHDAY, None
    return Strategy.DIRECT, None


def _obstacle(one: Side, other: Side, round: int, facilities: Facilities) -> str | None:
    mappings = (mapping(one, round), mapping(other, round))
    if NatMapping.BLOCKED in mappings:
        return "udp-blocked"
    if not set(one.seen(round)) & set(other.seen(round)):
        return "no-common-family"
    if all(each.is_per_destination for each in mappings):
        candidates = (passed_on(one, other, round, facilities), passed_on(other, one, round, facilities))
        return None if _helps(*candidates) else "symmetric-pair"
    return None


def _helps(one: Sequence[Candidate], other: Sequence[Candidate]) -> bool:
    """:returns: whether a candidate makes it matter little that both NATs give every destination another port."""
    for each in (*one, *other):
        is_near = each.kind is CandidateKind.HOST and ":" not in each.address[0]
        if is_near or each.kind is CandidateKind.MAPPED:
            return True
    return all(any(":" in each.address[0] for each in side) for side in (one, other))
