"""
A relayed address at a TURN server (RFC 8656): all transports are tried together, and the first that works is kept.

:mod:`rendezvous.client.relay.allocation` has the rules of an allocation, :mod:`rendezvous.client.relay.requests` those
of requests, :mod:`rendezvous.client.relay.carriers` the sockets. The clock and the name resolver are the reactor's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random, SystemRandom
from typing import Any, Final

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from rendezvous.client._callbacks import call_back
from rendezvous.client.errors import ClientError
from rendezvous.client.ice import IceServer
from rendezvous.client.relay.allocation import MAX_DATAGRAM
from rendezvous.client.relay.link import Link
from rendezvous.client.relay.requests import TurnFailed
from rendezvous.client.relay.servers import Transport, TurnServer, turn_servers
from rendezvous.core.addresses import Address

__all__ = ["ALLOCATE_TIME", "HEAD_START", "MAX_DATAGRAM", "Relay", "RelayUnavailable"]

HEAD_START = 0.2
"""Seconds that UDP has before TCP and TLS are tried too: they are slower whenever a packet is lost."""

ALLOCATE_TIME = 10.0
"""Seconds to wait for a relayed address."""

_SYSTEM_RANDOM: Final = SystemRandom()


class RelayUnavailable(ClientError):
    """No TURN server gives a relayed address; the message has the reason of each server."""

    happened = "there is no TURN server"


class Relay:
    """
    A relayed address: what peers send to it comes to us, and what we send comes to them from it.

    It is used once: after it was lost, make another one, with new credentials. The TURN server keeps the address for
    at most 10 minutes if it is not closed.

    :param ice_servers: those that the server names, from :attr:`IceServers.servers` or :attr:`Attempt.ice_servers`.
        Those that are no TURN servers are left out.
    :param reactor: provides ``IReactorTime``, ``IReactorUDP``, ``IReactorTCP`` and ``IReactorPluggableNameResolver``.
    :param on_datagram: called with the bytes and the source of each datagram from a peer that :meth:`permit` or
        :meth:`send` has named. An exception that it raises is logged.
    :param on_lost: called at most once, after the address was there, with the reason why it is not any more.
    :param random: draws transaction ids and the jitter.
    :param udp_blocked: whether it is known that no UDP gets through, so that TCP and TLS are tried at once.
    :param trust_root: the authorities whose certificates are taken for TLS, as
        :func:`twisted.internet.ssl.trustRootFromCertificates` gives them; ``None`` for those of the system.
    """

    _log = Logger()

    def __init__(
        self,
        ice_servers: Iterable[IceServer],
        reactor: Any,
        *,
        on_datagram: Callable[[bytes, Address], object],
        on_lost: Callable[[str], object],
        random: Random = _SYSTEM_RANDOM,
        udp_blocked: bool = False,
        trust_root: Any = None,
    ) -> None:
        self._servers = turn_servers(ice_servers)
        self._reactor, self._random, self._trust_root = reactor, random, trust_root
        self._head_start = 0.0 if udp_blocked else HEAD_START
        self._on_datagram, self._on_lost = on_datagram, on_lost
        self._result: Deferred[Address] | None = None
        self._later: list[TurnServer] = []
        self._opening: dict[Link, Deferred[Link]] = {}
        self._closing: set[Deferred[None]] = set()
        self._timers: list[IDelayedCall] = []
        self._reasons: list[str] = []
        self._link: Link | None = None

    @property
    def relayed_address(self) -> Address | None:
        """The host and the port that peers send to; ``None`` while there is none."""
        return None if self._link is None else self._link.relayed

    @property
    def server(self) -> TurnServer | None:
        """The TURN server that is used, with its transport; ``None`` while there is none."""
        return None if self._link is None else self._link.server

    def allocate(self) -> Deferred[Address]:
        """
        Get a relayed address. Call it once.

        :returns: fires with the address; fails with :exc:`RelayUnavailable`, at the latest after
            :data:`ALLOCATE_TIME`. It can be cancelled.
        :raises RuntimeError: when it was called before.
        """
        if self._result is not None:
            raise RuntimeError("a relay allocates once")
        result: Deferred[Address] = Deferred(lambda _: self._stop())
        self._result = result
        if not self._servers:
            result.errback(RelayUnavailable())
            return result
        self._timers.append(self._reactor.callLater(ALLOCATE_TIME, self._give_up))
        self._later = [server for server in self._servers if server.transport is not Transport.UDP]
        for server in self._servers:
            if server.transport is Transport.UDP:
                self._try(server)
        if self._opening and self._head_start:
            self._timers.append(self._reactor.callLater(self._head_start, self._try_later))
        else:
            self._try_later()
        return result

    def permit(self, host: str) -> None:
        """
        Let a peer send to us before we have sent to it. At most 64 hosts are permitted; the oldest gives way.

        :param host: an IP address. One of the other family than the relayed address is passed over.
        """
        if self._link is not None:
            self._link.permit(host)

    def send(self, datagram: bytes, address: Address) -> None:
        """
        Send to a peer, from the relayed address.

        A datagram that cannot be sent is dropped, as a network does it: one that is longer than :data:`MAX_DATAGRAM`,
        one for a host that the TURN server refuses, and over TCP one for which there is no room.

        :param address: an IP address and a port.
        """
        if self._link is not None:
            self._link.send(datagram, address)

    def close(self) -> Deferred[None]:
        """
        Give the address back. A Deferred of :meth:`allocate` fails with ``CancelledError``.

        :returns: fires when the TURN server has confirmed it, or after a second.
        """
        if self._result is not None and not self._result.called:
            self._result.cancel()
        link, self._link = self._link, None
        if link is not None:
            self._close(link)
        return gatherResults(list(self._closing)).addCallback(lambda _: None)

    def _try(self, server: TurnServer) -> None:
        link = Link(
            self._reactor,
            server,
            random=self._random,
            trust_root=self._trust_root,
            on_datagram=self._received,
            on_lost=self._lost,
        )
        self._opening[link] = opening = link.open()
        opening.addCallbacks(self._won, self._failed, errbackArgs=(link,))
        opening.addErrback(lambda failure: self._log.failure("The TURN servers cannot be tried", failure=failure))

    def _try_later(self) -> None:
        """Try TCP and TLS."""
        servers, self._later = self._later, []
        for server in servers:
            self._try(server)

    def _won(self, link: Link) -> None:
        result = self._result
        if link not in self._opening or result is None or link.relayed is None:
            return
        del self._opening[link]
        self._link = link
        self._stop()
        result.callback(link.relayed)

    def _failed(self, failure: Failure, link: Link) -> None:
        if self._opening.pop(link, None) is None:
            return  # It was cancelled.
        self._close(link)
        if not failure.check(TurnFailed, ConnectError, DNSLookupError, OSError, ValueError):
            self._log.failure("Unexpected error of the TURN server {server}", failure=failure, server=link.server)
        self._reasons.append(f"{link.server}: {failure.getErrorMessage()}")
        if not self._opening:
            self._try_later()
        if not self._opening and not self._later:
            self._give_up()

    def _give_up(self) -> None:
        result = self._result
        self._reasons += [f"{link.server}: no answer in time" for link in self._opening]
        self._stop()
        if result is not None and not result.called:
            result.errback(RelayUnavailable(f"no TURN server gives an address ({'; '.join(self._reasons)})"))

    def _stop(self) -> None:
        """Try no server any more."""
        self._later = []
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        opening, self._opening = self._opening, {}
        for link, deferred in opening.items():
            deferred.cancel()
            self._close(link)

    def _close(self, link: Link) -> None:
        closing = link.close()
        self._closing.add(closing)
        closing.addErrback(lambda failure: self._log.failure("A relayed address was not released", failure=failure))
        closing.addBoth(lambda _: self._closing.discard(closing))

    def _received(self, datagram: bytes, source: Address) -> None:
        call_back(self._on_datagram, datagram, source)

    def _lost(self, reason: str) -> None:
        if self._link is not None:
            self._link = None
            call_back(self._on_lost, reason)
