"""How one attempt goes on: when it starts, what is to be sent for it and when, and what each side sees of it."""

from __future__ import annotations

from collections.abc import Callable

from rendezvous.core.attempts.attempt import (
    AddressCheck,
    Attempt,
    AttemptView,
    Check,
    Ended,
    Facilities,
    Go,
    Invite,
    Side,
)
from rendezvous.core.attempts.candidates import passed_on
from rendezvous.core.attempts.mapping import mapping
from rendezvous.core.attempts.strategy import choose
from rendezvous.core.connect import AttemptRole, AttemptState, CandidateKind, Strategy
from rendezvous.limits import AttemptLimits

__all__ = ["advance", "conclude", "due_at", "ended_as", "sends", "start_checks", "view"]

#: Seconds by which the first probes lie ahead at least, for the answers to arrive.
LEAST_AHEAD = 0.01


def start_checks(side: Side, now: float, limits: AttemptLimits, random: Callable[[int], bytes]) -> None:
    """Begin to check the mapped candidates that can be: those on an address that was observed, and a few at most."""
    hosts = side.hosts()
    for each in side.given.candidates:
        known = each.address in side.checks or each.address in side.vouched
        if each.kind is CandidateKind.MAPPED and each.address[0] in hosts and not known:
            if len(side.checks) + len(side.vouched) >= limits.checked_candidates:
                return
            side.checks[each.address] = Check(random(4), now)


def advance(attempt: Attempt, now: float, limits: AttemptLimits, facilities: Facilities) -> str | None:
    """
    Let an attempt go, or go on to the next round, if it is time.

    :returns: the code of the failure if there can be no path; then nothing has changed.
    """
    if attempt.state is AttemptState.OBSERVING:
        strategy, code = choose(attempt, facilities)
        if not _may_start(attempt, code, now, limits, facilities):
            return None
        if code is not None and not facilities.has_relay:
            return code
        attempt.state = AttemptState.GO
        _start(attempt, strategy, now)
    elif attempt.state is AttemptState.GO:
        if _next_round(attempt, now, limits, facilities):
            attempt.round += 1
            attempt.next_round = None
            for side in attempt:
                side.observed = {attempt.round: side.seen(attempt.round)}
            strategy, code = choose(attempt, facilities)
            # The first round has not shown the obstacle. If there is no relay, only a direct path can still be tried.
            is_possible = code is None or facilities.has_relay
            _start(attempt, strategy if is_possible else Strategy.DIRECT, now)
        else:
            # Another candidate, or a late observation, may change what is best. The start of the round stays.
            strategy, code = choose(attempt, facilities)
            if code is None or facilities.has_relay:
                attempt.strategy = strategy
    return None


def _may_start(attempt: Attempt, code: str | None, now: float, limits: AttemptLimits, facilities: Facilities) -> bool:
    """:param code: why there is no direct path as things are, if there is none."""
    joined = attempt.joined if attempt.joined is not None else now
    if now < joined + limits.patience:
        # That there is no direct path is only said later: a mapped candidate may still come.
        ports = facilities.udp_ports
        return code is None and ports > 0 and all(side.is_whole(1, ports) for side in attempt)
    last = joined + limits.last_patience if facilities.has_relay else _refusal(attempt, joined, limits)
    if code is None or now >= last:
        return True
    # Without a relay the attempt would fail: what shows a way, an observation or a candidate, may be late because a
    # packet was lost.
    return facilities.has_relay and not any(side.checks for side in attempt)


def _refusal(attempt: Attempt, joined: float, limits: AttemptLimits) -> float:
    """
    :param joined: when both sides took part.
    :returns: when it is said that there is no direct path, without a relay. A client that may not know the attempt yet,
        because the answer over HTTP was lost, has not been able to send an observation.
    """
    informed = (joined + limits.uninformed if side.informed is None else side.informed for side in attempt)
    return max(joined, *informed) + limits.last_patience


def _next_round(attempt: Attempt, now: float, limits: AttemptLimits, facilities: Facilities) -> bool:
    following = attempt.round + 1
    if not all(side.seen(following) for side in attempt):
        return False
    if attempt.next_round is None:
        attempt.next_round = now
    return now >= attempt.next_round + limits.patience or all(
        side.is_whole(following, facilities.udp_ports) for side in attempt
    )


