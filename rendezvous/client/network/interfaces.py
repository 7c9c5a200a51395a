"""
The addresses of this host that a peer may be able to use.

Linux is asked over netlink, which also tells which addresses and interfaces are of no use. Elsewhere, and where netlink
is forbidden, the library ``ifaddr`` reads the addresses; then only names and addresses are known.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from itertools import chain, zip_longest

import ifaddr

from rendezvous.client.network import netlink
from rendezvous.client.network.netlink import Address, Link

__all__ = ["MAX_ADDRESSES", "SOMEWHERE_IPV4", "SOMEWHERE_IPV6", "interface_addresses", "source_address", "usable"]

MAX_ADDRESSES = 10
"""Addresses that a host offers to a peer at most."""

SOMEWHERE_IPV4 = "198.41.0.4"
SOMEWHERE_IPV6 = "2001:503:ba3e::2:30"
"""Addresses of the Internet (a.root-servers.net), to find out which route leads there. Nothing is sent to them."""

_VIRTUAL_NAME = re.compile(
    r"(docker|podman|virbr|veth|lxcbr|lxdbr|cni|flannel|cali|vmnet|vboxnet)|br-[0-9a-f]{12}$", re.ASCII
)
"""Interfaces of containers and virtual machines on this host. No other host reaches an address of theirs."""
_VIRTUAL_KINDS = frozenset({"veth", "tun", "dummy"})

Read = tuple[list[Link], list[Address]]


def interface_addresses(
    read: Callable[[], Read] | None = None, source: Callable[[str], str | None] | None = None
) -> list[str]:
    """
    Find the addresses of this host that a peer may be able to use, those of the default routes first.

    Left out are loopback and link-local addresses, interfaces that are down or without a carrier, those of containers
    and virtual machines, and IPv6 addresses that are deprecated or temporary.

    :param read: reads interfaces and addresses; the system's by default.
    :param source: finds the source address for a destination; :func:`source_address` by default.
    :returns: at most :data:`MAX_ADDRESSES`, as IPv4 and IPv6 in turn.
    """
    source = source or source_address
    default = [found for found in map(source, (SOMEWHERE_IPV4, SOMEWHERE_IPV6)) if found is not None]
    try:
        links, addresses = (read or _read)()
    except OSError:
        return [host for host in default if _is_usable(host)]
    return usable(links, addresses, default)


def source_address(destination: str) -> str | None:
    """
    Find the address of this host from which the system would send to a destination. Nothing is sent.

    :param destination: an IP address.
    :returns: ``None`` if there is no route.
    """
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as opened:
            opened.connect((destination, 9))
            host: str = opened.getsockname()[0]
    except OSError:
        return None
    return None if ip_address(host.partition("%")[0]).is_unspecified else host


def usable(links: Iterable[Link], addresses: Iterable[Address], default: Iterable[str]) -> list[str]:
    """
    Choose the addresses that a peer may be able to use: the rules of :func:`interface_addresses`.

    :param default: the source addresses of the default routes.
    :returns: at most :data:`MAX_ADDRESSES`.
    """
    links, addresses, default = list(links), list(addresses), list(default)
    routed = {address.index for address in addresses if address.host in default}
    chosen = _links(links, routed)
    # Addresses of the interfaces with a default route come first: there the Internet is, and mostly the LAN too.
    order = sorted(
        (address for address in addresses if address.index in chosen and _is_good(address)),
        key=lambda address: (address.host not in default, address.index not in routed, address.index),
    )
    families: tuple[list[str], list[str]] = ([], [])
    for address in order:
        families[":" in address.host].append(address.host)
    found = [host for host in chain.from_iterable(zip_longest(*families)) if host is not None]
    return list(dict.fromkeys(found))[:MAX_ADDRESSES]


def _links(links: list[Link], routed: set[int]) -> set[int]:
    """:returns: the indexes of the interfaces that lead to other hosts."""
    outward = {link.master for link in links if link.kind not in _VIRTUAL_KINDS}
    return {
        link.index
        for link in links
        if link.is_up
        and not link.is_loopback
        and (
            link.index in routed
            # A bridge whose parts are all virtual connects containers and virtual machines.
            or (not _VIRTUAL_NAME.match(link.name) and (link.kind != "bridge" or link.index in outward))
        )
    }


def _is_good(address: Address) -> bool:
    return address.is_preferred and not address.is_temporary and _is_usable(address.host)


def _is_usable(host: str) -> bool:
    """:returns: whether an address names the same host at its peers."""
    address = ip_address(host)
    return not (address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified)


def _read() -> Read:
    try:
        return netlink.links(), netlink.addresses()
    except OSError:
        return _read_portably()


def _read_portably() -> Read:
    links, addresses = [], []
    for index, adapter in enumerate(ifaddr.get_adapters(), 1):
        links.append(Link(index, adapter.name, is_up=True, is_loopback=False))
        addresses += [Address(index, ip.ip if isinstance(ip.ip, str) else ip.ip[0]) for ip in adapter.ips]
    return links, addresses
