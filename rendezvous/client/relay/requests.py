"""Requests to a TURN server: sent again until they are answered, and signed with the long-term credential."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from rendezvous.errors import WireError
from rendezvous.wire.stun import Message, MessageClass
from rendezvous.wire.turn import Method, Name, decode, encode, first, is_authentic, long_term_key

__all__ = ["ANSWER_TIME", "FIRST_REPEAT", "Requests", "TurnFailed", "TurnRefused"]

FIRST_REPEAT = 0.5
"""Seconds after which a request over UDP is sent again (RFC 8489, section 6.2.1); each wait is twice the one before."""

ANSWER_TIME = 7.5
"""Seconds to wait for an answer: over UDP a request is sent four times. RFC 8489 lets a client choose; its default of
39.5 s is meant for applications that have nothing else to try."""

_TRIES: Final = 4
_RENEWALS: Final = 3
_UNAUTHENTICATED, _STALE_NONCE = 401, 438
# Answers that a server may give before it has checked the credential (RFC 8489, sections 9.2.4 and 10).
_UNSIGNED: Final = frozenset({300, 400, _UNAUTHENTICATED, _STALE_NONCE})


class TurnFailed(Exception):
    """A TURN server gives no relayed address, or no longer: the message says why."""


class TurnRefused(TurnFailed):
    """
    A TURN server has answered with an error.

    :ivar code: of RFC 8489, section 14.8 or RFC 8656, section 19.
    :ivar alternate: the server to try instead, if the answer names one.
    """

    def __init__(self, code: int, reason: str, alternate: tuple[str, int] | None = None) -> None:
        said = "".join(character if character.isprintable() else " " for character in reason[:100]).strip()
        super().__init__(f"the TURN server answered with error {code}{said and ': '}{said}")
        self.code, self.alternate = code, alternate


@attrs.define(eq=False)
class _Request:
    """
    A request that has no answer yet.

    :ivar key: what it was signed with; ``None`` if it was not.
    :ivar tries: how often it was sent.
    :ivar renewals: how often the server has asked for another signature.
    """

    method: Method
    attributes: tuple[tuple[int, Any], ...]
    done: Deferred[Message]
    transaction_id: bytes = b""
    datagram: bytes = b""
    key: bytes | None = None
    tries: int = 0
    renewals: int = 0
    timer: IDelayedCall | None = None


class Requests:
    """
    The requests to one TURN server over one transport.

    The first one is not signed. The server then names its realm and a nonce, and every request from there on is signed
    with them (RFC 8489, section 9.2). An answer that is not signed as it has to be is dropped.

    :param clock: times the repetitions.
    :param send: sends a message.
    :param reliable: whether the transport loses nothing, so that nothing is sent twice.
    :param draw: draws so many random bytes.
    """

    def __init__(
        self,
        clock: IReactorTime,
        username: str,
        password: str,
        *,
        send: Callable[[bytes], object],
        reliable: bool,
        draw: Callable[[int], bytes],
    ) -> None:
        self._clock, self._send, self._reliable, self._draw = clock, send, reliable, draw
        self._username, self._password = username, password
        self._realm: str | None = None
        self._nonce = ""
        self._open: dict[bytes, _Request] = {}

    @property
    def is_signing(self) -> bool:
        """Whether the server has named its realm, so that requests are signed."""
        return self._realm is not None

    def ask(self, method: Method, *attributes: tuple[int, Any]) -> Deferred[Message]:
        """
        Send a request.

        :returns: fires with the success response; fails with :exc:`TurnRefused` for an error response, and with
            :exc:`TurnFailed` if there is none in time. It can be cancelled.
        """
        request = _Request(method, attributes, Deferred(lambda _: self._forget(request)))
        self._begin(request)
        return request.done

    def received(self, datagram: bytes) -> Message | None:
        """
        Take a message of the server.

        :returns: an indication; ``None`` for what was the answer to a request, and for what was dropped.
        """
        try:
            message = decode(datagram)
        except WireError:
            return None
        if message.kind is MessageClass.INDICATION:
            return message
        request = self._open.get(message.transaction_id)
        if request is not None and message.method == request.method and message.kind is not MessageClass.REQUEST:
            self._answered(request, message, datagram)
        return None

    def close(self, reason: str) -> None:
        """Give up all requests, which fail for this reason."""
        while self._open:
            self._fail(next(iter(self._open.values())), TurnFailed(reason))

    def _begin(self, request: _Request) -> None:
        """Send a request under a new transaction id, signed if the realm is known."""
        request.transaction_id, request.tries, request.key = self._draw(12), 0, None
        attributes = request.attributes
        if self._realm is not None:
            request.key = long_term_key(self._username, self._realm, self._password)
            attributes += ((Name.USERNAME, self._username), (Name.REALM, self._realm), (Name.NONCE, self._nonce))
        message = Message(request.method, MessageClass.REQUEST, request.transaction_id, attributes)
        request.datagram = encode(message, request.key)
        self._open[request.transaction_id] = request
        self._try(request)

    def _try(self, request: _Request) -> None:
        if request.tries == (1 if self._reliable else _TRIES):
            self._fail(request, TurnFailed("the TURN server does not answer"))
            return
        wait = ANSWER_TIME if self._reliable else FIRST_REPEAT * 2**request.tries
        request.tries += 1
        request.timer = self._clock.callLater(wait, self._try, request)
        self._send(request.datagram)

    def _answered(self, request: _Request, message: Message, datagram: bytes) -> None:
        code, reason = first(message, Name.ERROR_CODE) or (0, "no error code")
        is_error = message.kind is MessageClass.ERROR
        is_signed = request.key is None or is_authentic(datagram, request.key)
        if not is_signed and not (is_error and code in _UNSIGNED):
            # RFC 8489, section 9.2.5: as if it had not come, or the end of the request where nothing can be lost.
            if self._reliable:
                self._fail(request, TurnFailed("an answer of the TURN server is not signed by it"))
        elif not is_error:
            self._forget(request)
            request.done.callback(message)
        elif not self._is_renewed(request, code, message):
            self._fail(request, TurnRefused(code, reason, first(message, Name.ALTERNATE_SERVER)))

    def _is_renewed(self, request: _Request, code: int, message: Message) -> bool:
        """Send a request again, signed as the answer wants it, if that can help (RFC 8489, section 9.2.5)."""
        is_wanted = code == _STALE_NONCE or (code == _UNAUTHENTICATED and request.key is None)
        realm, nonce = first(message, Name.REALM), first(message, Name.NONCE)
        if not is_wanted or nonce is None or (realm or self._realm) is None or request.renewals == _RENEWALS:
            return False
        self._realm, self._nonce = realm or self._realm, nonce
        request.renewals += 1
        self._forget(request)
        self._begin(request)
        return True

    def _forget(self, request: _Request) -> None:
        self._open.pop(request.transaction_id, None)
        if request.timer is not None and request.timer.active():
            request.timer.cancel()

    def _fail(self, request: _Request, error: TurnFailed) -> None:
        self._forget(request)
        request.done.errback(error)
