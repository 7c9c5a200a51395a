"""
Composes a server from settings and a reactor: to be run as it is, or to be taken apart by somebody else's application.

Importing this imports Klein, which installs the default reactor; ``twistd`` does so only once it knows its own.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from twisted.web.server import Site

from rendezvous.core.identity import Keyring
from rendezvous.core.protocols import Protocol
from rendezvous.core.ratelimit import RateLimit
from rendezvous.counters import Counters, Report
from rendezvous.errors import StartupError
from rendezvous.interfaces import IStore
from rendezvous.limits import MAX_BODY
from rendezvous.secret import load_secrets
from rendezvous.settings import Settings
from rendezvous.storage.journal import RunBlocking
from rendezvous.storage.registry import make_store
from rendezvous.sweep import Sweep, sweep_service
from rendezvous.udp.port import listen_datagrams
from rendezvous.udp.protocol import Datagrams, RendezvousDatagrams
from rendezvous.web.api import all_routes, router
from rendezvous.web.cors import Cors
from rendezvous.web.site import RendezvousSite, RootResource
from rendezvous.wire.tracker import Dialect

__all__ = ["Rendezvous", "make_service"]


class Rendezvous(MultiService):
    """
    The server without its ports: what it knows, and the sweep that forgets.

    Make it a child of your application, and put what it gives where you like: its resource below a path of your site,
    its datagram protocol on a port of yours. :func:`make_service` adds ports of its own.

    :param settings: what the operator said; those about ports are not looked at here.
    :param reactor: the clock.
    :param random: gives that many random bytes; the operating system's, unless this is a test.
    :param environ: where ``RENDEZVOUS_SECRET`` may be.
    :param run_blocking: calls what blocks, one call at a time; in a thread of its own, unless this is a test.
    :ivar counters: what the server counts, for whoever reports it.
    :raises StartupError: the secret's file cannot be used.
    """

    log = Logger()
    _is_open = False

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        *,
        random: Callable[[int], bytes] = os.urandom,
        environ: Mapping[str, str] = os.environ,
        run_blocking: RunBlocking | None = None,
    ) -> None:
        super().__init__()
        self._settings = settings
        self._reactor = reactor
        self._thread: ThreadPool | None = None
        if run_blocking is None:
            self._thread = ThreadPool(1, 1, "store")
            # A process that ends without stopping its services must not wait for this thread for ever.
            self._thread.threadFactory = partial(threading.Thread, daemon=True)  # type: ignore[assignment]
            run_blocking = partial(deferToThreadPool, reactor, self._thread)
        self._run_blocking = run_blocking
        self.store = self._make_store(Keyring(load_secrets(settings.secret_path, random, environ)), random)
        self.counters = Counters()
        self._datagrams = Datagrams(
            self.store,
            reactor,
            RateLimit(settings.udp_rate, max(1, round(2 * settings.udp_rate))),
            frozenset(Protocol).difference(settings.without),
            self.counters,
        )
        sweep_service(Sweep(self.store, reactor, Report(self.counters)), reactor).setServiceParent(self)

    def _make_store(self, keyring: Keyring, random: Callable[[int], bytes]) -> IStore:
        settings = self._settings
        parts: dict[str, Any] = {
            "keyring": keyring,
            "random": random,
            "timers": settings.timers,
            "max_clients": settings.max_clients,
            "logout_memory": settings.logout_memory,
            "limits": settings.signaling_limits,
            "max_offers": settings.max_offers,
            "tracker_lifetime": settings.tracker_lifetime,
            "max_tracker_peers": settings.max_tracker_peers,
        }
        return make_store(settings.store, self._run_blocking, **parts)

    def resource(self) -> RootResource:
        """:returns: the whole HTTP side, to be put below any path."""
        return RootResource(
            router(all_routes(self.store, self._reactor, self._settings.without)),
            MAX_BODY,
            Cors(self._settings.cors_origin),
        )

    def site(self) -> Site:
        """:returns: the whole HTTP side, for a port of its own: it also refuses long bodies before it reads them."""
        return RendezvousSite(self.resource(), self._reactor)

    def datagrams(self, dialect: Dialect = Dialect.DOCUMENTED) -> DatagramProtocol:
        """
        :param dialect: which of the tracker's dialects it speaks.
        :returns: a protocol for one UDP port.
        """
        return RendezvousDatagrams(self._datagrams, dialect)

    def startService(self) -> None:
        """
        Read back what was kept, and begin to sweep.

        It is done here and not with the rights that ports may need, so that the files belong to whoever the server runs
        as. Ports are open by then, but nothing is answered before this returns.
        """
        self.store.open(self._reactor.seconds())
        self._is_open = True
        if self._thread is not None:
            self._thread.start()
        super().startService()

    def stopService(self) -> Deferred[None]:
        """Stop the sweep, then let the store keep what it has."""
        return Deferred.fromCoroutine(self._stop(super().stopService()))

    async def _stop(self, children: Deferred[object]) -> None:
        await children
        if self._is_open:
            self._is_open = False
            await self.store.close(self._reactor.seconds())
            if self._thread is not None:
                self._thread.stop()


class Listening(Service):
    """
    One listening port, for as long as the service runs.

    :param listen: opens the port.
    :param what: how the log calls it.
    :param reactor: what runs it.
    """

    log = Logger()
    _opening: Deferred[Any] | None = None

    def __init__(self, listen: Callable[[], Any], what: str, reactor: Any) -> None:
        self._listen = listen
        self._what = what
        self._reactor = reactor

    def privilegedStartService(self) -> None:
        """
        Listen, with the rights that a low port needs.

        Some endpoints take their time; what goes wrong with one after this has returned is logged.

        :raises CannotListenError: the port is taken, or not ours to take.
        """
        failures: list[Failure] = []
        late = False

        def failed(failure: Failure) -> None:
            if late and not failure.check(CancelledError):
                self.log.failure("{what} cannot listen", failure, what=self._what)
            failures.append(failure)

        self._opening = maybeDeferred(self._listen).addCallbacks(self._listening, failed)
        if failures:
            self._opening = None
            failures[0].raiseException()
        late = True

    def startService(self) -> None:
        """Listen, if that was not done yet."""
        super().startService()
        if self._opening is None:
            self.privilegedStartService()

    def stopService(self) -> Deferred[None]:
        """Close the port, or stop waiting for it."""
        super().stopService()
        opening, self._opening = self._opening, None
        if opening is None:
            return succeed(None)
        opening.cancel()
        return opening.addCallback(lambda port: None if port is None else port.stopListening())

    def _listening(self, port: IListeningPort) -> IListeningPort:
        # Said once the reactor runs: whoever reads it may send a signal at once, and only then is that a clean stop.
        self._reactor.callWhenRunning(self._say, port)
        return port

    def _say(self, port: IListeningPort) -> None:
        self.log.info("{what} on {address}", what=self._what, address=_plain(port.getHost()))


def make_service(settings: Settings, reactor: Any, **parts: Any) -> MultiService:
    """
    Make the server that ``twistd rendezvous`` runs.

    :param parts: passed on to :class:`Rendezvous`.
    :returns: a service that holds the :class:`Rendezvous` and a service for each port, in the order they start in.
    :raises StartupError: a setting cannot be used.
    """
    service = MultiService()
    rendezvous = Rendezvous(settings, reactor, **parts)
    rendezvous.setServiceParent(service)
    for listen in _http_ports(settings, reactor, rendezvous.site()):
        Listening(listen, "HTTP", reactor).setServiceParent(service)
    for port in settings.udp_port:
        listen_udp = partial(listen_datagrams, reactor, port.number, rendezvous.datagrams(port.dialect))
        Listening(partial(_everywhere, settings, listen_udp), "UDP", reactor).setServiceParent(service)
    return service


def _http_ports(settings: Settings, reactor: Any, site: Site) -> Iterator[Callable[[], Any]]:
    if not settings.http:
        yield partial(_everywhere, settings, partial(reactor.listenTCP, settings.http_port, site))
    for description in settings.http:
        try:
            endpoint = serverFromString(reactor, description)
        except Exception as e:  # Each kind of endpoint raises what it likes.
            raise StartupError(f"--http {description!r} is not a usable endpoint: {e}") from None
        yield partial(endpoint.listen, site)


def _everywhere(settings: Settings, listen: Callable[..., IListeningPort]) -> IListeningPort:
    """Listen where the settings say, or else on every address, IPv6 and IPv4 with one socket."""
    if settings.interface:
        return listen(interface=settings.interface)
    try:
        return listen(interface="::")
    except CannotListenError as e:
        if getattr(e.socketError, "errno", None) not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
        return listen(interface="0.0.0.0")  # noqa: S104 - the machine has no IPv6, and a server is for everyone


def _plain(address: Any) -> str:
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        return str(address)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
