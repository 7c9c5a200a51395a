"""Settings from a configuration file, and from an environment with mistakes in its names."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.errors import StartupError
from rendezvous.settings import Endpoint, Settings, UDPPort, environment_name, option_name, read_settings
from rendezvous.settings.reading import ENVIRONMENT
from rendezvous.wire.tracker import Dialect
from tests.test_settings import BESIDE, FIELDS, GRID

ROOT = Path(__file__).parents[1]


def toml(value: Any) -> str:
    """:returns: a value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value}'"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml, value))}]"
    return repr(value)


def others(name: str) -> str:
    """:returns: the lines that a setting needs beside it."""
    return "".join(f"{key.replace('-', '_')} = {texts[0]}\n" for key, texts in BESIDE.get(name, {}).items())


class FileCase(SynchronousTestCase):
    """A configuration file."""

    def setUp(self) -> None:
        """Choose where it lies."""
        self.path = Path(self.mktemp())

    def read(self, text: str, environ: dict[str, str] | None = None, /, **given: Any) -> Settings:
        """:returns: the settings of a file with this text."""
        self.path.write_text(text, encoding="utf-8")
        texts = {name.replace("_", "-"): words for name, words in given.items()}
        return read_settings({"config": [str(self.path)], **texts}, environ or {})

    def refused(self, text: str, **given: Any) -> str:
        """:returns: the one line that a file with this text is refused with, which names the file."""
        with self.assertRaises(StartupError, msg=text) as caught:
            self.read(text, **given)
        message = str(caught.exception)
        self.assertEqual(message.splitlines(), [message])
        self.assertIn(str(self.path), message)
        return message


