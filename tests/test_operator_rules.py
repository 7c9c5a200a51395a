"""Alerts and the board of ``deploy``: they ask for what a server really gives, and operators find what to do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.testing import MemoryReactor, MemoryServer
from tests._promql import lacks, selectors
from tests._rst import tables

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
DOCS = ROOT / "docs"
RULES = DEPLOY / "prometheus" / "rendezvous.yml"
BOARD = DEPLOY / "grafana" / "rendezvous.json"


def alerts() -> list[dict[str, Any]]:
    """:returns: the alerts."""
    [group] = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def board() -> dict[str, Any]:
    """:returns: the board."""
    found: dict[str, Any] = json.loads(BOARD.read_text("utf-8"))
    return found


def queries() -> list[tuple[str, str, str]]:
    """:returns: the title of a panel, an expression without variables, and a legend, for each query of the board."""
    return [
        (panel["title"], target["expr"].replace("$instance", ".*").replace("$__rate_interval", "1m"), legend)
        for panel in board()["panels"]
        for target in panel.get("targets", ())
        for legend in [target["legendFormat"]]
    ]


def exposition() -> list[Metric]:
    """:returns: what a server in memory that nobody has used gives."""
    server = MemoryServer(MemoryReactor())
    rendered = Deferred.fromCoroutine(server.rendezvous.metrics().render(""))
    server.reactor.advance(0)
    found: list[bytes] = []
    rendered.addCallback(lambda result: found.append(result[0]))
    server.stop()
    [body] = found
    return list(text_string_to_metric_families(body.decode("utf-8")))


class AlertTests(SynchronousTestCase):
    """``deploy/prometheus``."""

    def test_they_ask_for_what_is_there(self) -> None:
        """Each metric, label and value of an expression is in the exposition of a server that has just started."""
        given = exposition()
        for alert in alerts():
            self.assertNotEqual(selectors(alert["expr"]), [], alert["alert"])
            self.assertEqual(lacks(alert["expr"], given), [], alert["alert"])

    def test_each_says_what_to_do(self) -> None:
        """A summary, an action, a severity, and a section of the documentation with the name of the alert."""
        page = (DOCS / "howto" / "alerts.rst").read_text("utf-8")
        sections = re.findall(r"(?m)^(Rendezvous[A-Za-z]+)\n-+$", page)
        self.assertEqual(sections, [alert["alert"] for alert in alerts()])
        for alert in alerts():
            self.assertEqual(set(alert["annotations"]), {"summary", "action", "docs"})
            self.assertEqual(alert["annotations"]["docs"], f"howto/alerts.html#{alert['alert'].lower()}")
            self.assertIn(alert["labels"]["severity"], ("critical", "warning"))
            for text in (alert["annotations"]["summary"], alert["annotations"]["action"]):
                self.assertTrue(text.endswith("."), text)

    def test_what_is_not_there_is_found(self) -> None:
        """An expression with a wrong metric, label or value is noticed by these tests."""
        given = exposition()
        for wrong in (
            "rendezvous_nothing",
            'rendezvous_clients{status="on-line"}',
            'rendezvous_clients{state="online"}',
            "sum by (route) (rendezvous_clients)",
            "rate(rendezvous_dropped[5m])",
        ):
            self.assertEqual(len(lacks(wrong, given)), 1, wrong)


class BoardTests(SynchronousTestCase):
    """``deploy/grafana``."""

    def test_it_asks_for_what_is_there(self) -> None:
        """Each metric, label and value of a query, and each label of a legend."""
        given = exposition()
        for title, expression, legend in queries():
            self.assertNotEqual(selectors(expression), [], title)
            self.assertEqual(lacks(expression, given), [], title)
            for label in re.findall(r"\{\{([a-z]+)\}\}", legend):
                self.assertTrue(label == "instance" or re.search(rf"\b{label}\b", expression), (title, label))

    def test_panels(self) -> None:
        """Each has a description, a source that can be chosen, and a place of its own below a question."""
        taken: dict[tuple[int, int], str] = {}
        panels = board()["panels"]
        self.assertEqual(panels[0]["type"], "row")
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        for panel in panels:
            place = panel["gridPos"]
            cells = [(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])]
            self.assertLessEqual(place["x"] + place["w"], 24)
            self.assertEqual([taken[cell] for cell in cells if cell in taken], [], panel["title"])
            taken |= dict.fromkeys(cells, panel["title"])
            if panel["type"] == "row":
                self.assertIn("?", panel["title"])
            else:
                self.assertTrue(panel["description"].endswith("."), panel["title"])
                self.assertEqual(panel["datasource"]["uid"], "${datasource}")

    def test_every_family_is_on_the_board_or_in_an_alert(self) -> None:
        """What is measured is shown."""
        text = BOARD.read_text("utf-8") + RULES.read_text("utf-8")
        for family in exposition():
            if family.name.startswith("rendezvous_"):
                self.assertIn(family.name, text)


class MetricsPageTests(SynchronousTestCase):
    """``docs/reference/metrics.rst``."""

    def rows(self, heading: str) -> list[list[str]]:
        """:returns: the rows of the tables with this heading."""
        page = (DOCS / "reference" / "metrics.rst").read_text("utf-8")
        return [row for table in tables(page) if table[0][0] == heading for row in table[1:]]

    def test_every_metric_is_listed(self) -> None:
        """With its type and its labels, and none that does not exist."""
        listed = {
            re.sub("_total$", "", row[0].strip("`")): (row[1], set(re.findall("``([a-z]+)``", row[2])))
            for row in self.rows("Metric")
        }
        given = {
            family.name: (
                # The text format has no type for information about a build.
                "info" if family.name.endswith("_info") else family.type,
                {label for sample in family.samples for label in sample.labels} - {"le"},
            )
            for family in exposition()
        }
        self.assertEqual(listed, given)

    def test_every_value_is_listed(self) -> None:
        """Those of all labels but routes and what depends on the version."""
        listed = {
            (re.sub("_total$", "", row[0].strip("`")), row[1].strip("`")): set(re.findall("``([^`]+)``", row[2]))
            for row in self.rows("In")
        }
        given: dict[tuple[str, str], set[str]] = {}
        for family in exposition():
            for sample in family.samples:
                for label, value in sample.labels.items():
                    if label not in ("le", "route", "version", "python", "twisted", "method", "code"):
                        given.setdefault((family.name, label), set()).add(value)
        self.assertEqual(listed, given)
