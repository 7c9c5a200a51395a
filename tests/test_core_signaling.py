"""The signaling: publication, discovery, answers and ends."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.notes import Removed
from rendezvous.core.signaling.bloom import Bloom
from rendezvous.core.signaling.events import EventKind, EventLogged
from rendezvous.core.signaling.offers import OFFERS, Offer, OfferChanged, Role
from rendezvous.errors import Conflict, Forbidden, Full, Malformed, NotFound, TooMany
from rendezvous.limits import SignalingLimits
from tests.signaling_tables import LIMITS, NOW, NOW_MS, World, count_calls, ids, publish, spec


class PublishTests(SynchronousTestCase):
    """Publishing and refreshing offers."""

    def setUp(self) -> None:
        """Make an empty signaling that keeps its notes."""
        self.notes: list[object] = []
        self.signaling = World(LIMITS, note=self.notes.append)

    def test_published_offer(self) -> None:
        """An offer carries what was asked for, and its times in ms."""
        made = self.signaling.publish("p", [spec("v=0", "a", "b", ttl_ms=60_000, secret="s", info="i", id="x")], NOW)[0]
        self.assertEqual((made.id, made.namespace, made.owner, made.topics), ("x", "", "p", ("a", "b")))
        self.assertEqual((made.sdp, made.secret, made.info, made.answer), (b'"v=0"', "s", "i", None))
        self.assertEqual((made.created_at, made.expires_at, made.last_seen), (NOW_MS, NOW_MS + 60_000, NOW_MS))
        self.assertEqual(self.notes, [made])

    def test_publish_is_all_or_none(self) -> None:
        """When one offer of a request is refused, no other is there, and nothing is noted."""
        publish(self.signaling, "q", "taken")
        del self.notes[:]
        specs = [spec("1", id="free"), spec("2", id="taken")]
        error = self.assertRaises(Conflict, self.signaling.publish, "p", specs, NOW)
        self.assertEqual((error.code, error.message), ("id-taken", "offers[1].id is taken by another peer."))
        self.assertEqual((self.signaling.mine("p", NOW), len(self.signaling), self.notes), ([], 1, []))

    def test_offers_per_request(self) -> None:
        """One to ten offers."""
        specs = [spec(str(number)) for number in range(11)]
        for count in (1, 9, 10):
            self.assertEqual(len(self.signaling.publish("p", specs[:count], NOW)), count)
        self.assertEqual(self.assertRaises(Malformed, self.signaling.publish, "p", specs, NOW).code, "too-long")
        self.assertEqual(self.assertRaises(Malformed, self.signaling.publish, "p", [], NOW).code, "empty")

    def test_same_offer_twice_in_a_request_is_malformed(self) -> None:
        """Two offers of a request cannot have one id."""
        error = self.assertRaises(Malformed, self.signaling.publish, "p", [spec("1"), spec("2"), spec("1")], NOW)
        self.assertEqual((error.code, error.message), ("duplicate", "offers[2] is the same as offers[0]."))
        self.assertEqual(len(self.signaling), 0)

    def test_offers_per_peer(self) -> None:
        """A peer may fill its share; one more is refused, a refresh is not, and another peer is not concerned."""
        signaling = World(SignalingLimits(offers_per_peer=3))
        signaling.publish("p", [spec("1"), spec("2")], NOW)
        self.assertRaises(TooMany, signaling.publish, "p", [spec("3"), spec("4")], NOW)
        self.assertEqual(len(signaling), 2)
        signaling.publish("p", [spec("3")], NOW)
        self.assertRaises(TooMany, signaling.publish, "p", [spec("4")], NOW)
        self.assertEqual(len(signaling.publish("p", [spec("1"), spec("3")], NOW)), 2)
        self.assertEqual(len(signaling.publish("q", [spec("5"), spec("6"), spec("7")], NOW)), 3)

    def test_full_board(self) -> None:
        """The signaling takes its bound and no more, refreshes nevertheless, and has room again when something ends."""
        signaling = World(LIMITS, max_offers=2)
        signaling.publish("p", [spec("1", ttl_ms=60_000)], NOW)
        self.assertRaises(Full, signaling.publish, "q", [spec("2"), spec("3")], NOW)
        signaling.publish("q", [spec("2")], NOW)
        self.assertRaises(Full, signaling.publish, "q", [spec("3")], NOW)
        signaling.publish("q", [spec("2")], NOW)
        self.assertRaises(Full, signaling.publish, "q", [spec("3")], NOW + 59.999)
        self.assertEqual(len(signaling.publish("q", [spec("3")], NOW + 60)), 1)

    def test_refresh_begins_the_lifetime_again(self) -> None:
        """The same offer again keeps its creation and candidates; lifetime, secret and info are the new ones."""
        self.signaling.publish("p", [spec("v=0", ttl_ms=60_000, secret="old")], NOW)
        kept = self.signaling.mine("p", NOW)[0]
        self.signaling.add_candidates(OFFERS, kept.id, "p", [1], NOW)
        again = self.signaling.publish("p", [spec("v=0", ttl_ms=70_000, info="new")], NOW + 10)[0]
        self.assertEqual(again.id, kept.id)
        self.assertEqual((again.created_at, again.last_seen), (NOW_MS, NOW_MS + 10_000))
        self.assertEqual((again.expires_at, again.secret, again.info), (NOW_MS + 80_000, None, "new"))
        self.assertEqual([each.created_at for each in self.signaling.sent(again.id, Role.OFFERER)], [NOW_MS])
        changed = self.notes[-1]
        assert isinstance(changed, OfferChanged)
        self.assertIs(changed.offer, again)
        self.assertEqual(self.signaling.expire(NOW + 79.999), 0)
        self.assertEqual(self.signaling.expire(NOW + 80), 1)

    def test_refresh_may_move_topics(self) -> None:
        """An own id published again with other topics is found under those only."""
        self.signaling.publish("p", [spec("v=0", "a", id="x")], NOW)
        self.signaling.publish("p", [spec("v=0", "b", id="x")], NOW)
        self.assertEqual(self.signaling.topics(OFFERS, 10, 0, "", NOW), ([("b", 1)], 1))

    def test_another_description_replaces(self) -> None:
        """An own id with another description is a new offer: the old one's candidates do not belong to it."""
        old = self.signaling.publish("p", [spec("old", id="x")], NOW)[0]
        self.signaling.add_candidates(OFFERS, "x", "p", [1], NOW)
        del self.notes[:]
        new = self.signaling.publish("p", [spec("new", id="x")], NOW + 1)[0]
        self.assertEqual(
            (new.sdp, new.created_at, self.signaling.sent("x", Role.OFFERER)), (b'"new"', NOW_MS + 1000, [])
        )
        self.assertEqual(self.notes, [Removed(old), new])
        self.assertEqual(ids(list(self.signaling)), ["x"])

    def test_answered_offer_cannot_be_refreshed(self) -> None:
        """An answered offer stays as it is until it ends; then its id is free."""
        offer = publish(self.signaling, "p", "x")
        self.signaling.answer(OFFERS, "x", "q", "v=1", None, NOW)
        error = self.assertRaises(Conflict, publish, self.signaling, "p", "x")
        self.assertEqual(error.code, "already-answered")
        self.signaling.withdraw("p", "x", NOW)
        self.assertIsNot(publish(self.signaling, "p", "x"), offer)


