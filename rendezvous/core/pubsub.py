"""Topics and their subscribers. A topic is there as long as it has one."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Generic, TypeVar

from rendezvous.core.shares import Shares
from rendezvous.core.sources import UNKNOWN, SourceNetwork
from rendezvous.errors import Full, TooMany

__all__ = ["Topics"]

Subscriber = TypeVar("Subscriber", bound=Hashable)


class Topics(Generic[Subscriber]):
    """
    The subscriptions of all subscribers.

    :param most: subscriptions in all.
    :param of_topic: subscribers of one topic.
    :param of_subscriber: topics of one subscriber.
    :param shares: how many subscriptions each source may hold.
    :ivar shares: as given.
    """

    def __init__(self, most: int, of_topic: int, of_subscriber: int, shares: Shares) -> None:
        self._most, self._of_topic, self._of_subscriber = most, of_topic, of_subscriber
        self.shares = shares
        # In the order in which they came, each with its network.
        self._subscribers: dict[Hashable, dict[Subscriber, str]] = {}
        self._topics: dict[Subscriber, set[Hashable]] = {}
        self._total = 0

    def __len__(self) -> int:
        """:returns: how many subscriptions there are."""
        return self._total

    def of(self, topic: Hashable) -> Collection[Subscriber]:
        """:returns: the subscribers of a topic. It changes with later subscriptions."""
        return self._subscribers.get(topic, ())

    def subscribe(self, topic: Hashable, subscriber: Subscriber, source: SourceNetwork) -> None:
        """
        Subscribe; a second time changes nothing.

        :param source: whom it counts for.
        :raises TooMany: the subscriber, the topic (``topic-subscribers``) or the source has as many as it may, or the
            source has half of the places of the topic.
        :raises Full: there are as many as there may be.
        """
        subscribers = self._subscribers.get(topic, {})
        if subscriber in subscribers:
            return
        mine = self._topics.get(subscriber, set())
        if len(mine) >= self._of_subscriber:
            raise TooMany(f"One socket subscribes to at most {self._of_subscriber} topics.", code="too-many-topics")
        if len(subscribers) >= self._of_topic:
            raise TooMany(f"A topic has at most {self._of_topic} subscribers.", code="topic-subscribers")
        self._leave_room(subscribers, source)
        self.shares.check(source)
        if self._total >= self._most:
            raise Full("There are too many subscriptions.", code="full-subscriptions", holder=self.shares.largest)
        self.shares.add(source)
        self._total += 1
        self._subscribers[topic] = subscribers
        subscribers[subscriber] = source.subscriber
        self._topics[subscriber] = mine
        mine.add(topic)

    def _leave_room(self, subscribers: Mapping[Subscriber, str], source: SourceNetwork) -> None:
        """:raises TooMany: ``source-subscriptions``, the source would have more than half of the places of a topic."""
        most = max(1, self._of_topic // 2)
        # They are counted only where it matters: to count a thousand takes 20 us.
        if len(subscribers) < most or source is UNKNOWN or not self.shares.are_limited:
            return
        if sum(network == source.subscriber for network in subscribers.values()) >= most:
            raise TooMany(
                f"The network {source.subscriber} has at most {most} subscribers of a topic.",
                code="source-subscriptions",
            )

    def unsubscribe(self, topic: Hashable, subscriber: Subscriber, source: SourceNetwork) -> None:
        """
        End a subscription, if there is one.

        :param source: as it was when the subscription was made.
        """
        mine = self._topics.get(subscriber, set())
        if topic not in mine:
            return
        mine.remove(topic)
        if not mine:
            del self._topics[subscriber]
        subscribers = self._subscribers[topic]
        del subscribers[subscriber]
        if not subscribers:
            del self._subscribers[topic]
        self._total -= 1
        self.shares.remove(source)

    def leave(self, subscriber: Subscriber, source: SourceNetwork) -> None:
        """End all subscriptions of a subscriber."""
        for topic in list(self._topics.get(subscriber, ())):
            self.unsubscribe(topic, subscriber, source)
