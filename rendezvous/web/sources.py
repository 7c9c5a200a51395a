"""
Where a request comes from: the source address that limits count.

It is the address of the peer of the connection. Where the peer is a trusted proxy, it is what the proxy says in
``X-Forwarded-For`` or ``Forwarded`` (RFC 7239).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from twisted.internet.address import UNIXAddress

from rendezvous.core.sources import UNKNOWN, SourceNetwork, source_network

__all__ = ["Proxies", "source_of"]

#: Proxies that one request may have passed; what is to the left of that many addresses is not read.
MAX_HOPS = 32

#: Characters of an address with a port: IPv6 that ends in IPv4 has 45, and there are brackets and a port.
_LONGEST = 60

# RFC 7239, section 4. An element is ";"-separated pairs; the value of "for" is a token or a quoted string.
_PAIR = re.compile(r'\s*([\w!#$%&\'*+.^`|~-]+)=([\w!#$%&\'*+.^`|~-]+|"(?:[^"\\]|\\.)*")\s*', re.ASCII)
_QUOTED = re.compile(r'("(?:[^"\\]|\\.)*")|".*', re.DOTALL)
# An address with or without a port, as both headers have it: 192.0.2.1, 192.0.2.1:4711, [2001:db8::1]:4711.
_NODE = re.compile(r"\[([0-9a-fA-F:.]+)\](?::[0-9]{1,5})?|([0-9.]+)(?::[0-9]{1,5})?|([0-9a-fA-F:.]+)")


def source_of(request: Any) -> SourceNetwork:
    """
    :returns: the source of a request that :class:`Proxies` has looked at;
        :data:`~rendezvous.core.sources.UNKNOWN` for any other.
    """
    source: SourceNetwork = getattr(request, "source", UNKNOWN)
    return source


class Proxies:
    """
    The reverse proxies whose headers are believed.

    Each proxy adds the address of its own peer at the right end of the header. So the header is read from the right,
    up to the first address that is not a trusted proxy: that one is the source. What stands to the left of it was
    written by the source, and is not read. For example, with ``10.0.0.0/8`` trusted, a request from ``10.0.0.1`` with
    ``X-Forwarded-For: 192.0.2.66, 198.51.100.7, 10.0.0.9`` comes from ``198.51.100.7``.

    * From any other peer both headers are ignored.
    * If a request has both headers, ``X-Forwarded-For`` counts: most proxies write that one, and let a ``Forwarded``
      header of the client pass.
    * An element that is malformed, hidden or ``unknown`` ends the reading. The source is then the proxy that wrote it.

    :param trusted: networks as :mod:`ipaddress` reads them; ``unix`` is every peer on a UNIX socket.
    """

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        self.trust(trusted)

    def trust(self, trusted: Sequence[str]) -> None:
        """Believe these proxies from now on, and no others."""
        networks = [ip_network(text, strict=False) for text in trusted if text != "unix"]
        self._trusts_unix = "unix" in trusted
        self._trusts_any = bool(networks)

        @lru_cache(4096)
        def trusts(host: str) -> bool:
            try:
                address = _plain(ip_address(host.partition("%")[0]))
            except ValueError:
                return False
            return any(address in network for network in networks)

        self._trusts = trusts

    def trusts(self, peer: Any) -> bool:
        """
        :param peer: the address of the other end of a connection.
        :returns: whether it is a trusted proxy.
        """
        host = getattr(peer, "host", None)
        if host is None:
            return self._trusts_unix and isinstance(peer, UNIXAddress)
        return self._trusts_any and self._trusts(host)

    def source(self, request: Any) -> SourceNetwork:
        """
        Find the source of a request, and keep it with the request for :func:`source_of`. ``source_host`` of the request
        is its address from then on.

        :param request: a request whose headers are there.
        """
        peer = request.getClientAddress()
        host = getattr(peer, "host", "")
        if self.trusts(peer):
            host = self._forwarded(request, host)
        request.source_host = host
        source = request.source = source_network(host) if host else UNKNOWN
        return source

    def _forwarded(self, request: Any, proxy: str) -> str:
        found = proxy
        for hop, host in enumerate(_hops(request)):
            if host is None or hop == MAX_HOPS:
                break
            found = host
            if not self._trusts(host):
                break
        return found


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """:returns: IPv4 for IPv4-mapped IPv6, as a socket of both families shows an IPv4 peer."""
    return getattr(address, "ipv4_mapped", None) or address


def _hops(request: Any) -> Iterator[str | None]:
    """:returns: the addresses that proxies have added, the last one first; ``None`` for what is not an address."""
    x_forwarded = request.requestHeaders.getRawHeaders(b"X-Forwarded-For")
    if x_forwarded is not None:
        for text in reversed(b",".join(x_forwarded).decode("latin-1").split(",")):
            yield _address(text)
        return
    # Each line by itself: a quoted string does not go on in the next line (RFC 9110, sections 5.3 and 5.6.4). If they
    # were joined, an open quote in the line of a client would hide what a proxy has added behind it.
    for line in reversed(request.requestHeaders.getRawHeaders(b"Forwarded") or ()):
        for element in reversed(_split(line.decode("latin-1"), ",")):
            yield _forwarded_for(element)


def _split(text: str, separator: str) -> list[str]:
    """
    Split a text where a separator is not within quotes. A quote that is never closed is a character like any other, and
    so are those after it; to look for the end of each of them would take time that grows with the square of the length.

    :returns: the parts that are not empty.
    """
    hidden = _QUOTED.sub(lambda match: match[0] if match[1] is None else "-" * len(match[0]), text)
    ends = [index for index, character in enumerate(hidden) if character == separator]
    starts = [0, *(end + 1 for end in ends)]
    return [text[start:end] for start, end in zip(starts, [*ends, len(text)], strict=True) if end > start]


def _forwarded_for(element: str) -> str | None:
    found: str | None = None
    for part in _split(element, ";"):
        pair = _PAIR.fullmatch(part)
        if pair is None:
            return None
        if pair[1].lower() == "for":
            value = pair[2]
            if value.startswith('"'):
                value = re.sub(r"\\(.)", r"\1", value[1:-1])
            found = _address(value)
    return found


def _address(text: str) -> str | None:
    text = text.strip()
    return _parsed(text) if len(text) <= _LONGEST else None


@lru_cache(4096)
def _parsed(text: str) -> str | None:
    match = _NODE.fullmatch(text)
    if match is None:
        return None
    try:
        return str(_plain(ip_address(match[1] or match[2] or match[3])))
    except ValueError:
        return None
