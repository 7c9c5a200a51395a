"""``docs/howto/troubleshooting.rst`` speaks of codes, reasons and lines that the server has."""

from __future__ import annotations

import re
from pathlib import Path

from wsproto.frame_protocol import CloseReason

from twisted.trial.unittest import SynchronousTestCase

from rendezvous import errors
from rendezvous.core.presence.states import Timers
from rendezvous.udp.shared import Drop
from tests._rst import tables

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def read(path: Path) -> str:
    """:returns: a file's text."""
    return path.read_text(encoding="utf-8")


def literals(text: str) -> set[str]:
    """:returns: all literals of a text, each on one line."""
    return {" ".join(each.split()) for each in re.findall(r"``(.+?)``", text, re.DOTALL)}


class TroubleshootingPageTests(SynchronousTestCase):
    """The page, beside the code and the other pages."""

    def setUp(self) -> None:
        """Read it."""
        self.page = read(DOCS / "howto" / "troubleshooting.rst")
        self.literals = literals(self.page)

    def test_codes_exist(self) -> None:
        """Each code of an error, or of a connection that failed, is on the page that lists them."""
        found = [table for page in DOCS.rglob("*.rst") for table in tables(read(page)) if table[0][0] == "Code"]
        known = {name for table in found for row in table[1:] for name in literals(row[0])}
        named = {each for each in self.literals if re.fullmatch(r"[a-z]+(-[a-z]+)+", each)}
        named -= {"connect-src", "script-src"}  # Of a Content Security Policy.
        self.assertGreater(len(named), 10)
        self.assertEqual(named - known, set())

    def test_close_codes_are_those_of_the_server(self) -> None:
        """Each one that the server closes a WebSocket with has a row; those of errors are errors of event streams."""
        [table] = [table for table in tables(self.page) if table[0][0] == "Code" and table[1][0] == "1000"]
        rows = {int(code) for row in table[1:] for code in row[0].split(",")}
        sources = "".join(map(read, (ROOT / "rendezvous" / "web").rglob("*.py")))
        used = {int(CloseReason[name]) for name in re.findall(r"CloseReason\.([A-Z_]+)", sources)}
        used.discard(int(CloseReason.NO_STATUS_RCVD))
        self.assertEqual({code for code in rows if code < 4000} - {int(CloseReason.ABNORMAL_CLOSURE)}, used)
        statuses = {kind.status for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "status")}
        self.assertLessEqual({code - 4000 for code in rows if code > 4000}, statuses)

    def test_reasons_are_those_of_dropped_datagrams(self) -> None:
        """Those that are shown as the log shows them, and those of the table of signed requests."""
        shown = set(re.findall(r"dropped datagrams: \{'([^']+)'", self.page))
        [table] = [table for table in tables(self.page) if table[0][0].startswith("Reason")]
        shown |= {name for row in table[1:] for name in literals(row[0])}
        self.assertGreater(len(shown), 4)
        self.assertEqual(shown - {str(drop) for drop in Drop}, set())

    def test_lines_are_those_of_the_log(self) -> None:
        """Each line with something in braces is one of the lines that the page about the log has."""
        [table] = [table for table in tables(read(DOCS / "operating.rst")) if table[0][0] == "Event"]
        lines = [name for row in table[1:] for name in literals(row[1])]
        named = {each for each in self.literals if re.search(r"\{[a-z]+\}", each)}
        named |= {each for each in self.literals if each.startswith(("swept:", "state is kept in"))}
        self.assertGreater(len(named), 4)
        for each in named - {"state is kept in memory only"}:
            self.assertTrue(any(each in line for line in lines), each)

    def test_times_are_the_defaults(self) -> None:
        """The seconds in the text are those of a server with default settings."""
        timers = Timers()
        self.assertIn(f"the interval and the grace, {timers.on_time:g} seconds by default", self.page)
        self.assertIn(f"silent for more than {timers.kept:g} seconds", " ".join(self.page.split()))
        self.assertIn(f"within {timers.registration_time:g} seconds of its registration", " ".join(self.page.split()))
