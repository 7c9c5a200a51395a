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
PATIENCE = 120.0

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

    def meet(self, *options: str, **environ: str) -> None:
        """Let pages meet through a real server with these options."""
        # Newer versions have WebSockets by themselves, and older ones have none at all.
        flags = ["--experimental-websocket"] if (20, 10) <= self.version < (22, 0) else []
        with real_server("--store", "memory:", *options) as server:
            url = f"http://127.0.0.1:{server.http_port}/"
            self.run_tests(*flags, "--test", str(Path("real") / "server.test.js"), SERVER=url, **environ)

    def test_module_and_server_understand_each_other(self) -> None:
        """Two pages meet over each carrier of events, through a server that runs as operators run it."""
        self.meet()

    def test_pages_show_a_registration_token(self) -> None:
        """The same on a server that lets in only those who have one, and what it refuses."""
        path = Path(self.mktemp()).absolute()
        path.touch(0o600)
        path.write_text("# pages\na-token-for-pages-1\n", encoding="ascii")
        self.meet("--registration-token-file", str(path), REGISTRATION_TOKEN="a-token-for-pages-1")


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

    def test_contents_name_the_parts_in_their_order(self) -> None:
        """The comment at the beginning lists the headings."""
        module = (STATIC / "rendezvous.js").read_text(encoding="utf-8")
        headings = re.findall(r"^// --- (.*?) -+$", module, re.MULTILINE)
        listed = re.findall(r"^ \* \* (.*)$", module.partition("*/")[0], re.MULTILINE)
        self.assertEqual(len(headings), len(listed))
        for heading, line in zip(headings, listed, strict=True):
            self.assertTrue(line.startswith(heading), (heading, line))


class TypesTests(SynchronousTestCase):
    """The types beside the module say what it is."""

    def setUp(self) -> None:
        """Read both."""
        self.module = (STATIC / "rendezvous.js").read_text(encoding="utf-8")
        self.types = (STATIC / "rendezvous.d.ts").read_text(encoding="utf-8")

    def body(self, text: str, kind: str, name: str) -> str:
        """:returns: what is between the braces of a class or an interface."""
        found = re.search(rf"^(?:export )?{kind} {name}\b[^\n]*\{{\n(.*?)^\}}", text, re.MULTILINE | re.DOTALL)
        assert found is not None, name
        return found[1]

    def members(self, kind: str, name: str) -> set[str]:
        """:returns: the names of the members that are typed."""
        return set(re.findall(r"^  (?:readonly )?(\w+)\??[:(<]", self.body(self.types, kind, name), re.MULTILINE))

    def test_every_member_is_there(self) -> None:
        """What the types promise, the classes have."""
        for kind, typed, name in (
            ("class", "Client", "Client"),
            ("class", "RendezvousError", "RendezvousError"),
            ("interface", "Room", "Room"),
            ("interface", "Peer", "Peer"),
        ):
            body = self.body(self.module, "class", name)
            methods = re.findall(r"^  (?:async |get )?(\w+)\(", body, re.MULTILINE)
            fields = [*re.findall(r"^  (\w+) = ", body, re.MULTILINE), *re.findall(r"\bthis\.(\w+) = ", body)]
            members = self.members(kind, typed)
            self.assertGreater(len(members), 2)
            self.assertEqual(members - {*methods, *fields}, set(), name)
        shown = self.body(self.module, "class", "IncomingFile").partition("this.shown = {")[2]
        there = set(re.findall(r"^      (\w+)(?::|,)", shown, re.MULTILINE))
        self.assertEqual(self.members("interface", "IncomingFile"), there)

    def test_every_event_is_typed(self) -> None:
        """What rooms and peers emit, and nothing else."""
        [of_rooms] = re.findall(r"^export type RoomEvents = \{(.*?)^\}", self.types, re.MULTILINE | re.DOTALL)
        typed = set(
            re.findall(r"^  (\w+): \[", of_rooms + self.body(self.types, "interface", "PeerEvents"), re.MULTILINE)
        )
        self.assertEqual(typed, set(re.findall(r"\bemit\(\"(\w+)\"", self.module)))

    def test_types_name_what_the_module_exports(self) -> None:
        """Every class and function that the module exports has types, and nothing else is said to be there."""
        [exported] = re.findall(r"^export \{ (.*) \}$", self.module, re.MULTILINE)
        typed = re.findall(r"^export (?:class|function) (\w+)", self.types, re.MULTILINE)
        self.assertEqual(sorted(exported.split(", ")), sorted(typed))

    def test_every_code_of_an_error_is_typed(self) -> None:
        """The codes that the module makes itself are those of the type."""
        made = set(re.findall(r'(?:\bfailure|\bsaid|\bRendezvousError)\(\s*"([a-z-]+)"', self.module))
        [codes] = re.findall(r"^export type ErrorCode =((?:\n  \| \"[a-z-]+\")+)$", self.types, re.MULTILINE)
        self.assertEqual(made - set(re.findall(r'"([a-z-]+)"', codes)), set())
        self.assertGreater(len(made), 10)
