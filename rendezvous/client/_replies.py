"""
From a reply's bytes to checked values, or to the error that says what is wrong with them.

The server at the other end may be any server, or none of ours: every field is checked before it is believed.
"""

from __future__ import annotations

import json
import math
import re
from ipaddress import ip_address
from typing import Any, cast

import attrs

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import RequestGenerationFailed, RequestTransmissionFailed, ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from rendezvous.client.errors import (
    ClientError,
    NotAdmitted,
    NotOffered,
    NotRegistered,
    PeerHasNoAddress,
    PeerNotFound,
    RequestRefused,
    ServerBusy,
    ServerError,
    ServerUnreachable,
)

__all__ = ["MAX_BODY", "Fields", "Reply", "exchange_error", "read_body"]

MAX_BODY = 64 * 1024
"""Bytes of a reply that are read at most, unless the route has listings or descriptions in its replies."""

_NO_REPLY = (
    ConnectError,
    ConnectionClosed,
    OSError,
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseFailed,
)
#: OpenSSL's words for a certificate that no authority of the system has signed, or that has ended.
_UNTRUSTED = "certificate verify failed"
_AUTHORITY = "if an authority of your own has signed it, name the certificate of that authority in SSL_CERT_FILE"
#: How service_identity begins, with which Twisted compares the name.
_MISNAMED = "VerificationError("
_OTHER_NAME = "use the name that the certificate has"
_MISSING = {
    "no-address": PeerHasNoAddress,
    "no-such-path": NotOffered,
    "no-such-peer": PeerNotFound,
    "not-registered": NotRegistered,
}


class BodyTooLong(Exception):
    """The body has more bytes than we read: the number is the argument."""


class _BodyReader(Protocol):
    """Collects a body and closes the connection as soon as it is too long, or no longer wanted."""

    def __init__(self, longest: int) -> None:
        self.finished: Deferred[bytes] = Deferred(lambda _: self._give_up(CancelledError()))
        self._longest = longest
        self._body = bytearray()

    def dataReceived(self, data: bytes) -> None:
        if self.finished.called:
            return
        self._body += data
        if len(self._body) > self._longest:
            self._give_up(BodyTooLong(self._longest))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.finished.called:
            return
        # Without a length only JSON itself can tell whether the body is whole, and the parser will.
        if reason.check(ResponseDone, PotentialDataLoss):
            self.finished.callback(bytes(self._body))
        else:
            self.finished.errback(reason)

    def _give_up(self, reason: Exception) -> None:
        self.finished.errback(reason)
        self._body.clear()
        if self.transport is not None:
            self.transport.loseConnection()


def read_body(response: IResponse, longest: int = MAX_BODY) -> Deferred[bytes]:
    """
    A response's body, if it is not too long; cancelling closes the connection.

    :param response: a response whose body has not been read.
    :param longest: bytes that are read at most.
    :returns: fires with the bytes, or fails with :class:`BodyTooLong`.
    """
    reader = _BodyReader(longest)
    response.deliverBody(reader)
    return reader.finished


def exchange_error(reason: Exception, url: str) -> Exception:
    """
    What to raise when no whole reply came.

    :param reason: why not, in the words of Twisted's HTTP client.
    :param url: what was asked for.
    :returns: an error of our own, ``CancelledError``, or the reason itself when it is none that a network causes.
    """
    if isinstance(reason, ClientError):
        return reason
    causes = _causes(reason)
    if any(isinstance(cause, CancelledError | ConnectingCancelledError) for cause in causes):
        return CancelledError()
    for cause in causes:
        if isinstance(cause, BodyTooLong):
            return ServerError(f"the reply to {url} is longer than {cause} bytes")
    if isinstance(reason, _NO_REPLY):
        why = ", ".join(str(cause) or type(cause).__name__ for cause in causes[1:] or causes).rstrip(".")
        if _MISNAMED in why:
            return ServerUnreachable(f"no reply from {url}: its certificate is for another name", advice=_OTHER_NAME)
        if _UNTRUSTED in why:
            return ServerUnreachable(f"no reply from {url}: its certificate is not trusted", advice=_AUTHORITY)
        return ServerUnreachable(f"no reply from {url}: {why}")
    return reason


def _causes(reason: BaseException) -> list[BaseException]:
    """The reason, and after it those that Twisted's HTTP client wrapped in it."""
    found = [reason]
    for wrapped in getattr(reason, "reasons", ()):
        found += _causes(wrapped.value)
    return found


