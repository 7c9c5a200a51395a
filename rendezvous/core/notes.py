"""What a table tells whoever keeps its journal: each changed record itself, and :class:`Removed` for one that ended."""

from __future__ import annotations

from attrs import frozen

__all__ = ["Removed"]


@frozen
class Removed:
    """
    A record has left its table.

    :ivar record: the record as it was last.
    """

    record: object
