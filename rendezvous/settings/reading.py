"""
Reading settings from where an operator writes them.

The command line goes before the environment, and the environment before the configuration file.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from rendezvous.errors import StartupError
from rendezvous.settings.fields import checked, environment_name, kind_of, option_name
from rendezvous.settings.kinds import WORD
from rendezvous.settings.table import Settings

__all__ = ["CONFIG", "CONFIG_HELP", "CONFIG_VARIABLE", "ENVIRONMENT", "config_file", "read_settings"]

#: The name of the option for the configuration file, which is not a setting itself.
CONFIG = "config"

CONFIG_HELP = (
    "read settings from this TOML file: the names of the options with underscores, such as pulse_interval = 20; several"
    " values are a list"
)

CONFIG_VARIABLE = "RENDEZVOUS_CONFIG"

#: Every option that names a value.
_OPTIONS = (*(option_name(field) for field in attrs.fields(Settings)), CONFIG)

#: Every variable of the environment that is ours. RENDEZVOUS_SECRET is read by :mod:`rendezvous.secret`.
ENVIRONMENT = (*(environment_name(field) for field in attrs.fields(Settings)), CONFIG_VARIABLE, "RENDEZVOUS_SECRET")

#: Variables of the other programs, which may run in the same shell as the server.
_OF_PROGRAMS = ("RENDEZVOUS_SERVER", "RENDEZVOUS_ADMIN_URL", "RENDEZVOUS_ADMIN_CA_FILE", "RENDEZVOUS_OPERATOR")

#: Variables that Kubernetes and Docker set in every container for a service that is called "rendezvous".
_OF_A_CONTAINER = re.compile(
    r"RENDEZVOUS_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT|PORT_[0-9]+_(TCP|UDP)(_(PROTO|PORT|ADDR))?|NAME|ENV_.*)"
)

#: Bytes of a configuration file. All settings with long lists take a few kilobytes.
MAX_FILE = 64 * 1024


def read_settings(given: Mapping[str, str | Sequence[str]], environ: Mapping[str, str] = os.environ) -> Settings:
    """
    Read the settings of an operator. ``read_settings({"config": "rendezvous.toml"})`` reads a file, for example.

    :param given: the texts of the command line, by the option's name without the dashes before it, such as
        ``max-clients``. Each is one text, or a sequence of those that were given one after the other.
    :param environ: the environment. White space separates the values of a repeatable option there.
    :returns: the settings. What is not given anywhere has its default.
    :raises StartupError: a text, a variable or a file cannot be used. The message is one line that names the place.
    """
    _check_names(environ)
    for name in given:
        if name not in _OPTIONS:
            raise StartupError(f"{name!r} is not an option{_nearest(name, _OPTIONS)}")
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
    file = config_file(given, environ)
    in_file = {} if file is None else _read_file(file)
    for field in attrs.fields(Settings):
        name, variable = option_name(field), environment_name(field)
        many = field.metadata["many"]
        if name in given:
            place = f"--{name}"
            value = _from_texts(field, _several(given[name]), place)
        elif variable in environ:
            place = variable
            # An empty text is an error for every option; for a repeatable one it would otherwise mean no value at all.
            value = _from_texts(field, environ[variable].split() or [""] if many else [environ[variable]], place)
        elif field.name in in_file:
            place = f"{file}: {field.name}"
            value = _from_file(field, in_file[field.name], place)
        else:
            continue
        if field.name in ("http", "admin"):
            # Whether it can be used is found out only when it is opened.
            value = tuple(attrs.evolve(each, place=place) for each in value)
        values[field.name], places[field.name] = value, place
    if "http" in values and "http_port" in values:
        raise StartupError(f"{places['http']} and {places['http_port']} contradict each other: give one of them")
    return Settings(**values)


def _several(texts: str | Sequence[str]) -> Sequence[str]:
    return [texts] if isinstance(texts, str) else texts


def _from_texts(field: attrs.Attribute[Any], texts: Sequence[str], place: str) -> Any:
    try:
        values = [kind_of(field).value(text, is_text=True) for text in texts]
    except ValueError as e:
        raise StartupError(f"{place} {e}") from None
    return tuple(values) if field.metadata["many"] else values[-1]


def _from_file(field: attrs.Attribute[Any], value: Any, place: str) -> Any:
    listed = value if isinstance(value, list) or not field.metadata["many"] else [value]
    try:
        return checked(field, listed, place)
    except StartupError as e:
        if isinstance(value, str) and _is_quoted(field, value):
            raise StartupError(f"{e}: write it without quotes") from None
        raise


def _is_quoted(field: attrs.Attribute[Any], text: str) -> bool:
    """:returns: whether the command line would take this text, so that the quotes of the file are the mistake."""
    try:
        kind_of(field).value(text, is_text=True)
    except ValueError:
        return False
    return True


def _check_names(environ: Mapping[str, str]) -> None:
    """:raises StartupError: a variable looks like ours and is not. Its value may be a secret and is not shown."""
    for name in environ:
        is_known = name in ENVIRONMENT or name in _OF_PROGRAMS or _OF_A_CONTAINER.fullmatch(name)
        if name.startswith("RENDEZVOUS_") and not is_known:
            raise StartupError(f"{name!r} in the environment is not a setting{_nearest(name, ENVIRONMENT)}")


def _nearest(name: str, known: Iterable[str]) -> str:
    alike = {each.replace("-", "_").upper(): each for each in known}
    [found] = difflib.get_close_matches(name.replace("-", "_").upper(), alike, 1, 0.0)
    return f"; the nearest one is {alike[found]}"


def config_file(given: Mapping[str, str | Sequence[str]], environ: Mapping[str, str] = os.environ) -> str | None:
    """
    :param given: as for :func:`read_settings`.
    :returns: the name of the configuration file, or ``None`` if there is none.
    :raises StartupError: its name cannot be one.
    """
    place, texts = f"--{CONFIG}", given.get(CONFIG)
    if texts is None and CONFIG_VARIABLE in environ:
        place, texts = CONFIG_VARIABLE, [environ[CONFIG_VARIABLE]]
    if texts is None:
        return None
    try:
        return str(WORD.value(_several(texts)[-1], is_text=True))
    except ValueError as e:
        raise StartupError(f"{place} {e}") from None


def _read_file(path: str) -> dict[str, Any]:
    """
    :returns: the values of a configuration file, by the setting's name. Only the names are checked here.
    :raises StartupError: the file cannot be read, or is not a configuration file.
    """
    text = _text_of(path)
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as e:
        reason = str(e).replace("\n", " ") if isinstance(e, tomllib.TOMLDecodeError) else "a value is too large"
        raise StartupError(f"the configuration file {path!r} is not TOML: {reason}") from None
    names = [field.name for field in attrs.fields(Settings)]
    for name, value in values.items():
        if name not in names:
            if isinstance(value, dict):
                raise StartupError(
                    f"{path}: {name!r} is not a setting; settings are in no table, so leave [{name}] out"
                )
            raise StartupError(f"{path}: {name!r} is not a setting{_nearest(name, names)}")
    return values


def _text_of(path: str) -> str:
    def opener(path: str, flags: int) -> int:
        # Opening a named pipe would otherwise block until somebody writes to it.
        return os.open(path, flags | os.O_NONBLOCK)

    try:
        with open(path, "rb", opener=opener) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise StartupError(f"the configuration file {path!r} is not a regular file")
            data = file.read(MAX_FILE + 1)
    except OSError as e:
        raise StartupError(f"the configuration file {path!r} cannot be read: {e.strerror}") from None
    if len(data) > MAX_FILE:
        raise StartupError(f"the configuration file {path!r} is longer than {MAX_FILE} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise StartupError(f"the configuration file {path!r} is not TOML: it is not UTF-8") from None
