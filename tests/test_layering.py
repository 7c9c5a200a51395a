"""
The import rule: ``core`` and ``wire`` stand alone, and listing plugins costs nothing.

What a module may import is read from its source, so that imports inside functions and for type checkers count too.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[1]

WORLD = frozenset(
    {"asyncio", "klein", "os", "random", "secrets", "select", "socket", "sqlite3", "threading", "time", "treq"}
    | {"twisted", "zope"}
)
SHELL = frozenset(
    f"rendezvous.{name}"
    for name in ("admin", "client", "datagram", "service", "settings", "storage", "sweep", "tap", "web")
)

FORBIDDEN = {
    "core": WORLD | SHELL | {"rendezvous.wire"},
    "wire": WORLD | SHELL,
    "web": frozenset({"rendezvous.storage", "rendezvous.tap"}),
}


def imported(source: str) -> Iterator[str]:
    """
    Yield the dotted name of everything that a module imports.

    ``from a import b`` yields ``a.b``, since ``b`` may be a module; a relative import yields itself, dots first.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def violations(source: str, forbidden: frozenset[str]) -> list[str]:
    """List what a module imports although it is forbidden, or lies in something forbidden, or is relative."""
    return [
        name
        for name in imported(source)
        if name.startswith(".") or any(f"{name}.".startswith(f"{root}.") for root in forbidden)
    ]


def run_python(program: str) -> str:
    """
    Run a program in an interpreter that has imported nothing yet.

    :returns: what it printed.
    :raises subprocess.CalledProcessError: if it fails.
    """
    # Coverage would follow us there, and bring modules of its own.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment = {**inherited, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    ).stdout


class ImportWalkTests(SynchronousTestCase):
    """The walk itself sees every way to import."""

    def test_every_form_of_import_is_seen(self) -> None:
        """Imports of modules, of names, under other names, in functions and for type checkers are all found."""
        source = (
            "import a.b as c, d\nfrom e import f\n"
            "def g():\n    from h.i import j as k\n"
            "if TYPE_CHECKING:\n    import l\n"
        )
        self.assertEqual(sorted(imported(source)), ["a.b", "d", "e.f", "h.i.j", "l"])

    def test_what_lies_in_something_forbidden_is_forbidden(self) -> None:
        """A module, a name in it, and a module below it are refused, however they are written."""
        source = "import time\nfrom time import time\nimport twisted.internet.defer\nfrom rendezvous import storage\n"
        self.assertEqual(
            violations(source, WORLD | SHELL),
            ["time", "time.time", "twisted.internet.defer", "rendezvous.storage"],
        )

    def test_a_longer_name_is_another_name(self) -> None:
        """A module whose name merely starts like a forbidden one is allowed."""
        self.assertEqual(violations("import timeit, rendezvous.web_of_trust", WORLD | SHELL), [])

    def test_relative_imports_are_refused(self) -> None:
        """A relative import could reach anything, so it counts as a violation."""
        self.assertEqual(
            violations("from ..storage import memory\nfrom . import web", WORLD), ["..storage.memory", "..web"]
        )


class LayeringTests(SynchronousTestCase):
    """Each layer imports only what lies below it."""

    def assertLayer(self, layer: str) -> None:
        """Check every module of a layer, and that there are some."""
        paths = sorted((ROOT / "rendezvous" / layer).rglob("*.py"))
        self.assertNotEqual(paths, [], f"the walk found no module in {layer}")
        found = {
            str(path.relative_to(ROOT)): bad
            for path in paths
            if (bad := violations(path.read_text(encoding="utf-8"), FORBIDDEN[layer]))
        }
        self.assertEqual(found, {})

    def test_core_imports_no_outer_layer(self) -> None:
        """Decisions know nothing of bytes, stores, sockets, clocks or Twisted."""
        self.assertLayer("core")

    def test_wire_imports_no_outer_layer(self) -> None:
        """Codecs know records, and nothing of stores, sockets, clocks or Twisted."""
        self.assertLayer("wire")

    def test_web_imports_no_concrete_store(self) -> None:
        """Routes are given a store and know its interface only."""
        self.assertLayer("web")

    def test_core_and_wire_load_without_twisted(self) -> None:
        """Nothing that they import in turn, such as records and limits, brings in Twisted, Klein or a store."""
        names = [
            ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for layer in ("core", "wire")
            for path in (ROOT / "rendezvous" / layer).rglob("*.py")
        ]
        self.assertNotEqual(names, [])
        forbidden = ("klein", "rendezvous.storage", "rendezvous.web", "sqlite3", "treq", "twisted", "zope.interface")
        program = (
            f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\n"
            f"print(*(name for name in {forbidden!r} if name in sys.modules))"
        )
        self.assertEqual(run_python(program).split(), [])


class PluginImportTests(SynchronousTestCase):
    """Listing plugins must leave the choice of a reactor to whoever lists them."""

    report = (
        "\nimport sys; print(*(n for n in ('klein', 'twisted.internet.reactor', 'rendezvous') if n in sys.modules))"
    )

    def test_plugin_module_imports_neither_klein_nor_a_reactor(self) -> None:
        """Importing the plugin's module loads nothing of ours either."""
        self.assertEqual(run_python("import twisted.plugins.rendezvous_plugin" + self.report).split(), [])

    def test_listing_plugins_imports_neither_klein_nor_a_reactor(self) -> None:
        """Finding the plugin as ``twistd`` does loads nothing of ours either."""
        program = (
            "from twisted.application.service import IServiceMaker\n"
            "from twisted.plugin import getPlugins\n"
            "print(*(m.tapname for m in getPlugins(IServiceMaker) if m.tapname == 'rendezvous'))" + self.report
        )
        self.assertEqual(run_python(program).split(), ["rendezvous"])
