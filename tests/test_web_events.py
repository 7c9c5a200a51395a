"""``GET /events``: frames byte for byte, resuming without loss or repeat, and how a stream ends."""

from __future__ import annotations

from rendezvous.core.signaling.encoded import compact
from rendezvous.storage.notifier import WAITING_PER_KEY
from tests._events_case import EventsTestCase, frames
from tests._web_case import LIMITS, NOW, NOW_MS


class FrameTests(EventsTestCase):
    """What is written."""

    def test_head_of_a_stream(self) -> None:
        """A stream says what it is, and that no cache or proxy should keep or collect it."""
        head = self.listen().transport.value().partition(b"\r\n\r\n")[0].decode().lower().split("\r\n")
        for line in ("content-type: text/event-stream", "cache-control: no-store", "x-accel-buffering: no"):
            self.assertIn(line, head)

    def test_a_stream_begins_with_an_id(self) -> None:
        """Before anything happens there is a comment and an id, so that the stream can be resumed from its start."""
        text = self.text(self.listen())
        self.assertEqual(text, f": keep-alive\nid: {NOW * 1_000_000}\n\n")
        self.assertEqual(frames(text), ([], str(NOW * 1_000_000)))

    def test_frames_of_answer_and_candidate(self) -> None:
        """The offerer hears of the answer and of candidates, with the fields that the routes give."""
        offer_id = self.publish(topics=["chess", "caf\u00e9"])
        stream = self.listen()
        before = len(self.text(stream))
        self.server.reactor.advance(1)
        answer = self.answer(offer_id)
        self.trickle(offer_id, {"candidate": "a\nb", "n": 1})
        second = NOW * 1_000_000 + 1_000_000
        told = {
            "offerId": offer_id,
            "answererId": self.bob_id,
            "answeredAt": answer["answeredAt"],
            "topics": ["chess", "caf\u00e9"],
            "sdp": "v=1",
        }
        candidate = {
            "offerId": offer_id,
            "peerId": self.bob_id,
            "role": "answerer",
            "createdAt": NOW_MS + 1000,
            "candidate": {"candidate": "a\nb", "n": 1},
        }
        self.assertEqual(
            self.text(stream)[before:],
            f"id: {second}\nevent: answer\ndata: {compact(told)}\n\n"
            f"id: {second + 1}\nevent: candidate\ndata: {compact(candidate)}\n\n",
        )
        self.assertEqual(told, self.good("GET", "/offers/answers", None, self.alice)["answers"][0])

    def test_answerer_hears_of_early_and_late_candidates(self) -> None:
        """What the offerer trickled before the answer is sent to the answerer right after it."""
        offer_id = self.publish()
        stream = self.listen(self.bob)
        self.trickle(offer_id, "early", headers=self.alice)
        self.assertEqual(self.heard(stream), [])
        self.answer(offer_id)
        self.trickle(offer_id, "late", headers=self.alice)
        self.trickle(offer_id, "own")
        self.assertEqual(self.heard(stream), [("candidate", "early"), ("candidate", "late")])

    def test_both_sides_get_an_expiry_without_any_request(self) -> None:
        """Within a second of its end both sides get an event that the offer has expired."""
        offer_id = self.publish(ttl=60_000, topics=["a", "b"])
        self.answer(offer_id)
        streams = [self.listen(headers) for headers in (self.alice, self.bob)]
        self.advance(59)
        self.assertEqual([self.heard(stream) for stream in streams], [[], []])
        self.advance(1)
        for stream in streams:
            found, _ = frames(self.text(stream))
            self.assertEqual(
                [(f.event, f.data) for f in found], [("expired", {"offerId": offer_id, "topics": ["a", "b"]})]
            )

    def test_an_offer_without_answer_expires_for_its_owner(self) -> None:
        """The owner of an offer without an answer gets the event, and no other peer does."""
        offer_id = self.publish(ttl=60_000)
        alice, bob = self.listen(), self.listen(self.bob)
        self.advance(60)
        self.assertEqual((self.heard(alice), self.heard(bob)), ([("expired", offer_id)], []))

    def test_the_answerer_hears_of_a_withdrawal(self) -> None:
        """The answerer gets an event when the owner withdraws the offer or logs out."""
        offers = [self.publish(), self.publish(sdp="v=2")]
        for offer_id in offers:
            self.answer(offer_id)
        alice, bob = self.listen(), self.listen(self.bob)
        self.good("DELETE", f"/offers/{offers[0]}", None, self.alice)
        self.assertEqual(self.heard(bob), [("withdrawn", offers[0])])
        self.good("POST", "/logout", None, self.alice)
        self.assertEqual(self.heard(bob), [("withdrawn", offer_id) for offer_id in offers])
        self.assertEqual(self.heard(alice), [])

    def test_keep_alive_after_fifteen_seconds_of_silence(self) -> None:
        """A comment comes fifteen seconds after whatever was written last, and again fifteen seconds later."""
        offer_id = self.publish()
        stream = self.listen()
        self.server.reactor.advance(10)
        self.answer(offer_id)
        size = len(self.text(stream))
        for number in range(3):
            self.server.reactor.advance(14.999)
            self.assertEqual(len(self.text(stream)), size)
            self.server.reactor.advance(0.001)
            self.assertTrue(self.text(stream)[size:].startswith(": keep-alive\n"))
            self.assertEqual(self.text(stream).count(": keep-alive"), number + 2)
            size = len(self.text(stream))

    def test_several_streams_hear_the_same(self) -> None:
        """Two pages of one peer both get everything, another peer nothing."""
        offer_id = self.publish()
        first, second, carol = self.listen(), self.listen(), self.listen(self.server.register()[2])
        self.answer(offer_id)
        self.trickle(offer_id, 1, 2)
        self.assertEqual(self.heard(first), [("answer", offer_id), ("candidate", 1), ("candidate", 2)])
        self.assertEqual(self.text(first), self.text(second))
        self.assertEqual(self.heard(carol), [])


