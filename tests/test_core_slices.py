"""Ends in slices: however much ends at one moment, no step does more than its share, and no answer is wrong."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.signaling.offers import OFFERS
from rendezvous.core.signaling.sessions import Sessions
from rendezvous.core.signaling.table import ENDS_IN_A_VERB
from rendezvous.errors import NotFound
from rendezvous.limits import SignalingLimits
from tests.signaling_tables import NOW, World, count_calls, ids, publish, spec

END = NOW + 60
ORIGIN = "https://a.example"
TOPICS = [f"topic {number}" for number in range(20)]


class SliceTests(SynchronousTestCase):
    """Hundreds of offers with twenty topics that end at one moment."""

    def setUp(self) -> None:
        """Publish them, and some that go on."""
        self.world = World(SignalingLimits(offers_per_peer=10_000))
        for number in range(600):
            specs = [spec("v=0", *TOPICS, id=f"{number}", ttl_ms=60_000)]
            self.world.publish(f"p{number % 7}", specs, NOW)
        for number in range(3):
            self.world.publish("alive", [spec("v=0", *TOPICS, id=f"alive {number}", ttl_ms=600_000)], NOW - 1)

    def test_a_slice_is_bounded(self) -> None:
        """Each call ends as many offers as it may, whatever is due, and says when there is no more."""
        calls = count_calls(lambda: self.world.table.expire(END, 210))
        self.assertEqual(len(self.world), 593)
        self.assertTrue(self.world.table.is_due(END))
        self.assertLess(calls, 210 * 40)
        slices = 0
        while self.world.table.is_due(END):
            self.assertLessEqual(self.world.table.expire(END, 1000), 48)
            slices += 1
        self.assertEqual((len(self.world), slices), (3, 13))

    def test_no_verb_ends_more_than_a_slice(self) -> None:
        """Reading, publishing and opening each end some, and the rest stays for the sweep."""
        sessions = Sessions(self.world.table, lambda: "code")
        world = self.world
        for verb in (
            lambda: world.by_topic(OFFERS, TOPICS[0], 50, None, END),
            lambda: world.topics(OFFERS, 50, 0, "", END),
            lambda: world.topics_by_name(OFFERS, 50, 0, END),
            lambda: world.count(OFFERS, TOPICS[0], END),
            lambda: world.publish("new", [spec("v=0", "new", id=f"{len(world)}")], END),
            lambda: sessions.open(ORIGIN, "room", "", "v=0", f"{len(world)}", END),
            lambda: world.mine("p0", END),
            lambda: world.of_peer("p0", END),
            lambda: world.answers("p0", END),
            lambda: world.table.events.since("p0", 0, END),
        ):
            before = len(world)
            verb()
            self.assertLessEqual(before - len(world), ENDS_IN_A_VERB // 21 + 1)

    def test_what_has_ended_is_nowhere(self) -> None:
        """Though nothing is freed: not in a listing, not by its id, not with its owner, and its id is free."""
        world = self.world
        self.assertEqual(ids(world.by_topic(OFFERS, TOPICS[3], 200, None, END)[0]), [f"alive {n}" for n in (2, 1, 0)])
        self.assertEqual((world.mine("p1", END), world.of_peer("p1", END)), ([], []))
        self.assertRaises(NotFound, world.find, OFFERS, "599", END)
        self.assertRaises(NotFound, world.heartbeat, "p4", "599", END)
        self.assertRaises(NotFound, world.answer, OFFERS, "599", "q", "v=1", None, END)
        self.assertRaises(NotFound, world.add_candidates, OFFERS, "599", "p4", [1], END)
        again = world.publish("another", [spec("v=1", "new", id="599", limits=world.limits)], END)
        self.assertEqual(ids(world.mine("another", END)), ["599"])
        self.assertEqual(again[0].owner, "another")
        self.assertIn("expired", [event.kind for event in world.table.events.since("p4", 0, END)])

    def test_an_owner_whose_offers_have_ended_may_publish(self) -> None:
        """What has ended counts against no bound of the owner, and gives way."""
        world = World(SignalingLimits(offers_per_peer=30))
        for number in range(30):
            world.publish("p", [spec("v=0", *TOPICS, id=f"{number}", ttl_ms=60_000)], NOW)
        for number in range(400):
            world.publish(f"q{number}", [spec("v=0", *TOPICS, id=f"q{number}", ttl_ms=59_000)], NOW)
        world.publish("p", [spec("v=0", id="new")], END)
        self.assertEqual(ids(world.mine("p", END)), ["new"])
        self.assertLessEqual(len(world.table.catalogue.owned("p")), 30)

    def test_logout_tells_the_expired_from_the_withdrawn(self) -> None:
        """What is due at the moment of the logout has expired, and is not counted as withdrawn."""
        world = World()
        publish(world, "p", "due", ttl_ms=60_000)
        publish(world, "p", "live", ttl_ms=70_000)
        start = world.latest
        for id in ("due", "live"):
            world.answer(OFFERS, id, "q", "v=1", None, NOW)
        self.assertEqual(world.end_peer("p", END), 1)
        told = {event.offer_id: event.kind for event in world.table.events.since("q", start, END)}
        self.assertEqual(told, {"due": "expired", "live": "withdrawn"})

    def test_count_is_exact_without_a_sweep(self) -> None:
        """Unless more has ended at once than one call frees."""
        world = World()
        publish(world, "p", "a", ttl_ms=60_000)
        publish(world, "p", "b", ttl_ms=70_000)
        self.assertEqual([world.count(OFFERS, "t", moment) for moment in (END - 0.001, END)], [2, 1])

    def test_a_page_passes_over_so_much_and_goes_on(self) -> None:
        """When more has ended in a topic than a page may pass over, the next page is behind it."""
        world = World(SignalingLimits(ended_scan=100, offers_per_peer=1000))
        publish(world, "alive", "alive", ttl_ms=600_000)
        for number in range(500):
            publish(world, "p", f"{number}", ttl_ms=60_000)
        page = world.pages.by_topic(OFFERS, "t", 5, None, END)
        pages = 1
        while page.next is not None:
            self.assertEqual(page.items, ())
            page = world.pages.by_topic(OFFERS, "t", 5, None, END, page.next)
            pages += 1
        self.assertEqual((ids(page.items), pages > 1), (["alive"], True))
