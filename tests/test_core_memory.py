"""What signaling is charged for, and what that has to do with memory."""

from __future__ import annotations

import contextlib
import gc
import sqlite3
import sys
import tracemalloc
from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.shares import Shares
from rendezvous.core.signaling.memory import Memory, text_size
from rendezvous.core.signaling.offers import OFFERS, Role
from rendezvous.core.signaling.sessions import Sessions
from rendezvous.core.sources import source_network
from rendezvous.errors import Full, RendezvousError, TooMany
from rendezvous.limits import SignalingLimits
from tests.signaling_tables import NOW, World, publish, spec

ORIGIN = "https://a.example"
HERE, NEIGHBOUR, ELSEWHERE = map(source_network, ("192.0.2.1", "192.0.2.2", "198.51.100.1"))
IDS = st.sampled_from(["1", "2", "3"])
PEERS = st.sampled_from(["p", "q", "r"])
SOURCES = st.sampled_from([HERE, NEIGHBOUR, ELSEWHERE])
SIZES = st.sampled_from([1, 300, 2000])


class TextSizeTests(SynchronousTestCase):
    """What a text is charged, compared with what it takes."""

    def measured(self, text: str) -> int:
        """:returns: the bytes of a text that SQLite has read, with which Python keeps the encoded form then."""
        sqlite3.connect(":memory:").execute("SELECT ?", (text,)).fetchall()
        return sys.getsizeof(text)

    def test_no_text_is_charged_less_than_it_takes(self) -> None:
        """Whatever its characters are, and however short it is."""
        for character in "aé日😀":
            for length in (1, 2, 10, 1000):
                text = "".join([character] * length)
                self.assertGreaterEqual(text_size(text), self.measured(text), (character, length))

    def test_charge_is_not_far_above(self) -> None:
        """It is exact within a tenth for ASCII, as nearly all texts are, and for the characters that take most."""
        for character in "a😀":
            text = "".join([character] * 1000)
            self.assertLess(text_size(text), 1.1 * self.measured(text), character)

    def test_no_text_is_charged_nothing(self) -> None:
        """A text that is empty is an object nevertheless."""
        self.assertGreater(text_size(""), 0)


class BoundsTests(SynchronousTestCase):
    """The bounds of what is charged."""

    def setUp(self) -> None:
        """Have 100 bytes in all, 50 for a subscriber and 60 for a site."""
        self.memory = Memory(100, Shares("memory", 50, 60))

    def test_bytes_of_all_sources_together(self) -> None:
        """What fits exactly fits; one byte more does not."""
        self.memory.charge(HERE, 40)
        self.memory.check(ELSEWHERE, 60, 1)
        self.assertRaises(Full, self.memory.check, ELSEWHERE, 61, 1)

    def test_bytes_of_one_source(self) -> None:
        """It may be charged for more or less than all together grows."""
        self.memory.charge(HERE, 49)
        self.memory.check(HERE, 1)
        self.assertRaises(TooMany, self.memory.check, HERE, 2)
        self.assertRaises(TooMany, self.memory.check, HERE, 0, 2)
        self.assertRaises(TooMany, self.memory.check, HERE, -10, 2)

    def test_what_does_not_grow_fits_always(self) -> None:
        """Also where more is held than may be: after a restart, or a reload with a lower bound."""
        self.memory.charge(HERE, 90)
        self.memory.change(10, (5, 5))
        for amount in (0, -1):
            self.memory.check(HERE, amount)
        self.assertRaises(Full, self.memory.check, ELSEWHERE, 1)
        self.memory.change(1000, (5, 5))
        self.assertRaises(TooMany, self.memory.check, HERE, 1)
        self.memory.change(1000, (500, 500))
        self.memory.check(HERE, 1)


