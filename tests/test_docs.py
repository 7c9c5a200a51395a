"""The pages of the documentation say what the code does."""

from __future__ import annotations

import ast
import contextlib
import io
import pkgutil
import re
import runpy
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import attrs

from twisted.trial.unittest import SynchronousTestCase

import rendezvous
from rendezvous import client, errors, refusals
from rendezvous.client.attempts import AttemptState
from rendezvous.client.connecting._reasons import error_of
from rendezvous.core.attempts.strategy import REASONS
from rendezvous.core.presence.states import ON_PULSE, PulseCode, Timers
from rendezvous.core.punching.reasons import no_path
from rendezvous.limits import MAX_BODY
from rendezvous.settings import CONFIG, Settings, option_name
from rendezvous.testing import MemoryServer
from tests._command_case import option_names
from tests._rst import Block, code_blocks, tables

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

#: Options that the pages mention and that are twistd's own.
TWISTD = {
    "chroot", "gid", "help", "logfile", "logger", "nodaemon", "pidfile", "prefix", "rundir", "syslog", "uid"
}  # fmt: skip
ADMIN = {"json", "keep", "for", "reason", "limit", "prefix", "network", "state", "client", "once", "lines"}
ADMIN |= {"token-file", "ca-file", "operator"}

#: Options of Docker, systemctl, sysctl, apt-get, curl and Prometheus in the examples of deployment.
DEPLOYMENT = {"detach", "env", "file", "network", "now", "publish", "system", "tag", "ulimit", "volume"}
DEPLOYMENT |= {"cacert", "fail", "globoff", "show-error", "silent", "web", "yes"}


def read(path: Path) -> str:
    """:returns: a file's text."""
    return path.read_text(encoding="utf-8")


def rows(path: Path, heading: str) -> list[list[str]]:
    """
    Find a table by the first cell of its header.

    :returns: its rows without the header.
    """
    [found] = [table for table in tables(read(path)) if table[0][0] == heading]
    return found[1:]


def literal(cell: str) -> str:
    """:returns: what stands in a cell as a literal and nothing else."""
    match = re.fullmatch(r"``([^`]*)``", cell)
    assert match is not None, cell
    return match[1]


def calls() -> Iterator[tuple[Path, ast.Call]]:
    """Yield every call in the server's source."""
    package = ROOT / "rendezvous"
    for path in sorted(package.rglob("*.py")):
        # The library and the program of clients are not the server's.
        if not path.is_relative_to(package / "client") and path.parent != package / "commands" / "rendezvous":
            for node in ast.walk(ast.parse(read(path))):
                if isinstance(node, ast.Call):
                    yield path, node


def is_log_call(call: ast.Call) -> bool:
    """:returns: whether a call writes to the log."""
    return isinstance(call.func, ast.Attribute) and re.search(r"\b_?log$", ast.unparse(call.func.value)) is not None


class RstTests(SynchronousTestCase):
    """The reader of the pages misses nothing that they use."""

    PAGE = """\
Title
=====

.. code-block:: shell

    one

      two

Text.

.. list-table::
   :header-rows: 1

   * - A
     - B
   * - 1
     - 2,
       and on
   * -
     - 3
   * - 4
     -

Part
----

.. code-block:: python

    three
"""

    def test_code_blocks(self) -> None:
        """A block has its section, its language, and its text without the indentation."""
        expected = [Block("Title", "shell", "one\n\n  two\n"), Block("Part", "python", "three\n")]
        self.assertEqual(code_blocks(self.PAGE), expected)

    def test_tables(self) -> None:
        """A table has its rows, a cell that goes on is one cell, and so is an empty one."""
        self.assertEqual(tables(self.PAGE), [[["A", "B"], ["1", "2, and on"], ["", "3"], ["4", ""]]])


