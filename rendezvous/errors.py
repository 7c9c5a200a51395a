"""
What can go wrong, as one tree of exceptions.

Each class knows the HTTP status that fits it and a stable word for programs (``protocol/http`` in the docs lists
them); the message is one plain sentence for people. Nothing in this module depends on a transport.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

__all__ = [
    "Conflict",
    "Forbidden",
    "Full",
    "HeadersTooLarge",
    "LineTooLong",
    "Malformed",
    "MethodNotAllowed",
    "NotFound",
    "RendezvousError",
    "RequestTimeout",
    "StartupError",
    "TooLarge",
    "TooMany",
    "Unauthorized",
    "Unavailable",
    "Unsupported",
    "UnsupportedMedia",
    "UpgradeRequired",
    "WireError",
]


class StartupError(ValueError):
    """
    What keeps the server or a command from starting, and what an operator can change: a setting, a file, a port.

    The message is one plain line: what is wrong, and what would be right.
    """


class WireError(ValueError):
    """Bytes from the network that do not follow their protocol."""


class RendezvousError(Exception):
    """
    A request that cannot be served, with the reason.

    :param message: one plain sentence, shown to the caller.
    :param code: a stable word that is more precise than the class's own.
    :param retry_after: whole seconds after which trying again makes sense, if that is not the class's own time.
    :ivar status: the HTTP status that fits.
    :ivar retry_after: seconds after which trying again makes sense, or ``None``.
    """

    status: ClassVar[int] = 500
    default_code: ClassVar[str] = "internal"
    retry_after: int | None = None

    def __init__(self, message: str, *, code: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        if retry_after is not None:
            self.retry_after = retry_after


class Malformed(RendezvousError):
    """The request is not what the contract says: which field, and what was wrong with it."""

    status = 400
    default_code = "malformed"


class Unauthorized(RendezvousError):
    """The credential is missing, malformed, wrong, or has ended."""

    status = 401
    default_code = "unauthorized"


class Forbidden(RendezvousError):
    """The caller is known, and may not do this."""

    status = 403
    default_code = "forbidden"


class NotFound(RendezvousError):
    """What the request names does not exist, or no longer."""

    status = 404
    default_code = "not-found"


class MethodNotAllowed(RendezvousError):
    """The path exists, but not with this method."""

    status = 405
    default_code = "method-not-allowed"


class RequestTimeout(RendezvousError):
    """The request did not arrive in time; it is read no further."""

    status = 408
    default_code = "request-timeout"


class Conflict(RendezvousError):
    """The request is in conflict with an earlier request."""

    status = 409
    default_code = "conflict"


class TooLarge(RendezvousError):
    """The body is over the limit."""

    status = 413
    default_code = "too-large"


class LineTooLong(RendezvousError):
    """The request line is over the limit."""

    status = 414
    default_code = "line-too-long"


class UnsupportedMedia(RendezvousError):
    """The body is of a type that this route does not read."""

    status = 415
    default_code = "unsupported-media-type"


class TooMany(RendezvousError):
    """This caller has reached a limit of its own."""

    status = 429
    default_code = "too-many"
    retry_after = 30


class HeadersTooLarge(RendezvousError):
    """The headers are over the limit, one of them or all together."""

    status = 431
    default_code = "headers-too-large"


class Unsupported(RendezvousError):
    """The request uses a part of HTTP that the server does not have."""

    status = 501
    default_code = "unsupported"


class UpgradeRequired(RendezvousError):
    """The path takes WebSockets of version 13 (RFC 6455) alone."""

    status = 426
    default_code = "upgrade-required"


class Unavailable(RendezvousError):
    """The server cannot do this now; the same request may work later."""

    status = 503
    default_code = "unavailable"
    retry_after = 5


class Full(Unavailable):
    """
    A table has reached its bound; it empties as its entries expire.

    :param holder: gives the network that holds most of the table, for the log.
    """

    default_code = "full"
    retry_after = 30

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        retry_after: int | None = None,
        holder: Callable[[], str | None] | None = None,
    ) -> None:
        super().__init__(message, code=code, retry_after=retry_after)
        self.holder = holder
