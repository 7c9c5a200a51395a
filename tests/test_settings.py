"""The settings: what each option takes, where it comes from, and the errors for operators."""

from __future__ import annotations

from typing import Any

import attrs

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.presence.states import Timers
from rendezvous.errors import StartupError
from rendezvous.limits import SignalingLimits
from rendezvous.settings import Endpoint, Settings, UDPPort, environment_name, option_name, read_settings
from rendezvous.wire.tracker import Dialect

FIELDS = {field.name: field for field in attrs.fields(Settings)}

PORTS = {"0": 0, "1": 1, "05024": 5024, "65535": 65535}
NO_PORTS = ["-1", "65536", "1.5", "0x10", "1e3", "1_0", "+1", " 1", "1 ", "\u0661", "http", "", "9" * 5000]
SECONDS = {"90": 90.0, "0.001": 0.001, "1e3": 1000.0, "31622400": 31622400.0}
NO_SECONDS = ["0", "-1", "-0.0", "31622400.5", "nan", "inf", "-inf", "1e999", "30s", "", "9" * 5000]

COUNTS = {"1": 1, "07": 7, "1000000000": 10**9}
SIZES = {"512M": 512 * 2**20, "1": 1, "1K": 1024, "3G": 3 * 2**30, "1000": 1000, "1048576G": 2**50}
NO_SIZES = [
    "0",
    "0M",
    "-1",
    "1048577G",
    "1.5G",
    "512MB",
    "512MiB",
    "512m",
    "M",
    "1T",
    " 1K",
    "1 K",
    "1e6",
    "",
    "9" * 5000,
]
NO_COUNTS = ["0", "-1", "1000000001", "1.5", "1e6", "", "9" * 5000]

#: For each setting, texts that it takes with the values they mean (the first needs no other setting beside it), and
#: texts that it refuses.
RATES: tuple[dict[str, Any], list[str]] = (
    {"50": 50.0, "0": 0.0, "0.5": 0.5, "1e9": 1e9},
    ["-0.1", "1000000001", "nan", "inf", "-inf", "", "50/s"],
)

