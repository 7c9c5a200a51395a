"""
What a client gives to its ICE agent: the STUN ports of this server, and credentials of its TURN servers.

The credentials follow "A REST API for Access to TURN Services" (draft-uberti-behave-turn-rest), which coturn reads with
``use-auth-secret``.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import attrs

__all__ = ["Turn", "credential", "stun_urls"]


@attrs.frozen
class Turn:
    """
    TURN servers that accept credentials made here.

    :ivar uris: their URIs (RFC 7065), such as ``turn:turn.example:3478?transport=udp``.
    :ivar secret: what they share with this server.
    :ivar ttl: seconds for which credentials are valid.
    """

    uris: tuple[str, ...]
    secret: bytes = attrs.field(repr=False)
    ttl: int

    def entry(self, client_id: bytes, wall: float) -> dict[str, Any]:
        """
        :param client_id: whom it is for; the name that is made from it does not show it.
        :param wall: seconds since the epoch.
        :returns: an object of the type ``RTCIceServer``.
        """
        name = hmac.digest(self.secret, b"rendezvous user" + client_id, hashlib.sha256)[:8].hex()
        username = f"{int(wall) + self.ttl}:{name}"
        return {"urls": list(self.uris), "username": username, "credential": credential(self.secret, username)}


def credential(secret: bytes, username: str) -> str:
    """:returns: Base64 of HMAC-SHA1 of a user name under a secret."""
    return b64encode(hmac.digest(secret, username.encode("utf-8"), hashlib.sha1)).decode("ascii")


def stun_urls(host: str, ports: Sequence[int]) -> list[str]:
    """
    :param host: a name or an address, IPv6 without brackets.
    :returns: the URIs (RFC 7064) of UDP ports.
    """
    shown = f"[{host}]" if ":" in host else host
    return [f"stun:{shown}:{port}" for port in ports]
