"""The tracker's client against a server in memory, in both dialects, and its codec."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.client import RequestRefused, ServerUnreachable
from rendezvous.client.tracker import TrackerClient
from rendezvous.core.replies import Announced, Expired, PeerInfo, Pulsed, Pushed, PushNotice, StillAlive
from rendezvous.errors import WireError
from rendezvous.testing import MemoryServer, MemoryUDPPort
from rendezvous.wire.tracker import (
    MAX_SIZE,
    Alive,
    Announce,
    Dialect,
    Failed,
    PulseRequest,
    Push,
    Request,
    decode,
    encode,
)
from rendezvous.wire.tracker_client import MAX_REPLY, decode_reply, encode_request

SERVER = "192.0.2.1"


class Peer:
    """A peer of the tracker, and the network between it and the server."""

    def __init__(self, server: MemoryServer, address: tuple[str, int], port: int = 5024) -> None:
        self.server, self.address = server, address
        self.incomes: list[PeerInfo] = []
        self.others: list[bytes] = []
        self.client = TrackerClient(
            server.reactor,
            (SERVER, port),
            on_income=self.incomes.append,
            on_datagram=lambda datagram, source: self.others.append(datagram),
        )
        opened = self.client.open()
        assert opened.called
        self.port: MemoryUDPPort = server.reactor.udp_ports[-1]
        self.carried = 0
        self.lose = 0

    def carry(self) -> None:
        """Carry what was sent to the server, and what the server has sent to this peer since."""
        while self.carried < len(self.port.sent):
            datagram, (_, number) = self.port.sent[self.carried]
            self.carried += 1
            [port] = [each for each in self.server.udp_ports if each.port == number]
            before = len(port.sent)
            if self.lose:
                self.lose -= 1
                continue
            port.protocol.datagramReceived(datagram, self.address)
            for reply, to in port.sent[before:]:
                if to == self.address:
                    self.port.protocol.datagramReceived(reply, (SERVER, number))

    def result(self, work: Deferred[Any]) -> Any:
        """:returns: what a request leads to."""
        found: list[Any] = []
        work.addBoth(found.append)
        self.carry()
        assert found, "there is no answer"
        if hasattr(found[0], "raiseException"):
            found[0].raiseException()
        return found[0]


class TrackerClientTests(SynchronousTestCase):
    """A server whose two ports speak one dialect each."""

    def setUp(self) -> None:
        """Start the server, and two peers of the documented dialect."""
        self.server = MemoryServer(udp_port=("5024", "5026:deployed"))
        self.addCleanup(self.server.stop)
        self.alice = self.peer(("198.51.100.1", 4000))
        self.bob = self.peer(("198.51.100.2", 5000))

    def peer(self, address: tuple[str, int], port: int = 5024) -> Peer:
        """:returns: a peer, which the test's end closes."""
        peer = Peer(self.server, address, port)
        self.addCleanup(peer.client.close)
        return peer

    def test_peers_are_introduced(self) -> None:
        """One announces itself, the other pushes to its name and gets its address."""
        self.result = self.alice.result
        name = self.alice.result(self.alice.client.announce())
        self.assertTrue(self.alice.result(self.alice.client.alive()))
        self.bob.result(self.bob.client.announce())
        found = self.bob.result(self.bob.client.push(name))
        self.assertEqual((found.ip, found.port, found.share_id), ("198.51.100.1", 4000, ""))

    def test_target_of_a_push_is_notified_in_the_deployed_dialect(self) -> None:
        """It learns the address and the name of the other."""
        carol, dave = self.peer(("198.51.100.3", 1), 5026), self.peer(("198.51.100.4", 2), 5026)
        name, other = carol.result(carol.client.announce()), dave.result(dave.client.announce())
        self.assertEqual(dave.result(dave.client.push(name)), PeerInfo("198.51.100.3", 1, name))
        port = self.server.udp_ports[1]
        [notice] = [datagram for datagram, to in port.sent if to == carol.address and b"income" in datagram]
        carol.port.protocol.datagramReceived(notice, (SERVER, 5026))
        self.assertEqual(carol.incomes, [PeerInfo("198.51.100.4", 2, other)])

    def test_pulse_changes_what_peers_are_given(self) -> None:
        """A private address and a multiaddr; a foreign one is refused; a new name is drawn."""
        client = self.alice.client
        name = self.alice.result(client.announce())
        self.assertEqual(self.alice.result(client.pulse()), Pulsed())
        changed = self.alice.result(client.pulse(ip="192.168.1.7", port=4001, multiaddr="/x"))
        self.assertEqual(changed, Pulsed(overridden=True))
        self.assertTrue(self.alice.result(client.pulse(ip="203.0.113.9")).refused)
        renewed = self.alice.result(client.pulse(renew_share_id=True)).share_id
        self.assertNotEqual(renewed, name)
        self.bob.result(self.bob.client.announce())
        found = self.bob.result(self.bob.client.push(renewed))
        self.assertEqual((found.ip, found.port, found.multiaddr), ("192.168.1.7", 4001, "/x"))

    def test_refusals_have_the_servers_sentence(self) -> None:
        """A peer that is not in the table, and a name that is not."""
        refused = self.assertRaises(RequestRefused, self.alice.result, self.alice.client.pulse())
        self.assertEqual(refused.server_message, "Announce first.")
        self.assertFalse(self.alice.result(self.alice.client.alive()))
        self.alice.result(self.alice.client.announce())
        refused = self.assertRaises(RequestRefused, self.alice.result, self.alice.client.push("cccccccc"))
        self.assertEqual(refused.server_message, "Unknown shareId.")

    def test_lost_request_is_repeated(self) -> None:
        """After one second and after two more; a late second answer changes nothing."""
        self.alice.lose = 2
        announced = self.alice.client.announce()
        self.alice.carry()
        self.server.reactor.advance(0.9)
        self.assertEqual(len(self.alice.port.sent), 1)
        self.server.reactor.advance(0.2)
        self.alice.carry()
        self.server.reactor.advance(2)
        self.assertEqual(len(self.successResultOf(self._after(announced))), 8)
        self.assertEqual(len(self.alice.port.sent), 3)

    def _after(self, work: Deferred[Any]) -> Deferred[Any]:
        self.alice.carry()
        return work

    def test_request_without_an_answer_fails(self) -> None:
        """After three copies and 7 s; the next request then has its turn."""
        announced, alive = self.alice.client.announce(), self.alice.client.alive()
        self.alice.lose = 3
        for _ in range(4):
            self.alice.carry()
            self.server.reactor.advance(2)
        self.failureResultOf(announced, ServerUnreachable)
        self.alice.carry()
        self.assertFalse(self.successResultOf(alive))

    def test_drawing_a_name_is_not_repeated(self) -> None:
        """A second draw would end the name that the first answer has."""
        self.alice.result(self.alice.client.announce())
        self.alice.lose = 1
        pulsed = self.alice.client.pulse(renew_share_id=True)
        self.alice.carry()
        self.server.reactor.advance(7.5)
        self.failureResultOf(pulsed, ServerUnreachable)
        self.assertEqual(len(self.alice.port.sent), 2)

    def test_cancelled_request_lets_the_next_one_go(self) -> None:
        """And closing cancels all that wait."""
        first, second = self.alice.client.announce(), self.alice.client.alive()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(decode(self.alice.port.sent[-1][0]), Alive())
        self.alice.client.close()
        self.failureResultOf(second, CancelledError)

    def test_answer_to_another_request_is_not_taken(self) -> None:
        """A copy of an earlier answer does not answer the next question."""
        self.alice.result(self.alice.client.announce())
        alive = self.alice.client.alive()
        late = encode(Announced("aaaaaaaa"), Dialect.DOCUMENTED)
        assert late is not None
        self.alice.port.protocol.datagramReceived(late, (SERVER, 5024))
        self.assertNoResult(alive)
        self.alice.carry()
        self.assertTrue(self.successResultOf(alive))

    def test_datagrams_of_peers_are_handed_on(self) -> None:
        """Also such as look like an answer, from elsewhere; and the socket sends to peers."""
        forged = b'{"action":"expired"}'
        self.alice.port.protocol.datagramReceived(forged, ("198.51.100.2", 5024))
        self.alice.port.protocol.datagramReceived(b"\x00\x01", (SERVER, 5024))
        self.assertEqual(self.alice.others, [forged, b"\x00\x01"])
        self.alice.client.send(b"hello", ("198.51.100.2", 5000))
        self.assertEqual(self.alice.port.sent[-1], (b"hello", ("198.51.100.2", 5000)))


