"""A real Prometheus scrapes a real server under load; its own tools check metrics, rules and queries."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import yaml

from twisted.trial.unittest import SynchronousTestCase

from tests._process_case import PATIENCE, Client, ForegroundCase
from tests.test_operator_rules import DEPLOY, RULES, alerts, queries
from tests.test_peers_process import require

TOKEN = "a-token-of-operators-for-tests-0123456789"


def program(name: str) -> str:
    """:returns: the path of a program of Debian's package prometheus."""
    found = shutil.which(name)
    require(found, f"{name} (Debian: prometheus)")
    return str(found)


def promtool(*words: str, told: str | None = None) -> str:
    """:returns: what ``promtool`` says; it must find nothing wrong."""
    done = subprocess.run(
        [program("promtool"), *words],
        input=told,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


#: For each alert: series by name and labels, values every minute in PromQL's short form, and whether and when it fires
#: with which labels. Of each pair of cases, the second one is what must not fire.
Case = tuple[dict[str, str], int, dict[str, str] | None]
UP = 'job="rendezvous", instance="a"'
PROCESS = {"instance": "a", "job": "rendezvous"}
ALERTS: dict[str, list[Case]] = {
    "RendezvousDown": [({f"up{{{UP}}}": "1 0x9"}, 5, PROCESS), ({f"up{{{UP}}}": "1x9"}, 5, None)],
    "RendezvousRestarting": [
        ({f"process_start_time_seconds{{{UP}}}": "0+60x9"}, 5, PROCESS),
        ({f"process_start_time_seconds{{{UP}}}": "0x4 300x9"}, 9, None),
    ],
    "RendezvousNotReady": [
        ({"rendezvous_ready": "0x9", "rendezvous_draining": "0x9"}, 2, {}),
        ({"rendezvous_ready": "0x9", "rendezvous_draining": "1x9"}, 2, None),
    ],
    "RendezvousDraining": [
        ({"rendezvous_draining": "1x99"}, 61, {}),
        ({"rendezvous_draining": "1x50 0 1x50"}, 90, None),
    ],
    "RendezvousStoreFailing": [
        ({"rendezvous_store_failing": "1x9"}, 1, {}),
        ({"rendezvous_store_failing": "0x9"}, 9, None),
    ],
    "RendezvousStoreBacklog": [
        ({"rendezvous_store_backlog_bytes": "17000000x9"}, 3, {}),
        ({"rendezvous_store_backlog_bytes": "0 17000000 0x9"}, 3, None),
    ],
    "RendezvousStoreSlow": [
        (
            {
                'rendezvous_store_write_duration_seconds_bucket{le="1.0"}': "0x29",
                'rendezvous_store_write_duration_seconds_bucket{le="2.5"}': "0+60x29",
                'rendezvous_store_write_duration_seconds_bucket{le="+Inf"}': "0+60x29",
            },
            20,
            {},
        ),
        (
            {
                'rendezvous_store_write_duration_seconds_bucket{le="1.0"}': "0+60x29",
                'rendezvous_store_write_duration_seconds_bucket{le="+Inf"}': "0+60x29",
            },
            20,
            None,
        ),
    ],
    "RendezvousTableNearlyFull": [
        (
            {
                'rendezvous_table_entries{table="clients"}': "91x9",
                'rendezvous_table_max_entries{table="clients"}': "100x9",
                'rendezvous_table_entries{table="offers"}': "90x9",
                'rendezvous_table_max_entries{table="offers"}': "100x9",
            },
            6,
            {"table": "clients"},
        )
    ],
    "RendezvousSignalingMemoryNearlyFull": [
        ({"rendezvous_signaling_memory_bytes": "91x9", "rendezvous_signaling_memory_max_bytes": "100x9"}, 6, {}),
        ({"rendezvous_signaling_memory_bytes": "89x9", "rendezvous_signaling_memory_max_bytes": "100x9"}, 6, None),
    ],
    "RendezvousFull": [
        ({'rendezvous_full_total{table="full", instance="a"}': "0x3 5x9"}, 5, {"table": "full", "instance": "a"}),
        ({'rendezvous_full_total{table="full", instance="a"}': "5x9"}, 9, None),
    ],
    "RendezvousReactorDelay": [
        (
            {
                'rendezvous_reactor_delay_seconds_bucket{le="0.1"}': "0+90x29",
                'rendezvous_reactor_delay_seconds_bucket{le="0.25"}': "0+120x29",
                'rendezvous_reactor_delay_seconds_bucket{le="+Inf"}': "0+120x29",
            },
            20,
            {},
        ),
        (
            {
                'rendezvous_reactor_delay_seconds_bucket{le="0.1"}': "0+120x29",
                'rendezvous_reactor_delay_seconds_bucket{le="+Inf"}': "0+120x29",
            },
            20,
            None,
        ),
    ],
    "RendezvousDrops": [
        (
            {
                'rendezvous_dropped_total{reason="unreadable", instance="a"}': "0+1200x29",
                'rendezvous_datagrams_total{dialect="pulse", instance="a"}': "0+6000x29",
            },
            20,
            {"instance": "a"},
        ),
        (
            {
                'rendezvous_dropped_total{reason="banned", instance="a"}': "0+9000x29",
                'rendezvous_dropped_total{reason="unreadable", instance="a"}': "0+600x29",
                'rendezvous_datagrams_total{dialect="pulse", instance="a"}': "0+6000x29",
            },
            20,
            None,
        ),
    ],
    "RendezvousSourcesLimited": [
        (
            {'rendezvous_rate_limited_total{limit="source_requests", instance="a"}': "0+660x29"},
            20,
            {"limit": "source_requests", "instance": "a"},
        ),
        ({'rendezvous_rate_limited_total{limit="source_requests", instance="a"}': "0+540x29"}, 20, None),
    ],
    "RendezvousFewerClients": [
        ({'rendezvous_clients{status="online"}': "1000x14 600x9"}, 17, {"status": "online"}),
        ({'rendezvous_clients{status="online"}': "1000-20x24"}, 17, None),
    ],
    "RendezvousErrors": [
        (
            {'rendezvous_http_requests_total{route="/offers", code="500", instance="a"}': "0x3 1x9"},
            5,
            {"route": "/offers", "instance": "a"},
        ),
        ({'rendezvous_http_requests_total{route="/offers", code="503", instance="a"}': "0x3 1x9"}, 5, None),
    ],
    "RendezvousConnectionsNotAccepted": [
        (
            {'rendezvous_unaccepted_connections_total{error="emfile", instance="a"}': "0x3 1x9"},
            5,
            {"error": "emfile", "instance": "a"},
        ),
    ],
    "RendezvousDescriptors": [
        ({f"process_open_fds{{{UP}}}": "81x9", f"process_max_fds{{{UP}}}": "100x9"}, 6, PROCESS),
        ({'process_open_fds{job="other"}': "81x9", 'process_max_fds{job="other"}': "100x9"}, 6, None),
    ],
    "RendezvousCertificateExpires": [
        ({"rendezvous_certificate_expiry_timestamp_seconds": "1200000x99"}, 70, {}),
        ({"rendezvous_certificate_expiry_timestamp_seconds": "1300000x99"}, 70, None),
    ],
    "RendezvousAttemptsFail": [
        (
            {
                'rendezvous_punch_total{outcome="path", instance="a"}': "0+1x99",
                'rendezvous_punch_total{outcome="no_path", instance="a"}': "0+2x99",
            },
            90,
            {"instance": "a"},
        ),
        (
            {
                'rendezvous_punch_total{outcome="path", instance="a"}': "0+2x99",
                'rendezvous_punch_total{outcome="no_path", instance="a"}': "0+1x99",
            },
            90,
            None,
        ),
    ],
}  # fmt: skip


def unit_test(alert: dict[str, Any], case: Case) -> dict[str, Any]:
    """:returns: a test of ``promtool`` for one case of an alert."""
    series, minutes, labels = case
    expected = []
    if labels is not None:
        texts = {
            name: re.sub(r"\{\{ \$labels\.([a-z]+) \}\}", lambda match: labels.get(match[1], ""), text)
            for name, text in alert["annotations"].items()
        }
        expected.append({"exp_labels": {**labels, **alert["labels"]}, "exp_annotations": texts})
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [{"eval_time": f"{minutes}m", "alertname": alert["alert"], "exp_alerts": expected}],
    }


