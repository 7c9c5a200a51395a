"""
Probes and data between two peers: 64 bytes, and a payload with 24 bytes around it.

The layouts are those of ``docs/protocol/connect.rst``. Both carry a MAC, keyed BLAKE2s (RFC 7693) of 16 bytes, under a
key that is derived from the pair key of the attempt.
"""

from __future__ import annotations

import struct

from rendezvous.core.macs import MAC_SIZE, derive_key, is_authentic, mac
from rendezvous.core.punching.probes import MAX_PAYLOAD, PATH_ID_SIZE, Data, Probe, ProbeType
from rendezvous.errors import WireError
from rendezvous.wire.connect import ADDRESS_SIZE, MAGIC, decode_address, encode_address

__all__ = ["ATTEMPT_SIZE", "DATA_OVERHEAD", "PAIR_KEY_SIZE", "PROBE_SIZE", "PairCodec"]

PAIR_KEY_SIZE = 32
ATTEMPT_SIZE = 8
PROBE_SIZE = 64
DATA_OVERHEAD = 24
"""Bytes that a datagram of data has more than its payload."""

_CONTROLLING, _NOMINATE, _TO_MAPPING, _BIRTHDAY, _RELAYED = 1, 2, 4, 8, 16
_FLAGS = _CONTROLLING | _NOMINATE | _TO_MAPPING | _BIRTHDAY | _RELAYED
_DATA_BY_CONTROLLING, _DATA_BY_CONTROLLED = 0x20, 0x21
_PROBE = struct.Struct(f"!BBH{ATTEMPT_SIZE}sI8s{ADDRESS_SIZE}s{PATH_ID_SIZE}s")
_DATA_HEADER = struct.Struct("!BBHI")
_TYPES = frozenset(ProbeType)


class PairCodec:
    """
    Writes and reads the datagrams of one attempt (:class:`rendezvous.core.punching.probes.Codec`).

    :param pair_key: 32 bytes, from the server.
    :param attempt: 8 bytes.
    :param controlling: whether this side has asked for the attempt.
    """

    def __init__(self, pair_key: bytes, attempt: bytes, controlling: bool) -> None:
        if len(pair_key) != PAIR_KEY_SIZE or len(attempt) != ATTEMPT_SIZE:
            raise ValueError("a pair key has 32 bytes and an attempt 8")
        self._attempt = attempt
        self._controlling = controlling
        self._sent_data, self._received_data = (
            (_DATA_BY_CONTROLLING, _DATA_BY_CONTROLLED) if controlling else (_DATA_BY_CONTROLLED, _DATA_BY_CONTROLLING)
        )
        self._probe_key = derive_key(pair_key, b"probe")
        self._data_key = derive_key(pair_key, b"data")

    def encode_probe(self, probe: Probe) -> bytes:
        """:returns: 64 bytes."""
        flags = (
            _CONTROLLING * self._controlling
            | _NOMINATE * probe.nominate
            | _TO_MAPPING * probe.to_mapping
            | _BIRTHDAY * probe.birthday
            | _RELAYED * probe.relayed
        )
        body = _PROBE.pack(
            MAGIC,
            probe.type,
            flags,
            self._attempt,
            probe.sequence,
            probe.nonce,
            encode_address(probe.address),
            probe.path,
        )
        return body + mac(self._probe_key, body)

    def encode_data(self, data: Data) -> bytes:
        """
        :returns: the payload with a header of 8 bytes and a MAC of 16.
        :raises ValueError: the payload is too long, or the number is.
        """
        if len(data.payload) > MAX_PAYLOAD:
            raise ValueError(f"a payload has at most {MAX_PAYLOAD} bytes, and this one has {len(data.payload)}")
        if not 0 <= data.sequence < 1 << 48:
            raise ValueError("a sequence number has 48 bits")
        header = _DATA_HEADER.pack(MAGIC, self._sent_data, data.sequence >> 32, data.sequence & 0xFFFFFFFF)
        body = header + data.payload
        return body + mac(self._data_key, body)

    def decode(self, datagram: bytes) -> Probe | Data:
        """
        :returns: what the other side of this attempt has sent.
        :raises WireError: it has another length, type, attempt or direction, reserved flags, or the MAC is wrong.
        """
        if len(datagram) < DATA_OVERHEAD or datagram[0] != MAGIC:
            raise WireError("this is no datagram between peers")
        if datagram[1] == self._received_data:
            return self._decode_data(datagram)
        return self._decode_probe(datagram)

    def _decode_probe(self, datagram: bytes) -> Probe:
        if len(datagram) != PROBE_SIZE:
            raise WireError("a probe is 64 bytes")
        body = datagram[:-MAC_SIZE]
        _, kind, flags, attempt, sequence, nonce, where, path = _PROBE.unpack(body)
        if kind not in _TYPES or flags & ~_FLAGS:
            raise WireError("this is no probe")
        if attempt != self._attempt or bool(flags & _CONTROLLING) == self._controlling:
            raise WireError("the probe is not one of the other side of this attempt")
        if not is_authentic(self._probe_key, datagram):
            raise WireError("the MAC of the probe is wrong")
        return Probe(
            ProbeType(kind), sequence, nonce, decode_address(where), bool(flags & _NOMINATE), path,
            bool(flags & _TO_MAPPING), bool(flags & _BIRTHDAY), bool(flags & _RELAYED),
        )  # fmt: skip

    def _decode_data(self, datagram: bytes) -> Data:
        if len(datagram) > DATA_OVERHEAD + MAX_PAYLOAD:
            raise WireError("data is at most 1224 bytes")
        if not is_authentic(self._data_key, datagram):
            raise WireError("the MAC of the data is wrong")
        _, _, high, low = _DATA_HEADER.unpack_from(datagram)
        return Data(high << 32 | low, datagram[_DATA_HEADER.size : -MAC_SIZE])