class PulsePageTests(SynchronousTestCase):
    """``docs/protocol/pulse.rst``."""

    page = DOCS / "protocol" / "pulse.rst"

    def test_states_are_those_of_the_core(self) -> None:
        """What a pulse gets in each state is the core's own table."""
        documented = {literal(row[0]): int(literal(row[3])) for row in rows(self.page, "State")}
        self.assertEqual(documented, {state.name: int(code) for state, code in ON_PULSE.items()})

    def test_only_a_pulse_on_time_is_recorded(self) -> None:
        """The effect is what the answer says."""
        for row in rows(self.page, "State"):
            recorded = row[4] == "address and time recorded"
            self.assertEqual(recorded, int(literal(row[3])) == PulseCode.ON_TIME, row)

    def test_codes_are_all_there(self) -> None:
        """Every code has its name."""
        documented = {literal(row[1]): int(literal(row[0])) for row in rows(self.page, "Code")}
        self.assertEqual(documented, {code.name: int(code) for code in PulseCode})

    def test_times_are_the_defaults(self) -> None:
        """The defaults are those of a server that was told nothing."""
        documented = [float(literal(row[1])) for row in rows(self.page, "Time")]
        timers = Settings().timers
        self.assertEqual(timers, Timers())
        expected = [timers.pulse_interval, timers.pulse_grace, timers.error_time, timers.registration_time]
        self.assertEqual(documented, expected)

    def test_example_limits_follow_from_the_defaults(self) -> None:
        """The two limits that the text computes are right."""
        timers = Timers()
        text = read(self.page)
        self.assertIn(f"up to and including {timers.on_time:g} seconds", text)
        self.assertIn(f"up to and including {timers.kept:g}.", text)


class HttpPageTests(SynchronousTestCase):
    """``docs/protocol/http.rst``, and the error codes and routes on the other pages beside it."""

    page = DOCS / "protocol" / "http.rst"
    pages = tuple(
        DOCS / "protocol" / name for name in ("http.rst", "offers.rst", "events.rst", "sessions.rst", "connect.rst")
    )

    def test_error_codes_are_those_of_the_code(self) -> None:
        """Every stable word that the server can say over HTTP is listed once, with its status, and no other."""
        kinds = {
            name: kind
            for name, kind in vars(errors).items()
            if isinstance(kind, type) and issubclass(kind, errors.RendezvousError)
        }
        used = {(kind.default_code, kind.status) for kind in kinds.values()}
        for path, call in calls():
            # The tracker speaks over UDP alone, in sentences.
            if path.name != "tracker.py" and isinstance(call.func, ast.Name) and call.func.id in kinds:
                words = [word.value for word in call.keywords if word.arg == "code"]
                used |= {
                    (str(word.value), kinds[call.func.id].status) for word in words if isinstance(word, ast.Constant)
                }
        # A connection over the limit is closed without an answer, but its code is in the log.
        used |= {(code, errors.TooMany.status) for code in refusals.LIMITS if code.startswith("source-")}
        documented = [(literal(row[0]), int(row[1])) for page in self.pages for row in rows(page, "Code")]
        documented += [(literal(row[0]), int(row[1])) for row in rows(DOCS / "admin.rst", "Code")]
        self.assertEqual(sorted(documented), sorted(used))

    def test_body_limit_is_the_servers(self) -> None:
        """The page and the error agree about the longest body."""
        [meaning] = [row[2] for row in rows(self.page, "Code") if literal(row[0]) == "too-large"]
        self.assertIn(f"more than {MAX_BODY / 2**20:g} MiB", meaning)

    def test_routes_are_those_of_the_server(self) -> None:
        """Every route is on some page of the protocol, and every one there exists."""
        server = MemoryServer()
        self.addCleanup(server.stop)
        served = {f"{route.method} {route.path}" for route in server.rendezvous.routes()}
        found = [table for page in (DOCS / "protocol").glob("*.rst") for table in tables(read(page))]
        documented = {literal(row[0]) for table in found if table[0][0] == "Route" for row in table[1:]}
        self.assertEqual(documented, served)


class ExamplesPageTests(SynchronousTestCase):
    """``docs/protocol/examples.rst``."""

    def test_every_tag_is_there(self) -> None:
        """The page shows the worked requests of all routes, each once."""
        server = MemoryServer()
        self.addCleanup(server.stop)
        shown = re.findall(r"^\.\. route-examples:: (.+)$", read(DOCS / "protocol" / "examples.rst"), re.MULTILINE)
        self.assertEqual(sorted(shown), sorted({route.tag for route in server.rendezvous.routes()}))


