"""``protocol/signal``: messages to all subscribers of a topic, as y-webrtc and trystero exchange them."""

from __future__ import annotations

from wsproto.frame_protocol import CloseReason

from twisted.web.http import Request
from twisted.web.server import NOT_DONE_YET

from rendezvous.core.pubsub import Topics
from rendezvous.core.shares import Shares, share_of
from rendezvous.errors import RendezvousError
from rendezvous.limits import SocketLimits
from rendezvous.refusals import Refusals
from rendezvous.web.admission import Admission
from rendezvous.web.route import Route
from rendezvous.web.sockets.socket import UNIT, Socket
from rendezvous.web.sockets.sockets import Sockets, is_upgrade
from rendezvous.wire.frames import text_frame
from rendezvous.wire.signal import PONG, Dialect, Ping, Publish, Subscribe, decode, delivered

__all__ = ["SignalRoutes", "make_topics"]

_PONG = text_frame(PONG)

#: The two dialects do not hear each other: a name of a topic means something else in each.
Key = tuple[Dialect, str]


def make_topics(limits: SocketLimits, share: float) -> Topics[Socket]:
    """
    :param limits: of topics.
    :param share: the part of all subscriptions that one subscriber may hold.
    :returns: a table without a topic.
    """
    shares = Shares("subscriptions", *share_of(limits.subscriptions, share), code="source-subscriptions")
    return Topics(limits.subscriptions, limits.subscribers, limits.topics, shares)


class SignalRoutes:
    """
    The one route of this protocol.

    :param sockets: the open sockets.
    :param topics: who subscribes to what.
    :param refusals: counts what is refused because of a limit.
    :param admission: who may open a socket.
    """

    def __init__(self, sockets: Sockets, topics: Topics[Socket], refusals: Refusals, admission: Admission) -> None:
        self._sockets = sockets
        self._topics = topics
        self._refusals = refusals
        self._admission = admission

    def routes(self) -> list[Route]:
        """:returns: the route."""
        return [
            Route(
                "GET",
                "/signal",
                self.signal,
                tag="signal",
                params=("registration",),
                response="Signal",
                needs_store=False,
                socket=True,
                errors=(401,),
            )
        ]

    async def signal(self, request: Request) -> dict[str, object] | int:
        """A WebSocket for y-webrtc and trystero. Without a handshake, whether the protocol is on."""
        if not is_upgrade(request):
            return {"ok": True, "protocols": [dialect.value for dialect in Dialect]}
        self._admission.admit(request)
        self._sockets.open(request, _Conversation(self._topics, self._sockets.limits, self._refusals))
        return NOT_DONE_YET


class _Conversation:
    """One socket of this protocol."""

    kind = "signal"
    peer: str | None = None
    _socket: Socket

    def __init__(self, topics: Topics[Socket], limits: SocketLimits, refusals: Refusals) -> None:
        self._topics = topics
        self._limits = limits
        self._refusals = refusals

    def opened(self, socket: Socket) -> None:
        self._socket = socket

    def received(self, text: str) -> float:
        message = decode(text)
        if isinstance(message, Publish):
            return self._publish(message, len(text))
        if isinstance(message, Subscribe):
            return self._subscribe(message)
        if isinstance(message, Ping):
            self._socket.writer.send(_PONG)
        return 1.0

    def lost(self) -> None:
        self._topics.leave(self._socket, self._socket.source)

    def _publish(self, message: Publish, size: int) -> float:
        subscribers = self._topics.of((message.dialect, message.topic))
        data = delivered(message, len(subscribers)) if subscribers else None
        if data is not None:
            self._socket.send_to(text_frame(data), [socket.writer for socket in subscribers])
        return max(1, len(subscribers)) * (1 + size // UNIT)

    def _subscribe(self, message: Subscribe) -> float:
        socket = self._socket
        try:
            for topic in message.topics:
                if message.is_end:
                    self._topics.unsubscribe((message.dialect, topic), socket, socket.source)
                elif len(topic) <= self._limits.topic_chars:
                    self._topics.subscribe((message.dialect, topic), socket, socket.source)
                else:
                    socket.close(
                        CloseReason.POLICY_VIOLATION, f"A topic has at most {self._limits.topic_chars} characters."
                    )
        except RendezvousError as error:
            self._refusals.note(error, socket.source)
            # The page would wait for its peers for ever otherwise.
            socket.close(CloseReason.POLICY_VIOLATION, error.message[:120])
        return max(1.0, len(message.topics))
