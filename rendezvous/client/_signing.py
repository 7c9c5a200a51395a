"""The client's end of signed datagrams: requests with growing times, and what the server sends, verified."""

from __future__ import annotations

from collections.abc import Callable
from random import SystemRandom

from rendezvous.client._server_time import ServerTime
from rendezvous.client.records import Identity
from rendezvous.core.macs import datagram_key, is_authentic
from rendezvous.errors import WireError
from rendezvous.wire.signed import (
    NO_ATTEMPT,
    Reply,
    Request,
    Short,
    ShortKind,
    decode_reply,
    decode_short,
    encode_request,
    encode_short,
)

__all__ = ["Signer"]

_NONCE_SIZE = 8
_SYSTEM_RANDOM = SystemRandom()


class Signer:
    """
    Signs requests of one client, and verifies what the server sends to it.

    :param identity: the client.
    :param time: of the server.
    :param randbytes: draws that many bytes, for nonces.
    """

    def __init__(
        self, identity: Identity, time: ServerTime, randbytes: Callable[[int], bytes] = _SYSTEM_RANDOM.randbytes
    ) -> None:
        self._client_id = bytes.fromhex(identity.client_id)
        self._key = datagram_key(identity.private_key)
        self._time = time
        self._randbytes = randbytes
        self._last = 0

    def sign(self, attempt: bytes = NO_ATTEMPT, round: int = 0, port: int = 0) -> tuple[bytes, bytes]:
        """
        Make a request, with a later time than the one before.

        :param attempt: its id for an observation; by default it is a pulse.
        :param round: of the attempt.
        :param port: which of the server's UDP ports it goes to, from 0 on.
        :returns: the datagram and its nonce.
        :raises RuntimeError: when the time of the server is not known.
        """
        self._last = max(self._time.milliseconds(), self._last + 1)
        nonce = self._randbytes(_NONCE_SIZE)
        request = Request(self._client_id, self._last, nonce, attempt, round, port)
        return encode_request(request, self._key), nonce

    def reply(self, datagram: bytes) -> Reply | None:
        """:returns: the reply to a request of this client; ``None`` if it is none or its MAC does not hold."""
        try:
            reply = decode_reply(datagram, self._key)
        except WireError:
            return None
        return reply if reply.request.client_id == self._client_id else None

    def short(self, datagram: bytes) -> Short | None:
        """:returns: an invitation or an address check of the server; ``None`` if it is none."""
        try:
            short = decode_short(datagram)
        except WireError:
            return None
        is_ours = short.kind is not ShortKind.CHECK_ANSWER and is_authentic(self._key, datagram)
        return short if is_ours else None

    def answer(self, check: Short) -> bytes:
        """:returns: the answer to an address check."""
        return encode_short(Short(ShortKind.CHECK_ANSWER, check.attempt, check.nonce), self._key)
