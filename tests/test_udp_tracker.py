"""Tests of :mod:`rendezvous.udp.protocol`: the tracker through the whole service, in both dialects at once."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from rendezvous.udp.protocol import RendezvousDatagrams
from rendezvous.wire.tracker import MAX_SIZE
from tests._udp_case import ALICE, BOB, CAROL, DEPLOYED, DOCUMENTED, UDPTestCase, error
from tests.stun_samples import request

ANNOUNCE = b'{"action":"announce"}'
ANNOUNCE_FIRST = error("Announce first.")
UNKNOWN_SHARE_ID = error("Unknown shareId.")


class DialectTests(UDPTestCase):
    """Each port speaks its own dialect, over one table."""

    def test_announce_has_two_answers(self) -> None:
        """The name of the answer differs; the shareId is 8 letters and digits in both."""
        for port, action in ((DOCUMENTED, "announceReceived"), (DEPLOYED, "announced")):
            [reply] = self.ask(ALICE, "announce", port)
            self.assertEqual(reply["action"], action)
            self.assertRegex(reply["data"]["shareId"], r"\A[0-9A-Za-z]{8}\Z")

    def test_pulse_and_alive_have_one(self) -> None:
        """These do not differ."""
        for port in (DOCUMENTED, DEPLOYED):
            self.assertEqual(self.ask(ALICE, "alive", port), [{"action": "expired"}])
            self.announce(ALICE, port)
            pulsed = {"action": "pulseReceived", "data": {"status": "0", "overriden": "false"}}
            self.assertEqual(self.ask(ALICE, "pulse", port), [pulsed])
            self.assertEqual(self.ask(ALICE, "alive", port), [{"action": "alived"}])

    def test_documented_push_tells_the_caller_alone(self) -> None:
        """The dialect has no word for the target."""
        self.announce(ALICE)
        name = self.announce(BOB)
        replies = self.ask(ALICE, "push", shareId=name)
        self.assertEqual(replies, [{"action": "pushReceived", "data": {"peeraddr": "198.51.100.2:5000"}}])
        self.assertEqual(self.sent(DOCUMENTED)[2:], [(replies[0], ALICE)])

    def test_deployed_push_tells_both(self) -> None:
        """Each learns the other's address and name."""
        alice, carol = self.announce(ALICE, DEPLOYED), self.announce(CAROL, DEPLOYED)
        self.ask(ALICE, "push", DEPLOYED, shareId=carol)
        pushed = {"action": "pushed", "data": {"peeraddr": "[2001:db8::3]:6000", "peerShareId": carol}}
        income = {"action": "income", "data": {"peeraddr": "192.0.2.1:4000", "peerShareId": alice}}
        self.assertEqual(self.sent(DEPLOYED)[2:], [(pushed, ALICE), (income, CAROL)])

    def test_push_from_documented_to_deployed_tells_each_in_its_words(self) -> None:
        """The target is told through the port that it announced itself to."""
        alice, bob = self.announce(ALICE, DOCUMENTED), self.announce(BOB, DEPLOYED)
        self.ask(ALICE, "push", DOCUMENTED, shareId=bob)
        received = {"action": "pushReceived", "data": {"peeraddr": "198.51.100.2:5000"}}
        income = {"action": "income", "data": {"peeraddr": "192.0.2.1:4000", "peerShareId": alice}}
        self.assertEqual(self.sent(DOCUMENTED)[1:], [(received, ALICE)])
        self.assertEqual(self.sent(DEPLOYED)[1:], [(income, BOB)])

    def test_push_from_deployed_to_documented_tells_the_caller_alone(self) -> None:
        """In the caller's words; the target's dialect has none."""
        self.announce(ALICE, DEPLOYED)
        bob = self.announce(BOB, DOCUMENTED)
        self.ask(ALICE, "push", DEPLOYED, shareId=bob)
        pushed = {"action": "pushed", "data": {"peeraddr": "198.51.100.2:5000", "peerShareId": bob}}
        self.assertEqual(self.sent(DEPLOYED)[1:], [(pushed, ALICE)])
        self.assertEqual(len(self.sent(DOCUMENTED)), 1)

    def test_one_socket_at_two_ports_is_two_peers(self) -> None:
        """Each has its own name, its own life and its own record."""
        names = [self.announce(ALICE, port) for port in (DOCUMENTED, DEPLOYED)]
        self.assertNotEqual(*names)
        self.later(200)
        self.ask(ALICE, "alive", DEPLOYED)
        self.later(101)
        self.assertEqual(self.ask(ALICE, "alive", DOCUMENTED), [{"action": "expired"}])
        self.assertEqual(self.ask(ALICE, "alive", DEPLOYED), [{"action": "alived"}])

    def test_port_that_was_closed_sends_nothing(self) -> None:
        """The caller still gets its answer, and nothing raises."""
        self.announce(ALICE, DOCUMENTED)
        bob = self.announce(BOB, DEPLOYED)
        self.successResultOf(self.server.udp_ports[DEPLOYED].stopListening())
        self.assertEqual(self.ask(ALICE, "push", shareId=bob)[0]["action"], "pushReceived")
        self.assertEqual(len(self.sent(DEPLOYED)), 1)


