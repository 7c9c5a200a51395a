"""What every store must do: offers, answers, candidates, and the events that peers get of them."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from rendezvous.core.notes import OfferSide, PeerEvents
from rendezvous.core.signaling.bloom import Bloom
from rendezvous.core.signaling.offers import Offer
from rendezvous.errors import (
    Conflict,
    Forbidden,
    Full,
    Malformed,
    NotFound,
    RendezvousError,
    TooMany,
    Unavailable,
)
from rendezvous.limits import SignalingLimits
from rendezvous.model import Swept
from rendezvous.storage.notifier import WAITING_PER_KEY
from tests._store_case import NOW, StoreCase
from tests.signaling_tables import NOW_MS, ids, spec

__all__ = ["OFFERS", "OfferCase"]

A, B = PeerEvents("a"), PeerEvents("b")


class OfferCase(StoreCase):
    """Offers of made-up peers: a store takes the word of its caller for who a peer is."""

    def publish(self, owner: str, id: str, *topics: str, now: float = NOW, **asked: Any) -> Offer:
        """:returns: an offer that was published under this id."""
        (offer,) = self.done(self.store.publish(owner, [spec(f"sdp of {id}", *topics, id=id, **asked)], now))
        return offer

    def reply(self, offer_id: str, peer: str, secret: str | None = None, now: float = NOW) -> None:
        """Answer an offer."""
        self.done(self.store.answer(offer_id, peer, f"answer of {peer}", secret, now))

    def trickle(self, offer_id: str, peer: str, *values: object, now: float = NOW) -> int:
        """:returns: how many candidates of a side were added."""
        return self.done(self.store.add_candidates(offer_id, peer, values, now))

    def read_of(self, offer_id: str, peer: str, since: int = -1, now: float = NOW) -> list[str]:
        """:returns: the payloads of the other side's candidates."""
        return [each.payload.decode() for each in self.listed(self.store.candidates(offer_id, peer, now, since))]

    def mine(self, owner: str, now: float = NOW) -> list[str]:
        """:returns: the ids of a peer's own offers."""
        return ids(self.listed(self.store.mine(owner, now)))

    def told(self, peer: str, seq: int | None, now: float = NOW) -> list[str]:
        """:returns: the kinds of a peer's events, of which none may be lost."""
        events = self.done(self.store.events_since(peer, seq, now))
        self.assertTrue(events.complete)
        return [str(event.kind) for event in events.events]

    def cursor(self, now: float = NOW) -> int:
        """:returns: the number after which a stream that begins now goes on."""
        return self.done(self.store.events_since("nobody", None, now)).cursor

    def refusals(self, *cases: tuple[Coroutine[Any, Any, object], type[RendezvousError], str]) -> None:
        """Assert that each of these verbs is refused, with this error and code."""
        for verb, kind, code in cases:
            self.assertEqual(self.refused(verb, kind).code, code)


