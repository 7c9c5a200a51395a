"""What signaling keeps in memory, in bytes, and which source has caused it."""

from __future__ import annotations

from collections.abc import Iterable

from rendezvous.core.shares import Shares
from rendezvous.core.sources import SourceNetwork
from rendezvous.errors import Full

__all__ = [
    "ANSWER_COST",
    "CANDIDATE_COST",
    "CHANGE_COST",
    "EVENT_COST",
    "NAMESPACE_COST",
    "OFFER_COST",
    "TOPIC_COST",
    "Memory",
    "text_size",
    "texts_size",
]

# What a record takes besides its texts, measured (``tests/test_core_memory.py``): its objects, and its places in the
# indexes as if it were alone in them. A record that shares a topic or an owner with others takes less.

#: Bytes of an offer or a session.
OFFER_COST = 1280
#: Bytes that a session has besides: those of a namespace of its own.
NAMESPACE_COST = 512
#: Bytes of one topic of an offer, besides its name.
TOPIC_COST = 560
#: Bytes of an answer.
ANSWER_COST = 160
#: Bytes of a candidate.
CANDIDATE_COST = 160
#: Bytes of an event, the answer or candidate that it carries not included.
EVENT_COST = 320
#: Bytes of a change in one topic that is watched, besides the id of its offer.
CHANGE_COST = 208


def text_size(text: str) -> int:
    """
    Measure a text.

    ``sys.getsizeof`` would not do: a text that is not ASCII grows when it is encoded for the first time, as the encoded
    form is kept with it.

    :returns: the most bytes that it takes in memory.
    """
    # 4 bytes for each character that is not ASCII, and 4 bytes at most for its encoded form.
    return 56 + len(text) if text.isascii() else 80 + 8 * len(text)


def texts_size(texts: Iterable[str]) -> int:
    """:returns: the most bytes that these texts take in memory."""
    return sum(map(text_size, texts))


class Memory:
    """
    The bytes that offers, answers, candidates and events take, as charged when they come and refunded when they go.

    :param most: the most bytes for all of them together.
    :param shares: what each source may hold of it.
    :ivar held: how many bytes are charged.
    """

    __slots__ = ("_most", "held", "shares")

    def __init__(self, most: int, shares: Shares) -> None:
        self._most = most
        self.shares = shares
        self.held = 0

    def change(self, most: int, shares: tuple[int, int]) -> None:
        """Use other bounds from now on. What is held already stays, and is counted."""
        self._most = most
        self.shares.change(*shares)

    def check(self, source: SourceNetwork, amount: int, by_source: int | None = None) -> None:
        """
        See that there is room.

        :param amount: by how many bytes all together grows.
        :param by_source: by how many bytes what the source holds grows, if that is another number.
        :raises Full: there is not.
        :raises TooMany: ``source-share``, the source would hold more than its share.
        """
        if amount > 0 and self.held + amount > self._most:
            raise Full(
                "The server keeps as many bytes of offers as it can; some will expire soon.", holder=self.shares.largest
            )
        taken = amount if by_source is None else by_source
        if taken > 0:
            self.shares.check(source, taken)

    def charge(self, source: SourceNetwork, amount: int) -> None:
        """Count what has come, also when it is more than there is room for (what was read back at the start, say)."""
        self.held += amount
        self.shares.add(source, amount)

    def refund(self, source: SourceNetwork, amount: int) -> None:
        """Count what has gone."""
        self.held -= amount
        self.shares.remove(source, amount)
