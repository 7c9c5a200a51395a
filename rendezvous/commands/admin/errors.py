"""Why a command for operators has failed."""

from __future__ import annotations

__all__ = ["OperatorError", "Unreachable"]


class OperatorError(Exception):
    """
    It has failed; the message is one plain line.

    :ivar code: of the server's answer; empty if there was none.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class Unreachable(OperatorError):
    """The server does not answer, or not any more: it may again later."""