class OwnerTests(SynchronousTestCase):
    """What an owner sees and does."""

    def setUp(self) -> None:
        """Publish two offers of one peer and one of another."""
        self.signaling = World(LIMITS)
        for number, (owner, id) in enumerate([("p", "1"), ("p", "2"), ("q", "3")]):
            publish(self.signaling, owner, id, now=NOW + number)

    def test_own_offers_are_most_recently_seen_first(self) -> None:
        """Answered ones are among the owner's, and not among what others see."""
        self.signaling.answer(OFFERS, "2", "q", "v=1", None, NOW + 3)
        self.assertEqual(ids(self.signaling.mine("p", NOW + 3)), ["2", "1"])
        self.assertEqual(ids(self.signaling.of_peer("p", NOW + 3)), ["1"])
        self.signaling.heartbeat("p", "1", NOW + 4)
        self.assertEqual(ids(self.signaling.mine("p", NOW + 4)), ["1", "2"])

    def test_unknown_peer_has_nothing(self) -> None:
        """A peer without offers has empty lists."""
        self.assertEqual(
            (self.signaling.mine("z", NOW), self.signaling.of_peer("z", NOW), self.signaling.answers("z", NOW)),
            ([], [], []),
        )

    def test_heartbeat_moves_to_the_front(self) -> None:
        """An offer that was seen again leads its topic; its lifetime is as before."""
        before = self.signaling.find(OFFERS, "1", NOW).expires_at
        self.assertEqual(ids(self.signaling.by_topic(OFFERS, "t", 9, None, NOW + 3)[0]), ["3", "2", "1"])
        seen = self.signaling.heartbeat("p", "1", NOW + 3)
        self.assertEqual((seen.last_seen, seen.expires_at), (NOW_MS + 3000, before))
        self.assertEqual(ids(self.signaling.by_topic(OFFERS, "t", 9, None, NOW + 3)[0]), ["1", "3", "2"])

    def test_heartbeat_of_an_answered_offer(self) -> None:
        """It is taken, and does not list the offer again."""
        self.signaling.answer(OFFERS, "1", "q", "v=1", None, NOW + 3)
        self.assertEqual(self.signaling.heartbeat("p", "1", NOW + 4).last_seen, NOW_MS + 4000)
        self.assertEqual(ids(self.signaling.by_topic(OFFERS, "t", 9, None, NOW + 4)[0]), ["3", "2"])

    def test_clock_that_steps_back_keeps_the_order(self) -> None:
        """The peer that was seen last stays first, with a time no earlier than the others'."""
        self.signaling.heartbeat("p", "1", NOW - 3600)
        page = self.signaling.by_topic(OFFERS, "t", 9, None, NOW)[0]
        self.assertEqual(ids(page), ["1", "3", "2"])
        self.assertEqual([offer.last_seen for offer in page], sorted((offer.last_seen for offer in page), reverse=True))

    def test_only_the_owner_refreshes_and_withdraws(self) -> None:
        """Another peer is forbidden; an unknown id is not found."""
        for verb in (self.signaling.heartbeat, self.signaling.withdraw):
            self.assertEqual(self.assertRaises(Forbidden, verb, "q", "1", NOW).code, "not-owner")
            self.assertRaises(NotFound, verb, "p", "unknown", NOW)

    def test_withdrawn_offer_is_gone_at_once(self) -> None:
        """It is in no listing, and no peer can find or answer it."""
        self.signaling.withdraw("p", "1", NOW)
        self.assertEqual(ids(self.signaling.mine("p", NOW)), ["2"])
        self.assertEqual(self.signaling.count(OFFERS, "t", NOW), 2)
        self.assertRaises(NotFound, self.signaling.answer, OFFERS, "1", "q", "v=1", None, NOW)
        self.assertRaises(NotFound, self.signaling.withdraw, "p", "1", NOW)

    def test_answers_are_in_the_order_they_came(self) -> None:
        """The earliest answer is first, also within one ms; offers without answer are not listed."""
        publish(self.signaling, "p", "4")
        for id in ("2", "1"):
            self.signaling.answer(OFFERS, id, "q", "v=1", None, NOW + 3)
        self.assertEqual(ids([offer for offer, _ in self.signaling.answers("p", NOW + 3)]), ["2", "1"])

    def test_departed_peer_leaves_its_answers(self) -> None:
        """Logging out ends a peer's offers; what it has answered is the other's and stays."""
        self.signaling.answer(OFFERS, "3", "p", "v=1", None, NOW + 3)
        self.assertEqual(self.signaling.end_peer("p", NOW + 3), 2)
        self.assertEqual(ids(list(self.signaling)), ["3"])
        self.assertEqual(ids([offer for offer, _ in self.signaling.answers("q", NOW + 3)]), ["3"])
        self.assertEqual(self.signaling.end_peer("p", NOW + 3), 0)


