"""
Port mapping: the next router is asked to pass on a UDP port (PCP, RFC 6887; NAT-PMP, RFC 6886).

A host with a mapping is reached by every peer, whatever NAT the peer is behind. Many routers at home can do it, and the
question takes two small datagrams.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import SystemRandom
from secrets import token_bytes
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import deferToThreadPool

from rendezvous.client.network.gateway import Gateway, find_gateway
from rendezvous.client.portmap.report import GatewayReport
from rendezvous.client.portmap.router import BUDGET, PortMapping, Router
from rendezvous.client.portmap.upnp import Device, UpnpClient, UpnpFallback, make_device

__all__ = ["BUDGET", "GatewayReport", "PortMapper", "PortMapping"]

_uniform = SystemRandom().uniform


def _call_in_thread(reactor: Any, function: Callable[..., Any], *words: Any) -> Deferred[Any]:
    return deferToThreadPool(reactor, reactor.getThreadPool(), function, *words)


class PortMapper:
    """
    Asks the next router for mappings, renews them, and removes them at the end.

    PCP and NAT-PMP are asked at the same time. A mapping is asked for two hours and renewed after one. If the router
    has restarted, which its epoch shows, the mapping is asked for again.

    Only datagrams from the router's own address and port count.

    :param reactor: provides ``IReactorTime`` and ``IReactorUDP``; with UPnP also ``IReactorThreads``.
    :param upnp: ask for IPv4 mappings by UPnP too, if there is none of PCP or NAT-PMP. It needs the extra ``upnp``, and
        it makes this host parse XML of any device on its LAN.
    :param make_device: makes the object of miniupnpc.
    :param find: finds the next router for ``ipv6=False`` and for ``ipv6=True``.
    :param secret: 32 random bytes, from which the nonces of PCP are made; drawn by default.
    :param draw: draws a random number between two others.
    :raises ImportError: ``upnp`` is true, and miniupnpc is not installed.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        upnp: bool = False,
        make_device: Callable[[], Device] = make_device,
        find: Callable[..., Gateway | None] = find_gateway,
        secret: bytes | None = None,
        draw: Callable[[float, float], float] = _uniform,
    ) -> None:
        secret = secret or token_bytes(32)
        routers = {
            ipv6: Router(reactor, partial(find, ipv6=ipv6), secret, partial(draw, -0.1, 0.1)) for ipv6 in (False, True)
        }
        self._routers: dict[bool, Router | UpnpFallback] = {**routers}
        if upnp:
            make_device()  # An extra that is missing shows now, and not later in a thread.
            client = UpnpClient(make_device, partial(_call_in_thread, reactor))
            self._routers[False] = UpnpFallback(reactor, routers[False], client)

    def map(
        self, local_port: int, *, ipv6: bool = False, on_change: Callable[[PortMapping | None], None] = lambda _: None
    ) -> Deferred[PortMapping | None]:
        """
        Ask for a mapping of a UDP port. The request goes on until :meth:`release`, also if it has not succeeded yet.

        :param ipv6: ask the IPv6 router for a pinhole in its firewall, instead of the IPv4 router for a mapping.
        :param on_change: called with the mapping whenever it is made or changes after the result has been given, and
            with ``None`` when it is lost.
        :returns: the mapping; ``None`` if there is none after :data:`BUDGET`, or if the router refuses. Never fails.
        :raises ValueError: this port is mapped already.
        """
        return self._routers[ipv6].map(local_port, on_change)

    def release(self, local_port: int, *, ipv6: bool = False) -> Deferred[None]:
        """
        Remove a mapping, or stop asking for one. It does nothing if there is none.

        :returns: fires when the router has confirmed it, and after a second at the latest.
        """
        return self._routers[ipv6].release(local_port)

    def network_changed(self) -> None:
        """Look for the router anew. If it is another one, or this host has another address, all mappings are new."""
        for router in self._routers.values():
            router.network_changed()

    def report(self, *, ipv6: bool = False) -> GatewayReport:
        """:returns: what is known about the router of a family."""
        return self._routers[ipv6].report()

    def stop(self) -> Deferred[None]:
        """
        Remove all mappings.

        :returns: fires when this is done and all sockets are closed: within a second, and at once if no router has
            made a mapping. UPnP may take several seconds.
        """
        done = DeferredList([router.stop() for router in self._routers.values()])
        return done.addCallback(lambda _: None)
