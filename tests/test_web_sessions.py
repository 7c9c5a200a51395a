"""The sessions dialect over HTTP: codes, two sides without names, and nothing across Origins."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import quote

from tests._web_case import LIMITS, NOW_MS, ORIGIN, OTHER_ORIGIN, Headers, WebTestCase, but
from tests.test_web_discovery import AWKWARD_TOPICS

SESSION = {"info": "alice", "offer": "v=0"}


class OpenTests(WebTestCase):
    """``POST /<topic>/offer``."""

    def test_code_is_a_random_uuid(self) -> None:
        """A session without a code of the caller's own gets a version 4 UUID, each its own."""
        body = self.good("POST", "/chess/offer", SESSION, ORIGIN)
        self.assertEqual(set(body), {"code"})
        self.assertEqual(uuid.UUID(body["code"]).version, 4)
        self.assertEqual(str(uuid.UUID(body["code"])), body["code"])
        self.assertNotEqual(self.open_session(), body["code"])

    def test_own_code_is_kept_while_it_is_free(self) -> None:
        """A code of the caller's own is taken as it is; again in this Origin it is 409, in another it is free."""
        self.assertEqual(self.open_session(code="caf\u00e9/1"), "caf\u00e9/1")
        self.refused(409, "code-taken", "POST", "/go/offer", {**SESSION, "code": "caf\u00e9/1"}, ORIGIN)
        self.assertEqual(self.listed("go"), [])
        self.assertEqual(self.open_session(headers=OTHER_ORIGIN, code="caf\u00e9/1"), "caf\u00e9/1")

    def test_a_code_is_free_again_after_its_session(self) -> None:
        """When a session has expired, its code can be had."""
        self.open_session(code="x")
        self.server.reactor.advance(300)
        self.open_session(code="x")

    def listed(self, topic: str, headers: Headers = ORIGIN) -> list[Any]:
        """The sessions in a topic."""
        sessions: list[Any] = self.good("GET", f"/{quote(topic, safe='')}/sessions", None, headers)["sessions"]
        return sessions

    def test_sessions_are_listed_with_these_fields(self) -> None:
        """A listing gives the peer's name as info and as peerId, the offer, its candidates, and times in ms."""
        code = self.open_session()
        self.good("POST", "/answer", {"code": code, "side": "offerer", "candidate": {"c": 1}}, ORIGIN)
        session = {
            "code": code,
            "info": "alice",
            "peerId": "alice",
            "offer": "v=0",
            "offerCandidates": [{"c": 1}],
            "createdAt": NOW_MS,
            "expiresAt": NOW_MS + 300_000,
        }
        self.assertEqual(self.good("GET", "/chess/sessions", None, ORIGIN), {"sessions": [session], "hasMore": False})

    def test_newest_come_first_and_only_the_unanswered(self) -> None:
        """Sessions are listed newest first, until they are answered or expire."""
        codes = []
        for _ in range(3):
            codes.append(self.open_session())
            self.advance(1)
        self.assertEqual([session["code"] for session in self.listed("chess")], codes[::-1])
        self.good("POST", "/answer", {"code": codes[1], "side": "answerer", "answer": "v=1"}, ORIGIN)
        self.assertEqual([session["code"] for session in self.listed("chess")], [codes[2], codes[0]])
        self.server.reactor.advance(296.999)
        self.assertEqual([session["code"] for session in self.listed("chess")], [codes[2], codes[0]])
        self.server.reactor.advance(0.001)
        self.assertEqual([session["code"] for session in self.listed("chess")], [codes[2]])

    def test_either_name_of_the_peer_is_taken(self) -> None:
        """The peer's name is info or peerId; info counts if both are given; neither is 400."""
        given: list[tuple[dict[str, Any], str]] = [
            ({"info": "a"}, "a"),
            ({"peerId": "b"}, "b"),
            ({"info": "c", "peerId": "d"}, "c"),
            ({"info": None, "peerId": "e"}, "e"),
            ({"info": ""}, ""),
        ]
        for number, (fields, name) in enumerate(given):
            self.good("POST", f"/t{number}/offer", {"offer": "v=0", **fields}, ORIGIN)
            session = self.listed(f"t{number}")[0]
            self.assertEqual((session["info"], session["peerId"]), (name, name))
        response = self.ask("POST", "/none/offer", {"offer": "v=0"}, ORIGIN)
        self.assertRefused(response, 400, "missing-field", "info")
        self.assertEqual(self.listed("none"), [])

    def test_wrong_types_are_named(self) -> None:
        """A field of the wrong type is 400 with its name, and no session is opened."""
        for field in ("info", "offer", "code"):
            for value in but("string"):
                response = self.ask("POST", "/chess/offer", {**SESSION, field: value}, ORIGIN)
                self.assertRefused(response, 400, "malformed", field)
        for value in but("string"):
            response = self.ask("POST", "/chess/offer", {"offer": "v=0", "peerId": value}, ORIGIN)
            self.assertRefused(response, 400, "malformed", "peerId")
        response = self.ask("POST", "/chess/offer", {"info": "a"}, ORIGIN)
        self.assertRefused(response, 400, "missing-field", "offer")
        self.assertEqual(self.listed("chess"), [])

    def test_limits_hold_at_and_above(self) -> None:
        """Each limit lets its own value pass and refuses the next."""
        smile = "\U0001f600"
        good: list[tuple[str, dict[str, Any]]] = [
            ("chess", {"info": smile * 1024}),
            ("chess", {"offer": "x" * LIMITS.sdp_size}),
            ("chess", {"code": smile * 256}),
            (smile * 256, {}),
        ]
        for topic, fields in good:
            self.open_session(topic, **fields)
        bad: list[tuple[str, dict[str, Any], str, str]] = [
            ("chess", {"info": "x" * 1025}, "too-long", "info"),
            ("chess", {"offer": "x" * (LIMITS.sdp_size + 1)}, "too-long", "offer"),
            ("chess", {"offer": ""}, "empty", "offer"),
            ("chess", {"code": "x" * 257}, "too-long", "code"),
            ("chess", {"code": ""}, "empty", "code"),
            ("x" * 257, {}, "too-long", "topic"),
        ]
        for topic, fields, code, named in bad:
            response = self.ask("POST", f"/{topic}/offer", {**SESSION, **fields}, ORIGIN)
            self.assertRefused(response, 400, code, named)
        self.assertEqual(len(self.listed("chess")), 3)
        self.refused(400, "too-long", "GET", f"/{'x' * 257}/sessions", None, ORIGIN)

    def test_awkward_topics_are_found_under_their_names(self) -> None:
        """Every topic has its own sessions, whatever its name does to paths."""
        for topic in AWKWARD_TOPICS:
            code = self.open_session(topic)
            self.assertEqual([session["code"] for session in self.listed(topic)], [code], topic)
        topics = self.good("GET", "/topics?page=1", None, ORIGIN)["topics"]
        self.assertEqual(topics, [{"topic": topic, "count": 1} for topic in sorted(AWKWARD_TOPICS)])

    def test_a_topic_that_is_no_utf8_is_refused(self) -> None:
        """Bytes that are no UTF-8 in a path are 400."""
        self.refused(400, "malformed", "POST", "/%FF/offer", SESSION, ORIGIN)
        self.refused(400, "malformed", "GET", "/%FF/sessions", None, ORIGIN)

    def test_offers_are_no_sessions_and_sessions_no_offers(self) -> None:
        """The two dialects share a signaling and see nothing of each other."""
        offer_id, code = self.publish(), self.open_session()
        self.assertEqual([session["code"] for session in self.listed("chess")], [code])
        self.assertEqual([o["id"] for o in self.good("GET", "/offers/by-topic/chess")["offers"]], [offer_id])
        self.refused(404, "not-found", "POST", f"/offers/{code}/answer", {"sdp": "v=1"}, self.bob)
        self.refused(404, "not-found", "POST", "/poll", {"code": offer_id, "side": "offerer"}, ORIGIN)


