"""Offers that end with the event streams of their owner."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.signaling.offers import OFFERS, Offer
from tests.signaling_tables import NOW, World, ids, spec


class StreamsTests(SynchronousTestCase):
    """One peer and its streams."""

    def setUp(self) -> None:
        """Make an empty world."""
        self.world = World()
        self.streams = self.world.table.streams

    def publish(self, id: str = "x", now: float = NOW, **asked: int) -> Offer:
        """Publish an offer that ends with its owner."""
        return self.world.publish("p", [spec("v=0", id=id, while_connected=True, **asked)], now)[0]  # type: ignore[arg-type]

    def alive(self, now: float) -> list[str]:
        """What is listed."""
        return ids(self.world.by_topic(OFFERS, "t", 9, None, now)[0])

    def test_the_first_stream_must_come(self) -> None:
        """Without a stream the offer ends after 10 s."""
        self.publish()
        self.assertEqual((self.alive(NOW + 9.999), self.alive(NOW + 10)), (["x"], []))

    def test_it_lasts_as_long_as_a_stream(self) -> None:
        """And 5 s more; of several streams the last one counts."""
        offer = self.publish(ttl_ms=600_000)
        first, second = self.streams.opened("p", NOW + 9), self.streams.opened("p", NOW + 100)
        second(NOW + 200)
        self.assertEqual(self.alive(NOW + 300), ["x"])
        first(NOW + 300)
        self.assertEqual((self.alive(NOW + 304.999), self.alive(NOW + 305)), (["x"], []))
        self.assertEqual(offer.expires_at, (NOW + 600) * 1000)
        self.assertEqual(len(self.streams), 0)

    def test_a_stream_that_comes_back_in_time(self) -> None:
        """A reconnect within 5 s keeps it; one after that does not bring it back."""
        first = self.streams.opened("p", NOW)
        self.publish()
        first(NOW + 1)
        second = self.streams.opened("p", NOW + 5.9)
        self.assertEqual(self.alive(NOW + 20), ["x"])
        second(NOW + 20)
        self.streams.opened("p", NOW + 25)
        self.assertEqual(self.alive(NOW + 25), [])

    def test_it_never_outlasts_its_lifetime(self) -> None:
        """An open stream gives no more time than was asked for."""
        closed = self.streams.opened("p", NOW)
        self.publish(ttl_ms=60_000)
        self.publish("late", NOW + 55, ttl_ms=60_000)
        closed(NOW + 58)
        self.assertEqual(self.alive(NOW + 60), ["late"])
        self.assertEqual(self.alive(NOW + 63), [])

    def test_other_offers_are_not_concerned(self) -> None:
        """Neither the same peer's plain ones nor another's; a refresh may change which it is."""
        self.publish()
        self.world.publish("p", [spec(id="plain")], NOW)
        self.world.publish("q", [spec(id="other", while_connected=True)], NOW)
        self.streams.opened("q", NOW)
        self.world.publish("p", [spec("v=0", id="x")], NOW + 5)
        self.streams.opened("p", NOW + 6)(NOW + 7)
        self.assertEqual(sorted(self.alive(NOW + 20)), ["other", "plain", "x"])

    def test_the_answerer_gets_an_event_of_a_withdrawal(self) -> None:
        """The owner has left; whether it said so or its stream ended is the same to the other side."""
        closed = self.streams.opened("p", NOW)
        self.publish()
        start = self.world.latest
        self.world.answer(OFFERS, "x", "q", "v=1", None, NOW)
        closed(NOW + 1)
        self.assertEqual([event.kind for event in self.world.events_since("q", start, NOW + 6)], ["withdrawn"])
        self.assertEqual([event.kind for event in self.world.events_since("p", start, NOW + 6)], ["answer"])

    def test_expiry_is_an_expiry(self) -> None:
        """When its lifetime ends while the stream is open, both sides get the event."""
        self.streams.opened("p", NOW)
        self.publish(ttl_ms=60_000)
        start = self.world.latest
        self.world.answer(OFFERS, "x", "q", "v=1", None, NOW)
        self.assertEqual([event.kind for event in self.world.events_since("q", start, NOW + 60)], ["expired"])

    def test_after_a_restart_the_owner_has_time_to_come_back(self) -> None:
        """No stream is open then: 10 s, as after the publication."""
        self.streams.opened("p", NOW)
        self.publish()
        self.publish("other")
        world = World()
        world.restore(self.world, [], -1, NOW + 50)
        found = ids(world.by_topic(OFFERS, "t", 9, None, NOW + 59.999)[0])
        self.assertEqual(sorted(found), ["other", "x"])
        self.assertEqual(world.by_topic(OFFERS, "t", 9, None, NOW + 60)[0], [])
