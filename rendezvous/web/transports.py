"""What a connection consists of below HTTP, and a response that is written without a request."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from twisted.protocols.haproxy._wrapper import HAProxyProtocolWrapper
from twisted.protocols.policies import ProtocolWrapper

from rendezvous.core.sources import UNKNOWN, SourceNetwork, source_network
from rendezvous.errors import RendezvousError
from rendezvous.web._json import error_body

__all__ = ["has_proxy_header", "innermost", "keep_little_unread", "source_of_peer", "written"]

#: Bytes of a socket's send buffer. Linux doubles it for what it needs itself.
KERNEL_BUFFER = 64 * 1024


def has_proxy_header(transport: Any) -> bool:
    """:returns: whether a connection begins with a header of the PROXY protocol, below TLS or alone."""
    while isinstance(transport, ProtocolWrapper):
        if isinstance(transport, HAProxyProtocolWrapper):
            return True
        transport = transport.transport
    return False


def innermost(transport: Any) -> Any:
    """:returns: the transport that has the socket, below TLS and the PROXY protocol."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport


def keep_little_unread(transport: Any) -> None:
    """Bound what the kernel takes for a client that does not read: Linux takes up to 4 MiB, which nothing counts."""
    connected = getattr(innermost(transport), "socket", None)
    if connected is not None:
        with suppress(OSError):  # The client may have left already.
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)


def source_of_peer(peer: Any) -> SourceNetwork:
    """:returns: the source that a connection from an address counts for; ``UNKNOWN`` without an IP address."""
    host = getattr(peer, "host", None)
    return UNKNOWN if host is None else source_network(host)


def written(error: RendezvousError, headers: dict[bytes, bytes]) -> list[bytes]:
    """:returns: a whole response, after which the connection is closed."""
    body = json.dumps(error_body(error)).encode("ascii")
    written = [b"HTTP/1.1 %d %b\r\n" % (error.status, HTTPStatus(error.status).phrase.encode("ascii"))]
    if error.retry_after is not None:
        headers = {**headers, b"Retry-After": b"%d" % error.retry_after}
    written += [b"%b: %b\r\n" % header for header in headers.items()]
    written += [b"Connection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body), body]
    return written