class MemoryMachine(RuleBasedStateMachine):
    """Does anything at random, and counts anew after each step."""

    def __init__(self) -> None:
        super().__init__()
        limits = SignalingLimits(
            ttl_min_ms=1,
            offers_per_peer=3,
            candidate_bytes_per_offer=3000,
            event_bytes_per_peer=6000,
            events_per_peer=5,
            events_kept=12,
            event_linger=2.0,
            session_lifetime=2.0,
        )
        self.world = World(limits, max_offers=6, memory=60_000)
        self.sessions = Sessions(self.world.table, lambda: "unused")
        self.now = NOW

    def attempt(self, act: Callable[[], object]) -> None:
        """Do something that may be refused."""
        with contextlib.suppress(RendezvousError):
            act()

    @rule(peer=PEERS, id=IDS, size=SIZES, topics=st.integers(1, 3), source=SOURCES, eighths=st.integers(1, 9))
    def publish(self, peer: str, id: str, size: int, topics: int, source: object, eighths: int) -> None:
        """Publish, refresh or replace."""
        wanted = spec("v" * size, *"abc"[:topics], id=id, ttl_ms=eighths * 250, limits=self.world.limits)
        self.attempt(lambda: self.world.publish(peer, [wanted], self.now, source))  # type: ignore[arg-type]

    @rule(id=IDS, size=SIZES, source=SOURCES)
    def open(self, id: str, size: int, source: object) -> None:
        """Open a session."""
        self.attempt(lambda: self.sessions.open(ORIGIN, "t", "i", "v" * size, id, self.now, source))  # type: ignore[arg-type]

    @rule(peer=PEERS, id=IDS, size=SIZES, source=SOURCES)
    def answer(self, peer: str, id: str, size: int, source: object) -> None:
        """Answer an offer and a session."""
        self.attempt(lambda: self.world.answer(OFFERS, id, peer, "v" * size, None, self.now, source))  # type: ignore[arg-type]
        self.attempt(lambda: self.world.answer(ORIGIN, id, "", "v" * size, None, self.now, source))  # type: ignore[arg-type]

    @rule(peer=PEERS, id=IDS, size=SIZES, source=SOURCES)
    def trickle(self, peer: str, id: str, size: int, source: object) -> None:
        """Add candidates."""
        self.attempt(lambda: self.world.add_candidates(OFFERS, id, peer, ["c" * size, 1], self.now, source))  # type: ignore[arg-type]
        self.attempt(
            lambda: self.sessions.add_candidate(ORIGIN, id, Role.OFFERER, "c" * size, self.now, source)  # type: ignore[arg-type]
        )

    @rule(peer=PEERS, id=IDS)
    def withdraw(self, peer: str, id: str) -> None:
        """End an offer."""
        self.attempt(lambda: self.world.withdraw(peer, id, self.now))

    @rule(peer=PEERS)
    def end_peer(self, peer: str) -> None:
        """Log a peer out."""
        self.world.end_peer(peer, self.now)

    @rule(eighths=st.integers(1, 12), swept=st.booleans())
    def wait(self, eighths: int, swept: bool) -> None:
        """Let time pass."""
        self.now += eighths / 4
        if swept:
            self.world.table.expire(self.now)

    @invariant()
    def accounts_agree(self) -> None:
        """What is charged is what a recount gives, in all and by source."""
        memory = self.world.table.memory
        assert memory.held == self.world.recount(), (memory.held, self.world.recount())
        shares = memory.shares
        assert sum(shares.held(source) for source in (HERE, NEIGHBOUR, ELSEWHERE)) == memory.held

    def teardown(self) -> None:
        """When all has ended and all events are old, nothing is charged to anyone."""
        for after in (10, 20):
            self.world.expire(self.now + after)
        assert self.world.table.memory.held == 0
        assert len(self.world.table.memory.shares) == 0
        assert len(self.world.table.events) == 0


class MemoryModelTests(SynchronousTestCase):
    """Random operations against a recount."""

    def test_accounts_agree(self) -> None:
        """After each step."""
        case = MemoryMachine.TestCase
        case.settings = settings(deadline=None, max_examples=25, stateful_step_count=40)
        case("runTest").debug()


def grown(fill: Callable[[World], None]) -> tuple[int, int]:
    """:returns: how many bytes a world really takes, and how many it is charged."""
    limits = SignalingLimits(offers_per_peer=10**6)
    gc.collect()
    tracemalloc.start()
    try:
        world = World(limits, memory=1 << 40, share=0.0)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        fill(world)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before, world.table.memory.held
    finally:
        tracemalloc.stop()


