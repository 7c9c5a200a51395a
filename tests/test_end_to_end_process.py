"""The real client against a real server: one process of ``twistd rendezvous``, sockets on loopback, real time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as global_reactor  # noqa: TID251 - trial runs these tests on it
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from rendezvous.client import ClientGone, Identity, KeepAlive, NotRegistered, PeerNotFound, RendezvousClient
from rendezvous.client.records import Status
from tests.real_server import RealServer, real_server

reactor: Any = global_reactor

#: Of the server under test: short, so that a client falls silent soon, and long enough for a busy machine.
INTERVAL, ERROR_TIME = 1.0, 4.0


class EndToEndTests(TestCase):
    """The life of a client, as the library leads it."""

    timeout = 60

    def setUp(self) -> None:
        """Start a server and a client."""
        context = real_server(f"--pulse-interval={INTERVAL}", f"--error-time={ERROR_TIME}")
        self.server: RealServer = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        self.client = RendezvousClient.over(reactor, f"http://127.0.0.1:{self.server.http_port}")
        self.addCleanup(self.client.close)

    def keep_alive(self, identity: Identity, host: str = "127.0.0.1") -> KeepAlive:
        """Start to pulse."""
        service = KeepAlive(self.client, identity, (host, self.server.udp_ports[0]), reactor, interval=INTERVAL)
        service.startService()
        self.addCleanup(lambda: service.stopService() if service.running else None)
        return service

    async def until(self, is_so: Callable[[], Any]) -> None:
        """Wait for something that is a matter of time."""
        while not await is_so():
            await deferLater(reactor, 0.1)

    def test_two_clients_find_and_lose_each_other(self) -> Deferred[None]:
        """Register, pulse, look up, fall silent, come back by a verify that the library sends, log out."""
        return Deferred.fromCoroutine(self._lead_a_life())

    async def _lead_a_life(self) -> None:
        alice, bob = await self.client.register(), await self.client.register()
        pulses = self.keep_alive(bob)
        await pulses.whenOnline()
        address = await self.client.look_up(alice, bob.client_id)
        own: Any = pulses.getHost()
        self.assertEqual((address.host, address.port), ("127.0.0.1", own.port))
        self.assertIs((await self.client.status(alice, bob.client_id)).status, Status.ONLINE)

        await pulses.stopService()

        async def is_pending() -> bool:
            return (await self.client.status(alice, bob.client_id)).status is Status.PENDING

        await self.until(is_pending)
        back = self.keep_alive(bob)
        await back.whenOnline()  # The first pulse was answered 1050, so the library has verified and pulsed again.
        status = await self.client.status(alice, bob.client_id)
        self.assertIs(status.status, Status.ONLINE)

        gone = back.whenGone()
        await self.client.logout(bob)
        await self.assertFailure(gone, ClientGone)
        await self.assertFailure(self.client.look_up(alice, bob.client_id), PeerNotFound)
        await self.assertFailure(self.client.verify(bob), NotRegistered)

    def test_ipv6_address_is_shown_as_one(self) -> Deferred[None]:
        """The same server and port, by the other family."""
        return Deferred.fromCoroutine(self._go_by_ipv6())

    async def _go_by_ipv6(self) -> None:
        alice = await self.client.register()
        await self.keep_alive(alice, "::1").whenOnline()
        self.assertEqual((await self.client.look_up(alice, alice.client_id)).host, "::1")