GRID: dict[str, tuple[dict[str, Any], list[str]]] = {
    "http_port": (PORTS, NO_PORTS),
    "http": ({text: Endpoint(text) for text in ("tcp:80", "ssl:443:privateKey=key.pem")}, ["", " "]),
    "udp_port": (
        {**{text: UDPPort(number) for text, number in PORTS.items()}, "0:deployed": UDPPort(0, Dialect.DEPLOYED)},
        [*NO_PORTS, "1:", ":deployed", "1:Deployed", "1:other", "1:deployed:", "65536:deployed"],
    ),
    "udp_workers": ({"0": 0, "2": 2, "64": 64}, ["-1", "65", "1.5", "two", ""]),
    "interface": (
        {text: text for text in ("::1", "192.0.2.1", "0.0.0.0", "fe80::1", "::ffff:192.0.2.1")},
        [
            "",
            " ",
            "localhost",
            "[::1]",
            "eth0",
            "1.2.3",
            "127.1",
            "0x7f000001",
            "192.0.2.1:80",
            "fe80::1%eth0",
            "*",
            "::/0",
        ],
    ),
    **{f"source_{name}": RATES for name in ("requests", "registrations", "publications")},
    **{f"source_{name}": ({"0": 0, "1000": 1000}, ["-1", "1.5", ""]) for name in ("waiting", "connections")},
    "source_share": (
        {"0%": "0%", "10%": "10%", "2.5%": "2.5%", "100%": "100%"},
        ["10", "0.1", "-1%", "100.1%", "%", "10 %", "nan%", ""],
    ),
    "pulse_interval": (SECONDS, NO_SECONDS),
    "pulse_grace": (
        {"0": 0.0, "0.5": 0.5, "86400": 86400.0, "0%": "0%", "12.5%": "12.5%", "600%": "600%"},
        ["-1", "86400.5", "-1%", "86400.5%", "%", "10%%", "% 10", "nan", "nan%", "inf", "3s", "", "9" * 5000],
    ),
    "error_time": (SECONDS, NO_SECONDS),
    "registration_time": (SECONDS, NO_SECONDS),
    "logout_memory": (SECONDS, NO_SECONDS),
    "max_clients": (COUNTS, NO_COUNTS),
    "max_offers": (COUNTS, NO_COUNTS),
    "max_signaling_memory": (SIZES, NO_SIZES),
    "max_unread_memory": (SIZES, NO_SIZES),
    "max_waiting": (COUNTS, NO_COUNTS),
    "max_sockets": (COUNTS, NO_COUNTS),
    "peerjs_key": ({"peerjs": "peerjs", "My_app-2": "My_app-2", "x" * 64: "x" * 64}, ["", "a/b", "a b", "é", "x" * 65]),
    "peerjs_discovery": (
        {"true": True, "false": False, "1": True, "0": False},
        ["", "yes", "True", "2", "on", "-1", "true "],
    ),
    "offers_per_peer": ({"1": 1, "1000000": 10**6}, ["0", "-1", "1000001", "1.5", "1e6", ""]),
    "session_lifetime": (SECONDS, NO_SECONDS),
    "cors_origin": (
        {
            text: text
            for text in ("https://app.example", "http://localhost:8080", "http://[::1]:8000", "null", "app+x://y")
        },
        [
            "",
            "*",
            "app.example",
            "https://",
            "https://app.example/",
            "https://App.example",
            "HTTPS://app.example",
            "https://app.example:443",
            "http://app.example:80",
            "https://app.example:",
            "https://a b",
            "https://a,https://b",
        ],
    ),
    "tracker_lifetime": (SECONDS, NO_SECONDS),
    "max_tracker_peers": (COUNTS, NO_COUNTS),
    "max_attempts": (COUNTS, NO_COUNTS),
    "attempts_per_minute": ({"6": 6, "0": 0, "1000000": 10**6}, ["-1", "1000001", "1.5", ""]),
    "turn_uri": (
        {
            text: text
            for text in (
                "turn:turn.example",
                "turn:turn.example:3478?transport=udp",
                "turns:192.0.2.1:443?transport=tcp",
                "turn:[2001:db8::1]:3478",
                "turns:[2001:db8::1]",
            )
        },
        [
            "",
            "turn:",
            "stun:turn.example",
            "turn://turn.example",
            "turn:turn.example:0",
            "turn:turn.example:65536",
            "turn:turn.example?transport=sctp",
            "turn:2001:db8::1",
            "turn:[2001:db8::1",
            "turn:[2001:db8:::1]",
            "turn:user@turn.example",
            "TURN:turn.example",
        ],
    ),
    "turn_secret_file": ({"/run/turn": "/run/turn", "a b": "a b"}, ["", "\t"]),
    "turn_ttl": (SECONDS, NO_SECONDS),
    "udp_rate": RATES,
    "no_source_limits": (
        {"true": True, "false": False, "1": True, "0": False},
        ["", "yes", "True", "2", "on", "-1", "true "],
    ),
    "trusted_proxy": (
        {
            "127.0.0.1": "127.0.0.1/32",
            "10.0.0.0/8": "10.0.0.0/8",
            "::1": "::1/128",
            "2001:DB8::/32": "2001:db8::/32",
            "unix": "unix",
        },
        ["", "localhost", "10.0.0.1/8", "10.0.0.0/33", "::1/129", "Unix", "unix:", "*", "10.0.0.1-10.0.0.9"],
    ),
    "log_format": ({text: text for text in ("plain", "json")}, ["", "text", "JSON", "plain json"]),
    "without": (
        {text: text for text in ("stun", "tracker", "rendezvous", "sessions", "connect")},
        ["", "turn", "STUN", "stun,tracker"],
    ),
    "store": (
        {"memory:": "memory:", "sqlite:x": "sqlite:x", "sqlite:/var/lib/a b": "sqlite:/var/lib/a b"},
        ["", " ", "memory", "memory:x", " memory:", "sqlite", "sqlite:", "SQLITE:x", "redis:x", "/var/lib/x"],
    ),
    "admin": ({text: Endpoint(text) for text in ("tcp:5027:interface=127.0.0.1", "unix:/run/r.sock")}, ["", " "]),
    "admin_token_file": ({"/run/token": "/run/token", "a b": "a b"}, ["", "\t"]),
    "registration_token_file": ({"/run/tokens": "/run/tokens", "a b": "a b"}, ["", "\t"]),
    "secret_file": ({"/run/secret": "/run/secret", "a b": "a b"}, ["", "\t"]),
}

