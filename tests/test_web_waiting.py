"""Requests that wait for news: how they begin, how they end, and that nothing is left of them."""

from __future__ import annotations

from typing import Any

from rendezvous.storage.notifier import WAITING_PER_KEY
from rendezvous.testing import Connection
from tests._web_case import ORIGIN, OTHER_ORIGIN, Headers, WebTestCase, but


class WaitingTestCase(WebTestCase):
    """Requests that are held."""

    def held(self, method: str, path: str, body: Any = None, headers: Headers | None = None) -> Connection:
        """Send a request that is not answered yet."""
        connection = self.start(method, path, body, self.alice if headers is None else headers)
        self.assertIsNone(connection.response(), connection.transport.value())
        return connection

    def told(self, connection: Connection) -> Any:
        """What a held request was answered by now."""
        response = connection.response()
        assert response is not None, "still held"
        self.assertEqual(response.status, 200, response.body)
        return response.json()

    def assertHeld(self, *connections: Connection) -> None:
        """Nothing was written to any."""
        for connection in connections:
            self.assertEqual(connection.transport.value(), b"")

    def wait_poll(self, code: str, side: str, wait: float = 30, **fields: Any) -> Connection:
        """A poll that waits."""
        return self.held("POST", "/poll", {"code": code, "side": side, "wait": wait, **fields}, ORIGIN)

    def assertEndsAt(self, connection: Connection, seconds: float) -> Any:
        """A request is held until so much later, to the millisecond, and then answered."""
        self.server.reactor.advance(seconds - 0.001)
        self.assertHeld(connection)
        self.server.reactor.advance(0.001)
        return self.told(connection)


class AnswersTests(WaitingTestCase):
    """``GET /offers/answers?wait``."""

    def test_held_until_there_is_an_answer(self) -> None:
        """A request that waits is answered at once when an answer comes, in the same words as a later one."""
        offer_id = self.publish()
        waiting = self.held("GET", "/offers/answers?wait=30")
        self.advance(10)
        self.assertHeld(waiting)
        self.answer(offer_id)
        self.assertEqual(self.told(waiting), self.good("GET", "/offers/answers", None, self.alice))

    def test_ends_by_the_clock(self) -> None:
        """Without news the answer is empty, after as many seconds as were asked for, thirty at most."""
        for wait, seconds in (
            ("0.5", 0.5), ("5e-1", 0.5), ("1", 1), ("29", 29), ("30", 30), ("31", 30), ("1e300", 30), ("9" * 400, 30),
        ):  # fmt: skip
            waiting = self.held("GET", f"/offers/answers?wait={wait}")
            self.assertEqual(self.assertEndsAt(waiting, seconds), {"answers": [], "hasMore": False})

    def test_harmless_without(self) -> None:
        """No wait, or none to speak of, is answered at once."""
        for query in ("", "?wait=0", "?wait=0.0", "?since=5"):
            self.assertEqual(
                self.good("GET", f"/offers/answers{query}", None, self.alice), {"answers": [], "hasMore": False}
            )

    def test_wait_that_is_no_number_of_seconds(self) -> None:
        """A wait that is negative or no number is 400, and no request waits."""
        offer_id = self.publish()
        for wait in ("-1", "x", "", "1e", "e3", "NaN", "inf", ".5", "1.", "%2B1", "-1e3", "0x1", "%D9%A1"):
            for path in ("/offers/answers", f"/offers/{offer_id}/ice-candidates"):
                response = self.ask("GET", f"{path}?wait={wait}", None, self.alice)
                self.assertRefused(response, 400, "malformed", "wait")

    def test_what_is_there_is_told_at_once(self) -> None:
        """A request does not wait for what has already come; since makes it wait for what comes after."""
        self.answer(self.publish(id="first"))
        seen = self.good("GET", "/offers/answers?wait=30", None, self.alice)["answers"]
        self.assertEqual([answer["offerId"] for answer in seen], ["first"])
        waiting = self.held("GET", f"/offers/answers?wait=30&since={seen[0]['answeredAt']}")
        self.answer(self.publish(id="second", sdp="v=2"))
        self.assertEqual([answer["offerId"] for answer in self.told(waiting)["answers"]], ["second"])

    def test_other_news_does_not_end_it(self) -> None:
        """A candidate, an end or another peer's answer does not wake a request that waits for answers."""
        offer_id, other = self.publish(), self.publish(self.bob, sdp="v=7")
        since = self.answer(offer_id)["answeredAt"]
        waiting = self.held("GET", f"/offers/answers?wait=30&since={since}")
        self.trickle(offer_id, "x")
        self.answer(other, self.alice)
        self.good("DELETE", f"/offers/{offer_id}", None, self.alice)
        self.assertHeld(waiting)
        self.assertEqual(self.assertEndsAt(waiting, 30), {"answers": [], "hasMore": False})

    def test_all_who_wait_are_told(self) -> None:
        """Two pages of one peer both hear of an answer."""
        offer_id = self.publish()
        pages = [self.held("GET", "/offers/answers?wait=30") for _ in range(2)]
        self.answer(offer_id)
        self.assertEqual(self.told(pages[0]), self.told(pages[1]))

    def test_logout_ends_it(self) -> None:
        """A client that logs out while it waits gets the error at once, with offers or without."""
        for publish in (False, True):
            _, _, headers = self.server.register()
            if publish:
                self.publish(headers, id="x")
            waiting = self.held("GET", "/offers/answers?wait=30", headers=headers)
            self.good("POST", "/logout", None, headers)
            self.assertRefused(waiting.response(), 401, "unauthorized")


