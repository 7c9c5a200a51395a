"""Tests of :mod:`rendezvous.service`: what starts, what stops, where it listens, and the three ways to embed it."""

from __future__ import annotations

import errno
import os
from typing import Any

from twisted.application.service import Application, IService, IServiceCollection, MultiService
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from rendezvous.errors import StartupError
from rendezvous.server import make_service
from rendezvous.service import Rendezvous
from rendezvous.settings import Settings, UDPPort
from rendezvous.storage import database
from rendezvous.testing import (
    SECRET,
    Connection,
    MemoryReactor,
    MemoryServer,
    MemoryTCPPort,
    MemoryUDPPort,
)
from rendezvous.wire.tracker import Dialect
from tests._service_case import clocks

ENVIRON = {"RENDEZVOUS_SECRET": SECRET.hex()}
HOME = ("198.51.100.7", 40000)
ON_TIME = (1020).to_bytes(4, "big")


class _Refusing(MemoryReactor):
    """A reactor of a machine on which some addresses cannot be listened on."""

    def __init__(self, **refused: int) -> None:
        super().__init__()
        self.refused = refused
        self.asked: list[str] = []

    def _check(self, interface: str, port: int) -> None:
        self.asked.append(interface)
        code = self.refused.get({"::": "six", "0.0.0.0": "four"}.get(interface, "other"))
        if code is not None:
            raise CannotListenError(interface, port, OSError(code, "refused"))

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> MemoryTCPPort:
        """Refuse, or listen."""
        self._check(interface, port)
        return super().listenTCP(port, factory, backlog, interface)

    def listenUDP(
        self, port: int, protocol: DatagramProtocol, interface: str = "", maxPacketSize: int = 8192
    ) -> MemoryUDPPort:
        """Refuse, or listen."""
        self._check(interface, port)
        return super().listenUDP(port, protocol, interface, maxPacketSize)


class _Case(SynchronousTestCase):
    """Services on a reactor in memory."""

    def setUp(self) -> None:
        """Make a reactor, and listen to the log."""
        self.reactor = MemoryReactor()
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def make(self, reactor: MemoryReactor | None = None, **settings: Any) -> MultiService:
        """:returns: a service, not started."""
        given = Settings(**{"store": "memory:", **settings})
        return make_service(
            given,
            reactor or self.reactor,
            environ=ENVIRON,
            **clocks(self.reactor),
            run_blocking=maybeDeferred,
        )

    def start(self, service: Any) -> None:
        """Start as an application does, and stop after the test."""
        service.privilegedStartService()
        service.startService()
        self.addCleanup(service.stopService)

    def lines(self) -> list[str]:
        """:returns: what was logged."""
        return [formatEvent(event) for event in self.events]


