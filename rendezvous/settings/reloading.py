"""What a running server takes over from new settings."""

from __future__ import annotations

from typing import Any

import attrs

from rendezvous.limits import GROWTH
from rendezvous.settings.fields import kind_of
from rendezvous.settings.table import Settings

__all__ = ["Reload", "compare", "in_force"]


@attrs.frozen
class Reload:
    """
    The difference between the settings of a running server and new ones.

    :ivar settings: the settings that the server has afterwards.
    :ivar changed: a text for each setting that changes, such as ``max_clients = 5 (was 10)``.
    :ivar refused: a text for each setting that cannot change while the server runs.
    """

    settings: Settings
    changed: list[str]
    refused: list[str]


def compare(running: Settings, wanted: Settings, clients_at_start: int) -> Reload:
    """
    :param clients_at_start: ``max_clients`` when the server was started. A reload can raise it to twice this number.
    :returns: what changes, and what cannot.
    :raises StartupError: what can change contradicts what cannot.
    """
    changes: dict[str, Any] = {}
    changed, refused = [], []
    for field in attrs.fields(Settings):
        was, is_to_be = getattr(running, field.name), getattr(wanted, field.name)
        if was == is_to_be:
            continue
        text = f"{field.name} = {_shown(field, is_to_be)} (was {_shown(field, was)})"
        if field.metadata["reloadable"] and (field.name != "max_clients" or is_to_be <= GROWTH * clients_at_start):
            changes[field.name] = is_to_be
            changed.append(text)
        else:
            refused.append(text)
    return Reload(attrs.evolve(running, **changes), changed, refused)


def in_force(settings: Settings) -> dict[str, str | list[str]]:
    """:returns: all settings as an operator would give them. Secrets are in files, of which only the names are here."""
    shown: dict[str, str | list[str]] = {}
    for field in attrs.fields(Settings):
        value, show = getattr(settings, field.name), kind_of(field).show
        shown[field.name] = list(map(show, value)) if field.metadata["many"] else show(value)
    return shown


def _shown(field: attrs.Attribute[Any], value: Any) -> str:
    show = kind_of(field).show
    return f"[{', '.join(map(show, value))}]" if field.metadata["many"] else show(value) or '""'
