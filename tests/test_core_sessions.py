"""Sessions: offers reached by a code, apart by Origin."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.notes import Key, OfferSide
from rendezvous.core.signaling.offers import OFFERS, Offer, Role
from rendezvous.core.signaling.sessions import Sessions
from rendezvous.core.sources import UNKNOWN
from rendezvous.errors import Conflict, Forbidden, Full, Malformed, NotFound, TooMany
from rendezvous.limits import SignalingLimits
from tests.signaling_tables import LIMITS, NOW, NOW_MS, World, publish

A = "https://a.example"
B = "https://b.example"


class SessionTests(SynchronousTestCase):
    """The verbs of the sessions dialect."""

    def setUp(self) -> None:
        """Make a signaling with a source of codes that counts."""
        self.notified: list[Key] = []
        self.signaling = World(LIMITS, max_offers=8, notify=self.notified.append)
        codes = (f"code-{number}" for number in range(99))
        self.sessions = Sessions(self.signaling.table, lambda: next(codes))

    def open(self, origin: str = A, topic: str = "room", code: str | None = None, now: float = NOW) -> Offer:
        """Open a session."""
        return self.sessions.open(origin, topic, "me", "offer", code, now)

    def codes(self, origin: str, now: float) -> list[str]:
        """The codes of the sessions in a topic."""
        return [each.offer.id for each in self.sessions.in_topic(origin, "room", now).items]

    def topics(self, limit: int, offset: int, origin: str = A) -> tuple[list[tuple[str, int]], int]:
        """A page of topics, and how many there are."""
        page = self.sessions.topics(origin, limit, offset, NOW)
        return list(page.items), page.total

    def test_opened_session(self) -> None:
        """It has a new code, lives for five minutes, and keeps what it was given."""
        session = self.open()
        self.assertEqual((session.id, session.namespace, session.owner, session.topics), ("code-0", A, "", ("room",)))
        self.assertEqual((session.sdp, session.info, session.answer), (b'"offer"', "me", None))
        self.assertEqual((session.created_at, session.expires_at), (NOW_MS, NOW_MS + 300_000))

    def test_own_code_if_free(self) -> None:
        """A code of the caller's own is taken once in an Origin, and is free in another, and again after its end."""
        self.assertEqual(self.open(code="mine").id, "mine")
        self.assertEqual(self.assertRaises(Conflict, self.open, code="mine").code, "code-taken")
        self.open(B, code="mine")
        self.assertEqual(self.open(code="mine", now=NOW + 300).id, "mine")

    def test_full_board(self) -> None:
        """Sessions share the bound with offers."""
        publish(self.signaling, "p", "x")
        for _ in range(7):
            self.open()
        self.assertRaises(Full, self.open)
        self.assertEqual(len(self.signaling), 8)

    def test_text_limits(self) -> None:
        """Topic, info, offer and code at their limits are taken, and refused one beyond."""
        sizes = {"topic": 256, "info": 1024, "offer": 65_536, "code": 256}
        for field, most in sizes.items():
            values: dict[str, str] = {"topic": "t", "info": "i", "offer": "o", "code": field}
            for length in (most - 1, most):
                values[field] = "x" * length
                sessions = Sessions(World(LIMITS).table, lambda: "unused")
                self.assertEqual(sessions.open(A, **values, now=NOW, source=UNKNOWN).namespace, A)
            values[field] = "x" * (most + 1)
            error = self.assertRaises(Malformed, self.sessions.open, A, **values, now=NOW)
            self.assertEqual((error.message.split(" ", 1)[0], error.code), (field, "too-long"))

    def test_origin_is_required(self) -> None:
        """Without an Origin every verb is malformed: it would be the namespace of the offers."""
        publish(self.signaling, "p", "x")
        for verb in (
            lambda origin: self.open(origin),
            lambda origin: self.sessions.answer(origin, "x", Role.ANSWERER, "a", NOW),
            lambda origin: self.sessions.add_candidate(origin, "x", Role.OFFERER, 1, NOW),
            lambda origin: self.sessions.find(origin, "x", NOW),
            lambda origin: self.sessions.in_topic(origin, "t", NOW),
            lambda origin: self.sessions.topics(origin, 9, 0, NOW),
        ):
            self.assertEqual(self.assertRaises(Malformed, verb, "").code, "origin-required")
            self.assertEqual(self.assertRaises(Malformed, verb, "x" * 513).code, "too-long")
        self.assertEqual(self.topics(9, 0, "x" * 512), ([], 0))

    def test_unknown_expired_and_foreign_codes_are_alike(self) -> None:
        """One and the same message, so an origin does not learn what other origins have."""
        self.open(B, code="theirs")
        self.open(A, code="old", now=NOW - 300)
        publish(self.signaling, "p", "offer")
        messages = set()
        for code in ("unknown", "theirs", "old", "offer"):
            messages.add(self.assertRaises(NotFound, self.sessions.find, A, code, NOW).message)
            for act in (self.sessions.answer, self.sessions.add_candidate):
                messages.add(self.assertRaises(NotFound, act, A, code, Role.ANSWERER, "a", NOW).message)
        self.assertEqual(len(messages), 1)

    def test_only_the_answerer_answers_once(self) -> None:
        """The offerer is forbidden, the first answer locks, the second is a conflict."""
        session = self.open()
        forbidden = self.assertRaises(Forbidden, self.sessions.answer, A, session.id, Role.OFFERER, "a", NOW)
        self.assertEqual(forbidden.code, "not-answerer")
        self.sessions.answer(A, session.id, Role.ANSWERER, "first", NOW)
        conflict = self.assertRaises(Conflict, self.sessions.answer, A, session.id, Role.ANSWERER, "second", NOW)
        self.assertEqual(conflict.code, "already-answered")
        polled = self.sessions.find(A, session.id, NOW).offer.answer
        assert polled is not None
        self.assertEqual(polled.sdp, b'"first"')

    def test_answer_size(self) -> None:
        """64 KiB, and the error names the field of this dialect."""
        code = self.open().id
        error = self.assertRaises(Malformed, self.sessions.answer, A, code, Role.ANSWERER, "x" * 65_537, NOW)
        self.assertEqual((error.message.split(" ", 1)[0], error.code), ("answer", "too-long"))
        self.sessions.answer(A, code, Role.ANSWERER, "x" * 65_536, NOW)

    def test_candidates_of_both_sides(self) -> None:
        """Either side may send its own at any time, and both are kept apart."""
        session = self.open()
        for side, value in ((Role.ANSWERER, "early"), (Role.OFFERER, {"a": 1}), (Role.ANSWERER, "late")):
            self.sessions.add_candidate(A, session.id, side, value, NOW)
        polled = self.sessions.find(A, session.id, NOW)
        self.assertEqual([each.payload for each in polled.candidates(Role.OFFERER)], [b'{"a":1}'])
        self.assertEqual([each.payload for each in polled.candidates(Role.ANSWERER)], [b'"early"', b'"late"'])

    def test_candidate_limits(self) -> None:
        """4 KiB each and 256 a side, as for offers; the error names the field of this dialect."""
        code = self.open().id
        add = self.sessions.add_candidate
        error = self.assertRaises(Malformed, add, A, code, Role.OFFERER, "x" * 4095, NOW)
        self.assertEqual(error.message, "candidate must be at most 4096 bytes.")
        for _ in range(256):
            add(A, code, Role.OFFERER, 1, NOW)
        self.assertRaises(TooMany, add, A, code, Role.OFFERER, 1, NOW)
        add(A, code, Role.ANSWERER, 1, NOW)

    def test_sides_are_rung(self) -> None:
        """Both sides can wait for the other by code, and no peer is rung."""
        session = self.open()
        self.sessions.add_candidate(A, session.id, Role.OFFERER, 1, NOW)
        self.sessions.answer(A, session.id, Role.ANSWERER, "a", NOW)
        self.assertEqual(
            self.notified, [OfferSide(A, session.id, Role.ANSWERER), OfferSide(A, session.id, Role.OFFERER)]
        )

    def test_listing_is_newest_first_and_unanswered(self) -> None:
        """A topic shows the sessions of this Origin that wait for an answer."""
        for number in range(3):
            self.open(code=str(number), now=NOW + number)
        self.open(B, code="theirs")
        self.sessions.answer(A, "1", Role.ANSWERER, "a", NOW + 3)
        self.assertEqual(self.codes(A, NOW + 3), ["2", "0"])
        self.assertEqual(self.codes(B, NOW + 3), ["theirs"])
        self.assertEqual(self.sessions.in_topic(A, "other", NOW + 3).items, ())

    def test_topic_length_in_look_up(self) -> None:
        """A topic that no session could have is malformed when it is looked up, too."""
        self.assertEqual(self.sessions.in_topic(A, "x" * 256, NOW).items, ())
        self.assertRaises(Malformed, self.sessions.in_topic, A, "x" * 257, NOW)
        self.assertRaises(Malformed, self.sessions.in_topic, A, "\ud800", NOW)

    def test_listing_is_bounded(self) -> None:
        """A topic shows no more than the maximum of a page, the newest."""
        sessions = Sessions(World(SignalingLimits(session_page_max=2)).table, lambda: "unused")
        for code in "abc":
            sessions.open(A, "room", "", "o", code, NOW)
        self.assertEqual([each.offer.id for each in sessions.in_topic(A, "room", NOW).items], ["c", "b"])

    def test_topics_by_name_with_counts(self) -> None:
        """Counts are of unanswered sessions, also several of one caller; pages follow the names."""
        for topic, code in (("b", "1"), ("a", "2"), ("b", "3"), ("c", "4")):
            self.open(topic=topic, code=code)
        self.open(B, topic="z")
        self.sessions.answer(A, "4", Role.ANSWERER, "a", NOW)
        self.assertEqual(self.topics(9, 0), ([("a", 1), ("b", 2)], 2))
        self.assertEqual(self.topics(1, 1), ([("b", 2)], 2))
        self.assertEqual(self.signaling.count(A, "b", NOW), 2)

    def test_made_up_origins_leave_nothing(self) -> None:
        """A namespace goes with its last session, and asking for one does not make it."""
        for number in range(8):
            self.open(f"https://{number}.example")
        self.sessions.topics("https://other.example", 9, 0, NOW)
        self.signaling.expire(NOW + 300)
        self.assertEqual((len(self.signaling), len(self.signaling.table.catalogue._namespaces)), (0, 0))

    def test_offers_and_sessions_do_not_meet(self) -> None:
        """The same id in both dialects names two things, and neither lists the other."""
        publish(self.signaling, "p", "same", "room")
        self.open(code="same")
        self.assertEqual(self.signaling.find(OFFERS, "same", NOW).owner, "p")
        self.assertEqual(self.sessions.find(A, "same", NOW).offer.info, "me")
        self.assertEqual(self.signaling.topics(OFFERS, 9, 0, "", NOW), ([("room", 1)], 1))
        self.assertEqual(self.signaling.count(OFFERS, "room", NOW), 1)