#: Other settings that a value needs beside it, because the two would contradict each other otherwise.
BESIDE: dict[str, dict[str, list[str]]] = {
    "pulse_interval": {"pulse-grace": ["0"], "registration-time": ["31622400"]},
    "pulse_grace": {"error-time": ["86400"], "registration-time": ["31622400"]},
    "error_time": {"pulse-grace": ["0"]},
    "registration_time": {"pulse-interval": ["0.001"], "pulse-grace": ["0"]},
}


def is_split(name: str, text: str) -> bool:
    """:returns: whether blanks separate this text into others where it stands in the environment."""
    return bool(FIELDS[name].metadata["many"] and text.strip() and text.split() != [text])


def read(name: str, text: str, **environ: str) -> Any:
    """:returns: the value of a setting that is given on the command line."""
    given = {option_name(FIELDS[name]): [text], **BESIDE.get(name, {})}
    return getattr(read_settings(given, environ), name)


class ReadingTests(SynchronousTestCase):
    """What each option takes, at its bounds, below and above."""

    def test_every_setting_is_tested(self) -> None:
        """A new one must be added to the grid here."""
        self.assertEqual(set(GRID), set(FIELDS))

    def test_good_texts_are_read(self) -> None:
        """Each to its value, of the right type."""
        for name, (good, _) in GRID.items():
            for text, value in good.items():
                got = read(name, text)
                expected = (value,) if FIELDS[name].metadata["many"] else value
                self.assertEqual((got, type(got)), (expected, type(expected)), (name, text))

    def test_bad_texts_are_refused_in_one_line_that_names_the_option(self) -> None:
        """And repeats what was given, and says what would be right."""
        for name, (_, bad) in GRID.items():
            for text in bad:
                with self.assertRaises(StartupError, msg=f"{name} {text[:20]!r}") as caught:
                    read(name, text)
                message = str(caught.exception)
                self.assertRegex(message, rf"\A--{option_name(FIELDS[name])} must [^\n]*, not [^\n]*\Z")
                self.assertIn(repr(text) if len(text) < 200 else f"'{text[:196]}...", message)

    def test_same_texts_are_refused_from_the_environment_by_the_variables_name(self) -> None:
        """The operator looks for it where it stands."""
        for name, (_, bad) in GRID.items():
            variable = environment_name(FIELDS[name])
            for text in bad:
                if is_split(name, text):
                    continue
                with self.assertRaises(StartupError, msg=f"{name} {text[:20]!r}") as caught:
                    read_settings({}, {variable: text})
                self.assertRegex(str(caught.exception), rf"\A{variable} must [^\n]*, not [^\n]*\Z")

    def test_bounds_are_in_the_message(self) -> None:
        """Who goes past one learns where it is."""
        bounds = {
            "http_port": ["0", "65535"],
            "max_clients": ["1", "1000000000"],
            "offers_per_peer": ["1", "1000000"],
            "udp_rate": ["0"],
            "pulse_interval": ["0", "a year"],
            "pulse_grace": ["0", "86400", "10%"],
        }
        for name, words in bounds.items():
            message = str(self.assertRaises(StartupError, read, name, "-1"))
            for word in words:
                self.assertIn(word, message.partition(", not ")[0])

    def test_line_breaks_stay_one_line(self) -> None:
        """A text with a line break in it cannot forge a second line of the log."""
        for name in FIELDS:
            message = str(self.assertRaises(StartupError, read, name, "1\n2"))
            self.assertEqual(message.splitlines(), [message])


