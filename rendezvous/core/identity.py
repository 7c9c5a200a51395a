"""
Who a client is: ids, the keys that belong to them, and the two forms of credential.

A key is derived from its id, never stored, so a copy of the database opens nothing. Randomness comes from outside.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Sequence

import attrs

from rendezvous.errors import NotFound

__all__ = ["CLIENT_ID_SIZE", "KEY_SIZE", "Credential", "Keyring", "Secret", "parse_client_id"]

CLIENT_ID_SIZE = 16
KEY_SIZE = 32

_CLIENT_ID = re.compile(r"[0-9a-f]{32}", re.IGNORECASE | re.ASCII)


@attrs.frozen
class Credential:
    """
    What an ``Authorization`` header says, not yet checked.

    :ivar key: the private key, 32 bytes.
    :ivar client_id: the 16 bytes in front of it, or ``None`` in the form that is the key alone.
    """

    key: bytes = attrs.field(repr=False)
    client_id: bytes | None = None


def parse_client_id(text: str) -> bytes:
    """
    Read the 32 hex digits that name a client in a path.

    :raises NotFound: the text is not a client id.
    """
    if _CLIENT_ID.fullmatch(text) is None:
        raise NotFound("No such peer: a client id is 32 hex digits.")
    return bytes.fromhex(text)


@attrs.frozen
class Secret:
    """
    One of the server's secrets.

    :ivar value: its bytes.
    :ivar until: when it stops being honoured, seconds since the epoch; ``None`` for the one in use.
    """

    value: bytes = attrs.field(repr=False)
    until: float | None = None


class Keyring:
    """
    The server's secrets, and what follows from them.

    :param secrets: the one in use, then those that are still honoured after a rotation.
    """

    def __init__(self, secrets: Sequence[Secret]) -> None:
        self._secrets = tuple(secrets)
        self._current = secrets[0].value

    def key(self, client_id: bytes) -> bytes:
        """:returns: the key of a new client: HMAC-SHA-256 of its id under the secret in use."""
        return hmac.digest(self._current, client_id, "sha256")

    def keys(self, client_id: bytes, now: float) -> list[bytes]:
        """:returns: every key that this id may have been given and that is honoured now, the newest secret's first."""
        return [
            hmac.digest(secret.value, client_id, "sha256")
            for secret in self._secrets
            if secret.until is None or now <= secret.until
        ]

    def keys_until(self, client_id: bytes) -> list[tuple[bytes, float | None]]:
        """:returns: every key that this id may ever have been given, and until when it is honoured."""
        return [(hmac.digest(secret.value, client_id, "sha256"), secret.until) for secret in self._secrets]

    def fingerprints(self) -> list[str]:
        """:returns: a name for each secret that gives nothing of it away."""
        return [hmac.digest(secret.value, b"fingerprint", "sha256").hex()[:16] for secret in self._secrets]

    def proves(self, client_id: bytes, key: bytes, now: float) -> bool:
        """:returns: whether the key belongs to the id, found in constant time."""
        found = False
        for own in self.keys(client_id, now):
            found |= hmac.compare_digest(key, own)
        return found

    def draw(self, random: Callable[[int], bytes], mistakable: Callable[[bytes], bool]) -> tuple[bytes, bytes]:
        """
        Make a new identity.

        :param random: gives that many random bytes.
        :param mistakable: whether a key could be taken for a datagram of another protocol; such ids are drawn again.
        :returns: the client id and its key.
        """
        while True:
            client_id = random(CLIENT_ID_SIZE)
            key = self.key(client_id)
            if not mistakable(key):
                return client_id, key
