"""Listings over HTTP that are cut by bytes, and bodies that are refused before they cost anything."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import quote

from rendezvous.errors import Malformed
from rendezvous.limits import SignalingLimits
from rendezvous.web._json import read_object
from tests._web_case import ORIGIN, WebTestCase, but
from tests.test_web_json import made_request

PAGE = SignalingLimits().page_bytes
LARGE = "\x01" * 60_000


class PageTests(WebTestCase):
    """Pages of at most a mebibyte."""

    def pages(self, path: str, name: str, headers: Any = None) -> list[list[Any]]:
        """Read a listing by its ``next``; no page may be larger than the budget."""
        found: list[list[Any]] = []
        mark = "&" if "?" in path else "?"
        next: str | None = None
        while next is not None or not found:
            response = self.ask("GET", path if next is None else f"{path}{mark}next={quote(next)}", None, headers)
            self.assertEqual(response.status, 200, response.body)
            self.assertLessEqual(len(response.body), PAGE)
            body = response.json()
            found.append(body[name])
            self.assertEqual(body["hasMore"], "next" in body)
            next = body.get("next")
        return found

    def test_sessions(self) -> None:
        """Sessions whose JSON is six times as long as their text come in pages."""
        codes = [self.open_session(offer=LARGE) for _ in range(7)]
        found = self.pages("/chess/sessions", "sessions", ORIGIN)
        self.assertEqual([len(page) for page in found], [2, 2, 2, 1])
        self.assertEqual([each["code"] for page in found for each in page], codes[::-1])
        self.assertEqual({each["offer"] for page in found for each in page}, {LARGE})

    def test_offers(self) -> None:
        """By topic, of a peer, and one's own."""
        published = [self.publish(id=f"{number}", sdp=LARGE) for number in range(5)]
        for path, headers in (
            ("/offers/by-topic/chess", None),
            ("/offers/by-topic/chess?limit=4", None),
            (f"/peers/{self.alice_id}/offers", None),
            (f"/peers/{self.alice_id.upper()}/offers", None),
            ("/offers/mine", self.alice),
        ):
            found = self.pages(path, "offers", headers)
            self.assertEqual([len(page) for page in found], [2, 2, 1])
            self.assertEqual([each["id"] for page in found for each in page], published[::-1])

    def test_answers(self) -> None:
        """The earliest first."""
        for number in range(5):
            self.answer(self.publish(id=f"{number}"), sdp=LARGE)
        found = self.pages("/offers/answers", "answers", self.alice)
        self.assertEqual([[each["offerId"] for each in page] for page in found], [["0", "1"], ["2", "3"], ["4"]])

    def test_positions_that_were_not_given(self) -> None:
        """What is no position of a listing is 400; one that is forged or stale is a sensible page."""
        self.publish()
        self.open_session()
        listings = ("/offers/by-topic/chess", f"/peers/{self.alice_id}/offers", "/chess/sessions")
        for path in listings:
            for text in ("x", "-1", "1.5", "1" * 20, "", "%00"):
                self.refused(400, "malformed", "GET", f"{path}?next={text}", None, ORIGIN)
            self.good("GET", f"{path}?next=0", None, ORIGIN)
            self.good("GET", f"{path}?next={'9' * 19}", None, ORIGIN)
        for text in ("x", "1", "1.", ".YQ", "1.%", f"1.{'a' * 2000}", "1.YQ.YQ", "1._w"):
            self.refused(400, "malformed", "GET", f"/topics?next={text}", None, ORIGIN)
        for text in ("", "%25", "a" * 2000, "_w", "a"):
            self.refused(400, "malformed", "GET", f"/topics?page=1&next={text}", None, ORIGIN)
        self.assertEqual(self.good("GET", "/topics?next=9.YQ")["topics"][0]["topic"], "chess")
        self.assertEqual(self.good("GET", "/topics?page=1&next=YQ", None, ORIGIN)["topics"][0]["topic"], "chess")

    def test_topics_go_on_behind_the_last(self) -> None:
        """In both orders, without an offset."""
        for name in "abcde":
            self.publish(id=name, topics=[name])
            self.open_session(name)
        for query, headers in (("limit=2", None), ("page=1&limit=2", ORIGIN)):
            found, next = [], ""
            while True:
                body = self.good("GET", f"/topics?{query}{next}", None, headers)
                found += [each["topic"] for each in body["topics"]]
                if not body["pagination"]["hasMore"]:
                    break
                next = f"&next={body['pagination']['next']}"
            self.assertEqual(found, list("abcde"))

    def test_a_full_session_fits_into_one_poll(self) -> None:
        """With descriptions and candidates at their limits, in the longest JSON."""
        code = self.open_session(offer="\x01" * 65_536)
        for number in range(200):
            body = {"code": code, "side": "offerer", "candidate": f"{number:03}" + "\x01" * 200}
            if self.ask("POST", "/answer", body, ORIGIN).status == 429:
                break
        self.assertGreater(number, 190)
        response = self.ask("POST", "/poll", {"code": code, "side": "answerer"}, ORIGIN)
        self.assertGreater(len(response.body), 600_000)
        self.assertLess(len(response.body), PAGE)

    def test_text_is_sent_as_it_is(self) -> None:
        """Answers are UTF-8, and only what JSON cannot carry is escaped."""
        self.publish(sdp="caf\u00e9 \U0001f600 \u2028", topics=["chess"], info="\u00e9")
        body = self.ask("GET", "/offers/by-topic/chess").body
        self.assertIn("caf\u00e9 \U0001f600 \u2028".encode(), body)


