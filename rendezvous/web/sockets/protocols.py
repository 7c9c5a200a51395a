"""The protocols that are spoken on WebSockets, with what they hold."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from rendezvous.core.shares import share_of
from rendezvous.limits import PeerServerLimits, SocketLimits
from rendezvous.web.cors import Cors
from rendezvous.web.gate import Gate
from rendezvous.web.route import Route
from rendezvous.web.sockets.peerjs import PeerServer, PeerServerRoutes, make_peers
from rendezvous.web.sockets.signal import SignalRoutes, make_topics
from rendezvous.web.sockets.sockets import Sockets

__all__ = ["SocketProtocols"]

PEERS = PeerServerLimits()


class SocketProtocols:
    """
    All of them. A server has one, however often its resource is mounted.

    :param clock: the time of deadlines.
    :param gate: counts what is unread and what is refused.
    :param cors: which web pages may open sockets.
    :param limits: of sockets.
    :param share: the part of each table that one subscriber may hold, from 0 to 1; 0 for no limit.
    :param random: gives random bytes.
    :param peerjs_key: the first part of PeerServer's paths.
    :param lists_peers: whether PeerServer lists its peers.
    :ivar sockets: the open sockets.
    """

    def __init__(
        self,
        clock: IReactorTime,
        gate: Gate,
        cors: Cors,
        limits: SocketLimits,
        share: float,
        random: Callable[[int], bytes],
        peerjs_key: str,
        *,
        lists_peers: bool,
    ) -> None:
        self.sockets = Sockets(clock, gate, cors, limits)
        self._topics = make_topics(limits, share)
        self._peers = make_peers(PEERS, share)
        self._server = PeerServer(self._peers, peerjs_key, PEERS, clock, gate.refusals)
        self._signal = SignalRoutes(self.sockets, self._topics, gate.refusals, gate.admission)
        self._peerjs = PeerServerRoutes(self.sockets, self._server, random, gate.admission, may_list=lists_peers)

    def change(self, limits: SocketLimits, share: float) -> None:
        """Use other limits from now on. What is open, subscribed to or waits already stays, and is counted."""
        self.sockets.change(limits)
        self._topics.shares.change(*share_of(limits.subscriptions, share))
        self._peers.shares.change(*share_of(PEERS.memory, share))

    def routes(self) -> list[Route]:
        """:returns: their routes."""
        return [*self._signal.routes(), *self._peerjs.routes()]

    def begin(self) -> None:
        """Take sockets, also after an end."""
        self.sockets.begin()
        self._server.begin()

    def end(self) -> Deferred[None]:
        """
        Close all sockets, and wait for no peer any more.

        :returns: fires when no socket is left.
        """
        self._server.end()
        return self.sockets.end()
