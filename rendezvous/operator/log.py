"""The log of what operators change, with who it was."""

from __future__ import annotations

from twisted.logger import Logger

__all__ = ["log"]

_log = Logger()


def log(who: str, what: str) -> None:
    """
    Log a change. The bound of the log for lines that repeat leaves none of these out.

    :param who: of :func:`rendezvous.operator.who.who`.
    :param what: what has changed.
    """
    _log.info("operator {who}: {what}", who=who, what=what, event="operator_acted")