class CountTests(WebTestCase):
    """Counts are checked before anything is done with what is counted."""

    def test_too_many_of_anything(self) -> None:
        """Offers, topics and candidates: the number is refused, whatever they are."""
        offer_id = self.publish()
        for path, body, field in (
            ("/offers", {"offers": [None] * 11}, "offers must be at most 10."),
            ("/offers", {"offers": [{"sdp": "v", "topics": [None] * 21}]}, "offers[0].topics must be at most 20."),
            (f"/offers/{offer_id}/ice-candidates", {"candidates": [{}] * 51}, "candidates must be at most 50."),
        ):
            message = self.assertRefused(self.ask("POST", path, body, self.alice), 400, "too-long")
            self.assertEqual(message, field)

    def test_hostile_bodies_are_cheap(self) -> None:
        """A body of two megabytes that is no list of descriptions is refused without being parsed."""
        for item in (b"[]", b"{}", b"1", b'"a"', b'{"a":0}', b"12345678901234567890", b"1e9", b"null"):
            body = b'{"offers":[' + b",".join([item] * (2_000_000 // (len(item) + 1))) + b"]}"
            began = time.process_time()
            self.assertRaises(Malformed, read_object, made_request(body))
            taken = time.process_time() - began
            self.assertLess(taken, 0.05, item)

    def test_large_bodies_of_text_are_read(self) -> None:
        """Ten descriptions of the largest size, in the longest JSON that a client may write."""
        sdp = '"\\' + "\r\n" * 10_000 + "{[,]}" * 4000 + "1" * 5000
        offers = [{"sdp": sdp + f"{n}", "topics": [f"{t}" for t in range(20)]} for n in range(10)]
        body = json.dumps({"offers": offers}).encode()
        self.assertGreater(len(body), 600_000)
        self.assertEqual(read_object(made_request(body))["offers"], offers)
        self.assertEqual(len(self.good("POST", "/offers", {"offers": offers}, self.alice)["offers"]), 10)


class WhileConnectedTests(WebTestCase):
    """Offers that end with their owner's event streams."""

    def listed(self) -> int:
        """How many offers there are."""
        total: int = self.good("GET", "/offers/by-topic/chess")["total"]
        return total

    def test_an_offer_ends_with_the_stream(self) -> None:
        """It is there while the stream is, 5 s longer, and then gone."""
        stream = self.start("GET", "/events", headers=self.alice)
        offer_id = self.publish(whileConnected=True)
        self.assertIs(self.mine()[0]["whileConnected"], True)
        self.advance(60)
        self.assertEqual(self.listed(), 1)
        stream.lose()
        self.open.remove(stream)
        self.advance(4.9)
        self.assertEqual(self.listed(), 1)
        self.advance(0.1)
        self.assertEqual(self.listed(), 0)
        self.refused(404, "not-found", "PUT", f"/offers/{offer_id}/heartbeat", None, self.alice)

    def test_an_offer_without_a_stream_ends(self) -> None:
        """After 10 s; null and false are plain offers, and other types are refused."""
        self.publish(whileConnected=True)
        self.publish(id="plain", whileConnected=False)
        self.publish(id="null", whileConnected=None)
        self.advance(9.9)
        self.assertEqual(self.listed(), 3)
        self.advance(0.1)
        self.assertEqual(self.listed(), 2)
        for value in but("boolean"):
            spec = {"sdp": "v", "topics": ["t"], "whileConnected": value}
            self.refused(400, "malformed", "POST", "/offers", {"offers": [spec]}, self.alice)
