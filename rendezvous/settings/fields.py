"""One setting: what a field of the table says of it, and its names."""

from __future__ import annotations

from typing import Any

import attrs

from rendezvous.errors import StartupError
from rendezvous.settings.kinds import Kind

__all__ = ["checked", "default_text", "environment_name", "kind_of", "option_name"]


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
