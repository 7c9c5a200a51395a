"""The two kinds of pulses: the key itself, and a request that is signed with it."""

from __future__ import annotations

from typing import Protocol

import attrs

from rendezvous.client._server_time import ServerTime
from rendezvous.client._signing import Signer
from rendezvous.client.records import Identity
from rendezvous.errors import WireError
from rendezvous.wire.pulse import PulseCode, decode_reply
from rendezvous.wire.signed import NO_ATTEMPT, ShortKind

__all__ = ["Answered", "Invited", "News", "PlainPulses", "Pulses", "SignedPulses", "Stale", "pulses_of"]


@attrs.frozen
class Answered:
    """
    The answer to the pulse that was sent last.

    :ivar address: where the server has seen the pulse come from; ``None`` if it does not say.
    """

    code: PulseCode
    address: tuple[str, int] | None = None


@attrs.frozen
class Invited:
    """
    A peer wants to connect.

    :ivar attempt: the 8 bytes of the attempt.
    """

    attempt: bytes


@attrs.frozen
class Stale:
    """A datagram of the server that means nothing any more, such as a second answer to an earlier pulse."""


News = Answered | Invited | Stale


class Pulses(Protocol):
    """How pulses are written and how what the server sends is read."""

    def make(self) -> bytes:
        """:returns: the next pulse."""
        ...

    def read(self, datagram: bytes) -> News | None:
        """:returns: what a datagram from the server's address says; ``None`` if it is not for the pulses."""
        ...


class PlainPulses:
    """
    Pulses that are the private key.

    :param private_key: 32 bytes.
    """

    def __init__(self, private_key: bytes) -> None:
        self._private_key = private_key

    def make(self) -> bytes:
        """:returns: the next pulse."""
        return self._private_key

    def read(self, datagram: bytes) -> News | None:
        """:returns: what a datagram from the server's address says; ``None`` if it is not for the pulses."""
        try:
            return Answered(decode_reply(datagram))
        except WireError:
            return None


class SignedPulses:
    """
    Pulses that are signed, so that the key does not cross the network.

    :param signer: of the client.
    """

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._nonce: bytes | None = None

    def make(self) -> bytes:
        """:returns: the next pulse."""
        pulse, self._nonce = self._signer.sign()
        return pulse

    def read(self, datagram: bytes) -> News | None:
        """:returns: what a datagram from the server's address says; ``None`` if it is not for the pulses."""
        if (short := self._signer.short(datagram)) is not None:
            return Invited(short.attempt) if short.kind is ShortKind.INVITATION else None
        reply = self._signer.reply(datagram)
        if reply is None or reply.request.attempt != NO_ATTEMPT:
            return None
        if reply.request.nonce != self._nonce:
            return Stale()
        self._nonce = None
        return Answered(reply.code, reply.address)


def pulses_of(identity: Identity, time: ServerTime, *, signed: bool) -> Pulses:
    """
    :param time: of the server, which signed pulses need.
    :returns: the pulses of a client.
    """
    return SignedPulses(Signer(identity, time)) if signed else PlainPulses(identity.private_key)
