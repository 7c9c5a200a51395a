"""
The server's HTTP routes as methods that return cancellable Deferreds.

Nothing here remembers a client: an :class:`Identity` is passed in each time, so one :class:`RendezvousClient` serves
any number of them. The reactor and treq are given, never imported.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from random import SystemRandom
from typing import Any, Protocol, cast
from urllib.parse import quote, urlsplit

from treq.client import HTTPClient

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers

from rendezvous.client._backoff import retry_delay
from rendezvous.client._replies import Fields, Reply, exchange_error, read_body
from rendezvous.client.errors import ClientError, PeerNotFound, ServerBusy, ServerUnreachable
from rendezvous.client.records import Health, Identity, PeerAddress, PeerStatus, ServerFacts, Status

__all__ = ["DEFAULT_TIMEOUT", "LONGEST_WAIT", "RendezvousClient", "Treq"]

DEFAULT_TIMEOUT = 10.0
"""Seconds from a request to the last byte of its reply."""

LONGEST_WAIT = 300.0
"""Seconds that :meth:`RendezvousClient.register` waits at most between two attempts."""


_SYSTEM_RANDOM = SystemRandom()


class Treq(Protocol):
    """The one thing that is needed of treq: ``treq.client.HTTPClient`` has it, and so have treq's test doubles."""

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Headers,
        allow_redirects: bool,
        unbuffered: bool,
        reactor: Any,
    ) -> Deferred[Any]:
        """
        Send a request.

        :returns: fires with an ``IResponse`` whose body is still to be read.
        """
        ...


