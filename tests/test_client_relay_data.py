"""The relay's client against a TURN server in memory: what passes, how the address stays, and how it ends."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rendezvous.client.relay import MAX_DATAGRAM, Relay
from rendezvous.client.relay.allocation import MAX_CHANNELS, MAX_PERMISSIONS, RENEWAL
from rendezvous.wire.turn import Method, Name, encode_channel_data, first
from tests._relay_case import OTHER, PEER, TCP, UDP, Address, RelayCase
from tests._turn_case import ONE_WAY, SERVER, MemoryStream, ice_servers


class DataTests(RelayCase):
    """What passes between us and peers."""

    def socket(self) -> Any:
        """Give the socket that is used."""
        return self.reactor.sockets[-1]

    def settle(self) -> None:
        """Let what is on its way arrive, and the answers to it."""
        for _ in range(4):
            self.reactor.advance(ONE_WAY)

    def test_first_datagram_needs_no_round_trip(self) -> None:
        """It follows the request for the permission at once."""
        relay = self.allocated()
        relay.send(b"hello", PEER)
        self.reactor.advance(ONE_WAY)
        self.assertEqual(self.server.sent, [(b"hello", PEER)])

    def test_permitted_peer_sends_first(self) -> None:
        """Any port of the host is let in."""
        relay = self.allocated()
        relay.permit(PEER[0])
        self.settle()
        self.assertEqual(self.server.permissions, {self.socket(): {PEER[0]}})
        for port in (1, 65535):
            self.socket().receive(self.server.data(b"hello", (PEER[0], port)))
        self.assertEqual(self.heard, [(b"hello", (PEER[0], 1)), (b"hello", (PEER[0], 65535))])

    def test_data_of_a_stranger_is_dropped(self) -> None:
        """A Data indication for a host that was not permitted does not come from the server's rules."""
        self.allocated()
        self.socket().receive(self.server.data(b"hello", PEER))
        self.assertEqual(self.heard, [])

    def test_datagram_of_another_source_is_dropped(self) -> None:
        """Only the TURN server is listened to, for its data is not signed."""
        relay = self.allocated()
        relay.permit(PEER[0])
        for source in ((SERVER[0], SERVER[1] + 1), OTHER):
            self.socket().protocol.datagramReceived(self.server.data(b"hello", PEER), source)
        self.assertEqual(self.heard, [])

    def test_channel_is_bound_once_both_have_sent(self) -> None:
        """The first datagrams are indications; those after it are ChannelData, both ways."""
        relay = self.allocated()
        relay.send(b"1", PEER)
        self.settle()
        self.assertEqual(self.server.count(Method.CHANNEL_BIND), 0)
        self.socket().receive(self.server.data(b"2", PEER))
        for payload in (b"3", b"4"):
            relay.send(payload, PEER)
            self.settle()
        self.assertEqual(self.server.count(Method.CHANNEL_BIND), 1)
        self.assertEqual(self.server.indications, 2)
        self.assertEqual([payload for payload, _ in self.server.sent], [b"1", b"3", b"4"])
        [number] = self.server.channels[self.socket()]
        self.socket().receive(encode_channel_data(number, b"5", padded=False))
        self.socket().receive(encode_channel_data(number + 1, b"6", padded=False))
        self.assertEqual(self.heard, [(b"2", PEER), (b"5", PEER)])

    def test_refused_channel_leaves_indications(self) -> None:
        """And is not asked for with each datagram."""
        self.server.refusals[Method.CHANNEL_BIND] = [(400, ())]
        relay = self.allocated()
        relay.permit(PEER[0])
        self.socket().receive(self.server.data(b"hello", PEER))
        for _ in range(5):
            relay.send(b"hello", PEER)
            self.settle()
        self.assertEqual(len(self.server.sent), 5)
        self.assertEqual(self.server.count(Method.CHANNEL_BIND), 1)

    def test_refused_peer_is_not_sent_to(self) -> None:
        """Error 403, for instance for a private address; other peers are reached, and it is asked for once."""
        self.server.refusals[Method.CREATE_PERMISSION] = [(403, ())]
        relay = self.allocated()
        for _ in range(3):
            relay.send(b"hello", PEER)
            relay.send(b"hello", OTHER)
            self.settle()
        self.assertEqual({peer for _, peer in self.server.sent}, {OTHER})
        self.assertEqual(self.server.count(Method.CREATE_PERMISSION), 2)
        self.assertEqual(self.server.indications, 4)

    def test_peer_of_the_other_family_is_passed_over(self) -> None:
        """There is no way from a relayed IPv4 address to an IPv6 one; the server is not asked."""
        relay = self.allocated()
        relay.permit("2001:db8::1")
        relay.send(b"hello", ("2001:db8::1", 1))
        relay.send(b"hello", ("no address", 1))
        self.settle()
        self.assertEqual((self.server.count(Method.CREATE_PERMISSION), self.server.indications), (0, 0))

    def test_hosts_are_bounded(self) -> None:
        """Of 100 hosts, the last 64 are let in; one with a channel does not give way."""
        relay = self.allocated()
        relay.permit(PEER[0])
        self.socket().receive(self.server.data(b"hello", PEER))
        relay.send(b"hello", PEER)
        self.settle()
        self.heard.clear()
        hosts = [f"203.0.113.{number}" for number in range(100, 200)]
        for host in hosts:
            relay.permit(host)
        self.settle()  # The answers come for hosts too that have given way meanwhile.
        for host in [PEER[0], *hosts]:
            self.socket().receive(self.server.data(b"hello", (host, 1)))
        self.assertEqual([source[0] for _, source in self.heard], [PEER[0], *hosts[-63:]])

    def test_host_that_gave_way_is_not_renewed(self) -> None:
        """Of 100 hosts, only the 64 that are left are asked for again."""
        relay = self.allocated()
        for number in range(100):
            relay.permit(f"203.0.113.{number}")
        self.settle()
        before = self.server.count(Method.CREATE_PERMISSION)
        self.pass_time(RENEWAL + 1)
        self.assertEqual(self.server.count(Method.CREATE_PERMISSION) - before, MAX_PERMISSIONS)

    def test_channels_are_bounded(self) -> None:
        """The first 64 peers that both send and are sent to have one; to the next one goes an indication."""
        relay = self.allocated()
        relay.permit(PEER[0])
        peers = [(PEER[0], port) for port in range(1, MAX_CHANNELS + 2)]
        for peer in peers:
            self.socket().receive(self.server.data(b"hello", peer))
            relay.send(b"hello", peer)
        self.settle()
        self.assertEqual(list(self.server.channels[self.socket()].values()), peers[:MAX_CHANNELS])
        for _ in range(2):
            relay.send(b"again", peers[-1])
            self.settle()
        self.assertEqual(self.server.sent[-2:], [(b"again", peers[-1])] * 2)
        self.assertEqual(self.server.count(Method.CHANNEL_BIND), MAX_CHANNELS)

    def test_only_the_last_peers_that_sent_get_a_channel(self) -> None:
        """A peer that sends from 65 ports does not fill the memory: the first port is forgotten."""
        relay = self.allocated()
        relay.permit(PEER[0])
        for port in range(1, MAX_PERMISSIONS + 2):
            self.socket().receive(self.server.data(b"hello", (PEER[0], port)))
        for port in (1, 2):
            relay.send(b"hello", (PEER[0], port))
        self.settle()
        self.assertEqual(list(self.server.channels[self.socket()].values()), [(PEER[0], 2)])

    def test_channel_that_is_not_renewed_leaves_indications(self) -> None:
        """The server refuses the renewal of a channel: data goes on without it."""
        relay = self.allocated()
        relay.permit(PEER[0])
        self.socket().receive(self.server.data(b"hello", PEER))
        relay.send(b"hello", PEER)
        self.settle()
        self.server.refusals[Method.CHANNEL_BIND] = [(400, ())]
        self.pass_time(RENEWAL + 1)
        self.assertEqual(self.server.refusals[Method.CHANNEL_BIND], [])
        before = self.server.indications
        relay.send(b"again", PEER)
        self.settle()
        self.assertEqual(self.server.indications, before + 1)
        self.assertEqual(self.server.sent[-1], (b"again", PEER))

    def test_longest_datagram(self) -> None:
        """One byte more is dropped."""
        relay = self.allocated()
        relay.send(bytes(MAX_DATAGRAM), PEER)
        relay.send(bytes(MAX_DATAGRAM + 1), PEER)
        self.settle()
        self.assertEqual(self.server.sent, [(bytes(MAX_DATAGRAM), PEER)])

    def test_socket_that_does_not_send_drops(self) -> None:
        """A full buffer of the system, or a route that is gone, raises nothing."""
        relay = self.allocated()
        self.socket().refuse_with = OSError("Network is unreachable")
        relay.send(b"hello", PEER)
        self.socket().refuse_with = None
        relay.send(b"hello again", PEER)
        self.reactor.advance(1)
        self.assertEqual(self.lost, [])

    def test_error_of_the_application_is_logged(self) -> None:
        """And the next datagram still comes."""

        def fail(datagram: bytes, source: Address) -> None:
            self.heard.append((datagram, source))
            raise ValueError("an error of the application")

        relay = self.allocated(on_datagram=fail)
        relay.permit(PEER[0])
        for _ in range(2):
            self.socket().receive(self.server.data(b"hello", PEER))
        self.assertEqual(len(self.heard), 2)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_application_may_close_in_the_middle_of_a_stream(self) -> None:
        """Frames that came with the last one are not delivered any more."""

        def close(datagram: bytes, source: Address) -> None:
            self.heard.append((datagram, source))
            relay.close()

        relay = self.allocated(TCP, on_datagram=close)
        relay.permit(PEER[0])
        stream = self.reactor.connections[0]
        stream.receive(self.server.data(b"1", PEER) + self.server.data(b"2", PEER))
        self.assertEqual(self.heard, [(b"1", PEER)])

    @given(st.lists(st.binary(max_size=60), max_size=5))
    def test_anything_from_the_server_raises_nothing(self, frames: list[bytes]) -> None:
        """Over UDP and over TCP."""
        self.setUp()
        for url in (UDP, TCP):
            relay = self.allocated(url)
            relay.permit(PEER[0])
            carrier = self.reactor.connections[-1] if url == TCP else self.socket()
            for frame in frames:
                carrier.receive(frame)
            relay.close()
        self.assertEqual(self.flushLoggedErrors(), [])