class PublishContract(OfferCase):
    """Publishing, and the owner's view."""

    def test_published_offer_is_listed(self) -> None:
        """By its owner, by its peer and by each of its topics, with what was asked for."""
        published = self.publish("p", "x", "a", "b", ttl_ms=60_000, secret="s", info="i")
        self.assertEqual((published.id, published.topics, published.expires_at), ("x", ("a", "b"), NOW_MS + 60_000))
        [made] = self.listed(self.store.mine("p", NOW))
        self.assertEqual((made.id, made.owner, made.topics, made.secret, made.info), ("x", "p", ("a", "b"), "s", "i"))
        self.assertEqual((made.created_at, made.expires_at, made.last_seen), (NOW_MS, NOW_MS + 60_000, NOW_MS))
        self.assertEqual(self.mine("p"), ["x"])
        self.assertEqual(ids(self.listed(self.store.of_peer("p", NOW))), ["x"])
        for topic in ("a", "b"):
            page, total = self.counted(self.store.by_topic(topic, 9, None, NOW))
            self.assertEqual((ids(page), total), (["x"], 1))
        self.assertEqual(self.mine("q"), [])

    def test_offers_of_a_request_are_published_all_or_none(self) -> None:
        """One that is refused takes the others with it."""
        self.publish("q", "taken")
        self.refusals(
            (self.store.publish("p", [spec("1", id="free"), spec("2", id="taken")], NOW), Conflict, "id-taken"),
            (self.store.publish("p", [spec("1", id="free"), spec("2", id="free")], NOW), Malformed, "duplicate"),
            (self.store.publish("p", [], NOW), Malformed, "empty"),
        )
        self.assertEqual(self.mine("p"), [])

    def test_answered_offer_cannot_be_published_again(self) -> None:
        """It is locked."""
        self.publish("p", "x")
        self.reply("x", "q")
        self.refusals((self.store.publish("p", [spec(id="x")], NOW), Conflict, "already-answered"))

    def test_offers_of_a_peer_are_bounded(self) -> None:
        """At the limit there is room for a refresh, and for others; beyond it for nothing."""
        self.store = self.opened(limits=SignalingLimits(offers_per_peer=2))
        self.publish("p", "1")
        self.publish("p", "2")
        self.refusals((self.store.publish("p", [spec(id="3")], NOW), TooMany, "too-many"))
        self.publish("p", "2")
        self.publish("q", "3")

    def test_offers_of_all_are_bounded(self) -> None:
        """Sessions among them; there is room again once one has ended."""
        self.store = self.opened(max_offers=2)
        self.publish("p", "1")
        self.done(self.store.open_session("https://a.example", "room", "", "v=0", None, NOW))
        self.refusals(
            (self.store.publish("q", [spec(id="2")], NOW), Full, "full"),
            (self.store.open_session("https://a.example", "room", "", "v=0", None, NOW), Full, "full"),
        )
        self.done(self.store.withdraw("p", "1", NOW))
        self.publish("q", "2")

    def test_refresh_gives_the_lifetime_anew(self) -> None:
        """To the same offer, with its candidates; another description is another offer."""
        self.publish("p", "x", ttl_ms=60_000)
        self.trickle("x", "p", 1)
        self.publish("p", "x", ttl_ms=60_000, now=NOW + 59)
        self.assertEqual(self.mine("p", NOW + 118), ["x"])
        self.reply("x", "q", now=NOW + 118)
        self.assertEqual(self.read_of("x", "q", now=NOW + 118), ["1"])
        self.publish("p", "y")
        self.trickle("y", "p", 1)
        self.done(self.store.publish("p", [spec("another", id="y")], NOW))
        self.reply("y", "q")
        self.assertEqual(self.read_of("y", "q"), [])

    def test_heartbeat_puts_an_offer_first(self) -> None:
        """And gives it no more time; strangers and unknown offers are refused."""
        self.publish("p", "x", ttl_ms=60_000)
        self.publish("p", "y")
        self.assertEqual(self.mine("p"), ["y", "x"])
        seen = self.done(self.store.heartbeat("p", "x", NOW + 1))
        self.assertEqual((seen.id, seen.last_seen, seen.expires_at), ("x", NOW_MS + 1000, NOW_MS + 60_000))
        self.assertEqual(self.listed(self.store.mine("p", NOW + 1))[0].expires_at, NOW_MS + 60_000)
        self.assertEqual(self.mine("p"), ["x", "y"])
        self.refusals(
            (self.store.heartbeat("q", "x", NOW), Forbidden, "not-owner"),
            (self.store.heartbeat("p", "z", NOW), NotFound, "not-found"),
            (self.store.heartbeat("p", "x", NOW + 60), NotFound, "not-found"),
        )

    def test_withdrawn_offer_is_gone(self) -> None:
        """Only its owner can do that, and once."""
        self.publish("p", "x")
        self.refusals((self.store.withdraw("q", "x", NOW), Forbidden, "not-owner"))
        self.done(self.store.withdraw("p", "x", NOW))
        self.assertEqual(self.mine("p"), [])
        self.refusals((self.store.withdraw("p", "x", NOW), NotFound, "not-found"))

    def test_offers_end_with_their_owner(self) -> None:
        """A logout ends those of the client, and what it was told; what it answered stays."""
        client_id, _ = self.done(self.store.register(NOW))
        peer, start = client_id.hex(), self.cursor()
        self.publish(peer, "own")
        self.publish("q", "other")
        self.reply("own", "q")
        self.reply("other", peer)
        self.done(self.store.logout(client_id, NOW))
        self.assertEqual((self.mine(peer), self.mine("q")), ([], ["other"]))
        self.assertEqual((self.told(peer, start), self.told("q", start)), ([], ["answer", "withdrawn"]))

    def test_sweep_counts_offers_and_sessions(self) -> None:
        """At the moment at which they end, and once."""
        self.publish("p", "x", ttl_ms=60_000)
        self.done(self.store.open_session("https://a.example", "room", "", "v=0", None, NOW))
        swept = [self.done(self.store.sweep(NOW + since)) for since in (59.999, 60, 61, 299.999, 300, 301)]
        self.assertEqual([each.offers for each in swept], [0, 1, 0, 0, 1, 0])
        self.assertEqual(swept[1], Swept(offers=1))