class LifeTests(_Case):
    """Tests of starting and stopping."""

    def assert_stopped(self) -> None:
        """Check that every port is closed, and that nothing is left for later."""
        ports: list[Any] = [*self.reactor.udp_ports, *self.reactor.tcp_ports]
        self.assertEqual([port for port in ports if port.listening], [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_nothing_listens_before_the_start(self) -> None:
        """Making the service opens no port and schedules nothing."""
        self.make()
        self.assertEqual((self.reactor.udp_ports, self.reactor.tcp_ports), ([], []))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_ports_are_open_once_privileges_may_be_dropped(self) -> None:
        """Ports below 1024 need them."""
        service = self.make()
        service.privilegedStartService()
        self.addCleanup(service.stopService)
        self.assertEqual((len(self.reactor.udp_ports), len(self.reactor.tcp_ports)), (2, 1))

    def test_start_alone_opens_the_ports(self) -> None:
        """The privileged start may have been left out; it is not repeated if it was not."""
        service = self.make()
        service.startService()
        self.addCleanup(service.stopService)
        self.assertEqual((len(self.reactor.udp_ports), len(self.reactor.tcp_ports)), (2, 1))

    def test_stop_closes_every_port_and_leaves_nothing_for_later(self) -> None:
        """Once its Deferred fires nothing of the server is left on the reactor."""
        service = self.make(udp_port=(UDPPort(1), UDPPort(2), UDPPort(3)), http=("tcp:4", "tcp:5"))
        service.privilegedStartService()
        service.startService()
        self.assertEqual((len(self.reactor.udp_ports), len(self.reactor.tcp_ports)), (3, 2))
        self.successResultOf(service.stopService())
        self.assert_stopped()

    def test_stop_without_a_start_does_nothing(self) -> None:
        """A service that never ran can be stopped; the failure of nothing is reported."""
        service = self.make()
        self.successResultOf(service.stopService())
        self.assert_stopped()

    def test_stop_after_half_a_start_closes_what_was_opened(self) -> None:
        """When the second port is taken, the first one can be given back."""
        self.reactor = _Refusing(six=errno.EADDRINUSE)
        service = self.make(http=("tcp:80",))
        self.assertRaises(StartupError, service.privilegedStartService)
        self.assertEqual([port.listening for port in self.reactor.tcp_ports], [True])
        self.successResultOf(service.stopService())
        self.assert_stopped()

    def test_each_port_is_logged(self) -> None:
        """A plain line for each says where the server listens."""
        self.start(self.make(interface="192.0.2.1"))
        lines = self.lines()
        self.assertIn("HTTP on 192.0.2.1:5025", lines)
        self.assertIn("UDP on 192.0.2.1:5024", lines)
        self.assertIn("UDP on 192.0.2.1:5026", lines)

    def test_port_without_a_number_is_logged_with_its_address(self) -> None:
        """Such as a UNIX socket."""
        self.start(self.make(http=("unix:/run/rendezvous.sock",)))
        (line,) = [line for line in self.lines() if line.startswith("HTTP on ")]
        self.assertIn("/run/rendezvous.sock", line)

    def test_two_servers_share_nothing(self) -> None:
        """Each in one process knows its own clients alone."""
        one, other = MemoryServer(), MemoryServer()
        self.addCleanup(one.stop)
        self.addCleanup(other.stop)
        _, key, _ = one.register()
        self.assertEqual(one.deliver(key), [ON_TIME])
        self.assertNotEqual(other.deliver(key), [ON_TIME])


class PlaceTests(_Case):
    """Tests of where a server listens."""

    def places(self, reactor: MemoryReactor) -> list[tuple[str, int]]:
        """:returns: every port's interface and number, TCP first."""
        ports: list[Any] = [*reactor.tcp_ports, *reactor.udp_ports]
        return [(port.interface, port.port) for port in ports]

    def test_default_is_every_address_of_both_families(self) -> None:
        """One IPv6 socket each, which takes IPv4 too."""
        self.start(self.make())
        self.assertEqual(self.places(self.reactor), [("::", 5025), ("::", 5024), ("::", 5026)])

    def test_the_kernel_keeps_many_connections(self) -> None:
        """After a restart all clients come back at once; Twisted's own default is 50."""
        self.start(self.make())
        self.assertEqual([port.backlog for port in self.reactor.tcp_ports], [1024])

    def test_machine_without_ipv6_gets_ipv4(self) -> None:
        """Only if the system says that it has no such addresses."""
        for code in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            reactor = _Refusing(six=code)
            self.start(self.make(reactor))
            self.assertEqual(self.places(reactor), [("0.0.0.0", 5025), ("0.0.0.0", 5024), ("0.0.0.0", 5026)])

    def test_any_other_refusal_is_final(self) -> None:
        """A port in use or not ours is not tried in another way."""
        for code in (errno.EADDRINUSE, errno.EACCES):
            reactor = _Refusing(six=code)
            service = self.make(reactor)
            error = self.assertRaises(StartupError, service.privilegedStartService)
            self.assertEqual(error.__cause__.socketError.errno, code)
            self.assertEqual(reactor.asked, ["::"])

    def test_machine_without_both_is_refused(self) -> None:
        """The second refusal is the one that is reported."""
        reactor = _Refusing(six=errno.EAFNOSUPPORT, four=errno.EADDRINUSE)
        error = self.assertRaises(StartupError, self.make(reactor).privilegedStartService)
        self.assertEqual(error.__cause__.socketError.errno, errno.EADDRINUSE)

    def test_interface_is_taken_as_given(self) -> None:
        """For every port, and without a second try."""
        for interface in ("127.0.0.1", "::1"):
            reactor = _Refusing()
            self.start(self.make(reactor, interface=interface))
            self.assertEqual(reactor.asked, [interface] * 3)
        reactor = _Refusing(other=errno.EADDRNOTAVAIL)
        service = self.make(reactor, interface="192.0.2.1")
        error = self.assertRaises(StartupError, service.privilegedStartService)
        self.assertEqual(str(error), "cannot listen for HTTP on 192.0.2.1:5025 (--http-port, --interface): refused")
        self.assertEqual(reactor.asked, ["192.0.2.1"])

    def test_every_udp_port_serves_the_same_clients(self) -> None:
        """A client may pulse on any of them."""
        server = MemoryServer(udp_port=(UDPPort(5024), UDPPort(3478, Dialect.DEPLOYED), UDPPort(0)))
        self.addCleanup(server.stop)
        self.assertEqual([port.port for port in server.udp_ports[:2]], [5024, 3478])
        client_id, key, headers = server.register()
        for number in range(3):
            self.assertEqual(server.deliver(key, (HOME[0], 1000 + number), port=number), [ON_TIME])
            address = server.request("GET", f"/peer/{client_id}/udp", headers=headers).json()
            self.assertEqual(address["port"], 1000 + number)

    def test_endpoints_take_the_place_of_the_http_port(self) -> None:
        """Each of them serves the same site, and there is no other TCP port."""
        server = MemoryServer(http=("tcp:8080", r"tcp:8081:interface=\:\:1"))
        self.addCleanup(server.stop)
        self.assertEqual([(port.interface, port.port) for port in server.tcp_ports], [("", 8080), ("::1", 8081)])
        for port in server.tcp_ports:
            connection = Connection(port.factory, HOME)
            connection.request("GET", "/health", {"Host": "a"})
            response = connection.response()
            connection.lose()
            self.assertEqual(response and response.status, 200)

    def test_endpoint_that_is_none_is_one_clear_line(self) -> None:
        """Unknown kinds, missing and superfluous parts, certificates that are not there."""
        for description in (
            "nonsense:0",
            "tcp",
            "tcp:x",
            "tcp:0:what=1",
            "ssl:443:privateKey=/nope/key.pem",
            ":",
            "8080",
        ):
            error = self.assertRaises(StartupError, self.make, http=("tcp:0", description))
            self.assertTrue(str(error).startswith(f"http {description!r} is not a usable endpoint: "), str(error))
            self.assertNotIn("\n", str(error))

    def test_endpoint_that_cannot_listen_raises(self) -> None:
        """At once, as a port of the server's own does."""
        reactor = _Refusing(other=errno.EADDRINUSE)
        service = self.make(reactor, http=("tcp:80:interface=192.0.2.1",))
        error = self.assertRaises(StartupError, service.privilegedStartService)
        self.assertIn("(http tcp:80:interface=192.0.2.1)", str(error))


class EmbeddingTests(_Case):
    """Tests of the three ways to embed the server in an application."""

    def rendezvous(self, **parts: Any) -> Rendezvous:
        """:returns: a server without ports."""
        settings = Settings(store="memory:")
        return Rendezvous(
            settings,
            self.reactor,
            environ=ENVIRON,
            **clocks(self.reactor),
            run_blocking=maybeDeferred,
            **parts,
        )

    def ask(self, site: Any, method: str, path: str, **headers: str) -> Any:
        """:returns: the body of the answer to a request."""
        connection = Connection(site, HOME)
        connection.request(method, path, {"Host": "a", **headers})
        response = connection.response()
        connection.lose()
        assert response is not None
        self.assertEqual(response.status, 200, response)
        return response.json()

    def test_whole_service_is_a_child_of_an_application(self) -> None:
        """It starts and stops with its parent."""
        application = Application("theirs")
        self.make().setServiceParent(IServiceCollection(application))
        parent = IService(application)
        parent.privilegedStartService()
        parent.startService()
        made = self.ask(self.reactor.tcp_ports[0].factory, "POST", "/register")
        port = self.reactor.udp_ports[0]
        self.assertEqual(port.deliver(bytes.fromhex(made["private_id"]), HOME), [ON_TIME])
        self.successResultOf(parent.stopService())
        self.assertFalse(port.listening)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_whole_service_joins_and_leaves_a_running_application(self) -> None:
        """Added to a parent that runs, it starts at once; taken away, it stops."""
        parent = MultiService()
        parent.startService()
        service = self.make()
        service.setServiceParent(parent)
        self.assertTrue(self.reactor.udp_ports[0].listening)
        left: Any = service.disownServiceParent()
        self.successResultOf(left)
        self.assertFalse(self.reactor.udp_ports[0].listening)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.successResultOf(parent.stopService())

    def test_resource_and_datagrams_go_where_they_are_put(self) -> None:
        """The resource below a path of the application's site, the protocol on a port of its own: one server."""
        rendezvous = self.rendezvous()
        self.start(rendezvous)
        root = Resource()
        root.putChild(b"peers", rendezvous.resource())
        site = Site(root, reactor=self.reactor)
        port = self.reactor.listenUDP(9999, rendezvous.datagrams())
        self.assertEqual(self.reactor.tcp_ports, [])
        made = self.ask(site, "POST", "/peers/register")
        self.assertEqual(made["udpPorts"], [9999])
        self.assertEqual(port.deliver(bytes.fromhex(made["private_id"]), HOME), [ON_TIME])
        path = f"/peers/peer/{made['client_id']}/udp"
        found = self.ask(site, "GET", path, Authorization=f"Bearer {made['private_id']}")
        self.assertEqual((found["host"], found["port"]), HOME)

    def test_resource_alone_has_no_udp_ports(self) -> None:
        """A port of the settings that nothing listens on is not shown to clients."""
        rendezvous = self.rendezvous()
        self.start(rendezvous)
        self.assertEqual(self.ask(rendezvous.site(), "POST", "/register")["udpPorts"], [])

    def test_randomness_can_be_passed_in(self) -> None:
        """An application's own source draws the ids."""
        rendezvous = self.rendezvous(random=lambda size: b"\x07" * size)
        self.start(rendezvous)
        self.assertEqual(self.ask(rendezvous.site(), "POST", "/register")["client_id"], "07" * 16)

    def test_secret_that_cannot_be_used_is_refused(self) -> None:
        """Before anything starts."""
        environ = {"RENDEZVOUS_SECRET": "short"}
        self.assertRaises(StartupError, make_service, Settings(), self.reactor, environ=environ)

    def test_store_in_a_missing_directory_is_refused(self) -> None:
        """The error is about the store and names the directory; the secret beside it is not blamed, nor made."""
        directory = os.path.join(self.mktemp(), "missing")
        for environ in ({}, ENVIRON):
            settings = Settings(store=f"sqlite:{directory}/store.sqlite3")
            error = self.assertRaises(StartupError, Rendezvous, settings, self.reactor, environ=environ)
            self.assertEqual(
                str(error),
                f"the store '{directory}/store.sqlite3' cannot be used: there is no directory {directory!r}",
            )

    def test_schema_is_read_before_the_user_changes(self) -> None:
        """With ``twistd --uid``, the user that the server becomes may not be able to read the installed package."""
        path = self.mktemp()
        server = make_service(
            Settings(store=f"sqlite:{path}"),
            self.reactor,
            environ=ENVIRON,
            **clocks(self.reactor),
            run_blocking=maybeDeferred,
        )
        self.patch(database, "files", lambda package: self.fail("The files of the package are read late."))
        self.start(server)
        self.assertTrue(os.path.getsize(path))
