"""The name of the operator who asks for a change, for the log; and the check that no page of another site asks."""

from __future__ import annotations

import re
from typing import Any

from rendezvous.errors import Forbidden, Malformed
from rendezvous.web.fields import header

__all__ = ["NAME_HEADER", "check_site", "who"]

NAME_HEADER = "Rendezvous-Operator"
"""The header in which an operator, or what acts for one, gives a name."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")


def who(request: Any) -> str:
    """
    :returns: who has sent a request: the name if one is given, and the address.
    :raises Malformed: ``bad-operator``, the name is none.
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


def check_site(request: Any) -> None:
    """
    Refuse a change that a page of another site asks for. The token is no cookie, so no browser sends it by itself; this
    holds also if a page has got hold of it.

    :raises Forbidden: ``other-site``.
    """
    if request.method in (b"GET", b"HEAD"):
        return
    site, origin = request.getHeader(b"Sec-Fetch-Site"), request.getHeader(b"Origin")
    is_other = site not in (None, b"same-origin", b"none")
    if origin is not None:
        _, separator, host = origin.partition(b"://")
        is_other |= not separator or host != request.getHeader(b"Host")
    if is_other:
        raise Forbidden("Pages of other sites may change nothing here.", code="other-site")
