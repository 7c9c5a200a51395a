"""Pages of listings: bounded in bytes, and joined without skipping or repeating what keeps its place."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.signaling.bloom import Bloom, hashes
from rendezvous.core.signaling.offers import OFFERS, Role
from rendezvous.core.signaling.pages import Page, cut
from rendezvous.core.signaling.sessions import Sessions
from rendezvous.limits import SignalingLimits
from tests.signaling_tables import NOW, World, count_calls, ids, publish, spec

ORIGIN = "https://a.example"


def walk(page_after: Callable[[Any], Page[Any, Any]]) -> list[list[Any]]:
    """Read a listing from page to page."""
    pages = [page_after(None)]
    while pages[-1].next is not None:
        pages.append(page_after(pages[-1].next))
    return [list(page.items) for page in pages]


class CutTests(SynchronousTestCase):
    """How a page is cut."""

    def cut(self, *sizes: int, limit: int = 99, size: int = 10, scan: int = 99) -> tuple[list[int], int | None]:
        """Cut a listing of items of these sizes; those of no size are passed over."""
        page = cut(((at, n, at if n else None) for at, n in enumerate(sizes)), limit, size, scan)
        return list(page.items), page.next

    def test_all_of_it(self) -> None:
        """What fits is one page, also when it fits exactly."""
        self.assertEqual(self.cut(), ([], None))
        self.assertEqual(self.cut(5, 5), ([0, 1], None))
        self.assertEqual(self.cut(1, 1, limit=2), ([0, 1], None))

    def test_bytes(self) -> None:
        """The page ends before the item that does not fit; the first item is taken whatever its size."""
        self.assertEqual(self.cut(5, 6), ([0], 0))
        self.assertEqual(self.cut(50, 1), ([0], 0))
        self.assertEqual(self.cut(50), ([0], None))

    def test_items(self) -> None:
        """The page ends before the item beyond the limit, if there is one that counts."""
        self.assertEqual(self.cut(1, 1, 1, limit=2), ([0, 1], 1))
        self.assertEqual(self.cut(1, 1, 0, limit=2), ([0, 1], None))
        self.assertEqual(self.cut(1, 1, 0, 1, limit=2), ([0, 1], 2))

    def test_looks(self) -> None:
        """The page ends where it has looked at enough, also when it is empty, and says where to go on."""
        self.assertEqual(self.cut(0, 0, 0, 1, scan=2), ([], 1))
        self.assertEqual(self.cut(0, 0, scan=2), ([], None))


class ByteTests(SynchronousTestCase):
    """No page has more than its bytes, but for one item."""

    limits = SignalingLimits(page_bytes=10_000)

    def setUp(self) -> None:
        """Make an empty world."""
        self.world = World(self.limits)

    def test_offers(self) -> None:
        """Offers by topic, of a peer and of one's own come in pages of so many bytes, in order, once each."""
        for number in range(10):
            publish(self.world, "p", f"{number}" + "x" * 200)
            self.world.publish("p", [spec("\x01" * 500, id=f"{number}", info="i")], NOW)
        listings: list[Callable[[Any], Page[Any, Any]]] = [
            lambda after: self.world.pages.by_topic(OFFERS, "t", 200, None, NOW, after),
            lambda after: self.world.pages.of_peer("p", NOW, after),
            lambda after: self.world.pages.mine("p", NOW, after),
        ]
        for listing in listings:
            pages = walk(listing)
            self.assertGreater(len(pages), 3)
            for page in pages:
                self.assertLessEqual(sum(offer.size for offer in page), 10_000)
            self.assertEqual(ids(chain(*pages)), ids(sorted(self.world, key=lambda offer: -offer.seen)))

    def test_an_item_over_the_bytes_is_a_page(self) -> None:
        """A listing always goes on."""
        self.world.publish("p", [spec("x" * 50_000, id=id) for id in "abc"], NOW)
        pages = walk(lambda after: self.world.pages.by_topic(OFFERS, "t", 200, None, NOW, after))
        self.assertEqual([ids(page) for page in pages], [["c"], ["b"], ["a"]])

    def test_sessions_count_their_candidates(self) -> None:
        """A session is as large as its offer and its offerer's candidates."""
        sessions = Sessions(self.world.table, iter("abcdef").__next__)
        for _ in range(6):
            code = sessions.open(ORIGIN, "room", "me", "v=0", None, NOW).id
            sessions.add_candidate(ORIGIN, code, Role.OFFERER, "x" * 3000, NOW)
            sessions.add_candidate(ORIGIN, code, Role.ANSWERER, "x" * 4000, NOW)
        pages = walk(lambda after: sessions.in_topic(ORIGIN, "room", NOW, after))
        self.assertEqual([[each.offer.id for each in page] for page in pages], [["f", "e", "d"], ["c", "b", "a"]])

    def test_answers_and_candidates(self) -> None:
        """Both are in order of time, and go on after the last that was read."""
        self.world.publish("p", [spec(id=f"{number}") for number in range(6)], NOW)
        for number in range(6):
            self.world.answer(OFFERS, f"{number}", "q", "x" * 4000, None, NOW + number)
        pages = walk(lambda after: self.world.pages.answers("p", NOW + 9, -1 if after is None else after))
        self.assertEqual([[offer.id for offer, _ in page] for page in pages], [["0", "1"], ["2", "3"], ["4", "5"]])
        for _ in range(6):
            self.world.add_candidates(OFFERS, "0", "q", ["x" * 4000], NOW + 9)
        found = walk(lambda after: self.world.candidates(OFFERS, "0", "p", NOW + 9, -1 if after is None else after))
        self.assertEqual([len(page) for page in found], [2, 2, 2])

    def test_topics(self) -> None:
        """Names that JSON writes six times as long count so; each topic is listed once, in either order."""
        names = [f"\x01{number:02}" + "\x02" * 200 for number in range(30)]
        for number in range(0, 30, 10):
            self.world.publish("p", [spec(f"{number}", *names[number : number + 10])], NOW)
        by_name = walk(lambda after: self.world.pages.topics_by_name(OFFERS, 1000, 0, NOW, after))
        by_activity = walk(lambda after: self.world.pages.topics(OFFERS, 200, 0, "", NOW, after))
        for pages in (by_name, by_activity):
            self.assertGreater(len(pages), 3)
            self.assertEqual([name for name, _ in chain(*pages)], names)