class OperatingPageTests(SynchronousTestCase):
    """``docs/operating.rst``."""

    page = DOCS / "operating.rst"

    def test_log_lines_are_those_of_the_server(self) -> None:
        """Each line that the server logs is explained with the name of its event, and no other."""
        logged = set()
        for path, call in calls():
            if is_log_call(call):
                line = call.args[0]
                [name] = [word.value for word in call.keywords if word.arg == "event"]
                assert isinstance(line, ast.Constant), f"{path}:{call.lineno}: which line is this?"
                assert isinstance(name, ast.Constant), f"{path}:{call.lineno}: which event is this?"
                logged.add((name.value, line.value))
        self.assertEqual({(literal(row[0]), literal(row[1])) for row in rows(self.page, "Event")}, logged)

    def test_options_are_listed(self) -> None:
        """The page has the list that is made from the settings."""
        self.assertIn("\n.. server-options::\n", read(self.page))

    def test_every_option_mentioned_exists(self) -> None:
        """No page speaks of an option that neither the server nor twistd nor a command has."""
        known = TWISTD | ADMIN | DEPLOYMENT | {CONFIG} | {option_name(field) for field in attrs.fields(Settings)}
        known = known.union(*option_names().values())
        pages = [ROOT / "README.rst", *DOCS.rglob("*.rst")]
        named = {name for page in pages for name in re.findall(r"(?<![\w-])--([a-z][a-z-]*)", read(page))}
        self.assertEqual(named - known, set())


class ArchitecturePageTests(SynchronousTestCase):
    """``docs/architecture.rst``."""

    def test_every_module_is_on_the_map(self) -> None:
        """Each module of the package has a row, or is named in the row of its package; nothing else is."""
        cells = [name.strip() for row in rows(DOCS / "architecture.rst", "Module") for name in row[0].split(",")]
        modules = {module.name for module in pkgutil.walk_packages(rendezvous.__path__, "rendezvous.")}
        public = {name for name in modules if "._" not in name}
        self.assertEqual(sorted(map(literal, cells)), sorted(public))


class CommandPageTests(SynchronousTestCase):
    """``docs/command.rst``."""

    def test_subcommands_and_options_are_all_there(self) -> None:
        """Each has an entry."""
        terms = re.findall(r"^``([^`]+)``", read(DOCS / "command.rst"), re.MULTILINE)
        options = option_names()
        self.assertEqual({term.split()[1] for term in terms if term.startswith("rendezvous ")}, set(options))
        named = {term.split()[0].removeprefix("--") for term in terms if term.startswith("--")}
        self.assertEqual(named, set().union(*options.values()) - {"help"})


class ClientPagesTests(SynchronousTestCase):
    """``client.rst`` and ``connecting.rst``: the library for clients."""

    pages = (DOCS / "client.rst", DOCS / "connecting.rst")

    def test_every_public_name_is_documented(self) -> None:
        """All that an application can import from the library and its packages."""
        text = "".join(map(read, self.pages))
        documented = re.findall(r"^\.\. auto(?:class|exception|data):: (?:[\w.]+\.)?(\w+)$", text, re.MULTILINE)
        public = {*client.__all__, *client.portmap.__all__, *client.relay.__all__}
        self.assertEqual(public - set(documented), set())

    def test_codes_are_those_of_the_code(self) -> None:
        """A connection fails with a code of the server, of the puncher, or because there is no socket."""
        codes = {*REASONS, "no-socket", error_of(None).code}
        for state in AttemptState:
            if state.over:
                codes.add(error_of(client.Attempt(bytes(8), state, True, 1, 0, 1, client.Peer("0" * 32))).code)
        for ours, theirs, heard in product(client.NatMapping, client.NatMapping, (False, True)):
            codes.add(no_path(ours, theirs, heard=heard, relay=False).code)
        found = {literal(code) for code, _ in rows(DOCS / "connecting.rst", "Code")}
        self.assertEqual(found, codes)


class EmbeddingPageTests(SynchronousTestCase):
    """``docs/embedding.rst``."""

    def test_example_of_a_test_runs(self) -> None:
        """The server in memory does what the example shows."""
        blocks = code_blocks(read(DOCS / "embedding.rst"))
        [example] = [block for block in blocks if block.section == "Testing your application"]
        program = Path(self.mktemp())
        program.write_text(example.text, encoding="utf-8")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            runpy.run_path(str(program))
        self.assertEqual(printed.getvalue(), "PENDING\n")
