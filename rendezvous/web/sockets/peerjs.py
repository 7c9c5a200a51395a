"""``protocol/peerjs``: the server that the PeerJS library expects."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from uuid import UUID

from wsproto.frame_protocol import CloseReason

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.web.http import Request
from twisted.web.server import NOT_DONE_YET

from rendezvous.core.peerserver import PROBE_TIME, SILENCE_TIME, Arrival, Message, Peers, why_refused
from rendezvous.core.shares import Shares, share_of
from rendezvous.errors import RendezvousError, Unauthorized, UpgradeRequired
from rendezvous.limits import PeerServerLimits
from rendezvous.refusals import Refusals
from rendezvous.web.admission import Admission
from rendezvous.web.fields import Query
from rendezvous.web.pages import encode as encode_json
from rendezvous.web.parameters import HANDSHAKE
from rendezvous.web.route import Route
from rendezvous.web.sockets.socket import Socket
from rendezvous.web.sockets.sockets import Sockets, is_upgrade
from rendezvous.wire.frames import text_frame
from rendezvous.wire.peerjs import ID_TAKEN, LEAVE, OPEN, decode, encode, error

__all__ = ["PeerServer", "PeerServerRoutes", "make_peers"]

#: Messages that are expired in one turn of the reactor.
EXPIRED = 100

_OPEN, _ID_TAKEN = text_frame(OPEN), text_frame(ID_TAKEN)


def make_peers(limits: PeerServerLimits, share: float) -> Peers[Socket]:
    """
    :param limits: of messages that wait.
    :param share: the part of them that one subscriber may hold.
    :returns: a table without a peer.
    """
    shares = Shares("messages that wait for peers", *share_of(limits.memory, share), code="source-messages")
    return Peers(limits.memory, limits.of_peer, shares)


class PeerServer:
    """
    The peers with their sockets, and what is due for them.

    :param peers: the table.
    :param key: what clients have to name.
    :param limits: of ids and tokens.
    :param clock: the time of what is due.
    :param refusals: counts what is refused because of a limit.
    """

    def __init__(
        self, peers: Peers[Socket], key: str, limits: PeerServerLimits, clock: IReactorTime, refusals: Refusals
    ) -> None:
        self.peers = peers
        self.key = key
        self.limits = limits
        self.clock = clock
        self._refusals = refusals
        self._next: IDelayedCall | None = None

    def pass_on(self, message: Message, sender: Socket) -> None:
        """Send a message to its receiver, or keep it for a while if the receiver is not there."""
        link = self.peers.link(message.target)
        if link is not None:
            link.writer.send(text_frame(encode(message)))
        elif message.waits:
            try:
                self.peers.keep(message, sender.source, self.clock.seconds())
            except RendezvousError as refused:
                self._refusals.note(refused, sender.source)
                # As if its time were over already.
                sender.writer.send(text_frame(encode(Message("EXPIRE", message.target, message.source))))
            self._expect()

    def begin(self) -> None:
        """Wait for what is due, also after an end."""
        self._expect()

    def end(self) -> None:
        """Wait for nothing any more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _expect(self) -> None:
        due = self.peers.due()
        if self._next is None and due is not None:
            self._next = self.clock.callLater(max(0.0, due - self.clock.seconds()), self._expire)

    def _expire(self) -> None:
        self._next = None
        for message in self.peers.expire(self.clock.seconds(), EXPIRED):
            link = self.peers.link(message.target)
            if link is not None:
                link.writer.send(text_frame(encode(message)))
        self._expect()


