"""The pulse service's socket: what the application does with it, where it leads, and how it closes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from twisted.internet.defer import CancelledError
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IResolutionReceiver

from rendezvous.client import KeepAlive, ServerFacts, ServerUnreachable
from rendezvous.client._keepalive_states import KeepAliveState
from rendezvous.client.keepalive import REPLY_TIME, RESOLVE_TIME
from tests._client_fakes import IDENTITY
from tests._keepalive_case import MIDDLE, ON_TIME, PEER, PULSE, SERVER, UNKNOWN, VERIFY, KeepAliveTestCase


class FactsTests(KeepAliveTestCase):
    """What the server has said at registration is used unless the application says otherwise."""

    facts = ServerFacts(60.0, 6.0, 180.0, 300.0, (5099, 5098))

    def pulsing(self, server: tuple[str, int] | str, **options: Any) -> None:
        """Start a service whose identity came with facts."""
        identity = attrs.evolve(IDENTITY, facts=self.facts)
        options = {"random": lambda: MIDDLE, "signed": False, **options}
        self.service = KeepAlive(self.verifier, identity, server, self.reactor, **options)
        self.service.startService()

    def test_interval_is_the_servers(self) -> None:
        """Two thirds of its minute pass between two pulses."""
        self.pulsing(SERVER)
        self.receive(ON_TIME)
        self.assert_next_pulse_after(40)

    def test_interval_may_be_another(self) -> None:
        """The application's counts."""
        self.pulsing(SERVER, interval=30.0)
        self.receive(ON_TIME)
        self.assert_next_pulse_after(20)

    def test_port_is_the_servers_first(self) -> None:
        """If the application names a host alone."""
        self.pulsing(SERVER[0])
        self.assertEqual(self.port.sent, [(IDENTITY.private_key, (SERVER[0], 5099))])

    def test_server_is_asked_for_facts_that_were_not_saved(self) -> None:
        """For its port and its interval, until it answers."""
        known, self.facts = self.facts, None  # type: ignore[assignment]
        self.verifier.found = ServerUnreachable()
        self.pulsing(SERVER[0])
        self.assertEqual(self.service.state, KeepAliveState.RETRYING)
        self.verifier.found = known
        self.reactor.advance(1.2)
        self.assertEqual(self.port.sent, [(IDENTITY.private_key, (SERVER[0], 5099))])

    def test_without_facts_there_are_defaults(self) -> None:
        """An interval of 30 seconds, and port 5024."""
        for facts in (None, attrs.evolve(self.facts, pulse_interval=30.0, udp_ports=())):
            self.facts = facts  # type: ignore[assignment]
            self.pulsing(SERVER[0])
            self.assertEqual(self.port.sent, [PULSE])
            self.receive(ON_TIME)
            self.assert_next_pulse_after(20)
            self.stop()


class SharedSocketTests(KeepAliveTestCase):
    """The application's use of the same socket."""

    def test_application_sends_from_the_same_socket(self) -> None:
        """A peer sees the address that the server knows."""
        self.start()
        self.service.send(b"hello", PEER)
        self.assertEqual(self.port.sent[-1], (b"hello", PEER))
        self.assertEqual(self.service.getHost(), self.port.getHost())

    def test_no_socket_before_the_start_and_after_the_stop(self) -> None:
        """Using a socket that is not there is the caller's mistake, and said so."""
        self.assertRaises(RuntimeError, self.service.send, b"hello", PEER)
        self.assertRaises(RuntimeError, self.service.getHost)
        self.start()
        self.stop()
        self.assertRaises(RuntimeError, self.service.send, b"hello", PEER)
        self.assertRaises(RuntimeError, self.service.getHost)

    def test_other_datagrams_go_to_the_application(self) -> None:
        """Only four bytes with a known code, from the server's own address and port, are the server's."""
        self.start()
        others = [
            (b"hello", PEER),
            (ON_TIME, PEER),
            (ON_TIME, (SERVER[0], SERVER[1] + 1)),
            (b"", SERVER),
            (ON_TIME[:3], SERVER),
            (ON_TIME + b"\0", SERVER),
            ((1021).to_bytes(4, "big"), SERVER),
            (ON_TIME[::-1], SERVER),
        ]
        for datagram, source in others:
            self.receive(datagram, source)
        self.assertEqual(self.others, others)
        self.assert_state(KeepAliveState.PULSING)

    def test_repeated_answer_is_dropped(self) -> None:
        """A network may deliver an answer twice; the second neither changes anything nor reaches the application."""
        self.start_online()
        for answer in (ON_TIME, VERIFY, UNKNOWN):
            self.receive(answer)
        self.assertEqual(self.others, [])
        self.assert_state(KeepAliveState.RESTING)

    def test_error_in_the_application_is_logged(self) -> None:
        """An exception in the application's callback reaches the log, not the socket."""

        def fail(datagram: bytes, source: tuple[str, int]) -> None:
            raise ZeroDivisionError

        self.service = self.make(on_datagram=fail)
        self.start_online()
        self.receive(b"hello", PEER)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assert_state(KeepAliveState.RESTING)

    def test_without_a_callback_other_datagrams_are_dropped(self) -> None:
        """An application that only pulses needs no callback."""
        self.service = self.make(on_datagram=None, on_gone=None)
        self.start_online()
        self.receive(b"hello", PEER)
        self.reactor.advance(20)
        self.receive(UNKNOWN)
        self.assert_state(KeepAliveState.GONE)

    def test_nothing_is_delivered_after_the_stop(self) -> None:
        """What a closing socket still reads is dropped."""
        self.start()
        port = self.port
        self.stop()
        port.protocol.datagramReceived(b"hello", PEER)
        self.assertEqual(self.others, [])


