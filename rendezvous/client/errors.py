"""
What can go wrong at the client's end, as one tree: each message says what happened and what to do about it.

No message holds a private key. Nothing in this module depends on a transport.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "ClientError",
    "ClientGone",
    "ConnectFailed",
    "NotAdmitted",
    "NotFound",
    "NotOffered",
    "NotRegistered",
    "PeerHasNoAddress",
    "PeerNotFound",
    "RequestRefused",
    "ServerBusy",
    "ServerError",
    "ServerUnreachable",
]

LONGEST_MESSAGE = 300
"""Characters of a server's message that are kept: it ends up in logs and on screens."""


class ClientError(Exception):
    """
    The base of everything that :mod:`rendezvous.client` reports.

    :param happened: what happened, without a full stop, where the class cannot say it better.
    :param advice: what to do about it, where the class cannot say it better.
    :ivar status: the HTTP status of the reply, or ``None`` when there was none.
    :ivar code: the server's stable word for the error, or ``None``.
    :ivar server_message: the server's own sentence, on one line, or ``None``.
    :ivar retry_after: seconds after which the server wants to be asked again, or ``None`` when it did not say.
    """

    happened: ClassVar[str] = "the request failed"
    advice: ClassVar[str] = ""

    def __init__(
        self,
        happened: str | None = None,
        *,
        status: int | None = None,
        code: str | None = None,
        server_message: str | None = None,
        retry_after: float | None = None,
        advice: str | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.server_message = None if server_message is None else _one_line(server_message)
        self.retry_after = retry_after
        said = f" (the server says: {self.server_message})" if self.server_message else ""
        if advice is None:
            advice = self.advice if retry_after is None else f"try again in {retry_after:g} s"
        super().__init__(f"{happened or self.happened}{said}; {advice}".removesuffix("; "))


class ServerUnreachable(ClientError):
    """No reply came: the connection was refused or lost, the name has no address, or the time ran out."""

    happened = "no reply came"
    advice = "check the server's address and that it runs, then try again"


class ServerBusy(ClientError):
    """The server is there and cannot serve this request now; ``retry_after`` says when to come back, if it is known."""

    happened = "the server cannot serve this now"
    advice = "try again later"


class ServerError(ClientError):
    """The server failed, or the reply is not what a rendezvous server gives; the message says which."""

    happened = "the server failed"
    advice = "if it goes on, look into the server's log, and check that the URL is that of a rendezvous server"


class RequestRefused(ClientError):
    """The server understood the request and will not serve it, now or later."""

    happened = "the server refused the request"
    advice = "the same request will be refused again"


class NotOffered(RequestRefused):
    """The server has nothing at this path: it is another server, or its operator has turned the protocol off."""

    happened = "the server does not offer this"
    advice = "check that the URL is that of a rendezvous server; its operator may have turned the protocol off"


class NotAdmitted(RequestRefused):
    """The operator of the server has given out registration tokens, and the request has shown no good one."""

    happened = "the server lets in only those who have a registration token"
    advice = "ask its operator for one, and give it (the command takes --registration-token-file)"


class NotRegistered(ClientError):
    """The server does not know this client, or no longer."""

    happened = "the server does not know this client"
    advice = "register again"


class ClientGone(NotRegistered):
    """A pulse or a verify was answered with "no such client": it was silent for too long, or logged out."""

    happened = "the server no longer knows this client, so its pulses have stopped"


class NotFound(ClientError):
    """The server has no such offer, session or attempt: it has ended, or it belongs to others."""

    happened = "the server does not have it"
    advice = "it may have ended; begin again"


class PeerNotFound(NotFound):
    """No such peer is registered; it may have left, or registered again under another id."""

    happened = "no such peer is registered"
    advice = "ask the peer for its present client id"


class ConnectFailed(ClientError):
    """
    There is no path to the peer.

    :ivar code: why, for programs: a code of the server's, or one of the puncher's.
    :ivar reason: the same for people, as a sentence.
    """

    happened = "there is no path to the peer"

    def __init__(self, reason: str | None = None, *, code: str | None = None) -> None:
        self.reason = _one_line(reason or self.happened)
        super().__init__(self.reason.rstrip("."), code=code or "failed")


class PeerHasNoAddress(ClientError):
    """The peer is registered and has never pulsed, so its address is not known yet."""

    happened = "the peer has no address yet"
    advice = "try again when it has sent its first pulse"


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:LONGEST_MESSAGE]).strip()
