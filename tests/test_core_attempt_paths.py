"""Attempts to connect after both sides were observed: rounds, what is sent, and the end."""

from __future__ import annotations

from collections import Counter

import attrs

from rendezvous.core.attempts.attempt import AddressCheck, Facilities, Given, Invite, Outcome
from rendezvous.core.connect import AttemptState, Candidate, CandidateKind, NatMapping, Strategy, Via
from rendezvous.core.notes import AttemptSide, Removed
from rendezvous.errors import Conflict, NotFound
from tests._attempt_case import AT_A, AT_B, NOW, RELAY, SYMMETRIC, SYMMETRIC_B, A, AttemptCase, B, given

HOST, MAPPED, RELAYED = CandidateKind.HOST, CandidateKind.MAPPED, CandidateKind.RELAYED


class RoundTests(AttemptCase):
    """New sockets, new numbers."""

    def test_next_round_begins_when_both_have_observed_it(self) -> None:
        """Its candidates are those of the new sockets alone, and both start together again."""
        attempt = self.gone()
        new_a, new_b = ("198.51.100.1", 40100), ("203.0.113.2", 50100)
        self.observe(A, attempt, new_a, new_a, round=2, now=NOW + 2)
        seen = self.see(B, attempt, NOW + 2)
        self.assertEqual((seen.round, self.candidates(B, attempt)), (1, [("server-reflexive", *AT_A)]))
        self.observe(B, attempt, new_b, new_b, round=2, now=NOW + 2.1)
        after = self.see(B, attempt, NOW + 2.1)
        assert after.go is not None
        self.assertEqual((after.round, after.version, after.go.starts), (2, seen.version + 1, NOW + 2.11))
        self.assertEqual(self.candidates(B, attempt), [("server-reflexive", *new_a)])
        # A late copy of the first round is answered, and changes nothing.
        self.observe(A, attempt, AT_A, now=NOW + 2.2, round=1)
        self.assertEqual(self.see(B, attempt, NOW + 2.2).version, after.version)
        held = self.table.held(attempt)
        assert held is not None
        self.assertEqual([set(side.observed) for side in held], [{2}] * 2)

    def test_lost_observation_holds_a_round_up_for_600_ms(self) -> None:
        """Counted from when both have been seen in this round; what was seen in the one before is forgotten."""
        attempt = self.gone()
        for round, now in ((2, NOW + 1), (3, NOW + 4)):
            self.observe(A, attempt, AT_A, AT_A, round=round, now=now - 0.5)
            self.observe(B, attempt, AT_B, round=round, now=now)
            self.assertEqual(self.table.due(now).next, now + 0.6)
            self.assertEqual(self.see(A, attempt, now + 0.59).round, round - 1)
            self.table.due(now + 0.6)
            self.assertEqual(self.see(A, attempt, now + 0.6).round, round)
            self.assertEqual(self.table.due(now + 0.6).next, NOW + 60)
            held = self.table.held(attempt)
            assert held is not None
            self.assertEqual([set(side.observed) for side in held], [{round}] * 2)

    def test_later_round_without_a_relay_is_direct(self) -> None:
        """What is seen in it shows an obstacle that the first round has not shown; nothing else could be tried."""
        for facilities, expected in ((Facilities(), Strategy.DIRECT), (RELAY, Strategy.RELAY)):
            self.table.facilities = facilities
            attempt = self.joined()
            self.observe(A, attempt, SYMMETRIC[0])
            self.observe(B, attempt, *SYMMETRIC_B)
            self.table.due(NOW + 0.6)
            for client, sources in ((A, SYMMETRIC), (B, SYMMETRIC_B)):
                self.observe(client, attempt, *sources, round=2, now=NOW + 2)
            seen = self.see(A, attempt, NOW + 2)
            assert seen.go is not None
            self.assertEqual((seen.state, seen.round, seen.go.strategy), (AttemptState.GO, 2, expected))

    def test_there_are_three_rounds(self) -> None:
        """A fourth is refused."""
        attempt = self.gone()
        for round in (2, 3):
            self.observe(A, attempt, AT_A, AT_A, round=round)
            self.observe(B, attempt, AT_B, AT_B, round=round)
        self.time += 1
        self.assertEqual(self.attempts.observe(A, attempt, 4, self.time, 0, AT_A, NOW), 1060)


