"""One setting: what a field of the table says of it, and its names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from rendezvous.errors import StartupError
from rendezvous.settings.kinds import Endpoint, Kind, UDPPort

__all__ = [
    "about",
    "checked",
    "default_text",
    "endpoints",
    "environment_name",
    "kind_of",
    "option",
    "option_name",
    "texts",
    "udp_ports",
]


def about(help: str, kind: Kind, *, many: bool = False, reloadable: bool = False) -> dict[str, Any]:
    """
    :param many: whether the option may be given several times; then the value is a tuple.
    :param reloadable: whether a running server takes a new value.
    :returns: the metadata of a field.
    """
    return {"help": help, "kind": kind, "many": many, "reloadable": reloadable}


def option(default: Any, help: str, kind: Kind, *, reloadable: bool = False) -> Any:
    """:returns: a field for a setting with one value."""
    return attrs.field(default=default, metadata=about(help, kind, reloadable=reloadable))


# These converters accept one value in the place of a sequence. The values are checked afterwards.


def texts(given: str | Sequence[str]) -> tuple[str, ...]:
    """:returns: all texts of a repeatable setting."""
    return _as_tuple(given)


def endpoints(given: str | Endpoint | Sequence[str | Endpoint]) -> tuple[Endpoint, ...]:
    """:returns: all endpoints, which may be texts still."""
    return _as_tuple(given)


def udp_ports(given: int | str | UDPPort | Sequence[int | str | UDPPort]) -> tuple[UDPPort, ...]:
    """:returns: all UDP ports, which may be numbers or texts still."""
    return _as_tuple(given)


def _as_tuple(given: Any) -> tuple[Any, ...]:
    return tuple(given) if isinstance(given, (list, tuple)) else (given,)


def kind_of(field: attrs.Attribute[Any]) -> Kind:
    """:returns: what values a setting takes; of a repeatable one, each of its values."""
    kind: Kind = field.metadata["kind"]
    return kind


def checked(field: attrs.Attribute[Any], given: Any, where: str) -> Any:
    """
    Check the value of a setting.

    :param where: what the message calls the setting: where the operator finds it.
    :returns: the value in its normal form.
    :raises StartupError: the setting does not take it.
    """
    if type(given) is type(field.default) and given == field.default:
        # A default can be a value that cannot be given, such as no address.
        return given
    kind = kind_of(field)
    try:
        return tuple(map(kind.value, given)) if field.metadata["many"] else kind.value(given)
    except ValueError as e:
        raise StartupError(f"{where} {e}") from None


def option_name(field: attrs.Attribute[Any]) -> str:
    """:returns: the setting's name on the command line, without the dashes."""
    return field.name.replace("_", "-")


def environment_name(field: attrs.Attribute[Any]) -> str:
    """:returns: the setting's name in the environment."""
    return "RENDEZVOUS_" + field.name.upper()


def default_text(field: attrs.Attribute[Any]) -> str:
    """:returns: the setting's default as an operator would give it; empty if there is none, or if it is off."""
    default: Any = field.default
    if default in ("", (), False):
        return ""
    values = default if field.metadata["many"] else (default,)
    return " ".join(map(kind_of(field).show, values))