class ChurnTests(SynchronousTestCase):
    """A listing that changes between two pages."""

    @given(st.lists(st.tuples(st.sampled_from(["new", "seen", "gone"]), st.integers(0, 11)), max_size=12))
    @settings(deadline=None)
    def test_offers_that_stay_put_are_read_once(self, changes: list[tuple[str, int]]) -> None:
        """Others come, go and move to the front while the pages are read."""
        world = World(SignalingLimits(offers_per_peer=100))
        for number in range(12):
            publish(world, "p", f"{number}")
        touched = {f"{number}" for kind, number in changes if kind != "new"}
        seen: list[str] = []
        after: int | None = None
        for turn in range(40):
            page = world.pages.by_topic(OFFERS, "t", 2, None, NOW + turn, after)
            seen += ids(page.items)
            if page.next is None:
                break
            after = page.next
            if turn < len(changes):
                kind, number = changes[turn]
                held = world.table.catalogue.find(OFFERS, f"{number}")
                if kind == "new":
                    publish(world, "q", f"new {turn}", now=NOW + turn)
                elif held is not None and kind == "seen":
                    world.heartbeat("p", f"{number}", NOW + turn)
                elif held is not None:
                    world.withdraw("p", f"{number}", NOW + turn)
        stayed = [f"{number}" for number in reversed(range(12)) if f"{number}" not in touched]
        self.assertEqual([id for id in seen if id in stayed], stayed)

    def test_topics_that_stay_put_are_read_once(self) -> None:
        """A topic that vanishes does not shift the others."""
        world = World()
        for name in "abcdef":
            publish(world, "p", name, name)
        first = world.pages.topics(OFFERS, 3, 0, "", NOW)
        by_name = world.pages.topics_by_name(OFFERS, 3, 0, NOW)
        world.withdraw("p", "a", NOW)
        publish(world, "p", "0", "0")
        rest = world.pages.topics(OFFERS, 3, 0, "", NOW, first.next)
        self.assertEqual([name for name, _ in (*first.items, *rest.items)], list("abcdef"))
        rest_by_name = world.pages.topics_by_name(OFFERS, 3, 0, NOW, by_name.next)
        self.assertEqual([name for name, _ in (*by_name.items, *rest_by_name.items)], list("abcdef"))

    def test_positions_that_mean_nothing(self) -> None:
        """A position from the past, the future or another listing is a place like any other."""
        world = World()
        publish(world, "p", "x")
        for after, found in ((0, []), (10**19, ["x"]), (int(NOW * 1_000_000), [])):
            self.assertEqual(ids(world.pages.by_topic(OFFERS, "t", 9, None, NOW, after).items), found)
        self.assertEqual(world.pages.topics(OFFERS, 9, 0, "", NOW, (0, "")).items, ())
        self.assertEqual(world.pages.topics(OFFERS, 9, 0, "", NOW, (10**18, "zzz")).items, (("t", 1),))


class BloomPageTests(SynchronousTestCase):
    """Pages with a filter."""

    def test_a_filter_of_all_ones_is_bounded(self) -> None:
        """A page looks at so many offers, and the next one goes on behind them."""
        world = World(SignalingLimits(bloom_scan=100))
        for number in range(250):
            publish(world, f"{number:032x}", f"{number}")
        everything = Bloom(b"\xff" * 8192)
        pages = walk(lambda after: world.pages.by_topic(OFFERS, "t", 50, everything, NOW, after))
        self.assertEqual(pages, [[], [], []])
        some = Bloom(b"\x00" * 8)
        self.assertEqual(len(walk(lambda after: world.pages.by_topic(OFFERS, "t", 50, some, NOW, after))), 5)
        calls = count_calls(lambda: world.pages.by_topic(OFFERS, "t", 50, everything, NOW))
        self.assertLess(calls, 100 * 8)

    def test_hashes_are_computed_once(self) -> None:
        """The first filter that meets an offer pays for them, and no publication does."""
        world = World()
        publish(world, "p" * 32, "a")
        entry = world.table.catalogue.find(OFFERS, "a")
        assert entry is not None
        self.assertEqual(entry.owner_hashes(), hashes("p" * 32))
        self.assertIs(entry.owner_hashes(), entry.owner_hashes())