class RendezvousClient:
    """
    One rendezvous server, seen from a client.

    Every method returns a Deferred that fails with a :class:`~rendezvous.client.errors.ClientError`, and that can
    be cancelled: the request ends with it, and it fails with ``CancelledError``.

    :param base_url: where the server's routes begin, such as ``http://example.net:5025``.
    :param treq: what sends requests; its module-level functions would bring a reactor of their own.
    :param reactor: the reactor that times the requests.
    :param timeout: seconds that one request may take, up to the last byte of its reply.
    :param random: draws from ``[0, 1)``, for the jitter of repeated requests.
    :raises ValueError: when ``base_url`` is not an ``http`` or ``https`` URL with a host.
    """

    def __init__(
        self,
        base_url: str,
        treq: Treq,
        reactor: Any,
        timeout: float = DEFAULT_TIMEOUT,
        *,
        random: Callable[[], float] = _SYSTEM_RANDOM.random,
    ) -> None:
        _check_url(base_url)
        self._base_url = base_url.rstrip("/")
        self._treq = treq
        self._reactor = reactor
        self._timeout = timeout
        self._random = random
        self._pool: HTTPConnectionPool | None = None

    @classmethod
    def over(cls, reactor: Any, base_url: str, timeout: float = DEFAULT_TIMEOUT) -> RendezvousClient:
        """
        A client with connections of its own.

        :param reactor: the running reactor.
        :param base_url: where the server's routes begin.
        :param timeout: seconds that one request may take.
        :returns: a client to be closed with :meth:`close`.
        :raises ValueError: as the class does.
        """
        pool = HTTPConnectionPool(reactor)
        client = cls(base_url, HTTPClient(Agent(reactor, pool=pool)), reactor, timeout)
        client._pool = pool
        return client

    def close(self) -> Deferred[None]:
        """
        Close the idle connections that :meth:`over` opened; those in use close when their Deferred is cancelled.

        :returns: fires when they are closed.
        """
        if self._pool is None:
            return succeed(None)
        closed: Deferred[Any] = self._pool.closeCachedConnections()
        return closed.addCallback(lambda _: None)

    def register(self, *, attempts: int = 1) -> Deferred[Identity]:
        """
        Register a new client with this server.

        :param attempts: how often to try while the server is busy (429 and 503). The wait between two attempts is the
            ``Retry-After`` of the server, at least one second and at most :data:`LONGEST_WAIT`, jittered.
        :returns: fires with the new identity, which should pulse within the server's registration time; fails with
            ``ServerBusy`` when the last attempt did.
        """
        return Deferred.fromCoroutine(self._register(attempts))

    def verify(self, identity: Identity) -> Deferred[None]:
        """
        Verify a client whose pulses came late. It is online again at its next pulse.

        :param identity: which client.
        :returns: fires when the server has agreed; fails with ``NotRegistered`` when the client is gone.
        """
        return Deferred.fromCoroutine(self._own("/verify", identity))

    def logout(self, identity: Identity) -> Deferred[None]:
        """
        End a client, its offers and its credential.

        :param identity: which.
        :returns: fires when it has ended; fails with ``NotRegistered`` when it already had.
        """
        return Deferred.fromCoroutine(self._own("/logout", identity))

    def look_up(self, identity: Identity, peer_id: str) -> Deferred[PeerAddress]:
        """
        Find out where a peer is.

        :param identity: who asks.
        :param peer_id: the peer's client id.
        :returns: fires with its last address, even when it is late; fails with ``PeerNotFound`` when there is no such
            peer, with ``PeerHasNoAddress`` when it has not pulsed yet.
        """
        return Deferred.fromCoroutine(self._look_up(identity, peer_id))

    def status(self, identity: Identity, peer_id: str) -> Deferred[PeerStatus]:
        """
        Find out how a peer is.

        :param identity: who asks.
        :param peer_id: the peer's client id.
        :returns: fires with its status; fails with ``PeerNotFound`` when there is no such peer.
        """
        return Deferred.fromCoroutine(self._status(identity, peer_id))

    def health(self) -> Deferred[Health]:
        """
        Ask whether the server is well.

        :returns: fires with its version and clock.
        """
        return Deferred.fromCoroutine(self._health())

    async def _register(self, attempts: int) -> Identity:
        failures = 0
        while True:
            try:
                fields = await self._call("POST", "/register")
            except ServerBusy as busy:
                failures += 1
                if failures >= attempts:
                    raise
                await deferLater(
                    self._reactor,
                    retry_delay(LONGEST_WAIT, failures, self._random(), retry_after=busy.retry_after),
                )
            else:
                break
        try:
            return Identity(fields.text("client_id"), fields.text("private_id"), _facts(fields))
        except ValueError:
            raise fields.wrong("client_id or private_id") from None

    async def _own(self, path: str, identity: Identity) -> None:
        fields = await self._call("POST", path, identity)
        if fields.text("client_id") != identity.client_id.lower():
            raise fields.wrong("client_id")

    async def _look_up(self, identity: Identity, peer_id: str) -> PeerAddress:
        fields = await self._call("GET", _peer_path(peer_id), identity, PeerNotFound)
        try:
            host = str(ip_address(fields.text("host")))
        except ValueError:
            raise fields.wrong("host") from None
        return PeerAddress(host, fields.port("port"), fields.number("timestamp"))

    async def _status(self, identity: Identity, peer_id: str) -> PeerStatus:
        fields = await self._call("GET", f"{_peer_path(peer_id)}/status", identity, PeerNotFound)
        try:
            status = Status(fields.text("status"))
        except ValueError:
            raise fields.wrong("status") from None
        return PeerStatus(status, fields.number_or_none("last_online"))

    async def _health(self) -> Health:
        fields = await self._call("GET", "/health")
        return Health(fields.text("version"), fields.number("timestamp"))

    async def _call(
        self, method: str, path: str, identity: Identity | None = None, missing: type[ClientError] | None = None
    ) -> Fields:
        url = self._base_url + path
        exchange = Deferred.fromCoroutine(self._exchange(method, url, identity))
        try:
            reply = await exchange.addTimeout(self._timeout, cast(IReactorTime, self._reactor), _too_late(url))
        except Exception as reason:
            error = exchange_error(reason, url)
            if error is reason:
                raise
            raise error from reason
        return reply.fields(missing=missing)

    async def _exchange(self, method: str, url: str, identity: Identity | None) -> Reply:
        headers = Headers({"Accept": ["application/json"]})
        if identity is not None:
            headers.setRawHeaders("Authorization", [identity.credential])
        # A credential must not follow a redirect, and our server sends none. The body is read here, not by treq,
        # since only here is its length limited.
        response = await self._treq.request(
            method, url, headers=headers, allow_redirects=False, unbuffered=True, reactor=self._reactor
        )
        return Reply(response.code, response.headers, await read_body(response))


def _facts(fields: Fields) -> ServerFacts | None:
    """Read the facts that a registration comes with; an older server gives none."""
    if "pulseInterval" not in fields.values:
        return None
    interval = fields.seconds("pulseInterval")
    if not interval:
        raise fields.wrong("pulseInterval")
    return ServerFacts(
        interval,
        fields.seconds("pulseGrace"),
        fields.seconds("errorTime"),
        fields.seconds("registrationTime"),
        fields.ports("udpPorts"),
    )


def _too_late(url: str) -> Callable[[Reply | Failure, float], Failure]:
    # The reason is always the cancelling, which says less than this.
    return lambda _reason, timeout: Failure(ServerUnreachable(f"no whole reply from {url} within {timeout:g} s"))


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    # A password, a query or a fragment would be lost, or shown in an error.
    if not whole or parts.username is not None or parts.query or parts.fragment:
        raise ValueError("the base URL must be a plain http or https one, such as http://example.net:5025")


def _peer_path(peer_id: str) -> str:
    return f"/peer/{quote(peer_id, safe='')}/udp"
