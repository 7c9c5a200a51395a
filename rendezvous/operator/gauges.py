"""What a server holds beside its store, and whether it takes requests: read when somebody asks."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence

import attrs

from rendezvous.clock import ServerClock
from rendezvous.core.bans import MAX_BANS
from rendezvous.errors import Unavailable
from rendezvous.interfaces import IStore
from rendezvous.model import Fill
from rendezvous.web.gate import Gate
from rendezvous.web.site import RendezvousSite
from rendezvous.web.sockets.sockets import Sockets

__all__ = ["Gauges", "is_ready"]


def is_ready(store: IStore, gate: Gate) -> bool:
    """:returns: whether load balancers should send requests, as ``/ready`` says it."""
    try:
        gate.entrance.check_draining()
        store.check_ready()
    except Unavailable:
        return False
    return True


class Certificate(typing.Protocol):
    """What is asked of a certificate; it is a :class:`rendezvous.certificates.Certificate`."""

    @property
    def expires(self) -> float:
        """:returns: when it ends, in seconds since the epoch."""


@attrs.frozen
class Gauges:
    """
    The parts of a server whose numbers go up and down.

    :ivar gate: that of the public ports.
    :ivar sites: those of the public ports.
    :ivar certificates: those of all ports.
    """

    store: IStore
    gate: Gate
    sockets: Sockets
    clock: ServerClock
    sites: Sequence[RendezvousSite]
    certificates: Sequence[Certificate]

    def tables(self) -> Mapping[str, Fill]:
        """:returns: how full each table is that is not the store's."""
        # Every site has the same limit, which is that of the process.
        most = max((site.connections.most for site in self.sites), default=0)
        return {
            "bans": Fill(len(self.store.bans.all(self.clock.seconds())), MAX_BANS),
            "connections": Fill(sum(len(site.connections) for site in self.sites), most),
            "sockets": Fill(len(self.sockets), self.sockets.limits.most),
        }

    def read(self) -> Mapping[str, tuple[str, Callable[[], float]]]:
        """:returns: gauges by the name of their metric without the prefix, each with a description."""
        sender, entrance = self.gate.sender, self.gate.entrance
        return {
            "ready": ("1 if /ready answers 200.", lambda: is_ready(self.store, self.gate)),
            "draining": ("1 if new clients are refused because the server drains.", lambda: entrance.is_draining),
            "sockets": ("WebSockets that are open.", lambda: len(self.sockets)),
            "unread_bytes": ("What clients have not read of long answers and events.", lambda: sender.unread),
            "unread_max_bytes": ("What they may leave unread.", lambda: sender.most),
            "certificate_expiry_timestamp_seconds": (
                "When the first of the certificates ends, in seconds since the epoch; NaN if there is none.",
                self._first_expiry,
            ),
        }

    def _first_expiry(self) -> float:
        return min((certificate.expires for certificate in self.certificates), default=float("nan"))
