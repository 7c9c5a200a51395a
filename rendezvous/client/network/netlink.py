"""
What Linux says about links, addresses and routes over its netlink socket (RFC 3549; ``rtnetlink(7)``).

Nothing here changes anything. Each function opens a socket, asks, and closes it; the kernel answers at once.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import ip_address
from struct import Struct

from attrs import frozen

__all__ = ["CHANGES", "Address", "Link", "Route", "addresses", "links", "open_changes", "route"]

CHANGES = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""
The multicast groups that tell of changes: ``RTMGRP_LINK``, and ``_IFADDR`` and ``_ROUTE`` of IPv4 and of IPv6.
"""

_PATIENCE = 1.0
_BUFFER = 1 << 17
_REQUEST, _DUMP = 0x001, 0x300
_ERROR, _DONE = 2, 3
_NEWLINK, _GETLINK, _NEWADDR, _GETADDR, _NEWROUTE, _GETROUTE = 16, 18, 20, 22, 24, 26

_HEADER = Struct("=IHHII")
_LINK = Struct("=BxHiII")
_ADDRESS = Struct("=BBBBI")
_ROUTE = Struct("=BBBBBBBBI")
_ATTRIBUTE = Struct("=HH")
_UINT32 = Struct("=I")

_UP, _LOOPBACK, _RUNNING = 0x1, 0x8, 0x40
_IFNAME, _MASTER, _LINKINFO, _CARRIER_CHANGES = 3, 10, 18, 35
_INFO_KIND = 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_TEMPORARY, _DAD_FAILED, _DEPRECATED, _TENTATIVE = 0x01, 0x08, 0x20, 0x40
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC, _RTA_VIA = 1, 4, 5, 7, 18


@frozen
class Link:
    """
    A network interface.

    :ivar is_up: whether it is switched on and has a carrier.
    :ivar kind: such as ``bridge``, ``veth`` or ``tun``; empty for a device of hardware.
    :ivar master: the index of the bridge or bond that it is a part of, 0 for none.
    :ivar carrier_changes: how often it has gained or lost its carrier.
    """

    index: int
    name: str
    is_up: bool
    is_loopback: bool
    kind: str = ""
    master: int = 0
    carrier_changes: int = 0


@frozen
class Address:
    """
    An address of a network interface.

    :ivar index: of its interface.
    :ivar is_preferred: whether new connections may use it: it is neither deprecated nor still checked for duplicates.
    :ivar is_temporary: whether it is an IPv6 address that changes for privacy (RFC 8981).
    """

    index: int
    host: str
    is_preferred: bool = True
    is_temporary: bool = False


@frozen
class Route:
    """
    How the system sends to a destination.

    :ivar index: of the interface.
    :ivar gateway: the next router, ``None`` for a destination on the same link.
    :ivar source: the address that the datagrams have as their source, if the system says which.
    """

    index: int
    gateway: str | None
    source: str | None


def links() -> list[Link]:
    """
    :returns: all network interfaces.
    :raises OSError: where there is no netlink, or it is forbidden.
    """
    request = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    return [_link(body) for kind, body in _ask(_GETLINK, request, _DUMP) if kind == _NEWLINK]


def addresses() -> list[Address]:
    """
    :returns: all addresses of all interfaces.
    :raises OSError: where there is no netlink, or it is forbidden.
    """
    request = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    found = (_address(body) for kind, body in _ask(_GETADDR, request, _DUMP) if kind == _NEWADDR)
    return [address for address in found if address is not None]


def route(destination: str) -> Route | None:
    """
    :param destination: an IP address.
    :returns: the route to it, ``None`` if there is none.
    :raises OSError: where there is no netlink, or it is forbidden.
    """
    packed = ip_address(destination).packed
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    request = _ROUTE.pack(family, 8 * len(packed), 0, 0, 0, 0, 0, 0, 0)
    request += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(packed), _RTA_DST) + packed
    for kind, body in _ask(_GETROUTE, request):
        if kind == _NEWROUTE:
            return _route(body)
    return None


def open_changes() -> socket.socket:
    """
    :returns: a socket that can be read after each change of links, addresses and routes; it does not block.
    :raises OSError: where there is no netlink, or it is forbidden.
    """
    opened = _open()
    try:
        opened.bind((0, CHANGES))
        opened.setblocking(False)
    except OSError:
        opened.close()
        raise
    return opened


def _open() -> socket.socket:
    if not hasattr(socket, "AF_NETLINK"):
        raise OSError("this system has no netlink")
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)


def _ask(kind: int, request: bytes, flags: int = 0) -> Iterator[tuple[int, bytes]]:
    """Send one request, and yield the type and the body of each message that answers it."""
    with _open() as opened:
        opened.settimeout(_PATIENCE)
        opened.bind((0, 0))
        opened.send(_HEADER.pack(_HEADER.size + len(request), kind, _REQUEST | flags, 1, 0) + request)
        while True:
            for answer, body in _messages(opened.recv(_BUFFER)):
                if answer in (_DONE, _ERROR):
                    return
                yield answer, body
                if not flags:
                    return


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Split what was read into messages."""
    position = 0
    while position + _HEADER.size <= len(data):
        size, kind, _, _, _ = _HEADER.unpack_from(data, position)
        if size < _HEADER.size:
            return
        yield kind, data[position + _HEADER.size : position + size]
        position += size + 3 & ~3


def _attributes(data: bytes) -> dict[int, bytes]:
    """Read attributes. The upper two bits of a type are flags."""
    found, position = {}, 0
    while position + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, position)
        if size < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[position + _ATTRIBUTE.size : position + size]
        position += size + 3 & ~3
    return found


def _number(attributes: dict[int, bytes], kind: int) -> int:
    value = attributes.get(kind, b"")
    return int(_UINT32.unpack(value)[0]) if len(value) == _UINT32.size else 0


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode("utf-8", "replace")


def _link(body: bytes) -> Link:
    _, _, index, flags, _ = _LINK.unpack_from(body)
    found = _attributes(body[_LINK.size :])
    kind = _attributes(found.get(_LINKINFO, b"")).get(_INFO_KIND, b"")
    return Link(
        index,
        _text(found.get(_IFNAME, b"")),
        flags & _UP != 0 and flags & _RUNNING != 0,
        flags & _LOOPBACK != 0,
        _text(kind),
        _number(found, _MASTER),
        _number(found, _CARRIER_CHANGES),
    )


def _address(body: bytes) -> Address | None:
    family, _, flags, _, index = _ADDRESS.unpack_from(body)
    found = _attributes(body[_ADDRESS.size :])
    # Of a link with two ends, IFA_ADDRESS is the other end.
    packed = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
    if packed is None or len(packed) not in (4, 16):
        return None
    flags |= _number(found, _IFA_FLAGS)
    is_preferred = not flags & (_DEPRECATED | _TENTATIVE | _DAD_FAILED)
    # With IPv4 the same bit marks the second and further addresses of a network.
    return Address(index, str(ip_address(packed)), is_preferred, family == socket.AF_INET6 and flags & _TEMPORARY != 0)


def _route(body: bytes) -> Route:
    found = _attributes(body[_ROUTE.size :])
    gateway = found.get(_RTA_GATEWAY) or found.get(_RTA_VIA, b"")[2:]
    source = found.get(_RTA_PREFSRC)
    return Route(
        _number(found, _RTA_OIF),
        str(ip_address(gateway)) if len(gateway) in (4, 16) else None,
        str(ip_address(source)) if source else None,
    )
