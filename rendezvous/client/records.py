"""Frozen records that the client's methods take and return; they are checked when they are made."""

from __future__ import annotations

import re
from enum import Enum

import attrs

__all__ = ["Health", "Identity", "PeerAddress", "PeerStatus", "ServerFacts", "Status"]

CLIENT_ID_DIGITS = 32
PRIVATE_ID_DIGITS = 64


def _hex_digits(count: int, attribute: str, value: str) -> None:
    # The value stays out of the message: it may be a private key.
    if not isinstance(value, str) or re.fullmatch(f"[0-9a-fA-F]{{{count}}}", value) is None:
        raise ValueError(f"{attribute} must be {count} hex digits")


@attrs.frozen
class ServerFacts:
    """
    What the server says about itself at registration. Times are in seconds.

    :ivar pulse_interval: how often it expects pulses.
    :ivar pulse_grace: how much later a pulse may come.
    :ivar error_time: how much longer than an interval it keeps a client that is silent.
    :ivar registration_time: how long a new client may take to its first pulse.
    :ivar udp_ports: its UDP ports.
    """

    pulse_interval: float
    pulse_grace: float
    error_time: float
    registration_time: float
    udp_ports: tuple[int, ...] = ()


@attrs.frozen
class Identity:
    """
    A client's id and its private key. Save both to go on as the same client after a restart.

    :param client_id: the name that peers use for the client, 32 hex digits.
    :param private_id: the private key, 64 hex digits. ``repr`` never shows it.
    :param facts: the facts that came with the registration, or ``None``; they do not count in a comparison.
    :raises ValueError: when an id has another form.
    """

    client_id: str = attrs.field()
    private_id: str = attrs.field(repr=False)
    facts: ServerFacts | None = attrs.field(default=None, eq=False)

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
