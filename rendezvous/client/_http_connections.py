"""How HTTP connections are opened: a second and a third one are tried in parallel if the first one takes long."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from twisted.web.client import URI, BrowserLikePolicyForHTTPS
from twisted.web.iweb import IAgentEndpointFactory

from rendezvous.client._timer import Timer

__all__ = ["PAUSES", "Endpoints", "HedgedEndpoint"]

PAUSES = (0.4, 0.8)
"""
Seconds after which another connection is tried, if none is there.

A system repeats the first packet of a connection after 1, 3 and 7 s, so one that is lost costs more than all else.
"""

CONNECT_TIME = 30.0
"""Seconds that a connection may take."""


@implementer(IAgentEndpointFactory)
class Endpoints:
    """
    The ways to a server, for an agent of Twisted.

    :param reactor: provides ``IReactorTime`` and ``IReactorTCP``.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._policy = BrowserLikePolicyForHTTPS()

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """:returns: the way to the server of a URI."""
        plain = HedgedEndpoint(self._reactor, HostnameEndpoint(self._reactor, uri.host, uri.port, timeout=CONNECT_TIME))
        if uri.scheme != b"https":
            return plain
        wrapped: IStreamClientEndpoint = wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), plain)
        return wrapped


@implementer(IStreamClientEndpoint)
class HedgedEndpoint:
    """
    Opens several connections if one takes long, and keeps the first that is there.

    :param reactor: provides ``IReactorTime``.
    :param endpoint: where to connect to.
    """

    def __init__(self, reactor: Any, endpoint: Any) -> None:
        self._reactor = reactor
        self._endpoint = endpoint

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """:returns: fires with the protocol of the first connection; fails when all have failed."""
        return _Race(self._reactor, self._endpoint, factory).result


class _Race:
    """Connections that are being opened."""

    def __init__(self, reactor: Any, endpoint: Any, factory: IProtocolFactory) -> None:
        self.result: Deferred[IProtocol] = Deferred(lambda _: self._stop())
        self._endpoint = endpoint
        self._factory = factory
        self._pauses = list(PAUSES)
        self._opening: list[Deferred[Any]] = []
        self._timer = Timer(reactor, self._open)
        self._over = False
        self._open()

    def _open(self) -> None:
        if self._pauses:
            self._timer.set_after(self._pauses.pop(0))
        opening: Deferred[Any] = self._endpoint.connect(self._factory)
        self._opening.append(opening)
        opening.addCallbacks(self._opened, self._failed, callbackArgs=(opening,), errbackArgs=(opening,))

    def _opened(self, protocol: Any, opening: Deferred[Any]) -> None:
        self._opening.remove(opening)
        if self._over:
            protocol.transport.abortConnection()
        else:
            self._stop()
            self.result.callback(protocol)

    def _failed(self, failure: Failure, opening: Deferred[Any]) -> None:
        self._opening.remove(opening)
        if not self._opening and not self._over:
            self._stop()
            self.result.errback(failure)

    def _stop(self) -> None:
        self._over = True
        self._timer.cancel()
        for opening in list(self._opening):
            opening.cancel()