class ErrorTests(UDPTestCase):
    """What is answered with an error, and what with nothing."""

    options: ClassVar[dict[str, Any]] = {"max_tracker_peers": 2}

    def test_wrong_fields_are_told(self) -> None:
        """A known action with a field of the wrong kind names the field, in either dialect."""
        self.announce(ALICE)
        wrong: tuple[tuple[str, dict[str, object], str], ...] = (
            ("push", {}, "shareId is missing."),
            ("push", {"shareId": 7}, "shareId must be text."),
            ("pulse", {"port": 0}, "port must be 1 to 65535."),
            ("pulse", {"override": "maybe"}, "override must be a boolean."),
            ("pulse", {"ip": ["192.0.2.1"]}, "ip must be text."),
            ("pulse", {"multiaddr": "x" * 257}, "multiaddr is too long."),
        )
        for action, fields, sentence in wrong:
            self.assertEqual(self.ask(ALICE, action, **fields), error(sentence))
        self.assertEqual(self.ask(BOB, "push", DEPLOYED), error("shareId is missing."))

    def test_callers_that_are_not_there_are_told(self) -> None:
        """Pulse and push are for those who have announced themselves, at this port."""
        name = self.announce(ALICE, DOCUMENTED)
        self.assertEqual(self.ask(BOB, "pulse"), ANNOUNCE_FIRST)
        self.assertEqual(self.ask(BOB, "push", shareId=name), ANNOUNCE_FIRST)
        self.assertEqual(self.ask(ALICE, "pulse", DEPLOYED), ANNOUNCE_FIRST)

    def test_unknown_share_id_is_told(self) -> None:
        """A name that no peer has, or has no longer."""
        self.announce(ALICE)
        for name in ("zzzzzzzz", "", "x" * 900):
            self.assertEqual(self.ask(ALICE, "push", shareId=name), UNKNOWN_SHARE_ID)

    def test_full_tracker_tells_the_next(self) -> None:
        """The second of two fits, the third does not, and those within are served."""
        self.announce(ALICE)
        self.announce(BOB, DEPLOYED)
        for port in (DOCUMENTED, DEPLOYED):
            self.assertEqual(self.ask(CAROL, "announce", port), error("The tracker is full."))
        self.announce(ALICE)
        self.later(301)
        self.announce(CAROL)

    def test_what_is_no_request_is_dropped_in_silence(self) -> None:
        """Not JSON, no action, an action that is an answer, and one byte over the limit."""
        long = json.dumps({"action": "announce", "x": ""}).encode()
        silent = (
            b"{",
            b"{}",
            b"{\xff}",
            b'{"action":7}',
            b'{"action":"income"}',
            b'{"action":"error","data":{"error":"Announce first."}}',
            b'{"action":"announce"}}',
            long[:-2] + b"x" * (MAX_SIZE + 1 - len(long)) + long[-2:],
        )
        for datagram in silent:
            self.assertEqual(self.server.deliver(datagram, ALICE), [], datagram)
        self.assertEqual(self.dropped(), {"malformed tracker request": len(silent)})
        fits = long[:-2] + b"x" * (MAX_SIZE - len(long)) + long[-2:]
        self.assertEqual(len(self.server.deliver(fits, ALICE)), 1)


