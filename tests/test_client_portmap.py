"""Port mappings that the router is asked for: how they are made, and what is believed."""

from __future__ import annotations

from unittest.mock import patch

from twisted.internet.defer import CancelledError
from twisted.internet.error import CannotListenError

from rendezvous.client.network.gateway import Gateway
from rendezvous.client.portmap import BUDGET, GatewayReport
from rendezvous.testing import MemoryUDPPort
from tests._gateways import HOST, OUTSIDE, ROUTER, FakeRouter
from tests._portmap_case import HOST_IPV6, LOCAL, PortMapCase


class AcquisitionTests(PortMapCase):
    """How a mapping is asked for."""

    def test_pcp(self) -> None:
        """A router with PCP makes the mapping with the first datagram."""
        self.router("pcp").offset = 1
        mapping = self.mapped()
        self.assertEqual(
            (mapping.local_port, mapping.host, mapping.port, mapping.protocol), (LOCAL, OUTSIDE, LOCAL + 1, "pcp")
        )
        self.stop()

    def test_natpmp(self) -> None:
        """A router with NAT-PMP alone refuses PCP, and makes the mapping as soon as its address is known."""
        self.router("nat-pmp").offset = 1
        mapping = self.mapped()
        self.assertEqual((mapping.host, mapping.port, mapping.protocol), (OUTSIDE, LOCAL + 1, "nat-pmp"))
        self.assertEqual(self.reactor.seconds(), 0)
        self.stop()

    def test_natpmp_of_a_router_that_drops_pcp(self) -> None:
        """PCP gets 50 ms, and then NAT-PMP makes the mapping."""
        self.router("nat-pmp").silent = True
        result = self.map()
        self.fake.advance(0.049)
        self.assertNoResult(result)
        self.fake.advance(0.002)
        mapping = self.successResultOf(result)
        assert mapping is not None
        self.assertEqual(mapping.protocol, "nat-pmp")
        self.stop()

    def test_router_with_both_makes_one_mapping(self) -> None:
        """PCP is preferred, and NAT-PMP is not asked for a second mapping."""
        self.router("pcp", "nat-pmp").pcp_delay = 0.04
        result = self.map()
        self.fake.advance(0.2)
        mapping = self.successResultOf(result)
        assert mapping is not None
        self.assertEqual((mapping.protocol, self.fake.mappings), ("pcp", {("pcp", LOCAL): LOCAL}))
        self.stop()

    def test_surplus_mapping_is_removed(self) -> None:
        """If PCP answers after NAT-PMP has made the mapping, that of PCP is removed again."""
        self.router("pcp", "nat-pmp").pcp_delay = 0.1
        result = self.map()
        self.fake.advance(0.5)
        mapping = self.successResultOf(result)
        assert mapping is not None
        self.assertEqual((mapping.protocol, self.fake.mappings), ("nat-pmp", {("nat-pmp", LOCAL): LOCAL}))
        self.stop()

    def test_natpmp_need_not_wait_for_pcp_that_is_refused(self) -> None:
        """A refusal that comes within the 50 ms ends them."""
        self.router("pcp", "nat-pmp").refusal = 2
        self.fake.pcp_delay = 0.02
        result = self.map()
        self.fake.advance(0.021)
        mapping = self.successResultOf(result)
        assert mapping is not None
        self.assertEqual((mapping.protocol, self.times(0, 1)), ("nat-pmp", [0.02]))
        self.stop()

    def test_datagram_that_cannot_be_sent_counts_as_lost(self) -> None:
        """For example while the uplink is down; the request is repeated."""
        self.router("pcp")
        with patch.object(MemoryUDPPort, "write", side_effect=OSError(101, "Network is unreachable")):
            result = self.map()
            self.fake.advance(1)
        self.assertIsNone(self.successResultOf(result))
        self.fake.advance(3)
        self.assertEqual(self.changes, [(OUTSIDE, LOCAL)])
        self.stop()

    def test_silent_router(self) -> None:
        """Without an answer there is no mapping after 250 ms; requests go on as the RFCs say."""
        self.router()
        result = self.map()
        self.fake.advance(BUDGET - 0.01)
        self.assertNoResult(result)
        self.fake.advance(0.02)
        self.assertIsNone(self.successResultOf(result))
        self.fake.advance(200)
        # RFC 6886, section 3.1: nine times, first after 250 ms, then twice as long each time.
        self.assertEqual(self.times(0, 0), [0, 0.25, 0.75, 1.75, 3.75, 7.75, 15.75, 31.75, 63.75])
        # RFC 6887, section 8.1.1: after 3 s, then twice as long each time.
        self.assertEqual(self.times(2, 1), [0, 3, 9, 21, 45, 93, 189])
        self.assertEqual(self.changes, [])
        self.stop()

    def test_gaps_of_pcp_end_at_1024_seconds(self) -> None:
        """A silent router is asked every 17 minutes in the end."""
        self.router()
        self.map()
        self.fake.advance(10_000)
        times = self.times(2, 1)
        self.assertEqual({later - earlier for earlier, later in zip(times[-4:], times[-3:], strict=False)}, {1024.0})
        self.stop()

    def test_late_mapping_is_a_change(self) -> None:
        """A router that answers a repeated request makes the mapping after all."""
        self.router("pcp").is_on = False
        result = self.map()
        self.fake.advance(1)
        self.assertIsNone(self.successResultOf(result))
        self.fake.is_on = True
        self.fake.advance(3)
        self.assertEqual(self.changes, [(OUTSIDE, LOCAL)])
        self.stop()

    def test_refusal_is_a_result_at_once(self) -> None:
        """If a router refuses both protocols, the result is there at once. It is asked again after five minutes."""
        self.router("pcp", "nat-pmp")
        self.fake.refusal, self.fake.natpmp_refusal = 2, 2
        self.assertIsNone(self.successResultOf(self.map()))
        self.assertEqual(self.mapper.report().refusals, {"pcp": "not authorized", "nat-pmp": "not authorized"})
        self.fake.refusal = 0
        self.fake.advance(299)
        self.assertEqual(self.changes, [])
        self.fake.advance(2)
        self.assertEqual(self.changes, [(OUTSIDE, LOCAL)])
        self.stop()

    def test_several_ports_share_a_socket(self) -> None:
        """Each port has its own mapping."""
        self.router("nat-pmp")
        results = [self.map(port) for port in (40000, 40001, 40002)]
        mappings = [self.successResultOf(result) for result in results]
        self.assertEqual([mapping and mapping.port for mapping in mappings], [40000, 40001, 40002])
        self.assertEqual(len(self.reactor.udp_ports), 1)
        self.stop()
        self.assertEqual(self.fake.mappings, {})

    def test_port_that_gets_no_answer_is_repeated_beside_one_that_rests(self) -> None:
        """The next repetition comes in time, although the other mapping is not due for an hour."""
        self.router("pcp", "nat-pmp")
        self.mapped()
        self.fake.is_on = False
        self.map(LOCAL + 1)
        before = len(self.reactor.udp_ports[0].sent)
        self.fake.advance(5)
        self.assertGreater(len(self.reactor.udp_ports[0].sent) - before, 1)
        self.fake.is_on = True
        self.stop()

    def test_port_is_mapped_once(self) -> None:
        """A second request for the same port is a programming error."""
        self.router("pcp")
        self.mapped()
        self.assertRaises(ValueError, self.mapper.map, LOCAL)
        self.stop()

    def test_no_router(self) -> None:
        """Without a router there is no mapping, no socket and no timer."""
        self.router()
        self.gateways[False] = None
        self.assertIsNone(self.successResultOf(self.map()))
        self.assertEqual((self.reactor.udp_ports, self.reactor.getDelayedCalls()), ([], []))
        self.assertEqual(self.mapper.report(), GatewayReport())
        self.stop()

    def test_address_that_has_just_gone(self) -> None:
        """If no socket can be opened, there is no mapping."""
        self.router("pcp")

        def listen(*_: object, **__: object) -> None:
            raise CannotListenError(HOST, 0, OSError(99, "Cannot assign requested address"))

        self.reactor.listenUDP = listen  # type: ignore[assignment]
        self.assertIsNone(self.successResultOf(self.map()))
        self.stop()

    def test_cancelled_request(self) -> None:
        """Cancelling removes what was asked for."""
        self.router("pcp").pcp_delay = 0.1
        result = self.map()
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.fake.advance(1)
        self.assertEqual(self.fake.mappings, {})
        self.stop()

    def test_failing_callback_does_no_harm(self) -> None:
        """An exception of the application's callback is logged, and the mapping goes on."""
        self.router("pcp").is_on = False
        self.mapper.map(LOCAL, on_change=lambda _: 1 / 0)  # type: ignore[arg-type]
        self.fake.advance(1)
        self.fake.is_on = True
        self.fake.advance(3)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.fake.mappings, {("pcp", LOCAL): LOCAL})
        self.stop()