class OriginTests(WebTestCase):
    """Who is kept apart."""

    ROUTES = (
        ("GET", "/topics?page=1", None),
        ("GET", "/chess/sessions", None),
        ("POST", "/chess/offer", SESSION),
        ("POST", "/answer", {"code": "x", "side": "answerer", "answer": "v=1"}),
        ("POST", "/answer", {"code": "x", "side": "answerer", "candidate": 1}),
        ("POST", "/poll", {"code": "x", "side": "offerer"}),
    )

    def test_origin_is_required(self) -> None:
        """Without an Origin, or with an empty one, every route of the dialect is 400."""
        for method, path, body in self.ROUTES:
            for headers in ({}, {"Origin": ""}):
                self.refused(400, "origin-required", method, path, body, headers)

    def test_health_needs_none(self) -> None:
        """Only health needs no Origin."""
        self.good("GET", "/health")

    def test_length_of_an_origin(self) -> None:
        """An Origin of 512 characters is served, a longer one or one that is no UTF-8 is not."""
        self.open_session(headers={"Origin": "x" * 512})
        for method, path, body in self.ROUTES:
            self.refused(400, "too-long", method, path, body, {"Origin": "x" * 513})
            self.refused(400, "malformed", method, path, body, {"Origin": "http://\xff"})

    def test_one_and_the_same_message(self) -> None:
        """An unknown, an expired and another Origin's code get the same answer."""
        expired = self.open_session()
        self.advance(300)
        elsewhere = self.open_session(headers=OTHER_ORIGIN)
        words = set()
        for code in ("unknown", expired, elsewhere):
            for path, fields in (
                ("/poll", {"side": "offerer"}),
                ("/poll", {"side": "answerer", "wait": 30}),
                ("/answer", {"side": "answerer", "answer": "v=1"}),
                ("/answer", {"side": "offerer", "answer": "v=1"}),
                ("/answer", {"side": "offerer", "candidate": 1}),
            ):
                words.add(self.refused(404, "not-found", "POST", path, {"code": code, **fields}, ORIGIN))
        self.assertEqual(len(words), 1)
        self.assertEqual(self.poll(elsewhere, "offerer", OTHER_ORIGIN)["answer"], None)

    def test_lists_show_their_own_origin_only(self) -> None:
        """Sessions and topics of one Origin are not in the lists of another; null is an Origin like any."""
        self.open_session()
        for headers in (OTHER_ORIGIN, {"Origin": "null"}, {"Origin": "https://app.example:8443"}):
            self.assertEqual(self.good("GET", "/chess/sessions", None, headers), {"sessions": [], "hasMore": False})
            self.assertEqual(self.good("GET", "/topics?page=1", None, headers)["topics"], [])
        self.open_session(headers={"Origin": "null"})
        self.assertEqual(len(self.good("GET", "/chess/sessions", None, {"Origin": "null"})["sessions"]), 1)


