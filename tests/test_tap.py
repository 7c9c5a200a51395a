"""Tests of :mod:`rendezvous.tap`: every option, its mistakes, and what ``twistd`` makes of them."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.application.service import IServiceMaker
from twisted.plugin import IPlugin, getPlugins
from twisted.trial.unittest import SynchronousTestCase

from rendezvous import __version__
from rendezvous.settings import FLAG, Settings, UDPPort, environment_name, kind_of, option_name
from rendezvous.tap import Options, makeService
from tests.test_settings import FIELDS, GRID, is_split

#: Texts for each setting, and the value they stand for.
TEXTS: dict[str, tuple[list[str], Any]] = {
    name: (list(good), tuple(good.values()))
    if FIELDS[name].metadata["many"]
    else next(([k], v) for k, v in good.items())
    for name, (good, _) in GRID.items()
}


class _Case(SynchronousTestCase):
    """Options in an environment without any settings."""

    def setUp(self) -> None:
        """Clear the environment, and put it back afterwards."""
        for name in [name for name in os.environ if name.startswith("RENDEZVOUS_")]:
            self.addCleanup(os.environ.__setitem__, name, os.environ.pop(name))
        self.standard_output, self.standard_error = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.standard_output)

    def set(self, name: str, text: str) -> None:
        """Set a variable for this test."""
        os.environ[name] = text
        self.addCleanup(os.environ.pop, name, None)

    def parse(self, *words: str, parent: Any = None) -> Settings:
        """
        :param parent: the options of twistd itself.
        :returns: the settings that a command line makes.
        """
        options = Options()
        options.parent = parent
        options.parseOptions(list(words))
        return options.settings

    def refused(self, *words: str) -> str:
        """:returns: the one line that a command line is refused with, which ends the process with status 1."""
        line = self.assertRaises(SystemExit, self.parse, *words).code
        # Python prints a text and exits with status 1 (sys.exit).
        self.assertIsInstance(line, str)
        self.assertNotIn("\n", line)
        self.assertTrue(line.startswith("twistd rendezvous: "), line)
        return str(line)


class OptionsTests(_Case):
    """Tests of :class:`Options`."""

    def test_nothing_said_means_the_defaults(self) -> None:
        """Ports 5025, 5024 and 5026, 30, 3 and 180 seconds, and so on."""
        settings = self.parse()
        self.assertEqual(settings, Settings())
        self.assertEqual(
            (settings.http_port, settings.udp_port, settings.http), (5025, (UDPPort(5024), UDPPort(5026)), ())
        )
        timers = settings.timers
        given = timers.pulse_interval, timers.pulse_grace, timers.error_time, timers.registration_time
        self.assertEqual(given, (30.0, 3.0, 180.0, 300.0))
        self.assertEqual((settings.max_clients, settings.logout_memory), (1_000_000, 30 * 86400.0))

    def test_every_setting_comes_from_the_command_line(self) -> None:
        """As ``--name text`` and as ``--name=text``."""
        for field in FIELDS.values():
            texts, value = TEXTS[field.name]
            name = f"--{option_name(field)}"
            if kind_of(field) is FLAG:
                self.assertIs(getattr(self.parse(name), field.name), True)
                continue
            for words in ([word for text in texts for word in (name, text)], [f"{name}={text}" for text in texts]):
                self.assertEqual(self.parse(*words), Settings(**{field.name: value}), words)

    def test_every_setting_comes_from_the_environment(self) -> None:
        """Several values are separated by white space."""
        for field in FIELDS.values():
            texts, value = TEXTS[field.name]
            self.set(environment_name(field), " ".join(texts))
            self.assertEqual(self.parse(), Settings(**{field.name: value}), field.name)
            del os.environ[environment_name(field)]

    def test_command_line_wins_over_the_environment(self) -> None:
        """Wholly: repeatable options are not joined."""
        self.set("RENDEZVOUS_UDP_PORT", "1 2 3")
        self.set("RENDEZVOUS_HTTP_PORT", "nonsense that is not read")
        settings = self.parse("--udp-port", "4", "--http-port", "5")
        self.assertEqual((settings.udp_port, settings.http_port), ((UDPPort(4),), 5))

    def test_last_of_an_option_that_is_no_list_wins(self) -> None:
        """So that a script's default can be overridden by a word at the end."""
        self.assertEqual(self.parse("--http-port", "1", "--http-port", "2").http_port, 2)

    def test_grace_may_be_a_part_of_the_interval(self) -> None:
        """Percent of whatever the interval is."""
        settings = self.parse("--pulse-grace", "50%", "--pulse-interval", "8")
        self.assertEqual(settings.timers.pulse_grace, 4.0)
        self.assertEqual(self.parse("--pulse-grace", "0").timers.pulse_grace, 0)

    def test_wrong_value_on_the_command_line_is_one_line(self) -> None:
        """It names the option."""
        for name, (_, texts) in GRID.items():
            option = "--" + name.replace("_", "-")
            for text in texts:
                self.assertIn(option[2:], self.refused(f"{option}={text}"))

    def test_values_that_contradict_each_other_are_one_line(self) -> None:
        """A grace longer than the error time would make a client gone while it is ONLINE."""
        for words in (("--pulse-grace=181",), ("--error-time=2.9",), ("--pulse-interval=1900",)):
            self.assertIn("must not be longer than error-time", self.refused(*words))
        self.assertEqual(self.parse("--pulse-grace=180").timers.pulse_grace, 180)

    def test_wrong_value_in_the_environment_is_one_line(self) -> None:
        """It names the variable, for there is no option to look at."""
        for name, (_, texts) in GRID.items():
            variable = f"RENDEZVOUS_{name.upper()}"
            for text in texts:
                if not is_split(name, text):
                    self.set(variable, text)
                    self.assertIn(variable, self.refused())
                    del os.environ[variable]

    def test_words_that_are_no_options_are_one_line(self) -> None:
        """Unknown options, options without their value, words too many."""
        for line in ("--bogus", "-x", "--http-port", "extra", "--http-port 1 extra", "--help=1"):
            self.assertIn("see twistd rendezvous --help", self.refused(*line.split()))

    def test_word_that_is_no_option_is_named(self) -> None:
        """For example a port without the option before it."""
        self.assertIn("'5025' is not an option: each option begins with --", self.refused("5025"))

    def test_help_lists_every_option_and_its_default(self) -> None:
        """And ends with status 0."""
        error = self.assertRaises(SystemExit, self.parse, "--help")
        self.assertIn(error.code, (0, None))
        shown = self.standard_output.getvalue()
        for field in FIELDS.values():
            self.assertIn(f"--{option_name(field)}" + ("=" if kind_of(field) is not FLAG else " "), shown)
        for default in (
            "5025]",
            "[default: 5024 5026]",
            "[default: 10%]",
            "[default: 180]",
            "[default: 1000000]",
            "sqlite:rendezvous.sqlite3]",
        ):
            self.assertIn(default, " ".join(shown.split()))
        self.assertIn("RENDEZVOUS_HTTP_PORT", shown)

    def test_version_is_one_line(self) -> None:
        """And ends with status 0."""
        self.assertEqual(self.assertRaises(SystemExit, self.parse, "--version").code, 0)
        self.assertEqual(self.standard_output.getvalue(), f"rendezvous {__version__}\n")