class StreamTests(RelayCase):
    """What is special about TCP."""

    def full(self) -> tuple[Relay, MemoryStream]:
        """Give a relay whose server reads no more."""
        relay = self.allocated(TCP)
        relay.send(b"before", PEER)
        self.reactor.advance(2 * ONE_WAY)
        stream = self.reactor.connections[0]
        stream.fill()
        return relay, stream

    def test_datagrams_are_dropped_while_the_server_does_not_read(self) -> None:
        """Not a byte of a thousand datagrams waits, and it goes on when the server reads again."""
        relay, stream = self.full()
        for _ in range(1000):
            relay.send(bytes(1200), PEER)
        self.assertEqual(stream.waiting, b"")
        stream.drain()
        relay.send(b"after", PEER)
        self.reactor.advance(2 * ONE_WAY)
        self.assertEqual(self.server.sent, [(b"before", PEER), (b"after", PEER)])

    def test_server_that_never_reads_again_is_lost(self) -> None:
        """The next refresh is not answered; what waits until then is small."""
        _, stream = self.full()
        self.reactor.until(lambda: self.lost)
        self.assertEqual(self.lost, ["the TURN server does not answer"])
        self.assertLess(len(stream.waiting), 1000)
        self.assertQuiet()

    def test_closed_connection_is_lost_at_once(self) -> None:
        """With the reason."""
        relay = self.allocated(TCP)
        self.reactor.connections[0].lose()
        self.assertEqual(len(self.lost), 1)
        self.assertIn("the connection was lost", self.lost[0])
        self.assertIsNone(relay.relayed_address)
        relay.send(b"hello", PEER)
        relay.permit(PEER[0])
        self.assertQuiet()

    def test_channel_data_is_padded(self) -> None:
        """Datagrams of all sizes pass by a channel, however the stream is cut."""
        relay = self.allocated(TCP)
        stream = self.reactor.connections[0]
        relay.permit(PEER[0])
        stream.receive(self.server.data(b"hello", PEER))
        sizes = range(9)
        for size in (5, *sizes):
            relay.send(bytes(size), PEER)
            self.reactor.advance(ONE_WAY)
            self.reactor.advance(ONE_WAY)
        self.assertEqual([len(payload) for payload, _ in self.server.sent], [5, *sizes])
        self.assertEqual(self.server.indications, 1)


