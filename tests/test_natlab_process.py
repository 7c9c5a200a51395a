"""The NAT laboratory: each kind of NAT does what its name says, the core delays and loses, and nothing remains."""

from __future__ import annotations

import os
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from tests._natlab_case import NatlabCase
from tests._process_case import CHECKOUT
from tests.natlab import namespaces
from tests.natlab.namespaces import Namespaces, listed
from tests.natlab.network import SERVER, SERVER_IPV6, STRANGER, TURN, Network
from tests.natlab.probing import PLACES, Observers, arrived, delivered
from tests.natlab.programs import TURN_PORT, UDP_PORTS, Programs
from tests.natlab.rules import NATS


def _runs(pid: int) -> bool:
    """:returns: whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class KindTests(NatlabCase):
    """Mapping and filtering, measured with plain sockets."""

    def test_every_kind_is_what_it_says(self) -> None:
        """The measured behaviour of each kind of NAT is the one that its entry names."""
        site = self.network.site("a", "port-restricted")
        self.network.host("host-a", site)
        public = self.network.site("b", "public")
        self.network.host("host-b", public)
        observers = self.observers()
        for kind, nat in NATS.items():
            host = "host-b" if kind == "public" else "host-a"
            if kind != "public":
                self.network.set_nat(site, kind)
            self.assertEqual(observers.mapping(host), nat.mapping, kind)
            self.network.forget(site)
            self.assertEqual(observers.filtering(host), nat.filtering, kind)

    def test_ports_are_kept_or_changed(self) -> None:
        """Some kinds keep the inside port, one gives a random one, one gives them in order, one gives 512 of them."""
        site = self.network.site("a", "port-restricted")
        self.network.host("host-a", site)
        observers = self.observers()

        def ports(kind: str) -> tuple[int, list[int]]:
            self.network.set_nat(site, kind)
            host = observers.open("host-a")
            seen = [observers.seen(host, place) for place in PLACES]
            return host.getsockname()[1], [each[1] for each in seen if each]

        for kind in ("full-cone", "address-restricted", "port-restricted", "linux-naive"):
            inside, outside = ports(kind)
            self.assertEqual(set(outside), {inside}, kind)
        inside, outside = ports("random-port")
        self.assertNotIn(inside, outside)
        first = ports("sequential")[1]
        self.assertEqual(first, list(range(first[0], first[0] + 4)))
        self.assertTrue(all(40000 <= port < 40512 for port in ports("port-block")[1]))

    def test_a_mapping_ends(self) -> None:
        """A mapping that has seen one exchange ends after the time that is set for it."""
        site = self.network.site("a", "port-restricted")
        self.network.host("host-a", site)
        self.network.set_timeouts(site, 1, 1)
        observers = self.observers()
        host = observers.open("host-a")
        seen = observers.seen(host)
        assert seen is not None
        self.assertTrue(observers.reach(seen, host)["same"])
        time.sleep(2.5)
        self.assertFalse(observers.reach(seen, host)["same"])

    def test_linux_naive_gives_another_port_to_who_came_first(self) -> None:
        """A router that keeps an unsolicited datagram changes its inside's port towards the sender."""
        site = self.network.site("a", "port-restricted")
        self.network.host("host-a", site)
        observers = self.observers()
        peer = observers.open("stranger", STRANGER, 9999)
        for kind, kept in (("port-restricted", True), ("linux-naive", False)):
            self.network.set_nat(site, kind)
            host = observers.open("host-a")
            seen = observers.seen(host)
            assert seen is not None
            peer.sendto(b"too early", seen)
            time.sleep(0.05)
            towards = delivered(host, (STRANGER, 9999), [peer])
            self.assertEqual(towards == seen, kept, kind)


