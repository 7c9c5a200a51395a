"""The record of one client, and its network as bytes."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Network

import attrs

from rendezvous.core.addresses import ipv4_text, packed

__all__ = ["Client", "pack_network", "unpack_network"]

_IPV4_SOURCE = b"\xff\xff\xff\xff"
_UNKNOWN_SOURCE = b"\xff" * 8


@attrs.frozen
class Client:
    """
    One registered client, as it was when it was looked up.

    :ivar client_id: 16 bytes.
    :ivar last_seen: the last accepted pulse or verify (before those, the registration), server time.
    :ivar network: the network that registered it, as :attr:`~rendezvous.core.sources.SourceNetwork.subscriber`; empty
        if no limit counts it.
    :ivar host: where its pulses come from; ``None`` until the first. IPv4 is spelled as IPv4, and without a scope.
    :ivar port: the port of that address.
    :ivar local_port: the UDP socket of the server that its pulses go to, by the number that the shell gives it: its
        port, or more if several sockets share one port. 0 until the first pulse, or if it is not known.
    :ivar pulse_before_verify: the last pulse, where a verify is what was last accepted; otherwise ``None``.
    :ivar slot: the number of its slot, 0 if it has none.
    """

    client_id: bytes
    last_seen: float
    network: str = ""
    host: str | None = None
    port: int = 0
    local_port: int = 0
    pulse_before_verify: float | None = None
    slot: int = attrs.field(default=0, eq=False)

    @property
    def last_pulse(self) -> float | None:
        """:returns: when the last accepted pulse came, or ``None`` if none has."""
        if self.host is None:
            return None
        return self.last_seen if self.pulse_before_verify is None else self.pulse_before_verify


@lru_cache(4096)
def pack_network(network: str) -> bytes:
    """:returns: the eight bytes that stand for :attr:`Client.network` in a record."""
    if not network:
        return _UNKNOWN_SOURCE
    address = packed(network.removesuffix("/64"))
    return _IPV4_SOURCE + address if len(address) == 4 else address[:8]


def unpack_network(source: bytes) -> str:
    """:returns: what :attr:`Client.network` says, from the eight bytes in a record."""
    if source == _UNKNOWN_SOURCE:
        return ""
    if source.startswith(_IPV4_SOURCE):
        return ipv4_text(source[4:])
    return str(IPv6Network((source + bytes(8), 64)))
