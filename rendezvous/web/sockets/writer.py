"""What is sent on one WebSocket, and how much of it the other side has not read."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import deferLater

from rendezvous.core.sources import SourceNetwork
from rendezvous.errors import RendezvousError
from rendezvous.web.sending import SMALL, STALL_TIME, Sender, Stalled
from rendezvous.web.sockets.batch import Batch
from rendezvous.web.transports import send_at_once, unsent
from rendezvous.web.waiting import fires_within
from rendezvous.wire.frames import PING

__all__ = ["SocketWriter"]


@implementer(IPushProducer)
class SocketWriter:
    """
    Sends frames. While the other side has to read, what is sent is counted as unread.

    A frame of more than 16 KiB is counted before it is handed over. Otherwise one message to a topic of a thousand
    readers would be in a thousand transports before any of them has asked for a pause.

    :param transport: of the connection.
    :param source: for whom it is counted.
    :param most: bytes that may be unread.
    :param batch: what is sent while messages are read.
    :param sender: counts what all sides have not read.
    :ivar is_over: whether nothing more is sent.
    """

    def __init__(self, transport: Any, source: SourceNetwork, most: int, batch: Batch, sender: Sender) -> None:
        self.is_over = False
        self._transport = transport
        self._source = source
        self._most = most
        self._batch = batch
        self._sender = sender
        self._unsent: list[bytes] = []
        self._unsent_size = 0
        # Bytes that were sent during this pause, and those of a long write.
        self._unread = self._reserved = 0
        self._paused_at: float | None = None
        self._reading: Deferred[None] | None = None

    def send(self, frame: bytes, *, is_counted: bool = False) -> None:
        """
        Send a frame of :func:`rendezvous.wire.frames.text_frame`, or several.

        If the other side has left too much unread, the connection is closed.

        :param is_counted: whether they count as unread already.
        """
        if self.is_over:
            return
        is_much = self._paused_at is not None or len(frame) > SMALL
        if is_much and not is_counted and not self._count(len(frame)):
            self.abort()
            return
        self._unsent.append(frame)
        self._unsent_size += len(frame)
        # The transport has to see what is much, so that it can ask for a pause.
        if not self._batch.is_open or self._unsent_size > SMALL:
            self.flush()
        elif len(self._unsent) == 1:
            self._batch.add(self)

    async def write(self, frames: bytes) -> bool:
        """
        Send frames; very long ones wait for their room, their turn and their reader.

        :returns: whether it has waited for anything.
        :raises Stalled: it has waited for too long.
        """
        if len(frames) <= SMALL:
            self.send(frames)
            return False
        writing = self._write_long(frames)
        del frames  # The transport has a copy. Only that stays while the reader is waited for.
        await writing
        return True

    async def _write_long(self, frames: bytes) -> None:
        await self._sender.reserve_later(self._source, len(frames))
        self._reserved = len(frames)
        try:
            await self._sender.turn(self._source)
            self.send(frames, is_counted=True)
            del frames
            # TLS keeps up to 64 KB until the next turn of the reactor, and asks for a pause only then.
            await deferLater(self._sender.clock, 0.0)
            await self.drain()
        finally:
            self._release()

    def flush(self) -> None:
        """Send what was collected."""
        if self._unsent:
            frames, self._unsent, self._unsent_size = self._unsent, [], 0
            send_at_once(self._transport, frames)
            if self._unread and self._paused_at is None:
                self._has_read()

    def ping(self) -> None:
        """Send a ping (RFC 6455, section 5.5.2)."""
        self.send(PING)

    def end(self, frame: bytes) -> None:
        """Send what was collected, and a last frame."""
        self.flush()
        if not self.is_over:
            self._transport.write(frame)
        self.is_over = True

    def finish(self) -> None:
        """Close the connection once all is sent."""
        # TLS waits for its producer, and so does a transport that has paused it.
        self._transport.unregisterProducer()
        self._transport.loseConnection()

    def abort(self) -> None:
        """Close the connection at once, however much is unsent."""
        self.lost()
        self._transport.abortConnection()

    def lost(self) -> None:
        """Forget everything: the connection is lost."""
        self.is_over = True
        self._unsent.clear()
        self._has_read()
        self._release()

    @property
    def unread(self) -> int:
        """:returns: bytes that the other side has not read, as far as they are counted."""
        return self._unread + self._reserved

    @property
    def is_paused(self) -> bool:
        """:returns: whether the other side has to read before there is more for it."""
        return self._paused_at is not None

    async def drain(self) -> None:
        """
        Wait until the other side has read everything.

        :raises Stalled: it does not read.
        """
        while self._paused_at is not None:
            left = self._paused_at + STALL_TIME - self._sender.clock.seconds()
            self._reading = Deferred()
            if left <= 0 or not await fires_within(self._reading, left, self._sender.clock):
                raise Stalled

    def pauseProducing(self) -> None:
        """Count what is sent from now on, and what the transport still has: the other side has to read."""
        if self._paused_at is None:
            self._paused_at = self._sender.clock.seconds()
            if self._reserved:
                self._sender.paused(self)
            more = unsent(self._transport) - self._unread - self._reserved
            if more > 0 and not self._count(more):
                self.abort()

    def resumeProducing(self) -> None:
        """Stop counting: the other side has read everything."""
        self._paused_at = None
        self._has_read()
        reading, self._reading = self._reading, None
        if reading is not None and not reading.called:
            reading.callback(None)

    def stopProducing(self) -> None:
        """Do nothing: the connection is lost."""

    def paused_for(self) -> float:
        """:returns: seconds for which something has been unread."""
        return 0.0 if self._paused_at is None else self._sender.clock.seconds() - self._paused_at

    def give_way(self) -> None:
        """Close the connection, because another client needs the room of what is unread."""
        self.abort()

    def _count(self, size: int) -> bool:
        """:returns: whether there is room for so many bytes more. They are counted then."""
        if self._unread + size > self._most:
            return False
        try:
            self._sender.reserve(self._source, size)
        except RendezvousError:
            return False
        self._unread += size
        self._sender.paused(self)
        return True

    def _has_read(self) -> None:
        self._sender.resumed(self)
        if self._unread:
            self._sender.release(self._source, self._unread)
            self._unread = 0

    def _release(self) -> None:
        if self._reserved:
            self._sender.release(self._source, self._reserved)
            self._reserved = 0
