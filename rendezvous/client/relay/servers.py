"""From the ``iceServers`` of an answer to the TURN servers that can be used, in the order in which they are tried."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final, TypeGuard
from urllib.parse import unquote

from attrs import field, frozen

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


def turn_servers(ice_servers: object) -> list[TurnServer]:
    """
    Read the value of ``iceServers`` (W3C WebRTC, section 4.2.4).

    Entries of other kinds, such as those for STUN, and those that make no sense are passed over, as browsers of another
    age would. So are URIs of TURN over DTLS, ``turns:`` with ``transport=udp``.

    :param ice_servers: what the server has sent: a list of objects with ``urls``, ``username`` and ``credential``.
    :returns: at most :data:`MAX_SERVERS`, in the order of the list and without repetitions.
    """
    entries = ice_servers if isinstance(ice_servers, list | tuple) else []
    found = dict.fromkeys(server for entry in entries if isinstance(entry, dict) for server in _servers(entry))
    return list(found)[:MAX_SERVERS]


def _is_text(value: object, limit: int) -> TypeGuard[str]:
    """:returns: whether a value is text that UTF-8 can write in so many bytes."""
    try:
        return isinstance(value, str) and len(value.encode()) <= limit
    except UnicodeEncodeError:
        return False


def _servers(entry: dict[object, object]) -> Iterator[TurnServer]:
    username, password, urls = entry.get("username"), entry.get("credential"), entry.get("urls")
    if not _is_text(username, MAX_USERNAME) or not _is_text(password, MAX_PASSWORD):
        return
    for uri in [urls] if isinstance(urls, str) else urls if isinstance(urls, list | tuple) else []:
        server = _server(uri, username, password) if isinstance(uri, str) else None
        if server is not None:
            yield server


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
    return TurnServer(Transport.TLS if is_secure else Transport(asked), host, port, host, username, password)
