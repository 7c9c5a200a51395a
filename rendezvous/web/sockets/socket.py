"""
One WebSocket (RFC 6455): frames to messages and back, within its limits.

``twisted.web.websocket`` collects the pieces of a message in a buffer without bound, and encodes a message once for
each of its readers. So it is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from wsproto.events import BytesMessage, CloseConnection, Event, Message, Ping, Pong
from wsproto.frame_protocol import CloseReason

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol as StreamProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from rendezvous.core.sources import SourceNetwork
from rendezvous.core.tokenbucket import TokenBucket
from rendezvous.errors import RendezvousError
from rendezvous.limits import SocketLimits
from rendezvous.web.gate import Gate
from rendezvous.web.sockets.batch import Batch
from rendezvous.web.sockets.pieces import MESSAGE_TIME, Pieces
from rendezvous.web.sockets.spreading import READERS, Spreading
from rendezvous.web.sockets.writer import SocketWriter
from rendezvous.web.turns import Turns
from rendezvous.wire.frames import Frames

__all__ = ["CLOSE_TIME", "UNIT", "Conversation", "Socket"]

#: Seconds that the other side has for its half of the closing handshake.
CLOSE_TIME = 2.0

#: Seconds between two pings that others cause. Each answer counts as a message of the socket.
ASK_TIME = 0.5

#: Frames that are read before others get their turn: some 0.2 ms.
FRAMES = 16

#: Characters that cost as much as one message more.
UNIT = 4096


class Conversation(Protocol):
    """
    One of the protocols on one socket: it takes messages, and sends what follows from them.

    :ivar kind: which protocol, for operators.
    :ivar peer: the client that the socket belongs to, if it belongs to one.
    """

    kind: str
    peer: str | None

    def opened(self, socket: Socket) -> None:
        """Begin."""

    def received(self, text: str) -> float:
        """
        Take a message.

        :returns: what it has cost, in messages: as many as were sent because of it, or 1.
        """

    def lost(self) -> None:
        """The connection is lost; nothing can be sent. If very many are lost at once, this comes in a later turn."""


class Socket(StreamProtocol):
    """
    One connection, after its handshake.

    A message that is too long or that is not text ends it (close codes 1009 and 1003). One that sends messages faster
    than it may is read more slowly; nothing is lost by that. One that does not read what it is sent is ended when that
    is too much.

    :param conversation: takes the messages.
    :param limits: its limits.
    :param source: whom it counts for.
    :param clock: the time of limits and deadlines.
    :param turns: how sockets share the turns of the reactor.
    :param batch: what is sent while messages are read.
    :param gate: counts what is unread, and what has not arrived whole.
    :param gone: called once, when it has ended.
    :ivar source: as given.
    :ivar writer: sends to the other side; from ``opened`` of the conversation on.
    :ivar heard: how often something has come from the other side.
    """

    log = Logger()
    transport: Any = None
    writer: SocketWriter
    #: The address of the client, as far as it is known; its number, which grows; and since when it is open.
    host = ""
    number = 0
    since = 0.0
    #: When it was asked last, and how often something had come before.
    _asked: tuple[float, int] | None = None

    def __init__(
        self,
        conversation: Conversation,
        limits: SocketLimits,
        source: SourceNetwork,
        clock: IReactorTime,
        turns: Turns,
        batch: Batch,
        gate: Gate,
        gone: Callable[[Socket], None],
    ) -> None:
        self.source = source
        self.heard = 0
        self._conversation = conversation
        self._limits = limits
        self._clock = clock
        self._turns = turns
        self._batch = batch
        self._gate = gate
        self._gone = gone
        self._frames = Frames()
        # What is there of the message that has not arrived whole.
        self._pieces: Pieces | None = None
        self._bucket = TokenBucket(limits.rate, limits.burst) if limits.rate else None
        self._is_waiting = False
        # Whether what it has sent is on its way to many others, and until when it has to rest afterwards.
        self._is_spreading = False
        self._rests_until = 0.0
        self._is_lost = False
        self._later: IDelayedCall | None = None

    @property
    def conversation(self) -> Conversation:
        """:returns: what takes its messages."""
        return self._conversation

    # The connection

    def connectionMade(self) -> None:
        """Take over the transport of the HTTP connection."""
        self.writer = SocketWriter(self.transport, self.source, self._limits.unread, self._batch, self._gate.sender)
        self.transport.registerProducer(self.writer, True)

    def opened(self) -> None:
        """Begin to speak: the handshake is sent."""
        self._conversation.opened(self)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Forget everything."""
        self._is_lost = True
        self.writer.lost()
        self._stop_later()
        self._drop_pieces()
        self._gone(self)
        # To end a thousand subscriptions takes 2 ms, and hundreds of sockets may be lost at once.
        if self._turns.are_over:
            self._turns.add(self.source.subscriber, self._leave)
        else:
            self._leave()

    def _leave(self) -> None:
        self._turns.run(self.source.subscriber, lambda _: self._conversation.lost(), b"")

    def close(self, code: int = CloseReason.NORMAL_CLOSURE, reason: str = "") -> None:
        """
        End it, with a close code of RFC 6455, section 7.4.

        :param reason: why, in at most 123 bytes, for the developer who reads it in the console of a browser.
        """
        if self.writer.is_over:
            return
        self._stop_later()
        self.writer.end(self._frames.close(code, reason))
        self._drop_pieces()
        if self._frames.is_closed:
            self.writer.finish()
        else:
            # To close at once, with unread bytes in the kernel, would reset the connection before the code is read.
            self._is_waiting = False
            self.transport.resumeProducing()
        self._later = self._clock.callLater(CLOSE_TIME, self.abort)

    def abort(self) -> None:
        """Close the connection at once, however much is unsent."""
        self._stop_later()
        self.writer.abort()

    def ask(self) -> int:
        """
        Send a ping, to see whether the other side is there. One that was sent within :data:`ASK_TIME` will do.

        :returns: how often something had come from the other side before that ping.
        """
        now = self._clock.seconds()
        if self._asked is None or now >= self._asked[0] + ASK_TIME:
            self._asked = now, self.heard
            self.writer.ping()
        return self._asked[1]

    def send_to(self, frame: bytes, readers: Sequence[SocketWriter]) -> None:
        """
        Send a frame to others, because of a message of this socket. If they are very many, that takes several turns of
        the reactor, and nothing more is read of this socket until all of them have it.
        """
        if len(readers) <= READERS:
            for reader in readers:
                reader.send(frame)
            return
        spreading = Spreading(
            frame, readers, self.source, self._turns, self._batch, self._gate.sender, self._has_spread
        )
        self._is_spreading = not spreading.begin()

    def _has_spread(self) -> None:
        self._is_spreading = False
        if not self.writer.is_over:
            self._wait_for(max(0.0, self._rests_until - self._clock.seconds()))

    # Receiving

    @property
    def is_waiting(self) -> bool:
        """:returns: whether nothing is read for now: it has sent more than it may, or it is not its turn."""
        return self._is_waiting

    def is_late(self, now: float) -> bool:
        """:returns: whether a message should have arrived whole by now."""
        return self._pieces is not None and now > self._pieces.until

    def dataReceived(self, data: bytes) -> None:
        """Read what has arrived, or let it wait for its turn."""
        self.heard += 1
        self._frames.receive(data)
        if self._is_waiting:
            return
        if self._turns.are_over:
            self._wait()
        else:
            self._turns.run(self.source.subscriber, self._read, b"")

    def _read(self, _: bytes) -> None:
        with self._batch:
            self._read_frames()

    def _read_frames(self) -> None:
        for number, event in enumerate(self._frames.events(), 1):
            rest = self._take(event)
            if self._frames.is_closed:
                return
            if self._is_spreading and not self.writer.is_over:
                self._rests_until = self._clock.seconds() + rest
                self._pause()
                return
            if rest > 0 and not self.writer.is_over:
                self._wait_for(rest)
                return
            if number == FRAMES:
                self._wait()
                return

    def _wait(self) -> None:
        """Go on in a later turn of the reactor."""
        if not self._is_waiting:
            self._pause()
        self._turns.add(self.source.subscriber, self._go_on)

    def _pause(self) -> None:
        self._is_waiting = True
        self.transport.pauseProducing()

    def _wait_for(self, seconds: float) -> None:
        self._pause()
        self._later = self._clock.callLater(seconds, self._rested)

    def _rested(self) -> None:
        self._later = None
        self._wait()

    def _go_on(self) -> None:
        if self._is_lost:
            return
        self._is_waiting = False
        self.transport.resumeProducing()
        self._turns.run(self.source.subscriber, self._read, b"")

    def _take(self, event: str | Event) -> float:
        """
        Deal with a frame.

        :returns: seconds until more may be read.
        """
        cost = 1.0
        if isinstance(event, str):
            cost = self._hear(event)
        elif isinstance(event, Message):
            cost = self._add(event)
        elif isinstance(event, Ping):
            if not self.writer.is_over:
                self.writer.send(self._frames.pong(event))
        elif isinstance(event, CloseConnection):
            self._closed(event)
        elif not isinstance(event, Pong):  # pragma: no cover
            raise AssertionError(event)
        return 0.0 if self._bucket is None else self._bucket.spend(self._clock.seconds(), cost)

    def _add(self, event: Message[Any]) -> float:
        """:returns: what the message has cost; a piece of one costs as much as a short message."""
        if self.writer.is_over:
            return 0.0
        if isinstance(event, BytesMessage):
            self.close(CloseReason.UNSUPPORTED_DATA, "Messages are text, not bytes.")
            return 0.0
        pieces = self._pieces
        if pieces is None:
            if event.message_finished:
                return self._hear(event.data)
            pieces = self._pieces = Pieces(self._gate.quotas, self.source, self._clock.seconds() + MESSAGE_TIME)
        try:
            pieces.add(event.data)
        except RendezvousError as error:
            self._gate.refusals.note(error, self.source)
            self.close(CloseReason.TRY_AGAIN_LATER, error.message[:120])
            return 0.0
        if event.message_finished or pieces.chars > self._limits.message:
            self._pieces = None
            return self._hear(pieces.take())
        return 1.0

    def _drop_pieces(self) -> None:
        pieces, self._pieces = self._pieces, None
        if pieces is not None:
            pieces.drop()

    def _hear(self, text: str) -> float:
        """:returns: what a message has cost."""
        if self.writer.is_over:
            return 0.0
        if len(text) > self._limits.message:
            self.close(CloseReason.MESSAGE_TOO_BIG, f"A message has at most {self._limits.message} characters.")
            return 0.0
        try:
            return self._conversation.received(text) + len(text) // UNIT
        except Exception:
            failure = Failure()
            self.log.failure(
                "message {request_id} could not be handled", failure, request_id=self.fail(), event="message_failed"
            )
            return 0.0

    def fail(self) -> str:
        """
        End it because of a bug.

        :returns: a name for what has failed, which the other side is sent as well.
        """
        request_id = self._gate.request_ids.draw()
        self.close(CloseReason.INTERNAL_ERROR, f"The server has failed: request {request_id}.")
        return request_id

    def _closed(self, event: CloseConnection) -> None:
        if self._frames.is_closed:
            self.writer.finish()
        else:
            # wsproto gives this event also for frames that break the rules, and has not changed its state then.
            self.close(event.code if event.code != CloseReason.NO_STATUS_RCVD else CloseReason.NORMAL_CLOSURE)

    def _stop_later(self) -> None:
        later, self._later = self._later, None
        if later is not None and later.active():
            later.cancel()