class ConfigurationFileTests(FileCase):
    """Tests of ``--config``."""

    def test_every_setting_comes_from_the_file(self) -> None:
        """Under its name with underscores, as a value of its own type; numbers are numbers."""
        for name, (good, _) in GRID.items():
            beside = "".join(
                f"{other.replace('-', '_')} = {texts[0]}\n" for other, texts in BESIDE.get(name, {}).items()
            )
            values = list(good.values())
            given = [str(value) if isinstance(value, (Endpoint, UDPPort)) else value for value in values]
            if FIELDS[name].metadata["many"]:
                settings = self.read(f"{name} = {toml(given[:-1])}\n{beside}")
                self.assertEqual(getattr(settings, name), tuple(values[:-1]), name)
            else:
                for value in values:
                    self.assertEqual(getattr(self.read(f"{name} = {toml(value)}\n{beside}"), name), value, name)

    def test_example_of_a_whole_file(self) -> None:
        """With comments, an integer for seconds, one value for a list, and a size with its unit."""
        settings = self.read(
            """
            # Times
            pulse_interval = 20
            pulse_grace = "20%"
            # Ports
            udp_port = [5024, "3000:deployed"]
            cors_origin = "https://app.example"
            max_signaling_memory = "1G"
            no_source_limits = true
            """
        )
        expected = Settings(
            pulse_interval=20.0,
            pulse_grace="20%",
            udp_port=(UDPPort(5024), UDPPort(3000, Dialect.DEPLOYED)),
            cors_origin=("https://app.example",),
            max_signaling_memory=2**30,
            no_source_limits=True,
        )
        self.assertEqual(settings, expected)

    def test_empty_file_changes_nothing(self) -> None:
        """All settings have their defaults."""
        self.assertEqual(self.read(""), Settings())

    def test_command_line_beats_environment_beats_file(self) -> None:
        """For every setting, each of them wholly."""
        for name, (good, _) in GRID.items():
            (first, one), (second, other) = list(good.items())[:2]
            many = FIELDS[name].metadata["many"]
            beside = others(name)
            text = f"{name} = {toml(str(one) if isinstance(one, (Endpoint, UDPPort)) else one)}\n{beside}"
            environ = {environment_name(FIELDS[name]): second}
            self.assertEqual(getattr(self.read(text, environ), name), (other,) if many else other, name)
            given = {option_name(FIELDS[name]): [first]}
            self.assertEqual(getattr(self.read(text, environ, **given), name), (one,) if many else one, name)

    def test_environment_names_the_file(self) -> None:
        """The command line can name another one."""
        other = Path(self.mktemp())
        other.write_text("http_port = 1", encoding="utf-8")
        environ = {"RENDEZVOUS_CONFIG": str(other)}
        self.assertEqual(read_settings({}, environ).http_port, 1)
        self.assertEqual(self.read("http_port = 2", environ).http_port, 2)

    def test_unknown_key_is_refused_with_the_nearest_name(self) -> None:
        """Its value is not shown: it may be a secret."""
        for key, nearest in (
            ("htpp_port", "http_port"), ("pulse-interval", "pulse_interval"), ("secret", "secret_file"),
            ("max_client", "max_clients"), ("config", "cors_origin"), ("PULSE_INTERVAL", "pulse_interval"),
        ):  # fmt: skip
            message = self.refused(f"{key} = 'xyzzy'")
            self.assertIn(f"{key!r} is not a setting; the nearest one is {nearest}", message)
            self.assertNotIn("xyzzy", message)

    def test_table_is_refused_with_what_to_do(self) -> None:
        """Other programs have their settings in tables. No setting is near the name of one."""
        message = self.refused("[server]\nhttp_port = 80")
        self.assertIn("'server' is not a setting; settings are in no table, so leave [server] out", message)

    def test_value_of_another_type_is_refused_with_file_and_key(self) -> None:
        """Every type of TOML that a setting does not take."""
        values = [
            "1979-05-27",
            "07:32:00",
            "1979-05-27T07:32:00Z",
            "{a = 1}",
            "[[1]]",
            "nan",
            "inf",
            "-inf",
            "-1",
            "' '",
        ]
        for name in FIELDS:
            for value in values:
                message = self.refused(f"{name} = {value}")
                self.assertIn(f"{self.path}: {name} must ", message)

    def test_text_for_a_number_is_refused(self) -> None:
        """And a number for a text."""
        for line in ("http_port = '80'", "pulse_interval = '20'", "store = 5", "interface = 1", "without = [1]"):
            self.assertIn(f": {line.split()[0]} must ", self.refused(line))

    def test_value_in_quotes_is_refused_with_what_to_do(self) -> None:
        """A number or a truth value is written without quotes in TOML."""
        hint = ": write it without quotes"
        for line in ("http_port = '80'", "pulse_interval = '20'", "max_clients = '5'", "no_source_limits = 'true'"):
            self.assertTrue(self.refused(line).endswith(hint), line)
        for line in ("http_port = 'x'", "http_port = '65536'", "store = 'x'", "store = 5", "http_port = true"):
            self.assertNotIn(hint, self.refused(line))

    def test_file_that_is_not_toml_is_refused_with_the_line(self) -> None:
        """Whatever is wrong with it, in one line."""
        self.assertIn("is not TOML: ", self.refused("http_port = 80\nwhat is this"))
        self.assertIn("line 2", self.refused("http_port = 80\nwhat is this"))
        for text in ("a = 1\na = 2", "\0", "x = " + "[" * 30000, "x = " + "9" * 5000, "x = '''\n", "\N{SNOWMAN} = 1"):
            self.assertIn("is not TOML: ", self.refused(text))
        self.path.write_bytes(b"x = '\xff'")
        message = str(self.assertRaises(StartupError, read_settings, {"config": [str(self.path)]}, {}))
        self.assertIn("it is not UTF-8", message)

    def test_file_that_is_too_long_is_refused(self) -> None:
        """One byte over 64 KiB; at 64 KiB it is read."""
        self.assertEqual(self.read("#" * 65536), Settings())
        self.assertIn("is longer than 65536 bytes", self.refused("#" * 65537))

    def test_file_that_cannot_be_read_is_refused(self) -> None:
        """It is not there, it is a directory, or reading it would wait for somebody."""
        os.mkdir(self.path)
        pipe = self.path / "pipe"
        os.mkfifo(pipe)
        for path, reason in (
            (self.path / "none", "No such file or directory"), (self.path, "Is a directory"),
            (pipe, "is not a regular file"), (Path("/dev/null"), "is not a regular file"),
        ):  # fmt: skip
            message = str(self.assertRaises(StartupError, read_settings, {"config": [str(path)]}, {}))
            self.assertIn(repr(str(path)), message)
            self.assertIn(reason, message)
            self.assertNotIn("\n", message)

    def test_one_text_may_stand_without_a_list(self) -> None:
        """An application that embeds the server names a file so; a text is not a sequence of letters."""
        self.path.write_text("max_clients = 5", encoding="utf-8")
        self.assertEqual(read_settings({"config": str(self.path)}, {}).max_clients, 5)
        self.assertEqual(read_settings({"udp-port": "5025"}, {}).udp_port, (UDPPort(5025),))

    def test_unknown_option_is_refused_with_the_nearest_name(self) -> None:
        """An application may have written the name of the setting, with underscores."""
        error = self.assertRaises(StartupError, read_settings, {"max_clients": "5"}, {})
        self.assertEqual(str(error), "'max_clients' is not an option; the nearest one is max-clients")

    def test_name_of_the_file_must_be_one(self) -> None:
        """An empty text is a mistake, in either place."""
        for given, environ in (({"config": [""]}, {}), ({}, {"RENDEZVOUS_CONFIG": " "}), ({"config": ["a\nb"]}, {})):
            message = str(self.assertRaises(StartupError, read_settings, given, environ))
            self.assertRegex(message, r"\A(--config|RENDEZVOUS_CONFIG) must [^\n]*\Z")

    def test_contradictions_across_places_are_found(self) -> None:
        """Both places are named where one of two would be ignored."""
        message = self.refused("http_port = 80", http=["tcp:81"])
        self.assertIn("--http and ", message)
        self.assertIn(": http_port contradict each other", message)
        self.assertIn("error-time", str(self.assertRaises(StartupError, self.read, "error_time = 2")))


