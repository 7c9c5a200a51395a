"""Attempts to connect through the whole server: HTTP, datagrams on two ports, and what is sent when it is due."""

from __future__ import annotations

import sqlite3
from typing import Any

from twisted.internet.defer import fail
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.attempts.table import Due
from rendezvous.core.macs import datagram_key, is_authentic
from rendezvous.inviting import ATTEMPTS, PAUSE, SLICES
from rendezvous.testing import MemoryReactor, MemoryServer
from rendezvous.wire import signed

NOW = 1_800_000_000
PULSES_OF_B = ("203.0.113.2", 5024)
AT_A, AT_B = ("198.51.100.1", 40000), ("203.0.113.2", 50000)
MAPPED = {"kind": "mapped", "host": AT_A[0], "port": 7000}


class Client:
    """A client of a server in memory."""

    def __init__(self, server: MemoryServer) -> None:
        self.id, self.key, self.headers = server.register()
        self.datagram_key = datagram_key(self.key)
        self._time = 0

    def observation(self, server: MemoryServer, attempt: str, port: int, round: int = 1) -> bytes:
        """:returns: an observation for a port of the server."""
        self._time = max(self._time + 1, int(server.reactor.seconds() * 1000))
        request = signed.Request(
            bytes.fromhex(self.id), self._time, bytes(8), bytes.fromhex(attempt), round=round, port=port
        )
        return signed.encode_request(request, self.datagram_key)


