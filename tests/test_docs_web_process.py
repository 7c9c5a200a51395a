"""The examples for web pages are programs, and use what the client module has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests._rst import code_blocks

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "tutorials" / "web.rst"
STATIC = ROOT / "rendezvous" / "web" / "static"


def scripts(page: Path) -> Iterator[str]:
    """:returns: the examples in JavaScript, and the scripts of those in HTML."""
    for block in code_blocks(page.read_text(encoding="utf-8")):
        if block.language == "javascript":
            yield block.text
        elif block.language == "html":
            yield from re.findall(r"<script[^>]*>(.*?)</script>", block.text, re.DOTALL)


class ExampleTests(SynchronousTestCase):
    """Examples in JavaScript, on all pages."""

    def test_examples_are_modules(self) -> None:
        """Each is one without a mistake in its syntax."""
        if shutil.which("node") is None:
            if os.environ.get("CI") == "true":
                self.fail("CI must have node")
            raise SkipTest("node is not installed here")
        directory = Path(self.mktemp())
        directory.mkdir()
        pages = [ROOT / "README.rst", *(ROOT / "docs").rglob("*.rst")]
        found = [script for page in pages for script in scripts(page)]
        self.assertGreater(len(found), 8)
        for number, script in enumerate(found):
            file = directory / f"{number}.mjs"
            file.write_text(script, encoding="utf-8")
            ran = subprocess.run(
                ["node", "--check", str(file)], capture_output=True, text=True, timeout=30, check=False
            )
            self.assertEqual((ran.returncode, ran.stderr), (0, ""), script)


class ModuleTests(SynchronousTestCase):
    """Examples for the client module, against its types."""

    def setUp(self) -> None:
        """Read both."""
        self.text = "\n".join(scripts(PAGE))
        self.types = (STATIC / "rendezvous.d.ts").read_text(encoding="utf-8")

    def named(self, pattern: str) -> set[str]:
        """:returns: what the examples name so; something at least."""
        found = set(re.findall(pattern, self.text))
        self.assertNotEqual(found, set(), pattern)
        return found

    def declared(self, type_name: str) -> set[str]:
        """:returns: the members of an interface or a type."""
        [body] = re.findall(rf"\b{type_name}\b(?: =)? \{{\n(.*?)^\}}", self.types, re.DOTALL | re.MULTILINE)
        return set(re.findall(r"^  (?:readonly )?(\w+)[?(<:]", body, re.MULTILINE))

    def test_imports_are_exports(self) -> None:
        """Of the module and of its types."""
        exports = re.findall(r"^export \{([^}]*)\}", (STATIC / "rendezvous.js").read_text("utf-8"), re.MULTILINE)
        names = {name.strip() for each in exports for name in each.split(",")}
        for imported in self.named(r"import \{([^}]*)\}"):
            for name in imported.split(","):
                self.assertIn(name.strip(), names)
                self.assertRegex(self.types, rf"export function {name.strip()}\b")

    def test_members_and_events_are_those_of_a_room(self) -> None:
        """And those of peers, files, paths and options."""
        self.assertLessEqual(self.named(r'room\.on\("(\w+)"'), self.declared("RoomEvents"))
        self.assertLessEqual(self.named(r"\broom\.(\w+)"), self.declared("Room"))
        self.assertLessEqual(self.named(r"\bpeer\.(\w+)"), self.declared("Peer"))
        self.assertLessEqual(self.named(r"\bincoming\.(\w+)"), self.declared("IncomingFile"))
        self.assertLessEqual(self.named(r"\bpath\.(\w+)"), self.declared("Path"))
        for options in self.named(r"\bjoin\([^,]*, \{(.*?)\}\)"):
            given = set(re.findall(r"(?:^|[,{] *)(\w+):", options.strip()))
            self.assertLessEqual(given, self.declared("JoinOptions") | self.declared("At"))
