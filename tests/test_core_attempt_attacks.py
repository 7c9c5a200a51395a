"""Attempts of hostile clients: what they make others send to, and what they make the server do."""

from __future__ import annotations

from rendezvous.core.addresses import Address
from rendezvous.core.attempts import table as table_module
from rendezvous.core.attempts.attempt import Facilities
from rendezvous.core.attempts.places import Reach, place_of
from rendezvous.core.connect import CandidateKind
from rendezvous.core.presence.states import PulseCode
from rendezvous.errors import Conflict
from tests._attempt_case import AT_A, AT_B, NOW, A, AttemptCase, B, given

HOST, MAPPED, RELAYED = CandidateKind.HOST, CandidateKind.MAPPED, CandidateKind.RELAYED
LOCAL, NEAR, FAR = ("127.0.0.1", 6000), ("10.0.0.9", 6000), AT_B


class AddressTests(AttemptCase):
    """Addresses that name another host to the peer than to the server."""

    facilities = Facilities(has_relay=True, relay_hosts=frozenset({"192.0.2.9"}))

    def passed(
        self, own: Address, other: Address, *named: tuple[CandidateKind, str, int]
    ) -> list[tuple[str, str, int]]:
        """:returns: what B, observed at ``other``, gets of A, which is observed at ``own`` and names candidates."""
        self.make()
        attempt = self.joined(one=given(*named))
        self.observe(A, attempt, own, own)
        self.observe(B, attempt, other, other)
        return self.candidates(B, attempt)

    def test_observed_address_is_passed_on_where_it_means_the_same_host(self) -> None:
        """A private one to a peer that the server sees in private networks, a link-local one to nobody."""
        own, link = ("192.168.0.2", 5000), ("fe80::2", 5000)
        seen = [("server-reflexive", *own)]
        for other, expected in ((NEAR, seen), (LOCAL, seen), (FAR, [])):
            self.assertEqual(self.passed(own, other), expected, other)
        for other in (("fe80::3", 6000), ("2001:db8::3", 6000)):
            self.assertEqual(self.passed(link, other), [])

    def test_predicted_addresses_follow_the_same_rule(self) -> None:
        """A sequence of ports on a private address leads a remote peer to a host of its own network."""
        for other, expected in ((NEAR, 10), (FAR, 0)):
            self.make()
            attempt = self.joined()
            self.observe(A, attempt, ("192.168.0.2", 5000), ("192.168.0.2", 5001))
            self.observe(B, attempt, other, other)
            self.assertEqual(len(self.candidates(B, attempt)), expected)

    def test_nat64_has_all_of_ipv4_in_one_network(self) -> None:
        """So one client of it must not name the address of another, and two are not on one network."""
        own, other = ("64:ff9b::c633:6401", 5000), ("64:ff9b::cb00:7102", 5000)
        found = self.passed(own, other, (HOST, "64:ff9b::c000:242", 5000), (HOST, "192.168.0.2", 5000))
        self.assertEqual(found, [("server-reflexive", *own)])

    def test_ipv4_compatible_addresses_are_no_hosts(self) -> None:
        """Not even where a client of this machine makes ``::/64`` an observed network."""
        found = self.passed(("::1", 5000), ("::1", 6000), (HOST, "::192.0.2.66", 5000))
        self.assertEqual(found, [("server-reflexive", "::1", 5000)])

    def test_relayed_candidates_are_on_no_system_port(self) -> None:
        """A TURN server gives out none of them; other services of its host may have them."""
        named = [(RELAYED, "192.0.2.9", port) for port in (53, 1023, 1024)]
        self.assertEqual(self.passed(AT_A, AT_B, *named)[1:], [("relayed", "192.0.2.9", 1024)])

    def test_reach(self) -> None:
        """By the ranges of the RFCs."""
        for host, reach in (
            ("192.0.2.1", Reach.WORLD),
            ("2001:db8::1", Reach.WORLD),
            ("100.64.0.1", Reach.SITE),
            ("fd00::1", Reach.SITE),
            ("::ffff:10.0.0.1", Reach.SITE),
            ("127.9.9.9", Reach.MACHINE),
            ("::1", Reach.MACHINE),
            ("::ffff:0.0.0.0", Reach.NOWHERE),
            ("::2", Reach.NOWHERE),
        ):
            self.assertIs(place_of(host).reach, reach, host)


class WorkTests(AttemptCase):
    """What one call does is bounded, however much is due."""

    def test_few_attempts_are_looked_at_in_one_call(self) -> None:
        """Also to find out which: of a million that are due, the list is not made."""
        self.make(most=1000, per_minute=0)
        for number in range(100):
            self.begin(client=number.to_bytes(16), peer=(1000 + number).to_bytes(16))
        taken = 0

        def counted(*arguments: object) -> object:
            nonlocal taken
            for each in walk(*arguments):
                taken += 1
                yield each

        walk = self.table._due.irange
        self.patch(self.table._due, "irange", counted)
        due = self.table.due(NOW)
        self.assertEqual((len(due.sends), taken), (table_module.DUE_AT_ONCE, table_module.DUE_AT_ONCE))
        self.assertEqual(due.next, NOW)

    def test_changes_of_one_side_are_few(self) -> None:
        """With each one a request of the other client is answered, which then asks again."""
        limit = self.table.limits.changes
        attempt = self.gone()
        before = self.see(B, attempt).version
        for number in range(2 * limit):
            self.observe(A, attempt, ("198.51.100.1", 30000 + number), ("198.51.100.1", 30000 + number))
        self.assertLessEqual(self.see(B, attempt).version - before, limit)
        code = self.refused(Conflict, self.attempts.name_candidates, A, attempt, (), NOW)
        self.assertEqual(code, "too-many-changes")
        self.attempts.name_candidates(B, attempt, (), NOW)

    def test_late_acceptances_are_changes(self) -> None:
        """Each replaces the candidates."""
        attempt = self.joined()
        for _ in range(self.table.limits.changes - 1):
            self.attempts.accept(B, attempt, given(), NOW)
        self.assertEqual(self.refused(Conflict, self.attempts.accept, B, attempt, given(), NOW), "too-many-changes")

    def test_repeated_observation_does_nothing(self) -> None:
        """It is answered, and neither written nor reported; if the ports see two addresses, the later one counts."""
        for second, expected in ((AT_A, 0), (("198.51.100.1", 40001), 3)):
            self.make()
            attempt = self.gone()
            self.observe(A, attempt, AT_A, second)
            del self.touched[:], self.keys[:]
            for port in (1, 1, 0, 0, 1, 0):
                self.time += 1
                address = second if port else AT_A
                self.assertEqual(self.attempts.observe(A, attempt, 1, self.time, port, address, NOW), PulseCode.ON_TIME)
            self.assertEqual(len(self.touched), expected)
