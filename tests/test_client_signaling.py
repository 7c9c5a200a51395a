"""The client library's offers, sessions and event stream, against a whole server in memory."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.client import (
    Event,
    EventStream,
    Identity,
    NewOffer,
    NotAdmitted,
    NotFound,
    NotRegistered,
    RequestRefused,
    Side,
)
from rendezvous.client._sse import MAX_EVENT, Parser, ServerSentEvent
from rendezvous.client.events import LONGEST_SILENCE
from rendezvous.core.registrationtokens import RegistrationTokens
from tests._client_wire import WALL, ClientWorld

ORIGIN = "https://app.example"


class SignalingCase(SynchronousTestCase):
    """Alice and Bob are clients of one server."""

    def setUp(self) -> None:
        """Start the server and register both."""
        self.world = ClientWorld()
        self.addCleanup(self.world.stop)
        self.client = self.world.client
        self.result = self.world.result
        self.alice, self.bob = self.world.identity(), self.world.identity()

    def publish(self, topic: str = "chess", **fields: object) -> str:
        """Have Alice publish an offer, and return its id."""
        [published] = self.result(self.client.offers.publish(self.alice, [NewOffer("v=0 A", (topic,), **fields)]))  # type: ignore[arg-type]
        self.assertEqual(published.topics, (topic,))
        return str(published.id)


class OfferTests(SignalingCase):
    """Offers from their publication to their end."""

    def test_offer_is_found_answered_and_read(self) -> None:
        """The whole exchange: publish, find, answer, candidates of both sides."""
        offer_id = self.publish("a/b ☃", info="Alice", ttl=60)
        [found] = self.result(self.client.offers.find("a/b ☃")).items
        self.assertEqual((found.id, found.peer_id, found.sdp), (offer_id, self.alice.client_id, "v=0 A"))
        self.assertEqual((found.info, found.has_secret), ("Alice", False))
        self.assertEqual(found.expires_at - found.last_seen, 60_000)
        self.assertEqual(self.result(self.client.offers.of_peer(self.alice.client_id)).items, (found,))

        answered_at = self.result(self.client.offers.answer(self.bob, offer_id, "v=0 B"))
        [answer] = self.result(self.client.offers.answers(self.alice)).items
        self.assertEqual((answer.offer_id, answer.answerer_id, answer.sdp), (offer_id, self.bob.client_id, "v=0 B"))
        self.assertEqual(answer.answered_at, answered_at)
        self.assertEqual(self.result(self.client.offers.answers(self.alice, since=answered_at)).items, ())

        self.assertEqual(self.result(self.client.offers.add_candidates(self.alice, offer_id, ["a1", {"c": 2}])), 2)
        candidates = self.result(self.client.offers.candidates(self.bob, offer_id)).items
        self.assertEqual([(each.value, each.role) for each in candidates], [("a1", "offerer"), ({"c": 2}, "offerer")])
        later = self.result(self.client.offers.candidates(self.bob, offer_id, since=candidates[0].created_at))
        self.assertEqual(later.items, candidates[1:])

    def test_new_offer_as_json(self) -> None:
        """The lifetime is in milliseconds, what was left out is not there, and ``repr`` shows no secret."""
        offer = NewOffer("v=0", ("a", "b"), ttl=1.5, secret="open sesame")  # type: ignore[arg-type]
        self.assertEqual(offer.topics, ("a", "b"))
        self.assertEqual(offer.members(), {"sdp": "v=0", "topics": ["a", "b"], "ttl": 1500, "secret": "open sesame"})
        self.assertNotIn("sesame", repr(offer))

    def test_own_offers_show_what_others_do_not_see(self) -> None:
        """The owner is shown the secret, the answerer and the times."""
        offer_id = self.publish(secret="cheese", while_connected=False)
        [mine] = self.result(self.client.offers.mine(self.alice)).items
        self.assertEqual((mine.offer.id, mine.secret, mine.answerer_id), (offer_id, "cheese", None))
        self.assertTrue(mine.offer.has_secret)
        self.assertNotIn("cheese", repr(mine))
        self.result(self.client.offers.answer(self.bob, offer_id, "v=0 B", secret="cheese"))
        [mine] = self.result(self.client.offers.mine(self.alice)).items
        self.assertEqual(mine.answerer_id, self.bob.client_id)

    def test_offer_is_refreshed_and_withdrawn(self) -> None:
        """A heartbeat gives a time, and a withdrawn offer is gone."""
        offer_id = self.publish()
        self.assertEqual(self.result(self.client.offers.heartbeat(self.alice, offer_id)) // 1000, int(WALL))
        self.result(self.client.offers.withdraw(self.alice, offer_id))
        self.assertRaises(NotFound, self.result, self.client.offers.heartbeat(self.alice, offer_id))

    def test_refusals_have_the_servers_code(self) -> None:
        """A wrong secret, a second answer, an offer of another peer."""
        offer_id = self.publish(secret="cheese")
        answer = self.client.offers.answer
        refused = self.assertRaises(RequestRefused, self.result, answer(self.bob, offer_id, "v=0 B"))
        self.assertEqual((refused.status, refused.code), (403, "wrong-secret"))
        refused = self.assertRaises(RequestRefused, self.result, self.client.offers.withdraw(self.bob, offer_id))
        self.assertEqual(refused.code, "not-owner")

    def test_topics_come_in_pages(self) -> None:
        """Each page says where the next one begins."""
        for topic in ("one", "two", "three"):
            self.publish(topic)
        page = self.result(self.client.offers.topics(limit=2))
        rest = self.result(self.client.offers.topics(limit=2, next=page.next))
        self.assertEqual({topic.name for topic in (*page.items, *rest.items)}, {"one", "two", "three"})
        self.assertEqual((len(page.items), rest.next), (2, None))
        only = self.result(self.client.offers.topics(starts_with="th"))
        self.assertEqual([(topic.name, topic.peers) for topic in only.items], [("three", 1)])

    def test_wait_ends_with_an_answer(self) -> None:
        """A request that waits fires when there is an answer, although the wait is longer than a request may take."""
        offer_id = self.publish()
        waiting = self.client.offers.answers(self.alice, wait=25)
        self.world.reactor.advance(20)
        self.assertNoResult(waiting)
        self.result(self.client.offers.answer(self.bob, offer_id, "v=0 B"))
        self.assertEqual(len(self.successResultOf(waiting).items), 1)

    def test_wait_without_an_answer_is_empty(self) -> None:
        """The server ends the wait; the client does not take it for dead before."""
        waiting = self.client.offers.answers(self.alice, wait=25)
        self.world.reactor.advance(26)
        self.assertEqual(self.successResultOf(waiting).items, ())


class SessionTests(SignalingCase):
    """Sessions, which are found by code and isolated by origin."""

    def test_session_is_opened_answered_and_polled(self) -> None:
        """The whole exchange, with candidates of both sides."""
        sessions = self.client.sessions
        code = self.result(sessions.open(ORIGIN, "chess", "Alice", "v=0 A"))
        self.assertEqual([topic.name for topic in self.result(sessions.topics(ORIGIN)).items], ["chess"])
        [found] = self.result(sessions.find(ORIGIN, "chess")).items
        self.assertEqual((found.code, found.info, found.offer), (code, "Alice", "v=0 A"))
        self.assertEqual(self.result(sessions.find("https://other.example", "chess")).items, ())

        nothing = self.result(sessions.poll(ORIGIN, code, Side.OFFERER))
        self.assertEqual((nothing.description, nothing.candidates), (None, ()))
        waiting = sessions.poll(ORIGIN, code, Side.OFFERER, since=nothing.latest, wait=20)
        self.world.settle()
        self.assertNoResult(waiting)
        self.result(sessions.answer(ORIGIN, code, "v=0 B"))
        self.assertEqual(self.successResultOf(waiting).description, "v=0 B")
        self.result(sessions.add_candidate(ORIGIN, code, Side.OFFERER, {"c": 1}))
        polled = self.result(sessions.poll(ORIGIN, code, Side.ANSWERER))
        self.assertEqual((polled.description, polled.candidates), ("v=0 A", ({"c": 1},)))

    def test_registration_token_is_shown(self) -> None:
        """To open a session; whoever has its code needs none."""
        self.world.server.rendezvous.web.gate.admission.tokens = RegistrationTokens(["team-north-3b9d51ea70c2"])
        sessions = self.client.sessions
        for token in (None, "team-south-90aa1c44e1f7"):
            opening = sessions.open(ORIGIN, "chess", "Alice", "v=0 A", token=token)
            error = self.assertRaises(NotAdmitted, self.result, opening)
            self.assertEqual((error.status, error.code), (401, "registration-token"))
        code = self.result(sessions.open(ORIGIN, "chess", "Alice", "v=0 A", token="team-north-3b9d51ea70c2"))
        self.result(sessions.answer(ORIGIN, code, "v=0 B"))

    def test_unknown_code_is_not_found(self) -> None:
        """Also one of another origin."""
        code = self.result(self.client.sessions.open(ORIGIN, "chess", "Alice", "v=0 A", code="mine"))
        self.assertEqual(code, "mine")
        poll = self.client.sessions.poll("https://other.example", code, Side.ANSWERER)
        self.assertRaises(NotFound, self.result, poll)


class EventStreamTests(SignalingCase):
    """The stream of events."""

    def setUp(self) -> None:
        """Open Alice's stream."""
        super().setUp()
        self.events: list[Event] = []
        self.stream = self.open_stream(self.alice)

    def open_stream(self, identity: Identity, last_id: str | None = None, topics: Sequence[str] = ()) -> EventStream:
        """Open a stream, which the test's end closes."""
        stream = self.client.events(identity, self.events.append, last_id=last_id, topics=topics)
        stream.startService()
        self.addCleanup(self.world.settle)
        self.addCleanup(stream.stopService)
        self.world.settle()
        return stream

    def answer(self, topic: str) -> str:
        """Have an offer be published and answered, and return its id."""
        offer_id = self.publish(topic)
        self.result(self.client.offers.answer(self.bob, offer_id, "v=0 B"))
        return offer_id

    def test_event_is_read_when_it_happens(self) -> None:
        """An answer appears with its data and an id."""
        self.assertIsNone(self.successResultOf(self.stream.whenOpen()))
        offer_id = self.answer("chess")
        [event] = self.events
        self.assertEqual((event.kind, event.data["offerId"], event.id), ("answer", offer_id, self.stream.last_id))

    def test_topics_are_watched(self) -> None:
        """What appears and ends there is read, also after the stream was opened again."""
        self.stream.stopService()
        topics = ["chess", "a, b & c", "caf\u00e9"]
        stream = self.open_stream(self.bob, topics=topics)
        offers = [self.publish(topic) for topic in (*topics, "other")]
        self.assertEqual(
            [(event.kind, event.data["id"]) for event in self.events], [("offer", id) for id in offers[:3]]
        )
        self.events.clear()
        stream.stopService()
        self.result(self.client.offers.withdraw(self.alice, offers[0]))
        stream.startService()
        self.world.settle()
        self.assertEqual([(event.kind, event.data["offerId"]) for event in self.events], [("gone", offers[0])])

    def test_lost_stream_goes_on_without_loss_or_repetition(self) -> None:
        """What happens between two connections is read from the second one."""
        first = self.answer("one")
        self.world.wire.ends[-1].loseConnection()
        for end in self.world.wire.ends:
            end.end()
            end.other.end()
        second = self.answer("two")
        self.world.reactor.advance(2)
        self.world.settle()
        self.assertEqual([event.data["offerId"] for event in self.events], [first, second])

    def test_quiet_stream_goes_on_where_it_was(self) -> None:
        """The id of a keep-alive comment counts."""
        self.world.reactor.advance(40)
        last_id = self.stream.last_id
        self.assertIsNotNone(last_id)
        self.stream.stopService()
        offer_id = self.answer("chess")
        self.assertEqual(self.events, [])
        self.open_stream(self.alice, last_id)
        self.assertEqual([event.data["offerId"] for event in self.events], [offer_id])

    def test_silent_stream_is_opened_again(self) -> None:
        """A connection that was lost without a word is noticed by its silence."""
        streams = len(self.world.wire.ends)
        self.world.wire.ends[-1].other.mute = True
        self.world.reactor.advance(LONGEST_SILENCE + 3)
        self.world.settle()
        self.assertEqual(len(self.world.wire.ends), streams + 1)
        self.answer("chess")
        self.assertEqual(len(self.events), 1)

    def pass_time(self, seconds: int) -> None:
        """Let time pass, a second at a time."""
        for _ in range(seconds):
            self.world.reactor.advance(1)
            self.world.settle()

    def test_unreachable_server_is_tried_again_at_growing_intervals(self) -> None:
        """A server that is away for five minutes is asked some ten times, and found again within 90 s."""
        self.world.wire.up = False
        self.world.wire.ends[-1].loseConnection()
        tries = self.world.wire.tries
        self.pass_time(300)
        self.assertTrue(6 <= self.world.wire.tries - tries <= 12, self.world.wire.tries - tries)
        self.world.wire.up = True
        self.pass_time(90)
        self.answer("chess")
        self.assertEqual([event.kind for event in self.events], ["answer"])

    def test_interval_is_short_again_once_the_stream_was_open(self) -> None:
        """A server that was away for long, and then once more for a moment, is found again at once."""
        self.world.wire.up = False
        self.world.wire.ends[-1].loseConnection()
        self.pass_time(300)
        self.world.wire.up = True
        self.pass_time(90)
        self.answer("one")
        self.world.wire.ends[-1].loseConnection()
        for end in self.world.wire.ends:
            end.end()
            end.other.end()
        self.pass_time(3)
        self.answer("two")
        self.assertEqual(len(self.events), 2)

    def send(self, data: bytes) -> None:
        """Have bytes come on the stream, as a chunk of the body."""
        self.world.wire.ends[-1].receive(b"%x\r\n%b\r\n" % (len(data), data))
        self.world.settle()

    def test_event_that_is_no_object_is_passed_over(self) -> None:
        """The next one is read; its id counts."""
        self.send(b"event: answer\ndata: nonsense\n\ndata: [1]\n\n")
        self.send(b'event: answer\nid: 7\ndata: {"offerId": "x"}\n\n')
        self.assertEqual(self.events, [Event("answer", {"offerId": "x"}, "7")])
        self.assertEqual(self.stream.last_id, "7")

    def test_stream_that_cannot_be_read_is_opened_again(self) -> None:
        """An event over the limit ends the connection, and events that come later are read from another one."""
        streams = len(self.world.wire.ends)
        self.send(b"data:" + b"x" * MAX_EVENT)
        self.assertFalse(self.world.wire.ends[streams - 1].open)
        self.pass_time(3)
        self.assertEqual(len(self.world.wire.ends), streams + 1)
        self.answer("chess")
        self.assertEqual([event.kind for event in self.events], ["answer"])

    def test_client_that_logs_out_ends_its_stream(self) -> None:
        """The service reports it once and does not try again."""
        gone = self.stream.whenGone()
        self.result(self.client.logout(self.alice))
        self.world.reactor.advance(20)
        self.world.settle()
        self.failureResultOf(gone, NotRegistered)
        streams = len(self.world.wire.ends)
        self.world.reactor.advance(120)
        self.assertEqual(len(self.world.wire.ends), streams)

    def test_failing_callback_is_logged_and_the_next_event_comes(self) -> None:
        """An application's bug does not end the stream."""
        self.events = []
        seen: list[str] = []

        def fail(event: Event) -> None:
            seen.append(event.kind)
            raise ZeroDivisionError

        stream = self.client.events(self.alice, fail)
        stream.startService()
        self.addCleanup(stream.stopService)
        self.world.settle()
        self.answer("one")
        self.answer("two")
        self.assertEqual(seen, ["answer", "answer"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_stopped_service_has_nothing_left(self) -> None:
        """Who waits for it to open is cancelled."""
        stream = self.client.events(self.bob, self.events.append)
        opened = stream.whenOpen()
        stream.startService()
        stream.stopService()
        self.failureResultOf(opened, CancelledError)


class ParserTests(SynchronousTestCase):
    """Server-Sent Events from bytes."""

    def test_events_are_read_in_pieces_of_any_length(self) -> None:
        """A type, several lines of data, a comment; both kinds of line ends; the id of a block without data."""
        stream = ": hello\nid: 1\n\nevent: a\ndata: x\r\ndata: y ☃\nid: 2\r\n\r\ndata:z\n\n".encode()
        for size in (1, 3, 7, len(stream)):
            parser = Parser()
            found = [
                event for start in range(0, len(stream), size) for event in parser.feed(stream[start : start + size])
            ]
            self.assertEqual(found, [ServerSentEvent("a", "x\ny ☃"), ServerSentEvent("message", "z")])
            self.assertEqual(parser.last_id, "2")

    def test_id_counts_only_when_its_block_is_whole(self) -> None:
        """An event that was cut off is asked for again."""
        parser = Parser()
        self.assertEqual(list(parser.feed(b"id: 1\ndata: x\n\nid: 2\ndata: y\n")), [ServerSentEvent("message", "x")])
        self.assertEqual(parser.last_id, "1")

    def test_event_over_the_limit_is_refused(self) -> None:
        """At the limit it is read; above, whether in one line or in many, it is not."""
        text = b"data:" + b"x" * (MAX_EVENT - 5)
        self.assertEqual(len(list(Parser().feed(text + b"\n\n"))), 1)
        self.assertRaises(ValueError, list, Parser().feed(text + b"x"))
        self.assertRaises(ValueError, list, Parser().feed(b"data:\n" * (MAX_EVENT // 5 + 1)))