class ResumeTests(EventsTestCase):
    """``Last-Event-ID``."""

    def setUp(self) -> None:
        """Have an offer that is answered."""
        super().setUp()
        self.offer = self.publish()
        self.stream = self.listen()
        self.answer(self.offer)

    def test_neither_loss_nor_repeat(self) -> None:
        """However often a stream breaks, and however much comes between, all of it is sent once and in order."""
        told = self.heard(self.stream)
        last_id = self.leave(self.stream)
        sent = 0
        for between in (0, 1, 50, 3, 0, 30):
            if between:
                self.trickle(self.offer, *range(sent, sent + between))
            sent += between
            stream = self.listen(last_id=last_id)
            self.trickle(self.offer, *range(sent, sent + 2))
            sent += 2
            told += self.heard(stream)
            last_id = self.leave(stream)
        self.assertEqual(told, [("answer", self.offer), *(("candidate", n) for n in range(sent))])

    def test_from_every_id(self) -> None:
        """From any event's id the stream goes on with the next."""
        self.trickle(self.offer, *range(5))
        found, _ = frames(self.text(self.stream))
        for place, frame in enumerate(found):
            again, _ = frames(self.text(self.listen(last_id=frame.last_id)))
            self.assertEqual(again, found[place + 1 :])

    def test_ends_are_resumed_too(self) -> None:
        """An expiry that came while the peer had no stream is sent when it returns."""
        last_id = self.leave(self.stream)
        self.advance(300)
        self.assertEqual(self.heard(self.listen(last_id=last_id)), [("expired", self.offer)])

    def test_a_quiet_stream_can_be_resumed_however_long_it_was_quiet(self) -> None:
        """The id of a keep-alive counts: after minutes of silence nothing is lost and nothing is reset."""
        _, _, carol = self.server.register()
        offer_id = self.publish(carol, sdp="v=5", ttl=3_600_000)
        stream = self.listen(carol)
        self.advance(600)  # Meanwhile Alice's offer has expired, and its event is forgotten.
        last_id = self.leave(stream)
        self.answer(offer_id)
        self.assertEqual(self.heard(self.listen(carol, last_id)), [("answer", offer_id)])

    def test_an_id_that_is_too_old_is_told_to_begin_anew(self) -> None:
        """When events after an id have been forgotten for their age, there is a reset first, with an id that works."""
        last_id = self.leave(self.stream)
        self.trickle(self.offer, "lost")
        self.advance(LIMITS.event_linger + 1)
        self.trickle(self.offer, "kept")
        stream = self.listen(last_id=last_id)
        self.assertEqual(self.heard(stream), [("reset", None), ("candidate", "kept")])
        again = self.listen(last_id=self.last_id(stream))
        self.assertEqual(self.heard(again), [])

    def test_a_reset_without_events_has_an_id(self) -> None:
        """After a reset that nothing follows, the stream can be resumed without another reset."""
        stream = self.listen(last_id="1")
        self.assertEqual([event for event, _ in self.heard(stream)][:1], ["reset"])
        _, _, carol = self.server.register()
        stream = self.listen(carol, last_id="1")
        self.assertEqual(self.heard(stream), [("reset", None)])
        self.assertEqual(self.heard(self.listen(carol, last_id=self.leave(stream))), [])

    def test_an_id_from_the_future_is_unknown(self) -> None:
        """An id that was never given out, as after a restart with a clock set back, is a reset and all there is."""
        stream = self.listen(last_id=str((NOW + 1000) * 1_000_000))
        self.assertEqual(self.heard(stream), [("reset", None), ("answer", self.offer)])

    def test_an_id_of_an_earlier_life_of_the_server(self) -> None:
        """After a restart in which everything was forgotten, an id from before is a reset, whatever came since."""
        before = str(NOW * 1_000_000 - 5_000_000)
        self.assertEqual(self.heard(self.listen(last_id=before))[0], ("reset", None))

    def test_ids_that_are_none(self) -> None:
        """What is no id of a stream is 400; an empty one is none, as browsers send it."""
        for last_id in ("x", "-1", "1.5", "1 2", "9" * 20, "\xff"):
            response = self.ask("GET", "/events", None, {**self.alice, "Last-Event-ID": last_id})
            self.assertRefused(response, 400, "malformed", "Last-Event-ID", "lastEventId", "whole number")
        self.assertEqual(self.heard(self.listen(last_id="")), [])
        self.assertEqual(self.heard(self.listen(last_id="9" * 19))[0], ("reset", None))