class AnswerTests(WebTestCase):
    """``POST /answer`` and ``POST /poll``."""

    def test_a_whole_exchange(self) -> None:
        """Offer, answer and candidates reach the other side in their order."""
        code = self.open_session()
        self.assertEqual(self.poll(code, "offerer"), {"answer": None, "answerCandidates": [], "latest": 0})
        send = {"code": code, "side": "offerer", "candidate": {"n": 1}}
        self.assertEqual(self.good("POST", "/answer", send, ORIGIN), {"success": True})
        answerer = self.poll(code, "answerer")
        self.assertEqual((answerer["offer"], answerer["offerCandidates"]), ("v=0", [{"n": 1}]))
        self.assertEqual(set(answerer), {"offer", "offerCandidates", "latest"})
        early = {"code": code, "side": "answerer", "candidate": "early"}
        self.assertEqual(self.good("POST", "/answer", early, ORIGIN), {"success": True})
        answer = {"code": code, "side": "answerer", "answer": "v=1"}
        self.assertEqual(self.good("POST", "/answer", answer, ORIGIN), {"success": True})
        self.good("POST", "/answer", {"code": code, "side": "answerer", "candidate": "late"}, ORIGIN)
        offerer = self.poll(code, "offerer")
        self.assertEqual((offerer["answer"], offerer["answerCandidates"]), ("v=1", ["early", "late"]))
        self.assertEqual(self.poll(code, "answerer")["offerCandidates"], [{"n": 1}])

    def test_the_first_answer_locks(self) -> None:
        """Of two answerers the first wins and the second gets 409."""
        code = self.open_session()
        body = {"code": code, "side": "answerer", "answer": "v=1"}
        self.good("POST", "/answer", body, ORIGIN)
        self.refused(409, "already-answered", "POST", "/answer", {**body, "answer": "v=2"}, ORIGIN)
        self.assertEqual(self.poll(code, "offerer")["answer"], "v=1")

    def test_only_the_answerer_answers(self) -> None:
        """An answer by the offerer is 403 and leaves the session open."""
        code = self.open_session()
        self.refused(403, "not-answerer", "POST", "/answer", {"code": code, "side": "offerer", "answer": "v=1"}, ORIGIN)
        self.assertIsNone(self.poll(code, "offerer")["answer"])

    def test_exactly_one_of_answer_and_candidate(self) -> None:
        """Both or neither is 400 and leaves nothing behind; a null counts as not there."""
        code = self.open_session()
        base = {"code": code, "side": "answerer"}
        for fields in ({}, {"answer": "v=1", "candidate": 1}, {"answer": None}, {"candidate": None}):
            self.refused(400, "malformed", "POST", "/answer", {**base, **fields}, ORIGIN)
        self.assertEqual(self.poll(code, "offerer"), {"answer": None, "answerCandidates": [], "latest": 0})
        self.good("POST", "/answer", {**base, "answer": None, "candidate": 0}, ORIGIN)
        self.good("POST", "/answer", {**base, "answer": "v=1", "candidate": None}, ORIGIN)

    def test_wrong_types_are_named(self) -> None:
        """A field that is missing or of the wrong type is 400 with its name."""
        code = self.open_session()
        good = {"code": code, "side": "answerer"}
        for path, extra in (("/answer", {"answer": "v=1"}), ("/poll", {})):
            for field in good:
                for value in but("string"):
                    response = self.ask("POST", path, {**good, **extra, field: value}, ORIGIN)
                    self.assertRefused(response, 400, "malformed", field)
                response = self.ask("POST", path, {**good, **extra, field: None}, ORIGIN)
                self.assertRefused(response, 400, "missing-field", field)
            for side in ("", "Offerer", "both"):
                self.assertRefused(
                    self.ask("POST", path, {**good, **extra, "side": side}, ORIGIN), 400, "malformed", "side"
                )
        for value in but("string"):
            self.assertRefused(
                self.ask("POST", "/answer", {**good, "answer": value}, ORIGIN), 400, "malformed", "answer"
            )
        self.assertIsNone(self.poll(code, "offerer")["answer"])

    def test_limits_hold_at_and_above(self) -> None:
        """An answer is bounded as a description is, a candidate in size and in number."""
        code = self.open_session()
        base = {"code": code, "side": "answerer"}
        for fields, error in (
            ({"answer": "x" * (LIMITS.sdp_size + 1)}, "too-long"),
            ({"answer": ""}, "empty"),
            ({"candidate": "x" * (LIMITS.candidate_size - 1)}, "too-long"),
        ):
            self.refused(400, error, "POST", "/answer", {**base, **fields}, ORIGIN)
        self.good("POST", "/answer", {**base, "answer": "x" * LIMITS.sdp_size}, ORIGIN)
        self.good("POST", "/answer", {**base, "candidate": "x" * (LIMITS.candidate_size - 2)}, ORIGIN)
        for number in range(LIMITS.candidates_per_side - 1):
            self.good("POST", "/answer", {**base, "candidate": number}, ORIGIN)
        self.refused(429, "too-many", "POST", "/answer", {**base, "candidate": "over"}, ORIGIN)
        self.assertEqual(len(self.poll(code, "offerer")["answerCandidates"]), LIMITS.candidates_per_side)

    def test_broken_bodies_are_refused(self) -> None:
        """What is no JSON object is 400 on every route that reads, and another media type 415."""
        for path in ("/chess/offer", "/answer", "/poll"):
            for body in (b"", b"[]", b"{", b'"\xff"', b'{"a": NaN}'):
                self.refused(400, "bad-json", "POST", path, body, ORIGIN)
            self.refused(415, "unsupported-media-type", "POST", path, b"{}", {**ORIGIN, "Content-Type": "text/plain"})

    def test_session_that_expires_between_look_up_and_answer(self) -> None:
        """At its end a session cannot be answered any more."""
        first, second = self.open_session(), self.open_session()
        self.server.reactor.advance(299.999)
        self.good("POST", "/answer", {"code": first, "side": "answerer", "answer": "v=1"}, ORIGIN)
        self.server.reactor.advance(0.001)
        body = {"code": second, "side": "answerer", "answer": "v=1"}
        self.refused(404, "not-found", "POST", "/answer", body, ORIGIN)


class LifetimeTests(WebTestCase):
    """``--session-lifetime``."""

    settings = {"session_lifetime": 10.0}  # noqa: RUF012

    def test_lifetime_is_an_option(self) -> None:
        """A session lives as long as the operator says."""
        code = self.open_session()
        session = self.good("GET", "/chess/sessions", None, ORIGIN)["sessions"][0]
        self.assertEqual(session["expiresAt"], NOW_MS + 10_000)
        self.server.reactor.advance(9.999)
        self.poll(code, "offerer")
        self.server.reactor.advance(0.001)
        self.refused(404, "not-found", "POST", "/poll", {"code": code, "side": "offerer"}, ORIGIN)
