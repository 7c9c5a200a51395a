"""The error with which a subcommand ends, and the words for those of the client library."""

from __future__ import annotations

from rendezvous.client import ClientError, PeerNotFound, ServerBusy, ServerError, ServerUnreachable

__all__ = ["CommandError", "described"]

#: Codes for errors that the server has given none, or none that says which thing was not found.
_CODES: dict[type[ClientError], str] = {
    PeerNotFound: "no-such-peer",
    ServerUnreachable: "server-unreachable",
    ServerBusy: "server-busy",
    ServerError: "server-error",
}


class CommandError(Exception):
    """
    The command cannot do what it was asked for.

    :param code: a stable word for programs.
    :param reason: one plain line for people, without a full stop.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def described(error: ClientError) -> tuple[str, str]:
    """:returns: the code and the reason of an error of the client library."""
    own = _CODES.get(type(error), "failed")
    code = own if error.code in (None, "not-found") else str(error.code)
    return code, str(getattr(error, "reason", None) or error)
