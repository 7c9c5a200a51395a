"""Port mapping and uplinks on a real network: miniupnpd behind nftables, in network namespaces."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests._process_case import CHECKOUT, PATIENCE
from tests.natlab.namespaces import Namespaces, find, missing
from tests.test_peers_process import require

HOST, ROUTER, OUTSIDE, BEYOND = "10.77.0.2", "10.77.0.1", "11.77.0.1", "11.77.0.2"
HOST_IPV6 = "2a11:77:1::2"
LOCAL = 40000

#: A router whose NAT gives every destination another port, and whose firewall lets no stranger in.
RULES = """
table inet upnp {
  chain mini_forward { }
  chain mini_pre { }
  chain mini_post { }
  chain forward {
    type filter hook forward priority 0;
    ct state established,related accept; iifname "lan" accept; jump mini_forward; drop;
  }
  chain prerouting { type nat hook prerouting priority dstnat; jump mini_pre; }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    jump mini_post; oifname "wan" meta nfproto ipv4 masquerade fully-random;
  }
}
"""
CONFIGURATION = """
ext_ifname=wan
ext_ifname6=wan
listening_ip=lan
enable_natpmp=yes
enable_upnp=no
secure_mode=yes
min_lifetime=120
upnp_table_name=upnp
upnp_nat_table_name=upnp
upnp_forward_chain=mini_forward
upnp_nat_chain=mini_pre
upnp_nat_postrouting_chain=mini_post
allow 1024-65535 0.0.0.0/0 1024-65535
"""
UPNP = CONFIGURATION.replace("natpmp=yes", "natpmp=no").replace("upnp=no", "upnp=yes") + f"uuid={uuid4()}\n"
#: What drops PCP on its way into the router, so that it seems to know NAT-PMP alone.
NO_PCP = "table inet old { chain input { type filter hook input priority 0; udp dport 5351 @th,64,8 2 drop; }; }"

#: Does what the lines of its standard input say, and writes a line of JSON for each event.
PROGRAM = """
import json, sys
from twisted.internet import defer, reactor
from twisted.internet.protocol import DatagramProtocol, ProcessProtocol
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineReceiver
from rendezvous.client.network.gateway import find_gateway
from rendezvous.client.network.interfaces import interface_addresses
from rendezvous.client.portmap import PortMapper
from rendezvous.client.network.uplink import Uplink

def say(**event):
    print(json.dumps(event, default=list), flush=True)

def shown(mapping):
    return mapping and [mapping.host, mapping.port, mapping.protocol]

class Socket(DatagramProtocol):
    def datagramReceived(self, datagram, source):
        say(event="datagram", text=datagram.decode(), source=source[0])
        self.transport.write(datagram, source)

mapper = PortMapper(reactor, upnp="upnp" in sys.argv)
uplink = Uplink(reactor, lambda: (mapper.network_changed(), say(event="uplink", addresses=interface_addresses())))

class Commands(LineReceiver):
    delimiter = b"\\n"
    def lineReceived(self, line):
        done = defer.ensureDeferred(self.do(*json.loads(line)))
        done.addErrback(lambda failure: say(event="failed", why=str(failure)))
    async def do(self, verb, *words):
        started = reactor.seconds()
        if verb == "open":
            reactor.listenUDP(words[0], Socket(), interface=words[1])
            say(event="open")
        elif verb == "map":
            port, ipv6 = words
            found = await mapper.map(port, ipv6=ipv6, on_change=lambda found: say(event="change", mapping=shown(found)))
            say(event="mapped", mapping=shown(found), seconds=reactor.seconds() - started)
        elif verb == "report":
            report = mapper.report(ipv6=words[0])
            say(event="report", double=report.is_double_nat, external=report.external_address)
        elif verb == "watch":
            uplink.start()
            say(event="watching", addresses=interface_addresses())
        elif verb == "addresses":
            say(event="addresses", addresses=interface_addresses(), seconds=reactor.seconds() - started)
        elif verb == "stop":
            await mapper.stop()
            say(event="stopped", seconds=reactor.seconds() - started)
            reactor.stop()