class StopTests(KeepAliveTestCase):
    """Stopping, in whatever state."""

    def test_stop_fires_when_the_port_is_closed(self) -> None:
        """The Deferred waits for the socket, not only for the order to close it."""
        self.start_online()
        closed = self.service.stopService()
        self.assertNoResult(closed)
        self.reactor.advance(0)
        self.assertIsNone(self.successResultOf(closed))
        self.assertFalse(self.port.open)

    def be_verified(self) -> None:
        """Let the server ask for a verify, and grant it."""
        self.receive(VERIFY)
        self.verifier.calls[-1].callback(None)

    def test_stop_leaves_no_timer_in_any_state(self) -> None:
        """Wherever the service is, stopping ends all that it waits for."""
        paths: dict[KeepAliveState, Callable[[], object]] = {
            KeepAliveState.PULSING: lambda: None,
            KeepAliveState.RESTING: lambda: self.receive(ON_TIME),
            KeepAliveState.VERIFYING: lambda: self.receive(VERIFY),
            KeepAliveState.RETRYING: lambda: self.reactor.advance(REPLY_TIME),
            KeepAliveState.PROVING: self.be_verified,
            KeepAliveState.GONE: lambda: self.receive(UNKNOWN),
        }
        for state, lead_to in paths.items():
            self.start()
            lead_to()
            self.assert_state(state)
            self.stop()
            self.assert_state(KeepAliveState.STOPPED)

    def test_those_who_wait_to_be_online_are_told(self) -> None:
        """Waiting ends with the service, and begins anew with it."""
        self.start()
        waiter = self.service.whenOnline()
        self.stop()
        self.failureResultOf(waiter, CancelledError)
        later = self.service.whenOnline()
        self.assertNoResult(later)
        self.start_online()
        self.successResultOf(later)

    def test_stopping_twice_is_harmless(self) -> None:
        """A service that is stopped, or was never started, can be stopped."""
        self.successResultOf(self.service.stopService())
        self.start()
        self.stop()
        self.successResultOf(self.service.stopService())

    def test_started_again_it_begins_anew(self) -> None:
        """A new start opens a new socket and forgets the failures before it."""
        self.start()
        self.reactor.advance(REPLY_TIME + 1)
        self.reactor.advance(REPLY_TIME)
        self.stop()
        self.start()
        self.assertEqual(len(self.reactor.ports), 2)
        self.reactor.advance(REPLY_TIME)
        self.assert_next_pulse_after(1)


class LocalAddressTests(KeepAliveTestCase):
    """Which socket is opened."""

    def test_port_and_interface_are_the_callers(self) -> None:
        """A given port and local address are used as they are."""
        self.service = self.make(port=6000, interface="127.0.0.1")
        self.start()
        self.assertEqual((self.port.number, self.port.interface), (6000, "127.0.0.1"))

    def test_taken_port_is_an_error_at_the_start(self) -> None:
        """The caller learns at once that the port is taken, and can start later."""
        self.service = self.make(port=6000)
        self.reactor.taken.add(6000)
        self.assertRaises(CannotListenError, self.service.startService)
        self.assertEqual((self.service.state, self.service.running), (KeepAliveState.STOPPED, 0))
        self.reactor.taken.clear()
        self.start()


class IPv6Tests(KeepAliveTestCase):
    """A server with an IPv6 address."""

    server = ("2001:DB8:0::1", 5024)

    def test_socket_has_the_servers_family(self) -> None:
        """The socket is an IPv6 one, and the server is known however its address was written."""
        self.start()
        self.assertEqual(self.port.interface, "::")
        self.assertEqual(self.port.sent, [(IDENTITY.private_key, ("2001:db8::1", 5024))])
        self.receive(ON_TIME, ("2001:db8::1", 5024))
        self.assert_state(KeepAliveState.RESTING)