class BoundTests(UDPTestCase):
    """How many peers there may be."""

    options: ClassVar[dict[str, Any]] = {"max_tracker_peers": 20, "no_source_limits": False, "udp_rate": 1000.0}

    def test_one_address_holds_a_tenth_of_the_table(self) -> None:
        """The next peer there is refused in a short sentence, and the refusal is counted with the network."""
        for port in (1, 2):
            self.announce((ALICE[0], port))
        self.assertEqual(self.ask((ALICE[0], 3), "announce"), error("Too many peers in your network."))
        self.announce(BOB)
        counters = self.server.rendezvous.counters
        self.assertEqual(counters.totals()["limited sources"], {"source-share": 1})
        self.assertEqual(counters.networks("limited sources").take(), (ALICE[0], 1))

    def test_full_table_is_counted_with_the_network_that_holds_most(self) -> None:
        """So that an operator sees who has filled it."""
        for number in range(18):
            self.announce((f"10.{number}.0.1", 1))
        self.announce(("192.0.2.1", 1))
        self.announce(("192.0.2.1", 2))
        self.assertEqual(self.ask(BOB, "announce"), error("The tracker is full."))
        counters = self.server.rendezvous.counters
        self.assertEqual(counters.totals()["full tables"], {"full-tracker": 1})
        self.assertEqual(counters.networks("full tables").take(), ("192.0.2.1", 1))

    def test_flood_of_announcements_leaves_the_tables_bounded(self) -> None:
        """From any number of forged addresses, in each of the protocols."""
        for number in range(3000):
            source = (f"10.{number >> 8}.{number & 255}.1", 1 + number)
            for datagram in (
                b'{"action":"announce"}',
                b'{"action":"pulse","multiaddr":"/a"}',
                bytes(32),
                b"x",
                request(),
            ):
                self.server.deliver(datagram, source)
        protocol = self.server.udp_ports[0].protocol
        assert isinstance(protocol, RendezvousDatagrams)
        self.assertLessEqual(len(protocol.shared.amplification), 3000)
        self.assertEqual(self.server.rendezvous.counters.totals()["full tables"], {"full-tracker": 2980})
        self.assertLessEqual(len(self.server.rendezvous.counters.networks("dropped datagrams")), 1000)


