"""``GET /topics``, which both signaling dialects read."""

from __future__ import annotations

from typing import Any

from tests._web_case import ORIGIN, OTHER_ORIGIN, WebTestCase


class OfferTopicsTests(WebTestCase):
    """Without ``page``: the topics of all offers."""

    def test_most_active_first_then_by_name(self) -> None:
        """A topic's activity is its number of peers, not of offers."""
        self.publish(topics=["b", "a"])
        self.publish(topics=["c"], sdp="v=1")
        self.publish(topics=["c"], sdp="v=2")
        self.publish(self.bob, topics=["c"], sdp="v=3")
        body = self.good("GET", "/topics")
        self.assertEqual(
            body,
            {
                "topics": [
                    {"topic": "c", "activePeers": 2, "count": 0},
                    {"topic": "a", "activePeers": 1, "count": 0},
                    {"topic": "b", "activePeers": 1, "count": 0},
                ],
                "total": 3,
                "limit": 50,
                "offset": 0,
                "pagination": {"page": 1, "limit": 50, "total": 3, "hasMore": False},
            },
        )

    def test_nothing_is_an_empty_page(self) -> None:
        """A server without offers has no topics."""
        body = self.good("GET", "/topics")
        self.assertEqual((body["topics"], body["total"], body["pagination"]["hasMore"]), ([], 0, False))

    def test_count_is_of_the_askers_origin(self) -> None:
        """Beside the peers stands the number of unanswered sessions that the Origin has in the topic."""
        self.publish(topics=["chess", "go"])
        codes = [self.open_session() for _ in range(3)]
        self.open_session(headers=OTHER_ORIGIN)
        self.good("POST", "/answer", {"code": codes[0], "side": "answerer", "answer": "v=1"}, ORIGIN)
        for headers, counts in (
            (ORIGIN, [2, 0]),
            (OTHER_ORIGIN, [1, 0]),
            ({"Origin": "https://third.example"}, [0, 0]),
            ({"Origin": "x" * 1000}, [0, 0]),
            ({"Origin": "\xff"}, [0, 0]),
            ({}, [0, 0]),
        ):
            topics = self.good("GET", "/topics", None, headers)["topics"]
            self.assertEqual([topic["topic"] for topic in topics], ["chess", "go"])
            self.assertEqual([topic["count"] for topic in topics], counts, headers)
        self.advance(300)
        self.assertEqual(self.good("GET", "/topics", None, ORIGIN)["topics"], [])

    def test_topics_with_sessions_only_are_not_listed(self) -> None:
        """Sessions alone make no topic of the offers dialect."""
        self.open_session()
        self.assertEqual(self.good("GET", "/topics", None, ORIGIN)["total"], 0)

    def fill(self, number: int) -> None:
        """Publish under so many topics."""
        names = [f"t{n:03}" for n in range(number)]
        for start in range(0, number, 20):
            self.publish(topics=names[start : start + 20], id=f"o{start}")

    def test_pages(self) -> None:
        """Limit and offset cut the listing, and pagination says the same in the other dialect's words."""
        self.fill(210)
        for query, first, shown, limit, offset, page, more in (
            ("", 0, 50, 50, 0, 1, True),
            ("?limit=1", 0, 1, 1, 0, 1, True),
            ("?limit=200", 0, 200, 200, 0, 1, True),
            ("?limit=201", 0, 200, 200, 0, 1, True),
            (f"?limit={'9' * 30}", 0, 200, 200, 0, 1, True),
            ("?limit=200&offset=200", 200, 10, 200, 200, 2, False),
            ("?limit=10&offset=199", 199, 10, 10, 199, 20, True),
            ("?limit=10&offset=200", 200, 10, 10, 200, 21, False),
            ("?offset=210", 0, 0, 50, 210, 5, False),
            (f"?offset={2**53 - 1}", 0, 0, 50, 2**53 - 1, (2**53 - 1) // 50 + 1, False),
        ):
            body = self.good("GET", f"/topics{query}")
            names = [topic["topic"] for topic in body["topics"]]
            self.assertEqual(names, [f"t{n:03}" for n in range(first, first + shown)], query)
            self.assertEqual((body["total"], body["limit"], body["offset"]), (210, limit, offset), query)
            self.assertEqual("next" in body["pagination"], more)
            body["pagination"].pop("next", None)
            self.assertEqual(body["pagination"], {"page": page, "limit": limit, "total": 210, "hasMore": more}, query)
            self.assertNotIn("startsWith", body)

    def test_prefix(self) -> None:
        """With startsWith only topics that begin so are listed and counted, and the prefix is given back."""
        self.publish(topics=["a b", "a+b", "ab", "\U0001f600x", "\U0001f601", "A"])
        for query, prefix, names in (
            ("a", "a", ["a b", "a+b", "ab"]),
            ("a+", "a ", ["a b"]),
            ("a%2B", "a+", ["a+b"]),
            ("%F0%9F%98%80", "\U0001f600", ["\U0001f600x"]),
            ("zzz", "zzz", []),
            ("", "", ["A", "a b", "a+b", "ab", "\U0001f600x", "\U0001f601"]),
        ):
            body = self.good("GET", f"/topics?startsWith={query}")
            self.assertEqual(body["startsWith"], prefix)
            self.assertEqual(([topic["topic"] for topic in body["topics"]], body["total"]), (names, len(names)))

    def test_bad_numbers_and_texts_are_refused(self) -> None:
        """A limit, offset or prefix that is none is 400 and named."""
        bad: list[tuple[str, str]] = [
            *[("limit", value) for value in ("0", "-1", "x", "", "1.5", "1e3", "%20")],
            *[("offset", value) for value in ("-1", "x", "", "1.5", str(2**53), "9" * 30)],
            ("startsWith", "%FF"),
        ]
        for name, value in bad:
            self.assertRefused(self.ask("GET", f"/topics?{name}={value}"), 400, "malformed", name)


class SessionTopicsTests(WebTestCase):
    """With ``page``: the topics of the Origin's sessions."""

    def page(self, query: str, headers: Any = ORIGIN) -> Any:
        """One page."""
        return self.good("GET", f"/topics?{query}", None, headers)

    def test_topics_by_name_with_the_number_of_open_sessions(self) -> None:
        """Topics are sorted by name; what is answered or expired does not count."""
        codes = [self.open_session(topic) for topic in ("go", "chess", "go", "bridge")]
        self.publish(topics=["offers-only"])
        body = self.page("page=1")
        self.assertEqual(
            body,
            {
                "topics": [
                    {"topic": "bridge", "count": 1},
                    {"topic": "chess", "count": 1},
                    {"topic": "go", "count": 2},
                ],
                "pagination": {"page": 1, "limit": 100, "total": 3, "hasMore": False},
            },
        )
        for code in (codes[0], codes[3]):
            self.good("POST", "/answer", {"code": code, "side": "answerer", "answer": "v=1"}, ORIGIN)
        counts = [(topic["topic"], topic["count"]) for topic in self.page("page=1")["topics"]]
        self.assertEqual(counts, [("chess", 1), ("go", 1)])
        self.advance(300)
        self.assertEqual(self.page("page=1")["topics"], [])

    def test_pages(self) -> None:
        """A hundred a page without a limit, a thousand at most, and pages are counted from one."""
        names = [f"t{n:04}" for n in range(1010)]
        for name in names:
            self.open_session(name)
        for query, first, last, limit, page, more in (
            ("page=1", 0, 100, 100, 1, True),
            ("page=11", 1000, 1010, 100, 11, False),
            ("page=12", 0, 0, 100, 12, False),
            ("page=1&limit=1", 0, 1, 1, 1, True),
            ("page=1&limit=1000", 0, 1000, 1000, 1, True),
            ("page=2&limit=1001", 1000, 1010, 1000, 2, False),
            ("page=10&limit=101", 909, 1010, 101, 10, False),
            (f"page={2**53 - 1}&limit=1000", 0, 0, 1000, 2**53 - 1, False),
        ):
            body = self.page(query)
            self.assertEqual([topic["topic"] for topic in body["topics"]], names[first:last], query)
            self.assertEqual("next" in body["pagination"], more)
            body["pagination"].pop("next", None)
            self.assertEqual(body["pagination"], {"page": page, "limit": limit, "total": 1010, "hasMore": more}, query)

    def test_bad_numbers_are_refused(self) -> None:
        """A page or limit that is no integer from one on is 400 and named."""
        for query, name in (
            ("page=0", "page"),
            ("page=-1", "page"),
            ("page=", "page"),
            ("page=x", "page"),
            ("page=1.0", "page"),
            (f"page={2**53}", "page"),
            ("page=1&limit=0", "limit"),
            ("page=1&limit=x", "limit"),
        ):
            self.assertRefused(self.ask("GET", f"/topics?{query}", None, ORIGIN), 400, "malformed", name)