@attrs.frozen
class Fields:
    """
    The members of a JSON object that the server gave, each checked when it is read.

    Every method takes the member's name and raises :class:`ServerError` when it is missing or not what it should be.
    """

    values: dict[str, object]

    def text(self, name: str) -> str:
        """A string."""
        value = self.values.get(name)
        if not isinstance(value, str):
            raise self.wrong(name)
        return value

    def number(self, name: str) -> float:
        """A finite number."""
        value = self.values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(name)
        try:
            number = float(value)
        except OverflowError:
            raise self.wrong(name) from None
        if not math.isfinite(number):
            raise self.wrong(name)
        return number

    def number_or_none(self, name: str) -> float | None:
        """A finite number, or null; a missing member is still an error."""
        if name in self.values and self.values[name] is None:
            return None
        return self.number(name)

    def port(self, name: str) -> int:
        """A port number, 1 to 65535."""
        value = self.values.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
            raise self.wrong(name)
        return value

    def host(self, name: str) -> str:
        """An IP address, spelled as sockets spell it."""
        try:
            return str(ip_address(self.text(name)))
        except ValueError:
            raise self.wrong(name) from None

    def seconds(self, name: str) -> float:
        """A number that is not negative."""
        number = self.number(name)
        if number < 0:
            raise self.wrong(name)
        return number

    def ports(self, name: str) -> tuple[int, ...]:
        """A list of port numbers."""
        return tuple(Fields({name: value}).port(name) for value in self.items(name))

    def integer(self, name: str) -> int:
        """An integer that is not negative and below 2^63."""
        value = self.values.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
            raise self.wrong(name)
        return value

    def integer_or_none(self, name: str) -> int | None:
        """An integer, or ``None`` when the member is null or missing."""
        return None if self.values.get(name) is None else self.integer(name)

    def boolean(self, name: str) -> bool:
        """True or false."""
        value = self.values.get(name)
        if not isinstance(value, bool):
            raise self.wrong(name)
        return value

    def text_or_none(self, name: str) -> str | None:
        """A string, or ``None`` when the member is null or missing."""
        return None if self.values.get(name) is None else self.text(name)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        return tuple(Fields({name: value}).text(name) for value in self.items(name))

    def objects(self, name: str) -> tuple[Fields, ...]:
        """A list of objects."""
        return tuple(self._object(name, value) for value in self.items(name))

    def member(self, name: str) -> Fields:
        """An object."""
        return self._object(name, self.values.get(name))

    def items(self, name: str) -> list[Any]:
        """A list of anything."""
        values = self.values.get(name)
        if not isinstance(values, list):
            raise self.wrong(name)
        return values

    def _object(self, name: str, value: Any) -> Fields:
        if not isinstance(value, dict):
            raise self.wrong(name)
        return Fields(value)

    def wrong(self, name: str) -> ServerError:
        """
        The error for a member that cannot be used.

        :param name: which.
        """
        return ServerError(f"the reply's {name!r} is missing or wrong", status=200)


@attrs.frozen
class Reply:
    """
    A whole HTTP reply.

    :ivar status: its HTTP status.
    :ivar headers: its headers.
    :ivar body: all of its body.
    """

    status: int
    headers: Headers
    body: bytes

    def fields(self, *, missing: type[ClientError] | None = None) -> Fields:
        """
        What a good reply says.

        :param missing: what a plain 404 means on the route that was asked.
        :raises ClientError: when it is not a good reply; the subclass says why.
        """
        values = self._json_object()
        if self.status in (200, 201) and values is not None and values.get("ok") is not False:
            return Fields(values)
        raise self._error(values or {}, missing)

    def error(self, missing: type[ClientError] | None) -> ClientError:
        """
        What a reply says that is not a good one.

        :param missing: what a plain 404 means on the route that was asked.
        """
        return self._error(self._json_object() or {}, missing)

    def _json_object(self) -> dict[str, object] | None:
        try:
            values = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return cast("dict[str, object]", values) if isinstance(values, dict) else None

    def _error(self, values: dict[str, object], missing: type[ClientError] | None) -> ClientError:
        code, message = values.get("code"), values.get("error")
        ours = values.get("ok") is False and isinstance(code, str) and isinstance(message, str)
        request_id = values.get("request_id")
        if ours and isinstance(request_id, str) and re.fullmatch(r"[\w-]{1,64}", request_id, re.ASCII):
            message = f"{message} The request id is {request_id}."
        kind = self._kind(str(code) if ours else None, missing)
        return kind(
            None if ours or kind is ServerBusy else f"status {self.status}, and not in a rendezvous server's words",
            status=self.status,
            code=str(code) if ours else None,
            server_message=str(message) if ours else None,
            retry_after=self._retry_after(),
        )

    def _kind(self, code: str | None, missing: type[ClientError] | None) -> type[ClientError]:
        # A proxy in front of the server says these two without our JSON.
        if self.status in (429, 503):
            return ServerBusy
        if code is None or self.status >= 500:
            return ServerError
        if self.status == 401:
            return NotAdmitted if code == "registration-token" else NotRegistered
        if self.status == 404:
            return _MISSING.get(code) or missing or ServerError
        return RequestRefused

    def _retry_after(self) -> float | None:
        # The other form, a date, needs a wall clock that agrees with the server's.
        value = (self.headers.getRawHeaders(b"retry-after") or [b""])[0].strip()
        return float(value) if re.fullmatch(rb"[0-9]{1,9}", value) else None
