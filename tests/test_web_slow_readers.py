"""``GET /events`` to clients that do not read as fast as we write."""

from __future__ import annotations

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
        self.advance(60)
        self.trickle("o0", *range(5, 10))
        self.assertEqual(len(self.stream.transport.value()), self.size)
        self.resume(self.stream)
        self.assertEqual(self.heard(self.stream), [("candidate", n) for n in range(10)])

    def test_a_full_reader_costs_nothing(self) -> None:
        """While it waits for its client a stream has no timer, and is woken by nothing."""
        self.advance(15)
        self.assertEqual(len(self.news), 0)

    def test_pausing_again_and_again(self) -> None:
        """However the transport's buffer comes and goes, everything is told once."""
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
        """One event more, and the reader is told to look anew, before what is still there."""
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