class NameTests(KeepAliveTestCase):
    """A server with a name."""

    server = ("rendezvous.example", 5024)

    def look_up(self) -> None:
        """Start, and let the name be asked for."""
        self.service.startService()
        self.assert_state(KeepAliveState.RESOLVING)

    def test_name_is_looked_up_before_the_first_pulse(self) -> None:
        """The socket opens when the server's family is known, and the first address is used."""
        self.look_up()
        self.assertEqual(self.reactor.ports, [])
        self.assertEqual([each.name for each in self.reactor.nameResolver.asked], ["rendezvous.example"])
        self.reactor.nameResolver.answer("192.0.2.1", "2001:db8::1")
        self.assert_state(KeepAliveState.PULSING)
        self.assertEqual((self.port.interface, self.port.sent), ("", [PULSE]))

    def test_given_interface_opens_the_socket_at_once(self) -> None:
        """With a local address the family is known from the start, and other addresses are passed over."""
        self.service = self.make(interface="::1")
        self.look_up()
        self.assertEqual(self.port.interface, "::1")
        self.reactor.nameResolver.answer("192.0.2.1", "2001:db8::1")
        self.assertEqual(self.port.sent, [(IDENTITY.private_key, ("2001:db8::1", 5024))])

    def test_name_is_looked_up_again_after_a_failure_only(self) -> None:
        """A server that has moved is found again, from the same socket."""
        self.look_up()
        self.reactor.nameResolver.answer("192.0.2.1")
        self.receive(ON_TIME)
        self.reactor.advance(20)
        self.assertEqual(len(self.reactor.nameResolver.asked), 1)
        self.reactor.advance(REPLY_TIME)
        self.reactor.advance(1)
        self.assert_state(KeepAliveState.RESOLVING)
        self.reactor.nameResolver.answer("2001:db8::1", "192.0.2.2")
        self.assertEqual(self.port.sent[-1], (IDENTITY.private_key, ("192.0.2.2", 5024)))
        self.assertEqual(len(self.reactor.ports), 1)

    def test_old_address_is_no_longer_the_server(self) -> None:
        """After a move only the new address can answer."""
        self.look_up()
        self.reactor.nameResolver.answer("192.0.2.1")
        self.reactor.advance(REPLY_TIME)
        self.reactor.advance(1)
        self.reactor.nameResolver.answer("192.0.2.2")
        self.receive(UNKNOWN, SERVER)
        self.assert_state(KeepAliveState.PULSING)
        self.receive(ON_TIME, ("192.0.2.2", 5024))
        self.assert_state(KeepAliveState.RESTING)

    def test_name_without_an_address_is_tried_again(self) -> None:
        """A name that cannot be found, or not in the socket's family, may be found later."""
        self.service = self.make(interface="")
        self.look_up()
        for addresses, pause in (((), 1), (("2001:db8::1",), 2)):
            self.reactor.nameResolver.answer(*addresses)
            self.assert_state(KeepAliveState.RETRYING)
            self.reactor.advance(pause)
            self.assert_state(KeepAliveState.RESOLVING)
        self.reactor.nameResolver.answer("192.0.2.1")
        self.assert_state(KeepAliveState.PULSING)

    def test_resolver_without_an_answer_is_given_up(self) -> None:
        """A look-up that takes too long is begun again, and its late answer is ignored."""
        self.look_up()
        self.reactor.advance(RESOLVE_TIME)
        self.assert_state(KeepAliveState.RETRYING)
        self.reactor.nameResolver.answer("192.0.2.1")
        self.assert_state(KeepAliveState.RETRYING)
        self.assertEqual(self.reactor.ports, [])

    def test_resolver_that_raises_is_logged_and_tried_again(self) -> None:
        """A name that the resolver chokes on does not stop the service."""

        def choke(receiver: IResolutionReceiver, name: str, **options: object) -> None:
            raise UnicodeError("label too long")

        self.patch(self.reactor.nameResolver, "resolveHostName", choke)
        self.service.startService()
        self.assertEqual(len(self.flushLoggedErrors(UnicodeError)), 1)
        self.assert_state(KeepAliveState.RETRYING)

    def test_port_that_is_taken_when_the_name_is_found_is_tried_again(self) -> None:
        """A port that is taken then may be free later."""
        self.service = self.make(port=6000)
        self.reactor.taken.add(6000)
        self.look_up()
        self.reactor.nameResolver.answer("192.0.2.1")
        self.assert_state(KeepAliveState.RETRYING)
        self.reactor.taken.clear()
        self.reactor.advance(1)
        self.reactor.nameResolver.answer("192.0.2.1")
        self.assert_state(KeepAliveState.PULSING)

    def test_stopping_ends_the_look_up(self) -> None:
        """An answer that comes after the stop opens nothing."""
        self.look_up()
        self.stop()
        self.reactor.nameResolver.answer("192.0.2.1")
        self.assert_state(KeepAliveState.STOPPED)
        self.assertEqual(self.reactor.ports, [])