class PlaceTests(NatlabCase):
    """Where routers stand: with hops, in series, with hairpinning, with IPv6."""

    def test_a_low_ttl_ends_at_a_hop(self) -> None:
        """A datagram with a TTL of 2 passes its own router and not the hop behind it; one with 3 passes both."""
        for name, hops in (("a", 1), ("b", 2)):
            self.network.host(f"host-{name}", self.network.site(name, "port-restricted", hops=hops))
        observers = self.observers()
        for name, enough in (("a", 3), ("b", 4)):
            host = observers.open(f"host-{name}")
            for ttl, arrives in ((enough - 1, False), (enough, True)):
                host.setsockopt(0, 2, ttl)
                self.assertEqual(observers.seen(host) is not None, arrives, (name, ttl))

    def test_hairpinning(self) -> None:
        """Two hosts of one site reach each other by outside addresses if the router does hairpinning, and only then."""
        for hairpin in (False, True):
            with closing(Network()) as network:
                site = network.site("a", "port-restricted", hairpin=hairpin)
                network.host("one", site)
                network.host("two", site)
                with closing(Observers(network)) as observers:
                    one, two = observers.open("one"), observers.open("two")
                    seen_one, seen_two = observers.seen(one), observers.seen(two)
                    assert seen_two is not None
                    self.assertEqual(delivered(one, seen_two, [two]), seen_one if hairpin else None)

    def test_carrier(self) -> None:
        """A customer's host is seen at the carrier's address, and customers reach each other through hairpinning."""
        carrier = self.network.carrier("carrier", "full-cone", hairpin=True)
        for name in ("a", "b"):
            self.network.host(f"host-{name}", self.network.site(name, "full-cone", behind=carrier))
        observers = self.observers()
        one, two = observers.open("host-a"), observers.open("host-b")
        seen_one, seen_two = observers.seen(one), observers.seen(two)
        assert seen_one is not None
        assert seen_two is not None
        self.assertEqual({seen_one[0], seen_two[0]}, {carrier.outside})
        self.assertEqual(delivered(one, seen_two, [two]), seen_one)

    def test_ipv6_firewall(self) -> None:
        """Over IPv6 addresses are not translated, and a firewall lets in only what was asked for."""
        for name in ("a", "b"):
            self.network.host(f"host-{name}", self.network.site(name, "port-restricted", ipv6=True))
        observers = self.observers()
        one, two = (observers.open(f"host-{name}", f"2a11:7:{number}::2") for name, number in (("a", 1), ("b", 2)))
        server = observers.open("server", SERVER_IPV6, 3478)
        self.assertEqual(delivered(one, (SERVER_IPV6, 3478), [server], tries=20), one.getsockname()[:2])
        self.assertIsNone(delivered(one, two.getsockname()[:2], [two]))
        two.sendto(b"open", one.getsockname()[:2])
        self.assertEqual(delivered(one, two.getsockname()[:2], [two]), one.getsockname()[:2])

    def test_a_host_moves(self) -> None:
        """A host that is plugged into another router is seen at that one's address."""
        first, second = self.network.site("a", "port-restricted"), self.network.site("b", "port-restricted")
        self.network.host("host", first)
        observers = self.observers()
        before = observers.seen(observers.open("host"))
        self.network.unplug("host")
        self.network.plug("host", second)
        after = observers.seen(observers.open("host"))
        assert before is not None
        assert after is not None
        self.assertEqual((before[0], after[0]), (first.outside, second.outside))

    def test_a_path_dies_silently(self) -> None:
        """A cut lets through what it names, drops the rest without an error, and can be mended."""
        site = self.network.site("a", "full-cone")
        self.network.host("host", site)
        observers = self.observers()
        host = observers.open("host")
        seen = observers.seen(host)
        assert seen is not None
        self.network.cut(site, SERVER)
        reach = observers.reach(seen, host)
        self.assertTrue(reach["port"])
        self.assertFalse(reach["stranger"])
        self.network.mend(site)
        self.assertTrue(observers.reach(seen, host)["stranger"])

    def test_bridges_of_containers(self) -> None:
        """A host can have bridges with addresses, with and without a carrier, and still reaches the core."""
        self.network.host("host", self.network.site("a", "port-restricted"))
        self.network.add_bridges("host", 20)
        addresses = self.network.namespaces.run("host", "ip", "-4", "-o", "address").splitlines()
        self.assertEqual(len([line for line in addresses if " br-" in line]), 20)
        observers = self.observers()
        self.assertIsNotNone(observers.seen(observers.open("host")))


class CoreTests(NatlabCase):
    """What the core does to packets."""

    def test_delay(self) -> None:
        """A datagram needs the delay that is set, and a little more for one direction that has more."""
        self.network.host("host", self.network.site("a", "port-restricted"))
        observers = self.observers()
        host = observers.open("host")
        for extra, expected in ((0, 0.02), (30, 0.05)):
            self.network.conditions(delay=20, extra={"a>server": extra, "server>a": 500})
            took = []
            for _ in range(15):
                started = time.monotonic()
                self.assertIsNotNone(observers.seen(host))
                took.append(time.monotonic() - started)
            self.assertGreaterEqual(min(took), expected)
            self.assertLess(statistics.median(took), expected + 0.008)

    def test_loss(self) -> None:
        """The share of datagrams that is lost is the one that is set, one by one or for a while."""
        self.network.host("host", self.network.site("a", "port-restricted"))
        observers = self.observers()
        host, server = observers.open("host"), observers.open("server", SERVER, 5555)
        self.network.conditions(delay=0, loss=0.1)
        lost = self._lost(host, server, 4000)
        self.assertLess(abs(sum(lost) / len(lost) - 0.1), 0.03)
        self.assertLess(self._longest(lost), 10)
        self.network.conditions(delay=0, loss=0.1, burst=50)
        self.assertGreater(self._longest(self._lost(host, server, 4000)), 12)

    @staticmethod
    def _longest(lost: list[bool]) -> int:
        """:returns: how many were lost in a row at most."""
        return max(map(len, "".join("x" if each else "." for each in lost).split(".")))

    @staticmethod
    def _lost(host: socket.socket, server: socket.socket, count: int) -> list[bool]:
        """:returns: whether each of so many datagrams has not arrived."""
        seen = set()
        for number in range(count):
            host.sendto(number.to_bytes(4, "big"), (SERVER, 5555))
            time.sleep(0.001)
            seen |= {data for _, data, _ in arrived([server], 0)}
        while more := arrived([server], 0.2):
            seen |= {data for _, data, _ in more}
        return [number.to_bytes(4, "big") not in seen for number in range(count)]