class PrecedenceTests(SynchronousTestCase):
    """Command line, then environment, then default."""

    def test_defaults_are_documented_ones(self) -> None:
        """What the protocol says."""
        self.assertEqual(read_settings({}, {}), Settings())
        defaults = attrs.asdict(read_settings({}, {}), recurse=False)
        self.assertEqual(
            {name: defaults[name] for name in GRID},
            {
                "http_port": 5025,
                "http": (),
                "udp_port": (UDPPort(5024, Dialect.DOCUMENTED), UDPPort(5026, Dialect.DOCUMENTED)),
                "udp_workers": 0,
                "interface": "",
                "pulse_interval": 30.0,
                "pulse_grace": "10%",
                "error_time": 180.0,
                "registration_time": 300.0,
                "logout_memory": 2592000.0,
                "max_clients": 1000000,
                "max_offers": 100000,
                "max_signaling_memory": 536870912,
                "max_unread_memory": 134217728,
                "max_waiting": 10000,
                "max_sockets": 10000,
                "peerjs_key": "peerjs",
                "peerjs_discovery": False,
                "offers_per_peer": 100,
                "session_lifetime": 300.0,
                "cors_origin": (),
                "tracker_lifetime": 300.0,
                "max_tracker_peers": 100000,
                "max_attempts": 10000,
                "attempts_per_minute": 6,
                "turn_uri": (),
                "turn_secret_file": "",
                "turn_ttl": 3600.0,
                "udp_rate": 50.0,
                "source_requests": 50.0,
                "source_registrations": 2.0,
                "source_publications": 20.0,
                "source_waiting": 1000,
                "source_connections": 2000,
                "source_share": "10%",
                "no_source_limits": False,
                "trusted_proxy": (),
                "without": (),
                "log_format": "plain",
                "store": "sqlite:rendezvous.sqlite3",
                "admin": (),
                "admin_token_file": "",
                "registration_token_file": "",
                "secret_file": "",
            },
        )

    def test_each_setting_has_one_name_in_each_place(self) -> None:
        """Dashes on the command line, capitals and a prefix in the environment."""
        self.assertEqual(option_name(FIELDS["pulse_grace"]), "pulse-grace")
        self.assertEqual(environment_name(FIELDS["pulse_grace"]), "RENDEZVOUS_PULSE_GRACE")

    def test_command_line_beats_environment_beats_default(self) -> None:
        """For every setting."""
        for name, (good, _) in GRID.items():
            (first, value), (second, other) = list(good.items())[:2]
            if FIELDS[name].metadata["many"]:
                value, other = (value,), (other,)
            variable = environment_name(FIELDS[name])
            beside = BESIDE.get(name, {})
            from_environment = read_settings(beside, {variable: second})
            self.assertEqual(getattr(from_environment, name), other, name)
            self.assertEqual(read(name, first, **{variable: second}), value, name)
            unlike = attrs.evolve(from_environment, **{name: getattr(read_settings(beside, {}), name)})
            self.assertEqual(unlike, read_settings(beside, {}), f"{name} changes something else")

    def test_environment_that_is_overruled_is_not_even_read(self) -> None:
        """A mistake in what does not count stops no server."""
        settings = read_settings({"http-port": ["80"]}, {"RENDEZVOUS_HTTP_PORT": "eighty"})
        self.assertEqual(settings.http_port, 80)

    def test_other_variables_are_left_alone(self) -> None:
        """Whatever else an environment holds."""
        environ = {"HTTP_PORT": "x", "RENDEZVOUS_SECRET": "y", "RENDEZVOUSING": "z", "rendezvous_http_port": "1"}
        self.assertEqual(read_settings({}, environ), Settings())

    def test_last_of_several_counts(self) -> None:
        """As on any command line, but each must be good."""
        self.assertEqual(read_settings({"http-port": ["1", "2"]}, {}).http_port, 2)
        self.assertRaises(StartupError, read_settings, {"http-port": ["x", "2"]}, {})

    def test_repeatable_options_gather(self) -> None:
        """In order, without the default; white space separates them in the environment."""
        one, two, three = UDPPort(1), UDPPort(2), UDPPort(3)
        self.assertEqual(read_settings({"udp-port": ["1", "2", "1"]}, {}).udp_port, (one, two, one))
        self.assertEqual(read_settings({}, {"RENDEZVOUS_UDP_PORT": " 1\t2\n3 "}).udp_port, (one, two, three))
        endpoints = (Endpoint("tcp:1"), Endpoint("tcp:2"))
        self.assertEqual(read_settings({}, {"RENDEZVOUS_HTTP": "tcp:1 tcp:2"}).http, endpoints)
        self.assertEqual(read_settings({"udp-port": ["1"]}, {"RENDEZVOUS_UDP_PORT": "2 3"}).udp_port, (one,))

    def test_one_bad_text_of_several_is_refused(self) -> None:
        """The whole option is, wherever it stands."""
        for given, environ in (({"udp-port": ["1", "x"]}, {}), ({}, {"RENDEZVOUS_UDP_PORT": "x 1"})):
            self.assertRaises(StartupError, read_settings, given, environ)