class TrustTests(PortMapCase):
    """Only the router itself is believed."""

    def test_other_sources_are_ignored(self) -> None:
        """A reply from another host, or from another port of the router, makes no mapping."""
        self.router()
        result = self.map()
        [port] = self.reactor.udp_ports
        reply = FakeRouter(self.reactor, "pcp")._pcp(port, port.sent[0][0])
        for source in (("192.168.1.2", 5351), (ROUTER, 5350), (OUTSIDE, 5351)):
            port.deliver(reply, source)
        self.assertNoResult(result)
        port.deliver(reply, (ROUTER, 5351))
        self.assertIsNotNone(self.successResultOf(result))
        self.stop()

    def test_other_nonces_and_ports_are_ignored(self) -> None:
        """A reply about another mapping changes nothing."""
        self.router()
        result = self.map()
        [port] = self.reactor.udp_ports
        reply = bytearray(FakeRouter(self.reactor, "pcp")._pcp(port, port.sent[0][0]))
        for position in (24, 41):
            reply[position] ^= 1
            port.deliver(bytes(reply), (ROUTER, 5351))
            reply[position] ^= 1
        port.deliver(b"\x02\x81", (ROUTER, 5351))
        self.assertNoResult(result)
        port.deliver(bytes(reply), (ROUTER, 5351))
        self.assertIsNotNone(self.successResultOf(result))
        self.stop()

    def test_epochs_that_jump_do_not_make_a_flood(self) -> None:
        """However often the epoch jumps, all mappings are asked for again every ten seconds at most."""
        self.router("pcp")
        self.mapped()
        [port] = self.reactor.udp_ports
        before = len(port.sent)
        for number in range(1000):
            port.deliver(
                bytes.fromhex("0280000000000000") + (number % 2 * 9999).to_bytes(4, "big") + bytes(12), (ROUTER, 5351)
            )
        self.assertEqual(len(port.sent) - before, 1)
        self.stop()


