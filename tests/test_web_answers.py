"""Answers and candidates over HTTP."""

from __future__ import annotations

from typing import Any

from tests._web_case import LIMITS, NOW_MS, WebTestCase, but


class AnswerTests(WebTestCase):
    """``POST /offers/<id>/answer`` and ``GET /offers/answers``."""

    def test_answer_reaches_the_offerer(self) -> None:
        """Who answered what and when is told to both sides, in ms."""
        offer_id = self.publish(topics=["chess", "go"])
        self.server.reactor.advance(1.5)
        told = self.answer(offer_id)
        self.assertEqual(told, {"offerId": offer_id, "answererId": self.bob_id, "answeredAt": NOW_MS + 1500})
        answer = {**told, "sdp": "v=1", "topics": ["chess", "go"]}
        self.assertEqual(self.good("GET", "/offers/answers", None, self.alice), {"answers": [answer], "hasMore": False})
        self.assertEqual(self.good("GET", "/offers/answers", None, self.bob), {"answers": [], "hasMore": False})

    def test_the_first_answer_locks(self) -> None:
        """Of two answerers the first wins, the other gets 409, and the answer stays the first one's."""
        offer_id = self.publish()
        self.answer(offer_id, self.bob)
        _, _, carol = self.server.register()
        for headers in (carol, self.bob):
            self.refused(409, "already-answered", "POST", f"/offers/{offer_id}/answer", {"sdp": "v=2"}, headers)
        answers = self.good("GET", "/offers/answers", None, self.alice)["answers"]
        self.assertEqual([(a["answererId"], a["sdp"]) for a in answers], [(self.bob_id, "v=1")])

    def test_ones_own_offer_cannot_be_answered(self) -> None:
        """The owner's own answer is 409, and the offer can still be answered."""
        offer_id = self.publish()
        self.refused(409, "own-offer", "POST", f"/offers/{offer_id}/answer", {"sdp": "v=1"}, self.alice)
        self.answer(offer_id)

    def test_the_secret_must_be_right(self) -> None:
        """A missing or wrong secret is 403 and locks nothing; the right one answers."""
        offer_id = self.publish(secret="caf\u00e9")
        path = f"/offers/{offer_id}/answer"
        for secret in (None, "", "caf", "cafe", "caf\u00e9 ", "\ud800"):
            self.refused(403, "wrong-secret", "POST", path, {"sdp": "v=1", "secret": secret}, self.bob)
        self.refused(403, "wrong-secret", "POST", path, {"sdp": "v=1"}, self.bob)
        self.assertIsNone(self.mine()[0]["answeredAt"])
        self.good("POST", path, {"sdp": "v=1", "secret": "caf\u00e9"}, self.bob)

    def test_a_secret_that_was_not_asked_for_is_ignored(self) -> None:
        """An offer without a secret takes any."""
        self.good("POST", f"/offers/{self.publish()}/answer", {"sdp": "v=1", "secret": "x"}, self.bob)

    def test_bad_answers_lock_nothing(self) -> None:
        """A description that is missing, empty, too long or no string is 400 and the offer stays open."""
        path = f"/offers/{self.publish()}/answer"
        self.assertRefused(self.ask("POST", path, {}, self.bob), 400, "missing-field", "sdp")
        for value in but("string"):
            self.assertRefused(self.ask("POST", path, {"sdp": value}, self.bob), 400, "malformed", "sdp")
            body = {"sdp": "v=1", "secret": value}
            self.assertRefused(self.ask("POST", path, body, self.bob), 400, "malformed", "secret")
        self.assertRefused(self.ask("POST", path, {"sdp": ""}, self.bob), 400, "empty", "sdp")
        long = "x" * (LIMITS.sdp_size + 1)
        self.assertRefused(self.ask("POST", path, {"sdp": long}, self.bob), 400, "too-long", "sdp")
        self.assertIsNone(self.mine()[0]["answeredAt"])
        self.good("POST", path, {"sdp": long[1:]}, self.bob)

    def test_an_offer_that_expires_between_look_up_and_answer(self) -> None:
        """One millisecond before its end an offer can be answered; at its end it is 404."""
        first, second = self.publish(), self.publish(sdp="v=7")
        self.server.reactor.advance(299.999)
        self.answer(first)
        self.server.reactor.advance(0.001)
        self.refused(404, "not-found", "POST", f"/offers/{second}/answer", {"sdp": "v=1"}, self.bob)

    def test_answers_come_in_order_and_since(self) -> None:
        """Answers are told the earliest first, and after a time only those after it."""
        offers = [self.publish(id=f"o{n}", sdp=f"v={n}") for n in range(4)]
        for offer_id in reversed(offers):
            self.answer(offer_id)
        answers = self.good("GET", "/offers/answers", None, self.alice)["answers"]
        self.assertEqual([a["offerId"] for a in answers], offers[::-1])
        for place, answer in enumerate(answers):
            later = self.good("GET", f"/offers/answers?since={answer['answeredAt']}", None, self.alice)["answers"]
            self.assertEqual(later, answers[place + 1 :])

    def test_since_must_be_an_integer_from_zero_on(self) -> None:
        """A since that is none is 400 on both routes that take it."""
        offer_id = self.publish()
        for since in ("-1", "x", "", "1.5", str(2**53)):
            for path in ("/offers/answers", f"/offers/{offer_id}/ice-candidates"):
                response = self.ask("GET", f"{path}?since={since}", None, self.alice)
                self.assertRefused(response, 400, "malformed", "since")
        self.good("GET", f"/offers/answers?since={2**53 - 1}", None, self.alice)


