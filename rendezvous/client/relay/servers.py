"""From the ICE servers that the server names to the TURN servers that can be used, in the order of trying them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Final, TypeGuard
from urllib.parse import unquote

from attrs import field, frozen

from rendezvous.client.ice import IceServer

__all__ = ["MAX_SERVERS", "Transport", "TurnServer", "turn_servers"]

MAX_SERVERS = 8
"""TURN servers that are tried; the ones after them are not."""

MAX_USERNAME = 508
"""Bytes of a user name (RFC 8489, section 14.3)."""

MAX_PASSWORD = 1024
"""Bytes of a password; an entry with a longer one is passed over."""

# RFC 7065, section 3.1: the host is a name, an IPv4 address, or an IPv6 address in brackets.
_URI: Final = re.compile(
    r"(?P<scheme>turns?):(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]?/@]+))(?::(?P<port>[0-9]{1,5}))?"
    r"(?:\?transport=(?P<transport>udp|tcp))?",
    re.IGNORECASE,
)


# RFC 1035, section 2.3.1, and underscores; other alphabets as A-labels (RFC 5890).
_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_][A-Za-z0-9_-]{0,62}(?:\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?", re.ASCII
)


class Transport(Enum):
    """What carries TURN between the client and the server."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"


@frozen
class TurnServer:
    """
    One TURN server, over one transport.

    :ivar host: an address or a name.
    :ivar name: what the certificate of the server has to be for; only the server's URI can say it.
    """

    transport: Transport
    host: str
    port: int
    name: str
    username: str
    password: str = field(repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport.value} {host}:{self.port}"


def turn_servers(ice_servers: Iterable[IceServer]) -> list[TurnServer]:
    """
    Find the TURN servers among ICE servers.

    Left out are servers of other kinds, such as those for STUN, those without a credential that fits into a message,
    and URIs that RFC 7065 does not allow. So are URIs of TURN over DTLS, ``turns:`` with ``transport=udp``.

    :returns: at most :data:`MAX_SERVERS`, in the order of the list and without repetitions.
    """
    found = dict.fromkeys(server for each in ice_servers for server in _servers(each))
    return list(found)[:MAX_SERVERS]


def _fits(text: str | None, limit: int) -> TypeGuard[str]:
    """:returns: whether UTF-8 can write a text in so many bytes."""
    try:
        return text is not None and len(text.encode()) <= limit
    except UnicodeEncodeError:
        return False


def _servers(server: IceServer) -> Iterator[TurnServer]:
    if _fits(server.username, MAX_USERNAME) and _fits(server.credential, MAX_PASSWORD):
        for uri in server.urls:
            found = _server(uri, server.username, server.credential)
            if found is not None:
                yield found


def _server(uri: str, username: str, password: str) -> TurnServer | None:
    """Read a URI of RFC 7065, section 3.1. The transport that it leaves open is UDP for TURN and TCP for TLS."""
    match = _URI.fullmatch(uri)
    if match is None:
        return None
    is_secure = match["scheme"].lower() == "turns"
    asked = (match["transport"] or ("tcp" if is_secure else "udp")).lower()
    port = int(match["port"] or (5349 if is_secure else 3478))
    if (is_secure and asked == "udp") or not 0 < port < 65536:
        return None
    host = match["ipv6"] or unquote(match["host"])
    if match["ipv6"] is None and _NAME.fullmatch(host) is None:
        return None  # The system's resolver raises errors for some names, and a terminal must not be shown others.
    return TurnServer(Transport.TLS if is_secure else Transport(asked), host, port, host, username, password)
