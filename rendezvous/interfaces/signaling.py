"""What a store does for signaling: offers, sessions, and those that wait for news."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted.internet.defer import Deferred

    from rendezvous.core.notes import Key
    from rendezvous.core.signaling.bloom import Bloom
    from rendezvous.core.signaling.listings import TopicUpdate
    from rendezvous.core.signaling.offers import Answer, Candidate, Offer, Role, Session
    from rendezvous.core.signaling.pages import Page
    from rendezvous.core.signaling.specs import OfferSpec
    from rendezvous.core.signaling.watches import Watch
    from rendezvous.core.sources import SourceNetwork
    from rendezvous.model import (
        Events,
    )

__all__ = ["ISignalingStore", "ISubscription"]


class ISignalingStore(Interface):
    """
    Offers and sessions: the verbs of :class:`~rendezvous.core.signaling.signaling.Signaling` and
    :class:`~rendezvous.core.signaling.sessions.Sessions`, which say what each does and raises.
    """

    limits = Attribute("What the verbs hold requests to (:class:`~rendezvous.limits.SignalingLimits`).")

    def subscribe(key: Key) -> ISubscription:
        """
        Wait for changes of what a key names (:mod:`rendezvous.core.notes`): a peer's events, one side of an offer, a
        topic that is watched.

        :returns: a place among those that wait; to be closed. Subscribe before you look: then no change is missed.
        :raises TooMany: as many wait for this key as may.
        :raises Unavailable: as many wait in all as may, or the store is closed.
        """

    # Offers. Everything is charged to the source that makes it (:mod:`rendezvous.core.sources`).

    async def publish(owner: str, specs: Sequence[OfferSpec], now: float, source: SourceNetwork = ...) -> list[Offer]:
        """Publish offers, all or none."""

    async def mine(owner: str, now: float, after: int | None = None) -> Page[Offer, int]:
        """A page of a peer's own offers."""

    async def of_peer(owner: str, now: float, after: int | None = None) -> Page[Offer, int]:
        """A page of a peer's offers, as others see them."""

    async def by_topic(
        topic: str, limit: int, bloom: Bloom | None, now: float, after: int | None = None
    ) -> Page[Offer, int]:
        """A page of the offers in a topic, and how many there are."""

    async def topic_since(topic: str, since: int | None, limit: int, bloom: Bloom | None, now: float) -> TopicUpdate:
        """What has changed in a topic that is watched; its listing, if that is not known or ``since`` is ``None``."""

    async def topics(
        limit: int, offset: int, prefix: str, now: float, after: tuple[int, str] | None = None
    ) -> Page[tuple[str, int], tuple[int, str]]:
        """A page of topics with the number of peers in each, and how many topics there are."""

    async def heartbeat(owner: str, offer_id: str, now: float) -> Offer:
        """Say that the owner still waits."""

    async def withdraw(owner: str, offer_id: str, now: float) -> None:
        """End an offer."""

    async def answer(
        offer_id: str, answerer: str, sdp: str, secret: str | None, now: float, source: SourceNetwork = ...
    ) -> Answer:
        """Answer an offer; the first answer locks it."""

    async def answers(owner: str, now: float, since: int) -> Page[tuple[Offer, Answer], int]:
        """A page of the answers to a peer's offers."""

    async def add_candidates(
        offer_id: str, peer: str, values: Sequence[object], now: float, source: SourceNetwork = ...
    ) -> int:
        """Add candidates of one side."""

    async def candidates(offer_id: str, peer: str, now: float, since: int) -> Page[Candidate, int]:
        """A page of the other side's candidates."""

    async def events_since(peer: str, seq: int | None, now: float, topics: Mapping[str, int] = ...) -> Events:
        """
        A peer's events after one with this number; after the latest of all, if ``None``. They say whether some before
        them are lost, and where to go on.

        :param topics: topics that are watched and read too, each with a number before which nothing of it is read.
        """

    def watch(topic: str, now: float, source: SourceNetwork = ...) -> Watch:
        """
        Write down from now on what changes in a topic (:meth:`rendezvous.core.signaling.watches.Watches.watch`).

        :raises Malformed: the topic is out of its limits.
        """

    def watching(topics: Sequence[str]) -> int:
        """:returns: how many watch these topics, all together."""

    def stream_opened(peer: str, now: float) -> Callable[[float], None]:
        """
        A peer has opened an event stream: its offers that end with its streams go on.

        It returns what is to be called once, with the time, when that stream has closed.
        """

    # Sessions

    async def open_session(
        origin: str, topic: str, info: str, offer: str, code: str | None, now: float, source: SourceNetwork = ...
    ) -> str:
        """Open a session; its code."""

    async def sessions(origin: str, topic: str, now: float, after: int | None = None) -> Page[Session, int]:
        """A page of the unanswered sessions in a topic."""

    async def session_topics(
        origin: str, limit: int, offset: int, now: float, after: str | None = None
    ) -> Page[tuple[str, int], str]:
        """A page of an Origin's topics with the number of sessions in each, and how many topics there are."""

    async def count_sessions(origin: str, topics: Sequence[str], now: float) -> list[int]:
        """How many unanswered sessions of an Origin each topic has."""

    async def session(origin: str, code: str, now: float) -> Session:
        """The session with a code, and the candidates of both sides."""

    async def answer_session(
        origin: str, code: str, side: Role, answer: str, now: float, source: SourceNetwork = ...
    ) -> None:
        """Answer a session; the first answer locks it."""

    async def add_session_candidate(
        origin: str, code: str, side: Role, candidate: object, now: float, source: SourceNetwork = ...
    ) -> None:
        """Add one candidate of a side."""


class ISubscription(Protocol):
    """A place among those that wait for changes. As a context manager it closes itself."""

    def add(self, key: Key) -> None:
        """Wait for changes of another key too. The place counts once, however many keys it has."""

    def remove(self, key: Key) -> None:
        """Wait no longer for changes of a key."""

    def changed(self) -> Deferred[None]:
        """
        Wait for the next change.

        :returns: fires at the next change; it has fired if there was one since this was last called. Cancel it to wait
            no longer.
        :raises Unavailable: the store is closed.
        """

    def close(self) -> None:
        """Give the place back."""

    def __enter__(self) -> ISubscription: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None: ...
