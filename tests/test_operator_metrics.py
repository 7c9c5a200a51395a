"""What Prometheus reads of a server in memory."""

from __future__ import annotations

import math
import re
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.parser import text_string_to_metric_families

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

import rendezvous
from rendezvous.certificates import Certificate
from rendezvous.clock import wall_clock
from rendezvous.refusals import LIMITS, TABLES
from rendezvous.settings import Endpoint
from rendezvous.testing import MemoryReactor, MemoryServer
from tests.certificates import pem

BINDING = bytes.fromhex("000100002112a442") + bytes(12)


class MetricsCase(SynchronousTestCase):
    """A server that keeps everything in memory."""

    def setUp(self) -> None:
        """Start it."""
        self.server = MemoryServer(MemoryReactor(), max_clients=50)
        self.addCleanup(self.server.stop)
        self.metrics = self.server.rendezvous.metrics()

    def text(self, accept: str = "") -> str:
        """:returns: the exposition."""
        rendered = Deferred.fromCoroutine(self.metrics.render(accept))
        self.server.reactor.advance(0)
        body, media = self.successResultOf(rendered)
        self.assertTrue(media.startswith("text/plain; version=") or accept)
        return body.decode("utf-8")

    def read(self) -> dict[str, Metric]:
        """:returns: the metrics by name, as a program of another kind reads them."""
        return {family.name: family for family in text_string_to_metric_families(self.text())}

    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """:returns: the values by name and labels."""
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.read().values()
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """:returns: one value."""
        return self.samples()[f"rendezvous_{name}", frozenset(labels.items())]


class AcceptTests(MetricsCase):
    """What a reader says that it takes."""

    def test_versions_that_are_none(self) -> None:
        """They are answered like no version at all."""
        kind = "application/openmetrics-text; version="
        for version in ("abc", "1.x", "", ".", "9" * 5000, "1;escaping", "\xb2"):
            self.assertIn("rendezvous_build", self.text(kind + version), version)


#: Names and labels that boards and rules of operators rely on; those of counters without ``_total``.
CONTRACT = {
    "build_info": {"version", "python", "twisted"},
    "clients": {"status"},
    "offers": set(),
    "sessions": set(),
    "tracker_entries": set(),
    "event_streams": set(),
    "http_requests": {"route", "method", "code"},
    "http_request_duration_seconds": {"route"},
    "datagrams": {"dialect", "outcome"},
    "datagram_bytes": {"direction"},
    "dropped": {"reason"},
    "rate_limited": {"limit"},
    "attempts": {"outcome"},
    "attempt_duration_seconds": {"strategy"},
    "punch": {"pair", "strategy", "outcome"},
    "store_write_duration_seconds": set(),
    "store_bytes": set(),
    "sweep_duration_seconds": set(),
    "reactor_delay_seconds": set(),
    "turn_credentials": set(),
    "restart_pause_seconds": set(),
    "restored_entries": {"table"},
}

#: Tables that are read back at the start.
RESTORED = ("clients", "offers", "tracker_peers")

OPENMETRICS = "application/openmetrics-text; version=1.0.0"

#: Text that a client can send, and that must not come back as a label.
CHOSEN = "Chosen-by-a-client"


class RestartTests(SynchronousTestCase):
    """What the last restart has cost."""

    def setUp(self) -> None:
        """Choose a file and a clock."""
        self.reactor, self.path = MemoryReactor(), self.mktemp()

    def start(self) -> tuple[MemoryServer, list[float]]:
        """:returns: a server on the file, and what its metrics say."""
        server = MemoryServer(self.reactor, store=f"sqlite:{self.path}")
        rendered = Deferred.fromCoroutine(server.rendezvous.metrics().render(""))
        server.reactor.advance(0)
        text = self.successResultOf(rendered)[0].decode("utf-8")
        names = ["restart_pause_seconds", *(f'restored_entries{{table="{name}"}}' for name in RESTORED)]
        return server, [float(text.partition(f"\nrendezvous_{name} ")[2].partition("\n")[0]) for name in names]

    def test_pause_and_what_was_kept(self) -> None:
        """They are 0 where there was no server before."""
        server, said = self.start()
        self.assertEqual(said, [0.0, 0.0, 0.0, 0.0])
        server.request("POST", "/register")
        server.stop()
        self.reactor.advance(60)
        server, said = self.start()
        self.addCleanup(server.stop)
        self.assertEqual(said, [60.0, 1.0, 0.0, 0.0])


