"""Finding offers over HTTP: listings, pages, filters, and topics that paths like to mangle."""

from __future__ import annotations

from urllib.parse import quote

from tests._web_case import NOW_MS, WebTestCase

#: Topics that paths, routers and proxies like to mangle.
AWKWARD_TOPICS = [
    "a/b",
    "/leading",
    "trailing/",
    "//",
    "with space",
    " ",
    "a+b",
    "100%",
    "%2F",
    "%",
    "caf\u00e9",
    "\U0001f600",
    "\U0001f600" * 256,
    ".",
    "..",
    "../etc",
    "?x=1",
    "#frag",
    "a;b",
    "<topic>",
    "ice-candidates",
    "mine",
    "\\",
    "\x00",
]


class DiscoveryTests(WebTestCase):
    """``GET /offers/by-topic/<topic>`` and ``GET /peers/<peerId>/offers``."""

    def test_an_offer_is_shown_with_these_fields(self) -> None:
        """A listing gives what one needs to answer, without the secret itself."""
        offer_id = self.publish(secret="s3cret", info="hello", topics=["chess", "go"])
        shown = {
            "id": offer_id,
            "peerId": self.alice_id,
            "sdp": "v=0",
            "topics": ["chess", "go"],
            "expiresAt": NOW_MS + 300_000,
            "lastSeen": NOW_MS,
            "hasSecret": True,
            "info": "hello",
        }
        listing = self.good("GET", "/offers/by-topic/chess")
        self.assertEqual(listing, {"topic": "chess", "offers": [shown], "total": 1, "returned": 1, "hasMore": False})
        of_peer = self.good("GET", f"/peers/{self.alice_id}/offers")
        self.assertEqual(
            of_peer, {"peerId": self.alice_id, "offers": [shown], "topics": ["chess", "go"], "hasMore": False}
        )

    def test_an_offer_without_info_has_no_such_field(self) -> None:
        """Info is absent when there is none, and hasSecret is false."""
        self.publish()
        offer = self.good("GET", "/offers/by-topic/chess")["offers"][0]
        self.assertNotIn("info", offer)
        self.assertIs(offer["hasSecret"], False)

    def test_unknown_topics_and_peers_are_empty(self) -> None:
        """An empty topic is an empty list, not an error."""
        listing = self.good("GET", "/offers/by-topic/nothing")
        self.assertEqual(listing, {"topic": "nothing", "offers": [], "total": 0, "returned": 0, "hasMore": False})
        self.assertEqual(
            self.good("GET", "/peers/nobody/offers"), {"peerId": "nobody", "offers": [], "topics": [], "hasMore": False}
        )

    def test_most_recently_seen_comes_first(self) -> None:
        """A heartbeat moves an offer to the front."""
        for number in range(3):
            self.publish(id=f"o{number}", sdp=f"v={number}")
            self.advance(1)
        self.assertEqual(self.ids("chess"), ["o2", "o1", "o0"])
        self.good("PUT", "/offers/o0/heartbeat", None, self.alice)
        self.assertEqual(self.ids("chess"), ["o0", "o2", "o1"])

    def ids(self, topic: str, query: str = "") -> list[str]:
        """What a topic lists."""
        offers = self.good("GET", f"/offers/by-topic/{quote(topic, safe='')}{query}")["offers"]
        return [offer["id"] for offer in offers]

    def test_what_cannot_be_answered_is_not_listed(self) -> None:
        """Answered, withdrawn and expired offers are in no listing."""
        answered, withdrawn, expired = (self.publish(id=name, sdp=name) for name in ("a", "w", "e"))
        self.answer(answered)
        self.good("DELETE", f"/offers/{withdrawn}", None, self.alice)
        self.assertEqual(self.ids("chess"), [expired])
        self.server.reactor.advance(299.999)
        self.assertEqual(self.ids("chess"), [expired])
        self.server.reactor.advance(0.001)
        self.assertEqual(self.ids("chess"), [])
        self.assertEqual(self.good("GET", f"/peers/{self.alice_id}/offers")["offers"], [])

    def test_awkward_topics_are_found_under_their_names(self) -> None:
        """Every topic is found by its percent-encoded name and by no other."""
        for number, topic in enumerate(AWKWARD_TOPICS):
            offer_id = self.publish(id=f"o{number}", topics=[topic])
            listing = self.good("GET", f"/offers/by-topic/{quote(topic, safe='')}")
            self.assertEqual((listing["topic"], [o["id"] for o in listing["offers"]]), (topic, [offer_id]), topic)
            self.assertEqual(listing["offers"][0]["topics"], [topic])

    def test_plain_characters_need_no_encoding(self) -> None:
        """What browsers leave unencoded in a path is taken as it stands, a plus sign as a plus sign."""
        for number, topic in enumerate(["a+b", "a:b@c", "~a!$&'()*,=", "..."]):
            offer_id = self.publish(id=f"o{number}", topics=[topic])
            self.assertEqual([o["id"] for o in self.good("GET", f"/offers/by-topic/{topic}")["offers"]], [offer_id])

    def test_a_raw_slash_is_no_part_of_a_topic(self) -> None:
        """An unencoded slash makes another path, at which there is nothing."""
        self.refused(404, "no-such-path", "GET", "/offers/by-topic/a/b")
        self.refused(404, "no-such-path", "GET", "/offers/by-topic/")

    def test_a_topic_that_is_no_utf8_is_refused(self) -> None:
        """Bytes that are no UTF-8 in a path are 400."""
        self.refused(400, "malformed", "GET", "/offers/by-topic/%FF")
        self.refused(400, "malformed", "GET", "/peers/%FF/offers")

    def test_pages_of_offers(self) -> None:
        """Fifty without a limit; as many as asked for; two hundred at most."""
        for client in range(3):
            _, _, headers = self.server.register()
            for request in range(10 if client < 2 else 1):
                base = client * 1000 + request * 10
                specs = [{"sdp": f"v={base + n}", "topics": ["chess"]} for n in range(10)]
                self.good("POST", "/offers", {"offers": specs}, headers)
        for query, returned in (
            ("", 50),
            ("?limit=1", 1),
            ("?limit=199", 199),
            ("?limit=200", 200),
            ("?limit=201", 200),
            ("?limit=9999999999999999", 200),
            (f"?limit={10**40}", 200),
            (f"?limit={'9' * 5000}", 200),
        ):
            listing = self.good("GET", f"/offers/by-topic/chess{query}")
            self.assertEqual((len(listing["offers"]), listing["returned"], listing["total"]), (returned, returned, 210))

    def test_limits_that_are_no_integer_in_range_are_refused(self) -> None:
        """A page size that is not an integer from one on is 400 and named."""
        for limit in ("0", "-1", "x", "", "1.5", "1e2", "0x10", "%31%20", "+1", "\u0661", "NaN", "null", "1_0"):
            response = self.ask("GET", f"/offers/by-topic/chess?limit={quote(limit, safe='%+')}")
            self.assertRefused(response, 400, "malformed", "limit")

    def test_bloom_filter_leaves_out_whom_it_holds(self) -> None:
        """A filter with every bit set leaves every peer out, one with none no peer; the total still counts all."""
        self.publish()
        for bloom, returned in (("AA==", 1), ("/w==", 0), ("%2Fw%3D%3D", 0), ("AAAA", 1)):
            listing = self.good("GET", f"/offers/by-topic/chess?bloom={bloom}")
            self.assertEqual((listing["returned"], listing["total"]), (returned, 1), bloom)

    def test_bloom_filter_that_is_none_is_refused(self) -> None:
        """A filter that is not padded standard base64 of at least one byte is 400."""
        for bloom in ("", "A", "AA", "AA=", "_w==", "!!!!", "AA==AA==", "caf%C3%A9===", "%FF", "A%20A="):
            response = self.ask("GET", f"/offers/by-topic/chess?bloom={bloom}")
            self.assertRefused(response, 400, "malformed", "bloom")

    def test_unknown_parameters_are_ignored(self) -> None:
        """An unknown parameter changes nothing."""
        self.good("GET", "/offers/by-topic/chess?colour=red&limit=1")
