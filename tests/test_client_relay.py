"""The relay's client against a TURN server in memory: which server is used, and when."""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import CancelledError

from rendezvous.client import IceServer
from rendezvous.client.relay.relay import ALLOCATE_TIME, HEAD_START, Relay, RelayUnavailable
from rendezvous.client.relay.servers import Transport
from rendezvous.wire.turn import Method, Name
from tests._relay_case import OTHER, TCP, UDP, RelayCase
from tests._turn_case import ONE_WAY, SERVER, MemoryTurn, ice_servers


class AllocateTests(RelayCase):
    """Which server gives the address, and when."""

    def test_udp_takes_two_round_trips(self) -> None:
        """One for the nonce, one for the allocation; no connection is begun."""
        relay = self.relay(UDP, TCP)
        result = relay.allocate()
        self.assertApproximates(self.reactor.until(lambda: result.called), 4 * ONE_WAY, 0.011)
        self.assertEqual(self.successResultOf(result)[0], "198.51.100.1")
        assert relay.server is not None
        self.assertEqual(relay.server.transport, Transport.UDP)
        self.reactor.advance(1)
        self.assertEqual(self.reactor.connecting, [])

    def test_tcp_is_tried_after_the_head_start(self) -> None:
        """If UDP is not answered, TCP is there after 200 ms and three round trips."""
        del self.reactor.datagrams[SERVER]
        relay = self.relay(UDP, TCP)
        result = relay.allocate()
        took = self.reactor.until(lambda: result.called)
        self.assertApproximates(took, HEAD_START + 6 * ONE_WAY, 0.011)
        assert relay.server is not None
        self.assertEqual(relay.server.transport, Transport.TCP)
        self.assertFalse(self.reactor.sockets[0].open)

    def test_tcp_is_tried_at_once_when_udp_is_blocked(self) -> None:
        """UDP is still tried, for it may be known wrongly."""
        del self.reactor.datagrams[SERVER]
        result = self.relay(UDP, TCP, udp_blocked=True).allocate()
        self.assertApproximates(self.reactor.until(lambda: result.called), 6 * ONE_WAY, 0.011)
        self.assertEqual(len(self.reactor.sockets), 1)

    def test_tcp_is_tried_at_once_when_udp_has_failed(self) -> None:
        """A server that the system knows no way to leaves nothing to wait for."""
        self.reactor.unreachable.add("2001:db8::1")
        self.reactor.nameResolver.known["2001:db8::1"] = ["2001:db8::1"]
        result = self.relay("turn:[2001:db8::1]", TCP).allocate()
        self.assertApproximates(self.reactor.until(lambda: result.called), 6 * ONE_WAY, 0.011)

    def test_tcp_is_tried_at_once_when_all_servers_over_udp_have_refused(self) -> None:
        """While one of them may still answer, TCP waits for the end of the head start."""
        for silent in (False, True):
            self.setUp()
            self.reactor.datagrams[SERVER] = refusing = MemoryTurn()
            refusing.refusals[Method.ALLOCATE] = [(403, ())]
            servers = (UDP, f"turn:{OTHER[0]}", TCP) if silent else (UDP, TCP)
            self.reactor.nameResolver.known[OTHER[0]] = [OTHER[0]]
            relay = self.relay(*servers)
            result = relay.allocate()
            took = self.reactor.until(partial(getattr, result, "called"))
            self.assertApproximates(took, (HEAD_START if silent else 2 * ONE_WAY) + 6 * ONE_WAY, 0.02)
            assert relay.server is not None
            self.assertEqual(relay.server.transport, Transport.TCP)
            relay.close()

    def test_lost_datagram_is_repeated(self) -> None:
        """After half a second, and then after twice as long."""
        self.reactor.losses = [True, True]
        result = self.relay(UDP).allocate()
        self.assertApproximates(self.reactor.until(lambda: result.called), 0.5 + 1.0 + 4 * ONE_WAY, 0.02)

    def test_allocation_that_comes_too_late_is_released(self) -> None:
        """The one of UDP, whose answer was on its way when that of TCP came, does not stay at the server."""
        relay = self.relay(UDP, TCP, udp_blocked=True)
        self.reactor.losses = [False, True]  # The signed request over UDP is repeated too late.
        result = relay.allocate()
        self.reactor.until(lambda: result.called)
        self.reactor.advance(3)
        self.assertEqual(list(self.server.allocations), self.reactor.connections)
        self.assertFalse(self.reactor.sockets[0].open)

    def test_server_that_wins_late_leaves_nothing_of_the_others(self) -> None:
        """Both servers answer; the allocation of the slower one is given back."""
        slow = MemoryTurn()
        self.reactor.datagrams[OTHER] = slow
        self.reactor.nameResolver.known[OTHER[0]] = [OTHER[0]]
        relay = self.allocated(UDP, f"turn:{OTHER[0]}:{OTHER[1]}")
        self.reactor.advance(3)
        self.assertEqual((len(self.server.allocations), len(slow.allocations)), (1, 0))
        relay.close()

    def test_next_address_of_a_name_is_used_if_there_is_no_way_to_the_first(self) -> None:
        """A host without IPv6 gets a relay although the name has an IPv6 address first."""
        self.reactor.nameResolver.known["turn.example"] = ["2001:db8::1", SERVER[0]]
        self.reactor.unreachable.add("2001:db8::1")
        self.allocated("turn:turn.example")
        self.assertEqual([socket.open for socket in self.reactor.sockets], [False, True])

    def test_new_port_is_tried_on_a_mismatch(self) -> None:
        """Error 437: the server still has an allocation of another socket on this port (RFC 8656, section 7.4)."""
        self.server.refusals[Method.ALLOCATE] = [(437, ())]
        self.allocated(UDP)
        self.assertEqual([socket.open for socket in self.reactor.sockets], [False, True])

    def test_alternate_server_is_followed(self) -> None:
        """Error 300 names another one (RFC 8489, section 10)."""
        self.server.refusals[Method.ALLOCATE] = [(300, ((Name.ALTERNATE_SERVER, OTHER),))]
        other = MemoryTurn()
        self.reactor.datagrams[OTHER] = other
        self.reactor.nameResolver.known[OTHER[0]] = [OTHER[0]]
        relay = self.allocated(UDP)
        assert relay.server is not None
        self.assertEqual((relay.server.host, relay.server.port), OTHER)
        self.assertEqual((len(self.server.allocations), len(other.allocations)), (0, 1))

    def test_alternate_that_is_not_named_or_not_asked_for_is_not_followed(self) -> None:
        """Error 300 has to name a server, and no other error sends the client to one."""
        for refusal in ((300, ()), (403, ((Name.ALTERNATE_SERVER, OTHER),))):
            self.server.refusals[Method.ALLOCATE] = [refusal]
            self.assertUnavailable(self.relay(UDP), f"error {refusal[0]}")

    def test_servers_that_name_each_other_are_given_up(self) -> None:
        """After three of them."""
        self.server.refusals[Method.ALLOCATE] = [(300, ((Name.ALTERNATE_SERVER, SERVER),))] * 9
        self.assertUnavailable(self.relay(UDP), "again and again")
        self.assertEqual(self.server.count(Method.ALLOCATE), 3)

    def test_stale_nonce_is_replaced(self) -> None:
        """A nonce that is old already when the signed request comes costs one round trip."""
        relay = self.relay(UDP)
        result = relay.allocate()
        self.reactor.until(lambda: self.server.count(Method.ALLOCATE) == 1)
        self.server.nonce = "nonce 2"
        self.reactor.until(lambda: result.called)
        self.assertEqual(self.server.count(Method.ALLOCATE), 3)
        self.successResultOf(result)

    def assertUnavailable(self, relay: Relay, *words: str) -> float:
        """Check that there is no address, and that the message says why; gives how long that took."""
        result = relay.allocate()
        took = self.reactor.until(lambda: result.called)
        error = self.failureResultOf(result, RelayUnavailable).value
        for word in words:
            self.assertIn(word, str(error))
        self.assertIsNone(relay.relayed_address)
        self.assertEqual(self.lost, [])
        self.assertQuiet()
        return took

    def test_wrong_password_is_said_at_once(self) -> None:
        """The server asks for a signature again and again; the client asks twice."""
        relay = Relay(
            ice_servers(UDP, password="wrong"),
            self.reactor,
            on_datagram=lambda datagram, source: None,
            on_lost=self.lost.append,
        )
        self.assertUnavailable(relay, "udp 192.0.2.1:3478", "error 401: Reason")
        self.assertEqual(self.server.count(Method.ALLOCATE), 2)

    def test_quota_that_is_used_up_is_said(self) -> None:
        """Error 486, after the credential was checked."""
        self.server.refusals[Method.ALLOCATE] = [
            (401, ((Name.REALM, "rendezvous.example"), (Name.NONCE, "nonce 1"))),
            (486, ()),
        ]
        self.assertUnavailable(self.relay(UDP), "error 486")

    def test_nonce_that_is_always_stale_is_given_up(self) -> None:
        """A server that never takes its own nonce is not asked for ever."""
        stale = (438, ((Name.NONCE, "nonce 1"),))
        self.server.refusals[Method.ALLOCATE] = [(401, ((Name.REALM, "rendezvous.example"), (Name.NONCE, "nonce 1")))]
        self.server.refusals[Method.ALLOCATE] += [stale] * 9
        self.assertUnavailable(self.relay(UDP), "error 438")
        self.assertLess(self.server.count(Method.ALLOCATE), 6)

    def test_answer_without_signature_is_not_believed(self) -> None:
        """Over UDP it is as if it had not come; over TCP nobody else can have sent it, and the server is given up."""
        self.server.signs = False
        self.assertApproximates(self.assertUnavailable(self.relay(UDP), "does not answer"), 7.5, 0.1)
        self.assertLess(self.assertUnavailable(self.relay(TCP), "not signed"), 1)

    def test_answer_without_an_address_is_no_success(self) -> None:
        """The message says what is missing."""
        self.server.perform = lambda client, method, message: ()  # type: ignore[method-assign]
        self.assertUnavailable(self.relay(UDP), "names no relayed address")

    def test_silent_servers_are_given_up_in_time(self) -> None:
        """The message names each of them."""
        self.server.deaf = set(Method)
        took = self.assertUnavailable(self.relay(UDP, TCP), "udp 192.0.2.1:3478", "tcp 192.0.2.1:3478")
        self.assertLessEqual(took, ALLOCATE_TIME + 0.01)

    def test_server_that_is_no_turn_server_is_given_up(self) -> None:
        """What it sends over TCP is neither a message nor ChannelData."""
        self.server.deaf = set(Method)
        result = self.relay(TCP).allocate()
        self.reactor.until(lambda: self.reactor.connections)
        self.reactor.connections[0].deliver(b"SSH-2.0-OpenSSH\r\n")
        self.reactor.until(lambda: result.called, 1)
        self.assertIn("does not speak TURN", str(self.failureResultOf(result, RelayUnavailable).value))
        self.assertQuiet()

    def test_name_without_an_address_is_said(self) -> None:
        """Over UDP and over TCP."""
        self.assertUnavailable(
            self.relay("turn:nowhere.example", "turn:nowhere.example?transport=tcp"), "nowhere.example"
        )

    def test_no_turn_server_is_said_at_once(self) -> None:
        """Without a TURN server, and with servers that make no sense."""
        for servers in ([], [IceServer(("stun:192.0.2.1",))], ice_servers("turn:"), ice_servers("turn:", username="")):
            relay = Relay(servers, self.reactor, on_datagram=print, on_lost=self.lost.append)
            self.failureResultOf(relay.allocate(), RelayUnavailable)
        self.assertQuiet()

    def test_relay_allocates_once(self) -> None:
        """A second call is an error of the caller."""
        relay = self.allocated(UDP)
        with self.assertRaises(RuntimeError):
            relay.allocate()

    def test_cancelling_stops_everything(self) -> None:
        """At whatever moment: no socket, no connection, no timer and no allocation is left."""
        for steps in range(20):
            result = self.relay(UDP, TCP, udp_blocked=True).allocate()
            self.pass_time(steps / 100)
            if result.called:
                self.assertGreaterEqual(steps / 100, 4 * ONE_WAY - 0.001)
                return
            result.cancel()
            self.failureResultOf(result, CancelledError)
            self.assertQuiet()
            self.assertEqual(self.server.allocations, {})
        self.fail("it never succeeds")
