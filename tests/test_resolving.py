"""Tests of :mod:`rendezvous.resolving`."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.resolving import choose, literal, resolve
from rendezvous.testing.names import MemoryResolver


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


class ResolveTests(SynchronousTestCase):
    """Tests of :func:`rendezvous.resolving.resolve`."""

    def setUp(self) -> None:
        """Begin with a resolver that knows no name."""
        self.names = MemoryResolver()

    def test_address_is_not_looked_up(self) -> None:
        """It is the answer."""
        self.assertEqual(self.successResultOf(resolve(self.names, "2001:DB8::1")), ["2001:db8::1"])
        self.assertEqual(self.names.asked, [])

    def test_all_ip_addresses_of_a_name_are_found(self) -> None:
        """In the order of the resolver. Addresses of other kinds are left out."""
        found = resolve(self.names, "rendezvous.example")
        self.assertNoResult(found)
        [question] = self.names.asked
        self.assertEqual(question.name, "rendezvous.example")
        question.receiver.addressResolved(cast(Any, object()))
        self.names.answer("2001:db8::1", "192.0.2.1")
        self.assertEqual(self.successResultOf(found), ["2001:db8::1", "192.0.2.1"])

    def test_name_without_an_address_has_an_empty_list(self) -> None:
        """This is no error."""
        self.names.known["rendezvous.example"] = []
        self.assertEqual(self.successResultOf(resolve(self.names, "rendezvous.example")), [])

    def test_answer_after_cancelling_is_ignored(self) -> None:
        """Twisted's resolver cannot be stopped, and answers later."""
        found = resolve(self.names, "rendezvous.example")
        found.cancel()
        self.failureResultOf(found, CancelledError)
        self.names.answer("192.0.2.1")