class DoubleNatTests(PortMapCase):
    """A router that is itself behind a NAT makes no mapping that is of use."""

    def test_private_address_of_natpmp(self) -> None:
        """A router with a private or a carrier's address is not asked for a mapping."""
        for address in ("10.0.0.5", "100.64.0.10", "192.168.0.2"):
            self.setUp()
            self.router("nat-pmp").address = address
            self.assertIsNone(self.successResultOf(self.map()))
            report = self.mapper.report()
            self.assertEqual((report.is_double_nat, report.external_address), (True, address))
            self.assertEqual((self.fake.mappings, self.times(0, 1)), ({}, []))
            self.stop()

    def test_private_address_of_pcp(self) -> None:
        """A mapping of PCP on an address that is not public is removed again."""
        self.router("pcp").address = "100.64.0.10"
        result = self.map()
        self.fake.advance(1)
        self.assertIsNone(self.successResultOf(result))
        self.assertEqual((self.fake.mappings, self.mapper.report().is_double_nat), ({}, True))
        self.stop()

    def test_refusals_of_miniupnpd(self) -> None:
        """It refuses PCP with result 8 and its private address, and NAT-PMP with result 3."""
        self.router("pcp", "nat-pmp").address = "100.64.0.10"
        self.fake.refusal, self.fake.natpmp_refusal = 8, 3
        self.assertIsNone(self.successResultOf(self.map()))
        report = self.mapper.report()
        self.assertEqual((report.is_double_nat, report.external_address), (True, "100.64.0.10"))
        self.assertEqual(report.refusals, {"pcp": "no resources", "nat-pmp": "network failure"})
        self.stop()

    def test_router_without_resources_is_no_double_nat(self) -> None:
        """Result 8 alone says only that the table is full."""
        self.router("pcp").refusal = 8
        self.map()
        self.assertFalse(self.mapper.report().is_double_nat)
        self.stop()

    def test_public_address_is_no_double_nat(self) -> None:
        """And what the router can do is known."""
        self.router("nat-pmp")
        self.mapped()
        expected = GatewayReport(ROUTER, HOST, frozenset({"nat-pmp"}), {"pcp": "unsupported version"}, OUTSIDE, False)
        self.assertEqual(self.mapper.report(), expected)
        self.stop()


