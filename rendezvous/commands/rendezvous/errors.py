"""The one error with which a subcommand ends."""

from __future__ import annotations

__all__ = ["CommandError"]


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