PEERS = st.builds(
    PeerInfo,
    st.sampled_from(["192.0.2.1", "2001:db8::1"]),
    st.integers(1, 65535),
    st.text("abc123", min_size=8, max_size=8),
    st.none() | st.sampled_from(["/ip4/1", "☃"]),
)


class CodecTests(SynchronousTestCase):
    """Requests and answers as bytes."""

    def test_server_reads_what_the_client_writes(self) -> None:
        """Every request, with all of its fields."""
        requests: list[Request] = [
            Announce(),
            Alive(),
            Push("aaaaaaaa"),
            PulseRequest(),
            PulseRequest(True, "192.168.1.7", 4001, "/ip4/☃", True),
        ]
        for request in requests:
            self.assertEqual(decode(encode_request(request)), request)
        self.assertEqual(encode_request(PulseRequest(multiaddr="☃")), '{"action":"pulse","multiaddr":"☃"}'.encode())

    def test_request_that_the_server_would_not_read_is_refused(self) -> None:
        """At the limit it is written."""
        text = "x" * (MAX_SIZE - len(encode_request(PulseRequest(multiaddr=""))))
        self.assertEqual(len(encode_request(PulseRequest(multiaddr=text))), MAX_SIZE)
        self.assertRaises(ValueError, encode_request, PulseRequest(multiaddr=text + "x"))

    @given(PEERS)
    def test_client_reads_what_the_server_writes(self, peer: PeerInfo) -> None:
        """Every answer, in both dialects; the documented one does not name peers."""
        for message in (
            Announced("aaaaaaaa"),
            Pulsed(),
            Pulsed(True, False, "bbbbbbbb"),
            Pulsed(False, True),
            StillAlive(),
            Expired(),
            Pushed(peer),
            PushNotice(peer),
            Failed("No."),
        ):
            for dialect in Dialect:
                datagram = encode(message, dialect)
                if datagram is not None:
                    unnamed = dialect is Dialect.DOCUMENTED and isinstance(message, Pushed)
                    named = Pushed(PeerInfo(peer.ip, peer.port, "", peer.multiaddr)) if unnamed else message
                    self.assertEqual(decode_reply(datagram), named)

    def test_what_is_no_answer_is_refused(self) -> None:
        """Including requests, so that two clients cannot answer each other."""
        for datagram in (
            b"",
            b"[]",
            b"{",
            b'{"action":"announce"}',
            b'{"action":["announced"]}',
            b'{"action":"announced"}',
            b'{"action":"announced","data":[]}',
            b'{"action":"announced","data":{"shareId":1}}',
            b'{"action":"pushed","data":{"peeraddr":"192.0.2.1"}}',
            b'{"action":"pushed","data":{"peeraddr":"192.0.2.1:0"}}',
            b'{"action":"pushed","data":{"peeraddr":"192.0.2.1:65536"}}',
            b'{"action":"pushed","data":{"peeraddr":":1"}}',
            b'{"action":"pushed","data":{"peeraddr":"192.0.2.1:000001"}}',
            '{"action":"pushed","data":{"peeraddr":"192.0.2.1:²"}}'.encode(),
            b'{"action":"expired"}'.ljust(MAX_REPLY + 1),
            b"{" * 5000,
            b"\xff",
        ):
            self.assertRaises(WireError, decode_reply, datagram)
        self.assertEqual(decode_reply(b'{"action":"expired"}'.ljust(4096)), Expired())

    @given(st.binary(max_size=64) | st.text(max_size=64).map(str.encode))
    def test_nothing_else_is_raised(self, data: bytes) -> None:
        """Whatever arrives."""
        for datagram in (data, b"{" + data, b'{"action":"pushed","data":{"peeraddr":"' + data + b'"}}'):
            with contextlib.suppress(WireError):
                decode_reply(datagram)
