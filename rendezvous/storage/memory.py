"""State in this process and nowhere else: the tables of the core, behind the store's verbs."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from zope.interface import implementer

from rendezvous.core.addresses import shown
from rendezvous.core.bloom import Bloom
from rendezvous.core.identity import Credential, Keyring
from rendezvous.core.offers import Answer, Candidate, Offer, OfferSpec, Role
from rendezvous.core.presence import Client, Presence, PresenceState, PulseCode, Timers
from rendezvous.core.sessions import Sessions
from rendezvous.core.signaling import OFFERS, Signaling
from rendezvous.core.tracker import Replies, Source, Tracker
from rendezvous.errors import NotFound
from rendezvous.interfaces import IStore
from rendezvous.limits import SignalingLimits
from rendezvous.model import Events, ObservedAddress, PeerStatus, Swept
from rendezvous.storage.notifier import Notifier, Subscription
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
        limits: SignalingLimits,
        max_offers: int,
        tracker_lifetime: float,
        max_tracker_peers: int,
    ) -> None:
        self._keyring = keyring
        self._random = random
        self.limits = limits
        self.presence = Presence(timers, keyring, max_clients=max_clients, logout_memory=logout_memory, note=self._note)
        self._notifier = Notifier(limits.max_waiting)
        self._signaling = Signaling(limits, max_offers, note=self._note, notify=self._notifier.notify)
        self._sessions = Sessions(self._signaling, self._new_code)
        self._tracker = Tracker(
            random, lifetime=tracker_lifetime, max_peers=max_tracker_peers, note=self._note, touch=self._touch
        )

    def open(self, now: float) -> None:
        # Nothing is kept: a stream that comes back with a number of an earlier life must be told so.
        self._signaling.restore_events((), int(now * 1_000_000), 0.0, now)

    async def close(self, now: float) -> None:
        self._notifier.close()

    # Presence

    async def register(self, now: float) -> tuple[bytes, bytes]:
        def decide() -> tuple[bytes, bytes]:
            client_id, key = self._keyring.draw(self._random, mistakable)
            self.presence.register(client_id, key, now)
            return client_id, key

        return await self._write(decide, now)

    async def authenticate(self, credential: Credential, now: float) -> bytes:
        return self.presence.authenticate(credential, now)

    async def pulse(self, key: bytes, address: tuple[str, int], now: float) -> PulseCode:
        return await self._write(lambda: self.presence.pulse(key, address, now), now)

    async def verify(self, client_id: bytes, now: float) -> Client:
        return await self._write(lambda: self.presence.verify(client_id, now), now)

    async def logout(self, client_id: bytes, now: float) -> None:
        def decide() -> None:
            self.presence.logout(client_id, now)
            self._signaling.end_peer(client_id.hex(), now)

        await self._write(decide, now)
        # Whoever waits in its name learns that it may do so no more.
        self._notifier.notify(("peer", client_id.hex()))

    async def address(self, client_id: bytes, now: float) -> ObservedAddress:
        client = self._peer(client_id, now)
        if client.host is None:
            raise NotFound("This peer has no address yet: it has not sent a pulse.", code="no-address")
        return ObservedAddress(shown(client.host), client.port)

    async def status(self, client_id: bytes, now: float) -> PeerStatus:
        client = self._peer(client_id, now)
        last_pulse = client.last_pulse
        return PeerStatus(
            online=self.presence.state(client, now) is PresenceState.ONLINE,
            last_online=None if last_pulse is None else max(0.0, now - last_pulse),
        )

    # Signaling

    def subscribe(self, key: Hashable) -> Subscription:
        return self._notifier.subscribe(key)

    async def publish(self, owner: str, specs: Sequence[OfferSpec], now: float) -> list[Offer]:
        return await self._write(lambda: self._signaling.publish(owner, specs, now), now)

    async def mine(self, owner: str, now: float) -> list[Offer]:
        return self._signaling.mine(owner, now)

    async def of_peer(self, owner: str, now: float) -> list[Offer]:
        return self._signaling.of_peer(owner, now)

    async def by_topic(self, topic: str, limit: int, bloom: Bloom | None, now: float) -> tuple[list[Offer], int]:
        return self._signaling.by_topic(OFFERS, topic, limit, bloom, now)

    async def topics(self, limit: int, offset: int, prefix: str, now: float) -> tuple[list[tuple[str, int]], int]:
        return self._signaling.topics(OFFERS, limit, offset, prefix, now)

    async def heartbeat(self, owner: str, offer_id: str, now: float) -> Offer:
        return await self._write(lambda: self._signaling.heartbeat(owner, offer_id, now), now)

    async def withdraw(self, owner: str, offer_id: str, now: float) -> None:
        await self._write(lambda: self._signaling.withdraw(owner, offer_id, now), now)

    async def answer(self, offer_id: str, answerer: str, sdp: str, secret: str | None, now: float) -> Answer:
        return await self._write(lambda: self._signaling.answer(OFFERS, offer_id, answerer, sdp, secret, now), now)

    async def answers(self, owner: str, now: float, since: int) -> list[tuple[Offer, Answer]]:
        return self._signaling.answers(owner, now, since)

    async def add_candidates(self, offer_id: str, peer: str, values: Sequence[object], now: float) -> int:
        return await self._write(lambda: self._signaling.add_candidates(OFFERS, offer_id, peer, values, now), now)

    async def candidates(self, offer_id: str, peer: str, now: float, since: int) -> Sequence[Candidate]:
        return self._signaling.candidates(OFFERS, offer_id, peer, now, since)

    async def events_since(self, peer: str, seq: int | None, now: float) -> Events:
        start = self._signaling.latest if seq is None else seq
        complete = self._signaling.can_replay(peer, start, now)
        if start > self._signaling.latest:
            start = 0  # From an earlier life of the server: all that there is comes after it.
        events = self._signaling.events_since(peer, start, now)
        return Events(events, complete, events[-1].seq if events else max(start, self._signaling.latest))

    async def open_session(self, origin: str, topic: str, info: str, offer: str, code: str | None, now: float) -> Offer:
        return await self._write(lambda: self._sessions.open(origin, topic, info, offer, code, now), now)

    async def sessions(self, origin: str, topic: str, now: float) -> list[Offer]:
        return self._sessions.in_topic(origin, topic, now)

    async def session_topics(
        self, origin: str, limit: int, offset: int, now: float
    ) -> tuple[list[tuple[str, int]], int]:
        return self._sessions.topics(origin, limit, offset, now)

    async def count_sessions(self, origin: str, topics: Sequence[str], now: float) -> list[int]:
        return [self._signaling.count(origin, topic, now) for topic in topics]

    async def session(self, origin: str, code: str, now: float) -> Offer:
        return self._sessions.find(origin, code, now)

    async def answer_session(self, origin: str, code: str, side: Role, answer: str, now: float) -> None:
        await self._write(lambda: self._sessions.answer(origin, code, side, answer, now), now)

    async def add_session_candidate(self, origin: str, code: str, side: Role, candidate: object, now: float) -> None:
        await self._write(lambda: self._sessions.add_candidate(origin, code, side, candidate, now), now)

    # The tracker

    async def announce(self, source: Source, now: float) -> Replies:
        return await self._write(lambda: self._tracker.announce(source, now), now)

    async def tracker_pulse(
        self,
        source: Source,
        now: float,
        *,
        override: bool,
        ip: str | None,
        port: int | None,
        multiaddr: str | None,
        renew_share_id: bool,
    ) -> Replies:
        return await self._write(
            lambda: self._tracker.pulse(
                source, now, override=override, ip=ip, port=port, multiaddr=multiaddr, renew_share_id=renew_share_id
            ),
            now,
        )

    async def alive(self, source: Source, now: float) -> Replies:
        return await self._write(lambda: self._tracker.alive(source, now), now)

    async def push(self, source: Source, now: float, share_id: str) -> Replies:
        return await self._write(lambda: self._tracker.push(source, now, share_id), now)

    # All of them

    async def sweep(self, now: float) -> Swept:
        return Swept(
            clients=self.presence.sweep(now, SWEEP_SIZE),
            offers=self._signaling.expire(now),
            tracker_peers=self._tracker.expire(now),
        )

    # What a store that keeps a journal does otherwise

    def _note(self, record: object) -> None:
        """A record has changed."""

    def _touch(self, record: object) -> None:
        """Only the last sign of life of a record has changed."""

    async def _write(self, decide: Callable[[], T], now: float) -> T:
        """Decide at once: one process decides one thing at a time, so every verb is atomic."""
        return decide()

    # Common ground

    def _new_code(self) -> str:
        return str(uuid.UUID(bytes=self._random(16), version=4))

    def _peer(self, client_id: bytes, now: float) -> Client:
        client = self.presence.find(client_id, now)
        if client is None:
            raise NotFound("No such peer: it never was here, or has left.")
        return client
