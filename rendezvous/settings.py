"""
Every setting of the server, once: its name, its default, what it means, and how its text is read.

The command line, the environment and the documentation are made from this table, so they cannot disagree.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from rendezvous.core.presence import Timers
from rendezvous.errors import StartupError
from rendezvous.limits import SignalingLimits
from rendezvous.wire.tracker import Dialect

__all__ = ["Settings", "environment_name", "from_texts", "option_name"]


Read = Callable[[str], Any]

#: What ``--without`` turns off.
PROTOCOLS = ("rendezvous", "offers", "sessions", "tracker", "stun")


def option(default: Any, help: str, read: Read, *, many: bool = False) -> Any:
    """
    A field that is also an option.

    :param read: turns a text into the value, or raises ValueError saying what the text should have been.
    :param many: whether the option may be given several times; then the value is a tuple.
    """
    return attrs.field(default=default, metadata={"help": help, "read": read, "many": many})


def whole(low: int, high: int) -> Read:
    """:returns: a reader of whole numbers from ``low`` to ``high``."""

    def read(text: str) -> int:
        if re.fullmatch(r"[0-9]{1,18}", text) and low <= int(text) <= high:
            return int(text)
        raise ValueError(f"must be a whole number from {low} to {high}")

    return read


def _number(text: str) -> float:
    """Read any number; what is none becomes one that is in no range."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def seconds(text: str) -> float:
    """Read a duration: more than zero, and no more than a year, which is as good as for ever."""
    value = _number(text)
    if not 0 < value <= 366 * 86400:
        raise ValueError("must be a number of seconds greater than 0, and at most a year")
    return value


def grace(text: str) -> float | str:
    """Read seconds from zero on, or a part of the pulse interval such as ``10%``."""
    number, percent = (text[:-1], True) if text.endswith("%") else (text, False)
    value = _number(number)
    if not 0 <= value <= 86400:
        raise ValueError("must be a number of seconds from 0 to 86400, or a part of the interval such as 10%")
    return f"{value}%" if percent else value


def word(text: str) -> str:
    """Read any text that is not empty."""
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def origin(text: str) -> str:
    """Read a web origin as browsers send it: in lower case, and a port only if it is not the scheme's own."""
    match = re.fullmatch(r"([a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", text)
    if text != "null" and (match is None or (match[1], match[3]) in {("http", ":80"), ("https", ":443")}):
        raise ValueError("must be an origin as browsers send it, such as https://app.example or http://localhost:8080")
    return text


def rate(text: str) -> float:
    """Read a number a second, 0 included."""
    value = _number(text)
    if not 0 <= value <= 1e9:
        raise ValueError("must be a number, 0 or more")
    return value


def dialect(text: str) -> str:
    """Read the name of a dialect."""
    if text not in PROTOCOLS:
        raise ValueError(f"must be one of {', '.join(PROTOCOLS)}")
    return text


def store(text: str) -> str:
    """Read where state is kept."""
    if text != "memory:" and not (text.startswith("sqlite:") and text != "sqlite:"):
        raise ValueError("must be sqlite:PATH or memory:")
    return text


port = whole(0, 65535)


@attrs.frozen
class UDPPort:
    """
    A UDP port and how its tracker speaks.

    :ivar number: 0 for any free one.
    """

    number: int
    dialect: Dialect = Dialect.DOCUMENTED

    def __str__(self) -> str:
        return str(self.number) if self.dialect is Dialect.DOCUMENTED else f"{self.number}:{self.dialect.value}"


def udp_port(text: str) -> UDPPort:
    """Read a port, and the dialect of its tracker behind a colon."""
    number, _, name = text.partition(":")
    names = [each.value for each in Dialect]
    if (name and name not in names) or text.endswith(":"):
        raise ValueError(f"must be a port, or a port with :{' or :'.join(names)}")
    return UDPPort(port(number), Dialect(name) if name else Dialect.DOCUMENTED)


