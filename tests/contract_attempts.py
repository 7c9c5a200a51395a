"""What every store must do: attempts to connect."""

from __future__ import annotations

from rendezvous.core.attempts.attempt import Facilities, Given, Invite, Outcome
from rendezvous.core.connect import AttemptState, Candidate, CandidateKind, Via
from rendezvous.core.notes import AttemptSide, PeerEvents
from rendezvous.core.signaling.events import EventKind
from rendezvous.errors import Conflict, NotFound, TooMany
from tests._store_case import NOW, StoreCase

__all__ = ["ATTEMPTS"]

AT_A, AT_B = ("198.51.100.1", 40000), ("203.0.113.2", 50000)
HOST = Candidate(CandidateKind.HOST, ("192.168.0.2", 5000))


class AttemptContract(StoreCase):
    """The verbs of attempts; the rules behind them have tests of their own."""

    def two(self) -> tuple[bytes, bytes]:
        """:returns: two clients."""
        (one, _), (other, _) = self.done(self.store.register(NOW)), self.done(self.store.register(NOW))
        return one, other

    def begun(self, one: bytes, other: bytes, now: float = NOW) -> bytes:
        """:returns: the id of a new attempt."""
        return self.done(self.store.begin_attempt(one, other, Given((HOST,), 0.05), now)).attempt

    def observe(self, client: bytes, attempt: bytes, source: tuple[str, int], now: float = NOW) -> None:
        """Have both ports see a source."""
        for port in (0, 1):
            ms = int(now * 1000) + 10 + port
            self.assertEqual(self.done(self.store.observe(client, attempt, 1, ms, port, source, now)), 1020)

    def test_attempt_from_its_begin_to_its_end(self) -> None:
        """Invited, accepted, observed, gone and done."""
        one, other = self.two()
        attempt = self.begun(one, other)
        [invitation] = self.done(self.store.invitations(other, NOW))
        self.assertEqual((invitation.attempt, invitation.peer), (attempt, one))
        self.done(self.store.accept_attempt(other, attempt, Given(), NOW))
        self.assertEqual(self.done(self.store.invitations(other, NOW)), [])
        self.observe(one, attempt, AT_A)
        self.observe(other, attempt, AT_B)
        seen = [self.done(self.store.attempt(client, attempt, NOW)) for client in (one, other)]
        keys = {view.go.key for view in seen if view.go is not None}
        self.assertEqual([view.state for view in seen], [AttemptState.GO] * 2)
        self.assertEqual([len(key) for key in keys], [32])
        outcome = Outcome(ok=True, via=Via.DIRECT)
        self.assertEqual(self.done(self.store.report_attempt(one, attempt, outcome, NOW)).state, AttemptState.DONE)
        self.assertEqual(
            [str(each) for each in self.done(self.store.attempts_due(NOW)).ended],
            ["endpoint-independent and endpoint-independent: direct"],
        )

    def test_keys_of_attempts_differ(self) -> None:
        """Each has its own."""
        one, other = self.two()
        keys = set()
        for _ in range(3):
            attempt = self.begun(one, other)
            self.done(self.store.accept_attempt(other, attempt, Given(), NOW))
            self.observe(one, attempt, AT_A)
            self.observe(other, attempt, AT_B)
            go = self.done(self.store.attempt(one, attempt, NOW)).go
            assert go is not None
            keys.add(go.key)
        self.assertEqual(len(keys), 3)

    def test_what_may_not_be_is_refused(self) -> None:
        """An unknown peer, oneself, a stranger's attempt, and too many."""
        one, other = self.two()
        self.assertEqual(
            self.refused(self.store.begin_attempt(one, bytes(16), Given(), NOW), NotFound).code, "no-such-peer"
        )
        self.assertEqual(self.refused(self.store.begin_attempt(one, one, Given(), NOW), Conflict).code, "own-attempt")
        attempt = self.begun(one, other)
        stranger, _ = self.done(self.store.register(NOW))
        self.assertEqual(self.refused(self.store.attempt(stranger, attempt, NOW), NotFound).code, "no-such-attempt")
        for _ in range(5):
            self.done(self.store.end_attempt(one, attempt, NOW))
            attempt = self.begun(one, other)
        self.assertEqual(self.refused(self.store.begin_attempt(one, other, Given(), NOW), TooMany).code, "attempt-rate")

    def test_each_change_can_be_waited_for(self) -> None:
        """An invitation wakes those who wait for the events of the invited; an acceptance, the one who has asked."""
        one, other = self.two()
        invited = self.store.subscribe(PeerEvents(other.hex())).changed()
        attempt = self.begun(one, other)
        self.assertIsNone(self.successResultOf(invited))
        accepted = self.store.subscribe(AttemptSide(attempt.hex(), "controlling")).changed()
        self.done(self.store.accept_attempt(other, attempt, Given(), NOW))
        self.assertIsNone(self.successResultOf(accepted))
        gone = self.store.subscribe(AttemptSide(attempt.hex(), "controlled")).changed()
        self.observe(one, attempt, AT_A)
        self.assertNoResult(gone)
        self.observe(other, attempt, AT_B)
        self.assertIsNone(self.successResultOf(gone))

    def test_invitation_is_an_event_while_it_can_be_accepted(self) -> None:
        """It can be resumed after any event before it, and is gone when it was declined."""
        one, other = self.two()
        start = self.done(self.store.events_since(other.hex(), None, NOW)).cursor
        attempt = self.begun(one, other)
        for _ in range(2):
            events = self.done(self.store.events_since(other.hex(), start, NOW))
            [event] = events.events
            self.assertEqual((event.kind, event.payload.attempt), (EventKind.INVITATION, attempt))  # type: ignore[union-attr]
            self.assertEqual((events.cursor, events.complete), (event.seq, True))
        self.assertEqual(list(self.done(self.store.events_since(other.hex(), event.seq, NOW)).events), [])
        self.done(self.store.end_attempt(other, attempt, NOW))
        self.assertEqual(list(self.done(self.store.events_since(other.hex(), start, NOW)).events), [])
        self.begun(one, other)
        self.assertEqual(list(self.done(self.store.events_since(other.hex(), start, NOW + 30)).events), [])

    def test_what_is_due_wakes_the_caller_and_comes_once(self) -> None:
        """The invitation at once; then it says when there is more."""
        woken: list[None] = []
        self.store.on_attempts_due(lambda: woken.append(None))
        one, other = self.two()
        attempt = self.begun(one, other)
        self.assertEqual(woken, [None])
        due = self.done(self.store.attempts_due(NOW))
        self.assertEqual((due.sends, due.next), ([Invite(other, attempt)], NOW + 0.25))
        self.assertEqual(self.done(self.store.attempts_due(NOW)).sends, [])

    def test_mapped_candidate_is_vouched_for(self) -> None:
        """Its check is sent, and the answer names the client whose key it must have."""
        one, other = self.two()
        attempt = self.begun(one, other)
        self.done(self.store.accept_attempt(other, attempt, Given(), NOW))
        mapped = Candidate(CandidateKind.MAPPED, ("198.51.100.1", 7000))
        self.done(self.store.name_candidates(one, attempt, (mapped,), NOW))
        self.observe(one, attempt, AT_A)
        self.observe(other, attempt, AT_B)
        [check] = self.done(self.store.attempts_due(NOW)).sends
        self.assertEqual(self.store.client_of_check(attempt, check.nonce), one)  # type: ignore[union-attr]
        self.done(self.store.take_check_answer(attempt, check.nonce, NOW))  # type: ignore[union-attr]
        go = self.done(self.store.attempt(other, attempt, NOW)).go
        assert go is not None
        self.assertIn(mapped, go.candidates)

    def test_server_without_relay_says_why_there_is_no_path(self) -> None:
        """With one, the strategy is to use it."""
        for facilities, expected in (
            (Facilities(), AttemptState.FAILED),
            (Facilities(has_relay=True), AttemptState.GO),
        ):
            self.store.use_facilities(facilities)
            one, other = self.two()
            attempt = self.begun(one, other)
            self.done(self.store.accept_attempt(other, attempt, Given(), NOW))
            self.done(self.store.attempt(one, attempt, NOW))
            for now in (NOW + 0.6, NOW + 1.3):
                self.done(self.store.attempts_due(now))
            self.assertEqual(self.done(self.store.attempt(one, attempt, NOW + 1.3)).state, expected)

    def test_logout_ends_attempts(self) -> None:
        """The peer sees it."""
        one, other = self.two()
        attempt = self.begun(one, other)
        self.done(self.store.logout(one, NOW))
        self.assertEqual(self.done(self.store.attempt(other, attempt, NOW)).state, AttemptState.DECLINED)


ATTEMPTS = [AttemptContract]
