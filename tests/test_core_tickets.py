"""Tickets: used once, within a minute, and bounded."""

from __future__ import annotations

import re
from itertools import count

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.identity import Credential
from rendezvous.core.sources import UNKNOWN, source_network
from rendezvous.core.tickets import AT_ONCE, TICKET_CHARS, Tickets, make_tickets
from rendezvous.errors import Full, TooMany, Unauthorized
from rendezvous.limits import SignalingLimits

NOW = 1_700_000_000.0
HOME, OTHER = source_network("198.51.100.7"), source_network("203.0.113.9")
CREDENTIAL = Credential(b"k" * 32, b"c" * 16)


class TicketTests(SynchronousTestCase):
    """A table of tickets."""

    def tickets(self, most: int = 10, share: float = 0.0) -> Tickets:
        """An empty table; its tickets are numbered."""
        numbers = count(1)
        limits = SignalingLimits(tickets=most)
        return make_tickets(limits, share, lambda size: next(numbers).to_bytes(size))

    def test_used_once(self) -> None:
        """It stands for the credential; then it is unknown."""
        tickets = self.tickets()
        text, until = tickets.give(CREDENTIAL, HOME, NOW)
        self.assertEqual(until, NOW + 60)
        self.assertIsNotNone(re.fullmatch(f"[A-Za-z0-9_-]{{{TICKET_CHARS}}}", text))
        self.assertEqual(tickets.use(text, NOW + 59.9), CREDENTIAL)
        self.assertRaises(Unauthorized, tickets.use, text, NOW + 59.9)
        self.assertEqual(len(tickets), 0)

    def test_too_old(self) -> None:
        """After a minute it is forgotten, and gives its place back."""
        tickets = self.tickets(1, 1.0)
        text, until = tickets.give(CREDENTIAL, HOME, NOW)
        self.assertRaises(Unauthorized, tickets.use, text, until)
        self.assertEqual((len(tickets), len(tickets.shares)), (0, 0))

    def test_many_that_are_too_old(self) -> None:
        """Are forgotten some at a time, and none of them is good meanwhile."""
        tickets = self.tickets(3 * AT_ONCE)
        texts = [tickets.give(CREDENTIAL, HOME, NOW)[0] for _ in range(3 * AT_ONCE)]
        self.assertRaises(Unauthorized, tickets.use, texts[-1], NOW + 60)
        self.assertEqual((len(tickets), tickets.shares.held(HOME)), (2 * AT_ONCE - 1, 2 * AT_ONCE - 1))
        tickets.give(CREDENTIAL, HOME, NOW + 60)
        self.assertEqual(len(tickets), AT_ONCE)
        self.assertRaises(Unauthorized, tickets.use, "x", NOW + 61)
        self.assertEqual(len(tickets), 1)

    def test_what_is_no_ticket(self) -> None:
        """Is refused."""
        for text in ("", "x", "\u2603" * 43, "A" * 10_000):
            self.assertRaises(Unauthorized, self.tickets().use, text, NOW)

    def test_number(self) -> None:
        """In all: the next one is refused until one is used or too old."""
        tickets = self.tickets(2)
        first, _ = tickets.give(CREDENTIAL, HOME, NOW)
        tickets.give(CREDENTIAL, HOME, NOW + 1)
        self.assertEqual(self.assertRaises(Full, tickets.give, CREDENTIAL, OTHER, NOW + 1).code, "full-tickets")
        tickets.use(first, NOW + 1)
        tickets.give(CREDENTIAL, HOME, NOW + 2)
        self.assertRaises(Full, tickets.give, CREDENTIAL, UNKNOWN, NOW + 60.9)
        tickets.give(CREDENTIAL, HOME, NOW + 61)

    def test_largest_source_is_named(self) -> None:
        """A full table names the network that has most tickets, for the operator's log."""
        tickets = self.tickets(3)
        for source in (OTHER, HOME, HOME):
            tickets.give(CREDENTIAL, source, NOW)
        error = self.assertRaises(Full, tickets.give, CREDENTIAL, OTHER, NOW)
        assert error.holder is not None
        self.assertEqual(error.holder(), HOME.subscriber)

    def test_number_of_a_source(self) -> None:
        """Each has its share, and gets it back with each ticket that is used."""
        tickets = self.tickets(20, 0.1)
        texts = [tickets.give(CREDENTIAL, HOME, NOW)[0] for _ in range(2)]
        self.assertEqual(self.assertRaises(TooMany, tickets.give, CREDENTIAL, HOME, NOW).code, "source-tickets")
        tickets.give(CREDENTIAL, OTHER, NOW)
        tickets.use(texts[0], NOW)
        tickets.give(CREDENTIAL, HOME, NOW)

    def test_nothing_of_a_credential_is_shown(self) -> None:
        """Where a table is logged."""
        tickets = self.tickets()
        tickets.give(CREDENTIAL, HOME, NOW)
        self.assertNotIn("kkkk", repr(vars(tickets)))