class CandidatesTests(WaitingTestCase):
    """``GET /offers/<id>/ice-candidates?wait``."""

    def setUp(self) -> None:
        """Have an offer that is answered."""
        super().setUp()
        self.offer = self.publish()
        self.answer(self.offer)
        self.path = f"/offers/{self.offer}/ice-candidates"

    def test_a_candidate_that_arrives_while_both_sides_wait(self) -> None:
        """Each side gets the other's candidate at once, and not its own."""
        alice = self.held("GET", f"{self.path}?wait=30")
        bob = self.held("GET", f"{self.path}?wait=30", headers=self.bob)
        self.trickle(self.offer, "from bob")
        self.assertEqual([entry["candidate"] for entry in self.told(alice)["candidates"]], ["from bob"])
        self.assertHeld(bob)
        self.trickle(self.offer, "from alice", headers=self.alice)
        self.assertEqual([entry["candidate"] for entry in self.told(bob)["candidates"]], ["from alice"])

    def test_waiting_in_a_row_misses_nothing(self) -> None:
        """Reading on with since, each candidate is sent once, in order, whether it came before or during the wait."""
        seen: list[Any] = []
        since = 0
        for turn in range(10):
            connection = self.start("GET", f"{self.path}?wait=30&since={since}", headers=self.alice)
            if connection.response() is None:
                self.trickle(self.offer, turn * 2, turn * 2 + 1)
            told = self.told(connection)["candidates"]
            seen += [entry["candidate"] for entry in told]
            since = told[-1]["createdAt"]
            if turn % 3 == 0:
                self.trickle(self.offer, f"between {turn}")
        sent = self.good("GET", self.path, None, self.alice)["candidates"]
        self.assertEqual(seen, [entry["candidate"] for entry in sent][: len(seen)])
        self.assertGreaterEqual(len(seen), 10)

    def test_ends_by_the_clock(self) -> None:
        """Without a candidate the answer is empty after the wait."""
        waiting = self.held("GET", f"{self.path}?wait=5")
        self.assertEqual(self.assertEndsAt(waiting, 5), {"offerId": self.offer, "candidates": [], "hasMore": False})

    def test_an_offer_that_expires_while_one_waits(self) -> None:
        """Both sides get 404 as soon as the offer has ended, without another request."""
        self.advance(280)
        held = [self.held("GET", f"{self.path}?wait=30", headers=headers) for headers in (self.alice, self.bob)]
        self.advance(19)
        self.assertHeld(*held)
        self.advance(1)
        for connection in held:
            self.assertRefused(connection.response(), 404, "not-found")

    def test_an_offer_that_is_withdrawn_while_one_waits(self) -> None:
        """The answerer who waits gets 404 at once."""
        waiting = self.held("GET", f"{self.path}?wait=30", headers=self.bob)
        self.good("DELETE", f"/offers/{self.offer}", None, self.alice)
        self.assertRefused(waiting.response(), 404, "not-found")

    def test_the_other_side_logs_out(self) -> None:
        """When the offerer leaves, its offers go, and the answerer who waits gets 404 at once."""
        waiting = self.held("GET", f"{self.path}?wait=30", headers=self.bob)
        self.good("POST", "/logout", None, self.alice)
        self.assertRefused(waiting.response(), 404, "not-found")

    def test_who_may_not_read_does_not_wait(self) -> None:
        """Strangers and unknown offers are refused at once."""
        _, _, carol = self.server.register()
        self.refused(403, "not-a-side", "GET", f"{self.path}?wait=30", None, carol)
        self.refused(404, "not-found", "GET", "/offers/x/ice-candidates?wait=30", None, self.alice)
        self.refused(401, "unauthorized", "GET", f"{self.path}?wait=30")


