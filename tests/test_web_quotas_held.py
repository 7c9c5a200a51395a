"""Tests of :mod:`rendezvous.web.quotas` by itself: few connections, and what is given back."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.shares import Shares
from rendezvous.core.sources import SourceNetwork, source_network
from rendezvous.errors import Full, TooMany
from rendezvous.limits import SourceLimits
from rendezvous.testing import MemoryReactor
from rendezvous.web.quotas import MAX_UNFINISHED, Quotas

HOME, NEIGHBOUR, THIRD = ("198.51.100.7", 1), ("198.51.100.8", 1), ("198.51.100.9", 1)
ELSEWHERE = ("203.0.113.7", 1)


class FewConnectionsTests(SynchronousTestCase):
    """A server that can have only a few connections."""

    def held(self, limits: SourceLimits) -> list[int]:
        """
        :returns: how many of 128 connections, all with a request in hand, an address can have, then two others of its
            site, and then one of another site.
        """
        quotas = Quotas(limits, MemoryReactor())
        quotas.share_connections(128)
        quotas.change(limits)
        return [self.fill(quotas.connections, source_network(host)) for host, _ in (HOME, NEIGHBOUR, THIRD, ELSEWHERE)]

    def fill(self, shares: Shares, source: SourceNetwork) -> int:
        """:returns: how many fit."""
        for number in range(128):
            try:
                shares.check(source)
            except TooMany:
                return number
            shares.add(source)
        return 128

    def test_one_source_cannot_hold_them_all(self) -> None:
        """A quarter for an address, a half for its site, also after a reload; the rest is left to others."""
        self.assertEqual(self.held(SourceLimits()), [32, 32, 0, 32])

    def test_lower_limit_holds_as_it_is(self) -> None:
        """A limit below the quarter is not raised; without limits there is no share either."""
        self.assertEqual(self.held(SourceLimits(connections=5)), [5, 5, 5, 5])
        self.assertEqual(self.held(SourceLimits.none()), [128] * 4)

    def test_of_very_few_each_source_may_have_one(self) -> None:
        """A quarter of three connections is less than one, which would be no limit at all or no connection."""
        for most in (1, 2, 3):
            quotas = Quotas(SourceLimits(), MemoryReactor())
            quotas.share_connections(most)
            self.assertEqual(self.fill(quotas.connections, source_network(HOME[0])), 1)

    def test_new_limit_is_used_at_once(self) -> None:
        """A reload changes how many connections a source may have, below its share of them all."""
        quotas = Quotas(SourceLimits(connections=5), MemoryReactor())
        quotas.share_connections(128)
        self.assertEqual(self.fill(quotas.connections, source_network(HOME[0])), 5)
        quotas.change(SourceLimits(connections=9))
        self.assertEqual(self.fill(quotas.connections, source_network(HOME[0])), 4)
        quotas.change(SourceLimits(connections=1000))
        self.assertEqual(self.fill(quotas.connections, source_network(HOME[0])), 32 - 9)


class GivenBackTests(SynchronousTestCase):
    """What a source gives back, and what costs nothing."""

    def test_request_without_offers_costs_nothing(self) -> None:
        """It is refused for another reason, also when the source may publish nothing more."""
        quotas = Quotas(SourceLimits(publications=0.02), MemoryReactor())
        source = source_network(HOME[0])
        quotas.publications(source, 1)
        self.assertRaises(TooMany, quotas.publications, source, 1)
        quotas.publications(source, 0)

    def test_bodies_that_have_arrived_make_room(self) -> None:
        """For the bodies of all sources together: those of the past are not counted."""
        quotas = Quotas(SourceLimits.none(), MemoryReactor())
        source = source_network(HOME[0])
        for _ in range(3):
            quotas.receive(source, MAX_UNFINISHED)
            self.assertRaises(Full, quotas.receive, source, 1)
            quotas.received(source, MAX_UNFINISHED)
