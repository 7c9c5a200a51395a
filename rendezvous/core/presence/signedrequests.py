"""
Signed requests: which are taken, and what a signed pulse does.

A request is taken if its MAC holds, its time is near that of the server, and it is later than the last one.
``docs/protocol/connect.rst`` says why. A signed pulse then means what a pulse means.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

import attrs

from rendezvous.core.addresses import Address
from rendezvous.core.identity import Keyring
from rendezvous.core.macs import datagram_key, is_authentic
from rendezvous.core.presence.freshness import WINDOW, Freshness
from rendezvous.core.presence.states import PulseCode

if TYPE_CHECKING:
    from rendezvous.core.presence.presence import Presence

__all__ = ["NO_ATTEMPT", "Proof", "Refusal", "Request", "SignedRequests"]

#: What a pulse has for an attempt.
NO_ATTEMPT = bytes(8)


class Refusal(StrEnum):
    """Why a signed request is dropped."""

    OTHER_PORT = "signed for another port"
    WRONG_TIME = "signed with a wrong time"
    WRONG_MAC = "wrong MAC"
    REPEATED = "repeated signed request"
    PULSE_LIMIT = "pulse limit"


@attrs.frozen
class Request:
    """
    A signed request.

    :ivar client_id: 16 bytes.
    :ivar time: of the sender, in ms since the epoch.
    :ivar nonce: 8 bytes.
    :ivar attempt: 8 bytes; :data:`NO_ATTEMPT` for a pulse.
    :ivar round: the round of the attempt, from 1 on; 0 for a pulse.
    :ivar port: which UDP port of the server an observation is sent to, from 0 on; without meaning in a pulse.
    """

    client_id: bytes
    time: int
    nonce: bytes
    attempt: bytes = NO_ATTEMPT
    round: int = 0
    port: int = 0

    @property
    def is_pulse(self) -> bool:
        """:returns: whether it is a pulse, and not an observation."""
        return self.attempt == NO_ATTEMPT


@attrs.frozen
class Proof:
    """
    That a request was made by a client.

    :ivar datagram_key: the key with which its MAC was made; the reply is signed with it as well.
    :ivar key: the client's private key under the secret in use.
    :ivar slot: of the client in the live table; 0 if it is not there.
    :ivar moment: the time of the server when this was found, in ms since the epoch.
    """

    datagram_key: bytes = attrs.field(repr=False)
    key: bytes = attrs.field(repr=False)
    slot: int
    moment: int


class SignedRequests:
    """
    Decides signed requests of the clients of a live table.

    :param presence: the live table.
    :param keyring: resolves a client id to its keys.
    :param wall: converts server time to the wall clock.
    :ivar freshness: the times of the last signed pulses.
    :ivar key_of: gives the private key of a client, from its id, under the secret in use.
    """

    def __init__(self, presence: Presence, keyring: Keyring, wall: Callable[[float], float]) -> None:
        self._presence, self._keyring, self._wall = presence, keyring, wall
        self.key_of = keyring.key
        self.freshness = Freshness(presence.columns.capacity + 1, presence.columns.signed_times)

    def check(self, request: Request, datagram: bytes, port: int, now: float) -> Proof | Refusal:
        """
        See whether a client of this server has just made a request, and an observation for this port.

        What this does not see is whether the request was taken before.

        :param datagram: what the request was read from.
        :param port: the UDP port that it came to, from 0 on.
        :param now: server time.
        """
        # A copy of a pulse does nothing on any port, since the time of the last one counts for all ports.
        if request.port != port and not request.is_pulse:
            return Refusal.OTHER_PORT
        wall = self._wall(now)
        moment = round(wall * 1000)
        if abs(request.time - moment) > WINDOW:
            return Refusal.WRONG_TIME
        newest, *older = self._keyring.keys(request.client_id, wall)
        for key in (newest, *older):
            own = datagram_key(key)
            if is_authentic(own, datagram):
                return Proof(own, newest, self._presence.index.find(newest), moment)
        return Refusal.WRONG_MAC

    def take_pulse(
        self, request: Request, proof: Proof, address: Address, now: float, local_port: int
    ) -> PulseCode | Refusal:
        """
        Take a pulse.

        :param proof: what :meth:`check` has returned for it.
        :param address: where it came from; recorded if the pulse is on time.
        :param local_port: the UDP socket of the server that it came to; recorded with the address.
        :returns: what to answer.
        """
        presence = self._presence
        if not proof.slot:
            return PulseCode.UNKNOWN
        if not self.freshness.take(proof.slot, request.time, proof.moment):
            return Refusal.REPEATED
        if presence.keep_alive(proof.key, address, now, local_port):
            return PulseCode.ON_TIME
        if not presence.moves.take(proof.slot, now):
            return Refusal.PULSE_LIMIT
        return presence.pulse(proof.key, address, now, local_port)

    def has_old_keys(self, now: float) -> bool:
        """:returns: whether clients may have keys under an old secret."""
        return bool(self._keyring.old_secrets(self._wall(now)))

    def is_from(self, client_id: bytes, datagram: bytes, now: float) -> bool:
        """:returns: whether the MAC of a datagram was made with a key of this client."""
        return any(is_authentic(key, datagram) for key in self.datagram_keys(client_id, now))

    def datagram_keys(self, client_id: bytes, now: float) -> list[bytes]:
        """
        :returns: the keys with which datagrams to a client are signed, one of which the client has: there are several
            while an old secret is honoured.
        """
        return [datagram_key(key) for key in self._keyring.keys(client_id, self._wall(now))]

    def proven_address(self, client_id: bytes, now: float) -> tuple[Address, int] | None:
        """
        :returns: the address that the pulses of a client come from, and the UDP socket of the server that they come to;
            ``None`` if the client is unknown or gone, or has not pulsed.
        """
        slot = self._presence.slot_of(client_id, now)
        client = self._presence.columns.client(slot) if slot else None
        return None if client is None or client.host is None else ((client.host, client.port), client.local_port)

    def milliseconds(self, now: float) -> int:
        """:returns: the time of the server in ms since the epoch."""
        return round(self._wall(now) * 1000)
