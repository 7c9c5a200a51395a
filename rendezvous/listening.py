"""The server's own ports: which ones, where they listen, and the errors when they cannot."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from ipaddress import ip_address
from typing import Any

import attrs
from zope.interface import provider

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError, InvalidAddressError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import ILogObserver, LogEvent, Logger
from twisted.python.failure import Failure
from twisted.web.server import Site

from rendezvous.certificates import Certificate, check_port, tls_endpoint, unusable
from rendezvous.counters import Counters
from rendezvous.errors import StartupError
from rendezvous.settings import Endpoint, Settings

__all__ = ["ACCEPT_ERRORS", "UNACCEPTED", "Listening", "Place", "admin_places", "http_places", "udp_place"]

UNACCEPTED = "unaccepted connections"
"""The family of connections that the system did not let a port accept; its reasons are the names of errors."""

#: The errors with which Twisted goes on after it could not accept a connection.
ACCEPT_ERRORS = ("ECONNABORTED", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM")

#: Connections that the kernel keeps until they are accepted: after a restart all clients come back at once.
BACKLOG = 1024

#: How an endpoint begins that certainly has no TLS.
_IN_THE_CLEAR = re.compile(r"(?i:(haproxy:)?tcp[46]?:)")


@attrs.frozen
class Place:
    """
    A port that is to be opened.

    :ivar what: what the log calls it: ``HTTP``, ``HTTPS`` or ``UDP``.
    :ivar options: the options that say where it is.
    :ivar listen: opens it; gives a port, or a Deferred of one.
    :ivar certificate: the certificate of a TLS port that can be read again, or ``None``.
    :ivar is_exposed: whether requests to it show a token in the clear, so that it should be on loopback only.
    """

    what: str
    options: str
    listen: Callable[[], Any]
    certificate: Certificate | None = None
    is_exposed: bool = False


def http_places(settings: Settings, reactor: Any, site: Site) -> Iterator[Place]:
    """
    Yield the HTTP ports.

    :raises StartupError: the description of an endpoint cannot be used.
    """
    if not settings.http:
        listen = partial(reactor.listenTCP, settings.http_port, site, backlog=BACKLOG)
        yield Place(
            "HTTP",
            _options(settings, "--http-port"),
            partial(_everywhere, settings.interface, listen),
        )
    yield from _endpoint_places(settings.http, "HTTP", reactor, site)


def admin_places(settings: Settings, reactor: Any, site: Site) -> Iterator[Place]:
    """
    Yield the ports for operators.

    :raises StartupError: the description of an endpoint cannot be used.
    """
    for place, endpoint in zip(
        _endpoint_places(settings.admin, "operators", reactor, site), settings.admin, strict=True
    ):
        yield attrs.evolve(place, is_exposed=_IN_THE_CLEAR.match(endpoint.description) is not None)


def _endpoint_places(endpoints: Sequence[Endpoint], what: str, reactor: Any, site: Site) -> Iterator[Place]:
    for wanted in endpoints:
        certificate = None
        is_tls = wanted.description.lower().startswith("ssl:")
        check_port(wanted)
        try:
            if is_tls:
                endpoint, certificate = tls_endpoint(reactor, wanted)
            else:
                endpoint = serverFromString(reactor, wanted.description)
        except Exception as e:  # Each kind of endpoint raises exceptions of its own.
            raise unusable(wanted, e) from None
        name = "HTTPS" if is_tls and what == "HTTP" else what
        yield Place(name, f"{wanted.place} {wanted}", partial(endpoint.listen, site), certificate)


def udp_place(settings: Settings, listen: Callable[..., IListeningPort]) -> Place:
    """
    :param listen: opens the port; it takes the address as ``interface``.
    :returns: a UDP port.
    """
    return Place("UDP", _options(settings, "--udp-port"), partial(_everywhere, settings.interface, listen))


def _options(settings: Settings, name: str) -> str:
    return f"{name}, --interface" if settings.interface else name


def _everywhere(interface: str, listen: Callable[..., IListeningPort]) -> IListeningPort:
    """Listen on an address, or else on every address, IPv6 and IPv4 with one socket."""
    if interface:
        return listen(interface=interface)
    try:
        return listen(interface="::")
    except CannotListenError as e:
        if getattr(e.socketError, "errno", None) not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
        return listen(interface="0.0.0.0")  # noqa: S104 - the machine has no IPv6, and a server is for everyone


class Listening(Service):
    """
    One listening port, for as long as the service runs.

    :param place: what to listen on.
    :param reactor: the reactor that runs it.
    :param counters: what the server counts.
    """

    log = Logger()
    _opening: Deferred[Any] | None = None

    def __init__(self, place: Place, reactor: Any, counters: Counters) -> None:
        self._place = place
        self._reactor = reactor
        self._counters = counters

    def privilegedStartService(self) -> None:
        """
        Listen, with the rights that a low port needs.

        Some endpoints take their time; what goes wrong with one after this has returned is logged.

        :raises StartupError: the port is in use, or the process may not open it.
        """
        failures: list[Failure] = []
        late = False

        def failed(failure: Failure) -> None:
            if late and not failure.check(CancelledError):
                self.log.failure("{what} cannot listen", failure, what=self._place.what, event="listen_failed")
            failures.append(failure)

        self._opening = maybeDeferred(self._place.listen).addCallbacks(self._listening, failed)
        if failures:
            self._opening = None
            self._refuse(failures[0])
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

    def _refuse(self, failure: Failure) -> None:
        error = failure.value
        place = self._place
        if isinstance(error, CannotListenError):
            host, port = error.interface or "any", error.port
            where = f"{_with_port(host, port)} ({place.options})"
            reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
        elif isinstance(error, (OSError, InvalidAddressError)):
            where, reason = place.options, getattr(error, "strerror", None) or str(error)
        else:
            failure.raiseException()
        raise StartupError(f"cannot listen for {place.what} on {where}: {reason}") from error

    def _listening(self, port: IListeningPort) -> IListeningPort:
        self._count_unaccepted(port)
        # It is logged once the reactor runs: a program that reads the line may send a signal at once, and only then is
        # that a clean stop.
        self._reactor.callWhenRunning(self._say, port)
        return port

    def _count_unaccepted(self, port: Any) -> None:
        """Count the connections that cannot be accepted, where Twisted would log up to three lines for each of them."""
        if not isinstance(getattr(port, "_logger", None), Logger):
            return  # No TCP port.
        counts = self._counters.family(UNACCEPTED, ACCEPT_ERRORS)

        @provider(ILogObserver)
        def count(event: LogEvent) -> None:
            if "acceptError" in event:
                counts[event["acceptError"]] += 1
            elif "address" in event:
                # No descriptor was left: Twisted has accepted the connection with a spare one, and closed it.
                counts["EMFILE"] += 1

        port._logger = Logger(port._logger.namespace, observer=count)

    def _say(self, port: IListeningPort) -> None:
        path = getattr(port, "udp_path", "")
        how = f", {path}" if path else ""
        self.log.info(
            "{what} on {address}{how}",
            what=self._place.what,
            address=_plain(port.getHost()),
            how=how,
            event="listening",
        )
        address: Any = port.getHost()
        if self._place.is_exposed and not ip_address(address.host).is_loopback:
            self.log.warn(
                "{what} on {address} without TLS: the token can be read on its way; listen on 127.0.0.1, or with ssl:",
                what=self._place.what,
                address=_plain(address),
                event="operators_exposed",
            )


def _plain(address: Any) -> str:
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    return str(address) if host is None else _with_port(host, port)


def _with_port(host: str, port: Any) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
