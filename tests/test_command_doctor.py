"""``rendezvous doctor``, behind NATs in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import attrs

from twisted.internet.defer import Deferred, succeed

from rendezvous.client.portmap import GatewayReport
from rendezvous.commands.rendezvous.diagnosis import Diagnosis, Family, RouterFindings, ServerFindings
from rendezvous.commands.rendezvous.doctor import Instruments, examine, show_diagnosis
from rendezvous.commands.rendezvous.program import finish
from rendezvous.commands.rendezvous.stun import observe
from rendezvous.settings import UDPPort
from rendezvous.testing import MemoryServer
from rendezvous.wire import stun
from tests._command_case import CommandCase

LOCAL, LOCAL_IPV6 = "192.168.1.2", "2a11:7:1::2"
SERVER, SERVER_IPV6 = "198.51.100.1", "2001:db8:5::1"
PUBLIC = "11.8.3.9"

Address = tuple[str, int]
#: From the local port and the index of the server's port to where the server sees the socket; None for no way.
Nat = Callable[[int, int], Address | None]


def home(port: int, index: int) -> Address:
    """:returns: what a NAT with endpoint-independent mapping gives."""
    return PUBLIC, port


@attrs.define
class FakeMapper:
    """
    A port mapper.

    :ivar first: what the request gives.
    :ivar found: what is known about the router, by whether it is that of IPv6.
    """

    first: Any = None
    found: dict[bool, GatewayReport] = attrs.field(factory=dict)
    on_change: list[Callable[[Any], None]] = attrs.field(factory=list)
    stopped: bool = False

    def map(
        self, local_port: int, *, ipv6: bool = False, on_change: Callable[[Any], None] = lambda _: None
    ) -> Deferred[Any]:
        """Ask."""
        self.on_change.append(on_change)
        return succeed(None if ipv6 else self.first)

    def report(self, *, ipv6: bool = False) -> GatewayReport:
        """Report."""
        return self.found.get(ipv6, GatewayReport())

    def stop(self) -> Deferred[None]:
        """Stop."""
        self.stopped = True
        return succeed(None)


class DoctorCase(CommandCase):
    """A server with two UDP ports, and a network between."""

    def setUp(self) -> None:
        """Begin."""
        super().setUp()
        self.make_server()
        self.mapper = FakeMapper()
        self.hosts = [SERVER]

    def make_server(self, ports: tuple[int, ...] = (5024, 5026), **settings: Any) -> None:
        """Replace the server."""
        self.server = MemoryServer(udp_port=tuple(map(UDPPort, ports)), **settings)
        self.addCleanup(self.server.stop)

    def carry(self, nats: dict[str, Nat], before: int) -> None:
        """Carry what sockets have sent through the NATs, and the answers back."""
        for socket in self.server.reactor.udp_ports[before:]:
            sent, socket.sent[:] = list(socket.sent), []
            for datagram, (host, port) in sent:
                index = [each.port for each in self.server.udp_ports].index(port)
                source = nats[host](socket.port, index) if host in nats else None
                for answer in () if source is None else self.server.deliver(datagram, source, index):
                    socket.deliver(answer, (host, port))

    def examined(self, *words: str, nat: Nat | None = None, **nats: Nat) -> Deferred[int]:
        """:returns: the exit status, once three seconds have passed."""
        context = self.context("doctor", *words)
        before = len(self.server.reactor.udp_ports)

        def source(host: str) -> str | None:
            return {SERVER: LOCAL, SERVER_IPV6: LOCAL_IPV6}.get(host)

        instruments = Instruments(
            lambda host: succeed(self.hosts), self.mapper, lambda: [LOCAL], source, lambda size: bytes(size)
        )
        running = Deferred.fromCoroutine(finish(examine(context, instruments), context.output))
        ways = {SERVER: nat} if nat is not None else {}
        if "ipv6" in nats:
            ways[SERVER_IPV6] = nats["ipv6"]
        for _ in range(60):
            self.server.reactor.advance(0.05)
            self.carry(ways, before)
        self.assertFalse(any(port.listening for port in self.server.reactor.udp_ports[before:]))
        return running

    def diagnosis(self, nat: Nat | None = None, **nats: Nat) -> Any:
        """:returns: the JSON object, once it was found."""
        self.assertEqual(self.successResultOf(self.examined("--json", nat=nat, **nats)), 0)
        [found] = self.objects()
        self.assertTrue(self.mapper.stopped)
        return found

    def text(self, nat: Nat | None = None) -> str:
        """:returns: the diagnosis for people."""
        self.assertEqual(self.successResultOf(self.examined(nat=nat)), 0)
        return self.out.getvalue()


class NatTests(DoctorCase):
    """The kinds of NAT."""

    def test_kinds(self) -> None:
        """They follow from what the two ports see."""
        for nat, mapping, public in (
            (lambda port, index: (LOCAL, port), "none", 1),
            (lambda port, index: ("10.0.0.7", port), "endpoint-independent", 1),
            (home, "endpoint-independent", 1),
            (lambda port, index: (PUBLIC, 40000 + 3 * index), "sequential", 2),
            (lambda port, index: (PUBLIC, 40000 + 900 * index), "endpoint-dependent", 2),
            (lambda port, index: (f"11.8.4.{index + 1}", port), "endpoint-dependent", 2),
        ):
            self.out.seek(0), self.out.truncate()
            found = self.diagnosis(nat)
            self.assertEqual((found["ipv4"]["mapping"], found["ipv4"]["udp"]), (mapping, True))
            self.assertEqual(len(set(found["ipv4"]["public"])), public)
            self.assertEqual(found["ipv6"]["server"], False)

    def test_server(self) -> None:
        """What the server says of itself, and the difference of the clocks."""
        self.server.wall_offset = 2e9
        found = self.diagnosis(home)["server"]
        self.assertEqual((found["udp_ports"], found["clock_difference_ms"]), ([5024, 5026], 2_000_000_000_000))
        self.assertEqual((found["url"], found["round_trip_ms"]), ("http://rendezvous.example:5025", 0))
        self.assertIs(found["connect"], True)
        text = self.text(home)
        self.assertIn("The clock of this host is wrong", text)
        self.assertNotIn("does not help", text)

    def test_one_port(self) -> None:
        """The kind of NAT cannot be known, and the text says why."""
        self.make_server((5024,))
        text = self.text(home)
        self.assertIn("a NAT of a kind that is not known", text)
        self.assertIn("cannot be known without a second one", text)
        self.assertEqual(self.successResultOf(self.examined("--json", nat=home)), 0)
        self.assertIn('"mapping": "unknown"', self.out.getvalue())

    def test_one_port_is_silent(self) -> None:
        """The other one is enough to know the public address."""
        text = self.text(lambda port, index: (PUBLIC, port) if index == 0 else None)
        self.assertIn(f"is seen as {PUBLIC}:", text)
        self.assertIn("One of the UDP ports of the server did not answer", text)

    def test_udp_is_blocked(self) -> None:
        """Only a relay over TCP can help."""
        text = self.text()
        self.assertIn("UDP seems to be blocked", text)
        self.assertIn("Only a relay over TCP or TLS can help", text)

    def test_lost_requests_are_repeated(self) -> None:
        """One answer in time is enough."""
        began = self.server.reactor.seconds()
        found = self.diagnosis(
            lambda port, index: (PUBLIC, port) if self.server.reactor.seconds() - began > 1 else None
        )
        self.assertEqual(found["ipv4"]["mapping"], "endpoint-independent")

    def test_server_without_stun(self) -> None:
        """UDP is known to pass, and the NAT is not known."""
        self.make_server(without=("stun",))
        found = self.diagnosis(home)
        self.assertEqual((found["ipv4"]["udp"], found["ipv4"]["mapping"]), (True, None))
        self.assertIn("does not answer STUN", self.text(home))

    def test_server_without_the_protocol(self) -> None:
        """It says so: whatever the NAT is, no client connects with its help."""
        self.make_server(without=("connect",))
        self.assertIs(self.diagnosis(home)["server"]["connect"], False)
        self.assertIn("The server does not help clients to connect", self.text(home))

    def test_answers_of_others_do_not_count(self) -> None:
        """Neither from another address, nor with another transaction id."""
        context = self.context("doctor")
        seen: list[Any] = []
        observing = Deferred.fromCoroutine(
            observe(context.reactor, [(SERVER, 5024)], lambda size: bytes(size), seen.append)
        )
        socket = self.server.reactor.udp_ports[-1]
        good = stun.answer(stun.encode(stun.Message(stun.BINDING, stun.MessageClass.REQUEST, bytes(12))), (PUBLIC, 1))
        other = stun.answer(stun.encode(stun.Message(stun.BINDING, stun.MessageClass.REQUEST, b"x" * 12)), (PUBLIC, 2))
        assert good is not None and other is not None
        socket.deliver(good, ("192.0.2.66", 5024))
        socket.deliver(other, (SERVER, 5024))
        socket.deliver(b"", (SERVER, 5024))
        self.assertNoResult(observing)
        socket.deliver(good, (SERVER, 5024))
        observed = self.successResultOf(observing)
        assert observed is not None
        self.assertEqual((observed.seen, seen), ({0: (PUBLIC, 1)}, [observed.local_port]))

    def test_ipv6(self) -> None:
        """Both families are examined; a public address of an interface is no NAT."""
        self.hosts = [SERVER, SERVER_IPV6]
        found = self.diagnosis(home, ipv6=lambda port, index: (LOCAL_IPV6, port))
        self.assertEqual((found["ipv4"]["mapping"], found["ipv6"]["mapping"]), ("endpoint-independent", "none"))
        self.assertTrue(found["ipv6"]["public"][0].startswith(f"[{LOCAL_IPV6}]:"))
        self.assertIn("Direct connections work with nearly every peer.", found["advice"])

    def test_server_in_the_own_network(self) -> None:
        """It says nothing about peers elsewhere, and the text says so."""
        for nat in (home, lambda port, index: (LOCAL, port)):
            text = self.text(nat)
            self.assertEqual("no address of the Internet" in text, nat is not home)
            self.assertEqual("Of others nothing is known" in text, nat is not home)
            self.out.seek(0), self.out.truncate()

    def test_no_ipv6_route(self) -> None:
        """The server has an address that this host cannot reach."""
        self.hosts = ["2001:db8:5::2"]
        found = self.diagnosis()
        self.assertEqual((found["ipv6"]["server"], found["ipv6"]["local"]), (True, None))
        self.assertEqual(found["ipv4"]["local"], LOCAL)

    def test_interrupt(self) -> None:
        """Ctrl-C leaves no socket and no mapping behind."""
        context = self.context("doctor")
        before = len(self.server.reactor.udp_ports)
        self.mapper.found[False] = GatewayReport("192.168.1.1", LOCAL)
        instruments = Instruments(
            lambda host: succeed(self.hosts), self.mapper, lambda: [LOCAL], lambda host: LOCAL, lambda size: bytes(size)
        )
        running = Deferred.fromCoroutine(finish(examine(context, instruments), context.output))
        running.cancel()
        self.assertEqual(self.successResultOf(running), 1)
        self.assertEqual(self.err.getvalue(), "rendezvous: interrupted\n")
        self.assertTrue(self.mapper.stopped)
        self.assertFalse(any(port.listening for port in self.server.reactor.udp_ports[before:]))


@attrs.frozen
class Mapped:
    """A mapping of the port mapper."""

    host: str
    port: int
    protocol: str = "pcp"


class RouterTests(DoctorCase):
    """What the next router says to port mapping."""

    def router(self, **fields: Any) -> None:
        """Have a router."""
        self.mapper.found[False] = GatewayReport(
            "192.168.1.1", LOCAL, **{"protocols": frozenset({"nat-pmp", "pcp"}), **fields}
        )

    def test_mapping(self) -> None:
        """A mapping on the address that the server sees helps with any kind of NAT."""
        self.mapper.first = Mapped(PUBLIC, 4444)
        self.router(external_address=PUBLIC)
        text = self.text(lambda port, index: (PUBLIC, 40000 + 900 * index))
        self.assertIn(f"192.168.1.1 has mapped {PUBLIC}:4444 (PCP)", text)
        self.assertIn("The port mapping makes direct connections work", text)
        found = self.diagnosis_again(home)
        self.assertEqual(
            found["ipv4"]["port_mapping"],
            {
                "gateway": "192.168.1.1",
                "protocols": ["nat-pmp", "pcp"],
                "mapped": f"{PUBLIC}:4444",
                "mapped_by": "pcp",
                "external_address": PUBLIC,
                "refusals": {},
            },
        )
        self.assertFalse(found["ipv4"]["double_nat"])

    def diagnosis_again(self, nat: Nat) -> Any:
        """:returns: the JSON object of a second run."""
        self.out.seek(0), self.out.truncate()
        return self.diagnosis(nat)

    def test_late_mapping(self) -> None:
        """A router may take longer than an attempt to connect would wait."""
        self.router()
        self.server.reactor.callLater(1.5, lambda: self.mapper.on_change[0](Mapped(PUBLIC, 4444)))
        self.assertIn("has mapped", self.text(home))

    def test_no_answer(self) -> None:
        """After two seconds the router is taken to know neither protocol."""
        self.router(protocols=frozenset())
        self.assertIn("192.168.1.1 answers neither PCP nor NAT-PMP", self.text(home))

    def test_upnp(self) -> None:
        """It has more time, and its mapping counts although the router answers nothing else."""
        self.router(protocols=frozenset())
        self.server.reactor.callLater(7, lambda: self.mapper.on_change[0](Mapped(PUBLIC, 4444, "upnp")))
        running = self.examined("--upnp", nat=home)
        self.server.reactor.advance(5)
        self.assertEqual(self.successResultOf(running), 0)
        self.assertIn(f"has mapped {PUBLIC}:4444 (UPnP)", self.out.getvalue())

    def test_upnp_is_not_installed(self) -> None:
        """The line says what to install."""
        with mock.patch.dict("sys.modules", {"miniupnpc": None}):
            status, out, err = self.done(show_diagnosis, "doctor", "--upnp")
        self.assertEqual((status, out, err.count("\n")), (1, "", 1))
        self.assertIn("twisted-rendezvous[upnp]", err)

    def test_refusal(self) -> None:
        """It is given in the words of the port mapper."""
        self.router(refusals={"pcp": "not authorized"})
        self.assertIn("has refused (pcp: not authorized)", self.text(home))

    def test_no_router(self) -> None:
        """As with a tunnel."""
        self.assertIn("Port mapping: no router was found.", self.text(home))

    def test_double_nat(self) -> None:
        """The router's outer address is not the one that the server sees: its mappings do not help."""
        self.mapper.first = Mapped("100.64.3.4", 4444)
        self.router(external_address="100.64.3.4", is_double_nat=True)
        text = self.text(home)
        self.assertIn("behind another NAT of the provider (carrier-grade NAT), its outer address is 100.64.3.4", text)
        self.assertNotIn("The port mapping makes", text)
        self.router(external_address="203.0.113.77")
        self.assertTrue(self.diagnosis_again(home)["ipv4"]["double_nat"])

    def test_public_host_has_no_router_in_the_way(self) -> None:
        """Nothing is said about it."""
        self.router(external_address="10.0.0.1", is_double_nat=True)
        text = self.text(lambda port, index: (LOCAL, port))
        self.assertNotIn("Double NAT", text)
        self.assertNotIn("Port mapping", text)


