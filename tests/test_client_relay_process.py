"""The relay's client against coturn: real sockets on loopback, over UDP, TCP and TLS."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs

from twisted.internet import reactor as global_reactor  # noqa: TID251 - trial runs these tests on it
from twisted.internet.defer import Deferred
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from rendezvous.client.relay import Relay, RelayUnavailable
from rendezvous.client.relay.servers import Transport
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

    def unavailable(self, party: Party, *words: str) -> Deferred[None]:
        """Check that there is no address, and why."""
        asked: Deferred[Any] = self.assertFailure(party.relay.allocate(), RelayUnavailable)

        def check(error: Exception) -> None:
            for word in words:
                self.assertIn(word, str(error))

        return asked.addCallback(check)

    def test_certificate_for_another_name_is_refused(self) -> Deferred[None]:
        """It is for ``localhost``, and the URI has the address."""
        server = self.start()
        servers = [attrs.evolve(server.ice_servers("tls")[0], urls=(f"turns:127.0.0.1:{server.tls_port}",))]
        trusted = trustRootFromCertificates([Certificate.loadPEM(server.certificate)])
        return self.unavailable(Party(servers, trust_root=trusted), "tls 127.0.0.1", "TLS failed")

    def test_certificate_of_an_unknown_authority_is_refused(self) -> Deferred[None]:
        """The system does not know who has signed it."""
        return self.unavailable(Party(self.start().ice_servers("tls")), "TLS failed", "certificate verify failed")

    def test_credential_of_another_secret_is_refused(self) -> Deferred[None]:
        """And the reason is the server's."""
        servers = [attrs.evolve(self.start().ice_servers("udp")[0], credential="AAAAAAAAAAAAAAAAAAAAAAAAAAA=")]
        return self.unavailable(Party(servers), "error 401")

    def test_expired_credential_is_refused(self) -> Deferred[None]:
        """Its user name says that it has ended in 2001."""
        return self.unavailable(Party(self.start().ice_servers("udp", username="1000000000:alice")), "error 401")

    def test_server_that_does_not_run_is_said(self) -> Deferred[None]:
        """The system says it over TCP, and the port says nothing over UDP."""
        server = self.start()
        server.process.kill()
        server.process.wait()
        return self.unavailable(Party(server.ice_servers("udp", "tcp")), "does not answer", "refused")

    def test_tcp_is_used_where_udp_gets_no_answer(self) -> Deferred[None]:
        """A socket that swallows all datagrams stands for a firewall."""
        return Deferred.fromCoroutine(self.fall_back(self.start()))

    async def fall_back(self, server: Coturn) -> None:
        """Get an address in 3 s although UDP is blocked."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            [tcp] = server.ice_servers("tcp")
            blocked = f"turn:127.0.0.1:{silent.getsockname()[1]}?transport=udp"
            party = Party([attrs.evolve(tcp, urls=(blocked, *tcp.urls))])
            began = reactor.seconds()
            await party.relay.allocate()
            self.assertLess(reactor.seconds() - began, 3)
            assert party.relay.server is not None
            self.assertEqual(party.relay.server.transport, Transport.TCP)
            await party.relay.close()

    def test_closing_frees_the_quota(self) -> Deferred[None]:
        """
        A user who may have one address gets another one soon after the first is closed, over UDP too.

        coturn counts an allocation for about a second after its end, and one that was not given back for ten minutes.
        """
        return Deferred.fromCoroutine(self.use_quota(self.start("--user-quota=1")))

    async def use_quota(self, server: Coturn) -> None:
        """Allocate, fail to allocate, close, allocate."""
        for transport in ("udp", "tcp", "udp"):
            party = await self.allocated_late(server, transport)
            await self.unavailable(self.party(server, transport), "error 486")
            await party.relay.close()

    async def allocated_late(self, server: Coturn, transport: str) -> Party:
        """Give a party that has an address, after a while."""
        while True:
            party = self.party(server, transport)
            try:
                await party.relay.allocate()
            except RelayUnavailable:
                await deferLater(reactor, 0.2)
            else:
                return party

    def test_stale_nonce_and_refused_peer(self) -> Deferred[None]:
        """A nonce of one second is replaced; a host that the server denies takes nothing from the others."""
        return Deferred.fromCoroutine(self.outlive(self.start("--stale-nonce=1", "--denied-peer-ip=127.0.0.3")))

    async def outlive(self, server: Coturn) -> None:
        """Send after the nonce has become stale."""
        party = self.party(server, "udp")
        relayed = await party.relay.allocate()
        await deferLater(reactor, 2.5)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(("127.0.0.2", 0))
            peer.setblocking(False)
            party.relay.send(b"hello", ("127.0.0.3", 40000))
            party.relay.permit("127.0.0.2")
            await self.until(lambda: peer.sendto(b"hello", relayed) and party.heard)
            self.assertEqual(party.heard[0], (b"hello", peer.getsockname()))
        self.assertEqual(party.lost, [])
        await party.relay.close()

    def test_server_that_dies_is_lost_at_once_over_tcp(self) -> Deferred[None]:
        """The connection ends with it."""
        return Deferred.fromCoroutine(self.lose(self.start()))

    async def lose(self, server: Coturn) -> None:
        """Kill the server."""
        party = self.party(server, "tcp")
        await party.relay.allocate()
        server.process.kill()
        await self.until(lambda: party.lost)
        self.assertIn("the connection was lost", party.lost[0])
        self.assertIsNone(party.relay.relayed_address)
