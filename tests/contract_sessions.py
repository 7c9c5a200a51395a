"""What every store must do: sessions, each within its Origin."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from rendezvous.core.notes import OfferSide
from rendezvous.core.signaling.offers import Offer, Role
from rendezvous.errors import Conflict, Forbidden, Malformed, NotFound, TooMany
from rendezvous.limits import SignalingLimits
from tests._store_case import NOW, StoreCase
from tests.signaling_tables import NOW_MS

__all__ = ["SESSIONS"]

HERE, ELSEWHERE = "https://a.example", "https://b.example"


class SessionCase(StoreCase):
    """Sessions of a page."""

    def open_session(self, code: str | None = None, topic: str = "room", origin: str = HERE, now: float = NOW) -> Offer:
        """:returns: a session that was opened."""
        opened = self.done(self.store.open_session(origin, topic, "me", "v=0", code, now))
        return self.done(self.store.session(origin, opened, now)).offer

    def codes(self, origin: str, topic: str, now: float) -> list[str]:
        """:returns: the codes of the sessions in a topic."""
        return [each.offer.id for each in self.listed(self.store.sessions(origin, topic, now))]

    def found(self, code: str, now: float = NOW) -> Offer:
        """:returns: what a poll shows."""
        return self.done(self.store.session(HERE, code, now)).offer


class SessionContract(SessionCase):
    """The verbs of the sessions dialect."""

    def test_opened_session_is_found_by_its_code(self) -> None:
        """The store's own, a UUID, or the caller's."""
        session = self.open_session()
        self.assertRegex(session.id, r"\A[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")
        self.assertNotEqual(self.open_session().id, session.id)
        self.open_session("mine")
        for code in (session.id, "mine"):
            found = self.found(code)
            self.assertEqual((found.sdp, found.info, found.topics, found.answer), (b'"v=0"', "me", ("room",), None))
            self.assertEqual((found.created_at, found.expires_at), (NOW_MS, NOW_MS + 300_000))

    def test_session_that_may_not_be_is_refused(self) -> None:
        """A code that is taken, no Origin, a text out of its limits: and there is no more than before."""
        self.open_session("mine")
        wrong: list[tuple[tuple[str, str, str, str, str | None], str]] = [
            (("", "room", "me", "v=0", None), "origin-required"),
            ((HERE, "", "me", "v=0", None), "empty"),
            ((HERE, "room", "m" * 1025, "v=0", None), "too-long"),
            ((HERE, "room", "me", "", None), "empty"),
            ((HERE, "room", "me", "v=0", "c" * 257), "too-long"),
        ]
        self.assertEqual(
            self.refused(self.store.open_session(HERE, "room", "me", "v=0", "mine", NOW), Conflict).code, "code-taken"
        )
        for words, code in wrong:
            self.assertEqual(self.refused(self.store.open_session(*words, NOW), Malformed).code, code)
        self.assertEqual(self.codes(HERE, "room", NOW), ["mine"])

    def test_session_ends_after_its_lifetime(self) -> None:
        """The option's, to the moment."""
        self.store = self.opened(limits=SignalingLimits(session_lifetime=8.0))
        self.open_session("mine")
        self.assertEqual(self.found("mine", NOW + 7.999).id, "mine")
        self.refused(self.store.session(HERE, "mine", NOW + 8), NotFound)
        self.assertEqual(self.open_session("mine", now=NOW + 8).created_at, NOW_MS + 8000)

    def test_topics_list_what_is_unanswered(self) -> None:
        """The newest first, and by name with their counts."""
        for code, topic in (("1", "b"), ("2", "a"), ("3", "b"), ("4", "b")):
            self.open_session(code, topic)
        self.done(self.store.answer_session(HERE, "3", Role.ANSWERER, "v=1", NOW))
        self.assertEqual(self.codes(HERE, "b", NOW), ["4", "1"])
        self.assertEqual(self.counted(self.store.session_topics(HERE, 9, 0, NOW)), ([("a", 1), ("b", 2)], 2))
        self.assertEqual(self.counted(self.store.session_topics(HERE, 1, 1, NOW)), ([("b", 2)], 2))
        self.assertEqual(self.done(self.store.count_sessions(HERE, ["b", "none", "a"], NOW)), [2, 0, 1])
        self.refused(self.store.sessions(HERE, "t" * 257, NOW), Malformed)
        self.refused(self.store.session_topics("", 9, 0, NOW), Malformed)

    def test_origins_do_not_meet(self) -> None:
        """Neither in a listing nor by a code, which both may use."""
        self.open_session("mine")
        self.assertEqual(self.listed(self.store.sessions(ELSEWHERE, "room", NOW)), [])
        self.assertEqual(self.counted(self.store.session_topics(ELSEWHERE, 9, 0, NOW)), ([], 0))
        self.assertEqual(self.done(self.store.count_sessions(ELSEWHERE, ["room"], NOW)), [0])
        verbs: list[Coroutine[Any, Any, object]] = [
            self.store.session(ELSEWHERE, "mine", NOW),
            self.store.answer_session(ELSEWHERE, "mine", Role.ANSWERER, "v=1", NOW),
            self.store.add_session_candidate(ELSEWHERE, "mine", Role.OFFERER, 1, NOW),
            self.store.session(HERE, "unknown", NOW),
        ]
        self.assertEqual(len({self.refused(verb, NotFound).message for verb in verbs}), 1)
        self.open_session("mine", origin=ELSEWHERE)

    def test_first_answer_locks_the_session(self) -> None:
        """It must come from the answerer."""
        self.open_session("mine")
        self.assertEqual(
            self.refused(self.store.answer_session(HERE, "mine", Role.OFFERER, "v=1", NOW), Forbidden).code,
            "not-answerer",
        )
        self.refused(self.store.answer_session(HERE, "mine", Role.ANSWERER, "", NOW), Malformed)
        self.done(self.store.answer_session(HERE, "mine", Role.ANSWERER, "v=1", NOW))
        self.refused(self.store.answer_session(HERE, "mine", Role.ANSWERER, "v=2", NOW), Conflict)
        answer = self.found("mine").answer
        assert answer is not None
        self.assertEqual((answer.sdp, answer.answerer), (b'"v=1"', ""))

    def test_candidates_of_both_sides_are_kept_apart(self) -> None:
        """The answerer may send its own before its answer; each side is bounded."""
        self.store = self.opened(limits=SignalingLimits(candidates_per_side=2))
        self.open_session("mine")
        for side, value in ((Role.ANSWERER, 1), (Role.OFFERER, 2), (Role.ANSWERER, 3)):
            self.done(self.store.add_session_candidate(HERE, "mine", side, value, NOW))
        self.refused(self.store.add_session_candidate(HERE, "mine", Role.ANSWERER, 4, NOW), TooMany)
        self.refused(self.store.add_session_candidate(HERE, "mine", Role.OFFERER, "x" * 5000, NOW), Malformed)
        sent = {
            side: [each.payload for each in self.done(self.store.session(HERE, "mine", NOW)).candidates(side)]
            for side in Role
        }
        self.assertEqual(sent, {Role.OFFERER: [b"2"], Role.ANSWERER: [b"1", b"3"]})

    def test_either_side_can_be_waited_for(self) -> None:
        """An answer and a candidate wake the other side of a session."""
        self.open_session("mine")
        offerer = self.store.subscribe(OfferSide(HERE, "mine", Role.OFFERER)).changed()
        answerer = self.store.subscribe(OfferSide(HERE, "mine", Role.ANSWERER)).changed()
        self.done(self.store.add_session_candidate(HERE, "mine", Role.OFFERER, 1, NOW))
        self.assertIsNone(self.successResultOf(answerer))
        self.assertNoResult(offerer)
        self.done(self.store.answer_session(HERE, "mine", Role.ANSWERER, "v=1", NOW))
        self.assertIsNone(self.successResultOf(offerer))


SESSIONS = [SessionContract]