class DiscoveryTests(SynchronousTestCase):
    """Finding offers by topic."""

    def setUp(self) -> None:
        """Publish five offers by as many peers."""
        self.signaling = World(SignalingLimits(bloom_scan=4))
        for number in range(5):
            publish(self.signaling, f"p{number}", str(number), now=NOW + number)

    def test_page_and_total(self) -> None:
        """The page holds the most recently seen; the total counts all."""
        page, total = self.signaling.by_topic(OFFERS, "t", 2, None, NOW + 5)
        self.assertEqual((ids(page), total), (["4", "3"], 5))
        self.assertEqual(self.signaling.by_topic(OFFERS, "unknown", 2, None, NOW + 5), ([], 0))
        self.assertEqual(self.signaling.by_topic("https://unknown.example", "t", 2, None, NOW + 5), ([], 0))

    def test_bloom_leaves_out_but_counts(self) -> None:
        """Peers in the filter are not on the page; the total is as without."""
        bloom = Bloom(b"\xff")
        self.assertEqual(self.signaling.by_topic(OFFERS, "t", 2, bloom, NOW + 5), ([], 5))
        page, total = self.signaling.by_topic(OFFERS, "t", 2, Bloom(b"\x00"), NOW + 5)
        self.assertEqual((ids(page), total), (["4", "3"], 5))

    def test_filtered_walk_is_bounded(self) -> None:
        """With a filter only so many offers are looked at, without one as many as the page wants."""
        self.assertEqual(ids(self.signaling.by_topic(OFFERS, "t", 9, Bloom(b"\x00"), NOW + 5)[0]), ["4", "3", "2", "1"])
        self.assertEqual(len(self.signaling.by_topic(OFFERS, "t", 9, None, NOW + 5)[0]), 5)

    def test_topic_that_cannot_be_is_malformed(self) -> None:
        """A topic to look up has 1 to 256 characters, like one to publish under; an emoji is one."""
        publish(self.signaling, "p", "a", "🎈" * 256, now=NOW + 5)
        for topic, total in (("t", 5), ("🎈" * 255, 0), ("🎈" * 256, 1)):
            self.assertEqual(self.signaling.by_topic(OFFERS, topic, 10, None, NOW + 5)[1], total)
        for topic, code in (("", "empty"), ("🎈" * 257, "too-long")):
            self.assertEqual(
                self.assertRaises(Malformed, self.signaling.by_topic, OFFERS, topic, 10, None, NOW).code, code
            )

    def test_answered_offers_leave_the_topic(self) -> None:
        """Only what can still be answered is listed and counted."""
        self.signaling.answer(OFFERS, "4", "p0", "v=1", None, NOW + 5)
        page, total = self.signaling.by_topic(OFFERS, "t", 2, None, NOW + 5)
        self.assertEqual((ids(page), total), (["3", "2"], 4))
        self.assertEqual(self.signaling.topics(OFFERS, 9, 0, "", NOW + 5), ([("t", 4)], 1))


