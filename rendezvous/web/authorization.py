"""The ``Authorization`` header (RFC 6750, section 2.1)."""

from __future__ import annotations

import re

from rendezvous.core.identity import Credential
from rendezvous.errors import Unauthorized

__all__ = ["bearer", "parse_authorization"]

# re.IGNORECASE for the digits as well would take more than twice the time.
_BEARER = re.compile(r"(?i:bearer) +(?:([0-9A-Fa-f]{32}):)?([0-9A-Fa-f]{64}) *", re.ASCII)

_TOKEN = re.compile(r"(?i:bearer) +([A-Za-z0-9._~+/=-]{1,256}) *")


def parse_authorization(header: str | None) -> Credential:
    """
    Read ``Bearer <private_id>`` or ``Bearer <client_id>:<private_id>``.

    :raises Unauthorized: the header is missing or is neither.
    """
    if not header:
        raise Unauthorized("This needs an Authorization header: Bearer <private_id>.")
    match = _BEARER.fullmatch(header)
    if match is None:
        raise Unauthorized("The Authorization header is neither Bearer <private_id> nor <client_id>:<private_id>.")
    client_id, key = match.groups()
    return Credential(bytes.fromhex(key), bytes.fromhex(client_id) if client_id else None)


def bearer(header: str | None) -> str | None:
    """:returns: the token of ``Bearer <token>``; ``None`` if the header is missing or something else."""
    match = _TOKEN.fullmatch(header or "")
    return None if match is None else match[1]
