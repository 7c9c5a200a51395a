"""State in this process and nowhere else: the tables of the core, behind the store's verbs."""

from __future__ import annotations

from collections.abc import Callable

from zope.interface import implementer

from rendezvous.core.addresses import unmapped
from rendezvous.core.identity import Credential, Keyring
from rendezvous.core.presence import Client, Presence, PulseCode, State, Timers
from rendezvous.errors import NotFound
from rendezvous.interfaces import IStore
from rendezvous.model import PeerAddress, PeerStatus, Swept
from rendezvous.wire.demux import mistakable

__all__ = ["MemoryStore"]

#: How many deadlines one sweep looks at, at most: some ten milliseconds of work.
SWEEP_SIZE = 20_000


@implementer(IStore)
class MemoryStore:
    """
    The store that forgets everything when the process ends.

    :param random: gives that many random bytes.
    """

    def __init__(
        self,
        keyring: Keyring,
        random: Callable[[int], bytes],
        timers: Timers,
        *,
        max_clients: int,
        logout_memory: float,
    ) -> None:
        self._keyring = keyring
        self._random = random
        self.presence = Presence(timers, keyring, max_clients=max_clients, logout_memory=logout_memory)

    def open(self, now: float) -> None:
        pass

    async def close(self, now: float) -> None:
        pass

    async def register(self, now: float) -> tuple[bytes, bytes]:
        client_id, key = self._keyring.draw(self._random, mistakable)
        self.presence.register(client_id, key, now)
        return client_id, key

    async def authenticate(self, credential: Credential, now: float) -> bytes:
        return self.presence.authenticate(credential, now)

    async def pulse(self, key: bytes, address: tuple[str, int], now: float) -> PulseCode:
        return self.presence.pulse(key, address, now)

    async def verify(self, client_id: bytes, now: float) -> Client:
        return self.presence.verify(client_id, now)

    async def logout(self, client_id: bytes, now: float) -> None:
        self.presence.logout(client_id, now)

    async def address(self, client_id: bytes, now: float) -> PeerAddress:
        client = self._peer(client_id, now)
        if client.host is None:
            raise NotFound("This peer has no address yet: it has not sent a pulse.", code="no-address")
        return PeerAddress(unmapped(client.host), client.port)

    async def status(self, client_id: bytes, now: float) -> PeerStatus:
        client = self._peer(client_id, now)
        last_pulse = client.last_pulse
        return PeerStatus(
            online=self.presence.state(client, now) is State.ONLINE,
            last_online=None if last_pulse is None else max(0.0, now - last_pulse),
        )

    async def sweep(self, now: float) -> Swept:
        return Swept(clients=self.presence.sweep(now, SWEEP_SIZE))

    def _peer(self, client_id: bytes, now: float) -> Client:
        client = self.presence.find(client_id, now)
        if client is None:
            raise NotFound("No such peer: it never was here, or has left.")
        return client
