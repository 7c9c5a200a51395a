"""
The kinds of values that settings take.

A kind checks a value wherever it comes from: the command line and the environment give texts, a file and an embedding
application give values. A wrong value is refused with the same words everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from ipaddress import ip_address, ip_network
from typing import Any

import attrs

from rendezvous.wire.tracker import Dialect

__all__ = [
    "ADDRESS",
    "ENDPOINT",
    "FLAG",
    "GRACE",
    "KEY",
    "NETWORK",
    "ORIGIN",
    "PORT",
    "RATE",
    "SECONDS",
    "SHARE",
    "SIZE",
    "STORE",
    "TURN_URI",
    "UDP_PORT",
    "WORD",
    "Endpoint",
    "Kind",
    "UDPPort",
    "one_of",
    "whole",
]

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
_LARGEST_SIZE = 1024**5


@attrs.frozen
class Kind:
    """
    What values a setting takes.

    :ivar must: what is required. A message is the name of the setting and then this text.
    :ivar check: gives the value in its normal form, or raises ValueError. It accepts its own results.
    :ivar read: turns the text of an operator into a value for ``check``, or raises ValueError.
    :ivar show: turns a checked value into a text that is read as this value.
    """

    must: str
    check: Callable[[Any], Any]
    read: Callable[[str], Any] = str
    show: Callable[[Any], str] = str

    def value(self, given: Any, *, is_text: bool = False) -> Any:
        """
        :param is_text: whether ``given`` is a text of the command line or the environment.
        :returns: the checked value.
        :raises ValueError: it is not of this kind; the message says what is required and what was given.
        """
        try:
            return self.check(self.read(given) if is_text else given)
        except ValueError:
            raise ValueError(f"{self.must}, not {_shortened(repr(given))}") from None


def _shortened(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:197]}..."


def _is_number(value: object) -> bool:
    # A bool is an int for Python, and nearly always a mistake here.
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _ensure(condition: object) -> None:
    """:raises ValueError: the condition does not hold; :meth:`Kind.value` adds the words."""
    if not condition:
        raise ValueError


def _integer(text: str) -> int:
    _ensure(re.fullmatch(r"[0-9]{1,18}", text))
    return int(text)


def _number(text: str) -> float:
    _ensure(re.fullmatch(r"[0-9.eE+-]{1,40}", text))
    return float(text)


def _show_number(value: float) -> str:
    return f"{value:.15g}"


def whole(low: int, high: int) -> Kind:
    """:returns: the kind of whole numbers from ``low`` to ``high``."""

    def check(value: Any) -> int:
        _ensure(isinstance(value, int) and not isinstance(value, bool) and low <= value <= high)
        return int(value)

    return Kind(f"must be a whole number from {low} to {high}", check, _integer)


def _range(must: str, is_good: Callable[[float], bool]) -> Kind:
    def check(value: Any) -> float:
        # A number that is not finite is in no range. A very large integer cannot become a float.
        _ensure(_is_number(value) and is_good(value))
        return float(value)

    return Kind(must, check, _number, _show_number)


def one_of(names: Collection[str]) -> Kind:
    """:returns: the kind of texts that are one of these names."""

    def check(value: Any) -> str:
        _ensure(isinstance(value, str) and value in names)
        return str(value)

    return Kind(f"must be one of {', '.join(names)}", check)


def _check_word(value: Any) -> str:
    _ensure(isinstance(value, str) and value.strip() and not re.search(r"[\x00-\x1f\x7f]", value))
    return str(value)


def _check_key(value: Any) -> str:
    _ensure(isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value))
    return str(value)


def _check_origin(value: Any) -> str:
    _ensure(isinstance(value, str))
    match = re.fullmatch(r"([a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", value)
    _ensure(value == "null" or (match and (match[1], match[3]) not in {("http", ":80"), ("https", ":443")}))
    return str(value)


def _check_store(value: Any) -> str:
    value = _check_word(value)
    _ensure(value == "memory:" or (value.startswith("sqlite:") and value != "sqlite:"))
    return str(value)


def _check_turn_uri(value: Any) -> str:
    # RFC 7065, section 3.1.
    _ensure(isinstance(value, str))
    match = re.fullmatch(
        r"turns?:([A-Za-z0-9.-]{1,253}|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{1,5}))?(\?transport=(udp|tcp))?", value
    )
    _ensure(match and (match[3] is None or 0 < int(match[3]) < 65536))
    if match and match[2]:
        ip_address(match[2])
    return str(value)


def _check_address(value: Any) -> str:
    # Twisted opens no UDP port on an address with a scope.
    _ensure(isinstance(value, str) and "%" not in value)
    ip_address(value)
    return str(value)


def _check_network(value: Any) -> str:
    _ensure(isinstance(value, str))
    return value if value == "unix" else str(ip_network(value))


def _check_flag(value: Any) -> bool:
    _ensure(isinstance(value, bool))
    return bool(value)


def _read_flag(text: str) -> bool:
    values = {"1": True, "true": True, "0": False, "false": False}
    _ensure(text in values)
    return values[text]


def _check_grace(value: Any) -> float | str:
    percent = isinstance(value, str)
    number = _number(value.removesuffix("%")) if percent and value.endswith("%") else value
    _ensure(_is_number(number) and 0 <= number <= 86400)
    return f"{_show_number(number)}%" if percent else float(number)


def _read_grace(text: str) -> float | str:
    return text if text.endswith("%") else _number(text)


def _check_share(value: Any) -> str:
    _ensure(isinstance(value, str) and value.endswith("%"))
    number = _number(value.removesuffix("%"))
    _ensure(0 <= number <= 100)
    return f"{_show_number(number)}%"


def _check_size(value: Any) -> int:
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9]{1,18})([KMG]?)", value)
        value = int(match[1]) * _UNITS[match[2]] if match else None
    _ensure(isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _LARGEST_SIZE)
    return int(value)


def _show_size(value: int) -> str:
    unit = next(unit for unit in ("G", "M", "K", "") if value % _UNITS[unit] == 0)
    return f"{value // _UNITS[unit]}{unit}"


@attrs.frozen
class UDPPort:
    """
    A UDP port and the dialect of its tracker.

    :ivar number: 0 for any free port.
    """

    number: int
    dialect: Dialect = Dialect.DOCUMENTED

    def __str__(self) -> str:
        return str(self.number) if self.dialect is Dialect.DOCUMENTED else f"{self.number}:{self.dialect.value}"


@attrs.frozen
class Endpoint:
    """
    A Twisted endpoint to listen on.

    :ivar description: how Twisted spells it, such as ``tcp:8080``.
    :ivar place: where it was written, such as ``--http``. Some mistakes in it are found only when it is used, and their
        errors name this place.
    """

    description: str
    place: str = attrs.field(default="http", eq=False)

    def __str__(self) -> str:
        return self.description


def _check_endpoint(value: Any) -> Endpoint:
    if isinstance(value, Endpoint):
        _check_word(value.description)
        return value
    return Endpoint(_check_word(value))


PORT = whole(0, 65535)


def _check_udp_port(value: Any) -> UDPPort:
    if isinstance(value, str):
        number, colon, name = value.partition(":")
        return UDPPort(PORT.value(number, is_text=True), Dialect(name) if colon else Dialect.DOCUMENTED)
    if isinstance(value, UDPPort):
        return UDPPort(PORT.value(value.number), Dialect(value.dialect))
    return UDPPort(PORT.value(value))


SECONDS = _range(
    "must be a number of seconds greater than 0 and at most a year (31622400)",
    lambda value: 0 < value <= 366 * 86400,
)
RATE = _range("must be a number from 0 to 1000000000", lambda value: 0 <= value <= 1e9)
GRACE = Kind(
    "must be a number of seconds from 0 to 86400, or a part of the interval such as 10%",
    _check_grace,
    _read_grace,
    lambda value: value if isinstance(value, str) else _show_number(value),
)
SHARE = Kind("must be a part from 0% to 100%, such as 10%", _check_share)
SIZE = Kind(
    "must be a number of bytes, or a text such as 512M with K, M or G for 1024, 1024^2 or 1024^3 bytes, from 1 to"
    " 1048576G",
    _check_size,
    str,
    _show_size,
)
UDP_PORT = Kind(
    f"must be a port from 0 to 65535, or a port followed by {' or '.join(':' + each.value for each in Dialect)}",
    _check_udp_port,
)
FLAG = Kind(
    "must be true or false; in the environment 1 and 0 as well",
    _check_flag,
    _read_flag,
    lambda value: "true" if value else "false",
)
WORD = Kind("must be a text that is not empty and has no control characters", _check_word)
KEY = Kind("must have 1 to 64 letters, digits, - and _", _check_key)
ENDPOINT = Kind(WORD.must, _check_endpoint)
ORIGIN = Kind(
    "must be an origin as browsers send it, such as https://app.example or http://localhost:8080", _check_origin
)
STORE = Kind("must be sqlite:PATH or memory:", _check_store)
TURN_URI = Kind(
    "must be a TURN URI such as turn:turn.example:3478?transport=udp or turns:turn.example:5349?transport=tcp",
    _check_turn_uri,
)
ADDRESS = Kind(
    "must be an IPv4 or IPv6 address such as 192.0.2.1 or 2001:db8::1, without a scope; it cannot be a host name or the"
    " name of a network interface",
    _check_address,
)
NETWORK = Kind(
    "must be an address or a network such as 127.0.0.1, 10.0.0.0/8 or 2001:db8::/32, or unix for UNIX sockets",
    _check_network,
)
