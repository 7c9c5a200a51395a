"""What the journal writes together: the parts of one decision, and the decisions of one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection

import attrs

from rendezvous.core.notes import Key
from rendezvous.storage.rows import Statement
from rendezvous.storage.seen import Taken

__all__ = ["STATEMENT_SIZE", "Batch", "Decision", "WriteBatch"]

#: Bytes that a statement takes in the queue besides its text.
STATEMENT_SIZE = 400


@attrs.frozen
class Batch:
    """
    One transaction, ready to be written.

    :ivar statements: in order.
    :ivar seen: tracker peers of which only the time of their last activity has changed.
    :ivar meta: facts about the file itself.
    """

    statements: list[Statement]
    seen: Taken | None
    meta: dict[str, object]


WriteBatch = Callable[[Batch], None]


class Decision:
    """
    What one decision has noted.

    :ivar entries: statements, and records whose rows are made when the batch is.
    :ivar size: bytes that its statements take.
    :ivar keys: whom to notify after the commit.
    :ivar after: what else is done after the commit.
    """

    __slots__ = ("after", "entries", "keys", "position", "size")

    def __init__(self, position: int) -> None:
        self.position = position
        self.entries: list[object] = []
        self.size = 0
        self.keys: Collection[Key] = ()
        self.after: list[Callable[[], None]] = []

    def add(self, statement: Statement) -> None:
        """Note a statement, after all that was noted before."""
        self.entries.append(statement)
        self.size += STATEMENT_SIZE + sum([len(value) for value in statement[1] if isinstance(value, str)])
