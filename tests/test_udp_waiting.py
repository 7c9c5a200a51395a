"""Datagrams that a store cannot answer at once: they are answered later, each once, and failures are counted."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.presence.states import PulseCode
from rendezvous.counters import DROPPED_DATAGRAMS
from rendezvous.errors import Full
from rendezvous.wire.pulse import encode_reply
from tests.small_server import SmallServer

PEER = ("198.51.100.7", 4000)
STRANGER = bytes(32)
UNKNOWN = encode_reply(PulseCode.UNKNOWN)


class WaitingTests(SynchronousTestCase):
    """A server whose store waits for what the test says, twice for each pulse."""

    def setUp(self) -> None:
        """Put the waiting between the port and the store."""
        self.server = SmallServer()
        self.dropped = self.server.shared.counters.family(DROPPED_DATAGRAMS)
        self.asked = 0
        self.first: Deferred[None] = Deferred()
        self.second: Deferred[None] = Deferred()
        pulse = self.server.store.pulse

        async def waiting(key: bytes, address: tuple[str, int], now: float, local_port: int) -> PulseCode:
            self.asked += 1
            await self.first
            await self.second
            return await pulse(key, address, now, local_port)

        self.patch(self.server.store, "pulse", waiting)

    def sent(self) -> list[bytes]:
        """:returns: what has been sent."""
        return [datagram for datagram, _ in self.server.ports[0].sent]

    def test_answer_comes_when_the_store_has_it(self) -> None:
        """Nothing is sent before, and one reply then; the store was asked once."""
        self.assertEqual(self.server.deliver(STRANGER, PEER), [])
        self.first.callback(None)
        self.assertEqual(self.sent(), [])
        self.second.callback(None)
        self.assertEqual((self.sent(), self.asked), ([UNKNOWN], 1))

    def test_answer_comes_when_only_the_second_wait_is_one(self) -> None:
        """A Deferred that has its result already is passed by."""
        self.first.callback(None)
        self.assertEqual(self.server.deliver(STRANGER, PEER), [])
        self.second.callback(None)
        self.assertEqual((self.sent(), self.asked), ([UNKNOWN], 1))

    def test_store_that_fails_later_is_counted(self) -> None:
        """The client hears nothing and asks again; nothing is logged as a fault of ours."""
        self.server.deliver(STRANGER, PEER)
        self.first.errback(Full("The store is away."))
        self.assertEqual((self.sent(), self.dropped["store unavailable"]), ([], 1))

    def test_store_that_fails_at_once_is_counted(self) -> None:
        """The same without a wait."""
        self.first.errback(Full("The store is away."))
        self.server.deliver(STRANGER, PEER)
        self.assertEqual((self.sent(), self.dropped["store unavailable"]), ([], 1))

    def test_fault_at_once_is_logged(self) -> None:
        """What is no answer of the store is a fault of ours, and does not end the port."""
        self.first.errback(ZeroDivisionError())
        self.server.deliver(STRANGER, PEER)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.server.check()

    def test_fault_later_is_logged(self) -> None:
        """The same after a wait."""
        self.server.deliver(STRANGER, PEER)
        self.first.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.server.check()