class AnswerTests(SynchronousTestCase):
    """Answering, and the races around it."""

    def setUp(self) -> None:
        """Publish an open offer and one with a secret."""
        self.notes: list[object] = []
        self.signaling = World(LIMITS, note=self.notes.append)
        self.signaling.publish("p", [spec("open", id="open"), spec("shut", id="shut", secret="s\u00e9same")], NOW)

    def answer(self, id: str, peer: str = "q", secret: str | None = None, now: float = NOW) -> Offer:
        """Answer an offer and give it back."""
        self.signaling.answer(OFFERS, id, peer, "v=1", secret, now)
        return self.signaling.find(OFFERS, id, now)

    def test_answer_is_kept(self) -> None:
        """The answer names the peer, the description and the moment, and is noted with its offer."""
        offer = self.answer("open", now=NOW + 1.5)
        assert offer.answer is not None
        self.assertEqual(
            (offer.answer.answerer, offer.answer.sdp, offer.answer.answered_at), ("q", b'"v=1"', NOW_MS + 1500)
        )
        self.assertIn(OfferChanged(offer, ("answer",)), self.notes)

    def test_first_of_two_answerers_wins(self) -> None:
        """The second gets a conflict, and the first answer stands."""
        offer = self.answer("open")
        self.assertEqual(self.assertRaises(Conflict, self.answer, "open", "r").code, "already-answered")
        self.assertEqual(self.assertRaises(Conflict, self.answer, "open", "q").code, "already-answered")
        self.assertEqual(offer.peer(Role.ANSWERER), "q")

    def test_offer_that_expires_between_look_up_and_answer(self) -> None:
        """A peer that saw it a moment ago cannot answer it any more; in the ms before, it could."""
        offer = publish(self.signaling, "p", "brief", ttl_ms=60_000)
        self.assertIn(offer, self.signaling.by_topic(OFFERS, "t", 9, None, NOW + 59.999)[0])
        self.assertRaises(NotFound, self.answer, "brief", now=NOW + 60)
        self.assertIsNone(offer.answer)
        publish(self.signaling, "p", "brief", ttl_ms=60_000)
        self.assertIsNotNone(self.answer("brief", now=NOW + 59.999).answer)

    def test_own_offer_is_a_conflict(self) -> None:
        """A peer does not talk to itself, whether or not it gives the secret."""
        for id in ("open", "shut"):
            self.assertEqual(self.assertRaises(Conflict, self.answer, id, "p").code, "own-offer")

    def test_wrong_secret_is_forbidden(self) -> None:
        """Missing, empty, other and half-surrogate secrets are all refused in the same way; the right one opens."""
        for secret in (None, "", "sesame", "s\u00e9same ", "\ud800"):
            self.assertEqual(self.assertRaises(Forbidden, self.answer, "shut", "q", secret).code, "wrong-secret")
        self.assertIsNotNone(self.answer("shut", "q", "s\u00e9same").answer)

    def test_answered_is_told_only_to_those_who_know_the_secret(self) -> None:
        """A stranger learns no more about a protected offer than before its answer."""
        self.answer("shut", "q", "s\u00e9same")
        self.assertRaises(Forbidden, self.answer, "shut", "r", "guess")
        self.assertRaises(Conflict, self.answer, "shut", "r", "s\u00e9same")

    def test_needless_secret_is_ignored(self) -> None:
        """An offer without secret is open to those who give one."""
        self.assertIsNotNone(self.answer("open", "q", "anything").answer)

    def test_description_is_checked_first(self) -> None:
        """An answer over the limit is malformed and changes nothing."""
        for sdp, code in (("", "empty"), ("x" * 65_537, "too-long"), ("\ud800", "malformed")):
            error = self.assertRaises(Malformed, self.signaling.answer, OFFERS, "open", "q", sdp, None, NOW)
            self.assertEqual(error.code, code)
        self.assertIsNone(self.signaling.find(OFFERS, "open", NOW).answer)
        self.signaling.answer(OFFERS, "open", "q", "x" * 65_536, None, NOW)

    def test_unknown_offer_is_not_found(self) -> None:
        """Neither is one in another namespace."""
        self.assertRaises(NotFound, self.answer, "unknown")
        self.assertRaises(NotFound, self.signaling.answer, "https://a.example", "open", "q", "v=1", None, NOW)