class CandidateTests(WebTestCase):
    """``/offers/<id>/ice-candidates``."""

    def setUp(self) -> None:
        """Have an offer that is answered."""
        super().setUp()
        self.offer = self.publish()
        self.path = f"/offers/{self.offer}/ice-candidates"
        self.answer(self.offer)

    def read(self, headers: Any, query: str = "") -> list[Any]:
        """What one side reads."""
        body = self.good("GET", self.path + query, None, headers)
        self.assertEqual(set(body), {"offerId", "candidates", "hasMore"})
        candidates: list[Any] = body["candidates"]
        return candidates

    def test_candidates_reach_the_other_side_as_they_were(self) -> None:
        """Any JSON comes out as it went in, with the sender, its role and a time in ms; never to the sender itself."""
        sent: list[Any] = [
            {"candidate": "candidate:1 1 udp", "sdpMid": "0", "sdpMLineIndex": 0},
            "text",
            "",
            0,
            1.5,
            True,
            None,
            [],
            {},
            [[["deep"]]],
            "\U0001f600",
        ]
        self.assertEqual(self.trickle(self.offer, *sent), {"offerId": self.offer, "candidatesAdded": len(sent)})
        read = self.read(self.alice)
        self.assertEqual([entry["candidate"] for entry in read], sent)
        self.assertEqual(
            read[0], {"candidate": sent[0], "peerId": self.bob_id, "role": "answerer", "createdAt": NOW_MS}
        )
        self.assertEqual([entry["createdAt"] for entry in read], [NOW_MS + n for n in range(len(sent))])
        self.assertEqual(self.read(self.bob), [])
        self.trickle(self.offer, "mine", headers=self.alice)
        self.assertEqual([(e["peerId"], e["role"]) for e in self.read(self.bob)], [(self.alice_id, "offerer")])

    def test_since_neither_skips_nor_repeats(self) -> None:
        """Reading on from any candidate's time gives exactly those after it, though many came in one ms."""
        for number in range(5):
            self.trickle(self.offer, number)
            self.trickle(self.offer, -number, headers=self.alice)
        for headers in (self.alice, self.bob):
            read = self.read(headers)
            times = [entry["createdAt"] for entry in read]
            self.assertEqual(times, sorted(set(times)))
            for place, time in enumerate(times):
                self.assertEqual(self.read(headers, f"?since={time}"), read[place + 1 :])
                self.assertEqual(self.read(headers, f"?since={time - 1}"), read[place:])
        self.assertEqual(len(self.read(self.alice, "?since=0")), 5)

    def test_offerers_candidates_from_before_the_answer_are_there(self) -> None:
        """What the offerer trickled before there was an answer waits for the answerer."""
        early = self.publish(sdp="v=8")
        self.trickle(early, "early", headers=self.alice)
        self.answer(early)
        found = self.good("GET", f"/offers/{early}/ice-candidates", None, self.bob)["candidates"]
        self.assertEqual([entry["candidate"] for entry in found], ["early"])

    def test_strangers_are_refused(self) -> None:
        """Who has not answered neither reads nor writes candidates."""
        _, _, carol = self.server.register()
        self.refused(403, "not-a-side", "POST", self.path, {"candidates": ["x"]}, carol)
        self.refused(403, "not-a-side", "GET", self.path, None, carol)
        self.assertEqual(self.read(self.alice), [])

    def test_number_and_size_of_candidates(self) -> None:
        """Fifty a request and 4 KiB each are taken; one more is not, and then none of the request is."""
        self.assertRefused(self.ask("POST", self.path, {"candidates": []}, self.bob), 400, "empty", "candidates")
        too_many = self.ask("POST", self.path, {"candidates": [0] * 51}, self.bob)
        self.assertRefused(too_many, 400, "too-long", "50")
        largest = "x" * (LIMITS.candidate_size - 2)
        response = self.ask("POST", self.path, {"candidates": ["ok", largest + "x"]}, self.bob)
        self.assertRefused(response, 400, "too-long", "candidates[1]")
        self.assertEqual(self.read(self.alice), [])
        self.trickle(self.offer, largest)
        self.trickle(self.offer, *range(50))
        self.assertEqual(len(self.read(self.alice)), 51)

    def test_a_side_has_its_share(self) -> None:
        """256 candidates a side; a request that would pass that adds nothing, and the other side is not concerned."""
        for _ in range(5):
            self.trickle(self.offer, *range(50))
        response = self.ask("POST", self.path, {"candidates": list(range(7))}, self.bob)
        self.assertRefused(response, 429, "too-many")
        self.assertEqual(response.headers["retry-after"], "30")
        self.assertEqual(len(self.read(self.alice)), 250)
        self.trickle(self.offer, *range(6))
        self.refused(429, "too-many", "POST", self.path, {"candidates": [0]}, self.bob)
        self.trickle(self.offer, "mine", headers=self.alice)
        self.assertEqual(len(self.read(self.alice)), 256)

    def test_wrong_types_and_unwritable_values(self) -> None:
        """What is no list, or holds what JSON cannot, is 400 and adds nothing."""
        for value in but("list"):
            response = self.ask("POST", self.path, {"candidates": value}, self.bob)
            self.assertRefused(response, 400, "malformed", "candidates")
        for raw in (b"1e999", b'"\\ud800"', b"[" * 700 + b"]" * 700):
            response = self.ask("POST", self.path, b'{"candidates":["ok",' + raw + b"]}", self.bob)
            self.assertEqual(response.status, 400, response.body)
        self.assertEqual(self.read(self.alice), [])

    def test_what_was_taken_can_be_read(self) -> None:
        """A candidate as deep as may be is read by who asks, waits or listens; a deeper one is refused."""
        held = self.start("GET", f"{self.path}?wait=30", headers=self.alice)
        stream = self.start("GET", "/events", headers=self.alice)
        for left, right in (("[", "]"), ('{"a":', "}")):
            nested = [f"{left * depth}1{right * depth}" for depth in (31, 32, 33)]
            for raw in nested[:2]:
                self.good("POST", self.path, f'{{"candidates":[{raw}]}}'.encode(), self.bob)
            too_deep = self.ask("POST", self.path, f'{{"candidates":[{nested[2]}]}}'.encode(), self.bob)
            self.assertRefused(too_deep, 400, "malformed", "candidates[0]", "32")
        response = held.response()
        assert response is not None
        self.assertEqual(response.status, 200)
        self.assertEqual(len(self.read(self.alice)), 4)
        self.assertEqual(stream.transport.value().count(b"event: candidate"), 4)