class RelayTests(DoctorCase):
    """Whether the server offers a relay."""

    def test_no_relay(self) -> None:
        """The text says what that means."""
        self.assertFalse(self.diagnosis(home)["server"]["relay"])
        self.assertIn("The server offers no relay", self.text(home))

    def test_relay(self) -> None:
        """One is offered."""
        secret = self.directory / "turn.secret"
        secret.write_text("north\n")
        secret.chmod(0o600)
        self.make_server(turn_uri=("turn:192.0.2.3:3478",), turn_secret_file=str(secret))
        self.assertTrue(self.diagnosis(home)["server"]["relay"])
        self.assertIn("The server offers a relay", self.text(home))

    def test_not_known(self) -> None:
        """Without an identity the server is not asked, and everything else is examined."""
        self.path.parent.mkdir(parents=True)
        self.path.write_text("x")
        found = self.diagnosis(home)
        self.assertEqual((found["server"]["relay"], found["ipv4"]["mapping"]), (None, "endpoint-independent"))


class WordsTests(CommandCase):
    """:class:`Diagnosis`."""

    def test_every_kind_has_words(self) -> None:
        """Each kind of NAT has a line about it and advice."""
        server = ServerFindings("http://a.example", "1", (5024, 5026))
        for seen in ({}, {0: (PUBLIC, 1), 1: (PUBLIC, 1)}, {0: (PUBLIC, 1), 1: (PUBLIC, 2)}, {0: (PUBLIC, 1)}):
            family = Family("IPv4", LOCAL, True, 9, seen, bool(seen), [LOCAL], 2, RouterFindings(GatewayReport()))
            diagnosis = Diagnosis(server, (family, Family("IPv6", None, False)))
            self.assertEqual(len(diagnosis.advice()), 1, diagnosis.text())
            self.assertIn("IPv6: this host has no address.", diagnosis.text())