class OverrideTests(UDPTestCase):
    """What a peer may say about itself."""

    def setUp(self) -> None:
        """Announce two peers."""
        super().setUp()
        self.announce(ALICE)
        self.name = self.announce(BOB)

    def override(self, **fields: object) -> tuple[str, str]:
        """:returns: status and overriden of the answer to an override."""
        [reply] = self.ask(BOB, "pulse", override=True, **fields)
        return reply["data"]["status"], reply["data"]["overriden"]

    def peeraddr(self) -> str:
        """:returns: where others are pointed who push to the second peer."""
        [reply] = self.ask(ALICE, "push", shareId=self.name)
        peeraddr = reply["data"]["peeraddr"]
        assert isinstance(peeraddr, str)
        return peeraddr

    def test_no_peer_points_others_at_an_address_that_is_not_its_own(self) -> None:
        """Another's host, a name, loopback, multicast and broadcast are refused, and the record stays."""
        for ip in (
            "192.0.2.1",
            "198.51.100.3",
            "localhost",
            "127.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "2001:db8::1",
        ):
            self.assertEqual(self.override(ip=ip, port=53), ("1", "false"), ip)
            self.assertEqual(self.peeraddr(), "198.51.100.2:5000")

    def test_own_host_private_hosts_and_any_port_are_taken(self) -> None:
        """Each is what others are pointed at from then on."""
        steps: tuple[tuple[dict[str, object], str], ...] = (
            ({"port": 1}, "198.51.100.2:1"),
            ({"port": "65535"}, "198.51.100.2:65535"),
            ({"ip": "192.168.1.7"}, "192.168.1.7:65535"),
            ({"ip": "fd00::7", "port": 80}, "[fd00::7]:80"),
            ({"ip": "198.51.100.2"}, "198.51.100.2:80"),
        )
        for fields, peeraddr in steps:
            self.assertEqual(self.override(**fields), ("0", "true"))
            self.assertEqual(self.peeraddr(), peeraddr)

    def test_address_without_override_means_nothing(self) -> None:
        """It is neither recorded nor refused."""
        [reply] = self.ask(BOB, "pulse", ip="8.8.8.8", port=53)
        self.assertEqual(reply["data"], {"status": "0", "overriden": "false"})
        self.assertEqual(self.peeraddr(), "198.51.100.2:5000")

    def test_claimed_address_is_sent_nothing(self) -> None:
        """A peer that overrides is still answered and told where it spoke from."""
        self.announce(BOB, DEPLOYED)
        name = self.announce(CAROL, DEPLOYED)
        self.ask(CAROL, "pulse", DEPLOYED, override=True, ip="10.0.0.1", port=53)
        self.ask(BOB, "push", DEPLOYED, shareId=name)
        self.assertEqual({address for _, address in self.sent(DEPLOYED)}, {BOB, CAROL})

    def test_share_id_is_renewed_on_request(self) -> None:
        """The new one is in the answer and works; the old one is unknown."""
        [reply] = self.ask(BOB, "pulse", shareId=True)
        old, self.name = self.name, reply["data"]["shareId"]
        self.assertRegex(self.name, r"\A[0-9A-Za-z]{8}\Z")
        self.assertEqual(self.ask(ALICE, "push", shareId=old), UNKNOWN_SHARE_ID)
        self.assertEqual(self.peeraddr(), "198.51.100.2:5000")
        self.assertEqual(self.announce(BOB), self.name)

    def test_multiaddr_is_passed_on_as_given(self) -> None:
        """To a caller that has only announced itself, if it is as long as common ones are; up to 256 with padding."""
        common = "/ip4/198.51.100.2/udp/5000/quic-v1/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"
        for given, padding in ((common, ""), (common.ljust(256, "Q"), "-" * 60)):
            self.ask(BOB, "pulse", multiaddr=given)
            [reply] = self.ask(ALICE, "push", shareId=self.name, padding=padding)
            self.assertEqual(reply["data"]["multiaddr"], given)


class LifetimeTests(UDPTestCase):
    """Peers end on the server's clock."""

    def test_peer_lives_for_300_seconds(self) -> None:
        """At 300 it is alive, and just after that expired; nothing waits for the sweep."""
        for source, seconds, action in ((ALICE, 300, "alived"), (BOB, 300.01, "expired")):
            self.announce(source)
            self.later(seconds)
            self.assertEqual(self.ask(source, "alive"), [{"action": action}])

    def test_expired_caller_and_target_are_errors(self) -> None:
        """A caller that is late must announce itself again; a target that is late is unknown."""
        name = self.announce(BOB)
        self.later(200)
        self.announce(ALICE)
        self.later(100.01)
        self.assertEqual(self.ask(ALICE, "push", shareId=name), UNKNOWN_SHARE_ID)
        self.assertEqual(self.ask(BOB, "pulse"), ANNOUNCE_FIRST)

    def test_lifetime_is_an_option(self) -> None:
        """Another one holds instead, at its own boundary."""
        self.start(tracker_lifetime=10.0)
        for seconds, action in ((10, "alived"), (10.01, "expired")):
            self.announce(ALICE)
            self.later(seconds)
            self.assertEqual(self.ask(ALICE, "alive"), [{"action": action}])
