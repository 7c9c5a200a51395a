"""``rendezvous forward`` and ``rendezvous serve``."""

from __future__ import annotations

from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError

from rendezvous.client import ConnectFailed, PeerNotFound, RendezvousClient, ServerUnreachable
from rendezvous.commands.rendezvous.forward import LARGEST, MOST_FLOWS, forward_ports
from rendezvous.commands.rendezvous.serve import FLOWS_OF_A_PEER, IDLE, MOST_PEERS, serve_ports
from rendezvous.testing import MemoryUDPPort
from rendezvous.wire.forward import Frame, FrameKind, decode, encode
from tests._command_paths import BOB, CAROL, FakePath, PathCase

GAME = ("127.0.0.1", 40001)
SERVED = 51820


def frame(flow: int, payload: bytes, port: int = SERVED) -> bytes:
    """:returns: a datagram of a path."""
    return encode(Frame(FrameKind.DATAGRAM, port, flow, payload))


class ForwardCase(PathCase):
    """The UDP ports that a subcommand opens."""

    def setUp(self) -> None:
        """Begin."""
        super().setUp()
        self.before = len(self.server.reactor.udp_ports)

    @property
    def ports(self) -> list[MemoryUDPPort]:
        """:returns: those of the command, in order."""
        return self.server.reactor.udp_ports[self.before :]

    def end(self, running: Deferred[int]) -> None:
        """Have Ctrl-C end the command, which closes all ports."""
        running.cancel()
        self.assertEqual(self.successResultOf(running), 0)
        self.assertFalse(any(port.listening for port in self.ports))