class PollTests(WaitingTestCase):
    """``POST /poll`` with ``wait``."""

    def send(self, code: str, side: str, **fields: Any) -> None:
        """Send an answer or a candidate."""
        self.good("POST", "/answer", {"code": code, "side": side, **fields}, ORIGIN)

    def test_offerer_is_held_until_the_answer(self) -> None:
        """The offerer's poll is answered when the answerer has sent something."""
        code = self.open_session()
        waiting = self.wait_poll(code, "offerer")
        self.send(code, "offerer", candidate="own")
        self.assertHeld(waiting)
        self.send(code, "answerer", answer="v=1")
        told = self.told(waiting)
        self.assertEqual((told["answer"], told["answerCandidates"]), ("v=1", []))
        self.assertEqual(told, self.poll(code, "offerer"))

    def test_answerer_reads_the_offer_at_once(self) -> None:
        """The offer itself is news to an answerer that has seen nothing yet."""
        code = self.open_session()
        self.assertEqual(self.poll(code, "answerer", wait=30)["offer"], "v=0")

    def test_latest_given_back_as_since_waits_for_more(self) -> None:
        """With since as latest said, each side is held until there is more, and sees all of it."""
        code = self.open_session()
        for side, field, sender in (
            ("answerer", "offerCandidates", "offerer"),
            ("offerer", "answerCandidates", "answerer"),
        ):
            latest = self.poll(code, side)["latest"]
            for number in range(3):
                waiting = self.wait_poll(code, side, since=latest)
                self.send(code, sender, candidate=number)
                told = self.told(waiting)
                self.assertEqual(told[field], list(range(number + 1)))
                self.assertGreater(told["latest"], latest)
                latest = told["latest"]
        waiting = self.wait_poll(code, "offerer", since=latest)
        self.send(code, "answerer", answer="v=1")
        self.assertEqual(self.told(waiting)["answer"], "v=1")

    def test_ends_by_the_clock(self) -> None:
        """Without news it is what a poll without wait is, after the wait, thirty seconds at most."""
        code = self.open_session()
        for wait, seconds in ((0.5, 0.5), (30, 30), (31, 30), (1e300, 30), (10**90, 30)):
            waiting = self.wait_poll(code, "offerer", wait)
            self.assertEqual(self.assertEndsAt(waiting, seconds), self.poll(code, "offerer"))

    def test_wait_and_since_of_a_wrong_kind(self) -> None:
        """A wait that is no number from 0 on, or a since that is no integer from 0 on, is 400."""
        code = self.open_session()
        base = {"code": code, "side": "offerer"}
        for wait in (*but("integer", "fraction"), -1, -0.5):
            self.assertRefused(self.ask("POST", "/poll", {**base, "wait": wait}, ORIGIN), 400, "malformed", "wait")
        for since in (*but("integer"), -1, 2**53):
            self.assertRefused(self.ask("POST", "/poll", {**base, "since": since}, ORIGIN), 400, "malformed", "since")
        for fields in ({"wait": 0}, {"wait": None}, {"since": 0}, {"since": None}, {"since": 2**53 - 1}):
            self.poll(code, "offerer", **fields)

    def test_a_session_that_expires_while_one_waits(self) -> None:
        """Both sides get the 404 of an unknown code as soon as the session has ended."""
        code = self.open_session()
        latest = self.poll(code, "answerer")["latest"]
        self.advance(290)
        held = [self.wait_poll(code, "offerer"), self.wait_poll(code, "answerer", since=latest)]
        self.advance(9)
        self.assertHeld(*held)
        self.advance(1)
        unknown = self.refused(404, "not-found", "POST", "/poll", {"code": "x", "side": "offerer"}, ORIGIN)
        for connection in held:
            self.assertEqual(self.assertRefused(connection.response(), 404, "not-found"), unknown)

    def test_the_same_code_in_another_origin_wakes_no_request(self) -> None:
        """Notifier of one Origin is not heard in another."""
        for headers in (ORIGIN, OTHER_ORIGIN):
            self.open_session(code="x", headers=headers)
        waiting = self.wait_poll("x", "offerer")
        self.good("POST", "/answer", {"code": "x", "side": "answerer", "answer": "v=1"}, OTHER_ORIGIN)
        self.assertHeld(waiting)

    def test_many_sessions_that_end_at_once(self) -> None:
        """Hundreds that wait are all answered when everything they wait for ends in one moment."""
        codes = [self.open_session() for _ in range(500)]
        self.advance(290)
        held = [self.wait_poll(code, "offerer") for code in codes]
        self.advance(10)
        for connection in held:
            self.assertRefused(connection.response(), 404, "not-found")