class DueTests(AttemptCase):
    """What is sent, and when something is to be done."""

    def test_invitation_is_sent_four_times(self) -> None:
        """At once, and after 0.25, 0.75 and 1.75 s."""
        attempt = self.begin()
        sent = []
        now = NOW
        while now <= NOW + 5:
            sent += [now - NOW] * len(self.table.due(now).sends)
            now = round(now + 0.05, 2)
        self.assertEqual(sent, [0.0, 0.25, 0.75, 1.75])
        self.assertEqual(self.see(B, attempt, NOW + 5).state, AttemptState.INVITED)

    def test_invitation_ends_with_the_answer(self) -> None:
        """Accepted or declined."""
        for answer in (
            lambda name: self.attempts.accept(B, name, Given(), NOW),
            lambda name: self.attempts.end(B, name, NOW),
        ):
            attempt = self.begin()
            self.assertEqual(self.table.due(NOW).sends, [Invite(B, attempt)])
            answer(attempt)
            self.assertEqual(self.table.due(NOW + 0.25).sends, [])

    def test_late_look_sends_one(self) -> None:
        """However many were due meanwhile."""
        self.begin()
        self.assertEqual(len(self.table.due(NOW + 1).sends), 1)
        self.assertEqual(self.table.due(NOW + 1).next, NOW + 1.75)

    def test_caller_is_woken_for_what_is_due_earlier(self) -> None:
        """And not for what is later than what it waits for already."""
        self.begin()
        self.assertEqual(self.wakes, 1)
        self.table.due(NOW)
        self.begin(NOW + 0.1)
        self.assertEqual(self.wakes, 2)

    def test_each_look_is_for_what_is_due_next(self) -> None:
        """The end of the first wait for observations, then that of the last one, then the checks and their repeats."""
        attempt = self.joined(one=given((MAPPED, "198.51.100.1", 7000)))
        self.observe(A, attempt, *SYMMETRIC)
        self.observe(B, attempt, *SYMMETRIC_B)
        found, now = [], NOW
        while self.see(A, attempt, now).state is AttemptState.OBSERVING:
            due = self.table.due(now)
            found.append((round(now - NOW, 6), len(due.sends)))
            assert due.next is not None
            self.assertGreater(due.next, now)
            now = due.next
        self.assertEqual((found, now), ([(0.0, 1), (0.1, 1), (0.3, 1), (0.6, 0)], NOW + 1.3))

    def test_checks_that_begin_at_other_times(self) -> None:
        """Each has its own repeats."""
        attempt = self.joined(one=given((MAPPED, "198.51.100.1", 7000)))
        self.observe(A, attempt, AT_A, AT_A)
        found, now = list[tuple[float, int]](), NOW
        while now < NOW + 1:
            due = self.table.due(now)
            found += [(round(now - NOW, 6), each.address[1]) for each in due.sends if isinstance(each, AddressCheck)]
            if now == NOW:
                both = tuple(Candidate(MAPPED, ("198.51.100.1", port)) for port in (7000, 7001))
                self.attempts.name_candidates(A, attempt, both, NOW + 0.05)
                due = self.table.due(NOW + 0.05)
                found += [(0.05, each.address[1]) for each in due.sends if isinstance(each, AddressCheck)]
            assert due.next is not None
            now = due.next
        self.assertEqual(found, [(0.0, 7000), (0.05, 7001), (0.1, 7000), (0.15, 7001), (0.3, 7000), (0.35, 7001)])

    def test_next_look_is_for_the_attempt_that_is_due_first(self) -> None:
        """Also if another one was begun earlier."""
        self.begin()
        self.table.due(NOW + 2)
        self.begin(NOW + 2)
        self.table.due(NOW + 2)
        self.assertEqual(self.table.due(NOW + 2).next, NOW + 2.25)


