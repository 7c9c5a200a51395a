"""JSON in and out: decoding within a cap, and the one place where an exception becomes a status and a body."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import orjson
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WrongMethod

from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request

from rendezvous.errors import (
    Malformed,
    MethodNotAllowed,
    NotFound,
    RendezvousError,
    Unauthorized,
    UnsupportedMedia,
    UpgradeRequired,
)
from rendezvous.web.pages import encode
from rendezvous.web.requestids import RequestIds

__all__ = [
    "SERVER_ERROR",
    "error_body",
    "error_fields",
    "log_failure",
    "nothing_here",
    "read_object",
    "write_error",
    "write_failure",
    "write_head",
    "write_object",
]

_log = Logger()

#: The least status of an error that is the server's and not the client's. Such an answer has a request id.
SERVER_ERROR = 500

#: A body over this many bytes is looked at before it is parsed, and so is one with more than so many lists and objects.
#: All others are parsed in less than 10 ms by orjson.
LARGE = 400 * 1024
MANY_LISTS = 20_000

#: What a body that is looked at may hold outside of its strings, in bytes, and how many strings it may have. The parser
#: of the standard library, which is several times as slow, reads more than these bytes only of such a body.
MAX_STRUCTURE = 64 * 1024
MAX_STRINGS = 20_000

#: Digits of an integer. Longer ones take time that grows with the square of their length.
MAX_DIGITS = 100
_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
_LONG = b"0" * MAX_DIGITS

# Integers of 64 bits have no more digits. orjson reads longer ones as floating-point numbers, which are not exact.
_INTEGER = b"0" * 20
_NEGATIVE_INTEGER = b"-" + b"0" * 19


def write_object(request: Request, body: dict[str, Any] | bytes, status: int = 200) -> bytes:
    """
    Set the headers of a JSON answer.

    :param body: an object, or its JSON in UTF-8.
    :returns: the body, to be written.
    """
    data = body if isinstance(body, bytes) else encode(body)
    if status != 200:
        request.setResponseCode(status, HTTPStatus(status).phrase.encode("ascii"))
    write_head(request, len(data))
    return data


def write_head(request: Request, size: int, media: bytes = b"application/json") -> None:
    """
    Set the headers of an answer.

    :param size: of its body, in bytes.
    :param media: type of its body.
    """
    request.setHeader(b"Content-Type", media)
    request.setHeader(b"Content-Length", b"%d" % size)


def error_body(error: RendezvousError, request_id: str | None = None) -> dict[str, Any]:
    """:returns: the body that every error has (``protocol/http``, Errors)."""
    body = {"ok": False, "error": error.message, "code": error.code}
    return body if request_id is None else {**body, "request_id": request_id}


def error_fields(error: RendezvousError, request_id: str | None) -> dict[bytes, bytes]:
    """:returns: the header fields that only some errors have."""
    fields = {}
    if request_id is not None:
        fields[b"X-Request-ID"] = request_id.encode("ascii")
    if isinstance(error, Unauthorized):
        fields[b"WWW-Authenticate"] = b"Bearer"
    if isinstance(error, UpgradeRequired):
        fields[b"Upgrade"] = b"websocket"
        fields[b"Sec-WebSocket-Version"] = b"13"
    if error.retry_after is not None:
        fields[b"Retry-After"] = b"%d" % error.retry_after
    return fields


def write_error(request: Request, error: BaseException, ids: RequestIds) -> bytes:
    """
    Set status and headers for whatever a route has raised. A fault of ours is logged, and not shown to the client.

    :param ids: names the request if the error is the server's.
    :returns: the body, to be written.
    """
    return _write_error(request, error, None, ids)


def write_failure(request: Request, failure: Failure, ids: RequestIds) -> bytes:
    """
    Answer as :func:`write_error` does, for what a Deferred has failed with.

    :returns: the body, to be written.
    """
    return _write_error(request, failure.value, failure, ids)


def nothing_here() -> NotFound:
    """:returns: the error for a path that no route has."""
    return NotFound("There is nothing at this path: /openapi.json lists all paths.", code="no-such-path")


def log_failure(failure: Failure, request_id: str) -> None:
    """Log a bug that a request has met."""
    _log.failure("request {request_id} could not be handled", failure, request_id=request_id, event="request_failed")


def _shown(request: Request, error: BaseException | None) -> RendezvousError | None:
    """:returns: the error that the client is shown; ``None`` for a fault of ours."""
    if isinstance(error, RendezvousError):
        return error
    if isinstance(error, WrongMethod):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        request.setHeader(b"Allow", allowed.encode("ascii"))
        return MethodNotAllowed(f"This path takes {allowed}.")
    if isinstance(error, HTTPException):
        # Whatever else the router says of a path (a redirect to a tidier one, say) means that there is nothing here.
        return nothing_here()
    return None


def _write_error(request: Request, error: BaseException | None, failure: Failure | None, ids: RequestIds) -> bytes:
    shown = _shown(request, error)
    request_id = None if shown is not None and shown.status < SERVER_ERROR else ids.draw()
    if shown is None:
        log_failure(Failure(error) if failure is None else failure, str(request_id))
        shown = RendezvousError("The server has failed; its operator finds the reason in the log by the request id.")
    if request.startedWriting:
        # A stream that has begun can only end.
        return b""
    for name, value in error_fields(shown, request_id).items():
        request.setHeader(name, value)
    return write_object(request, error_body(shown, request_id), shown.status)


def read_object(request: Request) -> dict[str, Any]:
    """
    Read the body as one JSON object.

    :raises UnsupportedMedia: the request says that its body is something else than JSON.
    :raises Malformed: the body is not a JSON object in UTF-8.
    """
    media = (request.getHeader(b"Content-Type") or b"application/json").split(b";")[0].strip().lower()
    if media != b"application/json" and not media.endswith(b"+json"):
        raise UnsupportedMedia("This route reads application/json.")
    content: Any = request.content
    content.seek(0)
    data = content.read()
    # Nothing reads it again, and the request may wait for the disk.
    content.seek(0)
    content.truncate()
    outside = None
    if len(data) > LARGE or data.count(b"[") + data.count(b"{") > MANY_LISTS:
        outside = _check_plain(data)
    body = _loads(data, outside)
    if not isinstance(body, dict):
        raise Malformed("The body must be a JSON object.", code="bad-json")
    return body


def _loads(data: bytes, outside: bytes | None) -> Any:
    """
    Read JSON with orjson. What it refuses, or reads in another way, is left to the parser of the standard library.

    Half of a surrogate pair, a number beyond a double and an integer of more than 64 bits are JSON (RFC 8259), and what
    becomes of them is for the routes to say. The standard library also gives the reason why something is not JSON.

    :param outside: of a large body that is mostly text, what is outside of its strings.
    """
    # Within strings any digits will do: to look for them in two megabytes takes 3 ms.
    digits = (data if outside is None else outside).translate(_DIGITS)
    if _INTEGER not in digits and _NEGATIVE_INTEGER not in digits:
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError as e:
            if len(data) > LARGE:
                # The standard library takes 10 ms for it, after the 10 ms that it has taken already.
                raise Malformed(
                    f"The body is not JSON in Unicode: there is a mistake at character {e.pos}.", code="bad-json"
                ) from None
    if len(data) > MAX_STRUCTURE and outside is None:
        _check_plain(data)
    try:
        parse_int = _short_int if _LONG in digits else None
        return json.loads(data.decode("utf-8"), parse_constant=_refuse_constant, parse_int=parse_int)
    except (ValueError, RecursionError) as e:
        raise Malformed(f"The body is not JSON: {_reason(e)}.", code="bad-json") from None


def _check_plain(data: bytes) -> bytes:
    """
    See that a body is mostly text, as a request with several session descriptions is.

    Two megabytes of small lists would take 90 ms to parse, and no thread helps, as the parser holds the interpreter's
    lock. What is done here takes some 8 ms at most, whatever the body is.

    :returns: what is outside of its strings.
    :raises Malformed: it is not.
    """
    parts = data.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"', 2 * MAX_STRINGS)
    outside = parts[::2]
    if len(parts) > 2 * MAX_STRINGS or sum(map(len, outside)) > MAX_STRUCTURE:
        raise Malformed("The body has too many values.", code="bad-json")
    return b'"'.join(outside)


def _short_int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise _TooLongError
    return int(text)


class _TooLongError(ValueError):
    def __str__(self) -> str:
        return f"a number has more than {MAX_DIGITS} digits"


def _refuse_constant(name: str) -> None:
    # RFC 8259, section 6: NaN and the infinities are not JSON, though Python reads and writes them.
    raise ValueError(f"{name} is not a JSON number")


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"there is a mistake at character {error.pos}"
    return str(error)
