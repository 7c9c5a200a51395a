"""
The import rule: which package may import what. The table of ``CONTRIBUTING.rst`` is what is tested.

What a module imports is read from its source, so that imports inside functions and for type checkers count too.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import attrs

from twisted.trial.unittest import SynchronousTestCase

from tests._rst import tables

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "rendezvous"

#: Modules of the standard library that every package may import: they compute, and reach nothing outside.
# fmt: off
PLAIN = frozenset(
    {
        "__future__", "abc", "array", "base64", "bisect", "collections", "contextlib", "dataclasses", "datetime",
        "difflib", "enum", "errno", "functools", "hashlib", "heapq", "hmac", "html", "inspect", "io",
        "ipaddress", "itertools", "json", "math", "operator", "re", "stat", "string", "struct", "textwrap",
        "tomllib", "types", "typing", "urllib.parse", "zlib",
    }
)
# fmt: on

#: The one module that may name the global reactor.
REACTOR = "twisted.internet.reactor"
REACTOR_OWNER = "tap"


@attrs.frozen
class Row:
    """
    What a package may import.

    :ivar ours: packages of ``rendezvous``.
    :ivar others: packages of others, beyond :data:`PLAIN`.
    """

    ours: frozenset[str]
    others: frozenset[str]


def read_table() -> dict[str, Row]:
    """:returns: the table of ``CONTRIBUTING.rst``, in its order."""
    [found] = [table for table in tables((ROOT / "CONTRIBUTING.rst").read_text("utf-8")) if table[0][0] == "Package"]

    def names(cell: str) -> frozenset[str]:
        return frozenset() if cell == "none" else frozenset(name.strip("`") for name in cell.split(", "))

    return {package.strip("`"): Row(names(ours), names(others)) for package, ours, others in found[1:]}


TABLE = read_table()


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


def violations(source: str, package: str) -> list[str]:
    """
    :param package: where the source lies: a package or a module of ``rendezvous``.
    :returns: what the source imports although the table does not allow it.
    """
    return [name for name in imported(source) if not is_allowed(name, package)]


def is_allowed(name: str, package: str) -> bool:
    """:returns: whether a package may import a name. A relative import is not allowed: it could reach anything."""
    row = TABLE[package]
    root, _, rest = name.partition(".")
    if root == "rendezvous":
        return rest.split(".")[0] in {package, *row.ours}
    if f"{name}.".startswith(f"{REACTOR}."):
        return package == REACTOR_OWNER
    return root in row.others or any(f"{name}.".startswith(f"{module}.") for module in PLAIN)


def package_of(path: Path) -> str:
    """:returns: the package that a file of ``rendezvous`` belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def arrows(folder: Path) -> dict[str, set[str]]:
    """
    :param folder: of a package of ``rendezvous``.
    :returns: for each part of it, which is a module or a package directly inside, the other parts that it imports. A
        name of the package itself counts as its ``__init__``.
    """
    prefix = ".".join(folder.relative_to(ROOT).parts) + "."
    parts = {path.stem for path in folder.iterdir()}
    found: dict[str, set[str]] = {}
    for path in folder.rglob("*.py"):
        part = path.relative_to(folder).parts[0].removesuffix(".py")
        names = {
            name.removeprefix(prefix).split(".")[0]
            for name in imported(path.read_text("utf-8"))
            if name.startswith(prefix)
        }
        found.setdefault(part, set()).update({name if name in parts else "__init__" for name in names} - {part})
    return found


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


