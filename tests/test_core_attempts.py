"""The rules of attempts to connect: who may begin one, when it goes, how it ends, and what each side sees."""

from __future__ import annotations

from rendezvous.core.attempts.attempt import Facilities, Given, Outcome
from rendezvous.core.connect import AttemptRole, AttemptState, Candidate, CandidateKind, NatMapping, Strategy
from rendezvous.core.notes import AttemptSide, PeerEvents
from rendezvous.core.presence.states import PulseCode
from rendezvous.core.sources import source_network
from rendezvous.errors import Conflict, Full, NotFound, TooMany
from rendezvous.limits import AttemptLimits
from tests._attempt_case import AT_A, AT_B, NOW, RELAY, A, AttemptCase, B, C, given, key_of


class BeginningTests(AttemptCase):
    """Begin, accept, decline."""

    def test_invited_side_learns_of_it_and_nothing_else(self) -> None:
        """Who asks, and until when. The client that asks sees no more than that it waits."""
        attempt = self.begin(given=given((CandidateKind.HOST, "192.168.0.2", 5000)))
        [invitation] = self.attempts.invitations(B, NOW)
        self.assertEqual((invitation.attempt, invitation.peer, invitation.expires), (attempt, A, NOW + 30))
        for client, role, peer in ((A, AttemptRole.CONTROLLING, B), (B, AttemptRole.CONTROLLED, A)):
            seen = self.see(client, attempt)
            self.assertEqual((seen.role, seen.peer, seen.state, seen.go), (role, peer, AttemptState.INVITED, None))
            self.assertEqual(seen.takes_part, client == A)
            self.assertEqual((seen.expires, seen.round, seen.version), (NOW + 60, 1, 1))
        self.assertEqual(self.attempts.invitations(A, NOW), [])
        self.assertIn(PeerEvents(B.hex()), self.keys)

    def test_accepting_begins_the_observation(self) -> None:
        """A second time changes only what the client has said."""
        attempt = self.begin()
        for _ in range(2):
            self.assertEqual(self.attempts.accept(B, attempt, Given(), NOW).state, AttemptState.OBSERVING)
            self.assertEqual(self.attempts.invitations(B, NOW), [])
        self.assertEqual(self.see(A, attempt).version, 2)

    def test_declining_reveals_nothing(self) -> None:
        """Neither side ever gets an address or the key, also when sockets were observed already."""
        attempt = self.begin()
        self.observe(A, attempt, AT_A, AT_A)
        self.observe(B, attempt, AT_B, AT_B)
        self.assertEqual(self.attempts.end(B, attempt, NOW).state, AttemptState.DECLINED)
        for client in (A, B):
            seen = self.see(client, attempt)
            self.assertEqual((seen.state, seen.go), (AttemptState.DECLINED, None))
        self.assertEqual(self.refused(Conflict, self.attempts.accept, B, attempt, Given(), NOW), "attempt-over")
        self.assertEqual(self.refused(Conflict, self.attempts.name_candidates, A, attempt, (), NOW), "attempt-over")

    def test_strangers_see_nothing(self) -> None:
        """In the same words as for an attempt that never was."""
        attempt = self.joined()
        words = set()
        for client, name in ((C, attempt), (A, bytes(8)), (A, b"12345678")):
            for verb in (
                lambda: self.attempts.see(client, name, NOW),  # noqa: B023
                lambda: self.attempts.accept(client, name, Given(), NOW),  # noqa: B023
                lambda: self.attempts.end(client, name, NOW),  # noqa: B023
                lambda: self.attempts.name_candidates(client, name, (), NOW),  # noqa: B023
                lambda: self.attempts.report(client, name, Outcome(ok=True), NOW),  # noqa: B023
            ):
                error = self.assertRaises(NotFound, verb)
                words.add((error.code, error.message))
        self.assertEqual(len(words), 1)
        self.assertEqual(self.attempts.observe(C, attempt, 1, 1, 0, AT_A, NOW), PulseCode.UNKNOWN)

    def test_nobody_connects_to_itself_or_accepts_for_the_other(self) -> None:
        """Both are conflicts."""
        self.assertEqual(self.refused(Conflict, self.begin, NOW, A, A), "own-attempt")
        attempt = self.begin()
        self.assertEqual(self.refused(Conflict, self.attempts.accept, A, attempt, Given(), NOW), "own-attempt")

    def test_attempts_have_names_of_their_own(self) -> None:
        """Neither one that is taken, nor the one that a pulse has."""
        names = iter((b"attempt1", b"attempt1", bytes(8), b"attempt2"))
        self.table._random = lambda size: next(names)
        self.assertEqual([self.begin(), self.begin()], [b"attempt1", b"attempt2"])

    def test_client_that_logs_out_takes_part_in_nothing(self) -> None:
        """Its attempts and its invitations end."""
        own, other = self.begin(), self.begin(client=C, peer=A)
        self.attempts.leave(A, NOW)
        self.assertEqual(self.see(B, own).state, AttemptState.DECLINED)
        self.assertEqual(self.see(C, other).state, AttemptState.DECLINED)


