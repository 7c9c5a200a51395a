"""``docs/howto/questions.rst``: its commands, metrics and places of the dashboard exist."""

from __future__ import annotations

import io
import re
import shlex
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.commands.admin.main import main
from rendezvous.testing import MemoryServer
from tests._rst import code_blocks, tables

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGE = (DOCS / "howto" / "questions.rst").read_text(encoding="utf-8")


class QuestionsPageTests(SynchronousTestCase):
    """The page, beside the program, the exposition and the dashboard."""

    def exposition(self) -> str:
        """:returns: what Prometheus reads."""
        server = MemoryServer()
        self.addCleanup(server.stop)
        rendered = Deferred.fromCoroutine(server.rendezvous.metrics().render(""))
        server.reactor.advance(0)
        return self.successResultOf(rendered)[0].decode("utf-8")

    def test_each_question_is_answered(self) -> None:
        """It is in the first table, and has a command, a place in the dashboard and a metric of its own."""
        sections = dict(re.findall(r"^([^\n]+\?)\n-+\n(.*?)(?=^[^\n]+\?\n-+\n|\Z)", PAGE, re.MULTILINE | re.DOTALL))
        *asked, last = sections
        self.assertGreaterEqual(len(asked), 5)
        self.assertEqual([row[0] for row in tables(PAGE)[0][1:]], [f"`{each}`_" for each in (*asked, last)])
        for each in asked:
            for part in ("\n.. code-block:: shell\n", "\n* **Dashboard:**", "\n* **Metric:**"):
                self.assertIn(part, sections[each], each)

    def test_commands_are_known(self) -> None:
        """The program takes their words: it fails only because there is no token."""
        blocks = [line for block in code_blocks(PAGE) for line in block.text.splitlines()]
        commands = [shlex.split(line) for line in blocks if line.startswith("rendezvous-admin ")]
        self.assertGreater(len(commands), 7)
        for _, *words in commands:
            said = io.StringIO()
            with redirect_stderr(said), redirect_stdout(said):
                status = main(words, environ={"RENDEZVOUS_ADMIN_TOKEN_FILE": "/nowhere/token"})
            self.assertEqual((status, "/nowhere/token" in said.getvalue()), (1, True), (words, said.getvalue()))

    def test_metrics_exist(self) -> None:
        """Also each label that is named with a value."""
        text = self.exposition()
        named = set(re.findall(r"\b(?:rendezvous|process)_[a-z_]+\b(?:\{[^}]+\})?", PAGE))
        self.assertGreater(len(named), 10)
        for each in named - {"rendezvous_"}:
            self.assertRegex(text, rf"(?m)^{re.escape(each)}[ {{]", each)

    def test_places_are_those_of_the_dashboard(self) -> None:
        """What is in italics is a title of a tile or a section, or text of the page."""
        static = ROOT / "rendezvous" / "operator" / "static"
        shown = " ".join(path.read_text(encoding="utf-8") for path in static.glob("*.*") if path.suffix != ".svg")
        places = re.findall(r"(?<!\*)\*([A-Za-z][^*\n]+)\*(?!\*)", PAGE)
        self.assertGreater(len(places), 6)
        for each in places:
            self.assertIn(each, shown)

    def test_tables_are_those_of_the_server(self) -> None:
        """Each table that can be full has a row with what to do."""
        entries = re.findall(r'rendezvous_table_entries\{table="([a-z_]+)"\}', self.exposition())
        [table] = [table for table in tables(PAGE) if table[0][0] == "Table"]
        rows = {row[0].strip("`").replace(" ", "_") for row in table[1:]}
        self.assertGreater(len(entries), 5)
        self.assertEqual({*entries, "signaling_memory"}, rows)


class FirstSentenceTests(SynchronousTestCase):
    """Every page of the documentation."""

    def test_each_page_begins_with_a_sentence(self) -> None:
        """Below its title it says what it is for, before any list, table, example or section."""
        pages = [page for page in sorted(DOCS.rglob("*.rst")) if "_build" not in page.parts]
        self.assertGreater(len(pages), 40)
        for page in pages:
            text = page.read_text(encoding="utf-8")
            if text.startswith(".. include::"):
                continue
            text = re.sub(r"^\.\. (currentmodule|module):: \S+$|^:[a-z]+:$|^\.\. _.+$", "", text, flags=re.MULTILINE)
            title, line, *rest = text.strip().splitlines()
            first = next(each for each in rest if each.strip())
            self.assertEqual(len(title), len(line), page)
            self.assertRegex(first, r"^[A-Z`:]", f"{page}: {first}")
            paragraph = "\n".join(rest).strip().partition("\n\n")[0]
            self.assertRegex(paragraph, r"[.:]$", f"{page}: {paragraph}")