class RealMemoryTests(SynchronousTestCase):
    """The charge is at least what is taken, and at most four times as much."""

    def check(self, fill: Callable[[World], None]) -> None:
        """Compare."""
        real, charged = grown(fill)
        self.assertLess(real, charged)
        self.assertLess(charged, 4 * real)

    def test_offers_with_topics_of_their_own(self) -> None:
        """One topic, or twenty."""
        for topics, number in ((1, 1000), (20, 200)):

            def fill(world: World, topics: int = topics, number: int = number) -> None:
                for n in range(number):
                    names = [f"topic {n} {each}" for each in range(topics)]
                    publish(world, f"{n:032x}", f"{n}", *names, now=NOW + n / 1000)

            self.check(fill)

    def test_offers_in_one_topic(self) -> None:
        """Small ones, of many peers and of few."""
        for peers in (1000, 10):

            def fill(world: World, peers: int = peers) -> None:
                for n in range(1000):
                    publish(world, f"{n % peers:032x}", f"{n}", now=NOW + n / 1000)

            self.check(fill)

    def test_sessions(self) -> None:
        """Each in an Origin of its own."""

        def fill(world: World) -> None:
            sessions = Sessions(world.table, lambda: "code")
            for n in range(1000):
                sessions.open(f"https://{n}.example", "room", "me", "v=0", None, NOW + n / 1000)

        self.check(fill)

    def test_candidates_answers_and_events(self) -> None:
        """With the events that they cause, which outlive the offers."""

        def fill(world: World) -> None:
            for n in range(40):
                publish(world, f"{n:032x}", f"{n}")
                world.answer(OFFERS, f"{n}", f"{n + 1000:032x}", "v=1", None, NOW)
                for at in range(5):
                    world.add_candidates(OFFERS, f"{n}", f"{n:032x}", [f"c {at} {each}" for each in range(20)], NOW)
            for n in range(40):
                world.withdraw(f"{n:032x}", f"{n}", NOW)

        self.check(fill)

    def test_changes_of_topics(self) -> None:
        """That are watched, of offers that have ended: in one topic, or in ten."""
        for topics in (1, 10):

            def fill(world: World, topics: int = topics) -> None:
                names = [f"topic {topic}" for topic in range(topics)]
                for name in names:
                    world.table.watches.watch(name, HERE, NOW)
                for n in range(400):
                    publish(world, f"{n:032x}", f"{n:064x}", *names, now=NOW + n / 1000)
                    world.withdraw(f"{n:032x}", f"{n:064x}", NOW + n / 1000)

            self.check(fill)