class ForwardTests(ForwardCase):
    """``rendezvous forward``."""

    def forwarding(self, *pairs: str) -> tuple[Deferred[int], FakePath]:
        """:returns: the running command, and its path."""
        return self.connected(forward_ports, "forward", BOB, *pairs, "--json")

    def test_datagrams_go_both_ways(self) -> None:
        """The frame names the port at the peer, and the answer goes to the program that has sent."""
        running, path = self.forwarding(f"5000:{SERVED}")
        [port] = self.ports
        self.assertEqual((port.port, port.interface), (5000, "127.0.0.1"))
        port.deliver(b"hello", GAME)
        self.assertEqual(path.sent, [frame(0, b"hello")])
        path.on_datagram(frame(0, b"welcome"))
        self.assertEqual(port.sent, [(b"welcome", GAME)])
        self.end(running)
        self.assertEqual(
            self.objects()[1],
            {"event": "forwarding", "host": "127.0.0.1", "local": 5000, "remote": SERVED},
        )

    def test_each_program_gets_its_answers(self) -> None:
        """Several programs, several ports; each answer finds the right one."""
        running, path = self.forwarding(f"5000:{SERVED}", "5001:53")
        first, second = self.ports
        first.deliver(b"a", GAME)
        first.deliver(b"b", ("127.0.0.1", 40002))
        second.deliver(b"c", GAME)
        first.deliver(b"d", GAME)
        self.assertEqual(path.sent, [frame(0, b"a"), frame(1, b"b"), frame(2, b"c", 53), frame(0, b"d")])
        path.on_datagram(frame(1, b"to b"))
        path.on_datagram(frame(2, b"to c", 53))
        self.assertEqual(first.sent, [(b"to b", ("127.0.0.1", 40002))])
        self.assertEqual(second.sent, [(b"to c", GAME)])
        self.end(running)

    def test_other_datagrams_of_the_peer_are_dropped(self) -> None:
        """A peer reaches only programs that have sent, by their own flow and port."""
        running, path = self.forwarding(f"5000:{SERVED}")
        [port] = self.ports
        path.on_datagram(frame(0, b"early"))
        port.deliver(b"hello", GAME)
        for payload in (b"", b"a line", frame(1, b"x"), frame(0, b"x", 53), frame(0, b"")[:4]):
            path.on_datagram(payload)
        self.assertEqual(port.sent, [])
        self.end(running)

    def test_flows_are_bounded(self) -> None:
        """Of more programs than that, the one that was silent for longest is forgotten."""
        running, path = self.forwarding(f"5000:{SERVED}")
        [port] = self.ports
        for number in range(MOST_FLOWS):
            port.deliver(b"x", ("127.0.0.1", 10000 + number))
        port.deliver(b"x", ("127.0.0.1", 10000))
        port.deliver(b"x", GAME)
        for flow in range(MOST_FLOWS + 1):
            path.on_datagram(frame(flow, b"y"))
        answered = [address[1] for _, address in port.sent]
        self.assertEqual(answered, [10000, *range(10002, 10000 + MOST_FLOWS), GAME[1]])
        self.end(running)

    def test_numbers_of_flows_come_again(self) -> None:
        """But not while they are in use."""
        running, path = self.forwarding(f"5000:{SERVED}")
        [port] = self.ports
        port.deliver(b"x", GAME)
        for number in range(65536):
            port.deliver(b"x", ("127.0.0.1", 1 + number % 30000))
            if number % 10 == 0:
                port.deliver(b"x", GAME)
        self.assertEqual({decode(sent).flow for sent in path.sent}, set(range(65536)))
        path.sent.clear()
        port.deliver(b"x", GAME)
        self.assertEqual(path.sent, [frame(0, b"x")])
        self.end(running)

    def test_largest_datagram(self) -> None:
        """One that fills a datagram of the path is carried; a larger one is dropped, and the first is said."""
        running, path = self.forwarding(f"5000:{SERVED}")
        [port] = self.ports
        port.deliver(bytes(LARGEST), GAME)
        self.assertEqual([len(sent) for sent in path.sent], [1200])
        port.deliver(bytes(LARGEST + 1), GAME)
        port.deliver(bytes(LARGEST + 1), GAME)
        self.assertEqual(len(path.sent), 1)
        self.assertEqual(self.err.getvalue().count("MTU = 1152"), 1)
        self.end(running)

    def test_port_that_is_not_served(self) -> None:
        """It is said once."""
        running, path = self.forwarding(f"5000:{SERVED}")
        [port] = self.ports
        port.deliver(b"hello", GAME)
        for _ in range(2):
            path.on_datagram(encode(Frame(FrameKind.NOT_SERVED, SERVED, 0)))
        self.assertEqual(
            [found for found in self.objects() if found["event"] == "refused"], [{"event": "refused", "port": SERVED}]
        )
        self.assertEqual(port.sent, [])
        self.end(running)

    def test_taken_port(self) -> None:
        """One line; the ports that were opened before are closed, and nothing is sent."""
        reactor = self.server.reactor
        listen = reactor.listenUDP

        def refuse(port: int, *words: Any, **options: Any) -> Any:
            if port == 5001:
                raise CannotListenError("127.0.0.1", port, OSError(98, "Address already in use"))
            return listen(port, *words, **options)

        with mock.patch.object(reactor, "listenUDP", refuse):
            status, out, err = self.done(forward_ports, "forward", BOB, "5000:1", "5001:1")
        self.assertEqual((status, out, err.count("\n")), (1, "", 1))
        self.assertIn("UDP port 5001 of 127.0.0.1: Address already in use; choose another one, or 0", err)
        self.assertEqual((self.connectors, [port.listening for port in self.ports]), ([], [False]))

    def test_before_and_after_the_path(self) -> None:
        """What programs send then is dropped."""
        running = self.start(forward_ports, "forward", BOB, "5000:1", "--bind", "::1")
        [port] = self.ports
        port.deliver(b"early", ("::1", 5))
        path = FakePath()
        self.connector.connecting[0][1].callback(path)
        path.on_closed()
        port.deliver(b"late", ("::1", 5))
        self.assertEqual((self.successResultOf(running), path.sent, port.interface), (0, [], "::1"))
        self.assertFalse(port.listening)

    def test_program_that_cannot_be_reached(self) -> None:
        """An error of the system is like a datagram that is lost."""
        running, path = self.forwarding(f"5000:{SERVED}")
        [port] = self.ports
        port.deliver(b"hello", GAME)
        with mock.patch.object(port, "write", side_effect=OSError(101, "Network is unreachable")):
            path.on_datagram(frame(0, b"x"))
        path.on_datagram(frame(0, b"y"))
        self.assertEqual(port.sent, [(b"y", GAME)])
        self.end(running)


