"""Topics and their subscribers: the limits, and that nothing stays."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.pubsub import Topics
from rendezvous.core.shares import Shares
from rendezvous.core.sources import UNKNOWN, source_network
from rendezvous.errors import Full, TooMany

HOME, OTHER = source_network("198.51.100.7"), source_network("203.0.113.9")


class LimitTests(SynchronousTestCase):
    """Each limit can be reached, and not passed. A subscription that is refused changes nothing."""

    def topics(self, most: int = 100, of_topic: int = 100, of_subscriber: int = 100, of_source: int = 0) -> Topics[str]:
        """:returns: a table without a topic."""
        self.shares = Shares("subscriptions", of_source, code="source-subscriptions")
        return Topics(most, of_topic, of_subscriber, self.shares)

    def refused(self, topics: Topics[str], error: type[TooMany | Full], code: str, topic: str, who: str) -> None:
        """One more subscription is refused; what is there already may be subscribed to again."""
        before = len(topics), list(topics.of(topic)), len(self.shares)
        self.assertEqual(self.assertRaises(error, topics.subscribe, topic, who, HOME).code, code)
        self.assertEqual((len(topics), list(topics.of(topic)), len(self.shares)), before)

    def test_topics_of_a_subscriber(self) -> None:
        """Each subscriber may have as many."""
        topics = self.topics(of_subscriber=2)
        for topic in ("a", "b"):
            topics.subscribe(topic, "x", HOME)
        self.refused(topics, TooMany, "too-many-topics", "c", "x")
        topics.subscribe("b", "x", HOME)
        topics.subscribe("c", "y", HOME)
        topics.unsubscribe("a", "x", HOME)
        topics.subscribe("c", "x", HOME)
        self.assertEqual(list(topics.of("c")), ["y", "x"])

    def test_subscribers_of_a_topic(self) -> None:
        """Each topic may have as many."""
        topics = self.topics(of_topic=2)
        for who in ("x", "y"):
            topics.subscribe("a", who, HOME)
        self.refused(topics, TooMany, "topic-subscribers", "a", "z")
        topics.subscribe("b", "z", HOME)
        topics.unsubscribe("a", "x", HOME)
        topics.subscribe("a", "z", HOME)
        self.assertEqual(list(topics.of("a")), ["y", "z"])

    def test_subscriptions_in_all(self) -> None:
        """One that ends makes room for another; the network that holds most is named for the log."""
        topics = self.topics(most=3)
        topics.subscribe("a", "x", OTHER)
        topics.subscribe("a", "y", HOME)
        topics.subscribe("b", "y", HOME)
        error = self.assertRaises(Full, topics.subscribe, "c", "x", OTHER)
        self.assertEqual(error.code, "full-subscriptions")
        assert error.holder is not None
        self.assertEqual(error.holder(), HOME.subscriber)
        self.refused(topics, Full, "full-subscriptions", "c", "x")
        topics.leave("y", HOME)
        topics.subscribe("c", "x", OTHER)
        self.assertEqual(len(topics), 2)

    def test_subscriptions_of_a_source(self) -> None:
        """All subscribers of a source count together. Those of other sources do not."""
        topics = self.topics(of_source=2)
        topics.subscribe("a", "x", HOME)
        topics.subscribe("a", "y", HOME)
        self.refused(topics, TooMany, "source-subscriptions", "a", "z")
        topics.subscribe("a", "z", OTHER)
        topics.unsubscribe("a", "y", HOME)
        topics.subscribe("b", "x", HOME)

    def test_places_of_a_topic(self) -> None:
        """One source has at most half of them, where sources are limited, so that it keeps no others out."""
        topics = self.topics(of_topic=5, of_source=100)
        topics.subscribe("a", "v", OTHER)
        for who in ("w", "x"):
            topics.subscribe("a", who, HOME)
        self.refused(topics, TooMany, "source-subscriptions", "a", "y")
        topics.subscribe("a", "x", HOME)
        topics.subscribe("b", "y", HOME)
        topics.subscribe("a", "y", OTHER)
        topics.unsubscribe("a", "w", HOME)
        topics.subscribe("a", "w", HOME)
        unlimited = self.topics(of_topic=3)
        for who in ("x", "y", "z"):
            unlimited.subscribe("a", who, HOME)

    def test_places_of_a_small_topic(self) -> None:
        """The half is rounded down, also where no others are there; one place there is for each source."""
        for of_topic, places in ((4, 2), (3, 1), (1, 1)):
            topics = self.topics(of_topic=of_topic, of_source=100)
            for number in range(places):
                topics.subscribe("a", f"{number}", HOME)
            self.assertRaises(TooMany, topics.subscribe, "a", "one more", HOME)

    def test_places_of_a_topic_behind_one_proxy(self) -> None:
        """Sources that are not known are not limited."""
        topics = self.topics(of_topic=3, of_source=100)
        for who in ("x", "y", "z"):
            topics.subscribe("a", who, UNKNOWN)


class TopicsMachine(RuleBasedStateMachine):
    """Any subscriptions of three subscribers, beside a plain set of them."""

    def __init__(self) -> None:
        super().__init__()
        self.shares = Shares("subscriptions")
        self.topics: Topics[str] = Topics(100, 100, 100, self.shares)
        self.model: list[tuple[str, str]] = []

    @rule(topic=st.sampled_from("abc"), who=st.sampled_from("xyz"))
    def subscribe(self, topic: str, who: str) -> None:
        """A second time changes nothing, the order included."""
        self.topics.subscribe(topic, who, HOME)
        if (topic, who) not in self.model:
            self.model.append((topic, who))

    @rule(topic=st.sampled_from("abc"), who=st.sampled_from("xyz"))
    def unsubscribe(self, topic: str, who: str) -> None:
        """One that is not there is passed over."""
        self.topics.unsubscribe(topic, who, HOME)
        self.model = [pair for pair in self.model if pair != (topic, who)]

    @rule(who=st.sampled_from("xyz"))
    def leave(self, who: str) -> None:
        """All of one end."""
        self.topics.leave(who, HOME)
        self.model = [pair for pair in self.model if pair[1] != who]

    @invariant()
    def same(self) -> None:
        """Both know the same subscriptions, and a topic or subscriber without any takes no memory."""
        for topic in "abc":
            assert list(self.topics.of(topic)) == [who for name, who in self.model if name == topic]
        assert len(self.topics) == self.shares.held(HOME) == len(self.model)
        assert self.topics._subscribers.keys() == {topic for topic, _ in self.model}
        assert self.topics._topics.keys() == {who for _, who in self.model}


class ModelTests(SynchronousTestCase):
    """Any order of subscriptions."""

    def test_any_order(self) -> None:
        """As a plain list of pairs would have it."""
        run_state_machine_as_test(TopicsMachine, settings=settings(max_examples=50, stateful_step_count=30))