class ProgramTests(NatlabCase):
    """The server, coturn and the daemon for port mapping run in the laboratory."""

    programs = ("turnserver", "miniupnpd")

    def setUp(self) -> None:
        """Start with a host behind a symmetric NAT."""
        super().setUp()
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)
        self.started = Programs(self.network, self.directory)
        self.site = self.network.site("a", "symmetric")
        self.network.host("host", self.site)

    def test_port_mapping(self) -> None:
        """A router gives a mapping by NAT-PMP (RFC 6886, section 3.3), and a stranger reaches the host through it."""
        self.started.port_mapping(self.site)
        observers = self.observers()
        host = observers.open("host", port=4444)
        self.assertFalse(observers.reach((self.site.outside, 4444), host)["stranger"])
        host.sendto(struct.pack("!BBHHHI", 0, 1, 0, 4444, 4444, 600), ("10.1.0.1", 5351))
        [(_, answer, _)] = arrived([host], 2.0)
        self.assertEqual(answer[1:4], b"\x81\0\0")
        outside = int.from_bytes(answer[10:12], "big")
        self.assertTrue(observers.reach((self.site.outside, outside), host)["stranger"])

    def test_server_and_relay(self) -> None:
        """The server and coturn answer STUN Bindings (RFC 8489) of a host, each with the NAT's address."""
        self.started.server(*self.started.turn())
        request = b"\0\1\0\0\x21\x12\xa4\x42" + bytes(range(12))
        host = self.observers().open("host")
        for place in ((SERVER, UDP_PORTS[0]), (SERVER, UDP_PORTS[1]), (TURN, TURN_PORT)):
            host.sendto(request, place)
            [(_, answer, _)] = arrived([host], 2.0)
            self.assertEqual(answer[:2], b"\1\1")
            outside = bytes(a ^ b for a, b in zip(socket.inet_aton(self.site.outside), request[4:8], strict=True))
            self.assertIn(outside, answer)


class EndTests(NatlabCase):
    """Nothing remains of a run."""

    def test_a_killed_run_leaves_nothing(self) -> None:
        """The namespaces and processes of a run that was killed are gone shortly after."""
        program = (
            "import time; from tests.natlab.network import Network; network = Network(); "
            "print(network.namespaces.prefix, network._bridge.pid, flush=True); time.sleep(60)"
        )
        with subprocess.Popen([sys.executable, "-c", program], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as run:
            assert run.stdout is not None
            prefix, bridge = run.stdout.readline().split()
            self.assertTrue(any(name.startswith(prefix) for name in listed()))
            run.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 10
        while (any(name.startswith(prefix) for name in listed()) or _runs(int(bridge))) and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertFalse([name for name in listed() if name.startswith(prefix)])
        self.assertFalse(_runs(int(bridge)))

    def test_every_process_is_ended(self) -> None:
        """The end of a run ends all of its processes, however many there are."""
        opened = Namespaces()
        opened.add("host")
        started = [opened.start("host", "sleep", "60") for _ in range(4)]
        opened.close()
        self.assertEqual([process.poll() for process in started], [-signal.SIGKILL] * 4)

    def test_what_an_older_run_left_is_removed(self) -> None:
        """A new run removes the namespaces of a process that is no more, and no others."""
        process = subprocess.Popen(["true"])
        process.wait()
        old, mine = f"rvlab-{process.pid}-0-old", f"rvlab-{os.getpid()}-999-mine"
        # Two laboratories may remove the same ones at the same time.
        self.patch(namespaces, "listed", lambda: [*listed(), f"rvlab-{process.pid}-0-gone"])
        for name in (old, mine):
            subprocess.run(["ip", "netns", "add", name], check=True)
        self.addCleanup(subprocess.run, ["ip", "netns", "del", mine], check=True)
        with closing(Namespaces()):
            self.assertNotIn(old, listed())
            self.assertIn(mine, listed())