class EnvironmentNamesTests(SynchronousTestCase):
    """Tests of the names in the environment."""

    def refused(self, name: str) -> str:
        """:returns: the line that a variable is refused with."""
        message = str(self.assertRaises(StartupError, read_settings, {}, {name: "xyzzy"}))
        self.assertNotIn("xyzzy", message)
        self.assertNotIn("\n", message)
        return message

    def test_unknown_variable_is_refused_with_the_nearest_name(self) -> None:
        """A slip of the finger would otherwise leave a setting at its default, in silence."""
        for name, nearest in (
            ("RENDEZVOUS_HTPP_PORT", "RENDEZVOUS_HTTP_PORT"), ("RENDEZVOUS_SECRETS", "RENDEZVOUS_SECRET"),
            ("RENDEZVOUS_SECRET_KEY", "RENDEZVOUS_SECRET"), ("RENDEZVOUS_PULSE-GRACE", "RENDEZVOUS_PULSE_GRACE"),
            ("RENDEZVOUS_max_clients", "RENDEZVOUS_MAX_CLIENTS"), ("RENDEZVOUS_CONFIGURATION", "RENDEZVOUS_CONFIG"),
            ("RENDEZVOUS_", "RENDEZVOUS_"),
        ):  # fmt: skip
            self.assertIn(
                f"{name!r} in the environment is not a setting; the nearest one is {nearest}", self.refused(name)
            )

    def test_secret_is_known(self) -> None:
        """It is read elsewhere."""
        self.assertEqual(read_settings({}, {"RENDEZVOUS_SECRET": "ab" * 32}), Settings())

    def test_variables_of_the_other_programs_are_left_alone(self) -> None:
        """An operator may set them in the shell from which the server is started."""
        commands = ROOT / "rendezvous" / "commands"
        texts = [path.read_text(encoding="utf-8") for path in commands.rglob("*.py")]
        names = {name for text in texts for name in re.findall(r'"(RENDEZVOUS_[A-Z_]+)"', text)} - set(ENVIRONMENT)
        self.assertGreaterEqual(names, {"RENDEZVOUS_SERVER", "RENDEZVOUS_ADMIN_URL", "RENDEZVOUS_OPERATOR"})
        self.assertEqual(read_settings({}, dict.fromkeys(names, "http://127.0.0.1:5027")), Settings())

    def test_variables_that_container_systems_set_are_left_alone(self) -> None:
        """Kubernetes gives them to every container beside a service that is called "rendezvous"."""
        names = ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_5025_TCP", "PORT_5024_UDP"]
        names += ["PORT_5025_TCP_PROTO", "PORT_5025_TCP_PORT", "PORT_5025_TCP_ADDR", "PORT_5024_UDP_ADDR"]
        self.assertEqual(read_settings({}, {f"RENDEZVOUS_{name}": "tcp://10.0.0.1:5025" for name in names}), Settings())
        self.refused("RENDEZVOUS_PORT_5025")
        self.refused("RENDEZVOUS_PORTS")

    def test_two_places_for_http_contradict_each_other(self) -> None:
        """Also if the port is the default one: one of the two is ignored."""
        for given, environ in (
            ({"http-port": ["5025"], "http": ["tcp:80"]}, {}),
            ({"http": ["tcp:80"]}, {"RENDEZVOUS_HTTP_PORT": "5025"}),
            ({"http-port": ["80"]}, {"RENDEZVOUS_HTTP": "tcp:80"}),
        ):
            message = str(self.assertRaises(StartupError, read_settings, given, environ))
            self.assertRegex(message, r"\A\S*(http|HTTP) and \S*(port|PORT) contradict each other: give one of them\Z")