class CrowdTests(WaitingTestCase):
    """Many who wait, and those who vanish."""

    def test_a_thousand_that_vanish_leave_nothing(self) -> None:
        """A client that goes away while it waits is forgotten at once: no notification, no timer."""
        timers = len(self.server.reactor.getDelayedCalls())
        connections = []
        for number in range(250):
            _, _, headers = self.server.register()
            offer_id = self.publish(headers, sdp=f"v={number}", topics=["crowd"])
            code = self.open_session()
            connections += [
                self.held("GET", "/offers/answers?wait=30", headers=headers),
                self.held("GET", f"/offers/{offer_id}/ice-candidates?wait=30", headers=headers),
                self.wait_poll(code, "offerer"),
                self.start("GET", "/events", headers=headers),
            ]
        self.assertEqual(len(self.news), 1000)
        for connection in connections:
            connection.lose()
        self.open.clear()
        self.assertEqual(len(self.news), 0)
        self.assertEqual(len(self.server.reactor.getDelayedCalls()), timers)

    def test_news_for_one_who_has_vanished(self) -> None:
        """What comes after a client has left is not written, and is there for the next request."""
        offer_id = self.publish()
        waiting = self.held("GET", "/offers/answers?wait=30")
        waiting.lose()
        self.open.remove(waiting)
        self.answer(offer_id)
        self.assertHeld(waiting)
        self.assertEqual(len(self.good("GET", "/offers/answers", None, self.alice)["answers"]), 1)

    def test_as_many_as_may_wait_for_one_thing(self) -> None:
        """Sixteen wait; the next is 429 with Retry-After and disturbs no other; when one has left there is room."""
        code = self.open_session()
        crowds: list[tuple[str, str, Any, Headers]] = [
            ("GET", "/offers/answers?wait=30", None, self.alice),
            ("POST", "/poll", {"code": code, "side": "offerer", "wait": 30}, ORIGIN),
        ]
        for method, path, body, headers in crowds:
            held = [self.held(method, path, body, headers) for _ in range(WAITING_PER_KEY)]
            refused = self.ask(method, path, body, headers)
            self.assertRefused(refused, 429, "too-many", "16")
            self.assertEqual(refused.headers["retry-after"], "30")
            self.assertHeld(*held)
            held[0].lose()
            self.open.remove(held[0])
            self.held(method, path, body, headers)
        self.held("GET", "/offers/answers?wait=30", headers=self.bob)
        self.good("GET", "/offers/answers", None, self.alice)

    def test_a_request_behind_a_held_one(self) -> None:
        """On one connection the second request is answered after the first."""
        connection = self.held("GET", "/offers/answers?wait=30")
        connection.send(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertHeld(connection)
        self.advance(30)
        self.assertEqual(connection.transport.value().count(b"HTTP/1.1 200 OK"), 2)


class StopTests(WaitingTestCase):
    """A server that stops."""

    def test_everybody_is_sent_away(self) -> None:
        """Who waits when the server stops gets 503 with Retry-After, and a stream ends."""
        code = self.open_session()
        held = [
            self.held("GET", "/offers/answers?wait=30"),
            self.held("GET", f"/offers/{self.publish()}/ice-candidates?wait=30"),
            self.wait_poll(code, "offerer"),
        ]
        stream = self.start("GET", "/events", headers=self.alice)
        self.successResultOf(self.server.service.stopService())
        for connection in held:
            response = connection.response()
            self.assertRefused(response, 503, "unavailable")
            assert response is not None
            self.assertEqual(response.headers["retry-after"], "5")
        self.assertTrue(stream.transport.value().endswith(b"\r\n0\r\n\r\n"))
        for connection in self.open:
            connection.lose()
        self.open.clear()
        self.assertEqual(len(self.news), 0)
        self.assertEqual(self.server.reactor.getDelayedCalls(), [])
        self.server.service.startService()

    def test_request_after_the_stop_is_refused(self) -> None:
        """On a connection that is still open, whether it would wait or not."""
        self.successResultOf(self.server.service.stopService())
        for path in ("/offers/answers?wait=30", "/offers/answers"):
            self.refused(503, "unavailable", "GET", path, None, self.alice)
        self.server.service.startService()
