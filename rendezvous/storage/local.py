"""The store of one process: tables in memory, and one rule for when a decision about them is answered."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

from zope.interface import classImplements, implementer

from rendezvous.core.attempts.attempt import AttemptView, Facilities, Given, Invitation, Outcome
from rendezvous.core.attempts.table import Due
from rendezvous.core.bans import Ban
from rendezvous.core.connect import Candidate as AttemptCandidate
from rendezvous.core.identity import Credential
from rendezvous.core.notes import Key, TopicChanges
from rendezvous.core.presence.presence import Presence
from rendezvous.core.presence.states import PulseCode
from rendezvous.core.replies import Replies, Source
from rendezvous.core.signaling.bloom import Bloom
from rendezvous.core.signaling.listings import TopicUpdate
from rendezvous.core.signaling.offers import OFFERS, Answer, Candidate, Offer, Role, Session
from rendezvous.core.signaling.pages import Page
from rendezvous.core.signaling.specs import OfferSpec
from rendezvous.core.signaling.watches import Watch
from rendezvous.core.sources import UNKNOWN, SourceNetwork
from rendezvous.errors import Unavailable
from rendezvous.interfaces import ILiveTable, IStore
from rendezvous.limits import Bounds
from rendezvous.model import Events, ObservedAddress, PeerStatus, StoreFigures, Swept
from rendezvous.storage.batchtimer import Later
from rendezvous.storage.durability import SETTLED, Durability
from rendezvous.storage.figures import figures_of
from rendezvous.storage.notifier import WAITING_PER_KEY, Notifier, Subscription
from rendezvous.storage.queries import Queries
from rendezvous.storage.tables import Tables

__all__ = ["LocalStore"]

T = TypeVar("T")

NO_TOPICS: Mapping[str, int] = MappingProxyType({})

classImplements(Presence, ILiveTable)


@implementer(IStore)
class LocalStore:
    """
    Tables, and a rule of durability.

    A verb decides at once: one process decides one thing at a time, so every verb is atomic. It then waits only if its
    own decision changed something that has to be kept. Requests that wait for what it changed are notified after that,
    also if the caller has gone away meanwhile.

    :param tables: what is known.
    :param durability: :class:`~rendezvous.storage.durability.Volatile` or
        :class:`~rendezvous.storage.journaled.Journaled`.
    :param later: calls something after a time; without it, all who wait for a change are notified at once.
    :ivar notifier: who waits for changes.
    """

    def __init__(self, tables: Tables, durability: Durability, later: Later | None = None) -> None:
        self.tables = tables
        self.limits = tables.limits
        self.live = tables.presence
        self.bans = tables.bans
        self.queries = Queries(tables, later)
        self._durability = durability
        self.notifier = Notifier(tables.bounds.max_waiting, later)
        self._keys: dict[Key, None] | None = None
        self._is_open = False

    def open(self, wall: float) -> float:
        now = self._durability.open(self.tables, wall, self._notify)
        self.tables.report_to(self._durability.note, self._durability.touch, self._collect)
        self.notifier.open()
        self._is_open = True
        return now

    async def close(self, now: float) -> None:
        self._is_open = False
        self.notifier.close()
        await self._durability.close(now)

    def change(self, bounds: Bounds) -> None:
        self.tables.change(bounds)
        self.notifier.max_waiting = bounds.max_waiting

    def figures(self) -> StoreFigures:
        return figures_of(self.tables, self.notifier, self._durability.figures())

    async def sweep(self, now: float) -> Swept:
        if self._durability.is_behind:
            swept = Swept()
        else:
            swept = self._decide(lambda: self.tables.sweep(now), now, needs_saving=False)[0]
        if not swept.more:
            self._durability.write_behind(now)
        return swept

    # Presence

    async def register(self, now: float, source: SourceNetwork = UNKNOWN) -> tuple[bytes, bytes]:
        return await self._save(lambda: self.tables.register(now, source), now)

    async def authenticate(self, credential: Credential, now: float) -> bytes:
        if self.bans.has_clients:
            self.tables.check_ban(credential, now)
        return self.tables.presence.authenticate(credential, now)

    async def pulse(self, key: bytes, address: tuple[str, int], now: float, local_port: int = 0) -> PulseCode:
        if not self._is_open:
            raise Unavailable("The server is not running.")
        # What a pulse changes is in the columns at once. Nothing of it has to be saved.
        return self.live.pulse(key, address, now, local_port)

    async def verify(self, client_id: bytes, now: float) -> None:
        await self._keep_on(lambda: self.tables.verify(client_id, now), now)

    async def logout(self, client_id: bytes, now: float, source: SourceNetwork = UNKNOWN) -> None:
        await self._save(lambda: self.tables.logout(client_id, now, source), now)

    async def address(self, client_id: bytes, now: float) -> ObservedAddress:
        return self.tables.address(client_id, now)

    async def status(self, client_id: bytes, now: float) -> PeerStatus:
        return self.tables.status(client_id, now)

    # Bans

    async def kick(self, client_id: bytes, now: float) -> None:
        await self._keep_on(lambda: self.tables.kick(client_id, now), now)

    async def ban(self, target: str, seconds: float | None, reason: str, now: float) -> Ban:
        return await self._keep_on(lambda: self.tables.ban(target, seconds, reason, now), now)

    async def lift(self, target: str, now: float) -> Ban:
        return await self._keep_on(lambda: self.tables.bans.lift(target), now)

    # Signaling

    def subscribe(self, key: Key) -> Subscription:
        # How many watch a topic is bounded by watch().
        return self.notifier.subscribe(key, None if isinstance(key, TopicChanges) else WAITING_PER_KEY)

    async def publish(
        self, owner: str, specs: Sequence[OfferSpec], now: float, source: SourceNetwork = UNKNOWN
    ) -> list[Offer]:
        return await self._save(lambda: self.tables.signaling.publish(owner, specs, now, source), now)

    async def mine(self, owner: str, now: float, after: int | None = None) -> Page[Offer, int]:
        return self.tables.listings.mine(owner, now, after)

    async def of_peer(self, owner: str, now: float, after: int | None = None) -> Page[Offer, int]:
        return self.tables.listings.of_peer(owner, now, after)

    async def by_topic(
        self, topic: str, limit: int, bloom: Bloom | None, now: float, after: int | None = None
    ) -> Page[Offer, int]:
        return self.tables.listings.by_topic(OFFERS, topic, limit, bloom, now, after)

    async def topic_since(
        self, topic: str, since: int | None, limit: int, bloom: Bloom | None, now: float
    ) -> TopicUpdate:
        return self.tables.listings.topic_since(topic, since, limit, bloom, now)

    async def topics(
        self, limit: int, offset: int, prefix: str, now: float, after: tuple[int, str] | None = None
    ) -> Page[tuple[str, int], tuple[int, str]]:
        return self.tables.listings.topics(OFFERS, limit, offset, prefix, now, after)

    async def heartbeat(self, owner: str, offer_id: str, now: float) -> Offer:
        return await self._save(lambda: self.tables.signaling.heartbeat(owner, offer_id, now), now)

    async def withdraw(self, owner: str, offer_id: str, now: float) -> None:
        await self._save(lambda: self.tables.signaling.withdraw(owner, offer_id, now), now)

    async def answer(
        self,
        offer_id: str,
        answerer: str,
        sdp: str,
        secret: str | None,
        now: float,
        source: SourceNetwork = UNKNOWN,
    ) -> Answer:
        return await self._save(
            lambda: self.tables.signaling.answer(OFFERS, offer_id, answerer, sdp, secret, now, source), now
        )

    async def answers(self, owner: str, now: float, since: int) -> Page[tuple[Offer, Answer], int]:
        return self.tables.listings.answers(owner, now, since)

    async def add_candidates(
        self, offer_id: str, peer: str, values: Sequence[object], now: float, source: SourceNetwork = UNKNOWN
    ) -> int:
        return await self._save(
            lambda: self.tables.signaling.add_candidates(OFFERS, offer_id, peer, values, now, source), now
        )

    async def candidates(self, offer_id: str, peer: str, now: float, since: int) -> Page[Candidate, int]:
        return self.tables.signaling.candidates(OFFERS, offer_id, peer, now, since)

    async def events_since(
        self, peer: str, seq: int | None, now: float, topics: Mapping[str, int] = NO_TOPICS
    ) -> Events:
        return self.tables.events_since(peer, seq, now, topics)

    def watch(self, topic: str, now: float, source: SourceNetwork = UNKNOWN) -> Watch:
        return self.tables.watch(topic, now, source)

    def watching(self, topics: Sequence[str]) -> int:
        return self.tables.offers.watches.watching(topics)

    def stream_opened(self, peer: str, now: float) -> Callable[[float], None]:
        return self.tables.offers.streams.opened(peer, now)

    async def open_session(
        self,
        origin: str,
        topic: str,
        info: str,
        offer: str,
        code: str | None,
        now: float,
        source: SourceNetwork = UNKNOWN,
    ) -> str:
        return await self._save(
            lambda: self.tables.sessions.open(origin, topic, info, offer, code, now, source).id, now
        )

    async def sessions(self, origin: str, topic: str, now: float, after: int | None = None) -> Page[Session, int]:
        return self.tables.sessions.in_topic(origin, topic, now, after)

    async def session_topics(
        self, origin: str, limit: int, offset: int, now: float, after: str | None = None
    ) -> Page[tuple[str, int], str]:
        return self.tables.sessions.topics(origin, limit, offset, now, after)

    async def count_sessions(self, origin: str, topics: Sequence[str], now: float) -> list[int]:
        return [self.tables.listings.count(origin, topic, now) for topic in topics]

    async def session(self, origin: str, code: str, now: float) -> Session:
        return self.tables.sessions.find(origin, code, now)

    async def answer_session(
        self, origin: str, code: str, side: Role, answer: str, now: float, source: SourceNetwork = UNKNOWN
    ) -> None:
        await self._save(lambda: self.tables.sessions.answer(origin, code, side, answer, now, source), now)

    async def add_session_candidate(
        self, origin: str, code: str, side: Role, candidate: object, now: float, source: SourceNetwork = UNKNOWN
    ) -> None:
        await self._save(lambda: self.tables.sessions.add_candidate(origin, code, side, candidate, now, source), now)

    # Attempts to connect

    def use_facilities(self, facilities: Facilities) -> None:
        self.tables.use_facilities(facilities)

    def on_attempts_due(self, call: Callable[[], None]) -> None:
        self.tables.on_due = call

    async def attempts_due(self, now: float) -> Due:
        return self._decide(lambda: self.tables.attempt_table.due(now), now, needs_saving=False)[0]

    async def begin_attempt(
        self, client_id: bytes, peer: bytes, given: Given, now: float, source: SourceNetwork = UNKNOWN
    ) -> AttemptView:
        return await self._save(lambda: self.tables.begin_attempt(client_id, peer, given, now, source), now)

    async def accept_attempt(self, client_id: bytes, attempt: bytes, given: Given, now: float) -> AttemptView:
        return await self._save(lambda: self.tables.attempts.accept(client_id, attempt, given, now), now)

    async def name_candidates(
        self, client_id: bytes, attempt: bytes, candidates: tuple[AttemptCandidate, ...], now: float
    ) -> AttemptView:
        return await self._save(lambda: self.tables.attempts.name_candidates(client_id, attempt, candidates, now), now)

    async def attempt(self, client_id: bytes, attempt: bytes, now: float) -> AttemptView:
        return self.tables.attempts.see(client_id, attempt, now)

    async def end_attempt(self, client_id: bytes, attempt: bytes, now: float) -> AttemptView:
        return await self._save(lambda: self.tables.attempts.end(client_id, attempt, now), now)

    async def report_attempt(self, client_id: bytes, attempt: bytes, outcome: Outcome, now: float) -> AttemptView:
        return await self._save(lambda: self.tables.attempts.report(client_id, attempt, outcome, now), now)

    async def invitations(self, client_id: bytes, now: float) -> list[Invitation]:
        return self.tables.attempts.invitations(client_id, now)

    async def observe(
        self,
        client_id: bytes,
        attempt: bytes,
        round: int,
        time: int,
        port: int,
        address: tuple[str, int],
        now: float,
    ) -> PulseCode | None:
        # It is written soon. The answer does not wait for that, because its round trip is part of every connection.
        decide = partial(self.tables.attempts.observe, client_id, attempt, round, time, port, address, now)
        return self._decide(decide, now, needs_saving=False)[0]

    def client_of_check(self, attempt: bytes, nonce: bytes) -> bytes | None:
        return self.tables.attempts.client_of_check(attempt, nonce)

    async def take_check_answer(self, attempt: bytes, nonce: bytes, now: float) -> None:
        self._decide(lambda: self.tables.attempts.take_check_answer(attempt, nonce, now), now, needs_saving=False)

    # The tracker

    # These four return a coroutine and are none themselves: a coroutine within another costs as much as the decision.

    def announce(self, source: Source, now: float) -> Coroutine[Any, Any, Replies]:
        return self._save(lambda: self.tables.tracker.announce(source, now), now)

    def tracker_pulse(
        self,
        source: Source,
        now: float,
        *,
        override: bool,
        ip: str | None,
        port: int | None,
        multiaddr: str | None,
        renew_share_id: bool,
    ) -> Coroutine[Any, Any, Replies]:
        changes = override or multiaddr is not None or renew_share_id
        return (self._save if changes else self._keep_on)(
            lambda: self.tables.tracker.pulse(
                source, now, override=override, ip=ip, port=port, multiaddr=multiaddr, renew_share_id=renew_share_id
            ),
            now,
        )

    def alive(self, source: Source, now: float) -> Coroutine[Any, Any, Replies]:
        return self._keep_on(lambda: self.tables.tracker.alive(source, now), now)

    def push(self, source: Source, now: float, share_id: str) -> Coroutine[Any, Any, Replies]:
        return self._keep_on(lambda: self.tables.tracker.push(source, now, share_id), now)

    def check_ready(self) -> None:
        self._durability.raise_if_refusing()

    # The rule

    async def _save(self, decide: Callable[[], T], now: float) -> T:
        """Make a decision that has to be saved. While nothing can be saved, refuse it before it changes anything."""
        self._durability.raise_if_refusing()
        decided, position = self._decide(decide, now)
        if position != SETTLED and (saved := self._durability.saved(position)) is not None:
            await saved
        return decided

    async def _keep_on(self, decide: Callable[[], T], now: float) -> T:
        """
        Decide something that goes on while nothing can be kept: a client or peer shows that it is there.

        What it changes is kept as soon as that is possible.
        """
        decided, position = self._decide(decide, now)
        if position != SETTLED and not self._durability.failing:
            saved = self._durability.saved(position)
            if saved is not None:
                await saved
        return decided

    def _decide(self, decide: Callable[[], T], now: float, *, needs_saving: bool = True) -> tuple[T, int]:
        """
        Take a decision.

        :param needs_saving: whether those who wait for what it changes are notified only once it is kept.
        :returns: what was decided, and what has to be kept before it may be answered.
        """
        if not self._is_open:
            raise Unavailable("The server is not running.")
        position = SETTLED
        keys = self._keys = {}
        self._durability.begin(now)
        try:
            decided = decide()
        finally:
            # A decision that was refused may have ended what was due, which is not to be lost.
            self._keys = None
            position = self._durability.end(keys if needs_saving else ())
            if keys and (position == SETTLED or not needs_saving):
                self._notify(keys)
        return decided, position

    def _collect(self, key: Key) -> None:
        if self._keys is None:
            self.notifier.notify(key)  # A read has ended what was due.
        else:
            self._keys[key] = None

    def _notify(self, keys: Collection[Key]) -> None:
        for key in keys:
            self.notifier.notify(key)
