"""Topics that are watched: what is written down, what is read, and what is bounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.notes import Key, TopicChanges
from rendezvous.core.signaling.memory import CHANGE_COST, text_size
from rendezvous.core.signaling.offers import Offer, Role
from rendezvous.core.signaling.sessions import Sessions
from rendezvous.core.signaling.watches import TopicNews, publication_cost
from rendezvous.core.sources import UNKNOWN, source_network
from rendezvous.errors import Full, TooMany
from rendezvous.limits import SignalingLimits
from tests.signaling_tables import LIMITS, NOW, World, spec

HOME, OTHER = source_network("198.51.100.7"), source_network("203.0.113.9")


class WatchesCase(SynchronousTestCase):
    """A world in which topics are watched."""

    def setUp(self) -> None:
        """Make an empty world."""
        self.make()

    def make(self, share: float = 0.1, **limits: Any) -> None:
        """Make an empty world with some limits."""
        self.notified: list[Key] = []
        self.world = World(SignalingLimits(**limits), notify=self.notified.append, share=share)
        self.watches = self.world.table.watches

    def publish(self, id: str, *topics: str, now: float = NOW, sdp: str = "v=0", **asked: Any) -> Offer:
        """Publish an offer."""
        return self.world.publish("p", [spec(sdp, *topics, id=id, **asked)], now, HOME)[0]

    def read(self, now: float = NOW, most: int | None = None, **after: int) -> TopicNews:
        """Read what has changed in topics after some numbers."""
        return self.world.table.changes(after, now, most)

    def seen(self, now: float = NOW, **after: int) -> list[tuple[str, str | None]]:
        """:returns: ids of the offers that have changed, and why those have gone that have."""
        news = self.read(now, **after)
        self.assertEqual((news.missed, news.until), ({}, None))
        return [(event.offer_id, event.gone) for event in news.events]


class ChangeTests(WatchesCase):
    """What is written down."""

    def test_offer_that_appears(self) -> None:
        """Is read once, as it is now; the reader is notified."""
        watch = self.watches.watch("t", UNKNOWN, NOW)
        offer = self.publish("x", "t")
        news = self.read(t=watch.since)
        self.assertEqual([(event.offer, event.topics, event.gone) for event in news.events], [(offer, ("t",), None)])
        self.assertEqual(self.notified, [TopicChanges("t")])
        self.assertEqual(self.seen(t=news.events[0].seq), [])

    def test_reasons(self) -> None:
        """An offer is answered, withdrawn, or expires, and each is notified."""
        since = self.watches.watch("t", UNKNOWN, NOW).since
        for id in ("a", "w", "e"):
            self.publish(id, "t", ttl_ms=60_000)
        self.notified.clear()
        self.world.answer("", "a", "q", "v=1", None, NOW)
        self.world.withdraw("p", "w", NOW)
        self.assertEqual(self.notified.count(TopicChanges("t")), 2)
        self.world.expire(NOW + 60)
        self.assertEqual(self.notified.count(TopicChanges("t")), 3)
        self.assertEqual(self.seen(t=since), [("a", "answered"), ("w", "withdrawn"), ("e", "expired")])

    def test_end_of_an_answered_offer(self) -> None:
        """It had gone before, so that is no change."""
        self.publish("a", "t", ttl_ms=60_000)
        self.world.answer("", "a", "q", "v=1", None, NOW)
        since = self.watches.watch("t", UNKNOWN, NOW).since
        self.notified.clear()
        self.world.expire(NOW + 60)
        self.assertEqual(self.seen(t=since), [])
        self.assertNotIn(TopicChanges("t"), self.notified)

    def test_owner_leaves(self) -> None:
        """All of its offers go."""
        self.publish("x", "t")
        since = self.watches.watch("t", UNKNOWN, NOW).since
        self.world.end_peer("p", NOW)
        self.assertEqual(self.seen(t=since), [("x", "withdrawn")])
        self.assertIn(TopicChanges("t"), self.notified)

    def test_streams_of_the_owner_end(self) -> None:
        """An offer that ends with them was withdrawn."""
        self.publish("x", "t", while_connected=True)
        since = self.watches.watch("t", UNKNOWN, NOW).since
        self.world.expire(NOW + LIMITS.connect_time)
        self.assertEqual(self.seen(t=since), [("x", "withdrawn")])

    def test_refresh(self) -> None:
        """Is shown again, with what is new; where the offer no longer is, it has gone. A heartbeat is no change."""
        self.publish("x", "a", "b")
        since = {topic: self.watches.watch(topic, UNKNOWN, NOW).since for topic in ("a", "b", "c")}
        self.publish("x", "b", "c", info="new")
        self.world.heartbeat("p", "x", NOW)
        events = self.read(**since).events
        self.assertEqual([(event.gone, event.topics) for event in events], [("withdrawn", ("a",)), (None, ("b", "c"))])
        assert events[1].offer is not None
        self.assertEqual(events[1].offer.info, "new")

    def test_another_description_under_the_same_id(self) -> None:
        """Is another offer: the old one has gone where the new one is not."""
        self.publish("x", "a", "b")
        since = {topic: self.watches.watch(topic, UNKNOWN, NOW).since for topic in ("a", "b")}
        self.notified.clear()
        self.publish("x", "b", sdp="v=1")
        events = self.read(**since).events
        self.assertEqual([(event.gone, event.topics) for event in events], [("withdrawn", ("a",)), (None, ("b",))])
        self.assertEqual(set(self.notified), {TopicChanges("a"), TopicChanges("b")})

    def test_topics_without_a_watch(self) -> None:
        """Nothing is written down, and no reader is notified."""
        watch = self.watches.watch("other", UNKNOWN, NOW)
        held = self.world.table.memory.held
        offer = self.publish("x", "t")
        self.assertEqual(self.world.table.memory.held - held, offer.cost)
        self.world.withdraw("p", "x", NOW)
        self.assertEqual([key for key in self.notified if isinstance(key, TopicChanges)], [])
        self.notified.clear()
        self.assertEqual((self.notified, self.seen(other=watch.since)), ([], []))

    def test_sessions_stay_within_their_origin(self) -> None:
        """A session of a topic of the same name is no change of it."""
        since = self.watches.watch("t", UNKNOWN, NOW).since
        sessions = Sessions(self.world.table, lambda: "code")
        sessions.open("https://a.example", "t", "", "v=0", None, NOW)
        sessions.answer("https://a.example", "code", Role.ANSWERER, "v=1", NOW)
        sessions.open("https://a.example", "t", "", "v=0", "other", NOW)
        self.world.expire(NOW + 300)
        self.assertEqual(self.seen(t=since), [])
        self.assertNotIn(TopicChanges("t"), self.notified)


class ReadTests(WatchesCase):
    """What a reader is shown."""

    def test_offer_that_came_and_went(self) -> None:
        """Only its end is shown."""
        since = self.watches.watch("t", UNKNOWN, NOW).since
        self.publish("x", "t")
        self.world.withdraw("p", "x", NOW)
        self.assertEqual(self.seen(t=since), [("x", "withdrawn")])

    def test_offer_that_came_and_was_moved(self) -> None:
        """Where it no longer is, only its end is shown."""
        since = {topic: self.watches.watch(topic, UNKNOWN, NOW).since for topic in ("a", "b")}
        self.publish("x", "a")
        self.publish("x", "b")
        self.assertEqual(self.seen(a=since["a"]), [("x", "withdrawn")])
        self.assertEqual(self.seen(b=since["b"]), [("x", None)])

    def test_offer_that_was_published_twice(self) -> None:
        """Is shown once, as it is now."""
        since = self.watches.watch("t", UNKNOWN, NOW).since
        for info in ("first", "second"):
            self.publish("x", "t", info=info)
        [event] = self.read(t=since).events
        assert event.offer is not None
        self.assertEqual(event.offer.info, "second")

    def test_offer_in_several_topics(self) -> None:
        """Is one event, with the topics that are read."""
        since = {topic: self.watches.watch(topic, UNKNOWN, NOW).since for topic in ("a", "b", "c")}
        self.publish("x", "a", "b", "unwatched")
        self.assertEqual([event.topics for event in self.read(a=since["a"], b=since["b"]).events], [("a", "b")])
        self.assertEqual([event.topics for event in self.read(b=since["b"], c=since["c"]).events], [("b",)])

    def test_offer_whose_time_is_over(self) -> None:
        """Is not shown, even if it is not freed yet."""
        since = self.watches.watch("t", UNKNOWN, NOW).since
        self.publish("x", "t", ttl_ms=60_000)
        self.assertEqual(self.seen(NOW + 60, t=since), [])

    def test_so_many_at_a_time(self) -> None:
        """At most, oldest first; the reader goes on where it was cut, and gets everything once."""
        self.make(changes_in_a_read=3)
        since = self.watches.watch("t", UNKNOWN, NOW).since
        ids = [f"{number}" for number in range(7)]
        for id in ids:
            self.publish(id, "t")
        read: list[list[str]] = []
        after: int | None = since
        while after is not None:
            news = self.read(t=after)
            read.append([event.offer_id for event in news.events])
            after = news.until
        self.assertEqual(read, [ids[:3], ids[3:6], ids[6:]])
        for most, found in ((2, ids[:2]), (4, ids[:3])):
            self.assertEqual([event.offer_id for event in self.read(most=most, t=since).events], found)
        last = self.read(t=since + 4)
        self.assertEqual(([event.offer_id for event in last.events], last.until), (ids[4:], None))

    def test_so_many_bytes_at_a_time(self) -> None:
        """At most, the last offer not included; an end takes none. So there is always one offer."""
        size = self.publish("x", "t", sdp="s" * 100).size
        for room, found in ((2 * size - 1, "axy"), (2 * size, "axy"), (2 * size + 1, "axyz")):
            self.make(change_bytes_in_a_read=room)
            self.publish("a", "t")
            since = self.watches.watch("t", UNKNOWN, NOW).since
            self.world.withdraw("p", "a", NOW)
            for id in "xyz0":
                self.publish(id, "t", sdp="s" * 100)
            self.assertEqual("".join(event.offer_id for event in self.read(t=since).events), found)
        self.make(change_bytes_in_a_read=1)
        since = self.watches.watch("t", UNKNOWN, NOW).since
        self.publish("x", "t")
        self.publish("y", "t")
        self.assertEqual([event.offer_id for event in self.read(t=since).events], ["x"])

    def test_missed(self) -> None:
        """A number from before the watch, one from the future, and a topic that is not watched."""
        since = self.watches.watch("t", UNKNOWN, NOW).since
        latest = self.world.table.events.latest
        for missed in ({"t": since - 1}, {"t": since + 1}, {"other": since}):
            self.assertEqual(self.missed(missed), dict.fromkeys(missed, latest))
        self.assertEqual(self.missed({"t": since}), {})

    def missed(self, after: Mapping[str, int]) -> Mapping[str, int]:
        """:returns: topics of which something is missed."""
        return self.world.table.changes(after, NOW).missed


class LifeTests(WatchesCase):
    """How long a topic is watched."""

    def test_reader_that_comes_back(self) -> None:
        """Within two minutes it has missed nothing; after that it learns that it has."""
        linger = LIMITS.event_linger
        watch = self.watches.watch("t", UNKNOWN, NOW)
        watch.close(NOW)
        self.publish("x", "t", now=NOW + 10)
        self.watches.watch("t", UNKNOWN, NOW + linger - 1).close(NOW + linger - 1)
        self.assertEqual(self.seen(NOW + linger, t=watch.since), [("x", None)])
        self.watches.trim(NOW + 2 * linger - 2)
        self.assertEqual(len(self.watches), 1)
        self.watches.trim(NOW + 2 * linger - 1)
        self.assertEqual(len(self.watches), 0)
        self.assertEqual(list(self.read(t=watch.since).missed), ["t"])

    def test_as_long_as_one_watches(self) -> None:
        """The last of several counts."""
        first, second = (self.watches.watch("t", UNKNOWN, NOW) for _ in range(2))
        first.close(NOW)
        self.watches.trim(NOW + 1000)
        self.publish("x", "t", now=NOW + 1000)
        self.assertEqual(self.seen(NOW + 1000, t=second.since), [("x", None)])

    def test_old_changes(self) -> None:
        """Are forgotten after two minutes: a reader that is older has missed something."""
        since = self.watches.watch("t", UNKNOWN, NOW).since
        for id in ("w", "x"):
            self.publish(id, "t", ttl_ms=600_000)
        self.publish("y", "t", now=NOW + 100, ttl_ms=600_000)
        self.watches.trim(NOW + LIMITS.event_linger + 1)
        for after in (since, since + 1):
            self.assertEqual(list(self.read(NOW + 121, t=after).missed), ["t"])
        self.assertEqual(self.seen(NOW + 121, t=since + 2), [("y", None)])

    def test_left_topics_are_forgotten_in_slices(self) -> None:
        """A topic counts with the changes that it still has."""
        for topic in "abcd":
            self.watches.watch(topic, UNKNOWN, NOW).close(NOW)
        late = NOW + LIMITS.event_linger
        for number in range(3):
            self.publish(f"{number}", "a", now=late - 1)
        self.watches.trim(late, 2)
        self.assertEqual(len(self.watches), 3)
        self.watches.trim(late, 2)
        self.assertEqual(len(self.watches), 1)
        self.watches.trim(late, 2)
        self.assertEqual(len(self.watches), 0)

    def test_nothing_stays(self) -> None:
        """Neither memory nor shares, once a topic is forgotten."""
        held = self.world.table.memory.held
        watch = self.watches.watch("t", HOME, NOW)
        offer = self.publish("x", "t")
        self.assertEqual(self.world.table.memory.held - held, offer.cost + CHANGE_COST + text_size("x"))
        watch.close(NOW)
        self.world.withdraw("p", "x", NOW)
        self.watches.trim(NOW + LIMITS.event_linger)
        self.assertEqual((self.world.table.memory.held, len(self.watches.shares)), (held, 0))
        self.watches.trim(NOW + 2 * LIMITS.event_linger)
        self.assertEqual((self.world.table.memory.held, len(self.watches._kept)), (held, 0))


class BoundTests(WatchesCase):
    """How much there may be of everything."""

    def test_changes_of_a_topic(self) -> None:
        """Beyond the bound the oldest goes, and its readers learn that they have missed something."""
        self.make(changes_of_topic=2)
        since = self.watches.watch("t", UNKNOWN, NOW).since
        for id in "xy":
            self.publish(id, "t")
        self.assertEqual(self.seen(t=since), [("x", None), ("y", None)])
        self.publish("z", "t")
        self.assertEqual(list(self.read(t=since).missed), ["t"])
        self.assertEqual(self.seen(t=since + 1), [("y", None), ("z", None)])

    def test_changes_of_all(self) -> None:
        """The same for all topics together, whatever was forgotten of them before."""
        self.make(changes_kept=2)
        since = {topic: self.watches.watch(topic, UNKNOWN, NOW).since for topic in "ab"}
        for id, topic in (("x", "a"), ("y", "b"), ("z", "b")):
            self.publish(id, topic)
        self.assertEqual(self.read(**since).missed.keys(), {"a"})
        self.assertEqual(self.seen(b=since["b"]), [("y", None), ("z", None)])

    def test_change_is_forgotten_once(self) -> None:
        """What has gone by the bound of its topic does not take another change with it by the bound of all."""
        self.make(changes_of_topic=1, changes_kept=3)
        since = {topic: self.watches.watch(topic, UNKNOWN, NOW).since for topic in "ab"}
        for id, topic in (("x", "a"), ("y", "a"), ("v", "b"), ("w", "b")):
            self.publish(id, topic)
        self.assertEqual(self.seen(a=self.world.table.events.latest - 3), [("y", None)])
        self.assertEqual(self.read(**since).missed.keys(), {"a", "b"})

    def test_watchers_of_a_topic(self) -> None:
        """Beyond the bound the next one is refused, until one leaves."""
        self.make(watchers_of_topic=2)
        first, _ = (self.watches.watch("t", UNKNOWN, NOW) for _ in range(2))
        self.assertEqual(self.assertRaises(TooMany, self.watches.watch, "t", UNKNOWN, NOW).code, "topic-watchers")
        self.assertEqual((self.watches.watching(["t", "other"]), self.watches.watching([])), (2, 0))
        self.assertEqual(World().table.watches.watching(["t"]), 0)
        first.close(NOW)
        self.watches.watch("t", UNKNOWN, NOW)

    def test_topics_in_all(self) -> None:
        """The one that was left first makes room; where all are watched there is none."""
        self.make(share=0, watched_topics=2)
        first, second = (self.watches.watch(topic, UNKNOWN, NOW) for topic in "ab")
        self.assertEqual(self.assertRaises(Full, self.watches.watch, "c", UNKNOWN, NOW).code, "full")
        second.close(NOW)
        first.close(NOW)
        third = self.watches.watch("c", UNKNOWN, NOW)
        self.assertEqual(self.read(a=first.since, b=second.since).missed.keys(), {"b"})
        first = self.watches.watch("a", UNKNOWN, NOW)
        self.assertRaises(Full, self.watches.watch, "d", UNKNOWN, NOW)
        third.close(NOW)
        self.watches.watch("d", UNKNOWN, NOW)

    def test_largest_source_is_named(self) -> None:
        """A full table names the network that watches most topics, for the operator's log."""
        self.make(share=0, watched_topics=3)
        for topic, source in (("a", OTHER), ("b", HOME), ("c", HOME)):
            self.watches.watch(topic, source, NOW)
        error = self.assertRaises(Full, self.watches.watch, "d", OTHER, NOW)
        assert error.holder is not None
        self.assertEqual(error.holder(), HOME.subscriber)

    def test_topics_of_a_source(self) -> None:
        """Each source has its share; those that it has left count until they are forgotten."""
        self.make(share=0.1, watched_topics=20)
        for topic in "ab":
            self.watches.watch(topic, HOME, NOW).close(NOW)
        self.assertEqual(self.assertRaises(TooMany, self.watches.watch, "c", HOME, NOW).code, "source-share")
        self.watches.watch("a", HOME, NOW)
        self.watches.watch("c", OTHER, NOW)
        self.watches.watch("d", HOME, NOW + LIMITS.event_linger)

    def test_watchers_of_a_source(self) -> None:
        """One source cannot take all places of a topic, unless sources are not limited."""
        self.make(watchers_of_topic=4, watchers_of_source=2)
        first, _ = (self.watches.watch("t", HOME, NOW) for _ in range(2))
        self.assertEqual(self.assertRaises(TooMany, self.watches.watch, "t", HOME, NOW).code, "source-share")
        self.watches.watch("t", OTHER, NOW)
        first.close(NOW)
        self.watches.watch("t", HOME, NOW)
        self.make(share=0, watchers_of_topic=4, watchers_of_source=2)
        for _ in range(4):
            self.watches.watch("t", HOME, NOW)

    def test_shares_change(self) -> None:
        """With the settings of a server that runs."""
        self.make(share=0.1, watched_topics=10)
        self.watches.watch("a", HOME, NOW)
        self.assertRaises(TooMany, self.watches.watch, "b", HOME, NOW)
        self.world.table.change(100, 1 << 30, 0)
        self.watches.watch("b", HOME, NOW)


class CostTests(SynchronousTestCase):
    """What a publication counts for."""

    def test_each_hundred_watchers_count(self) -> None:
        """And once more for each 4 KiB of the description."""
        for watching, size, cost in (
            (0, 100_000, 1), (99, 4095, 1), (100, 4095, 2), (199, 0, 2), (50, 4095, 1), (50, 4096, 2), (250, 5000, 6),
        ):  # fmt: skip
            self.assertEqual(publication_cost(watching, size), cost, (watching, size))