StandardIO(Commands())
reactor.run()
"""


class NetworkCase(SynchronousTestCase):
    """A host behind a router, and a stranger beyond it."""

    def setUp(self) -> None:
        """Make the network."""
        absent = missing("miniupnpd")
        require(not absent, absent or "the laboratory")
        self.namespaces = Namespaces()
        self.addCleanup(self.namespaces.close)
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)
        for name in ("host", "router", "beyond"):
            self.namespaces.add(name)
        self.namespaces.sysctl("router", net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        self.namespaces.ip(
            "router",
            "link add name lan type veth peer name eth0 netns @host",
            "link add name wan type veth peer name eth0 netns @beyond",
            f"addr add {ROUTER}/24 dev lan",
            "addr add fe80::77/64 dev lan nodad",
            "addr add 2a11:77:1::1/64 dev lan nodad",
            "addr add 2a11:77:2::1/64 dev wan nodad",
            "link set lan up",
            "link set wan up",
        )
        self.namespaces.ip(
            "host",
            f"addr add {HOST}/24 dev eth0",
            f"addr add {HOST_IPV6}/64 dev eth0 nodad",
            "link set eth0 up",
            f"route add default via {ROUTER}",
            "route add default via fe80::77 dev eth0",
        )
        self.namespaces.ip(
            "beyond",
            "addr add 2a11:77:2::2/64 dev eth0 nodad",
            "link set eth0 up",
            "route add 2a11:77:1::/64 via 2a11:77:2::1",
        )

    def serve(self, outside: str = OUTSIDE, beyond: str = BEYOND, configuration: str = CONFIGURATION) -> None:
        """Give the router its external address, and start miniupnpd on it."""
        self.namespaces.ip("router", f"addr add {outside}/24 dev wan")
        self.namespaces.ip("beyond", f"addr add {beyond}/24 dev eth0")
        self.namespaces.run("router", "nft", "-f", "-", stdin=RULES)
        (self.directory / "miniupnpd.conf").write_text(configuration)
        with open(self.directory / "miniupnpd.log", "w") as log:
            words = ("-d", "-f", "miniupnpd.conf", "-P", str(self.directory / "miniupnpd.pid"))
            self.daemon = self.namespaces.start(
                "router", find("miniupnpd") or "", *words, cwd=self.directory, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + PATIENCE
        port = ":5351" if configuration == CONFIGURATION else ":1900"
        while port not in self.namespaces.run("router", "ss", "-Hlnu"):
            self.assertLess(time.monotonic(), deadline, "miniupnpd does not listen")
            time.sleep(0.02)

    def start(self, *words: str) -> None:
        """Start the program on the host."""
        self.program = self.namespaces.start("host", sys.executable, "-c", PROGRAM, *words, cwd=CHECKOUT)

    def say(self, *words: object) -> None:
        """Have the program do something."""
        assert self.program.stdin is not None
        self.program.stdin.write(json.dumps(words) + "\n")
        self.program.stdin.flush()

    def event(self, name: str) -> Any:
        """:returns: the next event, which has to be of this name."""
        out = self.program.stdout
        assert out is not None
        ready, _, _ = select.select([out], [], [], PATIENCE)
        event = json.loads(out.readline() or '{"event": "the end"}') if ready else {"event": "nothing"}
        self.assertEqual(event["event"], name, event)
        return event

    def map(self, *words: str, ipv6: bool = False) -> Any:
        """:returns: what came of a request for a mapping."""
        self.start(*words)
        self.say("open", LOCAL, HOST_IPV6 if ipv6 else HOST)
        self.event("open")
        self.say("map", LOCAL, ipv6)
        return self.event("mapped")

    def made(self, mapped: Any) -> Any:
        """:returns: the mapping, which may come after the budget when the machine is busy."""
        return mapped["mapping"] or self.event("change")["mapping"]

    def knock(self, destination: str, port: int = LOCAL) -> bytes | None:
        """:returns: the answer to a datagram of a stranger, ``None`` if there is none within half a second."""
        with self.namespaces.socket("beyond", "::" if ":" in destination else "") as opened:
            opened.sendto(b"hello", (destination, port))
            ready, _, _ = select.select([opened], [], [], 0.5)
            return opened.recvfrom(100)[0] if ready else None


class PortMappingTests(NetworkCase):
    """A router that runs miniupnpd."""

    def check_mapping(self, protocol: str) -> None:
        """A stranger reaches the host at the mapping and is answered from there, until the mapping is removed."""
        self.assertEqual(self.made(self.map()), [OUTSIDE, LOCAL, protocol])
        self.assertEqual(self.knock(OUTSIDE), b"hello")
        self.assertEqual(self.event("datagram")["source"], BEYOND)
        self.say("stop")
        self.assertLess(self.event("stopped")["seconds"], 1.5)
        self.assertNotIn(str(LOCAL), self.namespaces.run("router", "nft", "list", "ruleset"))

    def test_pcp(self) -> None:
        """A symmetric NAT can be reached by everybody at a mapping of PCP."""
        self.serve()
        self.check_mapping("pcp")

    def test_natpmp(self) -> None:
        """Also if the router seems to know NAT-PMP alone, and drops PCP."""
        self.serve()
        self.namespaces.run("router", "nft", "-f", "-", stdin=NO_PCP)
        self.check_mapping("nat-pmp")

    def test_upnp(self) -> None:
        """A router with UPnP alone makes a mapping, if the application agrees to UPnP."""
        if sys.version_info < (3, 14):  # For later versions there is no wheel.
            require(find_spec("miniupnpc"), "miniupnpc")
        elif find_spec("miniupnpc") is None:
            raise SkipTest("miniupnpc is not available here")
        self.serve(configuration=UPNP)
        self.assertIsNone(self.map("upnp")["mapping"])
        self.assertEqual(self.event("change")["mapping"], [OUTSIDE, LOCAL, "upnp"])
        self.assertEqual(self.knock(OUTSIDE), b"hello")
        self.assertEqual(self.event("datagram")["source"], BEYOND)
        self.say("stop")
        self.event("stopped")
        self.assertNotIn(str(LOCAL), self.namespaces.run("router", "nft", "list", "ruleset"))

    def test_pinhole(self) -> None:
        """PCP opens the firewall for IPv6. The router has a link-local address, as most do."""
        self.serve()
        self.assertEqual(self.made(self.map(ipv6=True)), [HOST_IPV6, LOCAL, "pcp"])
        self.assertEqual(self.knock(HOST_IPV6), b"hello")
        self.assertIsNone(self.knock(HOST_IPV6, LOCAL + 1))

    def test_double_nat(self) -> None:
        """A router behind the NAT of a carrier refuses, and the report says why."""
        self.serve("100.64.0.10", "100.64.0.1")
        self.assertIsNone(self.map()["mapping"])
        deadline = time.monotonic() + PATIENCE
        report = None
        while not report or not report["double"]:
            self.assertLess(time.monotonic(), deadline, report)
            self.say("report", False)
            report = self.event("report")
        self.assertEqual(report["external"], "100.64.0.10")

    def test_restart_of_the_router(self) -> None:
        """A mapping that the router has lost is made again, as soon as something shows that it has restarted."""
        self.serve()
        self.made(self.map())
        self.namespaces.end(self.daemon)
        self.namespaces.run("router", "nft", "flush", "ruleset")
        self.namespaces.ip("router", f"addr del {OUTSIDE}/24 dev wan")
        self.namespaces.ip("beyond", f"addr del {BEYOND}/24 dev eth0")
        self.serve()
        self.assertIsNone(self.knock(OUTSIDE))
        self.say("watch")
        self.event("watching")
        self.namespaces.ip("router", "link set lan down", "link set lan up")
        self.event("uplink")
        deadline = time.monotonic() + PATIENCE
        while (answer := self.knock(OUTSIDE)) is None:
            self.assertLess(time.monotonic(), deadline, "the mapping is not made again")
        self.assertEqual(answer, b"hello")

    def test_no_daemon(self) -> None:
        """Without an answer there is no mapping after 250 ms, and stopping takes no time."""
        mapped = self.map()
        self.assertIsNone(mapped["mapping"])
        self.assertLess(mapped["seconds"], 0.5)
        self.say("stop")
        self.assertLess(self.event("stopped")["seconds"], 0.2)


class UplinkTests(NetworkCase):
    """What the kernel tells of a network that changes."""

    def test_changes(self) -> None:
        """A new address, a route that is lost and a cable that is plugged are changes; a container is none."""
        self.start()
        self.say("watch")
        self.assertEqual(self.event("watching")["addresses"], [HOST, HOST_IPV6])
        self.namespaces.ip("host", "addr add 10.77.0.3/24 dev eth0")
        self.assertEqual(self.event("uplink")["addresses"], [HOST, HOST_IPV6, "10.77.0.3"])
        self.namespaces.ip(
            "host",
            "link add name docker0 type bridge",
            "link add name veth1 type veth peer name veth2",
            "link set veth1 master docker0",
            "addr add 172.17.0.1/16 dev docker0",
            "link set docker0 up",
            "link set veth1 up",
            "link set veth2 up",
        )
        time.sleep(1)  # For this nothing may come.
        self.namespaces.ip("host", "route del default")
        self.assertEqual(self.event("uplink")["addresses"], [HOST, HOST_IPV6, "10.77.0.3"])
        self.namespaces.ip("host", f"route add default via {ROUTER}")
        self.event("uplink")
        self.namespaces.ip("router", "link set lan down")
        self.assertEqual(self.event("uplink")["addresses"], [])
        self.namespaces.ip("router", "link set lan up")
        self.event("uplink")

    def test_interface_that_is_replaced(self) -> None:
        """An interface that goes is a change, and one that comes in its place another."""
        self.start()
        self.say("watch")
        self.event("watching")
        self.namespaces.ip("host", "link del eth0")
        self.assertEqual(self.event("uplink")["addresses"], [])
        self.namespaces.ip("router", "link add name lan2 type veth peer name eth0 netns @host", "link set lan2 up")
        self.namespaces.ip(
            "host", "link set eth0 up", "addr add 10.78.0.2/24 dev eth0", "route add default via 10.78.0.1"
        )
        self.assertEqual(self.event("uplink")["addresses"], ["10.78.0.2"])

    def test_interface_that_is_replaced_at_once(self) -> None:
        """Both together are one change."""
        self.start()
        self.say("watch")
        self.event("watching")
        self.namespaces.ip(
            "host",
            "link del eth0",
            "link add name eth0 type veth peer name eth1",
            "link set eth0 up",
            "link set eth1 up",
            f"addr add {HOST}/24 dev eth0",
            f"route add default via {ROUTER}",
        )
        self.assertEqual(self.event("uplink")["addresses"], [HOST])


class ManyBridgesTests(NetworkCase):
    """A host with the networks of many containers."""

    def test_twenty_bridges(self) -> None:
        """They are neither offered to peers nor do they take time."""
        commands = []
        for number in range(20):
            name = "docker0" if number == 0 else f"br-{number:012x}" if number < 10 else f"mine{number}"
            commands += [
                f"link add name {name} type bridge",
                f"link add name v{number}a type veth peer name v{number}b",
                f"link set v{number}a master {name}",
                f"addr add 172.{17 + number}.0.1/16 dev {name}",
                f"addr add fd00:{number}::1/64 dev {name} nodad",
                f"link set {name} up",
                f"link set v{number}a up",
                f"link set v{number}b up",
            ]
        self.namespaces.ip("host", *commands)
        self.start()
        self.say("addresses")
        event = self.event("addresses")
        self.assertEqual(event["addresses"], [HOST, HOST_IPV6])
        self.assertLess(event["seconds"], 0.1)