class ReconnectingTests(ForwardCase):
    """``rendezvous forward`` after its path was lost."""

    def setUp(self) -> None:
        """Begin with a path that carries something, and lose it."""
        super().setUp()
        self.running, path = self.connected(forward_ports, "forward", BOB, f"5000:{SERVED}", "--json")
        self.ports[0].deliver(b"before", GAME)
        path.on_lost("Nothing was heard.")

    def events(self, *names: str) -> list[Any]:
        """:returns: the objects with these events."""
        return [found for found in self.objects() if found["event"] in names]

    def attempt(self, number: int) -> Deferred[FakePath]:
        """:returns: an attempt to connect, counted from 0 on; it is the latest one, and there are no more."""
        self.assertEqual([peer for peer, _ in self.connector.connecting], [BOB] * (number + 1))
        return self.connector.connecting[number][1]

    def test_it_connects_again(self) -> None:
        """After about a second; the local ports stay open, and programs go on as before."""
        [port] = self.ports
        port.deliver(b"lost", GAME)
        self.attempt(0)
        self.server.reactor.advance(1.2)
        again = FakePath()
        self.attempt(1).callback(again)
        port.deliver(b"after", GAME)
        self.assertEqual(again.sent, [frame(0, b"after")])
        again.on_datagram(frame(0, b"welcome"))
        self.assertEqual(port.sent, [(b"welcome", GAME)])
        [said] = self.events("reconnecting")
        self.assertEqual((said.pop("after") // 1.2, said.pop("event")), (0, "reconnecting"))
        self.assertEqual(said, {"peer": BOB, "code": "path-lost", "reason": "Nothing was heard."})
        self.assertEqual(len(self.events("connected", "closed")), 3)
        self.end(self.running)
        self.assertTrue(self.connector.closed)

    def test_every_lost_path_is_replaced(self) -> None:
        """The pauses begin anew after each success."""
        for number in range(1, 4):
            self.server.reactor.advance(1.2)
            path = FakePath()
            self.attempt(number).callback(path)
            path.on_lost("Nothing was heard.")
        self.assertEqual([each["after"] // 1.2 for each in self.events("reconnecting")], [0] * 4)
        self.end(self.running)

    def test_pauses_grow_to_half_a_minute(self) -> None:
        """Whatever the reason is, which is said each time; the command goes on trying."""
        nominal = [1, 2, 4, 8, 16, 30, 30]
        for number, pause in enumerate(nominal, 1):
            self.server.reactor.advance(pause * 0.79)
            self.attempt(number - 1)
            self.server.reactor.advance(pause * 0.42)
            self.attempt(number).errback(ConnectFailed("No path.", code="no-path"))
        said = self.events("reconnecting")[:7]
        for pause, each in zip(nominal, said, strict=True):
            self.assertLessEqual(abs(each["after"] - pause), pause * 0.2 + 0.05)
        self.assertGreater(len({each["after"] / pause for pause, each in zip(nominal, said, strict=True)}), 3)
        self.assertEqual((said[1]["code"], said[1]["reason"]), ("no-path", "No path."))
        self.end(self.running)

    def test_server_that_cannot_be_asked(self) -> None:
        """It is asked again, too."""
        with mock.patch.object(RendezvousClient, "verify", side_effect=ServerUnreachable()):
            self.server.reactor.advance(1.2)
        self.assertEqual(self.events("reconnecting")[1]["code"], "server-unreachable")
        self.server.reactor.advance(2.4)
        self.attempt(1)
        self.end(self.running)

    def test_peer_that_is_gone_ends_the_command(self) -> None:
        """It can only come back under another id, so that trying again is of no use."""
        self.server.reactor.advance(1.2)
        self.attempt(1).errback(PeerNotFound())
        self.assertEqual(self.successResultOf(self.running), 1)
        self.assertEqual(self.events("failed")[0]["code"], "no-such-peer")
        self.assertFalse(any(port.listening for port in self.ports))

    def test_client_that_was_forgotten_registers_again(self) -> None:
        """The peer is asked for under the new identity."""
        before = self.connector
        self.context("id").client.logout(before.identity)
        self.server.reactor.advance(1.2)
        self.assertIsNot(self.connector, before)
        self.attempt(0).callback(path := FakePath())
        self.ports[0].deliver(b"after", GAME)
        self.assertEqual(path.sent, [frame(0, b"after")])
        self.assertIn("no longer knows", self.err.getvalue())
        self.end(self.running)
        self.assertTrue(before.closed)

    def test_client_stays_registered_meanwhile(self) -> None:
        """It listens for this, and admits no peer."""
        self.assertFalse(self.connector.allow(BOB))
        self.connector.on_path(path := FakePath(CAROL))
        self.assertTrue(path.closed)
        self.end(self.running)

    def test_interruption_in_a_pause(self) -> None:
        """Ctrl-C ends the command well, since it was connected before."""
        self.end(self.running)
        self.server.reactor.advance(60)
        self.attempt(0)

    def test_interruption_while_it_connects(self) -> None:
        """So it does then; the attempt is given up."""
        self.server.reactor.advance(1.2)
        waiting = self.attempt(1)
        self.end(self.running)
        self.assertTrue(waiting.called)


class ServeTests(ForwardCase):
    """``rendezvous serve``."""

    def serving(self, *words: str) -> Deferred[int]:
        """:returns: the running command."""
        running = self.start(serve_ports, "serve", str(SERVED), "53", "--json", *words)
        self.connector.listening.callback(None)
        return running

    def test_datagrams_go_both_ways(self) -> None:
        """Each flow has a socket, so that the program sees it as a client of its own."""
        running = self.serving()
        path = FakePath()
        self.connector.on_path(path)
        path.on_datagram(frame(7, b"hello"))
        path.on_datagram(frame(7, b"again"))
        path.on_datagram(frame(8, b"query", 53))
        first, second = self.ports
        self.assertEqual(first.sent, [(b"hello", ("127.0.0.1", SERVED)), (b"again", ("127.0.0.1", SERVED))])
        self.assertEqual(second.sent, [(b"query", ("127.0.0.1", 53))])
        first.deliver(b"welcome", ("127.0.0.1", SERVED))
        second.deliver(b"answer", ("127.0.0.1", 53))
        self.assertEqual(path.sent, [frame(7, b"welcome"), frame(8, b"answer", 53)])
        self.end(running)

    def test_other_ports_are_out_of_reach(self) -> None:
        """The peer learns it, at most once a second; nothing is sent there."""
        running = self.serving()
        path = FakePath()
        self.connector.on_path(path)
        for flow in range(3):
            path.on_datagram(frame(flow, b"x", 22))
        self.assertEqual(path.sent, [encode(Frame(FrameKind.NOT_SERVED, 22, 0))])
        self.server.reactor.advance(1)
        path.on_datagram(frame(3, b"x", 23))
        self.assertEqual(path.sent[1:], [encode(Frame(FrameKind.NOT_SERVED, 23, 3))])
        for payload in (b"", b"a line", encode(Frame(FrameKind.NOT_SERVED, SERVED, 0))):
            path.on_datagram(payload)
        self.assertEqual((self.ports, len(path.sent)), ([], 2))
        self.end(running)

    def test_only_the_program_is_heard(self) -> None:
        """What others send to the socket is not carried."""
        running = self.serving()
        path = FakePath()
        self.connector.on_path(path)
        path.on_datagram(frame(7, b"hello"))
        [port] = self.ports
        port.deliver(b"x", ("127.0.0.1", 9))
        port.deliver(b"x", ("192.0.2.1", SERVED))
        self.assertEqual(path.sent, [])
        port.deliver(bytes(LARGEST + 1), ("127.0.0.1", SERVED))
        self.assertEqual(path.sent, [])
        port.deliver(bytes(LARGEST), ("127.0.0.1", SERVED))
        self.assertEqual(len(path.sent), 1)
        self.end(running)

    def test_sockets_are_bounded(self) -> None:
        """Of more flows than that, the socket that was silent for longest is closed."""
        running = self.serving()
        path = FakePath()
        self.connector.on_path(path)
        for flow in range(FLOWS_OF_A_PEER):
            path.on_datagram(frame(flow, b"x"))
        self.ports[0].deliver(b"y", ("127.0.0.1", SERVED))
        path.on_datagram(frame(1000, b"x"))
        self.assertEqual(
            [number for number, port in enumerate(self.ports) if not port.listening],
            [1],
        )
        self.end(running)

    def test_silent_sockets_are_closed(self) -> None:
        """After three minutes; one that is used in either direction stays."""
        running = self.serving()
        path = FakePath()
        self.connector.on_path(path)
        for flow in range(3):
            path.on_datagram(frame(flow, b"x"))
        self.server.reactor.advance(IDLE / 2)
        path.on_datagram(frame(1, b"x"))
        self.ports[2].deliver(b"y", ("127.0.0.1", SERVED))
        self.server.reactor.advance(IDLE / 2 - 1)
        self.assertEqual([port.listening for port in self.ports], [True] * 3)
        self.server.reactor.advance(31)
        self.assertEqual([port.listening for port in self.ports], [False, True, True])
        self.server.reactor.advance(IDLE)
        self.assertFalse(any(port.listening for port in self.ports))
        self.end(running)

    def test_peers_are_apart(self) -> None:
        """The same flow of two peers has two sockets, and the end of a path closes its own."""
        running = self.serving()
        bob, carol = FakePath(BOB), FakePath(CAROL)
        for path in (bob, carol):
            self.connector.on_path(path)
            path.on_datagram(frame(0, b"x"))
        first, second = self.ports
        second.deliver(b"y", ("127.0.0.1", SERVED))
        self.assertEqual((bob.sent, carol.sent), ([], [frame(0, b"y")]))
        bob.on_closed()
        self.assertEqual((first.listening, second.listening), (False, True))
        self.end(running)

    def test_peer_that_has_lost_its_path_is_taken_back(self) -> None:
        """Its new path takes the place of the old one, whose sockets are closed, whether that was lost here or not."""
        for is_lost in (True, False):
            running, old, new = self.serving(), FakePath(), FakePath()
            self.connector.on_path(old)
            old.on_datagram(frame(0, b"x"))
            if is_lost:
                old.on_lost("Nothing was heard.")
            self.assertTrue(self.connector.allow(BOB))
            self.connector.on_path(new)
            new.on_datagram(frame(0, b"y"))
            *_, first, second = self.ports
            self.assertEqual((first.listening, second.sent), (False, [(b"y", ("127.0.0.1", SERVED))]))
            self.end(running)

    def test_peers_are_bounded(self) -> None:
        """One more is declined."""
        running = self.serving()
        for number in range(MOST_PEERS):
            peer = f"{number:032x}"
            self.assertTrue(self.connector.allow(peer))
            self.connector.on_path(FakePath(peer))
        self.assertFalse(self.connector.allow(BOB))
        self.end(running)

    def test_other_host(self) -> None:
        """The ports may be those of another machine."""
        running = self.serving("--host", "2001:DB8::7")
        path = FakePath()
        self.connector.on_path(path)
        path.on_datagram(frame(0, b"x"))
        [port] = self.ports
        self.assertEqual((port.sent, port.interface), ([(b"x", ("2001:db8::7", SERVED))], "::"))
        port.deliver(b"y", ("2001:db8::7", SERVED))
        self.assertEqual(path.sent, [frame(0, b"y")])
        self.end(running)

    def test_no_socket_to_be_had(self) -> None:
        """The datagram is lost, and the next one is carried."""
        running = self.serving()
        path = FakePath()
        self.connector.on_path(path)
        for error in (CannotListenError("", 0, OSError(24, "Too many open files")), OSError(24, "Too many open files")):
            with mock.patch.object(self.server.reactor, "listenUDP", side_effect=error):
                path.on_datagram(frame(0, b"x"))
        path.on_datagram(frame(0, b"y"))
        [port] = self.ports
        with mock.patch.object(port, "write", side_effect=OSError(1, "Operation not permitted")):
            path.on_datagram(frame(0, b"z"))
        self.assertEqual([payload for payload, _ in port.sent], [b"y"])
        self.end(running)
