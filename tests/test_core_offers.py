"""What may become an offer or a candidate: every limit at, below and above."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.signaling.encoded import string
from rendezvous.core.signaling.entries import Entry
from rendezvous.core.signaling.offers import Candidate, Role
from rendezvous.core.signaling.specs import OfferSpec, candidates_json, characters, offer_id, sdp_json
from rendezvous.errors import Malformed
from rendezvous.limits import SignalingLimits
from tests.signaling_tables import LIMITS, offer, spec


class RefusalTestCase(SynchronousTestCase):
    """Assertions about refusals."""

    def refused(self, act: Callable[[], object], field: str, code: str) -> None:
        """The act is malformed, the message begins with the field, and the code is the stable one."""
        error = self.assertRaises(Malformed, act)
        self.assertEqual((error.message.split(" ", 1)[0], error.code), (field, code))


class OfferSpecTests(RefusalTestCase):
    """The limits of an offer."""

    def check(self, **fields: object) -> OfferSpec:
        """Check an offer that differs from a good one in the given fields."""
        values: dict[str, object] = {"sdp": "v=0", "topics": ["t"], **fields}
        return OfferSpec.check(LIMITS, "offers[2]", **values)  # type: ignore[arg-type]

    def test_defaults(self) -> None:
        """An offer needs a description and a topic, and nothing else."""
        made = self.check()
        self.assertEqual((made.ttl_ms, made.secret, made.info), (300_000, None, None))
        self.assertEqual(made.id, offer_id(b'"v=0"', ["t"]))

    def test_sdp_size_is_in_bytes(self) -> None:
        """64 KiB of UTF-8 are taken, one byte more is not, and none is not."""
        self.assertEqual(len(self.check(sdp="x" * 65_536).sdp), 65_538)
        self.assertEqual(len(self.check(sdp="\u00e9" * 32_768).sdp), 65_538)
        self.refused(lambda: self.check(sdp="x" * 65_537), "offers[2].sdp", "too-long")
        self.refused(lambda: self.check(sdp="\u00e9" * 32_768 + "x"), "offers[2].sdp", "too-long")
        self.refused(lambda: self.check(sdp=""), "offers[2].sdp", "empty")

    def test_topic_count(self) -> None:
        """One to twenty topics."""
        names = [str(number) for number in range(21)]
        self.assertEqual(len(self.check(topics=names[:1]).topics), 1)
        self.assertEqual(len(self.check(topics=names[:20]).topics), 20)
        self.refused(lambda: self.check(topics=names), "offers[2].topics", "too-long")
        self.refused(lambda: self.check(topics=[]), "offers[2].topics", "empty")

    def test_topic_length_is_in_characters(self) -> None:
        """One to 256 characters each, an emoji counting once; the error names the topic."""
        self.assertEqual(self.check(topics=["x", "\U0001f600" * 256]).topics[0], "x")
        self.refused(lambda: self.check(topics=["x", "x" * 257]), "offers[2].topics[1]", "too-long")
        self.refused(lambda: self.check(topics=["x", ""]), "offers[2].topics[1]", "empty")

    def test_repeated_topics_count_once(self) -> None:
        """A topic named twice is listed once; the derived id is of the topics as they were sent."""
        made = self.check(topics=["b", "a", "b"])
        self.assertEqual(made.topics, ("b", "a"))
        self.assertEqual(made.id, offer_id(b'"v=0"', ["a", "b", "b"]))

    def test_secret_and_info_length(self) -> None:
        """Up to 128 characters each."""
        for name in ("secret", "info"):
            for length in (1, 127, 128):
                self.assertEqual(getattr(self.check(**{name: "\u00e9" * length}), name), "\u00e9" * length)
            self.refused(partial(self.check, **{name: "x" * 129}), f"offers[2].{name}", "too-long")

    def test_empty_secret_is_none(self) -> None:
        """An empty secret protects nothing, so the offer has none; an empty info is kept."""
        made = self.check(secret="", info="")
        self.assertEqual((made.secret, made.info), (None, ""))

    def test_ttl_is_clamped(self) -> None:
        """Lifetimes below a minute or above an hour become the nearer bound."""
        cases = [(-1, 60_000), (0, 60_000), (59_999, 60_000), (60_000, 60_000), (60_001, 60_001)]
        cases += [(3_599_999, 3_599_999), (3_600_000, 3_600_000), (3_600_001, 3_600_000), (10**30, 3_600_000)]
        for asked, given_ms in cases:
            self.assertEqual(self.check(ttl_ms=asked).ttl_ms, given_ms)

    def test_own_id_length(self) -> None:
        """An own id has one to 256 characters."""
        for length in (1, 255, 256):
            self.assertEqual(self.check(id="x" * length).id, "x" * length)
        self.refused(lambda: self.check(id="x" * 257), "offers[2].id", "too-long")
        self.refused(lambda: self.check(id=""), "offers[2].id", "empty")

    def test_own_id_is_one_path_segment(self) -> None:
        """Dots alone, slashes, control characters and the name of a route are refused; other text is taken."""
        for good in ("...", "a.b", "mine", "50%", "a b?#", "\u00e9\U0001f600"):
            self.assertEqual(self.check(id=good).id, good)
        for bad in (".", "..", "by-topic", "a/b", "a\\b", "a\nb", "\x00", "\x7f"):
            self.refused(partial(self.check, id=bad), "offers[2].id", "malformed")

    def test_half_surrogates_are_malformed(self) -> None:
        """JSON can spell half of a surrogate pair; no field takes it."""
        for name in ("sdp", "secret", "info", "id"):
            self.refused(partial(self.check, **{name: "a\ud800"}), f"offers[2].{name}", "malformed")
        self.refused(lambda: self.check(topics=["\udc00"]), "offers[2].topics[0]", "malformed")

    def test_limits_are_options(self) -> None:
        """Other limits than the defaults are obeyed."""
        limits = SignalingLimits(sdp_size=3, topic_chars=1, topics_per_offer=1, ttl_max_ms=70_000)
        self.assertEqual(spec("abc", "t", limits=limits, ttl_ms=80_000).ttl_ms, 70_000)
        self.assertRaises(Malformed, spec, "abcd", "t", limits=limits)
        self.assertRaises(Malformed, spec, "abc", "tt", limits=limits)
        self.assertRaises(Malformed, spec, "abc", "t", "u", limits=limits)


class OfferIdTests(SynchronousTestCase):
    """The id of an offer that names none."""

    def test_id_is_the_hash_of_compact_json(self) -> None:
        """The hashed text is what JSON.stringify prints: keys in order, topics sorted, nothing but quotes escaped."""
        text = '{"sdp":"v=0\\r\\n\u00e9\\"/\\\\\\u0001\x7f\u2028","topics":["a","\u00e9"]}'
        self.assertEqual(
            offer_id(string('v=0\r\n\u00e9"/\\\x01\x7f\u2028'), ["\u00e9", "a"]),
            hashlib.sha256(text.encode()).hexdigest(),
        )

    def test_topics_are_sorted_by_code_unit(self) -> None:
        """U+1F600 begins with the unit d83d, so JavaScript sorts it before U+FF41, though its code point is greater."""
        text = '{"sdp":"x","topics":["\U0001f600","\uff41"]}'
        for topics in (["\uff41", "\U0001f600"], ["\U0001f600", "\uff41"]):
            self.assertEqual(offer_id(b'"x"', topics), hashlib.sha256(text.encode()).hexdigest())


class CandidateTextTests(RefusalTestCase):
    """The limits of candidates."""

    def check(self, *values: object) -> list[bytes]:
        """Check the candidates of one request."""
        return candidates_json(values, LIMITS)

    def test_any_json_is_kept(self) -> None:
        """Objects, lists, strings, numbers, booleans and null come back as they were."""
        values = [{"candidate": "\u00e9", "sdpMLineIndex": 0, "x": None}, [1, 1.0, -0.5], "", True, None, 10**20]
        self.assertEqual([json.loads(text) for text in self.check(*values)], values)
        self.assertEqual(self.check({"a": [1, "\u00e9"]}), ['{"a":[1,"\u00e9"]}'.encode()])

    @given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda each: st.lists(each, max_size=3)))
    def test_any_json_round_trips_or_is_malformed(self, value: object) -> None:
        """What is taken reads back as the same value."""
        try:
            texts = self.check(value)
        except Malformed:
            return
        self.assertEqual(json.loads(texts[0]), value)

    def test_candidate_size_is_of_its_json(self) -> None:
        """4 KiB of compact JSON are taken, one byte more is not; the two quotes count."""
        self.assertEqual(len(self.check("x" * 4093)[0]), 4095)
        self.assertEqual(len(self.check("x" * 4094)[0]), 4096)
        self.refused(lambda: self.check(1, "x" * 4095), "candidates[1]", "too-long")
        self.refused(lambda: self.check("\u00e9" * 2048), "candidates[0]", "too-long")

    def test_candidates_per_request(self) -> None:
        """One to fifty."""
        for count in (1, 49, 50):
            self.assertEqual(len(self.check(*range(count))), count)
        self.refused(lambda: self.check(*range(51)), "candidates", "too-long")
        self.refused(self.check, "candidates", "empty")

    def test_what_only_python_reads_is_malformed(self) -> None:
        """NaN, infinity, endless digits, nesting that cannot be written, and half surrogates are refused."""
        deep: object = []
        for _ in range(100_000):
            deep = [deep]
        for value in (float("nan"), float("inf"), 10**5000, deep, "\ud800", {"\udc00": 1}):
            self.refused(partial(self.check, value), "candidates[0]", "malformed")


class TextTests(RefusalTestCase):
    """The checks that both dialects share."""

    def test_least_length(self) -> None:
        """A text may be empty only where that is allowed."""
        self.assertEqual(characters("", "info", 3, least=0), "")
        self.refused(lambda: characters("", "info", 3), "info", "empty")

    def test_description_becomes_a_json_string(self) -> None:
        """A good description comes back as what a listing shows."""
        self.assertEqual(sdp_json('v=0\n"\u00e9', "sdp", LIMITS), '"v=0\\n\\"\u00e9"'.encode())


class OfferTests(SynchronousTestCase):
    """The record of an offer."""

    def test_roles(self) -> None:
        """Each side has the other across."""
        self.assertEqual([role.other for role in Role], [Role.ANSWERER, Role.OFFERER])
        self.assertEqual([str(role) for role in Role], ["offerer", "answerer"])

    def test_offer_without_candidates_holds_no_lists(self) -> None:
        """Empty lists would cost every offer 112 bytes; there are none until a candidate comes."""
        record = Entry(offer("1", "p", "t"))
        self.assertEqual([record.candidates(role) for role in Role], [(), ()])
        self.assertFalse(hasattr(record, "__dict__"))
        self.assertFalse(hasattr(record, "__weakref__"))
        self.assertEqual(record.last_candidate_at(), -1)

    def test_candidates_since(self) -> None:
        """Only candidates strictly after the moment are given."""
        record = Entry(offer("1", "p", "t"))
        sent = [Candidate(b"1", "p", Role.OFFERER, at, at) for at in (5, 7, 8)]
        for each in sent:
            record.attach(each)
        self.assertEqual(
            [len(record.candidates_since(Role.OFFERER, at)) for at in (4, 5, 6, 7, 8, 9)], [3, 2, 2, 1, 0, 0]
        )
        self.assertEqual(record.candidates_since(Role.ANSWERER, 0), ())
        self.assertEqual(record.last_candidate_at(), 8)