class DiscoveryContract(OfferCase):
    """What anybody may see."""

    def test_topic_is_a_page_with_the_total(self) -> None:
        """The most recently seen first; those of known peers are left out and counted."""
        for n in range(4):
            self.publish(f"p{n}", f"x{n}", now=NOW + n)
        page, total = self.counted(self.store.by_topic("t", 2, None, NOW + 5))
        self.assertEqual((ids(page), total), (["x3", "x2"], 4))
        page, total = self.counted(self.store.by_topic("t", 2, Bloom(b"\xff"), NOW + 5))
        self.assertEqual((page, total), ([], 4))
        self.assertEqual(self.counted(self.store.by_topic("unknown", 2, None, NOW)), ([], 0))
        self.refusals((self.store.by_topic("t" * 257, 2, None, NOW), Malformed, "too-long"))

    def test_topics_are_a_page_with_the_total(self) -> None:
        """The most active first, then by name; a prefix counts only its own."""
        self.publish("p", "x", "b", "ab", "aa")
        self.publish("q", "y", "ab")
        self.assertEqual(self.counted(self.store.topics(2, 0, "", NOW)), ([("ab", 2), ("aa", 1)], 3))
        self.assertEqual(self.counted(self.store.topics(2, 2, "", NOW)), ([("b", 1)], 3))
        self.assertEqual(self.counted(self.store.topics(9, 0, "a", NOW)), ([("ab", 2), ("aa", 1)], 2))

    def test_answered_and_expired_offers_are_not_shown(self) -> None:
        """The owner sees the answered one still."""
        self.publish("p", "answered")
        self.publish("p", "short", ttl_ms=60_000)
        self.reply("answered", "q")
        for now, shown in ((NOW + 59.999, ["short"]), (NOW + 60, [])):
            self.assertEqual(ids(self.listed(self.store.of_peer("p", now))), shown)
            page, total = self.counted(self.store.by_topic("t", 9, None, now))
            self.assertEqual((ids(page), total), (shown, len(shown)))
            self.assertEqual(self.counted(self.store.topics(9, 0, "", now))[1], len(shown))
            self.assertEqual(self.mine("p", now), [*shown, "answered"])