class ExpositionTests(MetricsCase):
    """Prometheus' own rules."""

    def test_contract(self) -> None:
        """Each of the agreed names is there from the start, with exactly its labels."""
        families = self.read()
        for name, labels in CONTRACT.items():
            samples = families[f"rendezvous_{name}"].samples
            self.assertNotEqual(samples, [], name)
            for sample in samples:
                self.assertEqual(set(sample.labels) - {"le"}, labels, sample.name)

    def test_text_of_clients_is_no_label(self) -> None:
        """Neither ids, nor addresses, nor topics, paths or methods that a client chooses."""
        client_id, key, headers = self.server.register()
        self.server.deliver(key, ("198.51.100.9", 7))
        body = {"offers": [{"sdp": "v=0", "topics": [CHOSEN], "id": CHOSEN}]}
        self.assertEqual(self.server.request("POST", "/offers", body, headers).status, 200)
        self.server.request(CHOSEN.upper(), f"/{CHOSEN}?{CHOSEN}={CHOSEN}", None, {CHOSEN: CHOSEN})
        text = self.text().lower()
        for part in (CHOSEN.lower(), client_id, key.hex(), "198.51.100"):
            self.assertNotIn(part, text)

    def test_codes_of_refusals_are_closed_sets(self) -> None:
        """Every code that the public ports refuse with because of a limit is a label value from the start."""
        code = re.compile(r"\"((?:source|full)-[a-z-]+)\"")
        found = {
            each
            for path in Path(rendezvous.__file__).parent.rglob("*.py")
            for each in code.findall(path.read_text("utf-8"))
        }
        # These two are said on the operators' port only, which counts for itself.
        self.assertEqual(found - {"full-bans", "full-streams"}, {*LIMITS, *TABLES} & found)
        self.assertEqual({*LIMITS, *TABLES} - found, {"banned", "connections", "full", "too-many-waiting"})

    def test_names_and_units(self) -> None:
        """One prefix, snake case, base units, a description; only counters end in ``_total``."""
        for name, family in self.read().items():
            if name.startswith("process_"):
                continue
            self.assertRegex(name, r"\Arendezvous_[a-z]+(_[a-z]+)*\Z")
            self.assertTrue(family.documentation.endswith("."), name)
            self.assertNotRegex(name, r"_(ms|milliseconds|kb|percent)\b")
            for sample in family.samples:
                self.assertEqual(sample.name.endswith("_total"), family.type == "counter", sample.name)

    def test_every_label_set_is_there_from_the_start(self) -> None:
        """A request, a datagram or an attempt adds to a number, and never a new one."""
        before = set(self.samples())
        client_id, key, headers = self.server.register()
        self.server.deliver(key)
        self.server.deliver(key, ("198.51.100.9", 1))
        self.server.deliver(b"{}")
        self.server.deliver(b"nonsense")
        self.server.deliver(BINDING)
        self.server.request("GET", f"/peer/{client_id}/udp", None, headers)
        self.server.request("POST", "/offers", {"offers": []}, headers)
        self.server.request("POST", f"/peer/{client_id}/connect", {}, headers)
        for method, path in (("HEAD", "/health"), ("BREW", "/nothing"), ("OPTIONS", "/"), ("PUT", "/offers")):
            self.server.request(method, path)
        self.server.start_request("GET", "/offers/answers?wait=20", None, headers).lose()
        self.server.reactor.advance(400)
        self.assertEqual(set(self.samples()), before)

    def test_a_series_comes_once(self) -> None:
        """The same name with the same labels would be an error for Prometheus."""
        lines = [re.sub(r" [^ ]+\Z", "", line) for line in self.text().splitlines() if not line.startswith("#")]
        self.assertEqual(len(lines), len(set(lines)))

    def test_it_is_written_in_several_turns(self) -> None:
        """Pulses are answered meanwhile, and the whole is what Prometheus' library writes at once."""
        _, key, _ = self.server.register()
        for accept in ("", OPENMETRICS):
            rendered = Deferred.fromCoroutine(self.metrics.render(accept))
            self.assertNoResult(rendered)
            self.assertEqual(self.server.deliver(key), [(1020).to_bytes(4, "big")])
            self.server.reactor.advance(0)
            body, _ = self.successResultOf(rendered)
            encode, _ = choose_encoder(accept)
            names = [_name(line) for line in body.decode("utf-8").splitlines()]
            self.assertEqual(
                names, [_name(line) for line in encode(self.metrics._registry).decode("utf-8").splitlines()]
            )

    def test_openmetrics(self) -> None:
        """The other format is given to those who ask for it."""
        self.assertTrue(self.text(OPENMETRICS).endswith("# EOF\n"))


def _name(line: str) -> str:
    """:returns: a line of an exposition without its value."""
    return line if line.startswith("#") else line.rpartition(" ")[0]


