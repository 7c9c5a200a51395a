"""The relay's client against coturn: real sockets on loopback, over UDP, TCP and TLS."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet import reactor as global_reactor  # noqa: TID251 - trial runs these tests on it
from twisted.internet.defer import Deferred
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from rendezvous.client.relay import Relay
from tests.coturn import Coturn, coturn, program
from tests.test_peers_process import require

reactor: Any = global_reactor


class Party:
    """A relayed address, and what came to it."""

    def __init__(self, ice_servers: Any, **options: Any) -> None:
        self.heard: list[tuple[bytes, tuple[str, int]]] = []
        self.lost: list[str] = []
        self.relay = Relay(
            ice_servers,
            reactor,
            on_datagram=lambda datagram, source: self.heard.append((datagram, source)),
            on_lost=self.lost.append,
            **options,
        )


class CoturnTests(TestCase):
    """Each test has a coturn of its own."""

    timeout = 60

    def setUp(self) -> None:
        """See that it is there."""
        require(program(), "turnserver (Debian: coturn)")

    def start(self, *options: str) -> Coturn:
        """Start it."""
        context = coturn(*options)
        server = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        return server

    def party(self, server: Coturn, *transports: str, **options: Any) -> Party:
        """Make a party that uses these transports."""
        trusted = trustRootFromCertificates([Certificate.loadPEM(server.certificate)])
        party = Party(server.ice_servers(*transports), trust_root=trusted, **options)
        self.addCleanup(party.relay.close)
        return party

    async def until(self, is_so: Callable[[], Any]) -> None:
        """Wait for something that is a matter of time."""
        while not is_so():
            await deferLater(reactor, 0.02)

    async def talk(self, server: Coturn, transport: str) -> None:
        """Exchange datagrams between two relayed addresses, by indications and then by channels."""
        one, other = self.party(server, transport), self.party(server, transport)
        here, there = await one.relay.allocate(), await other.relay.allocate()
        self.assertEqual((here[0], there[0]), ("127.0.0.1", "127.0.0.1"))
        other.relay.permit(here[0])
        for number in range(20):
            # A datagram may be lost, on loopback too, while the permission is on its way.
            datagram = f"datagram {number}".encode() * number
            await self.until(partial(self.passed, one, other, datagram, here, there))
            await self.until(partial(self.passed, other, one, datagram, there, here))
        self.assertEqual((one.lost, other.lost), ([], []))
        await one.relay.close()
        await other.relay.close()

    def passed(self, one: Party, other: Party, datagram: bytes, source: Any, destination: Any) -> bool:
        """Send again, unless it has arrived."""
        if (datagram, source) in other.heard:
            return True
        one.relay.send(datagram, destination)
        return False

    def test_datagrams_over_udp(self) -> Deferred[None]:
        """Datagrams of all sizes from 0 on pass both ways, over UDP."""
        return Deferred.fromCoroutine(self.talk(self.start(), "udp"))

    def test_datagrams_over_tcp(self) -> Deferred[None]:
        """The same over TCP."""
        return Deferred.fromCoroutine(self.talk(self.start(), "tcp"))

    def test_datagrams_over_tls(self) -> Deferred[None]:
        """The same over TLS, with the certificate checked."""
        return Deferred.fromCoroutine(self.talk(self.start(), "tls"))