def _start(attempt: Attempt, strategy: Strategy, now: float) -> None:
    attempt.strategy = strategy
    attempt.starts = now + max(LEAST_AHEAD, *(side.given.rtt / 2 for side in attempt))


def conclude(attempt: Attempt, state: AttemptState, now: float) -> None:
    """End an attempt. Unless it was a success, the addresses of both sides are forgotten."""
    attempt.state, attempt.ended = state, now
    for side in attempt:
        side.checks.clear()
        if state is not AttemptState.DONE:
            side.observed, side.vouched = {}, set()
            side.given = type(side.given)()


def ended_as(attempt: Attempt, state: AttemptState, via: str | None, now: float) -> Ended:
    """
    :param state: the state in which an attempt ends now.
    :param via: the kind of path, if there is one and a client has said it.
    :returns: what it is counted as; to be called before it ends, while the observations are there.
    """
    ok = state is AttemptState.DONE
    result = via or "unknown" if ok else attempt.code or state
    mappings = None
    if attempt.joined is not None:
        one, other = sorted(mapping(side, attempt.round) for side in attempt)
        mappings = one, other
    strategy = attempt.strategy if attempt.state is AttemptState.GO else None
    return Ended(mappings, strategy, result, ok, now - attempt.begun)


def due_at(attempt: Attempt, now: float, limits: AttemptLimits) -> float:
    """:returns: when something has to be done about an attempt next, in seconds of server time."""
    if attempt.ended is not None:
        return attempt.ended + limits.linger
    if attempt.joined is None:
        moments = [attempt.begun + limits.invited]
        if attempt.invites < len(limits.invite_after):
            moments.append(attempt.begun + limits.invite_after[attempt.invites])
    else:
        moments = [attempt.begun + limits.lifetime]
        if attempt.state is AttemptState.OBSERVING:
            steps = (attempt.joined + limits.patience, attempt.joined + limits.last_patience)
            moments.append(next((step for step in steps if now < step), _refusal(attempt, attempt.joined, limits)))
        if attempt.next_round is not None:
            moments.append(attempt.next_round + limits.patience)
    for side in attempt:
        moments += [
            check.begun + limits.check_after[check.sent]
            for check in side.checks.values()
            if check.sent < len(limits.check_after)
        ]
    return min(moments)


def sends(attempt: Attempt, now: float, limits: AttemptLimits) -> list[Invite | AddressCheck]:
    """:returns: the datagrams that are due for an attempt; they count as sent."""
    found: list[Invite | AddressCheck] = []
    if attempt.state is AttemptState.INVITED:
        invited = sum(attempt.begun + after <= now for after in limits.invite_after)
        if invited > attempt.invites:
            attempt.invites = invited
            found.append(Invite(attempt.controlled.client_id, attempt.id))
    for side in attempt:
        for address, check in side.checks.items():
            passed = sum(check.begun + after <= now for after in limits.check_after)
            if passed > check.sent:
                check.sent = passed
                found.append(AddressCheck(side.client_id, attempt.id, check.nonce, address))
    return found


def view(
    attempt: Attempt, side: Side, pair_key: Callable[[bytes], bytes], limits: AttemptLimits, facilities: Facilities
) -> AttemptView:
    """:returns: what a side sees; its version is 0, and is filled in by the caller."""
    peer = attempt.peer_of(side)
    go = None
    if attempt.state is AttemptState.GO or attempt.state is AttemptState.DONE:
        go = Go(
            key=pair_key(attempt.id),
            starts=attempt.starts - side.given.rtt / 2,
            strategy=attempt.strategy,
            mapping=mapping(side, attempt.round),
            peer_mapping=mapping(peer, attempt.round),
            candidates=passed_on(peer, side, attempt.round, facilities),
        )
    return AttemptView(
        attempt=attempt.id,
        state=attempt.state,
        role=side.role,
        version=0,
        expires=attempt.begun + limits.lifetime,
        round=attempt.round,
        peer=peer.client_id,
        takes_part=side.role is AttemptRole.CONTROLLING or attempt.joined is not None,
        go=go,
        code=attempt.code if attempt.state is AttemptState.FAILED else None,
    )
