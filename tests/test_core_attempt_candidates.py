"""Attempts to connect: the mappings that were observed, and the candidates that a peer gets."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.attempts.attempt import AddressCheck
from rendezvous.core.attempts.candidates import candidate
from rendezvous.core.attempts.mapping import mapping_of, predicted
from rendezvous.core.connect import Candidate, CandidateKind, NatMapping
from rendezvous.errors import Malformed
from tests._attempt_case import AT_A, AT_B, NOW, RELAY, SEQUENTIAL, A, AttemptCase, B, given

HOST, MAPPED, RELAYED = CandidateKind.HOST, CandidateKind.MAPPED, CandidateKind.RELAYED


class MappingTests(SynchronousTestCase):
    """Tests of :mod:`rendezvous.core.attempts.mapping`."""

    def test_mapping_follows_from_what_the_ports_have_seen(self) -> None:
        """The table of the protocol, at its bounds."""
        near, far = ("192.0.2.1", 4008), ("192.0.2.1", 4009)
        for first, second, expected in (
            (("192.0.2.1", 4000), ("192.0.2.1", 4000), NatMapping.ENDPOINT_INDEPENDENT),
            (("192.0.2.1", 4000), near, NatMapping.SEQUENTIAL),
            (near, ("192.0.2.1", 4000), NatMapping.SEQUENTIAL),
            (("192.0.2.1", 4000), far, NatMapping.ENDPOINT_DEPENDENT),
            (("192.0.2.1", 4000), ("192.0.2.2", 4001), NatMapping.ENDPOINT_DEPENDENT),
            (("10.0.0.1", 4000), ("10.0.0.1", 4000), NatMapping.NONE),
        ):
            self.assertIs(mapping_of({0: first, 1: second}, {"10.0.0.1"}), expected)
        self.assertIs(mapping_of({1: near}, ()), NatMapping.UNKNOWN)
        self.assertIs(mapping_of({1: near}, {"192.0.2.1"}), NatMapping.NONE)
        self.assertIs(mapping_of({}, ()), NatMapping.BLOCKED)

    def test_next_ports_are_predicted_after_the_latest(self) -> None:
        """Eight of them, and none beyond the last port that there is."""
        observed = {1: ("192.0.2.1", 4001), 0: ("192.0.2.1", 4000)}
        self.assertEqual(predicted(observed), [("192.0.2.1", port) for port in range(4001, 4009)])
        self.assertEqual(predicted({0: ("192.0.2.1", 65533)}), [("192.0.2.1", 65534), ("192.0.2.1", 65535)])
        self.assertEqual(predicted({0: ("192.0.2.1", 65535)}), [])


class CandidateTests(AttemptCase):
    """What one client may make another send to."""

    facilities = RELAY

    def passed(
        self, *named: tuple[CandidateKind, str, int], behind: str = "198.51.100.1"
    ) -> list[tuple[str, str, int]]:
        """:returns: what B gets of the candidates that A names; A is observed at AT_A, and B behind an address."""
        self.setUp()
        attempt = self.joined(one=given(*named))
        other = (behind, 50000)
        self.observe(A, attempt, AT_A, AT_A)
        self.observe(B, attempt, other, other)
        return [each for each in self.candidates(B, attempt) if each[0] != "server-reflexive"]

    def test_addresses_of_others_are_left_out(self) -> None:
        """A client that names the address of somebody else causes not one packet there, whatever it calls it."""
        victims = [(kind, host, 5000) for kind in (HOST, MAPPED, RELAYED) for host in ("192.0.2.66", "2001:db8::66")]
        self.assertEqual(self.passed(*victims), [])

    def test_private_addresses_are_for_those_behind_one_address(self) -> None:
        """Of all private ranges, four at most. A stranger gets none of them."""
        hosts = ["10.0.0.2", "172.16.0.2", "192.168.0.2", "100.64.0.2", "fd00::2", "10.0.0.3"]
        named = [(HOST, host, 5000) for host in hosts]
        self.assertEqual(self.passed(*named), [("host", host, 5000) for host in hosts[:4]])
        self.assertEqual(self.passed(*named, behind="203.0.113.2"), [])
        self.assertEqual(self.passed(*((kind, "192.168.0.2", 5000) for kind in (MAPPED, RELAYED))), [])
        self.assertEqual(self.passed((HOST, "172.32.0.2", 5000), (HOST, "100.128.0.2", 5000)), [])

    def test_one_ipv6_network_is_one_place(self) -> None:
        """The /64 of what was observed; of public addresses only those in it, at most four."""
        attempt = self.joined(
            one=given(
                (HOST, "fd00::2", 5000),
                *((HOST, f"2001:db8:1:2::{number}", 5000) for number in range(1, 7)),
                (HOST, "2001:db8:1:3::1", 5000),
            )
        )
        own, near = ("2001:db8:1:2::9", 5000), ("2001:db8:1:2::a", 5000)
        self.observe(A, attempt, own, own)
        self.observe(B, attempt, near, near)
        self.assertEqual(
            self.candidates(B, attempt),
            [
                ("host", "fd00::2", 5000),
                *(("host", f"2001:db8:1:2::{number}", 5000) for number in range(1, 5)),
                ("server-reflexive", *own),
            ],
        )

    def test_addresses_of_no_host_are_always_left_out(self) -> None:
        """Loopback, link-local, multicast, broadcast, unspecified, and ports of system services."""
        never = [
            "127.0.0.1", "169.254.0.2", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255", "0.0.0.0",
            "::", "::1", "fe80::2", "ff02::1",
        ]  # fmt: skip
        for host in never:
            self.assertEqual(self.passed((HOST, host, 5000)), [], host)
        self.assertEqual(self.passed((HOST, "192.168.0.2", 1023)), [])
        self.assertEqual(self.passed((HOST, "192.168.0.2", 1024)), [("host", "192.168.0.2", 1024)])

    def test_near_addresses_are_left_out_for_clients_beside_the_server(self) -> None:
        """Both were observed with a link-local or a loopback address, and name others of the same network."""
        seen = ("server-reflexive", "::1", 5000)
        for own, near, expected in (("fe80::9", "fe80::a", []), ("::1", "::1", [seen])):
            attempt = self.joined(one=given((HOST, "fe80::2", 5000), (HOST, "::", 5000), (HOST, "::1", 5000)))
            self.observe(A, attempt, (own, 5000), (own, 5000))
            self.observe(B, attempt, (near, 5001), (near, 5001))
            self.assertEqual(self.candidates(B, attempt), expected)

    def test_relayed_candidates_are_on_our_own_turn_servers(self) -> None:
        """On any other address they could be anybody."""
        self.assertEqual(
            self.passed((RELAYED, "192.0.2.9", 49152), (RELAYED, "192.0.2.10", 49152), behind="203.0.113.2"),
            [("relayed", "192.0.2.9", 49152)],
        )
        self.assertEqual(self.passed((HOST, "192.0.2.9", 49152), (MAPPED, "192.0.2.9", 49153)), [])

    def test_loopback_is_for_clients_on_the_servers_machine(self) -> None:
        """A demonstration on one machine works, and no client is sent to itself."""
        shown, six = [("server-reflexive", "127.0.0.1", 5000)], ("2001:db8::1", 6000)
        for others, expected in (((("127.0.0.1", 6000),), shown), ((six, ("127.0.0.1", 6000)), shown), ((AT_B,), [])):
            attempt = self.joined(now=NOW)
            own = ("127.0.0.1", 5000)
            self.observe(A, attempt, own, own)
            for other in others:
                self.observe(B, attempt, other, other)
            self.assertEqual(self.candidates(B, attempt), expected)

    def test_sequential_mapping_is_predicted(self) -> None:
        """Eight ports after the latest."""
        attempt = self.joined()
        self.observe(A, attempt, *SEQUENTIAL)
        self.observe(B, attempt, AT_B, AT_B)
        self.assertEqual(
            self.candidates(B, attempt),
            [
                *(("server-reflexive", *each) for each in SEQUENTIAL),
                *(("predicted", "198.51.100.1", port) for port in range(40002, 40010)),
            ],
        )

    def test_candidates_that_cannot_be_read(self) -> None:
        """The error names the field."""
        self.assertEqual(candidate("host", "::ffff:192.168.0.2", 5000), Candidate(HOST, ("192.168.0.2", 5000)))
        self.assertEqual(candidate("mapped", "2001:DB8::0:1", 1), Candidate(MAPPED, ("2001:db8::1", 1)))
        self.assertEqual(candidate("host", "192.168.0.2", 65535), Candidate(HOST, ("192.168.0.2", 65535)))
        for kind, host, port, field in (
            ("server-reflexive", "192.0.2.1", 1, "kind"),
            ("", "192.0.2.1", 1, "kind"),
            ("host", "a.example", 1, "host"),
            ("host", "fe80::1%eth0", 1, "host"),
            ("host", "192.0.2.1", 0, "port"),
            ("host", "192.0.2.1", 65536, "port"),
        ):
            error = self.assertRaises(Malformed, candidate, kind, host, port, "candidates[0].")
            self.assertTrue(error.message.startswith(f"candidates[0].{field} must be"), error.message)


class CheckTests(AttemptCase):
    """Mapped candidates: the server sends something there first."""

    def test_mapped_candidate_is_passed_on_once_its_check_was_answered(self) -> None:
        """It is on an address that was observed, and the check goes to it three times."""
        attempt = self.joined(one=given((MAPPED, "198.51.100.1", 7000), (MAPPED, "192.0.2.66", 7000)))
        self.observe(B, attempt, AT_B, AT_B)
        self.assertEqual([each for each in self.table.due(NOW).sends if isinstance(each, AddressCheck)], [])
        self.observe(A, attempt, AT_A, AT_A)
        sent = []
        for now in (NOW, NOW + 0.05, NOW + 0.1, NOW + 0.3, NOW + 0.6, NOW + 1):
            sent += [each for each in self.table.due(now).sends if isinstance(each, AddressCheck)]
        self.assertEqual(len(sent), 3)
        self.assertEqual(
            {(each.client_id, each.attempt, each.address) for each in sent}, {(A, attempt, ("198.51.100.1", 7000))}
        )
        [nonce] = {each.nonce for each in sent}
        before = self.see(B, attempt, NOW + 1).version
        self.assertEqual(self.attempts.client_of_check(attempt, nonce), A)
        self.attempts.take_check_answer(attempt, nonce, NOW + 1)
        self.assertEqual(self.see(B, attempt, NOW + 1).version, before + 1)
        self.assertIn(("mapped", "198.51.100.1", 7000), self.candidates(B, attempt, NOW + 1))
        self.assertNotIn("192.0.2.66", [host for _, host, _ in self.candidates(B, attempt, NOW + 1)])

    def test_address_that_was_checked_is_passed_on_as_mapped(self) -> None:
        """A client that calls it by another kind later does not have it passed on as such."""
        attempt = self.joined(one=given((MAPPED, "198.51.100.1", 7000)))
        self.observe(A, attempt, AT_A, AT_A)
        self.observe(B, attempt, AT_B, AT_B)
        [check] = [each for each in self.table.due(NOW).sends if isinstance(each, AddressCheck)]
        self.attempts.take_check_answer(attempt, check.nonce, NOW)
        mapped = [("mapped", "198.51.100.1", 7000)]
        for kind, expected in ((MAPPED, mapped), (HOST, []), (RELAYED, []), (MAPPED, mapped)):
            self.attempts.name_candidates(A, attempt, (Candidate(kind, ("198.51.100.1", 7000)),), NOW)
            found = [each for each in self.candidates(B, attempt) if each[0] != "server-reflexive"]
            self.assertEqual((found, self.table.due(NOW + 1).sends), (expected, []))

    def test_mapping_is_none_at_the_address_of_an_interface(self) -> None:
        """An address that is named as another kind is no interface."""
        for kind, expected in ((HOST, NatMapping.NONE), (MAPPED, NatMapping.ENDPOINT_INDEPENDENT)):
            go = self.see(A, self.gone(given((kind, AT_A[0], 7000)))).go
            assert go is not None
            self.assertEqual(go.mapping, expected)

    def test_answers_to_no_check_change_nothing(self) -> None:
        """A wrong nonce, another attempt, a second answer, one after the end."""
        attempt = self.joined(one=given((MAPPED, "198.51.100.1", 7000)))
        self.observe(A, attempt, AT_A, AT_A)
        [check] = [each for each in self.table.due(NOW).sends if isinstance(each, AddressCheck)]
        for name, nonce in ((attempt, bytes(4)), (bytes(8), check.nonce)):
            self.assertIsNone(self.attempts.client_of_check(name, nonce))
            self.attempts.take_check_answer(name, nonce, NOW)
        self.attempts.take_check_answer(attempt, check.nonce, NOW)
        self.assertIsNone(self.attempts.client_of_check(attempt, check.nonce))
        self.attempts.end(A, attempt, NOW)
        self.assertIsNone(self.attempts.client_of_check(attempt, check.nonce))

    def test_checks_are_few(self) -> None:
        """However often a client names other ports: the server is no port scanner."""
        attempt = self.joined()
        self.observe(A, attempt, AT_A, AT_A)
        sent = set()
        for number in range(20):
            named = tuple(Candidate(MAPPED, ("198.51.100.1", 7000 + 10 * number + each)) for each in range(10))
            self.attempts.name_candidates(A, attempt, named, NOW)
            sent |= {each.address for each in self.table.due(NOW).sends if isinstance(each, AddressCheck)}
        self.assertEqual(len(sent), 4)
