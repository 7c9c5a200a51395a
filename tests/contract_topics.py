"""What every store must do: topics that are watched."""

from __future__ import annotations

from rendezvous.core.notes import PeerEvents, TopicChanges
from rendezvous.errors import Malformed
from rendezvous.limits import SignalingLimits
from tests._store_case import NOW
from tests.contract_offers import OfferCase

__all__ = ["TOPICS"]


class TopicContract(OfferCase):
    """Changes of topics, and waiting for them."""

    def test_changes_of_topics(self) -> None:
        """Are read beside the events, by those who watch: each once, and with what was missed."""
        before = self.cursor()
        watch = self.store.watch("a", NOW)
        self.assertEqual((self.store.watching(["a", "b"]), self.store.watching(["b"])), (1, 0))
        for name in ("x", "y"):
            self.publish("p", name, "a", "b")
        self.reply("x", "q")
        news = self.done(self.store.events_since("p", watch.since, NOW, {"a": -1}))
        found = [(change.offer_id, change.topics, change.gone) for change in news.changes]
        self.assertEqual(found, [("y", ("a",), None), ("x", ("a",), "answered")])
        self.assertEqual([str(event.kind) for event in news.events], ["answer"])
        self.assertEqual((news.complete, news.missed, news.more), (True, {}, False))
        rest = self.done(self.store.events_since("p", news.cursor, NOW, {"a": -1}))
        self.assertEqual((rest.changes, rest.events), ([], []))
        self.assertEqual(self.done(self.store.events_since("p", before, NOW, {"a": -1})).missed.keys(), {"a"})
        late = self.done(self.store.events_since("p", before, NOW, {"a": watch.since}))
        self.assertEqual(([change.offer_id for change in late.changes], late.missed), (["y", "x"], {}))
        watch.close(NOW)
        self.assertEqual(self.store.watching(["a"]), 0)

    def test_changes_in_pieces(self) -> None:
        """Events that are later than the last change of a piece come with the next one."""
        self.store = self.opened(limits=SignalingLimits(changes_in_a_read=2))
        watch = self.store.watch("a", NOW)
        for name in ("x", "y", "z"):
            self.publish("p", name, "a")
        self.reply("x", "q")
        first = self.done(self.store.events_since("p", watch.since, NOW, {"a": -1}))
        self.assertEqual(([change.offer_id for change in first.changes], first.events, first.more), (["y"], [], True))
        second = self.done(self.store.events_since("p", first.cursor, NOW, {"a": -1}))
        self.assertEqual(([change.offer_id for change in second.changes], second.more), (["z", "x"], False))
        self.assertEqual([str(event.kind) for event in second.events], ["answer"])
        watch.close(NOW)

    def update(self, since: int | None, limit: int = 10) -> tuple[list[str], list[str], bool, bool, int]:
        """:returns: the offers and the ends in an update of the topic, its flags, and its number."""
        update = self.done(self.store.topic_since("a", since, limit, None, NOW))
        gone = [event.offer_id for event in update.gone]
        return [offer.id for offer in update.offers.items], gone, update.is_reset, update.is_new, update.since

    def test_updates_of_a_topic(self) -> None:
        """The listing first, then what has changed, in pieces; the listing again, if changes are no longer known."""
        watch = self.store.watch("a", NOW)
        *nothing, since = self.update(None)
        self.assertEqual(nothing, [[], [], True, False])
        for name in ("x", "y", "z"):
            self.publish("p", name, "a")
        self.reply("x", "q")
        self.assertEqual(self.update(None)[:4], (["z", "y"], [], True, True))
        *first, after = self.update(since, 2)
        self.assertEqual(first, [["y"], [], False, True])
        *second, after = self.update(after, 2)
        self.assertEqual(second, [["z"], ["x"], False, True])
        self.assertEqual(self.update(after), ([], [], False, False, after))
        for unknown in (0, after + 10**9):
            self.assertEqual(self.update(unknown)[:4], (["z", "y"], [], True, True))
        watch.close(NOW)

    def test_number_of_an_earlier_life(self) -> None:
        """Is missed by topics, too."""
        watch = self.store.watch("a", NOW)
        news = self.done(self.store.events_since("p", watch.since + 10**9, NOW, {"a": -1}))
        self.assertEqual((news.complete, news.missed), (False, {"a": self.cursor()}))
        watch.close(NOW)

    def test_watch_wakes(self) -> None:
        """Requests that wait for a topic, and no others; one place may wait for several keys."""
        with self.store.subscribe(PeerEvents("a")) as place, self.store.subscribe(TopicChanges("b")) as other:
            watch = self.store.watch("a", NOW)
            place.add(TopicChanges("a"))
            changed, unchanged = place.changed(), other.changed()
            self.publish("p", "x", "a")
            self.successResultOf(changed)
            self.assertNoResult(unchanged)
            place.remove(TopicChanges("a"))
            changed = place.changed()
            self.publish("p", "y", "a")
            self.assertNoResult(changed)
            self.publish("a", "z", "other")
            self.reply("z", "q")
            self.successResultOf(changed)
            watch.close(NOW)

    def test_topic_to_watch_has_limits(self) -> None:
        """Those of a topic of an offer."""
        for topic, code in (("", "empty"), ("t" * 257, "too-long")):
            self.assertEqual(self.assertRaises(Malformed, self.store.watch, topic, NOW).code, code)


TOPICS = [TopicContract]