class PidfileTests(_Case):
    """Tests of twistd's file of the process id, without which twistd would fail with a traceback."""

    def test_no_directory(self) -> None:
        """The directory is named; a relative path is one below --rundir."""
        for given, shown in (
            ({"pidfile": "/missing/x.pid"}, "'/missing/x.pid' (--pidfile) cannot be written: there is no directory"),
            ({"pidfile": "x.pid", "rundir": "missing"}, "'missing/x.pid' (--pidfile) cannot be written: there is no"),
        ):
            error = self.assertRaises(SystemExit, self.parse, "--store=memory:", parent=given)
            self.assertIn(shown, str(error.code))

    def test_no_permission(self) -> None:
        """The file may be there already, or the directory must be writable."""
        self.patch(os, "access", lambda path, mode: False)
        error = self.assertRaises(SystemExit, self.parse, "--store=memory:", parent={"pidfile": "x.pid"})
        self.assertIn("'./x.pid' (--pidfile) cannot be written: Permission denied", str(error.code))

    def test_usable(self) -> None:
        """One that can be written, none, or one in another root directory, which cannot be seen from here."""
        for given in ({"pidfile": "x.pid"}, {"pidfile": ""}, {"pidfile": "/missing/x.pid", "chroot": "/srv"}, {}):
            self.assertEqual(self.parse("--store=memory:", parent=given).store, "memory:")


