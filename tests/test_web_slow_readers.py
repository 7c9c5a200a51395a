"""``GET /events`` to clients that do not read as fast as we write."""

from __future__ import annotations

import tracemalloc
from typing import Any

from rendezvous.web.sending import PIECE
from tests._events_case import EventsTestCase
from tests._web_case import LIMITS


class SlowReaderTests(EventsTestCase):
    """A client that does not read as fast as we write."""

    def setUp(self) -> None:
        """Have a stream whose transport is full."""
        super().setUp()
        self.offers = [self.publish(id=f"o{n}", sdp=f"v={n}", ttl=3_600_000) for n in range(5)]
        for offer_id in self.offers:
            self.answer(offer_id)
        self.stream = self.listen()
        self.pause(self.stream)
        self.size = len(self.stream.transport.value())

    def test_nothing_is_written_while_the_transport_is_full(self) -> None:
        """Neither events nor keep-alives are written until the client has read; then all of them, once, in order."""
        self.trickle("o0", *range(5))
        self.advance(59)
        self.trickle("o0", *range(5, 10))
        self.assertEqual(len(self.stream.transport.value()), self.size)
        self.resume(self.stream)
        self.assertEqual(self.heard(self.stream), [("candidate", n) for n in range(10)])

    def test_a_paused_stream_is_counted(self) -> None:
        """While it waits for its client, a stream holds its place."""
        self.advance(15)
        self.assertEqual(len(self.news), 1)

    def test_a_stream_that_stays_paused_is_closed(self) -> None:
        """A client that reads nothing for 60 s loses its connection, and its place at once."""
        self.trickle("o0", 1)
        self.resume(self.stream)
        self.pause(self.stream)
        self.trickle("o0", 2)
        self.advance(59)
        self.assertEqual(len(self.news), 1)
        self.assertFalse(self.stream.transport.disconnected)
        self.advance(1)
        self.assertTrue(self.stream.transport.disconnected)
        self.assertEqual(len(self.news), 0)
        self.assertEqual(self.heard(self.stream), [("candidate", 1)])

    def test_a_backlog_is_handed_over_piece_by_piece(self) -> None:
        """A transport that fills up is given no more than one piece beyond that, however much there is to say."""
        for offer_id in self.offers:
            self.trickle(offer_id, *("x" * 4000 for _ in range(40)))
        taken: list[int] = []
        while not taken or taken[-1]:
            before = len(self.stream.transport.value())
            self.fill(self.stream, PIECE)
            taken.append(len(self.stream.transport.value()) - before)
        self.assertEqual(len(self.heard(self.stream)), 200)
        self.assertGreater(len(taken), 200 * 4000 // PIECE)
        self.assertLessEqual(max(taken), 2 * PIECE + 100)

    def test_one_large_event_is_cut_into_pieces(self) -> None:
        """An answer whose JSON is several times the size of a piece is handed over in as many."""
        self.publish(id="large", ttl=3_600_000)
        self.answer("large", sdp="\x01" * 60_000)
        self.resume(self.stream)
        self.assertEqual(len(self.heard(self.stream)), 1)
        chunks = self.stream.transport.value().split(b"\r\n%x\r\n" % PIECE)
        self.assertEqual(len(chunks), 360_000 // PIECE + 1)

    def test_a_long_event_that_is_not_read_stays_in_the_transport_alone(self) -> None:
        """Twelve streams wait for their clients to read one event of 60 kB, and none of them keeps it as well."""
        streams = [self.listen() for _ in range(12)]
        for stream in streams:
            transport: Any = stream.transport
            transport.write = lambda data, producer=transport.producer: producer.pauseProducing()
            transport.writeSequence = transport.write
        self.publish(id="long", ttl=3_600_000)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        self.answer("long", sdp="v" * 60_000)
        self.advance(1)
        self.assertLess(tracemalloc.get_traced_memory()[0], 5 * 60_000)

    def test_pausing_again_and_again(self) -> None:
        """However the transport's buffer comes and goes, everything is sent once."""
        for number in range(20):
            self.trickle("o0", number)
            self.resume(self.stream)
            if number % 2:
                self.pause(self.stream)
                self.pause(self.stream)
            self.advance(number)
        self.resume(self.stream)
        self.assertEqual(self.heard(self.stream), [("candidate", n) for n in range(20)])

    def trickle_many(self, number: int) -> None:
        """Send so many candidates, over all the offers."""
        for start in range(0, number, 50):
            numbers = range(start, min(start + 50, number))
            self.trickle(self.offers[start // 250], *numbers)

    def test_as_much_as_is_kept_is_not_lost(self) -> None:
        """As many events as are kept for a peer reach even a reader that reads none of them in time."""
        self.trickle_many(LIMITS.events_per_peer)
        self.resume(self.stream)
        self.assertEqual(self.heard(self.stream), [("candidate", n) for n in range(LIMITS.events_per_peer)])

    def test_more_than_is_kept_is_told_as_a_reset(self) -> None:
        """One event more, and the reader gets a reset, before what is still there."""
        self.trickle_many(LIMITS.events_per_peer + 1)
        self.resume(self.stream)
        kept = [("candidate", n) for n in range(1, LIMITS.events_per_peer + 1)]
        self.assertEqual(self.heard(self.stream), [("reset", None), *kept])

    def test_vanishing_while_full(self) -> None:
        """A client that vanishes without having read leaves nothing."""
        timers = len(self.server.reactor.getDelayedCalls())
        self.trickle("o0", 1)
        self.leave(self.stream)
        self.trickle("o0", 2)
        self.assertEqual(len(self.news), 0)
        self.assertLessEqual(len(self.server.reactor.getDelayedCalls()), timers)

    def test_logout_while_full(self) -> None:
        """A stream whose client logs out and then reads on ends without a word more."""
        self.good("POST", "/logout", None, self.alice)
        self.resume(self.stream)
        self.assertTrue(self.ended(self.stream))
        self.assertEqual(self.heard(self.stream), [])
