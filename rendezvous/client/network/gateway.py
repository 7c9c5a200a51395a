"""The next router of this host: where port mappings are asked for."""

from __future__ import annotations

import socket
import sys
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

from attrs import frozen

from rendezvous.client.network import netlink
from rendezvous.client.network.interfaces import SOMEWHERE_IPV4, SOMEWHERE_IPV6, source_address

__all__ = ["Gateway", "find_gateway", "guess", "read_table"]

_ROUTES = Path("/proc/net/route")
_GATEWAY = 0x2


@frozen
class Gateway:
    """
    The next router, and how this host reaches it.

    :ivar host: its address; if it is link-local, with the interface as its scope, such as ``fe80::1%eth0``.
    :ivar source: the address of this host from which datagrams to the Internet are sent.
    """

    host: str
    source: str


def find_gateway(*, ipv6: bool = False) -> Gateway | None:
    """
    Find the next router towards the Internet.

    Linux names it, over netlink or for IPv4 in ``/proc/net/route``. Elsewhere it is taken to be the first address of
    the network of 256 addresses that this host is in, which is what most home routers have. A wrong guess is harmless:
    what is there does not answer.

    :returns: ``None`` if there is no route to the Internet, or it has no router, as with a tunnel.
    """
    destination = SOMEWHERE_IPV6 if ipv6 else SOMEWHERE_IPV4
    source = source_address(destination)
    if source is None:
        return None
    try:
        route = netlink.route(destination)
        if route is None or route.gateway is None:
            return None
        return Gateway(_scoped(route.gateway, route.index), route.source or source)
    except OSError:
        host = None if ipv6 else _without_netlink(source)
        return None if host is None else Gateway(host, source)


def read_table(text: str) -> str | None:
    """
    :param text: what ``/proc/net/route`` has (``proc(5)``): addresses as hexadecimal numbers in the host's byte order.
    :returns: the gateway of the default route with the smallest metric, ``None`` if there is none.
    :raises ValueError: the text looks otherwise.
    """
    found: list[tuple[int, int]] = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8:
            raise ValueError("a line of the table of routes has at least 8 fields")
        destination, gateway, flags, mask = (int(fields[column], 16) for column in (1, 2, 3, 7))
        if destination == mask == 0 and flags & _GATEWAY:
            found.append((int(fields[6]), gateway))
    if not found:
        return None
    return str(IPv4Address(min(found)[1].to_bytes(4, sys.byteorder)))


def _without_netlink(source: str) -> str | None:
    try:
        return read_table(_ROUTES.read_text("ascii"))
    except (OSError, ValueError):
        return guess(source)


def guess(source: str) -> str | None:
    """:returns: the first address of the network of 256 addresses around an IPv4 address, unless it is this one."""
    first = str(ip_network(f"{source}/24", strict=False)[1])
    return first if first != source else None


def _scoped(host: str, index: int) -> str:
    return f"{host}%{socket.if_indextoname(index)}" if ip_address(host).is_link_local else host
