"""
Notices that this host has another way to the Internet: another address, another router, or another cable.

Linux tells of each change over netlink. Elsewhere, and where netlink is forbidden, the addresses are compared every
five seconds.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Hashable
from errno import ENOBUFS
from typing import Any

from zope.interface import implementer

from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from rendezvous.client._callbacks import call_back
from rendezvous.client.network import netlink
from rendezvous.client.network.interfaces import SOMEWHERE_IPV4, SOMEWHERE_IPV6, interface_addresses, source_address

__all__ = ["LONGEST", "POLL_TIME", "QUIET", "Uplink", "read_uplink"]

POLL_TIME = 5.0
"""Seconds between two comparisons where the system does not tell of changes."""
QUIET = 0.1
"""Seconds without a further change after which the uplink is compared."""
LONGEST = 0.5
"""Seconds after the first change after which it is compared in any case."""

_READS = 64
_BUFFER = 1 << 16
_log = Logger()


def read_uplink() -> Hashable:
    """
    :returns: how this host reaches the Internet, and which addresses it offers to peers. Two results are equal if and
        only if nothing has changed that concerns an open path; interfaces of containers are of no concern.
    """
    try:
        routes = [netlink.route(destination) for destination in (SOMEWHERE_IPV4, SOMEWHERE_IPV6)]
        used = {route.index for route in routes if route is not None}
        # A link that was cut and connected again may lead to another network, also if the addresses are the same.
        links = [(link.index, link.carrier_changes) for link in netlink.links() if link.index in used]
        return tuple(interface_addresses()), tuple(routes), tuple(links)
    except OSError:
        sources = source_address(SOMEWHERE_IPV4), source_address(SOMEWHERE_IPV6)
        return tuple(interface_addresses()), sources


class Uplink:
    """
    Watches the uplink of this host.

    :param reactor: provides ``IReactorTime``, and on Linux ``IReactorFDSet``.
    :param on_change: called after each change, :data:`QUIET` seconds after the last of several changes that follow
        each other closely.
    :param read: reads what is compared; :func:`read_uplink` by default.
    :param open_changes: opens the socket that tells of changes.
    """

    def __init__(
        self,
        reactor: Any,
        on_change: Callable[[], None],
        *,
        read: Callable[[], Hashable] = read_uplink,
        open_changes: Callable[[], socket.socket] = netlink.open_changes,
    ) -> None:
        self._reactor = reactor
        self._on_change = on_change
        self._read = read
        self._open_changes = open_changes
        self._last: Hashable = None
        self._changes: _Changes | None = None
        self._poll: LoopingCall | None = None
        self._timer: IDelayedCall | None = None
        self._latest = 0.0

    def start(self) -> None:
        """Begin to watch. It does nothing if that has been done."""
        if self._changes is not None or self._poll is not None:
            return
        self._last = self._read()
        try:
            self._changes = _Changes(self._open_changes(), self._noticed, self._lost)
        except OSError as error:
            _log.debug("Changes of the network are polled for: {error}", error=error)
            self._begin_polling()
        else:
            self._reactor.addReader(self._changes)

    def stop(self) -> None:
        """Stop watching. It does nothing if nothing is watched."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._poll is not None:
            self._poll.stop()
            self._poll = None
        self._close()

    def _close(self) -> None:
        changes, self._changes = self._changes, None
        if changes is not None:
            self._reactor.removeReader(changes)
            changes.close()

    def _begin_polling(self) -> None:
        self._poll = LoopingCall(self._compare)
        self._poll.clock = self._reactor
        self._poll.start(POLL_TIME, now=False)

    def _lost(self) -> None:
        self._close()
        self._begin_polling()

    def _noticed(self) -> None:
        """Wait until nothing has changed for a while: a new uplink is a dozen changes."""
        now = self._reactor.seconds()
        if self._timer is None:
            self._latest = now + LONGEST
            self._timer = self._reactor.callLater(QUIET, self._settled)
        else:
            self._timer.reset(max(0.0, min(QUIET, self._latest - now)))

    def _settled(self) -> None:
        self._timer = None
        self._compare()

    def _compare(self) -> None:
        last, self._last = self._last, self._read()
        if self._last != last:
            call_back(self._on_change)


@implementer(IReadDescriptor)
class _Changes:
    """
    The socket that tells of changes. What it says is of no interest, only that it says something.

    :param noticed: called after each turn of the reactor in which there was something to read.
    :param lost: called when the socket fails.
    """

    def __init__(self, opened: socket.socket, noticed: Callable[[], None], lost: Callable[[], None]) -> None:
        self._socket = opened
        self._noticed = noticed
        self._lost = lost

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "uplink"

    def doRead(self) -> None:
        """Read all that is there, within a bound."""
        for _ in range(_READS):
            try:
                self._socket.recv(_BUFFER)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == ENOBUFS:  # There were more changes than the kernel keeps.
                    continue
                self._lost()
                return
        self._noticed()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor gives the socket up."""
        self._lost()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
