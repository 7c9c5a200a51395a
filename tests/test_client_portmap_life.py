"""Port mappings that are there: renewed, lost, made again, and removed."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.client.portmap.lease import Epoch
from tests._gateways import OUTSIDE
from tests._portmap_case import LOCAL, PortMapCase


class EpochTests(SynchronousTestCase):
    """The rule of RFC 6887, section 8.5."""

    def continued(self, server: int, client: float) -> bool:
        """:returns: whether mappings are still there after an epoch has grown by so much in so much time."""
        epoch = Epoch()
        self.assertTrue(epoch.is_continued(1000, 50.0))
        return epoch.is_continued(1000 + server, 50.0 + client)

    def test_clocks_may_differ_by_a_sixteenth_and_two_seconds(self) -> None:
        """In either direction; a second more means that the router has restarted."""
        for server, client in ((160, 148), (148, 160), (2, 0), (0, 2), (32, 28), (28, 32)):
            self.assertTrue(self.continued(server, client), (server, client))
        for server, client in ((160, 147), (147, 160), (3, 0), (0, 3)):
            self.assertFalse(self.continued(server, client), (server, client))

    def test_epoch_may_go_back_by_a_second(self) -> None:
        """A reply may overtake the one before; more than that is a restart."""
        self.assertTrue(self.continued(-1, 0))
        self.assertFalse(self.continued(-2, 0))


class LifeTests(PortMapCase):
    """A mapping is kept until it is released."""

    def test_renewed_at_half_life(self) -> None:
        """Two hours are asked for, and again after one, with the same nonce and the port that was given."""
        for protocol, opcode in (("pcp", (2, 1)), ("nat-pmp", (0, 1))):
            self.setUp()
            self.router(protocol).offset = 5
            self.mapped()
            before = len(self.times(*opcode))
            self.fake.advance(3599)
            self.assertEqual(self.times(*opcode)[before:], [])
            self.fake.advance(2)
            self.assertEqual(self.times(*opcode)[before:], [3600.0])
            self.assertEqual(self.fake.mappings, {(protocol, LOCAL): LOCAL + 5})
            self.fake.advance(7200)
            self.assertEqual((len(self.times(*opcode)) - before, self.changes), (3, []))
            self.stop()

    def test_short_lifetime_is_renewed_at_its_half(self) -> None:
        """The lifetime that the router grants counts, and not the one that was asked for."""
        self.router("pcp").granted = 100
        self.mapped()
        self.fake.advance(101)
        self.assertEqual(self.times(2, 1), [0.0, 50.0, 100.0])
        self.stop()

    def test_lifetime_of_a_second_makes_no_flood(self) -> None:
        """Renewals are at least four seconds apart."""
        self.router("pcp").granted = 1
        self.mapped()
        self.fake.advance(100)
        self.assertLess(len(self.times(2, 1)), 110)
        self.stop()

    def test_lost_mapping_is_a_change_and_is_asked_for_again(self) -> None:
        """If no renewal is answered, the mapping ends with its lifetime."""
        for protocol in ("pcp", "nat-pmp"):
            self.setUp()
            self.router(protocol)
            self.mapped()
            self.fake.is_on = False
            self.fake.advance(7199)
            self.assertEqual(self.changes, [])
            self.fake.advance(2)
            self.assertEqual(self.changes, [None])
            self.fake.is_on = True
            self.fake.advance(30)
            self.assertEqual(self.changes, [None, (OUTSIDE, LOCAL)])
            self.stop()

    def test_refused_renewal_is_a_change(self) -> None:
        """A router that no longer wants a mapping ends it."""
        self.router("pcp")
        self.mapped()
        self.fake.refusal = 2
        self.fake.advance(3601)
        self.assertEqual(self.changes, [None])
        self.stop()

    def test_restart_of_the_router_is_noticed(self) -> None:
        """Its epoch is asked for every minute; after a restart the same mapping is asked for at once."""
        for protocol in ("pcp", "nat-pmp"):
            self.setUp()
            self.router(protocol).offset = 5
            self.mapped()
            self.fake.advance(600)
            self.fake.restart()
            self.assertEqual(self.fake.mappings, {})
            self.fake.advance(61)
            self.assertEqual(self.fake.mappings, {(protocol, LOCAL): LOCAL + 5})
            self.assertEqual(self.changes, [])
            self.stop()

    def test_router_that_does_not_restore_a_mapping(self) -> None:
        """If a restarted router refuses or gives another port, the application hears of it."""
        self.router("pcp")
        self.mapped()
        self.fake.restart()
        self.fake.mappings["pcp", LOCAL] = 50000
        self.fake.advance(61)
        self.assertEqual(self.changes, [(OUTSIDE, 50000)])
        self.fake.restart()
        self.fake.refusal = 8
        self.fake.advance(61)
        self.assertEqual(self.changes, [(OUTSIDE, 50000), None])
        self.stop()

    def test_new_external_address_is_a_change(self) -> None:
        """A router with NAT-PMP says its address every minute."""
        self.router("nat-pmp")
        self.mapped()
        self.fake.address = "11.8.1.99"
        self.fake.advance(61)
        self.assertEqual(self.changes, [("11.8.1.99", LOCAL)])
        self.fake.address = "10.0.0.5"
        self.fake.advance(61)
        self.assertEqual(self.changes, [("11.8.1.99", LOCAL), None])
        self.stop()

    def test_idle_socket_is_closed(self) -> None:
        """After the last mapping was released nothing is open."""
        self.router("pcp")
        mapping = self.mapped()
        released = mapping.release()
        self.fake.pump()
        self.successResultOf(released)
        self.assertEqual(self.fake.mappings, {})
        self.assertEqual([port for port in self.reactor.udp_ports if port.listening], [])
        self.stop()

    def test_release_takes_a_second_at_most(self) -> None:
        """A router that does not confirm a removal is asked three times."""
        self.router("nat-pmp")
        mapping = self.mapped()
        self.fake.is_on = False
        before = len(self.reactor.udp_ports[0].sent)
        released = mapping.release()
        self.fake.advance(0.9)
        self.assertNoResult(released)
        self.fake.advance(0.2)
        self.successResultOf(released)
        removals = [datagram for datagram, _ in self.reactor.udp_ports[0].sent[before:]]
        # RFC 6886, section 3.4: a removal has lifetime 0 and no external port.
        self.assertEqual(removals, [bytes.fromhex("00010000 9c40 0000 00000000")] * 3)
        self.stop()

    def test_refused_removal_is_an_end_too(self) -> None:
        """The router has answered."""
        self.router("pcp")
        mapping = self.mapped()
        self.fake.refusal = 2
        released = mapping.release()
        self.fake.pump()
        self.successResultOf(released)
        self.stop()

    def test_stop_without_an_answering_router_takes_no_time(self) -> None:
        """What may have been mapped is removed with one datagram, and nothing waits for an answer."""
        self.router()
        self.map()
        self.fake.advance(1)
        stopped = self.mapper.stop()
        self.reactor.advance(0)
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.udp_ports[0].sent[-1][0][4:8], bytes(4))
        self.stop()

    def test_release_of_an_old_mapping_leaves_a_new_one_alone(self) -> None:
        """Each mapping releases itself, also if its port has been mapped again since."""
        self.router("pcp", "nat-pmp")
        old = self.mapped()
        self.mapper.release(LOCAL)
        new = self.mapped()
        self.successResultOf(old.release())
        self.fake.advance(5)
        self.assertEqual((new.port, self.fake.mappings), (LOCAL, {("pcp", LOCAL): LOCAL}))
        new.release()
        self.fake.advance(5)
        self.assertEqual(self.fake.mappings, {})
        self.stop()

    def test_pending_removal_does_not_remove_a_new_mapping(self) -> None:
        """NAT-PMP knows mappings by their port only, so a port that is mapped again is not removed any more."""
        self.router("nat-pmp")
        mapping = self.mapped()
        self.fake.is_on = False
        released = mapping.release()
        self.fake.pump()
        self.fake.is_on = True
        self.mapped()
        self.successResultOf(released)
        self.fake.advance(5)
        self.assertEqual(self.fake.mappings, {("nat-pmp", LOCAL): LOCAL})
        self.stop()