class LimitTests(AttemptCase):
    """What one client may not do to the server, nor to another client."""

    def test_four_attempts_at_once(self) -> None:
        """Those that a client has begun count; those that it has accepted do not, nor does one that has ended."""
        begun = [self.begin(peer=bytes([number]) * 16) for number in range(4)]
        self.attempts.accept(A, self.begin(client=bytes([7]) * 16, peer=A), Given(), NOW)
        self.assertEqual(self.refused(Conflict, self.begin), "too-many-attempts")
        self.attempts.end(A, begun[0], NOW)
        self.begin()

    def test_one_network_leaves_room_for_attempts_of_others(self) -> None:
        """Four that a client has accepted may go on from one network, and sixteen in all."""
        sources = [source_network(f"192.0.{number}.1") for number in range(5)]
        for number in range(16):
            attempt = self.begin(client=bytes([number]) * 16, source=sources[number // 4])
            self.attempts.accept(B, attempt, Given(), NOW)
            if number == 3:
                fifth = self.begin(client=bytes([200]) * 16, source=sources[0])
                self.assertEqual(
                    self.refused(Conflict, self.attempts.accept, B, fifth, Given(), NOW), "too-many-attempts"
                )
        last = self.begin(client=bytes([201]) * 16, source=sources[4])
        self.assertEqual(self.refused(Conflict, self.attempts.accept, B, last, Given(), NOW), "too-many-attempts")
        self.begin(client=B, peer=A)
        self.attempts.end(B, attempt, NOW)
        self.attempts.accept(B, last, Given(), NOW)

    def test_attempts_that_are_over_by_now_do_not_count(self) -> None:
        """Also if the server has not looked at them since."""
        self.table.facilities = RELAY
        for number in range(4):
            self.attempts.accept(bytes([number]) * 16, self.begin(peer=bytes([number]) * 16), Given(), NOW)
        self.assertEqual(self.refused(Conflict, self.begin, NOW + 59.9), "too-many-attempts")
        self.begin(NOW + 60)

    def test_six_attempts_a_minute(self) -> None:
        """Whatever became of them. A refused one does not count."""
        for number in range(6):
            self.attempts.end(A, self.begin(NOW + number), NOW + number)
        error = self.assertRaises(TooMany, self.begin, NOW + 6)
        self.assertEqual((error.code, error.retry_after), ("attempt-rate", 54))
        self.begin(NOW + 60)
        self.make(per_minute=0)
        for _ in range(60):
            self.attempts.end(A, self.begin(NOW), NOW)

    def test_invitations_at_one_client_are_bounded(self) -> None:
        """One network may have four of sixteen, so a flood from one network keeps no other client away."""
        flooder = source_network("198.51.100.66")
        for number in range(4):
            self.begin(client=bytes([number]) * 16, source=flooder)
        self.assertEqual(self.refused(TooMany, self.begin, NOW, C, B, Given(), flooder), "too-many-invitations")
        for number in range(12):
            self.begin(client=bytes([100 + number]) * 16, source=source_network(f"203.0.{number}.1"))
        self.assertEqual(len(self.attempts.invitations(B, NOW)), 16)
        late = source_network("203.0.3.9")
        self.begin(client=bytes([200]) * 16, source=late)
        self.begin(client=bytes([201]) * 16, peer=C, source=late)
        self.begin(peer=C)
        self.attempts.end(B, self.attempts.invitations(B, NOW)[0].attempt, NOW)
        self.begin()

    def test_flood_from_some_networks_leaves_room_for_others(self) -> None:
        """Once all places are taken, the oldest invitation of the site that has most of them gives way."""
        flood = [
            self.begin(client=bytes([number]) * 16, source=source_network(f"198.51.{number // 4}.{number % 4}"))
            for number in range(16)
        ]
        found = []
        for number in range(4):
            source = source_network(f"203.0.{number}.1")
            found.append(self.begin(client=bytes([100 + number]) * 16, source=source))
            code = self.refused(TooMany, self.begin, NOW, C, B, Given(), source_network("198.51.2.9"))
            self.assertEqual(code, "too-many-invitations")
        waiting = [each.attempt for each in self.attempts.invitations(B, NOW)]
        self.assertEqual((len(waiting), waiting[-4:]), (16, found))
        gone = [attempt for attempt in flood if attempt not in waiting]
        self.assertEqual(gone, [flood[number] for number in (0, 4, 8, 12)])
        self.assertEqual(self.see(bytes(16), gone[0]).state, AttemptState.EXPIRED)

    def test_invitations_of_one_source_stay_out_of_other_sources_way(self) -> None:
        """An invitation that has expired takes no place."""
        self.make(invitations=1)
        self.begin()
        self.assertEqual(self.refused(TooMany, self.begin, NOW + 29.9, C), "too-many-invitations")
        self.begin(NOW + 30, C)

    def test_table_is_bounded_and_shared(self) -> None:
        """In all, and by source. What has ended is forgotten after a while, and makes room."""
        self.make(most=10, share=0.2)
        one = source_network("198.51.100.1")
        for number in range(2):
            self.begin(client=bytes([number]) * 16, peer=bytes([50 + number]) * 16, source=one)
        self.assertEqual(self.refused(TooMany, self.begin, NOW, C, B, Given(), one), "source-share")
        for number in range(8):
            self.begin(client=bytes([10 + number]) * 16, peer=bytes([60 + number]) * 16)
        self.assertEqual(self.refused(Full, self.begin), "full-attempts")
        for now in (NOW + 30, NOW + 60):
            self.table.due(now)
        self.assertEqual(len(self.table), 0)
        self.begin(NOW + 60, source=one)

    def test_bounds_can_change(self) -> None:
        """What is there stays."""
        attempt = self.begin()
        self.table.change(AttemptLimits(), 1, 0.0)
        self.assertEqual(self.refused(Full, self.begin, NOW, C, A), "full-attempts")
        self.assertEqual(self.see(A, attempt).state, AttemptState.INVITED)


class ObservationTests(AttemptCase):
    """From the first observation to the start."""

    def test_it_goes_once_both_ports_have_seen_both_sides(self) -> None:
        """Each side gets the key, and where the other one was seen."""
        attempt = self.joined()
        self.observe(A, attempt, AT_A, AT_A)
        self.observe(B, attempt, AT_B)
        self.assertEqual(self.see(A, attempt).state, AttemptState.OBSERVING)
        self.attempts.observe(B, attempt, 1, 99, 1, AT_B, NOW)
        for client, other in ((A, AT_B), (B, AT_A)):
            seen = self.see(client, attempt)
            assert seen.go is not None
            self.assertEqual((seen.state, seen.go.key, seen.go.strategy), ("go", key_of(attempt), Strategy.DIRECT))
            self.assertEqual({seen.go.mapping, seen.go.peer_mapping}, {NatMapping.ENDPOINT_INDEPENDENT})
            self.assertEqual(self.candidates(client, attempt), [("server-reflexive", *other)])

    def test_key_is_not_shown(self) -> None:
        """What a side sees may be logged."""
        attempt = self.gone()
        shown = repr(self.see(A, attempt))
        self.assertIn("starts=", shown)
        self.assertNotIn(repr(key_of(attempt))[2:-1], shown)

    def test_invited_side_may_be_observed_before_it_accepts(self) -> None:
        """That saves a round trip: the attempt goes with the acceptance."""
        attempt = self.begin()
        self.observe(A, attempt, AT_A, AT_A)
        self.observe(B, attempt, AT_B, AT_B)
        self.assertEqual(self.see(A, attempt).state, AttemptState.INVITED)
        self.assertEqual(self.attempts.accept(B, attempt, Given(), NOW).state, AttemptState.GO)

    def test_it_goes_after_600_ms_with_what_is_known(self) -> None:
        """An observation that comes later is a change that both see."""
        attempt = self.joined()
        self.observe(A, attempt, AT_A, AT_A)
        self.observe(B, attempt, AT_B)
        self.assertEqual(self.see(A, attempt, NOW + 0.599).state, AttemptState.OBSERVING)
        self.assertEqual(self.table.due(NOW).next, NOW + 0.6)
        self.table.due(NOW + 0.6)
        seen = self.see(A, attempt, NOW + 0.6)
        assert seen.go is not None
        self.assertEqual((seen.state, seen.go.peer_mapping), (AttemptState.GO, NatMapping.UNKNOWN))
        self.attempts.observe(B, attempt, 1, 99, 1, ("203.0.113.2", 50001), NOW + 0.7)
        later = self.see(A, attempt, NOW + 0.7)
        assert later.go is not None
        self.assertEqual((later.version, later.go.peer_mapping), (seen.version + 1, NatMapping.SEQUENTIAL))
        self.assertEqual(later.go.starts, seen.go.starts)

    def test_server_with_one_port_needs_one_observation(self) -> None:
        """A second one cannot come."""
        self.table.facilities = Facilities(udp_ports=1)
        attempt = self.joined()
        self.observe(A, attempt, AT_A)
        self.observe(B, attempt, AT_B)
        seen = self.see(A, attempt)
        assert seen.go is not None
        self.assertEqual(seen.go.peer_mapping, NatMapping.UNKNOWN)

    def test_further_ports_see_nothing(self) -> None:
        """A server with three ports answers on the third one, and does not use what it has seen."""
        attempt = self.joined()
        self.observe(A, attempt, AT_A)
        self.observe(B, attempt, AT_B, AT_B)
        self.assertEqual(self.attempts.observe(A, attempt, 1, 99, 2, ("198.51.100.1", 40001), NOW), 1020)
        self.assertEqual(self.see(A, attempt).state, AttemptState.OBSERVING)
        self.table.due(NOW + 0.6)
        self.assertEqual(self.candidates(B, attempt, NOW + 0.6), [("server-reflexive", *AT_A)])

    def test_each_family_that_was_seen_is_waited_for(self) -> None:
        """IPv6 may be quicker than IPv4: the other way round is half of a connection too."""
        attempt = self.joined()
        six, other = ("2001:db8:1::1", 4000), ("2001:db8:2::1", 4000)
        self.observe(A, attempt, six, six)
        self.observe(A, attempt, AT_A)
        self.observe(B, attempt, other, other)
        self.assertEqual(self.see(A, attempt).state, AttemptState.OBSERVING)
        self.attempts.observe(A, attempt, 1, 99, 1, AT_A, NOW)
        self.assertEqual(self.see(A, attempt).state, AttemptState.GO)
        self.assertEqual(self.candidates(B, attempt), [("server-reflexive", *six), ("server-reflexive", *AT_A)])

    def test_mapping_is_that_of_ipv4(self) -> None:
        """IPv6 has no NAT, so it counts only for a client that was observed with nothing else."""
        six = ("2001:db8:1::1", 4000)
        for sources, expected in (
            ((("198.51.100.1", 40000), ("198.51.100.1", 51234)), NatMapping.ENDPOINT_DEPENDENT),
            ((), NatMapping.ENDPOINT_INDEPENDENT),
        ):
            attempt = self.joined()
            self.observe(A, attempt, *sources)
            for client in (A, B):
                self.observe(client, attempt, six, six)
            go = self.see(A, attempt).go
            assert go is not None
            self.assertEqual(go.mapping, expected)
            self.attempts.end(A, attempt, NOW)

    def test_repeated_observation_is_not_taken(self) -> None:
        """Only a later time is, by port: a copy that an eavesdropper sends from elsewhere does nothing."""
        attempt = self.joined()
        for time, port, expected in ((5, 0, 1020), (5, 0, None), (4, 0, None), (5, 1, 1020), (6, 0, 1020)):
            self.assertEqual(self.attempts.observe(A, attempt, 1, time, port, AT_A, NOW), expected)

    def test_socket_that_moves_is_where_it_was_seen_last(self) -> None:
        """A NAT may forget a mapping."""
        attempt = self.joined()
        moved = ("198.51.100.1", 41234)
        self.observe(A, attempt, AT_A, AT_A)
        self.observe(A, attempt, moved, moved)
        self.observe(B, attempt, AT_B, AT_B)
        self.assertEqual(self.candidates(B, attempt), [("server-reflexive", *moved)])

    def test_observations_of_what_has_ended_or_never_was(self) -> None:
        """1060, and the client stops."""
        attempt = self.joined()
        for name, round in ((bytes(8), 1), (attempt, 0), (attempt, 3)):
            self.assertEqual(self.attempts.observe(A, name, round, 9, 0, AT_A, NOW), PulseCode.UNKNOWN)
        self.attempts.end(A, attempt, NOW)
        self.assertEqual(self.attempts.observe(A, attempt, 1, 10, 0, AT_A, NOW), PulseCode.UNKNOWN)

    def test_both_sides_start_at_the_same_moment(self) -> None:
        """It lies the larger of the two one-way delays ahead; each side's own delay is taken off."""
        attempt = self.gone(given(rtt=0.2), given(rtt=0.06))
        one, other = self.see(A, attempt).go, self.see(B, attempt).go
        assert one is not None
        assert other is not None
        self.assertEqual((one.starts, other.starts), (NOW + 0.1 - 0.1, NOW + 0.1 - 0.03))
        attempt = self.gone()
        one = self.see(A, attempt).go
        assert one is not None
        self.assertEqual(one.starts, NOW + 0.01)

    def test_version_grows_with_what_a_side_can_see(self) -> None:
        """And with nothing else. Whoever waits is notified."""
        attempt = self.joined()
        versions = [(self.see(A, attempt).version, self.see(B, attempt).version)]
        self.keys.clear()
        self.observe(A, attempt, AT_A, AT_A)
        self.assertEqual(self.keys, [])
        self.observe(B, attempt, AT_B, AT_B)
        self.assertEqual(
            self.keys, [AttemptSide(attempt.hex(), "controlling"), AttemptSide(attempt.hex(), "controlled")]
        )
        self.keys.clear()
        host = Candidate(CandidateKind.HOST, ("2001:db8::5", 5000))
        self.attempts.name_candidates(A, attempt, (host,), NOW)
        versions.append((self.see(A, attempt).version, self.see(B, attempt).version))
        # The address is not in a network where A was observed, so B does not see it.
        self.assertEqual((self.keys, versions), ([], [(2, 2), (3, 3)]))
