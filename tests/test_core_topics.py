"""The topic index: orders, pages, prefixes, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.signaling.entries import Entry
from rendezvous.core.signaling.topics import TopicIndex
from tests.signaling_tables import count_calls, offer


def entry(id: str, owner: str = "", *topics: str, seen: int = 0) -> Entry:
    """A bare entry."""
    return Entry(offer(id, owner, *topics, seen=seen))


def ids(entries: Iterable[Entry]) -> list[str]:
    """The ids of a listing."""
    return [each.offer.id for each in entries]


def by_name(index: TopicIndex, limit: int, offset: int) -> list[str]:
    """A page of names."""
    return list(islice(index.by_name(offset), limit))


def by_activity(index: TopicIndex, limit: int, offset: int, prefix: str = "") -> tuple[list[tuple[str, int]], int]:
    """A page of topics, and how many have the prefix."""
    return list(islice(index.by_activity(offset, prefix), limit)), index.matching(prefix)


def index_of(*entries: tuple[str, str, str]) -> TopicIndex:
    """An index of (id, owner, topics separated by spaces)."""
    index = TopicIndex()
    for id, owner, topics in entries:
        index.add(entry(id, owner, *topics.split()))
    return index


class TopicIndexTests(SynchronousTestCase):
    """What is listed, and in which order."""

    def test_empty_index(self) -> None:
        """Nothing is found in an empty index, whatever is asked."""
        index = TopicIndex()
        self.assertEqual(len(index), 0)
        self.assertEqual(list(index.newest("t")), [])
        self.assertEqual((index.count("t"), index.active("t")), (0, 0))
        self.assertEqual(by_name(index, 10, 0), [])
        self.assertEqual(by_activity(index, 10, 0), ([], 0))
        self.assertEqual(by_activity(index, 10, 0, "t"), ([], 0))

    def test_activity_counts_peers_not_offers(self) -> None:
        """Two offers of one peer make a topic no more active than one."""
        index = index_of(("1", "p", "a b"), ("2", "p", "a"), ("3", "q", "b"))
        self.assertEqual(by_activity(index, 10, 0), ([("b", 2), ("a", 1)], 2))
        self.assertEqual((index.count("a"), index.active("a")), (2, 1))

    def test_equally_active_topics_are_by_name(self) -> None:
        """Ties are broken by name."""
        index = index_of(("1", "p", "c a b"))
        self.assertEqual(by_activity(index, 10, 0), ([("a", 1), ("b", 1), ("c", 1)], 3))
        self.assertEqual(by_name(index, 10, 0), ["a", "b", "c"])

    def test_pages_meet(self) -> None:
        """Consecutive pages show each topic once, and one beyond the end is empty."""
        index = index_of(("1", "p", "a b c d e"))
        self.assertEqual([by_name(index, 2, at) for at in (0, 2, 4, 6)], [["a", "b"], ["c", "d"], ["e"], []])
        pages = [[name for name, _ in by_activity(index, 2, at)[0]] for at in (0, 2, 4, 6)]
        self.assertEqual(pages, [["a", "b"], ["c", "d"], ["e"], []])

    def test_discarded_offers_leave_nothing(self) -> None:
        """A topic goes with its last offer, and a peer with its last offer in it."""
        first, second = entry("1", "p", "a"), entry("2", "p", "a", "b")
        index = TopicIndex()
        index.add(first)
        index.add(second)
        index.discard(first)
        self.assertEqual(by_activity(index, 10, 0), ([("a", 1), ("b", 1)], 2))
        index.discard(second)
        self.assertEqual(by_activity(index, 10, 0), ([], 0))
        self.assertEqual(by_name(index, 10, 0), [])

    def test_touched_offer_is_the_newest(self) -> None:
        """Offers are listed by when they were last seen, not by when they were added."""
        first, second = entry("1", "p", "a"), entry("2", "q", "a")
        index = TopicIndex()
        index.add(first)
        index.add(second)
        self.assertEqual(ids(list(index.newest("a"))), ["2", "1"])
        index.touch(first)
        self.assertEqual(ids(list(index.newest("a"))), ["1", "2"])

    def test_prefix_pages(self) -> None:
        """Only topics with the prefix are listed and counted, in the order of activity."""
        index = index_of(("1", "p", "xa xb y"), ("2", "q", "xb y"), ("3", "r", "y"))
        self.assertEqual(by_activity(index, 10, 0, "x"), ([("xb", 2), ("xa", 1)], 2))
        self.assertEqual(by_activity(index, 1, 1, "x"), ([("xa", 1)], 2))
        self.assertEqual(by_activity(index, 1, 2, "x"), ([], 2))
        self.assertEqual(by_activity(index, 10, 0, "z"), ([], 0))

    def test_prefix_at_the_end_of_unicode(self) -> None:
        """A prefix of the last code point has no successor, and still matches what begins with it."""
        last = "\U0010ffff"
        index = index_of(("1", "p", f"a {last} {last}{last}b a{last}x"))
        self.assertEqual(by_activity(index, 10, 0, last)[1], 2)
        self.assertEqual(by_activity(index, 10, 0, f"a{last}"), ([(f"a{last}x", 1)], 1))

    @given(
        st.lists(st.tuples(st.sampled_from("pqr"), st.text("ab", min_size=1, max_size=3)), max_size=30),
        st.text("ab", max_size=3),
        st.integers(1, 8),
        st.integers(0, 8),
    )
    def test_listing_agrees_with_sorting(
        self, entries: list[tuple[str, str]], prefix: str, limit: int, offset: int
    ) -> None:
        """Whichever way a prefix is searched, the page is that of all matches sorted."""
        index = TopicIndex()
        owners: dict[str, set[str]] = {}
        for number, (owner, topic) in enumerate(entries):
            index.add(entry(str(number), owner, topic))
            owners.setdefault(topic, set()).add(owner)
        matching = [(name, len(peers)) for name, peers in owners.items() if name.startswith(prefix)]
        matching.sort(key=lambda entry: (-entry[1], entry[0]))
        self.assertEqual(by_activity(index, limit, offset, prefix), (matching[offset : offset + limit], len(matching)))


class TopicCostTests(SynchronousTestCase):
    """Costs, counted in function calls."""

    def grown(self, size: int) -> TopicIndex:
        """An index of many topics with one peer each; one in a hundred has the prefix ``rare``, and is least active."""
        index = TopicIndex()
        for number in range(size):
            rare = number % 100 == 0
            index.add(entry(f"{number}", "p", f"{'rare' if rare else 'common'}{number:06}"))
            if not rare:
                index.add(entry(f"{number}+", "q", f"common{number:06}"))
        return index

    def test_pages_cost_the_same_among_many_topics(self) -> None:
        """
        Ten thousand more topics add nothing to a page by activity, by name, or by a common prefix.

        Only the first page after a change finds positions anew, which is a call for each few hundred topics.
        """
        small, large = self.grown(500), self.grown(10_000)
        pages: list[Callable[[TopicIndex], object]] = [
            lambda index: by_activity(index, 50, 100),
            lambda index: by_name(index, 50, 100),
            lambda index: by_activity(index, 50, 0, "common"),
        ]
        for page in pages:
            first, later = ([count_calls(partial(page, index)) for index in (small, large)] for _ in range(2))
            self.assertLess(first[1], first[0] + 50)
            self.assertLess(later[1], later[0] + 15)

    def test_rare_prefix_costs_its_matches(self) -> None:
        """A prefix of a hundred topics, all of them last by activity, does not cost a walk of ten thousand."""
        index = self.grown(10_000)
        page, total = by_activity(index, 10, 0, "rare")
        self.assertEqual((len(page), total), (10, 100))
        self.assertLess(count_calls(lambda: by_activity(index, 10, 0, "rare")), 1000)
