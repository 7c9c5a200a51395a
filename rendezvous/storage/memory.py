"""State in this process and nowhere else: the tables of the core, behind the store's verbs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from rendezvous.core.addresses import unmapped
from rendezvous.core.identity import Credential, Keyring
from rendezvous.core.presence import Client, Presence, PulseCode, State, Timers
from rendezvous.errors import NotFound, RendezvousError
from rendezvous.interfaces import IStore
from rendezvous.model import PeerAddress, PeerStatus, Swept
from rendezvous.wire.demux import mistakable

__all__ = ["MemoryStore"]

T = TypeVar("T")

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

    def close(self, now: float) -> Deferred[None]:
        return succeed(None)

    def register(self, now: float) -> Deferred[tuple[bytes, bytes]]:
        def decide() -> tuple[bytes, bytes]:
            client_id, key = self._keyring.draw(self._random, mistakable)
            self.presence.register(client_id, key, now)
            return client_id, key

        return self._do(decide)

    def authenticate(self, credential: Credential, now: float) -> Deferred[bytes]:
        return self._do(lambda: self.presence.authenticate(credential, now))

    def pulse(self, key: bytes, address: tuple[str, int], now: float) -> Deferred[PulseCode]:
        return self._do(lambda: self.presence.pulse(key, address, now))

    def verify(self, client_id: bytes, now: float) -> Deferred[Client]:
        return self._do(lambda: self.presence.verify(client_id, now))

    def logout(self, client_id: bytes, now: float) -> Deferred[None]:
        return self._do(lambda: self.presence.logout(client_id, now))

    def address(self, client_id: bytes, now: float) -> Deferred[PeerAddress]:
        def decide() -> PeerAddress:
            client = self._peer(client_id, now)
            if client.host is None:
                raise NotFound("This peer has no address yet: it has not sent a pulse.", code="no-address")
            return PeerAddress(unmapped(client.host), client.port)

        return self._do(decide)

    def status(self, client_id: bytes, now: float) -> Deferred[PeerStatus]:
        def decide() -> PeerStatus:
            client = self._peer(client_id, now)
            last_pulse = client.last_pulse
            return PeerStatus(
                online=self.presence.state(client, now) is State.ONLINE,
                last_online=None if last_pulse is None else max(0.0, now - last_pulse),
            )

        return self._do(decide)

    def sweep(self, now: float) -> Deferred[Swept]:
        return self._do(lambda: Swept(clients=self.presence.sweep(now, SWEEP_SIZE)))

    def _peer(self, client_id: bytes, now: float) -> Client:
        client = self.presence.find(client_id, now)
        if client is None:
            raise NotFound("No such peer: it never was here, or has left.")
        return client

    def _do(self, decide: Callable[[], T]) -> Deferred[T]:
        """Decide at once. One process decides one thing at a time, so every verb is atomic."""
        try:
            return succeed(decide())
        except RendezvousError as e:
            return fail(e)
