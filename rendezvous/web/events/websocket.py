"""``/events`` as a WebSocket: all events of a client, and of the topics that it watches, on one connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from rendezvous.core.identity import Credential
from rendezvous.errors import Malformed, RendezvousError, Unauthorized, Unavailable, WireError
from rendezvous.refusals import Refusals
from rendezvous.web.authorization import parse_authorization
from rendezvous.web.events.stream import EventStream, EventStreams, Item
from rendezvous.web.sending import Stalled
from rendezvous.web.sockets.socket import Socket
from rendezvous.wire.events import PONG, Authenticate, Ping, Subscribe, decode, message
from rendezvous.wire.frames import text_frame

__all__ = ["AUTHENTICATION_TIME", "EventConversation"]

#: Seconds within which a page has to send its credential.
AUTHENTICATION_TIME = 10.0

#: A close code is this number and the HTTP status of the error. RFC 6455, section 7.4.2, leaves those from 4000 on to
#: applications.
CLOSE_CODES = 4000

_PONG = text_frame(PONG)
_NO_CREDENTIAL = 'The first message must be {"type": "authenticate", "credential": "<client_id>:<private_id>"}.'


class EventConversation:
    """
    One socket of this protocol.

    :param streams: what all streams share.
    :param refusals: counts what is refused because of a limit.
    :param credential: gives the credential that the request has brought; ``None`` if it comes in the first message.
    :param cursor: the id after which the stream goes on; ``None`` for what happens from now on.
    :param topics: which it watches from the beginning.
    """

    log = Logger()
    kind = "events"
    peer: str | None = None
    _socket: Socket

    def __init__(
        self,
        streams: EventStreams,
        refusals: Refusals,
        credential: Callable[[], Credential | None],
        cursor: int | None,
        topics: Sequence[str],
    ) -> None:
        self._streams = streams
        self._refusals = refusals
        self._credential = credential
        self._cursor = cursor
        self._topics = topics
        self._stream: EventStream | None = None
        self._running: Deferred[None] | None = None
        self._later: IDelayedCall | None = None

    def opened(self, socket: Socket) -> None:
        """Begin, or wait for the credential."""
        self._socket = socket
        try:
            credential = self._credential()
        except RendezvousError as error:
            self._end(error)
        else:
            del self._credential  # It refers to the request.
            if credential is not None:
                self._begin(credential)
            else:
                self._later = self._streams.clock.callLater(AUTHENTICATION_TIME, self._late)

    def received(self, text: str) -> float:
        """Take a message."""
        try:
            found = decode(text)
        except WireError as error:
            return self._refuse(Malformed(str(error)))
        if self._running is None:
            self._authenticate(found)
        elif isinstance(found, Subscribe):
            return self._watch(found)
        elif isinstance(found, Ping):
            self._socket.writer.send(_PONG)
        return 1.0

    def lost(self) -> None:
        """End the stream."""
        self._stop_later()
        running, self._running = self._running, None
        if running is not None:
            running.cancel()

    def _late(self) -> None:
        self._later = None
        self._end(Unauthorized(f"No credential has come within {AUTHENTICATION_TIME:g} s."))

    def _authenticate(self, found: object) -> None:
        self._stop_later()
        if not isinstance(found, Authenticate):
            self._end(Unauthorized(_NO_CREDENTIAL))
            return
        try:
            credential = parse_authorization(f"Bearer {found.credential}")
        except Unauthorized:
            self._end(Unauthorized("The credential is neither <private_id> nor <client_id>:<private_id>."))
        else:
            self._begin(credential)

    def _begin(self, credential: Credential) -> None:
        self._running = running = Deferred.fromCoroutine(self._run(credential))
        running.addErrback(self._failed)
        if self._socket.writer.is_over:
            running.cancel()  # The connection was lost meanwhile.

    async def _run(self, credential: Credential) -> None:
        store, now = self._streams.store, self._streams.clock.seconds()
        peer = (await store.authenticate(credential, now)).hex()
        with self._streams.open(credential, peer, self._socket.source, self._cursor, self._topics) as stream:
            self._stream, self.peer = stream, peer
            self._send("open", {"peerId": peer, "topics": stream.topics})
            await stream.run(self._socket.writer, _frames)

    def _failed(self, failure: Any) -> None:
        self._stream = None
        self._running = None
        if self._socket.writer.is_over and failure.check(CancelledError):
            return
        if failure.check(Stalled):
            self._socket.abort()
        elif failure.check(RendezvousError):
            self._end(failure.value)
        else:
            self.log.failure(
                "event stream {request_id} could not be written",
                failure,
                request_id=self._socket.fail(),
                event="event_stream_failed",
            )

    def _watch(self, found: Subscribe) -> float:
        stream = self._stream
        if stream is None:
            return self._refuse(Unavailable("The stream is not open yet."))
        try:
            if found.is_end:
                stream.unwatch(found.topics)
            else:
                stream.watch(found.topics)
        except RendezvousError as error:
            self._refuse(error)
        else:
            self._send("subscribed", {"topics": stream.topics})
        return max(1.0, len(found.topics))

    def _refuse(self, error: RendezvousError) -> float:
        """Say what is wrong with a message. Before the credential has come, that is the end."""
        if self._running is None:
            self._end(Unauthorized(_NO_CREDENTIAL))
        else:
            self._refusals.note(error, self._socket.source)
            self._send("error", _fields(error))
        return 1.0

    def _end(self, error: RendezvousError) -> None:
        self._stop_later()
        self._refusals.note(error, self._socket.source)
        self._send("error", _fields(error))
        self._socket.close(CLOSE_CODES + error.status, error.code)

    def _send(self, event: str, fields: dict[str, Any]) -> None:
        self._socket.writer.send(text_frame(message(event, fields)))

    def _stop_later(self) -> None:
        later, self._later = self._later, None
        if later is not None:
            later.cancel()


def _fields(error: RendezvousError) -> dict[str, Any]:
    fields = {"error": error.message, "code": error.code}
    return fields if error.retry_after is None else {**fields, "retryAfter": error.retry_after}


def _frames(item: Item) -> bytes:
    frames = [text_frame(message("reset", reset)) for reset in item.resets]
    frames.append(text_frame(message(item.event or "keep-alive", item.data or None, item.id)))
    return b"".join(frames)
