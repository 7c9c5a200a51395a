"""One message to very many sockets, in several turns of the reactor."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rendezvous.core.sources import SourceNetwork
from rendezvous.errors import RendezvousError
from rendezvous.web.sending import Sender
from rendezvous.web.sockets.batch import Batch
from rendezvous.web.sockets.writer import SocketWriter
from rendezvous.web.turns import Turns

__all__ = ["READERS", "Spreading"]

#: Readers that a message is sent to at a time: some 1 ms.
READERS = 100

#: Bytes that a reader takes in the list of those that are left.
_REFERENCE = 8


class Spreading:
    """
    Sends a frame to many sockets, some at a time.

    Otherwise two hundred sources that send a message to a thousand readers each, 13 ms of work, would keep everyone
    else waiting until all of them are done.

    :param frame: the frame.
    :param readers: who is sent it.
    :param source: whose turns it takes.
    :param turns: how sources share the turns of the reactor.
    :param batch: what is sent in one turn.
    :param sender: counts the frame as unread until all have it.
    :param done: called when that has taken more than one turn.
    """

    def __init__(
        self,
        frame: bytes,
        readers: Sequence[SocketWriter],
        source: SourceNetwork,
        turns: Turns,
        batch: Batch,
        sender: Sender,
        done: Callable[[], None],
    ) -> None:
        self._frame = frame
        self._readers = readers
        self._source = source
        self._turns = turns
        self._batch = batch
        self._sender = sender
        self._done = done
        self._at = 0
        self._size = len(frame) + _REFERENCE * len(readers)

    def begin(self) -> bool:
        """
        Send it to the first ones; to all of them, if there is no room to keep it.

        :returns: whether all have it.
        """
        self._send(READERS)
        if self._at >= len(self._readers):
            return True
        try:
            self._sender.reserve(self._source, self._size)
        except RendezvousError:
            self._send(len(self._readers))
            return True
        self._turns.add_first(self._source.subscriber, self._go_on)
        return False

    def _go_on(self) -> None:
        self._turns.run(self._source.subscriber, self._step, b"")

    def _step(self, _: bytes) -> None:
        with self._batch:
            self._send(READERS)
        if self._at < len(self._readers):
            self._turns.add_first(self._source.subscriber, self._go_on)
        else:
            self._sender.release(self._source, self._size)
            self._done()

    def _send(self, number: int) -> None:
        for reader in self._readers[self._at : self._at + number]:
            reader.send(self._frame)
        self._at += number