@attrs.frozen(kw_only=True)
class Settings:
    """
    What the server is told. Durations are in seconds.

    :raises StartupError: the values contradict each other.
    """

    http_port: int = option(5025, "TCP port for HTTP; 0 takes any free one", port)
    http: tuple[str, ...] = option(
        (),
        "listen for HTTP here instead of on --http-port: a Twisted endpoint string, such as"
        " ssl:443:privateKey=key.pem:certKey=cert.pem (repeatable)",
        word,
        many=True,
    )
    udp_port: tuple[UDPPort, ...] = option(
        (UDPPort(5024),),
        "UDP port for datagrams; 0 takes any free one; with :deployed, its tracker speaks the deployed dialect"
        " instead of the documented one (repeatable)",
        udp_port,
        many=True,
    )
    interface: str = option("", "the address to listen on, IPv4 or IPv6 (default: every address of both)", word)
    pulse_interval: float = option(30.0, "seconds between two pulses of a client", seconds)
    pulse_grace: float | str = option(
        "10%", "how much later a pulse may come: seconds, or a part of the interval", grace
    )
    error_time: float = option(
        180.0, "seconds of silence, plus one interval, after which a client is logged out", seconds
    )
    registration_time: float = option(300.0, "seconds that a new client has to send its first pulse", seconds)
    logout_memory: float = option(
        30 * 86400.0, "seconds for which a logged-out credential is remembered as ended", seconds
    )
    max_clients: int = option(
        1_000_000, "clients kept at once; the next one is refused with 503", whole(1, 1_000_000_000)
    )
    max_offers: int = option(
        100_000, "offers and sessions kept at once; the next one is refused with 503", whole(1, 1_000_000_000)
    )
    offers_per_peer: int = option(
        SignalingLimits().offers_per_peer,
        "offers one peer may have; the next one is refused with 429",
        whole(1, 1_000_000),
    )
    session_lifetime: float = option(SignalingLimits().session_lifetime, "seconds that a session lives", seconds)
    cors_origin: tuple[str, ...] = option(
        (),
        "a web origin whose pages may use the server, such as https://app.example (repeatable; default: any)",
        origin,
        many=True,
    )
    tracker_lifetime: float = option(300.0, "seconds of silence after which a tracker peer is forgotten", seconds)
    max_tracker_peers: int = option(
        100_000, "tracker peers kept at once; the next one is told that the tracker is full", whole(1, 1_000_000_000)
    )
    udp_rate: float = option(
        50.0,
        "answers of the tracker and of STUN a second to one IPv4 address or IPv6 /64, with bursts of twice as many; 0"
        " for no limit",
        rate,
    )
    without: tuple[str, ...] = option(
        (), f"turn a dialect off: {', '.join(PROTOCOLS)} (repeatable)", dialect, many=True
    )
    store: str = option(
        "sqlite:rendezvous.sqlite3", "where state is kept: sqlite:PATH, or memory: to forget it all at the end", store
    )
    secret_file: str = option(
        "",
        "the server's secret, 64 hex digits, made on first start (default: rendezvous.secret, beside the store);"
        " RENDEZVOUS_SECRET holds the digits themselves",
        word,
    )

    def __attrs_post_init__(self) -> None:
        late, kept = self.timers.pulse_grace, self.timers.error_time
        if late > kept:
            raise StartupError(f"pulse-grace ({late:.10g} s) must not be longer than error-time ({kept:.10g} s)")

    @property
    def store_path(self) -> str | None:
        """:returns: the SQLite file, or ``None`` if state is in memory only."""
        return None if self.store == "memory:" else self.store.removeprefix("sqlite:")

    @property
    def secret_path(self) -> str:
        """:returns: the secret's file."""
        return self.secret_file or os.path.join(os.path.dirname(self.store_path or ""), "rendezvous.secret")

    @property
    def signaling_limits(self) -> SignalingLimits:
        """:returns: what offers and sessions are held to."""
        return SignalingLimits(offers_per_peer=self.offers_per_peer, session_lifetime=self.session_lifetime)

    @property
    def timers(self) -> Timers:
        """:returns: the times that decide a client's state."""
        late = self.pulse_grace
        if isinstance(late, str):
            late = self.pulse_interval * float(late.rstrip("%")) / 100
        return Timers(
            pulse_interval=self.pulse_interval,
            pulse_grace=late,
            error_time=self.error_time,
            registration_time=self.registration_time,
        )


def option_name(field: attrs.Attribute[Any]) -> str:
    """:returns: the setting's name on the command line, without the dashes."""
    return field.name.replace("_", "-")


def environment_name(field: attrs.Attribute[Any]) -> str:
    """:returns: the setting's name in the environment."""
    return "RENDEZVOUS_" + field.name.upper()


def from_texts(
    given: Mapping[str, list[str]],
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """
    Make settings from an operator's words: the command line, then the environment, then the defaults.

    :param given: texts by option name; a repeatable option may have several.
    :param environ: the environment; there, white space separates the values of a repeatable option.
    :raises StartupError: a text cannot be read; the message names where it stands and what would be right.
    """
    values: dict[str, Any] = {}
    for field in attrs.fields(Settings):
        name, variable = option_name(field), environment_name(field)
        if name in given:
            where, texts = f"--{name}", given[name]
        elif variable in environ:
            # An empty text is a mistake for every option; for a repeatable one it would be as good as none at all.
            texts = environ[variable].split() or [""] if field.metadata["many"] else [environ[variable]]
            where = variable
        else:
            continue
        try:
            read = [field.metadata["read"](text) for text in texts]
        except ValueError as e:
            raise StartupError(f"{where} {e}, not {' '.join(texts)!r}") from None
        values[field.name] = tuple(read) if field.metadata["many"] else read[-1]
    return Settings(**values)