class RuleTests(SynchronousTestCase):
    """The alerts, as Prometheus' own tool sees them."""

    def test_rules_and_configuration_are_clean(self) -> None:
        """The rules, and the configuration of ``deploy/compose`` that names them."""
        self.assertIn(f"SUCCESS: {len(alerts())} rules found", promtool("check", "rules", "--lint-fatal", str(RULES)))
        directory = Path(self.mktemp())
        directory.mkdir()
        shutil.copy(RULES, directory)
        shutil.copy(DEPLOY / "compose" / "prometheus.yml", directory)
        promtool("check", "config", "--syntax-only", str(directory / "prometheus.yml"))

    def test_each_alert_fires_and_stays_silent(self) -> None:
        """On series that are made up for it."""
        made = [unit_test(alert, case) for alert in alerts() for case in ALERTS[alert["alert"]]]
        path = Path(self.mktemp())
        path.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": made}))
        self.assertIn("SUCCESS", promtool("test", "rules", str(path)))


@contextmanager
def prometheus(target: str) -> Iterator[str]:
    """
    Run Prometheus with the rules of ``deploy`` and this server alone, which it scrapes each second.

    :returns: its address.
    """
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="prometheus-") as directory, tempfile.TemporaryFile("w+") as said:
        token = Path(directory, "token")
        token.write_text(TOKEN)
        found = yaml.safe_load((DEPLOY / "compose" / "prometheus.yml").read_text("utf-8"))
        found["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        [job] = found["scrape_configs"]
        job["authorization"]["credentials_file"] = str(token)
        job["static_configs"] = [{"targets": [target]}]
        Path(directory, "prometheus.yml").write_text(json.dumps(found))
        shutil.copy(RULES, directory)
        command = [
            program("prometheus"),
            f"--config.file={directory}/prometheus.yml",
            f"--storage.tsdb.path={directory}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        process = subprocess.Popen(command, stdout=said, stderr=said, cwd=directory)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE)


def fetch(address: str, authorization: str | None = None) -> bytes:
    """:returns: the body of a good answer."""
    request = urllib.request.Request(address, headers={"Authorization": authorization} if authorization else {})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        body: bytes = answer.read()
        return body


class PrometheusTests(ForegroundCase):
    """Prometheus beside ``twistd rendezvous --admin``."""

    def setUp(self) -> None:
        """Start the server."""
        super().setUp()
        program("prometheus")
        token = self.directory / "token"
        token.write_text(TOKEN)
        token.chmod(0o600)
        self.server_ports = self.start("--admin=tcp:0:interface=127.0.0.1", f"--admin-token-file={token}")
        self.admin = f"127.0.0.1:{self.eventually(self.admin_port, 'listening for operators')}"

    def admin_port(self) -> str | None:
        """:returns: where the server says that operators find it."""
        found = re.search(r"(?i)operators\S* on \S+:([0-9]+)", self.log())
        return found[1] if found else None

    def use(self, clients: int) -> None:
        """Have clients register, pulse and look each other up; some of what is sent is refused."""
        for _ in range(clients):
            client = Client("127.0.0.1", self.server_ports)
            client.register()
            client.pulse()
            client.status()
            client.ask("GET", "/nothing")
            client.socket.sendto(b"nonsense", ("127.0.0.1", self.server_ports[1]))
            client.close()

    def asked(self, address: str, path: str, **parameters: str) -> Any:
        """:returns: the data of an answer of Prometheus."""
        found = json.loads(fetch(f"{address}{path}?{urlencode(parameters)}"))
        self.assertEqual((found["status"], found.get("warnings")), ("success", None), parameters)
        return found["data"]

    def test_exposition_is_clean(self) -> None:
        """``promtool check metrics`` has nothing to say of it, before and after there were clients."""
        for _ in range(2):
            text = fetch(f"http://{self.admin}/metrics", f"Bearer {TOKEN}").decode("utf-8")
            self.assertEqual(promtool("check", "metrics", told=text), "")
            self.use(3)

    def test_scraped_under_load(self) -> None:
        """Every scrape succeeds, every query of the board and every alert is evaluated, and what matters has values."""
        with prometheus(self.admin) as address:
            self.use(30)
            self.eventually(lambda: self.scrapes(address) >= 5, "five scrapes")
            self.use(30)
            begun = self.scrapes(address)
            self.eventually(lambda: self.scrapes(address) >= begun + 3, "three scrapes after that")
            [target] = self.asked(address, "/api/v1/targets")["activeTargets"]
            self.assertEqual((target["health"], target["lastError"]), ("up", ""))
            rules = self.asked(address, "/api/v1/rules")["groups"][0]["rules"]
            self.assertEqual({(each["health"], each.get("lastError", "")) for each in rules}, {("ok", "")})
            self.assertEqual([each["name"] for each in rules if each["state"] != "inactive"], [])
            empty = set()
            for title, expression, _ in queries():
                found = self.asked(address, "/api/v1/query", query=expression)["result"]
                values = [each["value"][1] for each in found]
                if not values or set(values) == {"NaN"}:
                    empty.add(title)
            # There were no attempts, and TLS is not used. All others show something.
            self.assertEqual(empty, self.NOTHING)
            self.assertEqual(self.value(address, 'rendezvous_clients{status="online"}'), 60)
            self.assertGreater(self.value(address, 'rate(rendezvous_datagrams_total{outcome="1020"}[20s])'), 0)

    #: Panels that have nothing to show in this test.
    NOTHING = frozenset(
        {
            "First certificate ends in",
            "Attempts that find a path, by pair of NATs",
            "Time to the end of an attempt",
        }
    )

    def test_without_the_token(self) -> None:
        """Prometheus is refused, and says so."""
        error = self.assertRaises(urllib.error.HTTPError, fetch, f"http://{self.admin}/metrics", "Bearer wrong")
        self.addCleanup(error.close)
        self.assertEqual(error.code, 401)

    def scrapes(self, address: str) -> int:
        """:returns: how many scrapes have succeeded so far; 0 also if Prometheus is not ready."""
        try:
            found = json.loads(fetch(f"{address}/api/v1/query?query={quote('sum_over_time(up[1h])')}"))
        except OSError:
            return 0
        return sum(int(each["value"][1]) for each in found["data"]["result"])

    def value(self, address: str, expression: str) -> float:
        """:returns: the one value of an expression."""
        [found] = self.asked(address, "/api/v1/query", query=expression)["result"]
        return float(found["value"][1])