class AnswerContract(OfferCase):
    """Answers and candidates."""

    def test_first_answer_locks_the_offer(self) -> None:
        """The owner gets it; the second is refused."""
        self.publish("p", "x")
        answer = self.done(self.store.answer("x", "q", "v=1", None, NOW))
        self.assertEqual((answer.answerer, answer.sdp, answer.answered_at), ("q", b'"v=1"', NOW_MS))
        self.refusals((self.store.answer("x", "r", "v=2", None, NOW), Conflict, "already-answered"))
        ((offer, got),) = self.listed(self.store.answers("p", NOW, -1))
        self.assertEqual((offer.id, got), ("x", answer))

    def test_answers_come_in_order_after_a_moment(self) -> None:
        """Strictly after it, so that nothing is read twice."""
        for name in ("x", "y", "z"):
            self.publish("p", name)
            self.reply(name, "q")
        found = self.listed(self.store.answers("p", NOW, -1))
        self.assertEqual([offer.id for offer, _ in found], ["x", "y", "z"])
        later = self.listed(self.store.answers("p", NOW, found[0][1].answered_at))
        self.assertEqual([offer.id for offer, _ in later], ["y", "z"])
        self.assertEqual(self.listed(self.store.answers("q", NOW, -1)), [])

    def test_answer_that_may_not_be_is_refused(self) -> None:
        """And leaves the offer to be answered by another peer."""
        self.publish("p", "x", secret="s", ttl_ms=60_000)
        self.refusals(
            (self.store.answer("y", "q", "v=1", None, NOW), NotFound, "not-found"),
            (self.store.answer("x", "q", "v=1", "s", NOW + 60), NotFound, "not-found"),
        )
        self.publish("p", "x", secret="s")
        self.refusals(
            (self.store.answer("x", "p", "v=1", "s", NOW), Conflict, "own-offer"),
            (self.store.answer("x", "q", "v=1", None, NOW), Forbidden, "wrong-secret"),
            (self.store.answer("x", "q", "v=1", "S", NOW), Forbidden, "wrong-secret"),
            (self.store.answer("x", "q", "", "s", NOW), Malformed, "empty"),
        )
        self.reply("x", "q", "s")

    def test_candidates_go_to_the_other_side(self) -> None:
        """In order, each once."""
        self.publish("p", "x")
        self.assertEqual(self.trickle("x", "p", {"a": 1}, "b"), 2)
        self.reply("x", "q")
        self.trickle("x", "q", None)
        self.trickle("x", "p", 3)
        self.assertEqual((self.read_of("x", "q"), self.read_of("x", "p")), (['{"a":1}', '"b"', "3"], ["null"]))
        first = self.listed(self.store.candidates("x", "q", NOW, -1))[0]
        self.assertEqual((first.peer, first.role, first.created_at), ("p", "offerer", NOW_MS))
        self.assertEqual(self.read_of("x", "q", first.created_at), ['"b"', "3"])

    def test_candidates_that_may_not_be_are_refused(self) -> None:
        """All of a request; neither strangers nor those who have not answered yet may read."""
        self.store = self.opened(limits=SignalingLimits(candidates_per_side=2))
        self.publish("p", "x")
        self.refusals(
            (self.store.add_candidates("x", "q", [1], NOW), Forbidden, "not-a-side"),
            (self.store.candidates("x", "q", NOW, -1), Forbidden, "not-a-side"),
            (self.store.add_candidates("y", "p", [1], NOW), NotFound, "not-found"),
            (self.store.candidates("y", "p", NOW, -1), NotFound, "not-found"),
            (self.store.add_candidates("x", "p", [], NOW), Malformed, "empty"),
            (self.store.add_candidates("x", "p", [1, "x" * 5000], NOW), Malformed, "too-long"),
            (self.store.add_candidates("x", "p", [1, 2, 3], NOW), TooMany, "too-many"),
        )
        self.trickle("x", "p", 1, 2)
        self.refusals((self.store.add_candidates("x", "p", [3], NOW), TooMany, "too-many"))
        self.reply("x", "q")
        self.assertEqual(self.read_of("x", "q"), ["1", "2"])


