"""Tests for :mod:`rendezvous.client.network.interfaces`, and for the modules ``gateway`` and ``netlink`` beside it."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.client.network import gateway, interfaces, netlink
from rendezvous.client.network.gateway import Gateway, find_gateway, guess, read_table
from rendezvous.client.network.interfaces import MAX_ADDRESSES, interface_addresses, source_address, usable
from rendezvous.client.network.netlink import Address, Link, Route

LOOPBACK = Link(1, "lo", is_up=True, is_loopback=True)
ETHERNET = Link(2, "eth0", is_up=True, is_loopback=False)
WIRELESS = Link(3, "wlan0", is_up=True, is_loopback=False)
ADDRESSES = [
    Address(1, "127.0.0.1"),
    Address(1, "::1"),
    Address(2, "192.168.1.20"),
    Address(2, "2a11:7:1::2"),
    Address(2, "fe80::2"),
    Address(3, "10.0.0.7"),
]


def bridge(index: int, name: str, **fields: bool) -> Link:
    """:returns: a bridge with a carrier."""
    return Link(index, name, is_up=fields.get("is_up", True), is_loopback=False, kind="bridge")


def veth(index: int, name: str, master: int) -> Link:
    """:returns: one end of a pair, in a bridge."""
    return Link(index, name, is_up=True, is_loopback=False, kind="veth", master=master)


class HygieneTests(SynchronousTestCase):
    """Which addresses a host offers to a peer."""

    def test_loopback_and_link_local_are_left_out(self) -> None:
        """They name another host at each reader."""
        found = usable([LOOPBACK, ETHERNET, WIRELESS], [*ADDRESSES, Address(3, "169.254.7.7")], ["192.168.1.20"])
        self.assertEqual(found, ["192.168.1.20", "2a11:7:1::2", "10.0.0.7"])

    def test_addresses_of_the_default_route_come_first(self) -> None:
        """Also if another interface has the lower number; IPv4 and IPv6 come in turn."""
        addresses = [*ADDRESSES, Address(3, "2a11:7:2::2")]
        self.assertEqual(
            usable([LOOPBACK, ETHERNET, WIRELESS], addresses, ["10.0.0.7", "2a11:7:2::2"]),
            ["10.0.0.7", "2a11:7:2::2", "192.168.1.20", "2a11:7:1::2"],
        )

    def test_interface_that_is_down_is_left_out(self) -> None:
        """Its address reaches nothing."""
        down = Link(3, "wlan0", is_up=False, is_loopback=False)
        self.assertNotIn("10.0.0.7", usable([ETHERNET, down], ADDRESSES, []))

    def test_deprecated_and_temporary_addresses_are_left_out(self) -> None:
        """A peer should use an address that lasts."""
        addresses = [
            Address(2, "2a11:7:1::3", is_preferred=False),
            Address(2, "2a11:7:1::4", is_temporary=True),
            Address(2, "2a11:7:1::5"),
        ]
        self.assertEqual(usable([ETHERNET], addresses, []), ["2a11:7:1::5"])

    def test_virtual_interfaces_are_left_out(self) -> None:
        """By their usual names, with a carrier or without."""
        names = ("docker0", "br-0123456789ab", "virbr0", "veth12ab", "lxdbr0", "cni0", "podman1", "vboxnet0")
        links = [Link(number, name, is_up=True, is_loopback=False) for number, name in enumerate(names, 10)]
        addresses = [Address(link.index, f"172.17.{link.index}.1") for link in links]
        self.assertEqual(usable([ETHERNET, *links], [*ADDRESSES, *addresses], []), ["192.168.1.20", "2a11:7:1::2"])

    def test_names_that_only_begin_alike_are_kept(self) -> None:
        """``br-lan`` is the LAN of a router."""
        link = Link(10, "br-lan", is_up=True, is_loopback=False)
        self.assertEqual(usable([link], [Address(10, "192.168.1.1")], []), ["192.168.1.1"])

    def test_bridge_of_virtual_parts_is_left_out(self) -> None:
        """Whatever its name: it connects containers with each other. One without any part does not even do that."""
        links = [ETHERNET, bridge(10, "mine"), veth(11, "a", 10), veth(12, "b", 10), bridge(13, "empty")]
        addresses = [*ADDRESSES, Address(10, "172.20.0.1"), Address(13, "172.21.0.1")]
        self.assertEqual(usable(links, addresses, []), ["192.168.1.20", "2a11:7:1::2"])

    def test_bridge_with_hardware_is_kept(self) -> None:
        """It is the LAN of this host, beside which virtual machines may be."""
        links = [bridge(10, "br0"), Link(2, "eth0", is_up=True, is_loopback=False, master=10), veth(11, "a", 10)]
        self.assertEqual(usable(links, [Address(10, "192.168.1.20")], []), ["192.168.1.20"])

    def test_interface_of_the_default_route_is_kept(self) -> None:
        """Whatever it is: inside of a container it is one end of a pair."""
        for link in (bridge(10, "mine"), veth(10, "veth0", 0)):
            self.assertEqual(usable([link], [Address(10, "172.20.0.2")], ["172.20.0.2"]), ["172.20.0.2"])

    def test_at_most_ten(self) -> None:
        """Those of the default route are among them."""
        links = [Link(number, f"eth{number}", is_up=True, is_loopback=False) for number in range(1, 31)]
        addresses = [Address(link.index, f"10.{link.index}.0.7") for link in links]
        addresses += [Address(link.index, f"2a11:7:{link.index:x}::2") for link in links]
        found = usable(links, addresses, ["10.30.0.7", "2a11:7:1e::2"])
        self.assertEqual((len(found), found[:2]), (MAX_ADDRESSES, ["10.30.0.7", "2a11:7:1e::2"]))
        self.assertEqual(len([host for host in found if ":" in host]), 5)

    def test_twenty_bridges_change_nothing(self) -> None:
        """A host with twenty bridges of containers, all with a carrier, offers what one without them offers."""
        clean = [LOOPBACK, ETHERNET, WIRELESS]
        links, addresses = list(clean), list(ADDRESSES)
        for number in range(10, 50, 2):
            links += [bridge(number, f"br{number}"), veth(number + 1, f"v{number}", number)]
            addresses += [Address(number, f"172.{number}.0.1"), Address(number, f"fd00:{number}::1")]
        default = ["192.168.1.20"]
        self.assertEqual(usable(links, addresses, default), usable(clean, ADDRESSES, default))

    def test_same_address_twice_is_offered_once(self) -> None:
        """Two interfaces may have one address."""
        self.assertEqual(
            usable([ETHERNET, WIRELESS], [Address(2, "10.0.0.7"), Address(3, "10.0.0.7")], []), ["10.0.0.7"]
        )


class ReadingTests(SynchronousTestCase):
    """How addresses are read from the system."""

    def test_this_host(self) -> None:
        """Each address that is found can be bound, and none is loopback."""
        for host in interface_addresses():
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as opened:
                opened.bind((host, 0))
            self.assertNotIn(host, ("127.0.0.1", "::1"))

    def test_without_netlink(self) -> None:
        """Where netlink is missing or forbidden, the addresses of the default routes are found all the same."""
        default = [host for host in map(source_address, ("198.41.0.4", "2001:503:ba3e::2:30")) if host is not None]
        with patch.object(netlink, "_open", side_effect=PermissionError):
            found = interface_addresses()
        self.assertEqual([host for host in default if host not in found], [])
        self.assertNotIn("127.0.0.1", found)

    def test_without_anything(self) -> None:
        """The addresses of the default routes are known to the system in any case."""

        def read() -> interfaces.Read:
            raise OSError("not today")

        sources = {"198.41.0.4": "192.168.1.20", "2001:503:ba3e::2:30": None}
        self.assertEqual(interface_addresses(read, sources.__getitem__), ["192.168.1.20"])

    def test_source_address(self) -> None:
        """The source for loopback is loopback. A destination without a route has none."""
        self.assertEqual(source_address("127.0.0.1"), "127.0.0.1")
        with patch.object(socket.socket, "connect", side_effect=OSError(101, "Network is unreachable")):
            self.assertIsNone(source_address("198.41.0.4"))


class NetlinkTests(SynchronousTestCase):
    """What the kernel says."""

    if not hasattr(socket, "AF_NETLINK"):
        skip = "this system has no netlink"

    def test_loopback(self) -> None:
        """Every Linux host has the interface ``lo``."""
        [loopback] = [link for link in netlink.links() if link.is_loopback]
        self.assertEqual(loopback.name, "lo")
        self.assertIn(loopback.index, {address.index for address in netlink.addresses()} or {loopback.index})

    def test_route_to_this_host(self) -> None:
        """It leads over loopback, without a router."""
        route = netlink.route("127.0.0.1")
        assert route is not None
        self.assertEqual((route.gateway, route.source), (None, "127.0.0.1"))

    def test_socket_of_changes_does_not_block(self) -> None:
        """It has nothing to read while nothing changes."""
        with netlink.open_changes() as opened:
            self.assertFalse(opened.getblocking())


class GatewayTests(SynchronousTestCase):
    """The next router."""

    TABLE = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t0200A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
tun0\t00000000\t0100080A\t0003\t0\t0\t50\t00000080\t0\t0\t0
eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
"""

    def test_table_of_routes(self) -> None:
        """The default route with the smallest metric counts."""
        table = self.TABLE
        if sys.byteorder == "big":
            table = table.replace("0101A8C0", "C0A80101")
        self.assertEqual(read_table(table), "192.168.1.1")

    def test_table_without_a_default_route(self) -> None:
        """There is no router then."""
        lines = self.TABLE.splitlines(keepends=True)
        self.assertIsNone(read_table(lines[0] + "".join(lines[3:])))
        self.assertIsNone(read_table(""))

    def test_table_of_another_shape(self) -> None:
        """It is refused."""
        for text in ("head\none two\n", "head\n" + "x " * 11):
            self.assertRaises(ValueError, read_table, text)

    def test_guess(self) -> None:
        """The first address of the network, unless this host has it."""
        self.assertEqual([guess("192.168.1.20"), guess("192.168.1.1")], ["192.168.1.1", None])

    def find(
        self, route: Route | OSError | None, source: str | None = "192.168.1.20", *, ipv6: bool = False
    ) -> Gateway | None:
        """:returns: the router for what the system says."""
        with (
            patch.object(netlink, "route", side_effect=[route]),
            patch.object(gateway, "source_address", return_value=source),
            patch.object(gateway, "_ROUTES", Path("/nonexistent")),
        ):
            return find_gateway(ipv6=ipv6)

    def test_router_of_the_kernel(self) -> None:
        """The kernel knows the router and the source address towards it."""
        self.assertEqual(self.find(Route(2, "192.168.1.1", "192.168.1.21")), Gateway("192.168.1.1", "192.168.1.21"))
        self.assertEqual(self.find(Route(2, "192.168.1.1", None)), Gateway("192.168.1.1", "192.168.1.20"))

    def test_link_local_router_has_a_scope(self) -> None:
        """Without the interface its address means nothing."""
        with patch.object(socket, "if_indextoname", return_value="eth0"):
            found = self.find(Route(2, "fe80::1", "2a11:7:1::2"), "2a11:7:1::2", ipv6=True)
        self.assertEqual(found, Gateway("fe80::1%eth0", "2a11:7:1::2"))

    def test_interface_that_has_just_gone(self) -> None:
        """Its name can no longer be found."""
        with patch.object(socket, "if_indextoname", side_effect=OSError(6, "No such device or address")):
            self.assertIsNone(self.find(Route(2, "fe80::1", "2a11:7:1::2"), "2a11:7:1::2", ipv6=True))

    def test_no_router(self) -> None:
        """No route, or a route into a tunnel, is no router."""
        self.assertIsNone(self.find(None))
        self.assertIsNone(self.find(Route(5, None, "10.8.0.2")))
        self.assertIsNone(self.find(Route(2, "192.168.1.1", None), None))

    def test_without_netlink(self) -> None:
        """The router is guessed for IPv4 where the system does not say. For IPv6 nothing could be guessed."""
        self.assertEqual(self.find(PermissionError()), Gateway("192.168.1.1", "192.168.1.20"))
        self.assertIsNone(self.find(PermissionError(), "192.168.1.1"))
        self.assertIsNone(self.find(PermissionError(), "2a11:7:1::2", ipv6=True))

    def test_agrees_with_the_table_of_this_host(self) -> None:
        """Netlink and ``/proc/net/route`` name the same router, where this host has one."""
        found = find_gateway()
        if found is None or not gateway._ROUTES.exists():
            self.skipTest("this host has no router")
        self.assertEqual(read_table(gateway._ROUTES.read_text()), found.host)
