"""The networks that limits have refused lately."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core import limitednetworks
from rendezvous.core.limitednetworks import LimitedNetworks


class LimitedNetworkTests(SynchronousTestCase):
    """The networks that limits have refused something."""

    def test_worst_come_first(self) -> None:
        """Each with its reason, how often, and when last."""
        now = [0.0]
        limited = LimitedNetworks(lambda: now[0])
        for network, reason in (("192.0.2.1", "a"), ("192.0.2.2", "a"), ("192.0.2.2", "a"), ("192.0.2.2", "b")):
            now[0] += 1
            limited.add(network, reason)
        found = [(each.network, each.reason, each.times, each.last) for each in limited.worst()]
        self.assertEqual(found[0], ("192.0.2.2", "a", 2, 3.0))
        self.assertEqual(len(found), 3)
        self.assertEqual(len(limited.worst("192.0.2.2")), 2)

    def test_number_is_bounded(self) -> None:
        """The one that was refused nothing for longest makes room."""
        self.patch(limitednetworks, "MAX_LIMITED", 3)
        limited = LimitedNetworks()
        for network in ("a", "b", "c", "a", "d"):
            limited.add(network, "x")
        self.assertEqual({each.network for each in limited.worst()}, {"a", "c", "d"})
