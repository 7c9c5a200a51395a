"""
UDP ports that share the reactor fairly and that lose little while it is busy.

Twisted's own port differs in three ways: it reads up to 256 KiB before the reactor looks at anything else, which is
8192 pulses or any number of empty datagrams; it takes the system's receive buffer, which on Linux holds some 250
pulses; and it checks the form of an address at each write, although it has read that address from the socket.
"""

from __future__ import annotations

import errno
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.udp import Port

from rendezvous.udp.mmsg import MAX_DATAGRAM

__all__ = [
    "DATAGRAMS_A_TURN",
    "RECEIVE_BUFFER",
    "FairPort",
    "GroupPort",
    "enlarge_buffer",
    "in_fragments",
    "listen_datagrams",
    "send_whole",
]

DATAGRAMS_A_TURN = 100
"""Datagrams that a port reads before other ports and connections have their turn: some 2 ms of pulses."""

RECEIVE_BUFFER = 1024 * 1024
"""
Bytes of the receive buffer that the system is asked for: on Linux, some 2500 pulses.

A million clients send as many in 75 ms, so none is lost while the server is busy for that long. A larger buffer would
lose nothing less in a flood, which fills every buffer, and make each answer wait for the whole of it: with 4 MiB, 70 to
100 ms were measured.
"""

#: Seconds for which the processes of a server that was killed may still have its port while they end.
_AFTER_A_KILL = 2.0

# Linux: how an IPv4 datagram is sent that is longer than a network on its way takes (ip(7)), by default in fragments.
_IP_MTU_DISCOVER, _IN_FRAGMENTS, _NEVER_IN_FRAGMENTS = 10, 1, 3

# Linux: the same as SO_RCVBUF without the limit of net.core.rmem_max, for a process with CAP_NET_ADMIN (socket(7)).
_SO_RCVBUFFORCE = 33


class FairPort(Port):
    """
    A UDP port that reads a bounded number of datagrams a turn, however short they are.

    :ivar udp_path: what the line about the port at start-up says of it.
    """

    udp_path = "portable path"

    def startListening(self) -> None:
        """Bind the socket, enlarge its buffer, and begin to read."""
        super().startListening()
        # One call for each datagram would be a tenth of the cost of a pulse.
        self._receive_many = getattr(self.protocol, "datagrams_received", None)
        # Without a call of our own in between; see write.
        self.write = self.socket.sendto  # type: ignore[method-assign, assignment]
        enlarge_buffer(self.socket)

    def doRead(self) -> None:
        """Hand on what has arrived, and leave the rest for the next turn."""
        receive, arrived = self.socket.recvfrom, []
        try:
            for _ in range(DATAGRAMS_A_TURN):
                arrived.append(receive(MAX_DATAGRAM))
        except OSError:
            # Nothing is left, or the system reports an error of an earlier datagram. Neither may end the port.
            pass
        if self._receive_many is not None:
            self._receive_many(arrived)
            return
        for datagram, address in arrived:
            self.protocol.datagramReceived(datagram, address[:2])

    def write(self, datagram: bytes, addr: tuple[str, int] | None = None) -> None:
        """
        Send a datagram.

        :param addr: an IP address and a port, as the socket has shown them.
        :raises OSError: the system will not send it.
        """
        self.socket.sendto(datagram, addr)  # type: ignore[arg-type]  # this port is never connected


class GroupPort(FairPort):
    """
    A UDP port whose number several sockets of this server share (``SO_REUSEPORT``, socket(7)).

    The system chooses one of the sockets by source and destination of a datagram, so that all datagrams of one client
    come to the same socket as long as the client keeps its address.
    """

    def startListening(self) -> None:
        """
        Bind the first socket of the group.

        :raises CannotListenError: another program has the port, or another server that shares it.
        """
        until = time.monotonic() + _AFTER_A_KILL
        while True:
            made = self.createInternetSocket()
            try:
                # Without the option, the system refuses a port that anybody has. With it from then on, others may join.
                made.bind((self.interface, self.port))
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                break
            except OSError as e:
                made.close()
                if e.errno != errno.EADDRINUSE or time.monotonic() > until:
                    raise CannotListenError(self.interface, self.port, e) from None
                time.sleep(0.02)
        adopted: Any = made
        self._preexistingSocket = adopted
        super().startListening()

    def another_socket(self) -> socket.socket:
        """
        :returns: another socket of the group, for the caller to close.
        :raises OSError: it cannot be bound.
        """
        found = self.createInternetSocket()
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            found.bind((self.interface, self.getHost().port))
        except OSError:
            found.close()
            raise
        enlarge_buffer(found)
        return found


def send_whole(opened: socket.socket) -> None:
    """
    Have Linux send no datagram of IPv4 in fragments.

    It then draws no identification for each datagram, which saves a fortieth of the time of a pulse. Datagrams of up to
    548 bytes need no fragments: every network takes packets of 576 bytes (RFC 791, section 3.1).
    """
    _discover(opened, _NEVER_IN_FRAGMENTS)


@contextmanager
def in_fragments(opened: socket.socket) -> Iterator[None]:
    """Let longer datagrams of IPv4 be sent in fragments for the duration of a ``with`` block."""
    _discover(opened, _IN_FRAGMENTS)
    try:
        yield
    finally:
        _discover(opened, _NEVER_IN_FRAGMENTS)


def _discover(opened: socket.socket, how: int) -> None:
    with suppress(OSError):
        opened.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, how)


def enlarge_buffer(handle: socket.socket) -> int:
    """
    Ask for a receive buffer of :data:`RECEIVE_BUFFER`; what the system gives instead will do.

    :returns: its size now, in bytes as they are asked for.
    """
    options = [socket.SO_RCVBUF]
    if sys.platform == "linux":
        options.insert(0, _SO_RCVBUFFORCE)
    for option in options:
        try:
            handle.setsockopt(socket.SOL_SOCKET, option, RECEIVE_BUFFER)
        except OSError:
            continue  # Not permitted, or more than this system allows.
        break
    size = handle.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    # Linux shows twice what can be asked for, as it counts its own records (socket(7)).
    return size // 2 if sys.platform == "linux" else size


def listen_datagrams(
    reactor: Any, port: int, protocol: DatagramProtocol, interface: str = "", kind: type[FairPort] = FairPort
) -> IListeningPort:
    """
    Open a UDP port, as ``reactor.listenUDP`` does.

    :param reactor: with one that is not made of file descriptors, such as Windows' IOCP or one in memory, the port is
        the reactor's own.
    :param kind: what makes the port.
    :raises CannotListenError: the port is taken, or not ours to take.
    """
    if not isinstance(reactor, PosixReactorBase):
        opened: IListeningPort = reactor.listenUDP(port, protocol, interface=interface)
        return opened
    fair = kind(port, protocol, interface, MAX_DATAGRAM, reactor)
    fair.startListening()
    return fair
