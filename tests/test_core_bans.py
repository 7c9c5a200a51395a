"""Bans of networks and clients."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core import bans as module
from rendezvous.core.bans import SWEPT, Ban, Bans
from rendezvous.core.notes import Removed
from rendezvous.errors import Full, Malformed, NotFound

NOW = 1_800_000_000.0
CLIENT = bytes(range(16))


def ban(target: str, until: float | None = None, since: float = NOW) -> Ban:
    """:returns: a ban."""
    return Ban(target, until, "flood", since)


class BanTests(SynchronousTestCase):
    """Which bans hold, and until when."""

    def setUp(self) -> None:
        """No bans."""
        self.noted: list[object] = []
        self.bans = Bans(self.noted.append)

    def test_network(self) -> None:
        """Every address in it, however a socket shows it, and no other one."""
        self.bans.add(ban("198.51.100.0/24"))
        self.bans.add(ban("2001:db8::/32"))
        for host in ("198.51.100.0", "198.51.100.255", "::ffff:198.51.100.7", "2001:db8::1", "2001:db8::1%eth0"):
            self.assertIsNotNone(self.bans.of_host(host, NOW), host)
        for host in ("198.51.101.0", "198.51.99.255", "2001:db9::", "::198.51.100.7", "", "no address"):
            self.assertIsNone(self.bans.of_host(host, NOW), host)

    def test_address_is_a_network_of_one(self) -> None:
        """With its length in the list."""
        self.bans.add(ban("198.51.100.7"))
        self.assertEqual([each.target for each in self.bans.all(NOW)], ["198.51.100.7/32"])
        self.assertIsNone(self.bans.of_host("198.51.100.8", NOW))

    def test_client(self) -> None:
        """By its id, in hex digits of any case."""
        self.bans.add(ban(CLIENT.hex().upper()))
        self.assertEqual(self.bans.of_client(CLIENT, NOW), ban(CLIENT.hex()))
        self.assertIsNone(self.bans.of_client(bytes(16), NOW))
        self.assertFalse(self.bans.has_networks)

    def test_end(self) -> None:
        """It holds up to its moment, and is forgotten after it."""
        for target, found in (("198.51.100.0/24", self.network), (CLIENT.hex(), self.client)):
            self.bans.add(ban(target, until=NOW + 60))
            self.assertIsNotNone(found(NOW + 59.9))
            self.assertIsNone(found(NOW + 60))
            self.assertEqual(self.bans.all(NOW + 60), [])
            self.assertEqual((self.bans.sweep(NOW + 59.9), self.bans.sweep(NOW + 60), len(self.bans)), (0, 1, 0))
        self.assertFalse(self.bans.has_networks)

    def network(self, wall: float) -> Ban | None:
        """:returns: the ban of an address in the network."""
        return self.bans.of_host("198.51.100.7", wall)

    def client(self, wall: float) -> Ban | None:
        """:returns: the ban of the client."""
        return self.bans.of_client(CLIENT, wall)

    def test_many_that_end_at_once_are_forgotten_bit_by_bit(self) -> None:
        """They hold no more from their end on, also those that are not forgotten yet; a new ban finds room."""
        for number in range(2 * SWEPT + 1):
            self.bans.begin(f"10.{number >> 8}.{number & 255}.0/24", 60, "", NOW)
        swept = [self.bans.sweep(NOW + 60) for _ in range(4)]
        self.assertEqual(swept, [SWEPT, SWEPT, 1, 0])
        self.assertFalse(self.bans.has_networks)
        for number in range(SWEPT + 1):
            self.bans.begin(f"10.{number >> 8}.{number & 255}.0/24", 60, "", NOW)
        self.bans.sweep(NOW + 60)
        self.assertTrue(self.bans.has_networks)
        for number in range(SWEPT + 1):
            self.assertIsNone(self.bans.of_host(f"10.{number >> 8}.{number & 255}.1", NOW + 60))
        self.assertEqual(self.bans.all(NOW + 60), [])

    def test_lift(self) -> None:
        """It ends at once; a second time there is none."""
        for target, found in (("198.51.100.0/24", self.network), (CLIENT.hex(), self.client)):
            self.bans.add(ban(target))
            self.assertTrue(found(NOW))
            self.assertEqual(self.bans.lift(target.upper()), ban(target))
            self.assertIsNone(found(NOW))
            self.assertEqual(self.assertRaises(NotFound, self.bans.lift, target).code, "no-such-ban")
        self.assertFalse(self.bans.has_networks)

    def test_it_knows_whether_any_client_is_banned(self) -> None:
        """Bans of networks do not count, and one that is replaced counts once."""
        self.assertFalse(self.bans.has_clients)
        self.bans.add(ban("198.51.100.0/24"))
        self.assertFalse(self.bans.has_clients)
        for _ in range(2):
            self.bans.add(ban(CLIENT.hex()))
            self.assertTrue(self.bans.has_clients)
        self.bans.lift("198.51.100.0/24")
        self.assertTrue(self.bans.has_clients)
        self.bans.lift(CLIENT.hex())
        self.assertFalse(self.bans.has_clients)

    def test_only_bans_of_networks_are_announced(self) -> None:
        """Once they hold; one that is restored at the start is not announced."""
        announced: list[bool] = []
        self.bans.on_network = lambda: announced.append(self.network(NOW) is not None)
        self.bans.add(ban(CLIENT.hex()))
        self.assertEqual(announced, [])
        self.bans.restore(ban("198.51.100.7/32"))
        self.assertEqual(announced, [])
        self.bans.add(ban("198.51.100.0/24"))
        self.assertEqual(announced, [True])

    def test_second_ban_of_a_target_replaces_the_first(self) -> None:
        """With its end and its reason."""
        self.bans.add(ban("198.51.100.0/24", until=NOW + 60))
        self.bans.add(ban("198.51.100.0/24", until=NOW + 90))
        self.assertEqual(len(self.bans), 1)
        self.assertIsNotNone(self.network(NOW + 89))

    def test_ban_that_is_over_hides_none_that_holds(self) -> None:
        """Of a smaller network in a larger one, for example."""
        self.bans.add(ban("198.51.100.7", until=NOW + 1))
        self.bans.add(ban("198.51.100.0/24"))
        self.assertEqual(self.bans.of_host("198.51.100.7", NOW + 2), ban("198.51.100.0/24"))

    def test_zones(self) -> None:
        """A ban holds in all of them. A zone is any text: it would be kept, logged and shown, and two bans be one."""
        for target in ("fe80::1%eth0", "fe80::1%2", "fe80::1%\x1b[2J", "fe80::%" + "x" * 4000 + "/64", "%"):
            self.assertRaises(Malformed, self.bans.add, ban(target))
        self.bans.add(ban("fe80::1"))
        self.assertIsNotNone(self.bans.of_host("fe80::1%eth0", NOW))

    def test_wrong_targets(self) -> None:
        """One sentence says what is wrong, and nothing has changed."""
        for target in ("", "x", "198.51.100.7/24", "::ffff:198.51.100.0/120", CLIENT.hex() + "0", "1.2.3.4/33"):
            self.assertRaises(Malformed, self.bans.add, ban(target))
            self.assertRaises(Malformed, self.bans.lift, target)
        self.assertEqual(len(self.bans), 0)

    def test_network_with_host_bits_is_refused(self) -> None:
        """The operator may mean one address or all of them; the message has both."""
        for target, network, address in (
            ("198.51.100.7/24", "198.51.100.0/24", "198.51.100.7"),
            ("2001:DB8::1/32", "2001:db8::/32", "2001:db8::1"),
        ):
            for error in (
                self.assertRaises(Malformed, self.bans.begin, target, None, "", NOW),
                self.assertRaises(Malformed, self.bans.lift, target),
            ):
                self.assertIn(f"did you mean {network}, or {address}?", str(error))
        self.assertEqual(len(self.bans), 0)
        self.assertEqual(self.bans.begin("198.51.100.0/255.255.255.0", None, "", NOW).target, "198.51.100.0/24")

    def test_number_is_bounded(self) -> None:
        """One that is there already can still be replaced."""
        self.patch(module, "MAX_BANS", 2)
        for target in ("192.0.2.1", "192.0.2.2", "192.0.2.2"):
            self.bans.add(ban(target))
        self.assertEqual(self.assertRaises(Full, self.bans.add, ban("192.0.2.3")).code, "full-bans")

    def test_changes_are_noted(self) -> None:
        """Each new ban, and each end; what was kept is not noted again."""
        first = ban("192.0.2.1/32")
        self.bans.add(first)
        self.bans.lift("192.0.2.1")
        self.bans.restore(first)
        self.assertEqual(self.noted, [first, Removed(first)])

    def test_latest_come_first(self) -> None:
        """In the list."""
        for number in (2, 1, 3):
            self.bans.add(ban(f"192.0.2.{number}/32", since=NOW + number))
        self.assertEqual([each.target[-4:] for each in self.bans.all(NOW)], ["3/32", "2/32", "1/32"])

    @given(
        st.lists(st.tuples(st.ip_addresses(), st.integers(1, 128)), max_size=8),
        st.lists(st.ip_addresses(), max_size=8),
    )
    def test_look_up_is_that_of_the_standard_library(
        self, networks: list[tuple[object, int]], hosts: list[object]
    ) -> None:
        """Whatever the lengths; an address of a network is always found."""
        bans = Bans()
        made = []
        for address, length in networks:
            network = ip_network(f"{address}/{min(length, ip_address(str(address)).max_prefixlen)}", strict=False)
            try:
                bans.add(ban(str(network)))
            except Malformed:
                continue
            made.append(network)
            hosts = [*hosts, network.network_address, network.broadcast_address]
        for host in hosts:
            plain = ip_address(str(host))
            plain = getattr(plain, "ipv4_mapped", None) or plain
            self.assertEqual(bans.of_host(str(host), NOW) is not None, any(plain in network for network in made), host)
