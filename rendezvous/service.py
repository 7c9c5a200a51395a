"""
Composes a server from settings and a reactor: to be run as it is, or to be taken apart by somebody else's application.

Importing this imports Klein, which installs the default reactor; ``twistd`` does so only once it knows its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger
from twisted.web.server import Site

from rendezvous.certificates import Certificate
from rendezvous.clock import ServerClock, WorkingTime, wall_clock
from rendezvous.core.attempts.attempt import Facilities
from rendezvous.core.ice import Turn
from rendezvous.core.identity import Keyring
from rendezvous.core.presence.flat import flat_memory
from rendezvous.core.presence.presence import Presence
from rendezvous.core.protocols import Protocol
from rendezvous.core.ratelimit import RateLimit
from rendezvous.counters import Counters, Report
from rendezvous.errors import StartupError, Unavailable
from rendezvous.interfaces import IStore
from rendezvous.inviting import Inviting
from rendezvous.operator.delay import ReactorDelay
from rendezvous.operator.metrics import Metrics
from rendezvous.operator.page import PUBLIC
from rendezvous.operator.parts import Parts, Reloaded
from rendezvous.operator.service import OperatorService
from rendezvous.operator.site import admin_site
from rendezvous.operator.token import Token, load_token
from rendezvous.registrationtokens import load_registration_tokens
from rendezvous.relays import Resolving, load_turn
from rendezvous.secret import has_changed, load_secrets
from rendezvous.settings import Settings, compare, in_force
from rendezvous.storage.journal import RunBlocking
from rendezvous.storage.registry import make_store
from rendezvous.storage.thread import StoreThread
from rendezvous.sweep import SWEEPS, Sweep, sweep_service
from rendezvous.udp.protocol import RendezvousDatagrams
from rendezvous.udp.shared import Datagrams
from rendezvous.udp.sharing import shared_memory
from rendezvous.udp.signed import ClientDatagrams
from rendezvous.udp.workers import Workers
from rendezvous.web.root import RootResource
from rendezvous.web.route import Route
from rendezvous.webside import WebSide
from rendezvous.wire.tracker import Dialect

__all__ = ["Rendezvous"]


class Rendezvous(MultiService):
    """
    The server without its ports: its state, and the sweep that frees what has expired.

    Make it a child of your application, and put its parts where you like: its resource below a path of your site, its
    datagram protocol on a port of yours. :func:`rendezvous.server.make_service` adds ports of its own. While it is not
    running, requests that need its state are answered 503, and pulses are dropped. It can be stopped and started again.

    :param settings: the settings; those about ports are not used here.
    :param reactor: runs timers and threads.
    :param random: gives that many random bytes; the operating system's, unless this is a test.
    :param environ: where ``RENDEZVOUS_SECRET`` may be.
    :param run_blocking: calls what blocks, one call at a time; in a thread of its own, unless this is a test.
    :param monotonic: seconds on a clock that only goes forward; a test gives its reactor's.
    :param wall: seconds since the epoch; a test gives its reactor's.
    :param working: for how long the reactor has worked; a test gives its reactor's time.
    :ivar clock: server time.
    :ivar counters: what the server counts, for reports.
    :ivar turn: the TURN servers, if there are any; a reload replaces them.
    :ivar settings: those in use; a reload replaces them.
    :ivar read_again: gives the settings that an operator who asks for a reload wants; by default the present ones.
    :ivar web: the HTTP side.
    :ivar certificates: those that a reload reads again; add your own if your application listens with them.
    :raises StartupError: the secret's file cannot be used, or the store's directory is missing.
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
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = wall_clock,
        working: WorkingTime | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self._clients_at_start = settings.max_clients
        self._reactor = reactor
        self._random = random
        self.clock = ServerClock(reactor, monotonic, wall)
        self.certificates: list[Certificate] = []
        self.read_again: Callable[[], Settings] = lambda: self.settings
        self._stops = DeferredLock()
        self._thread = StoreThread(reactor)
        self._run_blocking = self._thread.call if run_blocking is None else run_blocking
        self._environ = environ
        _check_directory(settings.store_path)
        self._secrets = load_secrets(settings.secret_path, random, environ)
        turn = load_turn(settings)
        self.store = self._make_store(Keyring(self._secrets), random)
        self.counters = Counters(self.clock.seconds)
        self._datagrams = self._make_datagrams()
        self._workers: Workers | None = None
        self._admin_token: Token | None = None
        self.web = WebSide(settings, reactor, self.store, self.clock, self.counters, random, working, self)
        self.store.bans.on_network = self._network_banned
        self._datagrams.run(False)
        self._relay_hosts: frozenset[str] = frozenset()
        self._resolving = Resolving(reactor, self._use_relays)
        self._use_turn(turn)
        self._connect(random)
        self._delay = ReactorDelay(reactor)
        self._delay.setServiceParent(self)
        slices = self.counters.durations(SWEEPS)[""]
        sweep_service(Sweep(self.store, self.clock, Report(self.counters), slices), self.clock).setServiceParent(self)

    def _make_datagrams(self) -> Datagrams:
        is_on = frozenset(Protocol).difference(self.settings.without)
        limit, notices = (RateLimit(*_udp_rate(self.settings)) for _ in range(2))
        return Datagrams(self.store, self.clock, limit, is_on, self.counters, notices=notices)

    def _connect(self, random: Callable[[int], bytes]) -> None:
        """Let clients connect to each other, unless that is turned off."""
        is_on = Protocol.CONNECT not in self.settings.without
        sends = ClientDatagrams(self._datagrams) if is_on else None
        Inviting(self.store, self.clock, sends, self.counters, self._facilities, random).setServiceParent(self)
        if is_on:
            self._datagrams.attempts = self.store
            self._resolving.setServiceParent(self)

    def _use_turn(self, turn: Turn | None) -> None:
        self.turn = turn
        self._resolving.serve(() if turn is None else turn.uris)

    def _facilities(self) -> Facilities:
        """:returns: what there is for clients that connect, as it is now."""
        return Facilities(min(2, len(self._datagrams.ports)), self.turn is not None, self._relay_hosts)

    def _use_relays(self, hosts: frozenset[str]) -> None:
        self._relay_hosts = hosts

    def _make_store(self, keyring: Keyring, random: Callable[[int], bytes]) -> IStore:
        settings = self.settings
        parts: dict[str, Any] = {
            "keyring": keyring,
            "random": random,
            "timers": settings.timers,
            "bounds": settings.bounds,
            "logout_memory": settings.logout_memory,
            "limits": settings.signaling_limits,
            "tracker_lifetime": settings.tracker_lifetime,
            "wall": self.clock.to_wall,
            "flat": shared_memory if settings.udp_workers else flat_memory,
        }
        return make_store(settings.store, self._run_blocking, self._reactor.callLater, self._reactor.seconds, **parts)

    def resource(self) -> RootResource:
        """:returns: the whole HTTP side, to be put below any path."""
        return self.web.resource()

    def site(self) -> Site:
        """:returns: the whole HTTP side, for a port of its own: it also refuses long bodies before it reads them."""
        return self.web.site()

    def routes(self) -> list[Route]:
        """:returns: the table of routes of the protocols that are on."""
        return self.web.routes()

    def metrics(self) -> Metrics:
        """:returns: what Prometheus reads of this server."""
        return Metrics(self._parts())

    def admin_site(self) -> Site:
        """
        :returns: what operators use, for a port of its own.
        :raises StartupError: the file of the operators' token cannot be used.
        """
        token = self._admin_token = load_token(self.settings.admin_token_path, self._random)
        service = OperatorService(self._parts())
        service.setServiceParent(self)
        working = self.web.gate.working
        return admin_site(service.routes(), token, self._reactor, self.clock.wall, self._random, working, PUBLIC)

    def _parts(self) -> Parts:
        """:returns: what operators read and steer."""
        return Parts(
            store=self.store,
            queries=self.store.queries,
            clock=self.clock,
            gate=self.web.gate,
            sockets=self.web.sockets.sockets,
            counters=self.counters,
            sites=self.web.sites,
            certificates=self.certificates,
            routes=self.routes(),
            served=self._datagrams.served,
            delay=self._delay,
            has_relay=lambda: self.turn is not None,
            settings=lambda: in_force(self.settings),
            reload=lambda: self.reload(self.read_again()),
        )

    def datagrams(self, dialect: Dialect = Dialect.DOCUMENTED) -> RendezvousDatagrams:
        """
        :param dialect: which of the tracker's dialects it speaks.
        :returns: a protocol for one UDP port.
        """
        return RendezvousDatagrams(self._datagrams, dialect)

    def workers(self) -> Workers | None:
        """
        Make the processes that share UDP ports, as many as the settings say. They run when the server does.

        :returns: what ports are added to; ``None`` if there are none.
        :raises StartupError: the store has no memory that can be shared.
        """
        count, live = self.settings.udp_workers, self.store.live
        if not count:
            return None
        if not isinstance(live, Presence):
            raise StartupError(f"--udp-workers cannot be used with the store {self.settings.store}")
        workers = Workers(
            count, self._reactor, self.clock, live, self.counters, self._datagrams.served, self._workers_may_answer
        )
        workers.setServiceParent(self)
        self._workers = workers
        return workers

    def _workers_may_answer(self) -> bool:
        # Workers do not know the bans.
        return self._datagrams.is_on(Protocol.RENDEZVOUS) and not self.store.bans.has_networks

    def _network_banned(self) -> None:
        if self._workers is not None:
            self._workers.withdraw()
        self.web.enforce_bans()

    def reload(self, settings: Settings) -> Reloaded:
        """
        Take over what can change while the server runs, and read certificates again; no connection is closed.

        What cannot change stays as it is, with one line in the log for each such setting.

        :param settings: the new settings, all of them.
        :returns: what has changed and what could not, and how many certificates were read.
        :raises StartupError: a certificate or a file (of the TURN secret, of registration tokens, of the operators'
            token) cannot be used, or the new settings contradict those that stay. Nothing has changed then.
        """
        compared = compare(self.settings, settings, self._clients_at_start)
        certificates = [(certificate, certificate.read_again()) for certificate in self.certificates]
        turn = load_turn(compared.settings)
        tokens = load_registration_tokens(compared.settings.registration_token_file)
        admin_token = None
        if self._admin_token is not None:
            admin_token = load_token(self._admin_token.path, self._random)
        # Nothing below fails.
        for certificate, options in certificates:
            certificate.use(options)
        self._change(compared.settings)
        self._use_turn(turn)
        self.web.gate.admission.tokens = tokens
        if self._admin_token is not None and admin_token is not None and self._admin_token.replace(admin_token):
            compared.changed.append("the operators' token")
        secret_path = self.settings.secret_path
        if has_changed(secret_path, self._environ, self._secrets):
            compared.refused.append(f"the secret in {secret_path}")
        for refused in compared.refused:
            self.log.warn(
                "not reloaded: {setting}; only a restart can change this", setting=refused, event="setting_not_reloaded"
            )
        self.log.info(
            "reloaded: {changed}; certificates read again: {certificates}",
            changed=", ".join(compared.changed) or "no setting has changed",
            certificates=len(certificates),
            event="reloaded",
        )
        return Reloaded(compared.changed, compared.refused, len(certificates))

    def _change(self, settings: Settings) -> None:
        self.settings = settings
        for limit in (self._datagrams.limit, self._datagrams.notices):
            limit.change(*_udp_rate(settings))
        self.web.change(settings)
        self.store.change(settings.bounds)

    def startService(self) -> None:
        """
        Read back what was kept, and begin to sweep. If it runs already, nothing happens.

        It is done here and not with the rights that ports may need, so that the files belong to the user that the
        server runs as. Ports are open by then, but nothing is answered before this returns.

        :raises StartupError: the store cannot be used.
        :raises RuntimeError: the server is still stopping.
        """
        if self._stops.locked:
            raise RuntimeError("The server is still stopping: wait for the Deferred that stopService has returned.")
        if self._is_open:
            return
        self.clock.start(self.store.open(self.clock.wall()))
        self._is_open = True
        self._datagrams.run(True)
        self.web.sockets.begin()
        self._thread.start()
        path = self.settings.store_path
        self.log.info(
            "state is kept in {store}",
            store="memory only" if path is None else os.path.abspath(path),
            event="store_chosen",
        )
        super().startService()

    def stopService(self) -> Deferred[None]:
        """
        Stop the sweep, then let the store keep what it has.

        :returns: fires when nothing of the server is left. It can be called at any time, and more than once.
        """
        sockets = self.web.end()
        children = super().stopService()
        return self._stops.run(lambda: Deferred.fromCoroutine(self._stop(children, sockets)))

    async def _stop(self, children: Deferred[object], sockets: Deferred[None]) -> None:
        await children
        # Over TLS, what is sent last is handed over only in the next turn of the reactor.
        await sockets
        if not self._is_open:
            return
        self._is_open = False
        self._datagrams.run(False)
        try:
            await self.store.close(self.clock.seconds())
        finally:
            self._thread.stop()

    def udp_ports(self) -> Sequence[int]:
        """:returns: the UDP ports that are open."""
        return self._datagrams.ports

    def check_running(self) -> None:
        """:raises Unavailable: the server is not running, so its state cannot be used."""
        if not self._is_open or self._stops.locked:
            raise Unavailable("The server is not running: it has not been started, or it has been stopped.")


def _udp_rate(settings: Settings) -> tuple[float, float]:
    """:returns: the rate and the burst of answers to one source."""
    return settings.udp_answers, max(1, round(2 * settings.udp_answers))


def _check_directory(path: str | None) -> None:
    """:raises StartupError: the store has no directory; the secret is beside it, and would be missed first."""
    directory = os.path.dirname(path or "")
    if directory and not os.path.isdir(directory):
        raise StartupError(f"the store {path!r} cannot be used: there is no directory {directory!r}")
