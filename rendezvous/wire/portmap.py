"""
Port mapping at the client's end: requests to a gateway, and its replies (NAT-PMP, RFC 6886; PCP, RFC 6887).

Both protocols use UDP port :data:`PORT` of the gateway, and the first byte of each datagram is the version: 0 for
NAT-PMP, 2 for PCP. Mappings here are for UDP only. Requests carry no PCP options; those of a reply are ignored, because
every option that a server may add to a reply is optional to process (RFC 6887, section 7.3).
"""

from __future__ import annotations

from enum import Enum, IntEnum
from ipaddress import IPv6Address, ip_address
from struct import Struct
from typing import ClassVar

from attrs import frozen

from rendezvous.core.addresses import IPV4_MAPPED
from rendezvous.errors import WireError

__all__ = [
    "NONCE_SIZE",
    "PORT",
    "AddressReply",
    "AnnounceReply",
    "MapReply",
    "NatPmpResult",
    "PcpResult",
    "Protocol",
    "Refusal",
    "Reply",
    "decode_reply",
    "encode_address_request",
    "encode_announce_request",
    "encode_natpmp_map",
    "encode_pcp_map",
]

PORT = 5351
"""The UDP port of the gateway for both protocols (RFC 6886, section 3.1; RFC 6887, section 19.1)."""
NONCE_SIZE = 12
"""Bytes of the nonce of a PCP mapping (RFC 6887, section 11.1)."""

_MAX_PCP = 1100
_RESPONSE = 0x80
_UDP = 17
_ADDRESS, _MAP_UDP = 0, 1
_ANNOUNCE, _MAP = 0, 1

_NATPMP_MAP_REQUEST = Struct("!BBHHHI")
_NATPMP_HEAD = Struct("!BBHI")
_NATPMP_MAP_REPLY = Struct("!BBHIHHI")
_PCP_REQUEST = Struct("!BBHI16s")
_PCP_REPLY = Struct("!BBBBII12x")
_PCP_MAP = Struct("!12sB3xHH16s")


class Protocol(Enum):
    """A protocol between host and gateway; the value is its usual name."""

    NAT_PMP = "nat-pmp"
    PCP = "pcp"


class NatPmpResult(IntEnum):
    """Result codes of NAT-PMP (RFC 6886, section 3.5)."""

    SUCCESS = 0
    UNSUPPORTED_VERSION = 1
    NOT_AUTHORIZED = 2
    NETWORK_FAILURE = 3
    OUT_OF_RESOURCES = 4
    UNSUPPORTED_OPCODE = 5


class PcpResult(IntEnum):
    """Result codes of PCP (RFC 6887, section 7.4)."""

    SUCCESS = 0
    UNSUPP_VERSION = 1
    NOT_AUTHORIZED = 2
    MALFORMED_REQUEST = 3
    UNSUPP_OPCODE = 4
    UNSUPP_OPTION = 5
    MALFORMED_OPTION = 6
    NETWORK_FAILURE = 7
    NO_RESOURCES = 8
    UNSUPP_PROTOCOL = 9
    USER_EX_QUOTA = 10
    CANNOT_PROVIDE_EXTERNAL = 11
    ADDRESS_MISMATCH = 12
    EXCESSIVE_REMOTE_PEERS = 13


@frozen
class AddressReply:
    """
    The external address of a NAT-PMP gateway (RFC 6886, section 3.2).

    :ivar epoch: seconds since the gateway lost or made its table of mappings.
    :ivar address: IPv4.
    """

    protocol: ClassVar[Protocol] = Protocol.NAT_PMP
    epoch: int
    address: str


@frozen
class MapReply:
    """
    A mapping was made, renewed or removed (RFC 6886, section 3.3; RFC 6887, section 11.1).

    :ivar epoch: as in :class:`AddressReply`.
    :ivar lifetime: seconds that it is valid for; 0 if it was removed.
    :ivar internal_port: the port of this host.
    :ivar external_port: the port of the gateway; of an IPv6 pinhole, that of this host.
    :ivar address: PCP only: the external address. ``None`` with NAT-PMP.
    :ivar nonce: PCP only: the nonce of the request. Empty with NAT-PMP.
    """

    protocol: Protocol
    epoch: int
    lifetime: int
    internal_port: int
    external_port: int
    address: str | None = None
    nonce: bytes = b""


@frozen
class AnnounceReply:
    """
    A PCP server is there (RFC 6887, section 14.1).

    :ivar epoch: as in :class:`AddressReply`.
    """

    protocol: ClassVar[Protocol] = Protocol.PCP
    epoch: int


@frozen
class Refusal:
    """
    A gateway refuses a request.

    :ivar result: a number of :class:`NatPmpResult` or :class:`PcpResult`, or another one that is not 0.
    :ivar about_map: whether the request was for a mapping; otherwise it was for the external address, or an announce.
    :ivar epoch: as in :class:`AddressReply`.
    :ivar lifetime: PCP only: seconds in which the same request would be refused again.
    :ivar nonce: PCP only, of a request for a mapping: its nonce, if the gateway has repeated it.
    :ivar address: PCP only: an external address that the gateway has put into the refusal, which some do for one that
        they do not use because it is private.
    """

    protocol: Protocol
    result: int
    about_map: bool
    epoch: int
    lifetime: int = 0
    nonce: bytes = b""
    address: str | None = None

    @property
    def reason(self) -> str:
        """:returns: the name of the result in the words of its RFC, or its number."""
        names: type[IntEnum] = NatPmpResult if self.protocol is Protocol.NAT_PMP else PcpResult
        try:
            return names(self.result).name.lower().replace("_", " ")
        except ValueError:
            return f"result {self.result}"


Reply = AddressReply | MapReply | AnnounceReply | Refusal