class EndTests(EventsTestCase):
    """How a stream ends, or does not begin."""

    def test_a_client_that_vanishes_leaves_nothing(self) -> None:
        """No notification and no timer is left, and what comes later is not written."""
        timers = len(self.server.reactor.getDelayedCalls())
        offer_id = self.publish()
        stream = self.listen()
        self.leave(stream)
        self.assertEqual((len(self.news), len(self.server.reactor.getDelayedCalls())), (0, timers))
        size = len(stream.transport.value())
        self.answer(offer_id)
        self.advance(30)
        self.assertEqual(len(stream.transport.value()), size)

    def test_logout_ends_the_stream_at_once(self) -> None:
        """With offers or without, a stream ends when its client logs out."""
        for publish in (False, True):
            _, _, headers = self.server.register()
            if publish:
                self.publish(headers, id="x")
            stream = self.listen(headers)
            self.good("POST", "/logout", None, headers)
            self.assertTrue(self.ended(stream))
            self.assertEqual(self.heard(stream), [])

    def test_a_credential_that_ends_by_silence_ends_the_stream(self) -> None:
        """A bare key is good while its client lives; the stream ends with it, by the next keep-alive."""
        key = self.alice["Authorization"].rpartition(":")[2]
        bare, both = self.listen({"Authorization": f"Bearer {key}"}), self.listen()
        self.advance(300)
        self.assertFalse(self.ended(bare))
        self.advance(16)
        self.assertTrue(self.ended(bare))
        self.assertFalse(self.ended(both))

    def test_without_a_credential_there_is_none(self) -> None:
        """A stream without a credential is 401. The error names both ways to bring one."""
        response = self.ask("GET", "/events")
        self.assertRefused(response, 401, "unauthorized", "Authorization", "POST /events/ticket")
        self.assertEqual(response.headers["www-authenticate"], "Bearer")

    def test_head_is_answered_without_a_stream(self) -> None:
        """HEAD gives the headers and ends; without a credential it is 401."""
        response = self.ask("HEAD", "/events", None, self.alice)
        self.assertEqual((response.status, response.body), (200, b""))
        self.assertEqual(response.headers["content-type"], "text/event-stream")
        self.assertEqual(len(self.news), 0)
        connection = self.start("HEAD", "/events")
        self.assertTrue(connection.transport.value().startswith(b"HTTP/1.1 401 "))

    def test_as_many_streams_as_one_peer_may_have(self) -> None:
        """Sixteen streams are open; the next is 429 and the others go on."""
        offer_id = self.publish()
        streams = [self.listen() for _ in range(WAITING_PER_KEY)]
        response = self.ask("GET", "/events", None, self.alice)
        self.assertRefused(response, 429, "too-many")
        self.assertEqual(response.headers["retry-after"], "30")
        self.answer(offer_id)
        for stream in streams:
            self.assertEqual(self.heard(stream), [("answer", offer_id)])
        self.leave(streams[0])
        self.listen()

    def test_a_paused_stream_keeps_its_place(self) -> None:
        """A client that does not read has no more streams than one that does: its sixteen count while they are open."""
        streams = [self.listen() for _ in range(WAITING_PER_KEY)]
        for stream in streams:
            self.pause(stream)
        self.answer(self.publish())
        self.advance(15)
        self.assertEqual(len(self.news), WAITING_PER_KEY)
        self.assertRefused(self.ask("GET", "/events", None, self.alice), 429, "too-many")
        self.resume(streams[0])
        self.assertEqual(len(self.heard(streams[0])), 1)


class TotalTests(EventsTestCase):
    """Requests and streams that wait in all."""

    settings = {"max_waiting": 2}  # noqa: RUF012

    def test_the_next_is_refused(self) -> None:
        """Streams and held requests of all peers count together; beyond the total it is 503."""
        stream = self.listen()
        self.start("GET", "/offers/answers?wait=30", headers=self.bob)
        for path in ("/events", "/offers/answers?wait=1"):
            response = self.ask("GET", path, None, self.bob)
            self.assertRefused(response, 503, "too-many-waiting")
            self.assertEqual(response.headers["retry-after"], "30")
        self.leave(stream)
        self.listen()