class BoundTests(SynchronousTestCase):
    """What happens when there is no room."""

    def test_full(self) -> None:
        """Offers, answers and candidates that do not fit are refused and change nothing; there is room again later."""
        world = World(memory=20_000, share=0.0)
        publish(world, "p", "x", ttl_ms=60_000)
        held = world.table.memory.held
        self.assertRaises(Full, world.publish, "q", [spec("v" * 20_000, id="y")], NOW)
        self.assertRaises(Full, world.answer, OFFERS, "x", "q", "v" * 20_000, None, NOW)
        self.assertRaises(Full, world.add_candidates, OFFERS, "x", "p", ["v" * 4000 for _ in range(5)], NOW)
        self.assertRaises(Full, Sessions(world.table, str).open, ORIGIN, "t", "", "v" * 20_000, None, NOW)
        self.assertEqual(world.table.memory.held, held)
        world.publish("q", [spec("v" * 14_000, id="y")], NOW + 60)

    def test_share_of_a_source(self) -> None:
        """One network gets a tenth of the bytes and of the offers, its site a quarter; another is not concerned."""
        world = World(max_offers=20, memory=100_000)
        world.publish("p", [spec(id="1")], NOW, HERE)
        self.assertEqual(
            self.assertRaises(TooMany, world.publish, "p", [spec("v" * 10_000, id="2")], NOW, HERE).code, "source-share"
        )
        world.publish("p", [spec(id="2")], NOW, HERE)
        self.assertEqual(self.assertRaises(TooMany, world.publish, "p", [spec(id="3")], NOW, HERE).code, "source-share")
        world.publish("q", [spec(id="4"), spec(id="5")], NOW, NEIGHBOUR)
        third = source_network("192.0.2.3")
        world.publish("q", [spec(id="6")], NOW, third)
        self.assertRaises(TooMany, world.publish, "q", [spec(id="7")], NOW, third)
        world.publish("q", [spec(id="7")], NOW, ELSEWHERE)
        world.withdraw("p", "1", NOW)
        world.publish("p", [spec(id="3")], NOW, HERE)

    def test_refresh_from_another_source_needs_room_there(self) -> None:
        """What a source refreshes it holds from then on: two sources must not hold more than their two shares."""
        for most, size in ((20, 10), (1000, 3000)):  # The share of the offers, and that of the bytes.
            world = World(max_offers=most, memory=100_000)
            first = [spec("v" * size, id="1"), spec(id="2")]
            world.publish("p", first, NOW, HERE)
            world.publish("p", first, NOW, ELSEWHERE)
            second = [spec("w" * size, id="3"), spec(id="4")]
            world.publish("q", second, NOW, HERE)
            error = self.assertRaises(TooMany, world.publish, "q", second, NOW, ELSEWHERE)
            self.assertEqual(error.code, "source-share")
            world.publish("q", second, NOW, HERE)
            world.publish("p", first, NOW, ELSEWHERE)

    def test_no_shares_without_limits_for_sources(self) -> None:
        """The option turns them off."""
        world = World(max_offers=3, share=0.0)
        world.publish("p", [spec(id="1"), spec(id="2"), spec(id="3")], NOW, HERE)

    def test_candidates_of_an_offer(self) -> None:
        """Both sides together have so many bytes; a request that goes beyond adds none."""
        world = World(SignalingLimits(candidate_bytes_per_offer=1000))
        publish(world, "p", "x")
        world.answer(OFFERS, "x", "q", "v=1", None, NOW)
        world.add_candidates(OFFERS, "x", "p", ["c" * 498], NOW)
        error = self.assertRaises(TooMany, world.add_candidates, OFFERS, "x", "q", ["c" * 498, ""], NOW)
        self.assertIn("1000 bytes", error.message)
        world.add_candidates(OFFERS, "x", "q", ["c" * 498], NOW)
        self.assertRaises(TooMany, world.add_candidates, OFFERS, "x", "p", [1], NOW)

    def test_events_of_a_peer(self) -> None:
        """Beyond its bytes a peer's oldest events go, and its stream gets a reset."""
        world = World(SignalingLimits(event_bytes_per_peer=10_000))
        start = world.latest
        for n in range(4):
            publish(world, "p", f"{n}")
            world.answer(OFFERS, f"{n}", "q", "v" * 4000, None, NOW)
        self.assertEqual([event.offer_id for event in world.events_since("p", start, NOW)], ["2", "3"])
        self.assertFalse(world.can_replay("p", start, NOW))
        self.assertTrue(world.can_replay("q", start, NOW))

    def test_one_pair_does_not_empty_the_log(self) -> None:
        """A flood of one pair's events costs that pair its own, and no other peer."""
        world = World(SignalingLimits(events_kept=100, events_per_peer=20))
        start = world.latest
        publish(world, "a", "quiet")
        world.answer(OFFERS, "quiet", "b", "v=1", None, NOW)
        for n in range(60):
            publish(world, "p", f"{n}")
            world.answer(OFFERS, f"{n}", "q", "v=1", None, NOW)
            world.add_candidates(OFFERS, f"{n}", "p", [1, 2, 3], NOW)
            world.withdraw("p", f"{n}", NOW)
        self.assertEqual(len(world.table.events), 41)
        self.assertTrue(world.can_replay("a", start, NOW))
        self.assertEqual(len(world.events_since("a", start, NOW)), 1)

    def test_a_text_that_grows_is_charged_once(self) -> None:
        """Python keeps the encoded form of a text with it; what was charged before is what is refunded afterwards."""
        world = World()
        topic = "caf\u00e9" * 50
        publish(world, "p", "x", topic)
        world.answer(OFFERS, "x", "q", "v=1", None, NOW)
        sqlite3.connect(":memory:").execute("SELECT ?", (topic,))
        self.assertEqual(world.table.memory.held, world.recount())
        world.end_peer("p", NOW)
        world.end_peer("q", NOW)
        self.assertEqual(world.table.memory.held, 0)

    def test_events_of_the_departed_leave_nothing(self) -> None:
        """Peers that come and go leave no event behind."""
        world = World()
        for n in range(50):
            publish(world, f"p{n}", "x")
            world.answer(OFFERS, "x", "q", "v=1", None, NOW)
            world.end_peer(f"p{n}", NOW)
            world.end_peer("q", NOW)
        self.assertEqual((len(world.table.events), world.table.memory.held), (0, 0))
