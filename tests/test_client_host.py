"""What attempts need to know of the server before they observe: its addresses, its ports, and its time."""

from __future__ import annotations

from random import Random
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.client import Health, ServerFacts, ServerUnreachable
from rendezvous.client._server_time import ServerTime
from rendezvous.client._socket import RESOLVE_TIME
from rendezvous.client.connecting._host import ASK_TIMES, Host, Options
from tests._client_fakes import IDENTITY, MemoryUDPReactor


class FakeClient:
    """A client whose answers the test gives."""

    host = "rendezvous.example"
    round_trip = None

    def __init__(self, reactor: MemoryUDPReactor) -> None:
        self.time = ServerTime(reactor.seconds)
        self.asked: list[Deferred[Health]] = []
        self.closed = 0

    def health(self) -> Deferred[Health]:
        """Ask for the time."""
        self.asked.append(Deferred())
        return self.asked[-1]

    def facts(self) -> Deferred[ServerFacts]:
        """Ask for the ports."""
        return succeed(ServerFacts(30.0, 3.0, 180.0, 300.0, (5024, 5026, 5028)))

    def close(self) -> Deferred[None]:
        """Close idle connections."""
        self.closed += 1
        return succeed(None)


class FakeMapper:
    """Counts changes of the network."""

    changes = 0

    def network_changed(self) -> None:
        """Count."""
        self.changes += 1


class PrepareTests(SynchronousTestCase):
    """Preparing for the first attempt."""

    def setUp(self) -> None:
        """Make a host, whose identity was saved without facts."""
        self.reactor = MemoryUDPReactor()
        self.client, self.mapper = FakeClient(self.reactor), FakeMapper()
        self.host = Host(
            cast(Any, self.client),
            IDENTITY,
            self.reactor,
            Random(1),
            Options(),
            cast(Any, self.mapper),
            list,
            cast(Any, None),
        )

    def prepare(self) -> Deferred[None]:
        """Begin to prepare."""
        return Deferred.fromCoroutine(self.host.prepare())

    def test_everything_is_asked_for_at_once(self) -> None:
        """Afterwards the first two ports are known, for both families, and nothing is asked again."""
        prepared = self.prepare()
        self.assertEqual((len(self.client.asked), len(self.reactor.nameResolver.asked)), (1, 1))
        self.reactor.nameResolver.answer("2001:db8::1", "192.0.2.1", "192.0.2.2")
        self.client.time.learn(1_790_000_000.0, 0.0)
        self.client.asked[0].callback(Health("1.0", 1.0))
        self.successResultOf(prepared)
        self.assertEqual(self.host.targets(False), [("192.0.2.1", 5024), ("192.0.2.1", 5026)])
        self.assertEqual(self.host.targets(True), [("2001:db8::1", 5024), ("2001:db8::1", 5026)])
        self.successResultOf(self.prepare())
        self.assertEqual((len(self.client.asked), len(self.reactor.nameResolver.asked)), (1, 1))

    def test_another_network_has_another_way_to_the_server(self) -> None:
        """Its name is looked up again, the router is looked for, and idle connections are closed."""
        prepared = self.prepare()
        self.reactor.nameResolver.answer("192.0.2.1")
        self.client.asked[0].callback(Health("1.0", 1.0))
        self.successResultOf(prepared)
        self.host.network_changed()
        self.assertEqual((self.host.targets(False), self.mapper.changes, self.client.closed), ([], 1, 1))
        self.prepare().addErrback(lambda _: None)
        self.assertEqual(len(self.reactor.nameResolver.asked), 2)

    def test_time_is_asked_for_again(self) -> None:
        """After 2 s, and after 3 s more; the last question has the time of the client."""
        prepared = self.prepare()
        self.reactor.nameResolver.answer("192.0.2.1")
        for pause in ASK_TIMES:
            self.reactor.advance(pause)
        self.assertEqual(len(self.client.asked), 3)
        self.client.asked[2].errback(ServerUnreachable())
        self.failureResultOf(prepared, ServerUnreachable)

    def test_name_without_an_address(self) -> None:
        """The error says so, also when the resolver does not answer."""
        prepared = self.prepare()
        self.reactor.nameResolver.answer()
        error = self.failureResultOf(prepared, ServerUnreachable).value
        self.assertIn("rendezvous.example has no address", str(error))
        prepared = self.prepare()
        self.client.asked[-1].callback(Health("1.0", 1.0))
        self.reactor.advance(RESOLVE_TIME)
        self.failureResultOf(prepared, ServerUnreachable)