class PeerServerRoutes:
    """
    The routes of PeerServer.

    :param server: the peers. Its key is the first part of their paths, but for the WebSocket's.
    :param may_list: whether the ids of all peers may be read.
    :param random: gives random bytes.
    :param admission: who may open a socket.
    """

    def __init__(
        self,
        sockets: Sockets,
        server: PeerServer,
        random: Callable[[int], bytes],
        admission: Admission,
        *,
        may_list: bool = False,
    ) -> None:
        self._sockets = sockets
        self._server = server
        self._random = random
        self._admission = admission
        self._may_list = may_list

    def routes(self) -> list[Route]:
        """:returns: the routes."""
        key = self._server.key
        route = partial(Route, tag="peerjs", needs_store=False)
        socket = (*HANDSHAKE, "key", "id", "token", "registration")
        return [
            route("GET", f"/{key}/id", self.new_id, example="GET /peerjs/id", response=None, media="text/plain"),
            route("GET", f"/{key}/peers", self.list, example="GET /peerjs/peers", response="PeerIds", errors=(401,)),
            route(
                "GET",
                "/peerjs",
                self.socket,
                params=socket,
                status=101,
                response=None,
                media="",
                socket=True,
                errors=(401,),
            ),
        ]

    async def new_id(self, request: Request) -> None:
        """A random id, as text: a UUID of version 4."""
        text = str(UUID(bytes=self._random(16), version=4)).encode("ascii")
        request.setHeader(b"Content-Type", b"text/plain")
        request.setHeader(b"Content-Length", b"%d" % len(text))
        request.write(text)

    async def list(self, request: Request) -> bytes:
        """The ids of all peers, if the operator allows that."""
        if not self._may_list:
            raise Unauthorized("The server does not list its peers: it runs without --peerjs-discovery.")
        return encode_json(list(self._server.peers.ids()))

    async def socket(self, request: Request) -> int:
        """The WebSocket of one peer."""
        if not is_upgrade(request):
            raise UpgradeRequired("This path takes WebSockets alone.")
        query = Query(request)
        peer, token, key = (query.text(name) or "" for name in ("id", "token", "key"))
        tokens = self._admission.tokens
        # PeerJS lets a page choose its key, and nothing else that it sends along.
        self._admission.admit(request, key)
        if tokens is not None and key in tokens:
            key = self._server.key
        self._sockets.open(request, _Conversation(self._server, peer, token, key))
        return NOT_DONE_YET


class _Conversation:
    """One peer."""

    # The ids of PeerJS are no clients of the server.
    kind = "peerjs"
    peer: str | None = None
    _socket: Socket

    def __init__(self, server: PeerServer, peer: str, token: str, key: str) -> None:
        self._server = server
        self._peer, self._token, self._key = peer, token, key
        self._is_open = False
        self._heard_at = server.clock.seconds()
        self._later: IDelayedCall | None = None

    def opened(self, socket: Socket) -> None:
        """Give the peer its id, or say why not."""
        self._socket = socket
        server = self._server
        refusal = why_refused(self._peer, self._token, self._key, server.key, server.limits.id_chars)
        if refusal is None:
            self._arrive()
        else:
            socket.writer.send(text_frame(error(refusal)))
            socket.close(CloseReason.POLICY_VIOLATION)

    def received(self, text: str) -> float:
        """Take a message."""
        self._heard_at = self._server.clock.seconds()
        message = decode(text, self._peer) if self._is_open else None
        if isinstance(message, Message) and len(message.target) <= self._server.limits.id_chars:
            self._server.pass_on(message, self._socket)
        elif message == LEAVE:
            self._server.peers.leave(self._peer, self._socket)
            self._socket.close()
        return 1.0

    def lost(self) -> None:
        """Give the id back."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._is_open:
            self._server.peers.leave(self._peer, self._socket)

    def _arrive(self) -> None:
        arrival, other = self._server.peers.arrive(self._peer, self._token, self._socket)
        if arrival is Arrival.TAKEN and other is not None:
            # Its page may be gone without a close: one that reloads would wait up to a minute for its own id.
            self._later = self._server.clock.callLater(PROBE_TIME, self._probed, other, other.ask())
            return
        if other is not None:
            other.close(CloseReason.NORMAL_CLOSURE, "The peer has another socket.")
        self._is_open = True
        if arrival is Arrival.OPEN:
            self._socket.writer.send(_OPEN)
        for message in self._server.peers.take(self._peer):
            self._socket.writer.send(text_frame(encode(message)))
        self._later = self._server.clock.callLater(SILENCE_TIME, self._listen)

    def _probed(self, other: Socket, heard: int) -> None:
        self._later = None
        if self._server.peers.link(self._peer) is other:
            # One that is not read, because it has sent more than it may, cannot be heard.
            if other.heard > heard or other.is_waiting:
                self._socket.writer.send(_ID_TAKEN)
                self._socket.close(CloseReason.POLICY_VIOLATION)
                return
            self._server.peers.leave(self._peer, other)
            other.abort()
        self._arrive()

    def _listen(self) -> None:
        """Close the socket if its page has said nothing for too long, even if its browser answers pings."""
        left = self._heard_at + SILENCE_TIME - self._server.clock.seconds()
        if left <= 0:
            self._later = None
            self._socket.close(CloseReason.NORMAL_CLOSURE, "The peer has sent nothing for too long.")
        else:
            self._later = self._server.clock.callLater(left, self._listen)
