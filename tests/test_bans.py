"""Bans and kicks on whole servers in memory: over HTTP, on WebSockets, and on every path of UDP."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from rendezvous.core.bans import Bans
from rendezvous.counters import DROPPED_DATAGRAMS
from rendezvous.testing import MemoryServer, MemorySocket
from rendezvous.udp.control import Control
from rendezvous.web.gate import ANSWERED
from tests._event_socket_case import EventSocketCase
from tests._memory_fast import FastMemoryPort, fast_server
from tests._memory_workers import worker_server
from tests._socket_case import SocketTestCase
from tests._store_case import local
from tests.test_udp_workers import WorkersReactor

HOME = ("198.51.100.7", 40000)
AWAY = ("203.0.113.9", 40000)
NETWORK = "198.51.100.0/24"
ON_TIME, UNKNOWN = (code.to_bytes(4, "big") for code in (1020, 1060))


def decide(case: Any, verb: Any) -> Any:
    """:returns: what a verb of the store has returned."""
    return case.successResultOf(Deferred.fromCoroutine(verb))


def code(socket: MemorySocket) -> int | None:
    """:returns: with which code a socket was closed; ``None`` if it is open."""
    socket.read()
    return socket.close_code


class Deciding(SocketTestCase):
    """What an operator does, at the store."""

    def ban(self, target: str = NETWORK, seconds: float | None = None) -> None:
        """Shut a network or a client out."""
        decide(self, self.server.rendezvous.store.ban(target, seconds, "", self.server.rendezvous.clock.seconds()))

    def lift(self, target: str = NETWORK) -> None:
        """End that."""
        decide(self, self.server.rendezvous.store.lift(target, self.server.rendezvous.clock.seconds()))


class RequestTests(Deciding):
    """Requests of a banned network."""

    def test_every_request_is_403(self) -> None:
        """Whatever its path and method; with the end of the ban, after which it is answered."""
        self.ban(seconds=90)
        for method, path in (("GET", "/health"), ("POST", "/register"), ("OPTIONS", "/x"), ("GET", "/nothing")):
            response = self.server.request(method, path)
            self.assertEqual((response.status, response.headers["retry-after"]), (403, "90"), path)
            self.assertEqual(response.json()["code"], "banned")
            self.assertIn(
                "The network 198.51.100.0/24 is banned until 2027-01-15 08:01:30 UTC.", response.json()["error"]
            )
        self.advance(90)
        self.assertEqual(self.server.request("GET", "/health").status, 200)

    def test_flood_of_connections_is_not_answered(self) -> None:
        """Some connections a second are; the others are closed at once, and nobody else waits for them."""
        self.ban()

        def answers(source: tuple[str, int], count: int) -> list[int | None]:
            found = []
            for _ in range(count):
                connection = self.server.start_request("GET", "/health", source=source)
                response = connection.response()
                self.assertTrue(response or connection.transport.disconnecting or connection.transport.disconnected)
                found.append(None if response is None else response.status)
                connection.lose()
            return found

        most = int(ANSWERED)
        self.assertEqual(answers(HOME, most + 30), [403] * most + [None] * 30)
        [counted] = self.server.rendezvous.counters.limited.worst("198.51.100.7")
        self.assertEqual((counted.reason, counted.times), ("banned", 30))
        self.assertEqual(answers(AWAY, 30), [200] * 30)
        self.advance(1)
        self.assertEqual(answers(HOME, most + 1), [403] * most + [None])
        self.lift()
        self.assertEqual(answers(HOME, 30), [200] * 30)

    def test_connection_ends_with_the_answer(self) -> None:
        """No second request of a connection is answered, so that a flood needs a connection for each."""
        connection = self.server.connect()
        connection.request("GET", "/health", {"Host": "x"})
        self.ban()
        for _ in range(3):
            connection.request("GET", "/health", {"Host": "x"})
        self.advance(1)
        self.assertEqual([response.status for response in connection.responses()], [200, 403])

    def test_connections_of_proxies_are_never_turned_away(self) -> None:
        """They carry requests of others, even if the proxy itself is in a banned network."""
        server = MemoryServer(trusted_proxy=["198.51.100.7"])
        self.addCleanup(server.stop)
        decide(self, server.rendezvous.store.ban(NETWORK, None, "", 0.0))
        for number in range(2 * int(ANSWERED)):
            headers = {"X-Forwarded-For": f"203.0.113.{number}"}
            response = server.start_request("GET", "/health", None, headers, source=HOME).response()
            assert response is not None
            self.assertEqual(response.status, 200)

    def test_ban_without_an_end(self) -> None:
        """There is nothing to wait for; it ends when it is lifted."""
        self.ban()
        response = self.server.request("GET", "/health")
        self.assertNotIn("retry-after", response.headers)
        self.assertEqual(response.json()["error"], "The network 198.51.100.0/24 is banned.")
        self.lift()
        self.assertEqual(self.server.request("GET", "/health").status, 200)

    def test_others_are_served(self) -> None:
        """The next network does not notice."""
        self.ban()
        connection = self.server.start_request("GET", "/health", source=("198.51.101.7", 50000))
        response = connection.response()
        assert response is not None
        self.assertEqual(response.status, 200)

    def test_pages_can_read_why(self) -> None:
        """The answer has the headers for pages of other origins."""
        self.ban()
        response = self.server.request("GET", "/health", headers={"Origin": "https://app.example"})
        self.assertEqual(response.headers["access-control-allow-origin"], "*")

    def test_body_is_not_read(self) -> None:
        """The answer comes before the body."""
        self.ban()
        connection = self.server.connect()
        connection.request("POST", "/offers", {"Host": "x", "Content-Length": "100000"})
        response = connection.response()
        assert response is not None
        self.assertEqual((response.status, response.json()["code"]), (403, "banned"))

    def test_request_that_waits_is_answered(self) -> None:
        """At once, and its place is given back."""
        waits = self.server.start_request("GET", "/offers/answers?wait=25", headers=self.alice)
        self.advance(1)
        self.assertIsNone(waits.response())
        self.ban(seconds=60)
        self.server.reactor.advance(0)
        response = waits.response()
        assert response is not None
        self.assertEqual((response.status, response.json()["code"]), (403, "banned"))
        self.assertEqual(len(local(self.server.rendezvous.store).notifier), 0)

    def test_request_of_another_network_goes_on_waiting(self) -> None:
        """It is not woken."""
        waits = self.server.start_request("GET", "/offers/answers?wait=25", headers=self.alice, source=AWAY)
        self.ban()
        self.advance(1)
        self.assertIsNone(waits.response())
        waits.lose()

    def test_event_stream_ends(self) -> None:
        """It has begun, so that nothing but its end can be said."""
        stream = self.server.start_request("GET", "/events", headers=self.alice)
        self.advance(1)
        self.ban()
        self.server.reactor.advance(0)
        self.assertTrue(stream.transport.value().endswith(b"0\r\n\r\n"))
        self.assertEqual(len(local(self.server.rendezvous.store).notifier), 0)


class SocketTests(Deciding):
    """WebSockets of a banned network."""

    def test_open_ones_are_closed(self) -> None:
        """With a close code that says why, some in each turn of the reactor; others stay."""
        sockets = [self.socket() for _ in range(60)]
        other = self.socket(host=AWAY[0])
        self.ban()
        self.assertEqual(sum(code(socket) is not None for socket in sockets), 50)
        self.server.reactor.advance(0)
        self.assertEqual({code(socket) for socket in sockets}, {4403})
        self.assertIsNone(code(other))

    def test_new_ones_are_refused(self) -> None:
        """The handshake is answered 403."""
        self.ban()
        response = self.server.request(
            "GET", "/signal", headers={"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        )
        self.assertEqual((response.status, response.json()["code"]), (403, "banned"))


class ClientTests(EventSocketCase):
    """Clients that are kicked or banned."""

    def test_kick_ends_streams_and_sockets(self) -> None:
        """The credential is no longer good, so a stream ends and a socket is closed with 4401."""
        stream = self.server.start_request("GET", "/events", headers=self.alice)
        socket = self.page()
        client_id = bytes.fromhex(self.alice["Authorization"].split()[1].split(":")[0])
        decide(self, self.server.rendezvous.store.kick(client_id, self.server.rendezvous.clock.seconds()))
        self.server.reactor.advance(0)
        self.assertTrue(stream.transport.value().endswith(b"0\r\n\r\n"))
        self.assertEqual(code(socket), 4401)

    def test_ban_ends_streams_and_refuses_the_credential(self) -> None:
        """The socket is closed with 4403, and the next request is answered 403."""
        socket = self.page()
        client_id = self.alice["Authorization"].split()[1].split(":")[0]
        decide(self, self.server.rendezvous.store.ban(client_id, 60, "", self.server.rendezvous.clock.seconds()))
        self.server.reactor.advance(0)
        self.assertEqual(code(socket), 4403)
        response = self.server.request("GET", "/offers/mine", headers=self.alice)
        self.assertEqual((response.status, response.headers["retry-after"]), (403, "60"))
        self.assertEqual(response.json()["code"], "banned")


class DatagramTests(SocketTestCase):
    """Datagrams of a banned network, on the portable path."""

    def make(self) -> MemoryServer:
        """:returns: the server."""
        return MemoryServer()

    def begin(self) -> None:
        """Start the server, with clients that pulse from home and from elsewhere."""
        self.banning = self.make()
        self.addCleanup(self.banning.stop)
        self.port: Any = self.banning.udp_ports[0]
        self.keys = [self.banning.register()[1] for _ in range(40)]
        for key in self.keys[:20]:
            self.assertEqual(self.banning.deliver(key, HOME), [ON_TIME])
        for key in self.keys[20:]:
            self.assertEqual(self.banning.deliver(key, AWAY), [ON_TIME])

    def all(self, datagrams: list[tuple[bytes, tuple[str, int]]]) -> list[tuple[bytes, tuple[str, int]]]:
        """:returns: what is answered to datagrams that come together."""
        before = len(self.port.sent)
        if isinstance(self.port, FastMemoryPort):
            self.port.deliver_all(datagrams)
        else:
            self.port.protocol.datagrams_received(datagrams)
        sent: list[tuple[bytes, tuple[str, int]]] = self.port.sent[before:]
        return sent

    def pulses(self) -> list[tuple[bytes, tuple[str, int]]]:
        """:returns: a pulse of each client, those of both networks by turns."""
        pairs = zip(self.keys[:20], self.keys[20:], strict=True)
        return [each for home, away in pairs for each in ((home, HOME), (away, AWAY))]

    def dropped(self) -> int:
        """:returns: how many datagrams were dropped because of a ban."""
        return self.banning.rendezvous.counters.family(DROPPED_DATAGRAMS)["banned"]

    def now(self) -> float:
        """:returns: server time."""
        return self.banning.rendezvous.clock.seconds()

    def test_pulses_are_dropped_from_the_next_batch_on(self) -> None:
        """They change nothing, so the client is late in its time; all others are answered."""
        self.begin()
        store = self.banning.rendezvous.store
        self.assertEqual(len(self.all(self.pulses())), 40)
        decide(self, store.ban(NETWORK, 60, "", self.now()))
        self.banning.reactor.advance(5)
        sent = self.all(self.pulses())
        self.assertEqual((len(sent), {code for code, _ in sent}, {to for _, to in sent}), (20, {ON_TIME}, {AWAY}))
        self.assertEqual(self.dropped(), 20)
        clients = [self.banning.rendezvous.store.live.columns.client(slot) for slot in range(1, 41)]
        self.assertEqual([self.now() - each.last_seen for each in clients], [5.0] * 20 + [0.0] * 20)

    def test_all_of_a_batch(self) -> None:
        """Nothing is answered; other protocols are dropped, too."""
        self.begin()
        decide(self, self.banning.rendezvous.store.ban(NETWORK, None, "", self.now()))
        binding = bytes.fromhex("000100002112a442") + bytes(12)
        sent = self.all([(binding, HOME), *((key, HOME) for key in self.keys), (b'{"x": 1}', HOME), (b"", HOME)])
        self.assertEqual((sent, self.dropped()), ([], 43))

    def test_end_of_a_ban(self) -> None:
        """Pulses are answered again, whether its time is over or it was lifted."""
        self.begin()
        store = self.banning.rendezvous.store
        decide(self, store.ban(NETWORK, 2, "", self.now()))
        self.assertEqual(len(self.all(self.pulses())), 20)
        self.banning.reactor.advance(2)
        self.assertEqual(len(self.all(self.pulses())), 40)
        decide(self, store.ban(NETWORK, None, "", self.now()))
        self.assertEqual(len(self.all(self.pulses())), 20)
        decide(self, store.lift(NETWORK, self.now()))
        self.assertEqual(len(self.all(self.pulses())), 40)

    def test_kicked_clients_are_1060(self) -> None:
        """From the next batch on."""
        self.begin()
        store = self.banning.rendezvous.store
        for slot in range(1, 11):
            decide(self, store.kick(store.live.columns.client_id(slot), self.now()))
        codes = dict.fromkeys((ON_TIME, UNKNOWN), 0)
        for code, _ in self.all(self.pulses()):
            codes[code] += 1
        self.assertEqual(codes, {ON_TIME: 30, UNKNOWN: 10})

    def test_without_bans_of_networks_no_source_is_looked_up(self) -> None:
        """A pulse costs no look-up then, also while a client is banned."""
        self.begin()
        decide(self, self.banning.rendezvous.store.ban("0" * 32, None, "", self.now()))
        for name in ("of_host", "of_address"):
            self.patch(Bans, name, lambda *_: self.fail("a source was looked up"))
        self.assertEqual(len(self.all(self.pulses())), 40)


class FastDatagramTests(DatagramTests):
    """The same on the fast path."""

    def make(self) -> MemoryServer:
        """:returns: the server."""
        return fast_server()


class WorkerDatagramTests(DatagramTests):
    """The same where a UDP worker stands before the port."""

    def make(self) -> MemoryServer:
        """:returns: the server."""
        return worker_server()


class WithdrawalTests(SocketTestCase):
    """UDP workers, which do not know which networks are banned."""

    def test_workers_hand_over_everything_while_a_network_is_banned(self) -> None:
        """From the moment of the ban on, before the next tick, until its end."""
        server = fast_server(WorkersReactor(), udp_workers=1)
        self.addCleanup(self.end, server)
        store, reactor = server.rendezvous.store, server.reactor
        reactor.advance(0)
        reactor.advance(1)
        workers = server.rendezvous._workers
        assert workers is not None
        control = Control(workers._memory)

        def answers() -> bool:
            return control.now(reactor.seconds()) is not None

        self.assertTrue(answers())
        decide(self, store.ban(NETWORK, None, "", server.rendezvous.clock.seconds()))
        self.assertFalse(answers())
        reactor.advance(1)
        self.assertFalse(answers())
        decide(self, store.ban("0" * 32, None, "", server.rendezvous.clock.seconds()))
        decide(self, store.lift(NETWORK, server.rendezvous.clock.seconds()))
        for _ in range(3):
            reactor.advance(0.3)
        self.assertTrue(answers())

    def end(self, server: MemoryServer) -> None:
        """End the server and its worker."""
        reactor: Any = server.reactor
        server.service.stopService()
        for process in reactor.processes:
            if not process.is_over:
                process.end()