class EndTests(AttemptCase):
    """How attempts end, and what is counted."""

    def outcomes(self, now: float = NOW) -> dict[str, int]:
        """:returns: what has been counted since the last time."""
        return dict(Counter(map(str, self.table.due(now).ended)))

    def test_path_that_works_ends_the_attempt(self) -> None:
        """The first report counts; the other side still sees what it needs."""
        attempt = self.gone()
        self.assertEqual(
            self.attempts.report(A, attempt, Outcome(ok=True, via=Via.DIRECT), NOW).state, AttemptState.DONE
        )
        seen = self.attempts.report(B, attempt, Outcome(ok=False), NOW)
        self.assertEqual((seen.state, seen.go is not None), (AttemptState.DONE, True))
        both = "endpoint-independent and endpoint-independent"
        self.assertEqual(self.outcomes(), {f"{both}: direct": 1})
        self.attempts.report(A, self.gone(), Outcome(ok=True), NOW)
        self.assertEqual(self.outcomes(), {f"{both}: unknown": 1})
        self.assertEqual(self.outcomes(), {})

    def test_side_that_gives_up_ends_the_attempt(self) -> None:
        """With a code of the list, whatever it says; addresses are forgotten."""
        for said, code in (
            ("no-path", "no-path"),
            ("x" * 5000, "no-path"),
            (None, "no-path"),
            ("udp-blocked", "udp-blocked"),
        ):
            attempt = self.gone()
            seen = self.attempts.report(A, attempt, Outcome(ok=False, code=said), NOW)
            self.assertEqual((seen.state, seen.code, seen.go), (AttemptState.FAILED, code, None))

    def test_end_is_reported(self) -> None:
        """Both sides see it and those that wait are notified, it is kept, and the addresses are not."""
        attempt = self.gone(given((HOST, "192.168.0.2", 5000)))
        versions = [self.see(client, attempt).version for client in (A, B)]
        self.keys.clear()
        self.noted.clear()
        self.attempts.end(A, attempt, NOW)
        self.assertEqual([self.see(client, attempt).version for client in (A, B)], [each + 1 for each in versions])
        self.assertEqual(self.keys, [AttemptSide(attempt.hex(), role) for role in ("controlling", "controlled")])
        held = self.table.held(attempt)
        assert held is not None
        self.assertEqual(self.noted, [held])
        self.assertEqual([(side.observed, side.checks, side.given) for side in held], [({}, {}, Given())] * 2)

    def test_report_before_both_take_part_is_refused(self) -> None:
        """There can be no path yet."""
        attempt = self.begin()
        for client in (A, B):
            self.assertEqual(
                self.refused(Conflict, self.attempts.report, client, attempt, Outcome(ok=True), NOW), "not-accepted"
            )

    def test_attempt_ends_after_its_time(self) -> None:
        """30 s without acceptance, 60 s in all, to the moment; then it can be read for 30 s."""
        for attempt, lifetime in ((self.begin(), 30), (self.gone(), 60)):
            self.assertNotEqual(self.see(A, attempt, NOW + lifetime - 0.001).state, AttemptState.EXPIRED)
            self.assertEqual(self.see(A, attempt, NOW + lifetime).state, AttemptState.EXPIRED)
            self.assertEqual(self.see(B, attempt, NOW + lifetime + 29.9).go, None)
            self.assertEqual(self.refused(NotFound, self.see, A, attempt, NOW + lifetime + 30), "no-such-attempt")
        self.assertEqual(
            self.outcomes(NOW + 200),
            {"not accepted: expired": 1, "endpoint-independent and endpoint-independent: expired": 1},
        )
        self.assertEqual(len([each for each in self.noted if isinstance(each, Removed)]), 2)
        self.assertIsNone(self.table.due(NOW + 200).next)

    def test_failures_are_counted_by_code(self) -> None:
        """And declined ones."""
        attempt = self.joined()
        self.observe(A, attempt, *SYMMETRIC)
        self.observe(B, attempt, *SYMMETRIC_B)
        self.assertEqual(self.outcomes(NOW + 1.3), {"endpoint-dependent and endpoint-dependent: symmetric-pair": 1})
        self.attempts.end(B, self.begin(), NOW)
        self.assertEqual(self.outcomes(), {"not accepted: declined": 1})

    def test_what_is_counted(self) -> None:
        """Both mappings in the order of their names, the strategy of the last round, and the time since the request."""
        attempt = self.joined()
        self.observe(A, attempt, *SYMMETRIC)
        self.observe(B, attempt, AT_B, AT_B)
        self.table.due(NOW + 2)
        self.attempts.report(B, attempt, Outcome(ok=True, via=Via.LAN), NOW + 2.5)
        self.attempts.end(A, self.begin(), NOW + 3)
        mappings = NatMapping.ENDPOINT_DEPENDENT, NatMapping.ENDPOINT_INDEPENDENT
        ended = self.table.due(NOW + 3).ended
        self.assertEqual(
            [attrs.astuple(each) for each in ended],
            [(mappings, Strategy.DIRECT, "lan", True, 2.5), (None, None, "declined", False, 3.0)],
        )
        self.assertEqual(ended[1], attrs.evolve(ended[1], seconds=1.0))