class ExpiryTests(SynchronousTestCase):
    """Ends that come with time."""

    def test_no_verb_shows_what_has_expired(self) -> None:
        """At its moment an offer is gone from every view, with no sweep before."""
        for own in (World.mine, World.of_peer):
            signaling = World(LIMITS)
            publish(signaling, "p", "x", ttl_ms=60_000)
            self.assertEqual(len(own(signaling, "p", NOW + 59.999)), 1)
            self.assertEqual(len(own(signaling, "p", NOW + 60)), 0)
        for view in (
            lambda signaling, now: signaling.by_topic(OFFERS, "t", 9, None, now)[0],
            lambda signaling, now: signaling.topics(OFFERS, 9, 0, "", now)[0],
            lambda signaling, now: signaling.topics_by_name(OFFERS, 9, 0, now)[0],
        ):
            signaling = World(LIMITS)
            publish(signaling, "p", "x", ttl_ms=60_000)
            self.assertEqual(len(view(signaling, NOW + 59.999)), 1)
            self.assertEqual(len(view(signaling, NOW + 60)), 0)
            self.assertEqual(len(signaling), 0)

    def test_expired_offers_are_noted_in_order(self) -> None:
        """Each end and what its owner is told of it, once, the earliest first; the sweep says how many there were."""
        notes: list[object] = []
        signaling = World(LIMITS, note=notes.append)
        late = publish(signaling, "p", "late", ttl_ms=70_000)
        early = publish(signaling, "p", "early", ttl_ms=60_000)
        del notes[:]
        self.assertEqual([signaling.expire(NOW + after) for after in (59, 80, 81)], [0, 2, 0])
        told = [note for note in notes if isinstance(note, EventLogged)]
        self.assertEqual(notes, [Removed(early), told[0], Removed(late), told[1]])
        heard = [(note.peer, note.event.kind, note.event.offer_id) for note in told]
        self.assertEqual(heard, [("p", EventKind.EXPIRED, "early"), ("p", EventKind.EXPIRED, "late")])

    def test_costs_do_not_grow_with_what_is_stored(self) -> None:
        """Publishing, answering, adding candidates, listing and expiring cost the same among fifty times as many."""
        few, many = (self.costs(size) for size in (200, 10_000))
        for name, calls in many.items():
            self.assertLess(calls, few[name] * 1.3 + 20, name)

    def costs(self, size: int) -> dict[str, int]:
        """The calls of each verb on a signaling with so many offers in one topic and one of its own each."""
        signaling = World(LIMITS)
        for number in range(size):
            publish(signaling, f"p{number % 1000}", f"n{number}", "t", f"t{number}")
        for number in range(5):
            publish(signaling, "brief", f"b{number}", ttl_ms=60_000)
        return {
            "publish": count_calls(lambda: publish(signaling, "q", "x")),
            "by_topic": count_calls(lambda: signaling.by_topic(OFFERS, "t", 50, None, NOW)),
            "topics": count_calls(lambda: signaling.topics(OFFERS, 50, 20, "", NOW)),
            "heartbeat": count_calls(lambda: signaling.heartbeat("q", "x", NOW)),
            "answer": count_calls(lambda: signaling.answer(OFFERS, "x", "r", "v=1", None, NOW)),
            "candidates": count_calls(lambda: signaling.add_candidates(OFFERS, "x", "r", [1], NOW)),
            "expire": count_calls(lambda: signaling.expire(NOW + 60)),
        }
