"""Signaling tables and offers for the signaling tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from types import FrameType

from rendezvous.core.notes import Note, Notify, ignore_changes, ignore_key
from rendezvous.core.signaling.bloom import Bloom
from rendezvous.core.signaling.entries import Entry
from rendezvous.core.signaling.events import Event, EventLogged, event_cost
from rendezvous.core.signaling.listings import Listings
from rendezvous.core.signaling.offers import OFFERS, Answer, Candidate, Offer, Role
from rendezvous.core.signaling.signaling import Signaling
from rendezvous.core.signaling.specs import OfferSpec
from rendezvous.core.signaling.table import OfferTable
from rendezvous.limits import SignalingLimits

NOW = 1_700_000_000.0
NOW_MS = 1_700_000_000_000
LIMITS = SignalingLimits()


class World(Signaling):
    """The table, the verbs and the listings in one object; listings give plain lists of their first page."""

    def __init__(
        self,
        limits: SignalingLimits = LIMITS,
        max_offers: int = 100_000,
        note: Note = ignore_changes,
        notify: Notify = ignore_key,
        *,
        memory: int = 512 * 1024 * 1024,
        share: float = 0.1,
    ) -> None:
        self.table = OfferTable(limits, max_offers, memory, share, note, notify)
        self.limits = limits
        super().__init__(self.table)
        self.pages = Listings(self.table)

    def __len__(self) -> int:
        """How many offers there are."""
        return len(self.table)

    def __iter__(self) -> Iterator[Offer]:
        """All of them."""
        return iter(self.table)

    def expire(self, now: float) -> int:
        """End all that is due."""
        ended = 0
        while number := self.table.expire(now):
            ended += number
        return ended

    def restore(self, other: World, logged: Iterable[EventLogged], horizon: int, now: float) -> None:
        """Take over what another has, in an unhelpful order, and what a journal has kept of events."""
        entries = []
        for old in reversed(list(other.table.catalogue)):
            entry = Entry(old.offer)
            for role in Role:
                for candidate in old.candidates(role):
                    entry.attach(candidate)
            entries.append(entry)
        self.table.restore(entries, now)
        self.table.restore_events(logged, horizon, now)

    def sent(self, offer_id: str, role: Role) -> list[Candidate]:
        """What one side of an offer has sent so far."""
        entry = self.table.catalogue.find(OFFERS, offer_id)
        return [] if entry is None else list(entry.candidates(role))

    def find(self, namespace: str, offer_id: str, now: float) -> Offer:
        """Look an offer up."""
        return self.table.find(namespace, offer_id, now).offer

    def mine(self, owner: str, now: float) -> list[Offer]:
        """A peer's own offers."""
        return list(self.pages.mine(owner, now).items)

    def of_peer(self, owner: str, now: float) -> list[Offer]:
        """A peer's offers."""
        return list(self.pages.of_peer(owner, now).items)

    def answers(self, owner: str, now: float, since: int = -1) -> list[tuple[Offer, Answer]]:
        """The answers to a peer's offers."""
        return list(self.pages.answers(owner, now, since).items)

    def by_topic(
        self, namespace: str, topic: str, limit: int, bloom: Bloom | None, now: float
    ) -> tuple[list[Offer], int]:
        """The offers in a topic, and how many there are."""
        page = self.pages.by_topic(namespace, topic, limit, bloom, now)
        return list(page.items), page.total

    def topics(
        self, namespace: str, limit: int, offset: int, prefix: str, now: float
    ) -> tuple[list[tuple[str, int]], int]:
        """Topics by activity, and how many there are."""
        page = self.pages.topics(namespace, limit, offset, prefix, now)
        return list(page.items), page.total

    def topics_by_name(self, namespace: str, limit: int, offset: int, now: float) -> tuple[list[tuple[str, int]], int]:
        """Topics by name, and how many there are."""
        page = self.pages.topics_by_name(namespace, limit, offset, now)
        return list(page.items), page.total

    def count(self, namespace: str, topic: str, now: float) -> int:
        """How many offers a topic has."""
        return self.pages.count(namespace, topic, now)

    def events_since(self, peer: str, seq: int, now: float) -> list[Event]:
        """A peer's events, after what is due has ended, as a sweep would do it."""
        self.expire(now)
        return self.table.events.since(peer, seq, now)

    def can_replay(self, peer: str, seq: int, now: float) -> bool:
        """Whether a peer can resume from here."""
        self.expire(now)
        return self.table.events.covers(peer, seq, now)

    @property
    def latest(self) -> int:
        """The number of the latest event."""
        return self.table.events.latest

    @property
    def horizon(self) -> int:
        """The greatest number of an event that was dropped."""
        return self.table.events.horizon

    def recount(self) -> int:
        """The bytes that all there is has to be charged."""
        entries: Iterable[Entry] = self.table.catalogue
        total = sum(entry.offer.cost + sum((entry.charges or {}).values()) for entry in entries)
        return total + sum(event_cost(event) for log in self.table.events._logs.values() for event in log.events)


def spec(
    sdp: str = "v=0",
    *topics: str,
    limits: SignalingLimits = LIMITS,
    ttl_ms: int | None = None,
    secret: str | None = None,
    info: str | None = None,
    id: str | None = None,
    while_connected: bool = False,
) -> OfferSpec:
    """A checked offer, in the topic ``t`` unless told otherwise."""
    return OfferSpec.check(
        limits,
        "offers[0]",
        sdp=sdp,
        topics=topics or ("t",),
        ttl_ms=ttl_ms,
        secret=secret,
        info=info,
        id=id,
        while_connected=while_connected,
    )


def publish(
    signaling: Signaling, owner: str, id: str, *topics: str, now: float = NOW, ttl_ms: int | None = None
) -> Offer:
    """Publish one offer under an id of its own."""
    return signaling.publish(owner, [spec(f"sdp of {id}", *topics, id=id, ttl_ms=ttl_ms)], now)[0]


def offer(id: str, owner: str = "", *topics: str, seen: int = 0) -> Offer:
    """A bare record."""
    return Offer(id=id, owner=owner, topics=topics, sdp=b'""', created_at=0, expires_at=1, last_seen=seen, seen=seen)


def ids(offers: Iterable[Offer]) -> list[str]:
    """The ids of a listing."""
    return [each.id for each in offers]


def count_calls(action: Callable[[], object]) -> int:
    """
    How many function calls an action makes, in Python and in C.

    It is the same on every machine and every run, unlike a time.
    """
    calls = 0

    def profile(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(before)
    return calls
