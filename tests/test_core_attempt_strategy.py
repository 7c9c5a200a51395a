"""Attempts to connect: what both sides should do, by their mappings and candidates."""

from __future__ import annotations

from collections.abc import Sequence

from rendezvous.core.attempts.attempt import AddressCheck, Facilities, Given
from rendezvous.core.connect import AttemptState, Candidate, CandidateKind, Strategy
from tests._attempt_case import AT_A, AT_B, NOW, RELAY, SEQUENTIAL, SYMMETRIC, SYMMETRIC_B, A, AttemptCase, B, given

HOST, MAPPED, RELAYED = CandidateKind.HOST, CandidateKind.MAPPED, CandidateKind.RELAYED


class StrategyTests(AttemptCase):
    """What both sides should do, and when it is said that nothing helps."""

    def strategy(
        self,
        one: Sequence[tuple[str, int]],
        other: Sequence[tuple[str, int]],
        now: float = NOW,
        said: Given = Given(),  # noqa: B008 - it is frozen
    ) -> tuple[str, str | None]:
        """:returns: strategy and code of an attempt of which this was observed, as B sees it."""
        attempt = self.joined(one=said)
        self.observe(A, attempt, *one)
        self.observe(B, attempt, *other)
        seen = self.see(B, attempt, now)
        found = (seen.go.strategy if seen.go else seen.state, seen.code)
        self.attempts.end(A, attempt, now)
        return found

    def test_pairs_that_can_connect_are_direct(self) -> None:
        """One easy side is enough."""
        for one, other in (((AT_A, AT_A), SYMMETRIC_B), (SEQUENTIAL, (AT_B, AT_B)), ((AT_A, AT_A), (AT_B, AT_B))):
            self.assertEqual(self.strategy(one, other), (Strategy.DIRECT, None))

    def test_symmetric_pair_needs_a_relay(self) -> None:
        """It is said after 600 ms, because a mapped candidate may still come; without a relay it fails after 1.3 s."""
        for other in (SYMMETRIC_B, (AT_B, ("203.0.113.2", 50001))):
            self.make()
            self.assertEqual(self.strategy(SYMMETRIC, other, NOW + 1.29), (AttemptState.OBSERVING, None))
            self.assertEqual(self.strategy(SYMMETRIC, other, NOW + 1.3), (AttemptState.FAILED, "symmetric-pair"))
            self.make()
            self.table.facilities = RELAY
            self.assertEqual(self.strategy(SYMMETRIC, other, NOW + 0.59), (AttemptState.OBSERVING, None))
            self.assertEqual(self.strategy(SYMMETRIC, other, NOW + 0.6), (Strategy.RELAY, None))

    def test_side_without_observation_needs_a_relay(self) -> None:
        """No datagram of it has come."""
        self.assertEqual(self.strategy((AT_A, AT_A), (), NOW + 1.29), (AttemptState.OBSERVING, None))
        self.assertEqual(self.strategy((AT_A, AT_A), (), NOW + 1.3), (AttemptState.FAILED, "udp-blocked"))
        self.table.facilities = RELAY
        self.assertEqual(self.strategy((AT_A, AT_A), (), NOW + 0.6), (Strategy.RELAY, None))

    def test_client_that_may_not_know_the_attempt_is_waited_for(self) -> None:
        """
        The answer with the attempt's id may have been lost. From its first request on it has 1.3 s; without one, the
        attempt fails 5.3 s after both took part.
        """
        for asked_at, fails_at in ((0.5, 1.8), (3.0, 4.3), (None, 5.3)):
            self.make()
            attempt = self.joined()
            self.observe(B, attempt, AT_B, AT_B)
            if asked_at is not None:
                self.assertEqual(self.see(A, attempt, NOW + asked_at).state, AttemptState.OBSERVING)
            moments = []
            for now in (NOW + 0.6, NOW + 1.3, NOW + fails_at - 0.01, NOW + fails_at):
                self.table.due(now)
                moments.append(self.see(B, attempt, now).state)
            self.assertEqual(moments, [AttemptState.OBSERVING] * 3 + [AttemptState.FAILED])

    def test_late_observation_of_such_a_client(self) -> None:
        """The attempt goes on as if nothing had been lost."""
        attempt = self.joined()
        self.observe(B, attempt, AT_B, AT_B)
        self.table.due(NOW + 1.3)
        self.attempts.observe(A, attempt, 1, int((NOW + 2) * 1000), 0, AT_A, NOW + 2)
        self.assertEqual(self.see(B, attempt, NOW + 2).state, AttemptState.GO)

    def test_sides_without_a_common_family_need_a_relay(self) -> None:
        """IPv4 alone on one side, IPv6 alone on the other."""
        six = ("2001:db8::1", 4000)
        self.assertEqual(self.strategy((AT_A, AT_A), (six, six), NOW + 1.3), (AttemptState.FAILED, "no-common-family"))

    def test_mapped_candidate_helps_a_symmetric_pair(self) -> None:
        """The check is waited for, 1.3 s at most in all."""
        attempt = self.joined(one=given((MAPPED, "198.51.100.1", 7000)))
        self.observe(A, attempt, *SYMMETRIC)
        self.observe(B, attempt, *SYMMETRIC_B)
        [check] = [each for each in self.table.due(NOW).sends if isinstance(each, AddressCheck)]
        self.table.due(NOW + 0.6)
        self.assertEqual(self.see(A, attempt, NOW + 0.9).state, AttemptState.OBSERVING)
        self.attempts.take_check_answer(attempt, check.nonce, NOW + 0.9)
        seen = self.see(B, attempt, NOW + 0.9)
        assert seen.go is not None
        self.assertEqual(seen.go.strategy, Strategy.DIRECT)
        for facilities, end in ((self.table.facilities, AttemptState.FAILED), (RELAY, AttemptState.GO)):
            self.table.facilities = facilities
            other = self.joined(one=given((MAPPED, "198.51.100.1", 7000)))
            self.observe(A, other, *SYMMETRIC)
            self.observe(B, other, *SYMMETRIC_B)
            self.assertEqual(self.see(A, other, NOW + 1.2).state, AttemptState.OBSERVING)
            self.table.due(NOW + 1.3)
            self.assertEqual(self.see(A, other, NOW + 1.3).state, end)

    def test_mapped_candidate_that_comes_late_saves_an_attempt_without_a_relay(self) -> None:
        """A packet of the request that names it was lost, and it comes a second after both have taken part."""
        attempt = self.joined()
        self.observe(A, attempt, *SYMMETRIC)
        self.observe(B, attempt, *SYMMETRIC_B)
        self.table.due(NOW + 0.6)
        self.attempts.name_candidates(A, attempt, given((MAPPED, "198.51.100.1", 7000)).candidates, NOW + 1.0)
        [check] = [each for each in self.table.due(NOW + 1.0).sends if isinstance(each, AddressCheck)]
        self.attempts.take_check_answer(attempt, check.nonce, NOW + 1.1)
        seen = self.see(B, attempt, NOW + 1.1)
        assert seen.go is not None
        self.assertEqual(seen.go.strategy, Strategy.DIRECT)

    def test_late_mapped_candidate_makes_a_relayed_attempt_direct(self) -> None:
        """The version grows, and both try it."""
        self.table.facilities = RELAY
        attempt = self.joined()
        self.observe(A, attempt, *SYMMETRIC)
        self.observe(B, attempt, *SYMMETRIC_B)
        self.table.due(NOW + 0.6)
        before = self.see(B, attempt, NOW + 1)
        assert before.go is not None
        self.assertEqual(before.go.strategy, Strategy.RELAY)
        self.attempts.name_candidates(A, attempt, (Candidate(MAPPED, ("198.51.100.1", 7000)),), NOW + 1)
        [check] = [each for each in self.table.due(NOW + 1).sends if isinstance(each, AddressCheck)]
        self.attempts.take_check_answer(attempt, check.nonce, NOW + 1)
        after = self.see(B, attempt, NOW + 1)
        assert after.go is not None
        self.assertEqual((after.go.strategy, after.version), (Strategy.DIRECT, before.version + 1))

    def test_ipv6_and_one_network_help_a_symmetric_pair(self) -> None:
        """What is behind the NATs does not matter then."""
        attempt = self.joined()
        for client, sources, six in ((A, SYMMETRIC, "2001:db8:1::1"), (B, SYMMETRIC_B, "2001:db8:2::1")):
            self.observe(client, attempt, *sources)
            self.observe(client, attempt, (six, 4000), (six, 4000))
        seen = self.see(A, attempt)
        assert seen.go is not None
        self.assertEqual(seen.go.strategy, Strategy.DIRECT)
        near = (("198.51.100.1", 45000), ("198.51.100.1", 61000))
        said = given((HOST, "192.168.0.2", 5000))
        self.assertEqual(self.strategy(SYMMETRIC, near, said=said), (Strategy.DIRECT, None))

    def test_mapped_candidate_of_either_side_helps(self) -> None:
        """The invited side may be the one that has a port mapping."""
        attempt = self.joined(other=given((MAPPED, "203.0.113.2", 7000)))
        self.observe(A, attempt, *SYMMETRIC)
        self.observe(B, attempt, *SYMMETRIC_B)
        [check] = [each for each in self.table.due(NOW).sends if isinstance(each, AddressCheck)]
        self.attempts.take_check_answer(attempt, check.nonce, NOW)
        self.assertEqual(self.see(A, attempt).state, AttemptState.GO)

    def test_ipv6_of_one_side_does_not_help(self) -> None:
        """Neither an address that was observed, nor one that it names."""
        six = ("2001:db8:1::1", 4000)
        for client, other, sources, others in ((A, B, SYMMETRIC, SYMMETRIC_B), (B, A, SYMMETRIC_B, SYMMETRIC)):
            self.make()
            attempt = self.joined()
            host = Candidate(HOST, ("2001:db8:1::5", 5000))
            self.attempts.name_candidates(client, attempt, (host,), NOW)
            self.observe(client, attempt, *sources)
            self.observe(client, attempt, six, six)
            self.observe(other, attempt, *others)
            self.assertEqual(self.see(A, attempt, NOW + 1.3).code, "symmetric-pair")

    def test_late_observation_makes_a_direct_attempt_relayed(self) -> None:
        """If there is a TURN server; otherwise both sides go on with what they have begun."""
        for facilities, expected in ((RELAY, Strategy.RELAY), (Facilities(), Strategy.DIRECT)):
            self.make()
            self.table.facilities = facilities
            attempt = self.joined()
            self.observe(A, attempt, SYMMETRIC[0])
            self.observe(B, attempt, *SYMMETRIC_B)
            found = []
            for now in (NOW + 0.6, NOW + 0.7):
                self.table.due(now)
                go = self.see(A, attempt, now).go
                assert go is not None
                found.append(go.strategy)
                self.time += 1
                self.attempts.observe(A, attempt, 1, self.time, 1, SYMMETRIC[1], now)
            self.assertEqual(found, [Strategy.DIRECT, expected])

    def test_birthday_is_for_the_second_round_if_both_agree(self) -> None:
        """And if one side is hard and the other one is not."""
        agree, no, easy = Given(birthday=True), Given(), (AT_B, AT_B)
        near = (("198.51.100.1", 50000), ("198.51.100.1", 61234))
        beside = given((HOST, "192.168.0.2", 5000), birthday=True)
        for one, other, ours, theirs, expected in (
            (agree, agree, SYMMETRIC, easy, Strategy.BIRTHDAY),
            (agree, agree, (AT_A, AT_A), SYMMETRIC_B, Strategy.BIRTHDAY),
            (agree, no, SYMMETRIC, easy, Strategy.DIRECT),
            (no, agree, SYMMETRIC, easy, Strategy.DIRECT),
            (agree, agree, SEQUENTIAL, easy, Strategy.DIRECT),
            (agree, agree, (AT_A, AT_A), easy, Strategy.DIRECT),
            (beside, agree, SYMMETRIC, near, Strategy.DIRECT),
        ):
            self.make()
            attempt = self.joined(one=one, other=other)
            found = []
            for round in (1, 2, 3):
                self.observe(A, attempt, *ours, round=round)
                self.observe(B, attempt, *theirs, round=round)
                seen = self.see(A, attempt)
                assert seen.go is not None
                found.append((seen.round, seen.go.strategy))
            self.assertEqual(found, [(1, Strategy.DIRECT), (2, expected), (3, Strategy.DIRECT)])