class ServerCase(SynchronousTestCase):
    """A server with two UDP ports and two clients, of which B has pulsed to the second port."""

    settings: dict[str, Any] = {}  # noqa: RUF012 - never changed, only replaced by subclasses

    def setUp(self) -> None:
        """Start it."""
        reactor = MemoryReactor()
        reactor.advance(NOW)
        self.server = MemoryServer(reactor, udp_port=(5024, 5026), **self.settings)
        self.addCleanup(lambda: self.server.stop())
        self.a, self.b = Client(self.server), Client(self.server)
        self.assertEqual(len(self.server.deliver(self.b.key, PULSES_OF_B, 1)), 1)
        self.forget()

    def forget(self) -> None:
        """Forget what was sent."""
        for port in self.server.udp_ports:
            port.sent.clear()

    def sent(self, port: int) -> list[tuple[signed.Short, tuple[str, int]]]:
        """:returns: the short datagrams that a port has sent to a client, and where to. Their MACs hold."""
        found = []
        for datagram, address in self.server.udp_ports[port].sent:
            self.assertEqual(len(datagram), signed.SHORT_SIZE)
            self.assertTrue(any(is_authentic(each.datagram_key, datagram) for each in (self.a, self.b)))
            found.append((signed.decode_short(datagram), address))
        return found

    def ask(self, client: Client, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """:returns: the body of an answer."""
        response = self.server.request(method, path, body, client.headers)
        self.assertEqual(response.status, status, response.body)
        return response.json()

    def begin(self, **fields: Any) -> str:
        """:returns: the id of a new attempt of A to connect to B."""
        attempt: str = self.ask(self.a, "POST", f"/peer/{self.b.id}/connect", fields, 201)["attempt"]
        self.server.reactor.advance(0)
        return attempt

    def observe(self, client: Client, attempt: str, source: tuple[str, int], round: int = 1) -> list[int]:
        """:returns: the codes that both ports have answered."""
        codes = []
        for port in (0, 1):
            [reply] = self.server.deliver(client.observation(self.server, attempt, port, round), source, port)
            codes.append(int(signed.decode_reply(reply, client.datagram_key).code))
        self.server.reactor.advance(0)
        return codes


class InvitingTests(ServerCase):
    """Tests of :class:`rendezvous.inviting.Inviting` and what it brings together."""

    def test_invitation_goes_to_where_the_pulses_come_from(self) -> None:
        """From the port that they come to, four times, until it is answered."""
        attempt = self.begin()
        times = []
        for step in range(60):
            found = self.sent(1)
            times += [round(step * 0.05, 2)] * len(found)
            for short, address in found:
                self.assertEqual((short.kind, address), (signed.ShortKind.INVITATION, PULSES_OF_B))
                self.assertEqual(short.attempt.hex(), attempt)
            self.forget()
            self.server.reactor.advance(0.05)
        self.assertEqual(len(times), 4)
        for found_at, expected in zip(times, (0.0, 0.25, 0.75, 1.75), strict=True):
            self.assertLess(abs(found_at - expected), 0.051)
        self.assertEqual(self.sent(0), [])

    def test_answered_invitation_is_not_repeated(self) -> None:
        """Neither after an acceptance nor after a refusal."""
        for method, path in (("POST", "/accept"), ("DELETE", "")):
            attempt = self.begin()
            self.forget()
            self.ask(self.b, method, f"/attempts/{attempt}{path}", {})
            self.server.reactor.advance(3)
            self.assertEqual(self.sent(1), [])

    def test_client_that_never_pulsed_is_invited_over_http_alone(self) -> None:
        """Its address is not known."""
        self.ask(self.b, "POST", f"/peer/{self.a.id}/connect", {}, 201)
        self.server.reactor.advance(3)
        self.assertEqual((self.sent(0), self.sent(1)), ([], []))
        self.assertEqual(len(self.ask(self.a, "GET", "/attempts")["attempts"]), 1)

    def test_whole_attempt(self) -> None:
        """From the request to the counter: each side gets the address of the other and the same key."""
        attempt = self.begin(rtt=40)
        self.assertEqual(self.observe(self.a, attempt, AT_A), [1020, 1020])
        self.ask(self.b, "POST", f"/attempts/{attempt}/accept", {"rtt": 40})
        self.assertEqual(self.observe(self.b, attempt, AT_B), [1020, 1020])
        keys = set()
        for client, other in ((self.a, AT_B), (self.b, AT_A)):
            seen = self.ask(client, "GET", f"/attempts/{attempt}")
            self.assertEqual((seen["state"], seen["strategy"], seen["hold"]), ("go", "direct", 0))
            [candidate] = seen["peer"]["candidates"]
            self.assertEqual(candidate, {"kind": "server-reflexive", "host": other[0], "port": other[1]})
            keys.add(seen["key"])
        self.assertEqual(len(keys), 1)
        self.ask(self.a, "POST", f"/attempts/{attempt}/done", {"ok": True, "ms": 300, "via": "direct"})
        self.server.reactor.advance(0)
        counted = self.server.rendezvous.counters.totals()[ATTEMPTS]
        self.assertEqual(counted, {"endpoint-independent and endpoint-independent: direct": 1})
        self.assertEqual(self.observe(self.b, attempt, AT_B), [1060, 1060])

    def test_two_ports_that_see_two_sources(self) -> None:
        """Then the mapping depends on the destination, and the same on both sides leaves nothing without a relay."""
        attempt = self.begin()
        self.ask(self.b, "POST", f"/attempts/{attempt}/accept", {})
        for client, host in ((self.a, AT_A[0]), (self.b, AT_B[0])):
            for port in (0, 1):
                datagram = client.observation(self.server, attempt, port)
                self.server.deliver(datagram, (host, 40000 + 1000 * port), port)
        self.server.reactor.advance(1.31)
        seen = self.ask(self.a, "GET", f"/attempts/{attempt}")
        self.assertEqual((seen["state"], seen["code"]), ("failed", "symmetric-pair"))
        self.assertNotIn("candidates", seen["peer"])

    def test_mapped_candidate_is_checked_from_the_last_port(self) -> None:
        """The answer of the client makes it one that the peer gets."""
        attempt = self.begin(candidates=[MAPPED, {**MAPPED, "host": "192.0.2.66"}])
        self.ask(self.b, "POST", f"/attempts/{attempt}/accept", {})
        self.forget()
        for client, source in ((self.a, AT_A), (self.b, AT_B)):
            for port in (0, 1):
                self.server.deliver(client.observation(self.server, attempt, port), source, port)
        self.forget()
        for _ in range(10):
            self.server.reactor.advance(0.05)
        self.assertEqual(self.sent(0), [])
        found = self.sent(1)
        self.assertEqual([address for _, address in found], [(AT_A[0], 7000)] * 3)
        check = found[0][0]
        for key in (self.b.datagram_key, self.a.datagram_key):
            self.assertNotIn("mapped", self.kinds(attempt))
            answer = signed.Short(signed.ShortKind.CHECK_ANSWER, check.attempt, check.nonce)
            self.server.deliver(signed.encode_short(answer, key), (AT_A[0], 7000), 1)
        self.assertIn("mapped", self.kinds(attempt))

    def kinds(self, attempt: str) -> list[str]:
        """:returns: the kinds of the candidates that B gets."""
        return [each["kind"] for each in self.ask(self.b, "GET", f"/attempts/{attempt}")["peer"]["candidates"]]

    def test_nothing_runs_while_there_is_no_attempt(self) -> None:
        """Once the last one is forgotten, no timer is left but those that always run."""
        before = len(self.server.reactor.getDelayedCalls())
        attempt = self.begin()
        self.assertEqual(len(self.server.reactor.getDelayedCalls()), before + 1)
        self.ask(self.b, "DELETE", f"/attempts/{attempt}")
        self.server.reactor.advance(31)
        self.assertEqual(len(self.server.reactor.getDelayedCalls()), before)

    def test_fault_of_the_store_is_survived(self) -> None:
        """It is logged, and a second later it is tried again."""
        store = self.server.rendezvous.store
        self.patch(store, "attempts_due", lambda now: _failing())
        self.begin()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.sent(1), [])
        del store.attempts_due
        self.server.reactor.advance(1)
        self.assertEqual(len(self.sent(1)), 1)

    def test_protocol_that_is_off_observes_nothing(self) -> None:
        """Signed pulses still work."""
        self.server.stop()
        self.server = MemoryServer(self.server.reactor, udp_port=(5024, 5026), without=("connect",))
        self.a = Client(self.server)
        self.assertEqual(self.server.deliver(self.a.observation(self.server, "0123456789abcdef", 0), AT_A), [])
        pulse = signed.Request(bytes.fromhex(self.a.id), int(self.server.reactor.seconds() * 1000), bytes(8))
        self.assertEqual(len(self.server.deliver(signed.encode_request(pulse, self.a.datagram_key), AT_A)), 1)

    def test_attempts_of_before_end_where_the_protocol_is_off(self) -> None:
        """They are forgotten in their time, and nothing is sent for them."""
        path = self.mktemp()
        self.server.stop()
        reactor = self.server.reactor
        self.server = MemoryServer(reactor, udp_port=(5024, 5026), store=f"sqlite:{path}")
        self.a, self.b = Client(self.server), Client(self.server)
        self.server.deliver(self.b.key, PULSES_OF_B, 1)
        self.begin()
        self.server.stop()
        self.server = MemoryServer(reactor, udp_port=(5024, 5026), store=f"sqlite:{path}", without=("connect",))
        reactor.advance(61)
        self.assertEqual(self.sent(1), [])
        self.server.stop()
        with sqlite3.connect(path) as database:
            self.assertEqual(database.execute("SELECT count(*) FROM attempts").fetchone(), (0,))
        self.server = MemoryServer(reactor)


