"""The audit log: the log lines about what operators change, each with the name and the address of the operator."""

from __future__ import annotations

import re
from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from rendezvous.errors import Malformed
from rendezvous.web.fields import header

__all__ = ["NAME_HEADER", "operator_of", "record", "to_the_end"]

T = TypeVar("T")

_log = Logger()

NAME_HEADER = "Rendezvous-Operator"
"""The header with the name of the operator."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")


def operator_of(request: Any) -> str:
    """
    :returns: the operator who has sent a request: the name if one is given, and the address.
    :raises Malformed: ``bad-operator``, the name is not valid.
    """
    peer = request.getClientAddress()
    address = getattr(peer, "host", None) or "a local socket"
    name = header(request, NAME_HEADER.encode("ascii"))
    if name is None:
        return address
    if _NAME.fullmatch(name) is None:
        raise Malformed(
            f"{NAME_HEADER} must be a name of up to 64 letters, digits and the characters . _ @ + -.",
            code="bad-operator",
        )
    return f"{name} ({address})"


def record(operator: str, what: str) -> None:
    """
    Log a change. The log's bound for lines that repeat does not apply to these lines.

    :param operator: from :func:`operator_of`.
    :param what: what has changed.
    """
    _log.info("operator {who}: {what}", who=operator, what=what, event="operator_acted")


async def to_the_end(change: Coroutine[Any, Any, T]) -> T:
    """
    Make a change and log it, also if the operator leaves before the answer.

    A change holds before it is saved. The request waits until it is saved, and ends when its connection does: without
    this, no line would say who has made the change.

    :param change: makes it, and then calls :func:`record`.
    :returns: what it has returned.
    """
    answer: Deferred[T] = Deferred()
    # Once the answer is cancelled, it takes one result more, and ignores it.
    Deferred.fromCoroutine(change).addCallbacks(answer.callback, answer.errback)
    return await answer