def encode_address_request() -> bytes:
    """:returns: the request for the external address of a NAT-PMP gateway, 2 bytes (RFC 6886, section 3.2)."""
    return bytes((0, _ADDRESS))


def encode_natpmp_map(internal_port: int, external_port: int, lifetime: int) -> bytes:
    """
    Ask a NAT-PMP gateway for a mapping (RFC 6886, section 3.3), or to remove it (section 3.4).

    :param external_port: the port that this host would like; 0 for any, and to remove the mapping.
    :param lifetime: seconds; 0 to remove the mapping.
    :returns: 12 bytes.
    """
    return _NATPMP_MAP_REQUEST.pack(0, _MAP_UDP, 0, internal_port, external_port, lifetime)


def encode_announce_request(client: str) -> bytes:
    """
    Ask whether a PCP server is there, and for its epoch (RFC 6887, section 14.1.1).

    :param client: the address that the datagram is sent from.
    :returns: 24 bytes.
    """
    return _PCP_REQUEST.pack(2, _ANNOUNCE, 0, 0, _encode_address(client))


def encode_pcp_map(
    client: str, nonce: bytes, internal_port: int, external: tuple[str | None, int], lifetime: int
) -> bytes:
    """
    Ask a PCP server for a mapping or a pinhole, to renew or to remove it (RFC 6887, section 11.1).

    :param client: the address that the datagram is sent from, IPv4 or IPv6. The mapping is for this address.
    :param nonce: :data:`NONCE_SIZE` random bytes, the same ones for the whole life of the mapping. A server refuses to
        change a mapping that was made with others.
    :param external: the address and the port that this host would like, or has already; ``None`` and 0 for any.
    :param lifetime: seconds; 0 to remove the mapping.
    :returns: 60 bytes.
    """
    address, port = external
    anywhere = "0.0.0.0" if ip_address(client).version == 4 else "::"  # noqa: S104
    head = _PCP_REQUEST.pack(2, _MAP, 0, lifetime, _encode_address(client))
    return head + _PCP_MAP.pack(nonce, _UDP, internal_port, port, _encode_address(address or anywhere))


def decode_reply(datagram: bytes) -> Reply:
    """
    Read what a gateway has sent.

    :raises WireError: for a request, a reply for TCP, and everything that neither RFC allows.
    """
    if len(datagram) < 2 or not datagram[1] & _RESPONSE:
        raise WireError("not a reply of NAT-PMP or PCP")
    if datagram[0] == 0:
        return _decode_natpmp(datagram)
    if datagram[0] == 2:
        return _decode_pcp(datagram)
    raise WireError("neither NAT-PMP nor PCP 2")


def _decode_natpmp(datagram: bytes) -> Reply:
    """Read a reply of NAT-PMP. What follows the epoch of a refusal does not count: some repeat the request there."""
    if not _NATPMP_HEAD.size <= len(datagram) <= _MAX_PCP:
        raise WireError("a reply of NAT-PMP has at least 8 bytes")
    _, opcode, result, epoch = _NATPMP_HEAD.unpack_from(datagram)
    opcode &= ~_RESPONSE
    if result:
        return Refusal(Protocol.NAT_PMP, result, opcode != _ADDRESS, epoch)
    if opcode == _ADDRESS and len(datagram) == 12:
        return AddressReply(epoch, str(ip_address(datagram[8:])))
    if opcode == _MAP_UDP and len(datagram) == _NATPMP_MAP_REPLY.size:
        *_, internal_port, external_port, lifetime = _NATPMP_MAP_REPLY.unpack(datagram)
        if lifetime and not external_port:
            raise WireError("a mapping has a port")
        return MapReply(Protocol.NAT_PMP, epoch, lifetime, internal_port, external_port)
    raise WireError("a reply of NAT-PMP to something else")


def _decode_pcp(datagram: bytes) -> Reply:
    """Read a reply of PCP (section 7.2), after the checks of section 8.3."""
    if not _PCP_REQUEST.size <= len(datagram) <= _MAX_PCP or len(datagram) & 3:
        raise WireError("a reply of PCP has 24 to 1100 bytes, and a multiple of four")
    _, opcode, _, result, lifetime, epoch = _PCP_REPLY.unpack_from(datagram)
    opcode &= ~_RESPONSE
    body = datagram[_PCP_REPLY.size :]
    if opcode == _ANNOUNCE:
        return Refusal(Protocol.PCP, result, False, epoch, lifetime) if result else AnnounceReply(epoch)
    if opcode != _MAP:
        raise WireError("a reply of PCP to something else")
    if len(body) < _PCP_MAP.size:
        if result:
            return Refusal(Protocol.PCP, result, True, epoch, lifetime)
        raise WireError("a reply to MAP has at least 60 bytes")
    nonce, protocol, internal_port, external_port, packed = _PCP_MAP.unpack_from(body)
    if protocol != _UDP:
        raise WireError("a mapping that is not of UDP")
    address = _decode_address(packed)
    if result:
        return Refusal(Protocol.PCP, result, True, epoch, lifetime, nonce, address)
    if lifetime and not external_port:
        raise WireError("a mapping has a port")
    return MapReply(Protocol.PCP, epoch, lifetime, internal_port, external_port, address, nonce)


def _encode_address(host: str) -> bytes:
    """Write an address as 16 bytes, IPv4 as IPv4-mapped IPv6 (RFC 6887, section 5). A scope is left out."""
    packed = ip_address(host.partition("%")[0]).packed
    return packed if len(packed) == 16 else IPV4_MAPPED + packed


def _decode_address(packed: bytes) -> str:
    """Read an address of 16 bytes."""
    address = IPv6Address(packed)
    return str(address.ipv4_mapped or address)
