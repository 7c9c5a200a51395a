"""The module for web pages: its tests run by node, alone and against a server, and what its npm package holds."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from rendezvous import __version__
from tests.real_server import real_server
from tests.test_peers_process import require

TESTS = Path(__file__).parent / "js"
STATIC = Path(__file__).parents[1] / "rendezvous" / "web" / "static"

#: Seconds that all tests of one kind may take on a slow machine.
PATIENCE = 60.0

NODE = shutil.which("node")


def node(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """:returns: node, when it has ended, with what it has printed."""
    assert NODE is not None
    return subprocess.run(
        [NODE, *words], env=environ, cwd=TESTS, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


class NodeCase(SynchronousTestCase):
    """Needs node 18 or newer."""

    def setUp(self) -> None:
        """Look for node."""
        require(NODE is not None, "node")
        self.version = tuple(int(part) for part in re.findall(r"[0-9]+", node("--version").stdout)[:2])
        require(self.version >= (18, 0), "node 18")

    def run_tests(self, *words: str, **environ: str) -> None:
        """See that all of these tests pass, and that there are some."""
        done = node(*words, **environ)
        found = re.search(r"^\W*pass ([0-9]+)$", done.stdout, re.MULTILINE)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertGreater(int(found[1]) if found else 0, 0, done.stdout)


class ModuleTests(NodeCase):
    """The module alone, and against a real server."""

    def test_module_passes_its_tests(self) -> None:
        """Rooms, pairs, files and carriers, on a clock, with a server and connections that are made up."""
        files = sorted(path.name for path in TESTS.glob("*.test.js"))
        self.run_tests("--test", *files)

    def test_module_and_server_understand_each_other(self) -> None:
        """Two pages meet over each carrier of events, through a server that runs as operators run it."""
        # Newer versions have WebSockets by themselves, and older ones have none at all.
        flags = ["--experimental-websocket"] if (20, 10) <= self.version < (22, 0) else []
        with real_server("--store", "memory:") as server:
            self.run_tests(
                *flags, "--test", str(Path("real") / "server.test.js"), SERVER=f"http://127.0.0.1:{server.http_port}/"
            )


class PackageTests(SynchronousTestCase):
    """The folder is an npm package as it is."""

    def setUp(self) -> None:
        """Read what the package declares."""
        self.declared = json.loads((STATIC / "package.json").read_text(encoding="utf-8"))

    def test_version_is_the_servers(self) -> None:
        """The module and the server are released together."""
        self.assertEqual(self.declared["version"], __version__)

    def test_every_file_is_there(self) -> None:
        """Whatever the package declares exists."""
        entry = self.declared["exports"]["."]
        named = {*self.declared["files"], self.declared["main"], self.declared["types"], *entry.values()}
        self.assertEqual([name for name in named if not (STATIC / name).is_file()], [])

    def test_nothing_is_depended_on(self) -> None:
        """Neither other packages nor other files."""
        self.assertNotIn("dependencies", self.declared)
        module = (STATIC / "rendezvous.js").read_text(encoding="utf-8")
        self.assertEqual(re.findall(r"^\s*import\b|\bimport\(|\brequire\(", module, re.MULTILINE), [])

    def test_types_name_what_the_module_exports(self) -> None:
        """Every class and function that the module exports has types, and nothing else is said to be there."""
        module = (STATIC / "rendezvous.js").read_text(encoding="utf-8")
        types = (STATIC / "rendezvous.d.ts").read_text(encoding="utf-8")
        [exported] = re.findall(r"^export \{ (.*) \}$", module, re.MULTILINE)
        typed = re.findall(r"^export (?:class|function) (\w+)", types, re.MULTILINE)
        self.assertEqual(sorted(exported.split(", ")), sorted(typed))

    def test_every_code_of_an_error_is_typed(self) -> None:
        """The codes that the module makes itself are those of the type."""
        module = (STATIC / "rendezvous.js").read_text(encoding="utf-8")
        types = (STATIC / "rendezvous.d.ts").read_text(encoding="utf-8")
        made = set(re.findall(r'(?:\bgone|\bsaid|\bRendezvousError)\(\s*"([a-z-]+)"', module))
        [codes] = re.findall(r"^export type ErrorCode =((?:\n  \| \"[a-z-]+\")+)$", types, re.MULTILINE)
        self.assertEqual(made - set(re.findall(r'"([a-z-]+)"', codes)), set())
        self.assertGreater(len(made), 10)
