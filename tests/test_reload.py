"""Tests of a reload: what a running server takes over from new settings, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from twisted.internet.ssl import CertificateOptions
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.errors import StartupError
from rendezvous.settings import Settings, compare
from rendezvous.testing import SECRET, MemoryReactor, MemoryServer, MemorySocket, MemoryTCPPort
from tests.certificates import pem
from tests.test_settings import BESIDE, FIELDS, GRID

ORIGIN = {"Origin": "https://app.example"}


class CompareTests(SynchronousTestCase):
    """Tests of :func:`rendezvous.settings.compare`."""

    def test_each_setting_changes_or_is_refused(self) -> None:
        """As the table of settings says; the text has its name, the new value and the old one."""
        for name, (good, _) in GRID.items():
            value = next(value for value in good.values() if value != FIELDS[name].default)
            wanted = attrs.evolve(Settings(), **{name: value})
            compared = compare(Settings(), wanted, 1_000_000)
            expected = wanted if FIELDS[name].metadata["reloadable"] else Settings()
            self.assertEqual(compared.settings, expected, name)
            texts = compared.changed + compared.refused
            self.assertEqual((len(texts), len(compared.changed)), (1, int(FIELDS[name].metadata["reloadable"])))
            self.assertRegex(texts[0], rf"\A{name} = \S+.* \(was \S+.*\)\Z")
            self.assertNotIn(name, BESIDE.get(name, {}))

    def test_same_settings_change_nothing(self) -> None:
        """And nothing is refused."""
        compared = compare(Settings(), Settings(), 1_000_000)
        self.assertEqual((compared.settings, compared.changed, compared.refused), (Settings(), [], []))

    def test_values_are_shown_as_they_are_given(self) -> None:
        """A list in brackets, a size with its unit, a flag as true or false."""
        wanted = Settings(cors_origin=("https://a.example", "null"), no_source_limits=True, interface="::1")
        compared = compare(Settings(), wanted, 1_000_000)
        self.assertEqual(
            sorted(compared.changed + compared.refused),
            [
                "cors_origin = [https://a.example, null] (was [])",
                'interface = ::1 (was "")',
                "no_source_limits = true (was false)",
            ],
        )


class ReloadCase(SynchronousTestCase):
    """A server in memory, and what it logs."""

    def start(self, **settings: Any) -> None:
        """Start a server."""
        environ = settings.pop("environ", None)
        self.settings = {"store": "memory:", "interface": "192.0.2.1", **settings}
        self.server = MemoryServer(_Reactor(), environ=environ, **self.settings)
        self.addCleanup(self.server.stop)
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def reload(self, **changes: Any) -> list[str | None]:
        """
        Reload with some settings changed.

        :returns: the lines that were logged.
        """
        self.events.clear()
        defaults = {"no_source_limits": self.server.rendezvous.settings.no_source_limits}
        self.server.service.reload(Settings(**{**defaults, **self.settings, **changes}))
        return [formatEvent(event) for event in self.events]


class _Reactor(MemoryReactor):
    """With TLS as far as a port remembers what it was opened with."""

    def listenSSL(
        self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = ""
    ) -> MemoryTCPPort:
        """Open a port in memory."""
        opened = self.listenTCP(port, factory, backlog, interface)
        self.context = contextFactory
        return opened


class SettingsTests(ReloadCase):
    """Tests of settings in a running server."""

    def test_nothing_new_is_one_line(self) -> None:
        """It says so."""
        self.start()
        self.assertEqual(self.reload(), ["reloaded: no setting has changed; certificates read again: 0"])

    def test_secret_that_was_replaced_is_refused(self) -> None:
        """In one line that names the file and shows no secret; a file that cannot be read is not looked at."""
        path = self.mktemp()
        Path(path).write_text(SECRET.hex() + "\n")
        Path(path).chmod(0o600)
        self.start(secret_file=path, environ={})
        self.assertEqual(len(self.reload()), 1)
        Path(path).write_text("ab" * 32 + "\n")
        refused, _ = self.reload()
        self.assertEqual(refused, f"not reloaded: the secret in {path}; only a restart can change this")
        Path(path).write_text("not a secret")
        self.assertEqual(len(self.reload()), 1)

    def test_web_origins_change(self) -> None:
        """For requests from then on, on resources that are mounted already."""
        self.start()
        self.assertIn("access-control-allow-origin", self.server.request("GET", "/", None, ORIGIN).headers)
        [line] = self.reload(cors_origin="https://other.example")
        self.assertIn("reloaded: cors_origin = [https://other.example] (was [])", str(line))
        self.assertNotIn("access-control-allow-origin", self.server.request("GET", "/", None, ORIGIN).headers)
        self.reload()
        self.assertIn("access-control-allow-origin", self.server.request("GET", "/", None, ORIGIN).headers)

    def test_rate_of_datagrams_changes(self) -> None:
        """Down to what one source may cause, and off with all limits of sources."""
        self.start(no_source_limits=False, udp_rate=2)
        binding = b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12)

        def answered() -> int:
            return sum(len(self.server.deliver(binding)) for _ in range(50))

        self.assertEqual(answered(), 4)
        self.reload(udp_rate=10)
        self.server.reactor.advance(60)
        self.assertEqual(answered(), 20)
        self.reload(udp_rate=10, no_source_limits=True)
        self.assertEqual(answered(), 50)
        self.reload(udp_rate=1)
        self.server.reactor.advance(60)
        self.assertEqual(answered(), 2)

    def test_sizes_of_tables_change(self) -> None:
        """More fit into a table that grew; what is in one that shrank stays."""
        self.start(max_clients=2)
        _, _, headers = self.server.register()
        self.server.register()
        self.assertEqual(self.server.request("POST", "/register").status, 503)
        self.reload(max_clients=3)
        self.server.register()
        self.assertEqual(self.server.request("POST", "/register").status, 503)
        self.reload(max_clients=1)
        self.assertEqual(self.server.request("POST", "/register").status, 503)
        self.assertEqual(self.server.request("POST", "/verify", None, headers).status, 200)

    def test_number_of_remembered_logouts_changes(self) -> None:
        """
        It is that of clients. One that has grown makes room for a second logout; without room the first is forgotten,
        and the credential of a client that has expired is refused from then on.
        """
        for most, status in ((1, 401), (2, 200)):
            self.start(max_clients=1)
            _, _, first = self.server.register()
            self.server.request("POST", "/logout", None, first)
            self.reload(max_clients=most)
            for _ in range(2):
                _, _, headers = self.server.register()
                self.server.reactor.advance(400)
            self.assertEqual(self.server.request("POST", "/logout", None, headers).status, 200)
            self.assertEqual(self.server.request("POST", "/logout", None, headers).status, 401)
            _, _, expired = self.server.register()
            self.server.reactor.advance(400)
            self.assertEqual(self.server.request("POST", "/logout", None, expired).status, status)
            self.assertEqual(self.server.request("POST", "/logout", None, first).status, 401)

    def test_clients_can_be_twice_as_many_as_at_the_start(self) -> None:
        """The memory of the table is made for that. A larger number is refused, also after another reload."""
        self.start(max_clients=2)
        for most, taken in ((4, 4), (5, 4), (1, 1), (4, 4), (5, 4)):
            lines = self.reload(max_clients=most)
            refused = [str(line) for line in lines if "not reloaded" in str(line)]
            self.assertEqual(len(refused), int(most != taken), most)
            self.assertEqual(self.server.rendezvous.settings.max_clients, taken)
        self.assertIn("max_clients = 5 (was 4); only a restart can change this", refused[0])
        for _ in range(4):
            self.server.register()
        self.assertEqual(self.server.request("POST", "/register").status, 503)

    def test_places_of_the_tracker_change(self) -> None:
        """As those of clients do."""
        self.start(max_tracker_peers=1)
        sources = [(f"198.51.100.{number}", 1) for number in range(3)]
        announce = b'{"action":"announce"}'
        self.assertIn(b"announce", self.server.deliver(announce, sources[0])[0])
        self.assertIn(b"full", self.server.deliver(announce, sources[1])[0])
        self.reload(max_tracker_peers=2)
        self.assertNotIn(b"full", self.server.deliver(announce, sources[1])[0])
        self.assertIn(b"full", self.server.deliver(announce, sources[2])[0])

    def test_bounds_of_signaling_change(self) -> None:
        """The number of offers, and their memory."""
        self.start(max_offers=1)
        _, _, headers = self.server.register()

        def publish(number: int, size: int = 10) -> int:
            offer = {"sdp": f"v={number} {'x' * size}", "topics": ["chess"]}
            return self.server.request("POST", "/offers", {"offers": [offer]}, headers).status

        self.assertEqual([publish(1), publish(2)], [200, 503])
        self.reload(max_offers=3)
        self.assertEqual([publish(2), publish(3), publish(4)], [200, 200, 503])
        self.reload(max_offers=9, max_signaling_memory=20_000)
        self.assertEqual([publish(5, 30_000), publish(6)], [503, 200])
        self.reload(max_offers=9, max_signaling_memory="1M")
        self.assertEqual(publish(5, 30_000), 200)

    def test_share_of_a_source_changes(self) -> None:
        """From the start it is that of the settings, of each table; turned off, one source may fill a table."""
        self.start(no_source_limits=False, max_clients=10, source_share="20%")

        def registered() -> list[int]:
            return [self.server.request("POST", "/register").status for _ in range(3)]

        self.assertEqual(registered(), [200, 200, 429])
        self.reload(source_share="40%")
        self.assertEqual(registered(), [200, 200, 429])
        self.reload(source_share="40%", max_clients=15)
        self.assertEqual(registered(), [200, 200, 429])
        self.reload(no_source_limits=True)
        self.assertEqual(registered(), [200] * 3)

    def test_share_of_a_source_changes_for_pages(self) -> None:
        """The same holds for subscriptions of WebSockets, messages that wait for a peer of PeerJS, and tickets."""
        self.start(no_source_limits=False, source_share="0.0002%")
        home = ("203.0.113.5", 50_000)
        _, _, bearer = self.server.register()
        alice = MemorySocket(self.server.connect(home), "/peerjs?key=peerjs&id=alice&token=a")
        alice.take()

        def are_refused() -> tuple[bool, bool, bool]:
            page = MemorySocket(self.server.connect(home), "/signal")
            page.say('{"type":"subscribe","topics":["a","b"]}')
            page.take()
            page.lose()
            alice.say('{"type":"OFFER","dst":"bob","payload":1}')
            tickets = [self.server.request("POST", "/events/ticket", headers=bearer) for _ in range(2)]
            return page.close_code == 1008, alice.take() != [], tickets[1].status == 429

        self.assertEqual(are_refused(), (True, True, True))
        self.reload(no_source_limits=False, source_share="1%")
        self.assertEqual(are_refused(), (False, False, False))
        self.reload(no_source_limits=False, source_share="0.0002%")
        self.assertEqual(are_refused(), (True, True, True))

    def test_bounds_are_those_of_the_last_reload_after_a_restart(self) -> None:
        """Reading the file back makes tables anew."""
        path = Path(self.mktemp())
        path.mkdir()
        self.start(store=f"sqlite:{path}/store.sqlite3", max_tracker_peers=1)
        self.reload(max_tracker_peers=2)
        service = self.server.service
        self.successResultOf(service.stopService())
        service.startService()
        sources = [(f"198.51.100.{number}", 1) for number in range(3)]
        replies = [self.server.udp_ports[0].deliver(b'{"action":"announce"}', source) for source in sources]
        self.assertEqual(replies, [[]] * 3)
        port = self.server.reactor.udp_ports[-2]
        for source in sources:
            port.deliver(b'{"action":"announce"}', source)
        self.server.reactor.advance(0)
        full = {source: b"full" in reply for reply, source in port.sent}
        self.assertEqual([full[source] for source in sources], [False, False, True])

    def test_number_of_requests_that_wait_changes(self) -> None:
        """Those that wait already go on."""
        self.start(max_waiting=1)
        clients = [self.server.register()[2] for _ in range(3)]

        def wait(index: int) -> int | None:
            connection = self.server.start_request("GET", "/offers/answers?wait=30", headers=clients[index])
            response = connection.response()
            return None if response is None else response.status

        self.assertEqual([wait(0), wait(1)], [None, 503])
        self.reload(max_waiting=2)
        self.assertEqual([wait(1), wait(2)], [None, 503])

    def test_limits_of_sources_change(self) -> None:
        """What a source has taken before counts; turned off, everything passes; a proxy is believed at once."""
        self.start(no_source_limits=False, source_registrations=0.01)

        def registered(**headers: str) -> list[int]:
            return [self.server.request("POST", "/register", None, headers).status for _ in range(3)]

        self.assertEqual(registered(), [200, 429, 429])
        self.reload(source_registrations=0.02)
        self.assertEqual(registered(), [200, 429, 429])
        self.reload(no_source_limits=True)
        self.assertEqual(registered(), [200] * 3)
        self.reload(source_registrations=0.01, trusted_proxy="198.51.100.0/24")
        self.assertEqual(registered(**{"X-Forwarded-For": "192.0.2.9"}), [200, 429, 429])
        self.assertEqual(registered(**{"X-Forwarded-For": "203.0.113.9"}), [200, 429, 429])

    def test_what_cannot_change_is_one_line_each_and_the_rest_changes(self) -> None:
        """The refused value stays, and is refused again next time."""
        self.start(udp_rate=2)
        for _ in range(2):
            lines = self.reload(udp_rate=7, pulse_interval=10, store="sqlite:/nowhere/x")
            self.assertEqual(
                [line for line in lines if "not reloaded" in str(line)],
                [
                    "not reloaded: pulse_interval = 10 (was 30); only a restart can change this",
                    "not reloaded: store = sqlite:/nowhere/x (was memory:); only a restart can change this",
                ],
            )
            self.assertEqual(self.server.rendezvous.settings.udp_rate, 7)
            self.assertEqual(self.server.rendezvous.settings.pulse_interval, 30)

    def test_secret_is_not_read_again(self) -> None:
        """Another file is refused, and clients are known as before."""
        self.start()
        _, _, headers = self.server.register()
        lines = self.reload(secret_file="/nowhere/secret")
        self.assertIn("not reloaded: secret_file", str(lines[0]))
        self.assertEqual(self.server.request("POST", "/verify", None, headers).status, 200)


class CertificateTests(ReloadCase):
    """Tests of certificates that are read again; ``test_reload_process`` has real connections."""

    def setUp(self) -> None:
        """Write a certificate, and start a server with it."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir(parents=True)
        self.certificate, self.key = self.directory / "cert.pem", self.directory / "key.pem"
        self.write(*pem())
        description = f"ssl:443:privateKey={self.key}:certKey={self.certificate}"
        self.start(http=(description,), udp_rate=5)
        self.prefix = f"http {description!r} is not a usable endpoint: "

    def write(self, certificate: bytes, key: bytes) -> None:
        """Replace the files."""
        self.certificate.write_bytes(certificate)
        self.key.write_bytes(key)

    def served(self) -> Any:
        """:returns: the certificate that a new connection gets."""
        options = self.server.rendezvous.certificates[0]._options
        assert isinstance(options, CertificateOptions)
        assert options.certificate is not None
        return options.certificate.get_serial_number()

    def test_new_files_are_used(self) -> None:
        """And counted."""
        before = self.served()
        self.write(*pem())
        [line] = self.reload()
        self.assertEqual(line, "reloaded: no setting has changed; certificates read again: 1")
        self.assertNotEqual(self.served(), before)

    def test_files_that_cannot_be_used_change_nothing(self) -> None:
        """One line says which and why; the settings stay too."""
        before = self.served()
        certificate, key = pem()
        for new in ((certificate, pem()[1]), (b"junk", key), (certificate, b""), (certificate[:-60], key)):
            self.write(*new)
            error = self.assertRaises(StartupError, self.reload, udp_rate=9)
            self.assertTrue(str(error).startswith(self.prefix), error)
            self.assertNotIn("\n", str(error))
            self.assertGreater(len(str(error)), len(self.prefix))
            self.assertEqual((self.served(), self.server.rendezvous.settings.udp_rate), (before, 5))
        self.key.unlink()
        self.assertRaises(StartupError, self.reload)
        self.write(certificate, key)
        self.reload(udp_rate=9)
        self.assertEqual(self.server.rendezvous.settings.udp_rate, 9)
        self.assertNotEqual(self.served(), before)

    def test_turn_secret_that_cannot_be_used_changes_nothing(self) -> None:
        """A certificate that was read before is not used either."""
        before = self.served()
        self.write(*pem())
        turn = {"turn_uri": "turn:turn.example", "turn_secret_file": str(self.directory / "missing")}
        self.assertRaises(StartupError, self.reload, udp_rate=9, **turn)
        self.assertEqual((self.served(), self.server.rendezvous.settings.udp_rate), (before, 5))

    def test_port_is_https_in_the_log(self) -> None:
        """Plain ports beside it are HTTP."""
        server = MemoryServer(_Reactor(), http=(self.settings["http"][0], "tcp:80"))
        self.addCleanup(server.stop)
        lines = [str(formatEvent(event)).split(" on ")[0] for event in self.events]
        self.assertEqual([line for line in lines if line.startswith("HTTP")], ["HTTPS", "HTTP"])
