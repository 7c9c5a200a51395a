"""The small parts below the pulse service: waiting for what happens once, and the spelling of addresses."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.client._latch import Latch
from rendezvous.client._resolve import choose, literal


class AddressTests(SynchronousTestCase):
    """Names and addresses of servers."""

    def test_addresses_are_spelled_as_sockets_spell_them(self) -> None:
        """However an address is written, it compares equal to the source of a datagram; a name is none."""
        spellings = {
            "192.0.2.1": "192.0.2.1",
            "2001:DB8:0::1": "2001:db8::1",
            "::ffff:192.0.2.1": "192.0.2.1",
            "fe80::1%eth0": "fe80::1%eth0",
            "rendezvous.example": None,
        }
        self.assertEqual({host: literal(host) for host in spellings}, spellings)

    def test_first_address_of_the_sockets_family_is_chosen(self) -> None:
        """The resolver's order counts, within what the socket can reach."""
        found = ["2001:db8::1", "192.0.2.1", "192.0.2.2"]
        self.assertEqual(choose(found, ipv6=None), "2001:db8::1")
        self.assertEqual(choose(found, ipv6=False), "192.0.2.1")
        self.assertIsNone(choose(found[1:], ipv6=True))


class LatchTests(SynchronousTestCase):
    """Waiting for an event that happens once."""

    def test_waiters_before_and_after_fire(self) -> None:
        """Early waiters fire when it happens, later ones at once. A second call changes nothing."""
        latch = Latch()
        early = [latch.wait(), latch.wait()]
        latch.set()
        latch.set(ValueError)
        for waiter in [*early, latch.wait()]:
            self.assertIsNone(self.successResultOf(waiter))

    def test_cancelled_waiter_is_forgotten(self) -> None:
        """A cancelled waiter does not fire, and the others do."""
        latch = Latch()
        first, second = latch.wait(), latch.wait()
        first.cancel()
        latch.set()
        self.failureResultOf(first, CancelledError)
        self.successResultOf(second)

    def test_callback_may_cancel_another_waiter(self) -> None:
        """A callback that cancels another waiter breaks nothing."""
        latch = Latch()
        first, second = latch.wait(), latch.wait()
        first.addCallback(lambda _: second.cancel())
        latch.set()
        self.failureResultOf(second, CancelledError)
        self.successResultOf(first)
