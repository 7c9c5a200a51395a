"""What the tables tell whoever keeps a journal: a new or changed record as itself, an ended one as ``Removed``."""

from __future__ import annotations

from collections.abc import Callable

import attrs

__all__ = ["Note", "Removed", "ignore_changes"]

Note = Callable[[object], None]


@attrs.frozen
class Removed:
    """:ivar record: what has ended."""

    record: object


def ignore_changes(record: object) -> None:
    """For a table whose changes are kept nowhere else."""