class LifeTests(RelayCase):
    """How the address stays, is given back, and is lost."""

    def test_address_is_refreshed_while_nothing_is_sent(self) -> None:
        """At least every 25 s, which keeps the mapping of a NAT, for ten minutes and more."""
        self.allocated()
        before = self.server.count(Method.REFRESH)
        self.pass_time(1000)
        self.assertTrue(1000 / 25 - 1 <= self.server.count(Method.REFRESH) - before <= 1000 / 20 + 1)
        self.assertEqual(self.lost, [])

    def test_short_lifetime_is_refreshed_in_time(self) -> None:
        """Before half of it is over."""
        self.server.lifetime = 10
        self.allocated()
        self.pass_time(20)
        self.assertGreaterEqual(self.server.count(Method.REFRESH), 4)

    def test_lifetime_of_nothing_does_not_make_us_ask_all_the_time(self) -> None:
        """Once a second at most."""
        self.server.lifetime = 0
        self.allocated()
        self.pass_time(10)
        self.assertLessEqual(self.server.count(Method.REFRESH), 13)

    def test_permissions_and_channels_are_renewed(self) -> None:
        """Each well before it ends: 300 and 600 s."""
        relay = self.allocated()
        relay.permit(PEER[0])
        self.reactor.sockets[0].receive(self.server.data(b"hello", PEER))
        relay.send(b"hello", PEER)
        self.pass_time(1000)
        self.assertEqual((self.server.count(Method.CREATE_PERMISSION), self.server.count(Method.CHANNEL_BIND)), (5, 5))
        self.assertEqual({first(request, Name.CHANNEL_NUMBER) for request in self.server.requests} - {None}, {0x4000})

    def test_new_nonce_is_taken_over(self) -> None:
        """A server that changes its nonce every minute loses nothing."""
        relay = self.allocated()
        for number in range(10):
            self.server.nonce = f"nonce of minute {number}"
            self.pass_time(60)
            relay.send(b"hello", (f"203.0.113.{number}", 1))
            self.pass_time(0.1)
        self.assertEqual(self.lost, [])
        self.assertEqual(len(self.server.permissions[self.reactor.sockets[0]]), 10)

    def test_closing_releases_the_address(self) -> None:
        """The server confirms it, and nothing is left."""
        relay = self.allocated()
        relay.permit(PEER[0])
        closed = relay.close()
        self.assertNoResult(closed)
        self.assertIsNone(relay.relayed_address)
        self.reactor.until(lambda: closed.called, 1)
        self.assertEqual(self.server.allocations, {})
        self.assertEqual(self.lost, [])
        self.assertQuiet()

    def test_closing_in_the_middle_of_a_refresh_releases_the_address(self) -> None:
        """The answer to the refresh, which is given up, does not end the release."""
        relay = self.allocated()
        before = self.server.count(Method.REFRESH)
        self.reactor.until(lambda: self.server.count(Method.REFRESH) > before)
        closed = relay.close()
        self.reactor.until(lambda: closed.called, 1)
        self.assertEqual(self.server.allocations, {})
        self.assertEqual(self.lost, [])
        self.assertQuiet()

    def test_nothing_is_renewed_while_the_address_is_released(self) -> None:
        """A permission that is due just then is not asked for."""
        relay = self.allocated()
        relay.permit(PEER[0])
        self.pass_time(RENEWAL - 0.5)
        self.server.deaf = {Method.REFRESH}
        closed = relay.close()
        self.reactor.until(lambda: closed.called, 1.1)
        self.assertEqual(self.server.count(Method.CREATE_PERMISSION), 1)
        self.assertQuiet()

    def test_release_is_repeated(self) -> None:
        """A lost datagram does not leave the address at the server for ten minutes."""
        relay = self.allocated()
        self.reactor.losses = [True]
        closed = relay.close()
        self.reactor.until(lambda: closed.called, 2)
        self.assertEqual(self.server.allocations, {})

    def test_closing_waits_for_a_silent_server_for_a_second(self) -> None:
        """Not longer."""
        relay = self.allocated()
        self.server.deaf = set(Method)
        closed = relay.close()
        self.assertApproximates(self.reactor.until(lambda: closed.called), 1.0, 0.02)
        self.assertQuiet()

    def test_closing_twice_and_before_the_start_is_harmless(self) -> None:
        """Each Deferred fires."""
        relay = self.relay()
        self.successResultOf(relay.close())
        relay = self.allocated()
        relay.close()
        again = relay.close()
        self.reactor.until(lambda: again.called, 2)
        self.successResultOf(again)
        self.assertQuiet()

    def test_silent_server_is_lost(self) -> None:
        """Within 33 s, once, and without a further datagram."""
        self.allocated()
        self.server.deaf = set(Method)
        self.assertLessEqual(self.reactor.until(lambda: self.lost), 33)
        self.assertEqual(self.lost, ["the TURN server does not answer"])
        self.assertQuiet()

    def test_server_that_has_forgotten_us_is_lost(self) -> None:
        """After a restart it answers 437 to a refresh, a permission and a channel."""
        for method in (Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND):
            self.setUp()
            relay = self.allocated()
            relay.permit(PEER[0])
            self.reactor.advance(ONE_WAY)
            self.reactor.advance(ONE_WAY)
            self.reactor.sockets[0].receive(self.server.data(b"hello", PEER))
            self.server.refusals[method] = [(437, ())]
            if method == Method.CREATE_PERMISSION:
                relay.permit(OTHER[0])
            if method == Method.CHANNEL_BIND:
                relay.send(b"hello", PEER)
            self.reactor.until(lambda: self.lost)
            self.assertEqual(self.lost, ["the TURN server answered with error 437: Reason"])
            self.assertQuiet()

    def test_lost_datagrams_of_a_refresh_are_repeated(self) -> None:
        """Three of four may be lost."""
        self.allocated()
        self.reactor.losses = [True] * 3
        self.pass_time(60)
        self.assertEqual(self.lost, [])

    def test_error_of_the_application_in_on_lost_is_logged(self) -> None:
        """It goes no further."""

        def fail(reason: str) -> None:
            raise ValueError(reason)

        relay = Relay(ice_servers(TCP), self.reactor, on_datagram=print, on_lost=fail)
        result = relay.allocate()
        self.reactor.until(lambda: result.called)
        self.reactor.connections[0].lose()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