async def _failing() -> Any:
    await fail(ZeroDivisionError("a fault"))


class RestartTests(SynchronousTestCase):
    """A server that is started again while two clients connect."""

    def test_attempt_goes_on(self) -> None:
        """The invitations that were not sent yet are sent, and the attempt ends well."""
        reactor = MemoryReactor()
        reactor.advance(NOW)
        path = self.mktemp()
        case = ServerCase("setUp")
        case.server = MemoryServer(reactor, udp_port=(5024, 5026), store=f"sqlite:{path}")
        case.a, case.b = Client(case.server), Client(case.server)
        case.server.deliver(case.b.key, PULSES_OF_B, 1)
        attempt = case.begin()
        self.assertEqual(case.observe(case.a, attempt, AT_A), [1020, 1020])
        case.server.stop()
        reactor.advance(5)
        case.server = MemoryServer(reactor, udp_port=(5024, 5026), store=f"sqlite:{path}")
        self.addCleanup(case.server.stop)
        reactor.advance(0.3)
        self.assertEqual(len(case.sent(1)), 1)
        case.ask(case.b, "POST", f"/attempts/{attempt}/accept", {})
        self.assertEqual(case.observe(case.b, attempt, AT_B), [1020, 1020])
        seen = case.ask(case.a, "GET", f"/attempts/{attempt}")
        self.assertEqual((seen["state"], len(seen["peer"]["candidates"])), ("go", 1))


class BusyTests(ServerCase):
    """Much that is due at the same moment."""

    def test_round_ends_when_its_time_is_spent(self) -> None:
        """Timers and sockets have their turn after some milliseconds; what is left follows soon."""
        store, asked = self.server.rendezvous.store, 0

        async def slow(now: float) -> Due:
            nonlocal asked
            asked += 1
            self.server.reactor.rightNow += 0.01
            return Due([], now, [])

        async def fast(now: float) -> Due:
            nonlocal asked
            asked += 1
            return Due([], now, [])

        for due, expected in ((slow, 1), (fast, SLICES)):
            self.patch(store, "attempts_due", due)
            if not asked:
                self.begin()
            asked = 0
            for number in (1, 2):
                self.server.reactor.advance(PAUSE)
                self.assertEqual(asked, number * expected)
