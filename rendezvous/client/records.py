"""What the client's methods take and return: plain frozen records, checked when they are made."""

from __future__ import annotations

import re
from enum import Enum

import attrs

__all__ = ["Health", "Identity", "PeerAddress", "PeerStatus", "Status"]

CLIENT_ID_DIGITS = 32
PRIVATE_ID_DIGITS = 64


def _hex_digits(count: int, attribute: str, value: str) -> None:
    # The value stays out of the message: it may be a private key.
    if not isinstance(value, str) or re.fullmatch(f"[0-9a-fA-F]{{{count}}}", value) is None:
        raise ValueError(f"{attribute} must be {count} hex digits")


@attrs.frozen
class Identity:
    """
    A client's name and the key that proves it; save both to go on as the same client after a restart.

    :param client_id: what peers know the client by, 32 hex digits.
    :param private_id: the private key, 64 hex digits. It is never shown by ``repr``.
    :raises ValueError: when either is something else.
    """

    client_id: str = attrs.field()
    private_id: str = attrs.field(repr=False)

    @client_id.validator
    def _check_client_id(self, attribute: attrs.Attribute[str], value: str) -> None:
        _hex_digits(CLIENT_ID_DIGITS, attribute.name, value)

    @private_id.validator
    def _check_private_id(self, attribute: attrs.Attribute[str], value: str) -> None:
        _hex_digits(PRIVATE_ID_DIGITS, attribute.name, value)

    @property
    def private_key(self) -> bytes:
        """The 32 raw bytes that a pulse carries."""
        return bytes.fromhex(self.private_id)

    @property
    def credential(self) -> str:
        """The value of the ``Authorization`` header, in its two-part form."""
        return f"Bearer {self.client_id}:{self.private_id}"


@attrs.frozen
class PeerAddress:
    """
    Where a peer was last seen.

    :ivar host: its public IPv4 or IPv6 address, as text.
    :ivar port: its public UDP port.
    :ivar timestamp: the server's time of the answer, in seconds since the epoch.
    """

    host: str
    port: int
    timestamp: float


class Status(Enum):
    """Whether a registered peer's pulses come on time."""

    ONLINE = "ONLINE"
    PENDING = "PENDING"


@attrs.frozen
class PeerStatus:
    """
    How a peer is.

    :ivar status: online, or waiting to be verified.
    :ivar last_online: seconds since its last pulse, or ``None`` when it has never sent one.
    """

    status: Status
    last_online: float | None


@attrs.frozen
class Health:
    """
    What the server says about itself.

    :ivar version: the version it runs.
    :ivar timestamp_ms: its clock, in milliseconds since the epoch.
    """

    version: str
    timestamp_ms: float