class CheckerTests(SynchronousTestCase):
    """The checker sees every way to import, and refuses what the table does not list."""

    def test_every_form_of_import_is_seen(self) -> None:
        """Imports of modules, of names, under other names, in functions and for type checkers are all found."""
        source = (
            "import a.b as c, d\nfrom e import f\n"
            "def g():\n    from h.i import j as k\n"
            "if TYPE_CHECKING:\n    import l\n"
        )
        self.assertEqual(sorted(imported(source)), ["a.b", "d", "e.f", "h.i.j", "l"])

    def test_arrow_that_points_up_is_refused(self) -> None:
        """Stores know nothing of HTTP, the web nothing of stores, and the core nothing of either."""
        for source, package in (
            ("from rendezvous.web import cors", "storage"),
            ("from rendezvous.storage import memory", "web"),
            ("from rendezvous.settings import Settings", "storage"),
            ("import rendezvous.storage.rows", "core"),
            ("from rendezvous import web", "core"),
            ("def f():\n    from rendezvous.wire import pulse", "core"),
            ("if TYPE_CHECKING:\n    from rendezvous.storage.notifier import Notifier", "interfaces"),
        ):
            self.assertEqual(len(violations(source, package)), 1, source)

    def test_reactor_is_refused_everywhere_but_in_one_module(self) -> None:
        """However it is written."""
        for source in (
            "from twisted.internet import reactor", "import twisted.internet.reactor",
            "from twisted.internet.reactor import callLater", "def f():\n    from twisted.internet import reactor as r",
        ):  # fmt: skip
            for package in TABLE:
                self.assertEqual(len(violations(source, package)), int(package != "tap"), (source, package))

    def test_clocks_sockets_and_chance_are_refused_in_the_core(self) -> None:
        """Under any of their names."""
        for module in ("time", "os", "socket", "random", "secrets", "sqlite3", "asyncio", "threading", "select"):
            for package in ("core", "wire"):
                for source in (f"import {module}", f"from {module} import x", f"import {module}.x"):
                    self.assertEqual(len(violations(source, package)), 1, source)

    def test_what_is_not_listed_is_refused(self) -> None:
        """A new dependency, or a new package of ours, needs a row."""
        self.assertEqual(violations("import requests, importlib", "web"), ["requests", "importlib"])
        self.assertEqual(violations("import urllib.request, http.client", "core"), ["urllib.request", "http.client"])
        self.assertEqual(violations("import rendezvous.helpers", "service"), ["rendezvous.helpers"])
        self.assertEqual(violations("import rendezvous", "service"), ["rendezvous"])
        self.assertEqual(
            violations("from ..storage import memory\nfrom . import web", "web"), ["..storage.memory", "..web"]
        )

    def test_what_is_listed_is_allowed(self) -> None:
        """A package itself, what its row has, and what computes; a longer name is another name."""
        source = (
            "import json, rendezvous.core.sources\nfrom rendezvous.errors import Full\nimport twisted.internet.defer"
        )
        self.assertEqual(violations(source, "storage"), [])
        self.assertEqual(violations("import rendezvous.webbing", "service"), ["rendezvous.webbing"])
        self.assertEqual(violations("import twisted.internet.reactors", "service"), [])


class LayeringTests(SynchronousTestCase):
    """Every import of every module is one that the table allows."""

    paths = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")

    def test_every_package_has_a_row(self) -> None:
        """And every row a package."""
        self.assertEqual(sorted(TABLE), sorted({package_of(path) for path in self.paths}))

    def test_rows_point_up_the_table_only(self) -> None:
        """So no arrow goes in both directions, in however many steps."""
        above: set[str] = set()
        for package, row in TABLE.items():
            self.assertEqual(row.ours - above, set(), package)
            above.add(package)

    def test_parts_of_a_package_have_an_order(self) -> None:
        """In each package that has packages, no two modules or packages import each other, in however many steps."""
        for folder in {path.parents[1] for path in self.paths if path.name == "__init__.py"}:
            TopologicalSorter(arrows(folder)).prepare()

    def test_arrows_between_the_parts_of_a_package_are_seen(self) -> None:
        """For example, both sides of an attempt know what they have in common, and not each other."""
        core = arrows(PACKAGE / "core")
        self.assertLess({"connect", "presence"}, core["attempts"])
        self.assertIn("connect", core["punching"])
        self.assertNotIn("punching", core["attempts"])
        self.assertNotIn("attempts", core["punching"])
        self.assertIn("connecting", arrows(PACKAGE / "client")["__init__"])

    def test_imports_are_allowed(self) -> None:
        """In every module, in functions and for type checkers too."""
        found = {
            str(path.relative_to(ROOT)): bad
            for path in self.paths
            if (bad := violations(path.read_text(encoding="utf-8"), package_of(path)))
        }
        self.assertEqual(found, {})

    def test_nothing_is_allowed_that_is_not_used(self) -> None:
        """A row shrinks with its package."""
        for package, row in TABLE.items():
            sources = [path.read_text("utf-8") for path in self.paths if package_of(path) == package]
            names = [name.split(".") for source in sources for name in imported(source)]
            ours = {parts[1] for parts in names if parts[0] == "rendezvous"}
            self.assertEqual(row.ours - ours, set(), package)
            self.assertEqual(row.others - {parts[0] for parts in names}, set(), package)

    def test_core_and_wire_load_without_twisted(self) -> None:
        """Nothing that they import in turn, such as records and limits, brings in Twisted, Klein or a store."""
        names = [
            ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for path in self.paths
            if package_of(path) in {"core", "wire"}
        ]
        self.assertNotEqual(names, [])
        forbidden = ("klein", "rendezvous.storage", "rendezvous.web", "sqlite3", "treq", "twisted", "zope.interface")
        program = (
            f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\n"
            f"print(*(name for name in {forbidden!r} if name in sys.modules))"
        )
        self.assertEqual(run_python(program).split(), [])


class PluginImportTests(SynchronousTestCase):
    """Listing plugins must leave the choice of a reactor to the program that lists them."""

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

    def test_options_are_read_without_a_reactor(self) -> None:
        """Twistd installs the reactor of its ``--reactor`` option after it has read ours."""
        program = "from rendezvous.tap import Options; Options().parseOptions([])"
        self.assertEqual(run_python(program + self.report).split(), ["rendezvous"])