class PinholeTests(PortMapCase):
    """IPv6 has no NAT, but a firewall that PCP can open."""

    def setUp(self) -> None:
        """Have an IPv6 router with a link-local address."""
        super().setUp()
        self.gateways[True] = Gateway("fe80::1%eth0", HOST_IPV6)
        self.fake = FakeRouter(self.reactor, "pcp", host="fe80::1%eth0")

    def test_pinhole(self) -> None:
        """The pinhole is the address and the port of this host."""
        result = self.mapper.map(LOCAL, ipv6=True)
        self.fake.pump()
        mapping = self.successResultOf(result)
        assert mapping is not None
        self.assertEqual((mapping.host, mapping.port, mapping.protocol), (HOST_IPV6, LOCAL, "pcp"))
        self.assertEqual(self.reactor.udp_ports[0].sent[0][1], ("fe80::1%eth0", 5351))
        self.stop()

    def test_natpmp_is_not_asked(self) -> None:
        """It knows IPv4 only."""
        self.fake.protocols.clear()
        result = self.mapper.map(LOCAL, ipv6=True)
        self.fake.advance(200)
        self.assertIsNone(self.successResultOf(result))
        self.assertEqual({datagram[0] for datagram, _ in self.reactor.udp_ports[0].sent}, {2})
        self.stop()

    def test_families_are_independent(self) -> None:
        """A port may have a mapping and a pinhole; one does not wait for the other."""
        result = self.mapper.map(LOCAL, ipv6=True)
        other = self.mapper.map(LOCAL)
        self.fake.pump()
        self.assertIsNotNone(self.successResultOf(result))
        self.assertNoResult(other)
        self.stop()


class NetworkChangeTests(PortMapCase):
    """The network changes under a mapping."""

    def test_other_router(self) -> None:
        """A mapping moves to the new router; the change is reported once it is made."""
        self.router("pcp")
        self.mapped()
        self.gateways[False] = Gateway("10.0.0.1", "10.0.0.7")
        self.fake.restart()
        self.fake.host, self.fake.address = "10.0.0.1", "11.8.2.10"
        self.mapper.network_changed()
        self.fake.pump()
        self.assertEqual(self.changes, [None, ("11.8.2.10", LOCAL)])
        self.assertEqual([port.listening for port in self.reactor.udp_ports], [False, True])
        self.assertEqual(self.mapper.report().gateway, "10.0.0.1")
        self.stop()

    def test_other_router_with_the_same_address(self) -> None:
        """A mapping that the router there does not know is made anew, or is lost within ten seconds."""
        self.router("pcp")
        self.mapped()
        self.fake.restart()
        self.mapper.network_changed()
        self.fake.pump()
        self.assertEqual((self.fake.mappings, self.changes), ({("pcp", LOCAL): LOCAL}, []))
        self.fake.is_on = False
        self.mapper.network_changed()
        self.fake.advance(11)
        self.assertEqual(self.changes, [None])
        self.stop()

    def test_network_that_goes_and_comes_back(self) -> None:
        """Without a router the mapping is lost; with one it is made again."""
        self.router("pcp")
        self.mapped()
        self.gateways[False] = None
        self.mapper.network_changed()
        self.assertEqual((self.changes, self.reactor.getDelayedCalls()), ([None], []))
        self.gateways[False] = Gateway(ROUTER, HOST)
        self.mapper.network_changed()
        self.fake.pump()
        self.assertEqual(self.changes, [None, (OUTSIDE, LOCAL)])
        self.stop()

    def test_router_that_lost_no_mapping_knows_its_nonce(self) -> None:
        """A router refuses another nonce for a mapping that it has, so there is one nonce for each router."""
        self.router("pcp")
        self.mapped()
        self.mapper.release(LOCAL)
        self.fake.seen.clear()
        self.fake.mappings["pcp", LOCAL] = LOCAL  # The removal was lost.
        self.assertEqual(self.mapped().port, LOCAL)
        self.gateways[False] = Gateway("10.0.0.1", "10.0.0.7")
        self.fake.host = "10.0.0.1"
        self.fake.restart()
        self.mapper.network_changed()
        self.fake.pump()
        nonces = {datagram[24:36] for _, datagram in self.fake.seen if datagram[:2] == b"\x02\x01"}
        self.assertEqual(len(nonces), 2)
        self.stop()

    def test_nothing_is_asked_without_requests(self) -> None:
        """A change of the network alone opens no socket."""
        self.router("pcp")
        self.mapper.network_changed()
        self.assertEqual(self.reactor.udp_ports, [])
        self.stop()
