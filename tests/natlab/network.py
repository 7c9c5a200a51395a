r"""
A network of sites: hosts behind routers behind a core, with delay between any two that the core joins.

.. code-block:: text

    server 11.7.0.1, 11.7.0.2   turn 11.7.0.3   stranger 11.7.0.4
                        \          |          /
                         core (tests.natlab.bridge)
                        /                      \
          router a 11.7.1.1                hop 11.7.2.2
              lan 10.1.0.1                     |
             /          \                 router b 11.9.2.2
    host a 10.1.0.2   host a2 10.1.0.3       lan 10.2.0.1
                                               |
                                             host b 10.2.0.2

Outside addresses are global unicast ones, because programs treat those of documentation as private. Nothing leaves the
namespaces. With IPv6 a site has a network of its own, ``2a11:7:NUMBER::/64``, and its router is a firewall, not a NAT.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import attrs

from tests.natlab.bridge import Conditions
from tests.natlab.namespaces import LaboratoryError, Namespaces
from tests.natlab.rules import ruleset
from tests.real_server import CHECKOUT

SERVER, SERVER_2, TURN, STRANGER = "11.7.0.1", "11.7.0.2", "11.7.0.3", "11.7.0.4"
SERVER_IPV6 = "2a11:7::1"
#: Of the networks of the core, for IPv4 and IPv6.
_LENGTHS = (16, 32)
_OFFLOADS = ("tx", "off", "tso", "off", "gso", "off", "gro", "off")


@attrs.define
class Site:
    """
    Hosts behind a router.

    :ivar name: of its router's namespace.
    :ivar number: of its networks.
    :ivar port: of the core, through which its datagrams come.
    :ivar outside: the address of its router, as those outside see it.
    :ivar inside: the first three bytes of its network of hosts, as text with a dot at the end.
    :ivar ipv6: its network of hosts, without the last group; empty without IPv6.
    :ivar hosts: how many have been made.
    """

    name: str
    number: int
    port: str
    outside: str
    inside: str
    ipv6: str = ""
    hosts: int = 0


class Network:
    """
    The core, with a server, a TURN server and a stranger; then sites.

    :ivar namespaces: those of this network.
    """

    def __init__(self) -> None:
        self.namespaces = Namespaces()
        self._attached: list[str] = []
        self._routes: list[tuple[str, str, str]] = []
        self._sites = 0
        self._conditions: dict[str, Any] = {"delay": 0}
        try:
            self.namespaces.add("core")
            self.namespaces.sysctl("core", net__ipv6__conf__all__disable_ipv6=1)
            self._bridge = self._start_bridge()
            self.node("server", SERVER, SERVER_2, SERVER_IPV6)
            self.node("turn", TURN, "2a11:7::3")
            self.node("stranger", STRANGER, "2a11:7::4")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove everything."""
        self.namespaces.close()

    def _start_bridge(self) -> subprocess.Popen[str]:
        return self.namespaces.start("core", sys.executable, "-m", "tests.natlab.bridge", cwd=CHECKOUT)

    def conditions(self, **conditions: Any) -> None:
        """Set what the core does to packets: :class:`~tests.natlab.bridge.Conditions`. It counts anew from here on."""
        Conditions(**conditions)
        self._conditions = conditions
        self._tell_bridge()

    def carried(self) -> dict[str, int]:
        """:returns: the datagrams that went from port to port of the core (``"from>to"``) since this was last asked."""
        return self._tell_bridge()

    def _tell_bridge(self) -> dict[str, int]:
        """Tell the bridge of conditions and of new ports."""
        assert self._bridge.stdin is not None
        assert self._bridge.stdout is not None
        self._bridge.stdin.write(json.dumps(self._conditions) + "\n")
        self._bridge.stdin.flush()
        answer = self._bridge.stdout.readline()
        if not answer:
            raise LaboratoryError("The bridge of the core has ended.")
        carried: dict[str, int] = json.loads(answer)
        return carried

    # Nodes of the core.

    def node(self, name: str, *addresses: str) -> None:
        """Attach a new namespace to the core, with these addresses, and tell it of all routes."""
        self.namespaces.add(name)
        self._attach(name, *addresses)

    def _attach(self, name: str, *addresses: str) -> None:
        self.namespaces.ip(name, f"link add name wan type veth peer name p-{name} netns @core")
        self.namespaces.run(name, "ethtool", "-K", "wan", *_OFFLOADS)
        self.namespaces.ip("core", f"link set p-{name} up")
        self.namespaces.ip(
            name,
            *(f"addr add {each}/{_LENGTHS[':' in each]} dev wan" for each in addresses),
            "link set wan up",
            *(f"route add {prefix} via {via}" for prefix, via, of in self._routes if of != name),
        )
        self._attached.append(name)
        self._tell_bridge()

    def _route(self, prefix: str, via: str, of: str) -> None:
        """Add a route to a network behind a node of the core, in all the others."""
        self._routes.append((prefix, via, of))
        for name in self._attached:
            if name != of:
                self.namespaces.ip(name, f"route add {prefix} via {via}")

    # Sites.

    def site(
        self,
        name: str,
        kind: str,
        *,
        hops: int = 0,
        hairpin: bool = False,
        ipv6: bool = False,
        behind: Site | None = None,
    ) -> Site:
        """
        Make a site without hosts.

        :param name: of its router.
        :param kind: of its NAT, a key of :data:`~tests.natlab.rules.NATS`.
        :param hops: routers between its own and the core.
        :param hairpin: see :func:`~tests.natlab.rules.ruleset`.
        :param ipv6: whether it has IPv6, with a firewall if the kind has one.
        :param behind: the site whose customer it is; a carrier's NAT.
        """
        self._sites += 1
        number = self._sites
        # Inside addresses of a site without a NAT are public.
        inside = f"11.8.{number}." if kind == "public" else f"10.{number}.0."
        self._router(name)
        port = f"{name}-hop{hops}" if hops else name
        if behind is not None:
            port, outside = behind.port, self._join_carrier(name, behind)
        elif hops:
            outside = self._join_hops(name, number, hops, f"{inside}0/24" if kind == "public" else "")
        else:
            outside = f"11.7.1.{number}"
            self._attach(name, outside, *([f"2a11:7::1:{number}"] if ipv6 else []))
        site = Site(name, number, port, outside, inside, f"2a11:7:{number}::" if ipv6 else "")
        self.namespaces.ip(name, "link add name lan type bridge", "link set lan up", f"addr add {inside}1/24 dev lan")
        if ipv6:
            self.namespaces.ip(name, f"addr add {site.ipv6}1/64 dev lan")
            self._route(f"{site.ipv6}/64", f"2a11:7::1:{number}", name)
        if kind == "public" and not hops:
            self._route(f"{inside}0/24", outside, name)
        self.set_nat(site, kind, hairpin=hairpin)
        return site

    def carrier(self, name: str, kind: str, *, hairpin: bool = False) -> Site:
        """:returns: a site for customers: a NAT whose inside has addresses of RFC 6598."""
        site = self.site(name, kind)
        self.namespaces.ip(name, f"addr del {site.inside}1/24 dev lan", "addr add 100.64.0.1/24 dev lan")
        site.inside = "100.64.0."
        self.set_nat(site, kind, hairpin=hairpin)
        return site

    def _router(self, name: str) -> None:
        self.namespaces.add(name)
        self.namespaces.sysctl(name, net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)

    def _join_carrier(self, name: str, carrier: Site) -> str:
        """:returns: the address of a router that is now a customer."""
        carrier.hosts += 1
        outside = f"{carrier.inside}{carrier.hosts + 1}"
        self._plug(name, "wan", carrier)
        self.namespaces.ip(name, f"addr add {outside}/24 dev wan", f"route add default via {carrier.inside}1")
        return outside

    def _join_hops(self, name: str, number: int, hops: int, inside: str) -> str:
        """
        Put routers in a row between the core and a router.

        :param inside: a network behind that router that others can reach; empty if there is none.
        :returns: the address of that router.
        """
        nearer = name
        for hop in range(hops):
            farther = f"{name}-hop{hop + 1}"
            self._router(farther)
            near, far = f"11.9.{number}.{4 * hop + 2}", f"11.9.{number}.{4 * hop + 1}"
            self.namespaces.ip(nearer, f"link add name wan type veth peer name in netns @{farther}")
            self.namespaces.ip(nearer, f"addr add {near}/30 dev wan", "link set wan up", f"route add default via {far}")
            behind = [each for each in (inside, f"11.9.{number}.0/30" if hop else "") if each]
            self.namespaces.ip(
                farther,
                f"addr add {far}/30 dev in",
                "link set in up",
                *(f"route add {network} via {near}" for network in behind),
            )
            nearer = farther
        outermost = f"11.7.2.{number}"
        self._attach(nearer, outermost)
        for network in (f"11.9.{number}.0/24", inside):
            if network:
                self._route(network, outermost, nearer)
        return f"11.9.{number}.2"

    def set_nat(self, site: Site, kind: str, *, hairpin: bool = False) -> None:
        """
        Give a router another kind of NAT, without mappings.

        :param hairpin: see :func:`~tests.natlab.rules.ruleset`.
        """
        rules = ruleset(kind, site.outside, f"{site.inside}0/24", hairpin)
        self.namespaces.run(site.name, "nft", "-f", "-", stdin=f"flush ruleset\n{rules}")
        self.set_timeouts(site, 30, 120)
        self.forget(site)

    def set_timeouts(self, site: Site, idle: int, stream: int) -> None:
        """
        Set how long a router keeps mappings. Those that it has are not concerned until they are used again.

        :param idle: seconds until a mapping ends that has seen little.
        :param stream: seconds until one ends that has seen datagrams both ways for longer than two seconds.
        """
        self.namespaces.sysctl(
            site.name,
            net__netfilter__nf_conntrack_udp_timeout=idle,
            net__netfilter__nf_conntrack_udp_timeout_stream=stream,
        )

    def forget(self, site: Site) -> None:
        """End all mappings of a router."""
        self.namespaces.run(site.name, "conntrack", "-F")
        listed = json.loads(self.namespaces.run(site.name, "nft", "-j", "list", "ruleset"))["nftables"]
        for each in listed:
            for kind in ("map", "set"):
                if kind in each and "dynamic" in each[kind].get("flags", ()):
                    self.namespaces.run(site.name, "nft", "flush", kind, "ip", "nat", each[kind]["name"])

    def cut(self, site: Site, *allowed: str) -> None:
        """Drop silently all UDP of a site but that with these addresses of the core, until :meth:`mend`."""
        only = ", ".join(allowed)
        rules = f"""
            table inet cut {{
              chain forward {{
                type filter hook forward priority -20;
                ip daddr {{ {only} }} accept
                ip saddr {{ {only} }} accept
                meta l4proto udp drop
              }}
            }}"""
        self.namespaces.run(site.name, "nft", "-f", "-", stdin=rules)

    def mend(self, site: Site) -> None:
        """Let through again what :meth:`cut` dropped."""
        self.namespaces.run(site.name, "nft", "delete", "table", "inet", "cut")

    # Hosts.

    def host(self, name: str, site: Site) -> str:
        """
        Put a new host into a site.

        :returns: its IPv4 address.
        """
        self.namespaces.add(name)
        return self.plug(name, site)

    def plug(self, name: str, site: Site) -> str:
        """
        Plug a host's only cable into a site's router.

        :returns: its new IPv4 address.
        """
        site.hosts += 1
        address = f"{site.inside}{site.hosts + 1}"
        self._plug(name, "eth0", site)
        self.namespaces.ip(name, f"addr add {address}/24 dev eth0", f"route add default via {site.inside}1")
        if site.ipv6:
            self.namespaces.ip(
                name,
                f"addr add {site.ipv6}{site.hosts + 1}/64 dev eth0",
                f"route add ::/0 via {site.ipv6}1",
            )
        return address

    def _plug(self, name: str, interface: str, site: Site) -> None:
        port = f"l{site.hosts}"
        self.namespaces.ip(
            site.name,
            f"link add name {port} type veth peer name {interface} netns @{name}",
            f"link set {port} master lan up",
        )
        self.namespaces.ip(name, f"link set {interface} up")

    def unplug(self, name: str) -> None:
        """Pull a host's only cable."""
        self.namespaces.ip(name, "link del eth0")

    def add_bridges(self, name: str, count: int) -> None:
        """Give a host bridges with private addresses, as container engines do: every other one without a carrier."""
        for number in range(count):
            commands = [f"link add name br-{number} type bridge", f"addr add 172.{17 + number}.0.1/16 dev br-{number}"]
            if number % 2:
                commands += [
                    f"link add name veth{number} type veth peer name inner{number}",
                    f"link set veth{number} master br-{number} up",
                    f"link set inner{number} up",
                ]
            self.namespaces.ip(name, *commands, f"link set br-{number} up")
