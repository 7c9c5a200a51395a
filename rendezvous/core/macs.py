"""
The keys and message authentication codes of the connect protocol: keyed BLAKE2s (RFC 7693).

``docs/protocol/connect.rst`` lists the keys. All of them have 32 bytes.
"""

from __future__ import annotations

import hmac
from hashlib import blake2s

__all__ = ["MAC_SIZE", "datagram_key", "derive_key", "is_authentic", "mac"]

#: Bytes of a MAC.
MAC_SIZE = 16


def derive_key(key: bytes, person: bytes) -> bytes:
    """
    Make a key for one purpose.

    :param key: at most 32 bytes.
    :param person: names the purpose; at most 8 bytes, padded with zero bytes (RFC 7693, section 2.5, calls it the
        personalisation string).
    :returns: 32 bytes.
    """
    return blake2s(key=key, person=person).digest()


def datagram_key(private_key: bytes) -> bytes:
    """:returns: the key of the datagrams between one client and the server, 32 bytes."""
    # derive_key is not called, to spare each signed pulse one call.
    return blake2s(key=private_key, person=b"datagram").digest()


def mac(key: bytes, message: bytes) -> bytes:
    """:returns: the code of a message, 16 bytes."""
    return blake2s(message, key=key, digest_size=MAC_SIZE).digest()


def is_authentic(key: bytes, datagram: bytes) -> bool:
    """
    :param datagram: a message, and behind it its code.
    :returns: whether the code was made with this key, found in constant time.
    """
    return hmac.compare_digest(mac(key, datagram[:-MAC_SIZE]), datagram[-MAC_SIZE:])
