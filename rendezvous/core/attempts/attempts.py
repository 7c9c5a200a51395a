"""
The attempts of clients to open a direct path: the verbs, and the rules of ``protocol/connect`` in the docs.

How long attempts are held and what is due for them is in :mod:`rendezvous.core.attempts.table`.
"""

from __future__ import annotations

import attrs

from rendezvous.core.addresses import Address
from rendezvous.core.attempts.attempt import Attempt, AttemptView, Given, Invitation, Outcome, Side
from rendezvous.core.attempts.strategy import NO_PATH, REASONS
from rendezvous.core.attempts.table import AttemptTable
from rendezvous.core.connect import AttemptRole, AttemptState, Candidate
from rendezvous.core.notes import PeerEvents
from rendezvous.core.presence.states import PulseCode
from rendezvous.core.sources import UNKNOWN, SourceNetwork
from rendezvous.errors import Conflict, NotFound

__all__ = ["Attempts"]


class Attempts:
    """
    The verbs of clients. Each takes the time, decides, and reports to the table.

    :param table: where attempts are held.
    """

    def __init__(self, table: AttemptTable) -> None:
        self._table = table

    # The verbs of clients

    def begin(
        self, client_id: bytes, peer: bytes, given: Given, now: float, source: SourceNetwork = UNKNOWN
    ) -> AttemptView:
        """
        Begin an attempt, and invite the peer.

        :raises Conflict: ``own-attempt`` with oneself, or ``too-many-attempts`` that go on.
        :raises TooMany: ``attempt-rate``, ``too-many-invitations`` that wait at the peer, or ``source-share``.
        :raises Full: ``full-attempts``.
        """
        if client_id == peer:
            raise Conflict("A client cannot connect to itself.", code="own-attempt")
        table = self._table
        table.admit(client_id, peer, now, source)
        attempt = Attempt(
            *table.draw(now),
            source=source,
            begun=now,
            controlling=Side(client_id, AttemptRole.CONTROLLING, given),
            controlled=Side(peer, AttemptRole.CONTROLLED),
        )
        table.enter(attempt)
        table.changed(attempt, now)
        table.notify(PeerEvents(peer.hex()))
        return table.view(attempt, attempt.controlling)

    def accept(self, client_id: bytes, attempt_id: bytes, given: Given, now: float) -> AttemptView:
        """
        Accept an invitation; a second time replaces what the client has said of itself.

        :raises NotFound: ``no-such-attempt``.
        :raises Conflict: ``attempt-over``, ``own-attempt`` to the client that has begun it, ``too-many-attempts``, or
            ``too-many-changes``.
        """
        attempt, side = self._find(client_id, attempt_id, now)
        if side.role is AttemptRole.CONTROLLING:
            raise Conflict("Only the invited client accepts an attempt.", code="own-attempt")
        self._check_going(attempt)
        if attempt.state is AttemptState.INVITED:
            self._table.check_room_to_accept(attempt, now)
            attempt.state, attempt.joined = AttemptState.OBSERVING, now
            self._table.join(attempt)
        self._give(attempt, side, given, now)
        return self._table.view(attempt, side)

    def name_candidates(
        self, client_id: bytes, attempt_id: bytes, candidates: tuple[Candidate, ...], now: float
    ) -> AttemptView:
        """
        Replace the candidates of a side.

        :raises NotFound: ``no-such-attempt``.
        :raises Conflict: ``attempt-over``, or ``too-many-changes``.
        """
        attempt, side = self._find(client_id, attempt_id, now)
        self._check_going(attempt)
        self._give(attempt, side, attrs.evolve(side.given, candidates=candidates), now)
        return self._table.view(attempt, side)

    def see(self, client_id: bytes, attempt_id: bytes, now: float) -> AttemptView:
        """
        Look at an attempt.

        :raises NotFound: ``no-such-attempt``.
        """
        return self._table.view(*self._find(client_id, attempt_id, now))

    def end(self, client_id: bytes, attempt_id: bytes, now: float) -> AttemptView:
        """
        Decline an invitation, or give up. An attempt that has ended stays as it is.

        :raises NotFound: ``no-such-attempt``.
        """
        attempt, side = self._find(client_id, attempt_id, now)
        if attempt.goes_on:
            self._table.conclude(attempt, AttemptState.DECLINED, now)
        return self._table.view(attempt, side)

    def report(self, client_id: bytes, attempt_id: bytes, outcome: Outcome, now: float) -> AttemptView:
        """
        Say how it went. The first report ends the attempt; one after the end changes nothing.

        :raises NotFound: ``no-such-attempt``.
        :raises Conflict: ``not-accepted``, before both sides take part.
        """
        attempt, side = self._find(client_id, attempt_id, now)
        if attempt.goes_on:
            if attempt.joined is None:
                raise Conflict("The invited client has not accepted this attempt.", code="not-accepted")
            if outcome.ok:
                self._table.conclude(attempt, AttemptState.DONE, now, outcome.via)
            else:
                attempt.code = outcome.code if outcome.code in REASONS else NO_PATH
                self._table.conclude(attempt, AttemptState.FAILED, now)
        return self._table.view(attempt, side)

    def invitations(self, client_id: bytes, now: float) -> list[Invitation]:
        """:returns: the invitations of a client that it has neither accepted nor declined, the oldest first."""
        invited = self._table.limits.invited
        return [
            Invitation(each.id, each.controlling.client_id, each.seq, each.begun + invited)
            for each in self._table.invited(client_id, now)
        ]

    def leave(self, client_id: bytes, now: float) -> None:
        """End the attempts of a client that has logged out."""
        for attempt in [*self._table.joined(client_id, now), *self._table.invited(client_id, now)]:
            self._table.conclude(attempt, AttemptState.DECLINED, now)

    # What comes by datagrams

    def observe(
        self, client_id: bytes, attempt_id: bytes, round: int, time: int, port: int, address: Address, now: float
    ) -> PulseCode | None:
        """
        Take an observation whose MAC and time were right.

        :param time: of the client, in ms since the epoch.
        :param port: the index of the UDP port that it came to.
        :param address: where it came from.
        :returns: 1020 if the attempt goes on and the client takes part in it, 1060 if not; ``None`` if an observation
            with this time or a later one was taken before: then there is no answer.
        """
        attempt = self._table.find(attempt_id, now)
        side = None if attempt is None else attempt.side_of(client_id)
        if attempt is None or side is None or not attempt.goes_on:
            return PulseCode.UNKNOWN
        if time <= side.latest.get(port, 0):
            return None
        if not 1 <= round <= min(attempt.round + 1, self._table.limits.rounds):
            return PulseCode.UNKNOWN
        side.latest[port] = time
        self._note_informed(attempt, side, now)
        is_of_use = round >= attempt.round and port < self._table.facilities.udp_ports
        if is_of_use and side.changes < self._table.limits.changes and side.see(round, port, address):
            side.changes += 1
            self._table.changed(attempt, now, is_urgent=False)
        return PulseCode.ON_TIME

    def client_of_check(self, attempt_id: bytes, nonce: bytes) -> bytes | None:
        """:returns: the client whose key the answer to an address check must be made with, if there is the check."""
        found = self._checked_side(attempt_id, nonce)
        return None if found is None else found[1].client_id

    def take_check_answer(self, attempt_id: bytes, nonce: bytes, now: float) -> None:
        """Take the answer to an address check, whose MAC was right."""
        found = self._checked_side(attempt_id, nonce)
        if found is None:
            return
        attempt, side, address = found
        del side.checks[address]
        side.vouched.add(address)
        self._table.changed(attempt, now, is_urgent=False)

    def _checked_side(self, attempt_id: bytes, nonce: bytes) -> tuple[Attempt, Side, Address] | None:
        attempt = self._table.held(attempt_id)
        if attempt is not None and attempt.goes_on:
            for side in attempt:
                for address, check in side.checks.items():
                    if check.nonce == nonce:
                        return attempt, side, address
        return None

    # Common ground

    def _find(self, client_id: bytes, attempt_id: bytes, now: float) -> tuple[Attempt, Side]:
        attempt = self._table.find(attempt_id, now)
        side = None if attempt is None else attempt.side_of(client_id)
        if attempt is None or side is None:
            raise NotFound("There is no such attempt, or it is over.", code="no-such-attempt")
        self._note_informed(attempt, side, now)
        return attempt, side

    def _note_informed(self, attempt: Attempt, side: Side, now: float) -> None:
        """Note that a client knows an attempt. There is nothing to write: after a restart it shows that anew."""
        if side.informed is None:
            side.informed = now
            self._table.schedule(attempt, now)  # The moment of a refusal depends on it.

    def _give(self, attempt: Attempt, side: Side, given: Given, now: float) -> None:
        """:raises Conflict: ``too-many-changes``."""
        if side.changes >= self._table.limits.changes:
            raise Conflict("This side has changed too often what the other one sees.", code="too-many-changes")
        side.changes += 1
        side.given = given
        self._table.changed(attempt, now)

    @staticmethod
    def _check_going(attempt: Attempt) -> None:
        if not attempt.goes_on:
            raise Conflict("This attempt has ended.", code="attempt-over")
