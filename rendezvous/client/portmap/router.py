"""One router, the mappings that it is asked for, and the socket for that."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2s
from math import inf
from typing import Any

from attrs import field, frozen

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.logger import Logger

from rendezvous.client._callbacks import call_back
from rendezvous.client._datagrams import Datagrams
from rendezvous.client._timer import Timer
from rendezvous.client.network.gateway import Gateway
from rendezvous.client.portmap.lease import Epoch, External, Lease, Removal
from rendezvous.client.portmap.report import Findings, GatewayReport
from rendezvous.errors import WireError
from rendezvous.wire.portmap import (
    NONCE_SIZE,
    PORT,
    Protocol,
    Refusal,
    Reply,
    decode_reply,
    encode_address_request,
    encode_announce_request,
)

__all__ = ["BUDGET", "CHECK_TIME", "PortMapping", "Router"]

BUDGET = 0.25
"""Seconds after which the result of a request for a mapping is given at the latest."""
CHECK_TIME = 60.0
"""Seconds between two questions to a router that has mappings of ours: whether it has restarted or moved."""
RESTORE_PAUSE = 10.0
"""Seconds between two times that all mappings are asked for again, however often the epoch of the router jumps."""

_log = Logger()


@frozen(eq=False)
class PortMapping:
    """
    A port of this host that can be reached from outside.

    :ivar local_port: the UDP port of this host.
    :ivar host: the external address of the router; of an IPv6 pinhole, the address of this host.
    :ivar port: the external port.
    :ivar protocol: how it was made: ``pcp`` or ``nat-pmp``.
    """

    local_port: int
    host: str
    port: int
    protocol: str
    _release: Callable[[], Deferred[None]] = field(repr=False)

    def release(self) -> Deferred[None]:
        """
        Remove the mapping.

        :returns: fires when the router has confirmed it, and after a second at the latest.
        """
        return self._release()


class _Request:
    """
    A mapping that the application has asked for.

    :ivar lease: ``None`` while there is no router.
    :ivar shown: what the application knows.
    :ivar result: the Deferred that is to be fired, ``None`` when that is done.
    """

    def __init__(self, local_port: int, on_change: Callable[[PortMapping | None], None]) -> None:
        self.local_port = local_port
        self.on_change = on_change
        self.lease: Lease | None = None
        self.shown: External | None = None
        self.result: Deferred[PortMapping | None] | None = None
        self.deadline: IDelayedCall | None = None


class Router:
    """
    The next router of one address family. Its socket is open while something is asked of it.

    :param find: finds the router.
    :param secret: 32 random bytes.
    :param draw: draws a random number between -0.1 and 0.1.
    """

    def __init__(
        self,
        reactor: Any,
        find: Callable[[], Gateway | None],
        secret: bytes,
        draw: Callable[[], float],
    ) -> None:
        self._reactor = reactor
        self._find = find
        self._secret = secret
        self._draw = draw
        self._requests: dict[int, _Request] = {}
        self._removals: dict[Removal, Deferred[None]] = {}
        self._gateway: Gateway | None = None
        self._port: IListeningPort | None = None
        self._protocol: Datagrams | None = None
        self._timer = Timer(reactor, self._run)
        self._check_at = self._restored_at = -inf
        self._epochs: dict[Protocol, Epoch] = {}
        self._findings = Findings()
        self._closed: Deferred[None] = succeed(None)

    def map(self, local_port: int, on_change: Callable[[PortMapping | None], None]) -> Deferred[PortMapping | None]:
        """See :meth:`rendezvous.client.portmap.mapper.PortMapper.map`."""
        # The removal of an earlier mapping must not remove this one.
        self._drop([removal for removal in self._removals if removal.local_port == local_port])
        if local_port in self._requests:
            raise ValueError(f"the port {local_port} is mapped already")
        request = self._requests[local_port] = _Request(local_port, on_change)
        self._open()
        if self._port is None:
            return succeed(None)
        self._lease(request)
        result: Deferred[PortMapping | None] = Deferred(lambda _: self._cancel(request))
        request.result = result
        request.deadline = self._reactor.callLater(BUDGET, self._answer, request)
        self._run()
        return result

    def release(self, local_port: int) -> Deferred[None]:
        """See :meth:`rendezvous.client.portmap.mapper.PortMapper.release`."""
        request = self._requests.get(local_port)
        return succeed(None) if request is None else self._release(request)

    def network_changed(self) -> None:
        """See :meth:`rendezvous.client.portmap.mapper.PortMapper.network_changed`."""
        if not self._requests:
            return
        now = self._reactor.seconds()
        is_same = self._port is not None and self._find() == self._gateway
        if not is_same:
            self._close()
            self._drop(list(self._removals))
            self._open()
        for request in list(self._requests.values()):
            if is_same and request.lease is not None and request.lease.external is not None:
                # It may be another router with the same address.
                request.lease.restore(now)
            else:
                request.lease = None
                self._lease(request)
        self._run()

    def report(self) -> GatewayReport:
        """:returns: what is known about the router."""
        return self._findings.report(self._gateway)

    def stop(self) -> Deferred[None]:
        """:returns: fires when all mappings are removed and the socket is closed."""
        released = DeferredList([self._release(request) for request in list(self._requests.values())])
        return released.addCallback(lambda _: self._close())

    def _open(self) -> None:
        """Find the router and open a socket towards it, if that has not been done."""
        if self._port is not None:
            return
        gateway = self._find()
        if gateway != self._gateway:
            self._gateway, self._findings = gateway, Findings()
        self._epochs.clear()
        if gateway is None:
            return
        protocol = Datagrams(self._received)
        try:
            self._port = self._reactor.listenUDP(0, protocol, interface=gateway.source)
        except CannotListenError:  # The address has just gone.
            return
        self._protocol = protocol
        self._check_at = self._reactor.seconds() + CHECK_TIME

    def _close(self) -> Deferred[None]:
        port, self._port, self._protocol = self._port, None, None
        self._timer.cancel()
        if port is not None:
            closed: Deferred[Any] = maybeDeferred(port.stopListening)
            self._closed = closed.addCallback(lambda _: None)
        return self._closed

    def _lease(self, request: _Request) -> None:
        if self._port is not None and self._gateway is not None:
            now = self._reactor.seconds()
            host, source = self._gateway.host, self._gateway.source
            # Each router gets a nonce of its own for all mappings (RFC 6887, section 11.2). It is the same one whenever
            # this host comes back, since the router refuses another one for a mapping that it still has.
            nonce = blake2s(host.encode(), key=self._secret, digest_size=NONCE_SIZE).digest()
            request.lease = Lease(request.local_port, source, nonce, now, draw=self._draw)

    def _cancel(self, request: _Request) -> None:
        request.result = None
        self._release(request)

    def _release(self, request: _Request) -> Deferred[None]:
        if self._requests.get(request.local_port) is not request:
            return succeed(None)  # It is released already, and the port may have another mapping.
        del self._requests[request.local_port]
        removals = [] if request.lease is None else request.lease.release(self._reactor.seconds())
        done = DeferredList([self._remove(removal) for removal in removals])
        request.lease, request.shown = None, None
        self._answer(request)
        self._run()
        return done.addCallback(lambda _: None)

    def _remove(self, removal: Removal) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self._removals[removal] = done
        return done

    def _remove_surplus(self, surplus: Removal) -> None:
        """Remove a mapping, unless it is being removed: replies come as often as a router likes."""
        of_same = [each for each in self._removals if each.local_port == surplus.local_port]
        if all(each.protocol is not surplus.protocol for each in of_same):
            self._remove(surplus)

    def _drop(self, removals: list[Removal]) -> None:
        for removal in removals:
            self._removals.pop(removal).callback(None)

    def _send(self, datagram: bytes) -> None:
        if self._protocol is not None and self._protocol.transport is not None and self._gateway is not None:
            try:
                self._protocol.transport.write(datagram, (self._gateway.host, PORT))
            except OSError as error:
                # It counts as lost. The request is repeated, and the uplink is watched elsewhere.
                _log.debug("A request for a port mapping could not be sent: {error}", error=error)

    def _received(self, datagram: bytes, source: tuple[str, int]) -> None:
        """Take a datagram. Only the router's own address and port are believed."""
        if self._gateway is None or (_bare(source[0]), source[1]) != (_bare(self._gateway.host), PORT):
            return
        try:
            reply = decode_reply(datagram)
        except WireError:
            return
        now = self._reactor.seconds()
        self._findings.take(reply)
        if not isinstance(reply, Refusal):
            self._take_epoch(reply, now)
        for removal in self._removals:
            removal.received(reply)
        for request in self._requests.values():
            if request.lease is not None:
                for surplus in request.lease.received(reply, now):
                    self._remove_surplus(surplus)
        self._run()

    def _take_epoch(self, reply: Reply, now: float) -> None:
        is_continued = self._epochs.setdefault(reply.protocol, Epoch()).is_continued(reply.epoch, now)
        if is_continued or now - self._restored_at < RESTORE_PAUSE:
            return
        self._restored_at = now
        for lease in self._leases():
            lease.restore(now)

    def _leases(self) -> list[Lease]:
        return [request.lease for request in self._requests.values() if request.lease is not None]

    def _run(self) -> None:
        """Send what is due, say when to go on, and then tell the application what has changed."""
        now = self._reactor.seconds()
        tasks: list[Lease | Removal] = [*self._leases(), *self._removals]
        for task in tasks:
            for datagram in task.due(now):
                self._send(datagram)
        self._check(now)
        removed = [self._removals.pop(removal) for removal in list(self._removals) if removal.wake == inf]
        if not self._requests and not self._removals:
            self._close()
        elif self._port is not None:  # Without a router, what follows begins with a change of the network.
            self._timer.set(min([self._check_at, *(task.wake for task in tasks)]))
        # The application may call us again here.
        for done in removed:
            done.callback(None)
        for request in list(self._requests.values()):
            self._show(request)

    def _check(self, now: float) -> None:
        """Ask each protocol that has made a mapping for its epoch, and for the external address."""
        if now < self._check_at or self._gateway is None:
            return
        self._check_at = now + CHECK_TIME
        protocols = {lease.external.protocol for lease in self._leases() if lease.external is not None}
        if Protocol.PCP in protocols:
            self._send(encode_announce_request(self._gateway.source))
        if Protocol.NAT_PMP in protocols:
            self._send(encode_address_request())

    def _show(self, request: _Request) -> None:
        lease = request.lease
        external = None if lease is None else lease.external
        if request.result is not None:
            if external is not None or lease is None or lease.is_settled:
                self._answer(request)
        elif external != request.shown:
            request.shown = external
            call_back(request.on_change, self._mapping(request))

    def _answer(self, request: _Request) -> None:
        """Give the result of a request, whatever it is by now."""
        result, request.result = request.result, None
        if request.deadline is not None and request.deadline.active():
            request.deadline.cancel()
        request.shown = None if request.lease is None else request.lease.external
        if result is not None:
            result.callback(self._mapping(request))

    def _mapping(self, request: _Request) -> PortMapping | None:
        if request.shown is None:
            return None
        host, port, protocol = request.shown.host, request.shown.port, request.shown.protocol.value
        return PortMapping(request.local_port, host, port, protocol, lambda: self._release(request))


def _bare(host: str) -> str:
    """:returns: an address without its scope, which a socket does not show in the source of a datagram."""
    return host.partition("%")[0]