class ValueTests(MetricsCase):
    """The numbers are those of what has happened."""

    def test_ready_and_draining(self) -> None:
        """As ``/ready`` says it; a server that drains is not ready."""
        self.assertEqual((self.value("ready"), self.value("draining")), (1, 0))
        self.server.rendezvous.web.gate.admission.is_draining = True
        self.assertEqual((self.value("ready"), self.value("draining")), (0, 1))
        self.assertEqual(self.server.request("GET", "/ready").status, 503)

    def test_store_in_memory(self) -> None:
        """It has the numbers of a store that has never written: a board works with both."""
        self.assertEqual(self.value("store_failing"), 0)
        self.assertEqual(self.value("store_write_duration_seconds_count"), 0)

    def test_tables_that_are_not_the_store_s(self) -> None:
        """Connections, sockets and bans, with what there may be."""
        connection = self.server.start_request("GET", "/health")
        self.assertEqual(self.value("table_entries", table="connections"), 1)
        connection.lose()
        self.server.rendezvous.store.bans.begin("192.0.2.0/24", None, "", self.server.reactor.seconds())
        self.assertEqual(self.value("table_entries", table="bans"), 1)
        for table in ("bans", "connections", "sockets"):
            self.assertGreater(self.value("table_max_entries", table=table), 1)

    def test_first_certificate_that_ends(self) -> None:
        """A certificate of tests ends within a day; without any there is no number."""
        self.assertTrue(math.isnan(self.value("certificate_expiry_timestamp_seconds")))
        path = Path(self.mktemp())
        path.write_bytes(b"".join(pem()))
        made = Certificate(Endpoint(f"ssl:443:certKey={path}:privateKey={path}", "http"))
        self.server.rendezvous.certificates.append(made)
        left = self.value("certificate_expiry_timestamp_seconds") - wall_clock()
        self.assertTrue(86_000 < left <= 86_400, left)

    def test_clients_by_status(self) -> None:
        """A client that comes, is online, and then late."""
        _, key, _ = self.server.register()
        self.server.register()
        self.server.deliver(key)
        found = [self.value("clients", status=status) for status in ("registered", "online", "late")]
        self.assertEqual(found, [1, 1, 0])
        self.server.reactor.advance(40)
        found = [self.value("clients", status=status) for status in ("registered", "online", "late")]
        self.assertEqual(found, [1, 0, 1])
        self.assertEqual(self.value("table_entries", table="clients"), 2)
        self.assertEqual(self.value("table_max_entries", table="clients"), 50)

    def test_datagrams(self) -> None:
        """Answered ones by protocol, dropped ones by reason, and the bytes of all."""
        _, key, _ = self.server.register()
        for datagram in (key, key, bytes(32), BINDING, b"nonsense"):
            self.server.deliver(datagram)
        samples = self.read()["rendezvous_datagrams"].samples
        self.assertEqual(
            {(each.labels["dialect"], each.labels["outcome"]): each.value for each in samples if each.value},
            {("pulse", "1020"): 2.0, ("pulse", "1060"): 1.0, ("stun", "answered"): 1.0},
        )
        self.assertEqual(self.value("dropped_total", reason="unreadable"), 1)
        self.assertEqual(self.value("datagram_bytes_total", direction="received"), 3 * 32 + 20 + 8)
        self.assertEqual(self.value("datagram_bytes_total", direction="sent"), 3 * 4 + 32)

    def test_requests(self) -> None:
        """By route, method and code; with the times they took."""
        self.server.request("GET", "/nothing")
        self.server.request("GET", "/health")
        self.assertEqual(self.value("http_requests_total", route="/health", method="GET", code="200"), 1)
        self.assertEqual(self.value("http_requests_total", route="unmatched", method="GET", code="404"), 1)
        self.assertEqual(self.value("http_request_duration_seconds_count", route="/health"), 1)
        self.assertEqual(self.value("http_request_duration_seconds_bucket", route="/health", le="0.001"), 1)

    def test_delay_of_the_reactor(self) -> None:
        """A turn that takes a second makes a timer late."""
        self.server.reactor.pause(1.2)
        self.server.reactor.advance(0)
        self.assertEqual(self.value("reactor_delay_seconds_bucket", le="0.5"), 0)
        self.assertEqual(self.value("reactor_delay_seconds_bucket", le="1.0"), 1)

    def test_attempts(self) -> None:
        """One that the other side does not accept has no pair."""
        client_id, _, _ = self.server.register()
        *_, headers = self.server.register()
        self.server.request("POST", f"/peer/{client_id}/connect", {}, headers)
        self.server.reactor.advance(31)
        self.assertEqual(self.value("attempts_total", outcome="expired"), 1)
        self.assertEqual(self.value("attempt_duration_seconds_count", strategy="none"), 1)


class TurnTests(SynchronousTestCase):
    """Credentials of TURN servers."""

    def test_each_that_is_given_counts(self) -> None:
        """One for each list of ICE servers, and none for requests that are refused."""
        secret = Path(self.mktemp())
        secret.write_text("s" * 32)
        secret.chmod(0o600)
        server = MemoryServer(MemoryReactor(), turn_uri=("turn:turn.example:3478",), turn_secret_file=str(secret))
        self.addCleanup(server.stop)
        *_, headers = server.register()
        for status in (*[200] * 6, 429):
            self.assertEqual(server.request("GET", "/ice", None, headers).status, status)
        rendered = Deferred.fromCoroutine(server.rendezvous.metrics().render(""))
        server.reactor.advance(0)
        self.assertIn(b"\nrendezvous_turn_credentials_total 6.0\n", self.successResultOf(rendered)[0])
