"""What a connection consists of below HTTP, and a response that is written without a request."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.protocols.haproxy._wrapper import HAProxyProtocolWrapper
from twisted.protocols.policies import ProtocolWrapper

from rendezvous.core.sources import UNKNOWN, SourceNetwork, source_network
from rendezvous.errors import RendezvousError
from rendezvous.web._json import SERVER_ERROR, error_body, error_fields
from rendezvous.web.pages import encode
from rendezvous.web.requestids import RequestIds

__all__ = [
    "has_proxy_header",
    "innermost",
    "keep_little_unread",
    "refusal",
    "response_head",
    "send_at_once",
    "source_of_peer",
    "unsent",
]

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


def send_at_once(transport: Any, parts: Sequence[bytes]) -> None:
    """
    Send what the system takes of a response now. The transport keeps the rest and sends it later.

    A transport of Twisted begins to send in the next turn of the reactor. It asks the reactor to watch the socket, and
    afterwards to stop. These are two system calls, and a sixth of the time of a look-up.

    :param transport: of the connection. One that is no socket, because of TLS or the PROXY protocol, sends the response
        in its own way.
    :param parts: the bytes of the response. An error of the connection is left to the transport, which reports it in
        the next turn.
    """
    # Twisted has no public way to ask whether bytes wait; those must be sent first.
    if (
        not isinstance(transport, FileDescriptor)
        or transport.dataBuffer
        or transport._tempDataBuffer
        or transport.disconnecting
        or not transport.connected
    ):
        transport.writeSequence(parts)
        return
    data = b"".join(parts)
    sent = transport.writeSomeData(data)
    if not isinstance(sent, int) or sent < 0:
        # The connection is lost. The transport finds that out when it sends, where it can deal with it.
        transport.write(data)
    elif sent < len(data):
        transport.write(data[sent:])


def unsent(transport: Any) -> int:
    """:returns: bytes that a transport has been given and has not handed over to the system; 0 if that is not known."""
    lowest = innermost(transport)
    if not isinstance(lowest, FileDescriptor):
        return 0
    # As above, Twisted has no public way to ask.
    size: int = len(lowest.dataBuffer) - lowest.offset + lowest._tempDataLen
    return size


def source_of_peer(peer: Any) -> SourceNetwork:
    """:returns: the source that a connection from an address counts for; ``UNKNOWN`` without an IP address."""
    host = getattr(peer, "host", None)
    return UNKNOWN if host is None else source_network(host)


def response_head(version: bytes, status: int, phrase: bytes, fields: Mapping[bytes, bytes]) -> bytes:
    """:returns: what a response has in front of its body: the status line and the header fields."""
    lines = b"".join([b"%b: %b\r\n" % field for field in fields.items()])
    return b"%b %d %b\r\n%b\r\n" % (version, status, phrase, lines)


def refusal(error: RendezvousError, headers: dict[bytes, bytes], ids: RequestIds) -> list[bytes]:
    """
    :param headers: those that every answer has.
    :param ids: names the request if the error is the server's.
    :returns: a whole response to a request that was not read to its end. The connection is closed after it.
    """
    request_id = ids.draw() if error.status >= SERVER_ERROR else None
    body = encode(error_body(error, request_id))
    fields = {
        **headers,
        **error_fields(error, request_id),
        b"Connection": b"close",
        b"Content-Type": b"application/json",
        b"Content-Length": b"%d" % len(body),
    }
    phrase = HTTPStatus(error.status).phrase.encode("ascii")
    return [response_head(b"HTTP/1.1", error.status, phrase, fields), body]