class EventContract(OfferCase):
    """Streams, and waiting."""

    def test_stream_gets_what_comes_after_its_number(self) -> None:
        """Each event once, with the number to go on from; one that begins now gets nothing old."""
        self.publish("p", "x")
        start = self.cursor()
        self.reply("x", "q")
        self.trickle("x", "q", 1)
        events = self.done(self.store.events_since("p", start, NOW))
        self.assertEqual([str(event.kind) for event in events.events], ["answer", "candidate"])
        self.assertEqual((events.complete, events.cursor), (True, events.events[-1].seq))
        self.assertEqual(self.told("p", events.events[0].seq), ["candidate"])
        self.assertEqual(self.told("p", events.cursor), [])
        self.assertEqual(self.told("p", None), [])
        self.assertEqual(self.done(self.store.events_since("q", start, NOW)).cursor, events.cursor)

    def test_end_is_an_event_for_those_it_concerns(self) -> None:
        """An expiry to both sides, a withdrawal to the one that did not do it."""
        start = self.cursor()
        for name in ("x", "y"):
            self.publish("p", name)
            self.reply(name, "q")
        self.done(self.store.withdraw("p", "y", NOW))
        self.assertEqual((self.told("p", start), self.told("q", start)), (["answer", "answer"], ["withdrawn"]))
        middle = self.cursor()
        for peer in ("p", "q"):
            self.assertEqual(self.told(peer, middle, NOW + 300), ["expired"])

    def test_lost_events_are_owned_up_to(self) -> None:
        """Those that are too old, and numbers that no stream of this store can have."""
        self.publish("p", "x")
        start = self.cursor()
        self.reply("x", "q")
        self.assertEqual(self.told("p", start, NOW + 119), ["answer"])
        late = self.done(self.store.events_since("p", start, NOW + 121))
        self.assertEqual((list(late.events), late.complete), ([], False))
        self.assertEqual(self.told("p", late.cursor, NOW + 121), [])
        future = self.done(self.store.events_since("p", late.cursor + 10**9, NOW + 121))
        self.assertEqual((future.complete, future.cursor), (False, late.cursor))

    def test_offer_of_a_stream_ends_after_it(self) -> None:
        """It lasts while its owner has a stream, and 5 s longer; of several streams the last one counts."""
        closed, last_closed = (self.store.stream_opened("p", NOW) for _ in range(2))
        self.publish("p", "x", "t", while_connected=True)
        closed(NOW + 20)
        self.assertEqual(self.mine("p", NOW + 30), ["x"])
        last_closed(NOW + 40)
        self.assertEqual([self.mine("p", NOW + now) for now in (44, 45)], [["x"], []])

    def test_stream_that_outlives_a_stop_counts_for_nothing_after_it(self) -> None:
        """Its owner has another one in the second life, and that alone keeps the offer."""
        old_closed = self.store.stream_opened("p", NOW)
        self.done(self.store.close(NOW))
        self.store.open(NOW)
        closed = self.store.stream_opened("p", NOW)
        self.publish("p", "x", "t", while_connected=True)
        old_closed(NOW + 1)
        self.assertEqual(self.mine("p", NOW + 100), ["x"])
        closed(NOW + 100)
        self.assertEqual([self.mine("p", NOW + now) for now in (104, 105)], [["x"], []])

    def test_waiters_are_notified_of_what_happens(self) -> None:
        """Of its own events and its own side, and by nothing else; a logout wakes, too."""
        client_id, _ = self.done(self.store.register(NOW))
        peer = client_id.hex()
        self.publish(peer, "x")
        self.publish("r", "other")
        keys = (PeerEvents(peer), OfferSide("", "x", "offerer"))
        waiting = {key: self.store.subscribe(key).changed() for key in keys}
        self.reply("other", "q")
        for notification in waiting.values():
            self.assertNoResult(notification)
        self.reply("x", "q")
        for notification in waiting.values():
            self.assertIsNone(self.successResultOf(notification))
        notification = self.store.subscribe(PeerEvents(peer)).changed()
        self.done(self.store.logout(client_id, NOW))
        self.assertIsNone(self.successResultOf(notification))

    def test_waiting_is_bounded(self) -> None:
        """For one key; a subscription counts until it is closed, whether or not it waits at the moment."""
        held = [self.store.subscribe(A) for _ in range(WAITING_PER_KEY)]
        self.assertRaises(TooMany, self.store.subscribe, A)
        self.store.subscribe(B).close()
        held[0].changed().addErrback(lambda _: None).cancel()
        self.assertRaises(TooMany, self.store.subscribe, A)
        held[0].close()
        self.store.subscribe(A)

    def test_a_closed_store_wakes_those_who_wait(self) -> None:
        """And none can begin to."""
        subscription = self.store.subscribe(A)
        notification = subscription.changed()
        self.done(self.store.close(NOW))
        self.assertIsNone(self.successResultOf(notification))
        self.assertRaises(Unavailable, subscription.changed)
        self.assertRaises(Unavailable, self.store.subscribe, A)


OFFERS = [PublishContract, DiscoveryContract, AnswerContract, EventContract]