class RestoreTests(AttemptCase):
    """After a restart of the server."""

    def test_attempt_goes_on(self) -> None:
        """With the same key; versions have grown, and both sides may be observed again."""
        attempt = self.gone()
        before = self.see(A, attempt)
        kept = (self.touched + self.noted)[-1]
        self.make()
        self.table.restore([kept], NOW + 1)  # type: ignore[list-item]
        after = self.see(A, attempt, NOW + 1)
        self.assertEqual((after.go, after.state), (before.go, AttemptState.GO))
        self.assertGreater(after.version, before.version)
        self.assertEqual(self.table.due(NOW + 1).next, NOW + 60)

    def test_attempts_that_were_accepted_are_no_invitations(self) -> None:
        """They count for both clients, and those that were not accepted wait for the invited one."""
        for joined in (True, False):
            self.make()
            attempt = self.joined() if joined else self.begin()
            kept = self.noted[-1]
            self.make(at_once=1)
            self.table.restore([kept], NOW)  # type: ignore[list-item]
            self.assertEqual([each.attempt for each in self.attempts.invitations(B, NOW)], [attempt] * (not joined))
            self.assertEqual([len(self.table.joined(client, NOW)) for client in (A, B)], [1, int(joined)])

    def test_observation_of_before_is_not_taken_again(self) -> None:
        """Whether or not the file has it."""
        attempt = self.joined()
        kept = self.noted[-1]
        self.make()
        self.table.restore([kept], NOW)  # type: ignore[list-item]
        ms = int(NOW * 1000)
        for port in (0, 1):
            self.assertIsNone(self.attempts.observe(A, attempt, 1, ms, port, AT_A, NOW))
            self.assertEqual(self.attempts.observe(A, attempt, 1, ms + 1, port, AT_A, NOW), 1020)

    def test_missing_observations_have_their_time_again(self) -> None:
        """Requests and datagrams that the restart has lost are repeated."""
        attempt = self.joined()
        kept = self.noted[-1]
        self.make()
        self.table.restore([kept], NOW + 5)  # type: ignore[list-item]
        for client in (A, B):
            self.assertEqual(self.see(client, attempt, NOW + 5).state, AttemptState.OBSERVING)
        self.table.due(NOW + 5.6)
        self.assertEqual(self.see(A, attempt, NOW + 5.6).state, AttemptState.OBSERVING)
        self.table.due(NOW + 6.3)
        self.assertEqual(self.see(A, attempt, NOW + 6.3).state, AttemptState.FAILED)
