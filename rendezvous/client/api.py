"""
The server's HTTP routes as methods that return cancellable Deferreds.

Nothing here remembers a client: an :class:`Identity` is passed in each time, so one :class:`RendezvousClient` serves
any number of them. The reactor and treq are given, never imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy
from random import SystemRandom
from typing import Any

from treq.client import HTTPClient

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater
from twisted.web.client import Agent, HTTPConnectionPool

from rendezvous.client._backoff import retry_delay
from rendezvous.client._http import Exchanges, Request, Treq, bearing, segment
from rendezvous.client._http_connections import Endpoints
from rendezvous.client._replies import Fields
from rendezvous.client._server_time import ServerTime
from rendezvous.client.attempts import Attempts
from rendezvous.client.errors import PeerNotFound, ServerBusy
from rendezvous.client.events import Event, EventStream
from rendezvous.client.ice import IceServers, read_ice
from rendezvous.client.offers import Offers
from rendezvous.client.records import Health, Identity, PeerAddress, PeerStatus, ServerFacts, Status
from rendezvous.client.sessions import Sessions

__all__ = ["DEFAULT_TIMEOUT", "LONGEST_WAIT", "RendezvousClient", "Treq"]

DEFAULT_TIMEOUT = 10.0
"""Seconds from a request to the last byte of its reply."""

CLOSE_TIME = 1.0
"""Seconds that the end of the connections is waited for."""

LONGEST_WAIT = 300.0
"""Seconds that :meth:`RendezvousClient.register` waits at most between two attempts."""


_SYSTEM_RANDOM = SystemRandom()


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
    :ivar attempts: the routes of attempts to connect to a peer.
    :ivar offers: those of the offers protocol.
    :ivar sessions: those of the sessions protocol.
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
        self._exchanges = Exchanges(base_url, treq, reactor, timeout)
        self._reactor = reactor
        self._random = random
        self._pool: HTTPConnectionPool | None = None
        self.attempts = Attempts(self._exchanges)
        self.offers = Offers(self._exchanges)
        self.sessions = Sessions(self._exchanges)

    @property
    def host(self) -> str:
        """:returns: the server's host, a name or an address, as in the base URL."""
        return self._exchanges.host

    @property
    def time(self) -> ServerTime:
        """:returns: the time of the server, as its answers say."""
        return self._exchanges.time

    @property
    def round_trip(self) -> float | None:
        """:returns: the round trip to the server, in seconds; ``None`` before the first answer."""
        return self._exchanges.round_trip

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
        agent = Agent.usingEndpointFactory(reactor, Endpoints(reactor), pool=pool)
        # The server has no cookies. Those of another one would be kept without a bound, and sent with each request.
        # Any jar will do; later versions of treq have a type of their own.
        no_cookies: Any = CookieJar(DefaultCookiePolicy(allowed_domains=()))
        client = cls(base_url, HTTPClient(agent, cookiejar=no_cookies), reactor, timeout)
        client._pool = pool
        return client

    def close(self) -> Deferred[None]:
        """
        Close the idle connections that :meth:`over` opened; those in use close when their Deferred is cancelled.

        Further requests open new connections, so this is also what to do when the network has changed.

        :returns: fires when they are closed, and after :data:`CLOSE_TIME` at the latest: a server that does not answer
            the end of TLS does not keep a program from ending.
        """
        if self._pool is None:
            return succeed(None)
        done: Deferred[None] = Deferred()
        late = self._reactor.callLater(CLOSE_TIME, done.callback, None)

        def closed(_: object) -> None:
            if late.active():
                late.cancel()
                done.callback(None)

        self._pool.closeCachedConnections().addBoth(closed)
        return done

    def register(self, *, attempts: int = 1, token: str | None = None) -> Deferred[Identity]:
        """
        Register a new client with this server.

        :param attempts: how often to try while the server is busy (429 and 503). The wait between two attempts is the
            ``Retry-After`` of the server, at least one second and at most :data:`LONGEST_WAIT`, jittered.
        :param token: a registration token, where the operator of the server has given out such.
        :returns: fires with the new identity, which should pulse within the server's registration time; fails with
            ``ServerBusy`` when the last attempt did, and with ``NotAdmitted`` without a good token where one is needed.
        """
        return Deferred.fromCoroutine(self._register(attempts, token))

    def verify(self, identity: Identity) -> Deferred[None]:
        """
        Verify a client whose pulses came late. It is online again at its next pulse.

        :param identity: which client.
        :returns: fires when the server has agreed; fails with ``NotRegistered`` when the client is gone.
        """
        return self._own("/verify", identity)

    def logout(self, identity: Identity) -> Deferred[None]:
        """
        End a client, its offers and its credential.

        :param identity: which.
        :returns: fires when it has ended; fails with ``NotRegistered`` when it already had.
        """
        return self._own("/logout", identity)

    def look_up(self, identity: Identity, peer_id: str) -> Deferred[PeerAddress]:
        """
        Find out where a peer is.

        :param identity: who asks.
        :param peer_id: the peer's client id.
        :returns: fires with its last address, even when it is late; fails with ``PeerNotFound`` when there is no such
            peer, with ``PeerHasNoAddress`` when it has not pulsed yet.
        """
        return self._exchanges.ask(Request("GET", _peer_path(peer_id), identity, missing=PeerNotFound), _peer_address)

    def status(self, identity: Identity, peer_id: str) -> Deferred[PeerStatus]:
        """
        Find out how a peer is.

        :param identity: who asks.
        :param peer_id: the peer's client id.
        :returns: fires with its status; fails with ``PeerNotFound`` when there is no such peer.
        """
        path = f"{_peer_path(peer_id)}/status"
        return self._exchanges.ask(Request("GET", path, identity, missing=PeerNotFound), _peer_status)

    def health(self) -> Deferred[Health]:
        """
        Ask whether the server is well.

        :returns: fires with its version and clock.
        """
        return self._exchanges.ask(
            Request("GET", "/health"), lambda fields: Health(fields.text("version"), fields.number("timestamp"))
        )

    def facts(self) -> Deferred[ServerFacts | None]:
        """
        Ask for the settings of the server that a client needs, for an identity that was saved without them.

        :returns: fires with them; with ``None`` for a server that has none.
        """
        return self._exchanges.ask(Request("GET", "/"), _facts)

    def ice(self, identity: Identity) -> Deferred[IceServers]:
        """
        Ask for STUN and TURN servers, with credentials for the latter.

        :param identity: who asks.
        :returns: fires with them.
        """
        return self._exchanges.ask(Request("GET", "/ice", identity), read_ice)

    def events(
        self,
        identity: Identity,
        on_event: Callable[[Event], object],
        *,
        last_id: str | None = None,
        topics: Sequence[str] = (),
    ) -> EventStream:
        """
        Make a service that reads the event stream, from the moment that it starts.

        :param identity: whose events.
        :param on_event: called with each event.
        :param last_id: the id of an event that was read earlier; the stream then begins with all later ones.
        :param topics: which are watched, 32 at most: the events ``offer`` and ``gone`` say what appears and ends there.
        :returns: a service that has not been started.
        """
        return EventStream(
            self._exchanges, self._reactor, identity, on_event, last_id=last_id, topics=topics, random=self._random
        )

    async def _register(self, attempts: int, token: str | None) -> Identity:
        failures, headers = 0, bearing(token)
        while True:
            try:
                fields = await self._exchanges.call(Request("POST", "/register", headers=headers))
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

    def _own(self, path: str, identity: Identity) -> Deferred[None]:
        """:returns: fires when the server has done something with a client of ours."""

        def check(fields: Fields) -> None:
            if fields.text("client_id") != identity.client_id.lower():
                raise fields.wrong("client_id")

        return self._exchanges.ask(Request("POST", path, identity), check)


def _peer_address(fields: Fields) -> PeerAddress:
    return PeerAddress(fields.host("host"), fields.port("port"), fields.number("timestamp"))


def _peer_status(fields: Fields) -> PeerStatus:
    try:
        status = Status(fields.text("status"))
    except ValueError:
        raise fields.wrong("status") from None
    return PeerStatus(status, fields.number_or_none("last_online"))


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


def _peer_path(peer_id: str) -> str:
    return f"/peer/{segment(peer_id)}/udp"
