"""The text of a message that arrives in several pieces."""

from __future__ import annotations

from rendezvous.core.sources import SourceNetwork
from rendezvous.web.quotas import Quotas

__all__ = ["MESSAGE_TIME", "Pieces"]

#: Seconds within which the last piece of a message has to arrive: 128 KiB on a line of 5 KB a second.
MESSAGE_TIME = 30.0


class Pieces:
    """
    What has arrived of one message. Its bytes are counted as those of request bodies that have not arrived whole.

    They are kept in UTF-8, one piece behind the other: a list of strings of one character would take 80 times as much
    memory as the text.

    :param quotas: counts the bytes.
    :param source: whom they count for.
    :param until: when the last piece has to be there.
    :ivar until: as given.
    :ivar chars: how many characters there are.
    """

    __slots__ = ("_data", "_quotas", "_source", "chars", "until")

    def __init__(self, quotas: Quotas, source: SourceNetwork, until: float) -> None:
        self._quotas = quotas
        self._source = source
        self._data = bytearray()
        self.until = until
        self.chars = 0

    def add(self, text: str) -> None:
        """
        Add a piece.

        :raises TooMany: ``source-bodies``, as much of the source has not arrived whole as may.
        :raises Full: ``full-bodies``, as much of all sources has.
        """
        data = text.encode()
        self._quotas.receive(self._source, len(data))
        self._data += data
        self.chars += len(text)

    def take(self) -> str:
        """:returns: the text, which is counted no longer."""
        text = self._data.decode()
        self.drop()
        return text

    def drop(self) -> None:
        """Forget the text; a second time does nothing."""
        self._quotas.received(self._source, len(self._data))
        self._data.clear()
        self.chars = 0
