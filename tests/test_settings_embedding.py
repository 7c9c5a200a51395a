"""Settings that an embedding application gives: every value is checked, with the words that an operator gets."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.protocols import Protocol
from rendezvous.errors import StartupError
from rendezvous.settings import FLAG, Endpoint, Settings, UDPPort, default_text, kind_of, option_name, read_settings
from rendezvous.wire.tracker import Dialect
from tests.test_settings import BESIDE, FIELDS, GRID

#: Values that no setting takes.
STRANGE: list[Any] = [
    None,
    object(),
    {},
    {"a": 1},
    b"1",
    1j,
    datetime(2026, 1, 1, tzinfo=UTC),
    Path("x"),
]

NOT_FINITE = [float("nan"), float("inf"), float("-inf")]


def given_value(name: str, value: Any) -> Settings:
    """:returns: settings that are made with one value, and with those that must stand beside it."""
    beside = {other.replace("-", "_"): float(texts[0]) for other, texts in BESIDE.get(name, {}).items()}
    return Settings(**{name: value, **beside})


class EmbeddingTests(SynchronousTestCase):
    """Tests of :class:`Settings` as Python code makes it."""

    def refused(self, name: str, value: Any) -> str:
        """:returns: the one line that a value is refused with, which begins with the name of the setting."""
        with self.assertRaises(StartupError, msg=f"{name}={value!r}") as caught:
            given_value(name, value)
        message = str(caught.exception)
        self.assertRegex(message, rf"\A{name} must [^\n]*, not [^\n]*\Z")
        return message

    def test_values_of_the_grid_are_taken(self) -> None:
        """Whatever the command line makes of its texts can be given as it is, and stays as it is."""
        for name, (good, _) in GRID.items():
            for value in good.values():
                expected = (value,) if FIELDS[name].metadata["many"] else value
                got = getattr(given_value(name, expected), name)
                self.assertEqual((got, type(got)), (expected, type(expected)), (name, value))

    def test_words_are_those_of_the_command_line(self) -> None:
        """A text that the command line refuses is refused here with the same sentence."""
        for name, (_, bad) in GRID.items():
            for text in filter(None, bad):
                embedding = self.refused(name, text)
                with self.assertRaises(StartupError) as caught:
                    read_settings({option_name(FIELDS[name]): [text]}, {})
                self.assertEqual(str(caught.exception).removeprefix("--").replace("-", "_", name.count("_")), embedding)

    def test_values_that_were_taken_without_a_word(self) -> None:
        """Each of these once started a server that did something else than it seemed to be asked for."""
        for name, value in (
            ("without", ("stunn",)), ("store", "foo"), ("pulse_interval", -1), ("max_clients", 0), ("udp_port", 65536),
            ("udp_port", (5024, 65536)), ("cors_origin", "app.example"), ("interface", "localhost"),
        ):  # fmt: skip
            self.refused(name, value)

    def test_strange_values_are_refused(self) -> None:
        """No setting takes them, alone or in a list; none raises anything else."""
        for name, field in FIELDS.items():
            for value in STRANGE:
                self.refused(name, value)
                self.refused(name, [value])
                if field.metadata["many"]:
                    self.refused(name, [*GRID[name][0].values(), value])

    def test_list_for_one_value_is_refused(self) -> None:
        """Also if what is in it would be right."""
        for name, field in FIELDS.items():
            if not field.metadata["many"]:
                for value in GRID[name][0].values():
                    self.refused(name, [value])
                self.refused(name, [])

    def test_bool_is_no_number(self) -> None:
        """Although it is one for Python; and a number is no bool."""
        for name, field in FIELDS.items():
            if kind_of(field) is FLAG:
                for value in (0, 1, "true", 1.0):
                    self.refused(name, value)
            else:
                self.refused(name, True)
                self.refused(name, False)

    def test_number_that_is_not_finite_is_refused(self) -> None:
        """As it would be in no table and on no clock."""
        for name in FIELDS:
            for value in NOT_FINITE:
                self.refused(name, value)

    def test_number_that_is_far_too_large_is_refused(self) -> None:
        """Also one that no float can hold."""
        for name in FIELDS:
            for value in (10**400, -(10**400)):
                self.refused(name, value)

    def test_text_for_a_number_is_refused(self) -> None:
        """Only an operator's texts are read."""
        for name in ("http_port", "pulse_interval", "pulse_grace", "max_clients", "udp_rate", "max_waiting"):
            self.refused(name, "7")

    def test_integer_is_a_duration(self) -> None:
        """It becomes a float, as the rest of the server expects."""
        settings = Settings(pulse_interval=20, pulse_grace=5, udp_rate=7)
        self.assertEqual((settings.pulse_interval, settings.pulse_grace, settings.udp_rate), (20.0, 5.0, 7.0))
        for value in (settings.pulse_interval, settings.pulse_grace, settings.udp_rate):
            self.assertIs(type(value), float)

    def test_one_value_for_a_list_is_a_list_of_one(self) -> None:
        """So ``cors_origin="https://a.example"`` allows that origin."""
        self.assertEqual(Settings(cors_origin="https://a.example").cors_origin, ("https://a.example",))
        self.assertEqual(Settings(without="stun").without, ("stun",))
        self.assertEqual(Settings(http="tcp:80").http, (Endpoint("tcp:80"),))
        self.assertEqual(Settings(trusted_proxy="127.0.0.1").trusted_proxy, ("127.0.0.1/32",))
        self.assertEqual(Settings(cors_origin=["https://a.example"]).cors_origin, ("https://a.example",))

    def test_udp_port_takes_what_is_natural(self) -> None:
        """A number, a text as on the command line, a :class:`UDPPort`, and any of them in a sequence."""
        deployed = UDPPort(3000, Dialect.DEPLOYED)
        for given, ports in (
            (5024, (UDPPort(5024),)),
            ("3000:deployed", (deployed,)),
            (deployed, (deployed,)),
            ([5024, "3000:deployed", UDPPort(1)], (UDPPort(5024), deployed, UDPPort(1))),
            ((), ()),
        ):
            settings = Settings(udp_port=given)  # type: ignore[arg-type]
            self.assertEqual(settings.udp_port, ports)

    def test_size_takes_bytes_and_units(self) -> None:
        """A unit is 1024 times the one before it."""
        for given, size in ((4096, 4096), ("4K", 4096), ("512M", 512 * 1024**2), ("2G", 2 * 1024**3)):
            settings = Settings(max_signaling_memory=given)  # type: ignore[arg-type]
            self.assertEqual(settings.max_signaling_memory, size)

    def test_every_protocol_cannot_be_off(self) -> None:
        """Such a server would answer nothing but what it is."""
        every = tuple(protocol.value for protocol in Protocol)
        self.assertRaises(StartupError, Settings, without=every)
        for index, protocol in enumerate(every):
            others = every[:index] + every[index + 1 :]
            if protocol == Protocol.DEMO:
                # The page alone finds no one: it needs a protocol.
                self.assertRaises(StartupError, Settings, without=others)
            else:
                self.assertEqual(Settings(without=others).without, others)

    def test_two_places_for_http_contradict_each_other(self) -> None:
        """One of them would be ignored."""
        message = str(self.assertRaises(StartupError, Settings, http_port=80, http=("tcp:81",)))
        self.assertEqual(message, "http and http-port contradict each other: give one of them")
        self.assertEqual(Settings(http=("tcp:81",)).http, (Endpoint("tcp:81"),))

    def test_copy_with_a_change_is_checked_too(self) -> None:
        """As :func:`attrs.evolve` makes one."""
        self.assertRaises(StartupError, attrs.evolve, Settings(), max_clients=0)
        self.assertEqual(attrs.evolve(Settings(), max_clients=5).max_clients, 5)

    def test_default_is_shown_as_it_is_given(self) -> None:
        """The text of each default is read as the default."""
        for name, field in FIELDS.items():
            text = default_text(field)
            if text:
                texts = text.split() if field.metadata["many"] else [text]
                self.assertEqual(getattr(read_settings({option_name(field): texts}, {}), name), field.default)
        self.assertEqual(default_text(FIELDS["max_signaling_memory"]), "512M")
        self.assertEqual([default_text(FIELDS[name]) for name in ("interface", "http", "no_source_limits")], [""] * 3)
