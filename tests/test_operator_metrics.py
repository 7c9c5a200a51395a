"""What Prometheus reads of a server in memory."""

from __future__ import annotations

import re

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.testing import MemoryReactor, MemoryServer

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


class ExpositionTests(MetricsCase):
    """Prometheus' own rules."""

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

    def test_openmetrics(self) -> None:
        """The other format is given to those who ask for it."""
        self.assertTrue(self.text("application/openmetrics-text; version=1.0.0").endswith("# EOF\n"))


class ValueTests(MetricsCase):
    """The numbers are those of what has happened."""

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