class MakeServiceTests(_Case):
    """Tests of :func:`makeService`."""

    def options(self, *words: str) -> Options:
        """:returns: parsed options."""
        options = Options()
        options.parseOptions(list(words))
        return options

    def make(self, *words: str) -> Any:
        """:returns: the service; it is stopped after the test, so that the signals are as they were."""
        made = makeService(self.options(*words))
        self.addCleanup(made.stopService)
        return made

    def test_service_has_what_the_options_say(self) -> None:
        """A server and a child for each port, nothing of it started."""
        self.set("RENDEZVOUS_SECRET", "ab" * 32)
        made = self.make("--udp-port=0", "--udp-port=0", "--http=tcp:0", "--max-clients=7")
        (service,) = made.services
        self.assertEqual(len(service.services), 4)
        self.assertFalse(made.running)

    def test_secret_is_made_where_the_options_say(self) -> None:
        """On first start, for its owner's eyes only; the second finds it."""
        path = self.mktemp()
        for _ in range(2):
            self.make("--secret-file", path)
        with open(path, encoding="ascii") as file:
            self.assertRegex(file.read(), r"\A[0-9a-f]{64}\n\Z")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)

    def test_what_cannot_be_used_is_one_line(self) -> None:
        """A secret file that is none, an endpoint that is none. The signals are as they were."""
        self.addCleanup(self.assertEqual, signal.getsignal(signal.SIGHUP), signal.SIG_DFL)
        directory = self.mktemp()
        os.mkdir(directory)
        for words in (["--secret-file", directory], ["--http", "nonsense:", "--secret-file", self.mktemp()]):
            line = self.assertRaises(SystemExit, makeService, self.options(*words)).code
            self.assertTrue(str(line).startswith("twistd rendezvous: "), line)
            self.assertNotIn("\n", str(line))


class ReactorClockTests(SynchronousTestCase):
    """The reactor of a process that is ours."""

    def test_its_timers_follow_a_clock_that_only_goes_forward(self) -> None:
        """In a process of its own, as it would not be this one's any more."""
        program = (
            "import time; from rendezvous.tap import Options, makeService; options = Options();"
            " options.parseOptions(['--store', 'memory:', '--secret-file', 'secret']); makeService(options);"
            " from twisted.internet import reactor; late = reactor.callLater(5, print);"
            " print(reactor.seconds is time.monotonic, 4 < late.getTime() - time.monotonic() <= 5)"
        )
        directory = self.mktemp()
        os.mkdir(directory)
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        found = subprocess.run(
            [sys.executable, "-c", program], cwd=directory, env=environment, check=True, capture_output=True, text=True
        )
        self.assertEqual(found.stdout.split(), ["True", "True"])


class PluginTests(SynchronousTestCase):
    """Tests of the plugin."""

    def test_twistd_finds_it(self) -> None:
        """Under the name ``rendezvous``, with this module's options and service."""
        (plugin,) = [plugin for plugin in getPlugins(IServiceMaker) if plugin.tapname == "rendezvous"]
        self.assertTrue(IPlugin.providedBy(plugin))
        self.assertIs(plugin.options, Options)
        self.assertIs(plugin.makeService, makeService)
        self.assertTrue(plugin.description.endswith("."))