class SettingsTests(SynchronousTestCase):
    """The settings as a whole."""

    def test_every_setting_has_help(self) -> None:
        """One line each, ready for ``--help``."""
        for name, field in FIELDS.items():
            self.assertRegex(field.metadata["help"], r"\A\S[^\n]{10,}[^\s.]\Z", name)

    def test_timers_are_the_settings(self) -> None:
        """Each under its own name."""
        settings = Settings(pulse_interval=1.0, pulse_grace=2.0, error_time=3.0, registration_time=4.0)
        expected = Timers(pulse_interval=1.0, pulse_grace=2.0, error_time=3.0, registration_time=4.0)
        self.assertEqual(settings.timers, expected)
        self.assertEqual(Settings().timers, Timers())

    def test_grace_follows_the_interval_unless_it_is_in_seconds(self) -> None:
        """The default is a tenth of whatever the interval is."""
        graces = {
            grace: read_settings({"pulse-interval": ["20"], **({"pulse-grace": [grace]} if grace else {})}, {}).timers
            for grace in ("", "5", "0", "50%", "0%")
        }
        self.assertEqual([timers.pulse_grace for timers in graces.values()], [2.0, 5.0, 0.0, 10.0, 0.0])

    def test_grace_may_be_as_long_as_the_error_time_and_no_longer(self) -> None:
        """Otherwise a client would be gone while it is still on time."""
        self.assertEqual(Settings(pulse_grace=180.0).timers.pulse_grace, 180.0)
        self.assertEqual(Settings(pulse_grace="600%").timers.pulse_grace, 180.0)
        for wrong in (180.001, "600.01%"):
            self.assertRaises(StartupError, Settings, pulse_grace=wrong)

    def test_registration_time_lasts_until_the_first_pulse_is_late(self) -> None:
        """Otherwise a client that has lost its address in a crash would be gone while it is still on time."""
        self.assertEqual(Settings(registration_time=33.0).timers.registration_time, 33.0)
        for wrong in (
            {"registration_time": 32.999},
            {"pulse_interval": 273.0},
            {"pulse_grace": 280.0, "error_time": 280.0},
        ):
            self.assertRaises(StartupError, Settings, **wrong)
        message = str(self.assertRaises(StartupError, read_settings, {"registration-time": ["10"]}, {}))
        expected = "registration-time (10 s) must not be shorter than pulse-interval and pulse-grace together (33 s)"
        self.assertEqual(message, expected)

    def test_contradiction_names_both_settings_and_shows_their_values(self) -> None:
        """The grace may have grown with the interval, without being mentioned at all."""
        message = str(self.assertRaises(StartupError, read_settings, {"pulse-interval": ["1801"]}, {}))
        for word in ("pulse-grace", "180.1", "error-time", "180"):
            self.assertIn(word, message)
        self.assertNotIn("\n", message)

    def test_secret_lies_beside_the_store(self) -> None:
        """In its directory, or in the working directory; unless it is said where."""
        paths = {
            "sqlite:rendezvous.sqlite3": ("rendezvous.sqlite3", "rendezvous.secret"),
            "sqlite:/var/lib/x/state": ("/var/lib/x/state", "/var/lib/x/rendezvous.secret"),
            "sqlite:data/state": ("data/state", "data/rendezvous.secret"),
            "memory:": (None, "rendezvous.secret"),
        }
        for store, (path, secret) in paths.items():
            settings = Settings(store=store)
            self.assertEqual((settings.store_path, settings.secret_path), (path, secret), store)
            self.assertEqual(Settings(store=store, secret_file="/run/secret").secret_path, "/run/secret")

    def test_signaling_limits_are_the_settings(self) -> None:
        """Those that are options; the others stay as they are."""
        limits = Settings(offers_per_peer=7, session_lifetime=8.0).signaling_limits
        self.assertEqual(limits, SignalingLimits(offers_per_peer=7, session_lifetime=8.0))
        self.assertEqual(Settings().signaling_limits, SignalingLimits())
