"""
The peers of the PeerServer protocol: who has which id, and the messages that wait for a peer that is not there yet.

A peer is there while its socket is. Nothing else is kept of it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable
from enum import Enum
from hmac import compare_digest
from typing import Generic, TypeVar

import attrs

from rendezvous.core.shares import Shares
from rendezvous.core.signaling.memory import text_size
from rendezvous.core.sources import SourceNetwork
from rendezvous.errors import Full, TooMany

__all__ = ["PROBE_TIME", "QUEUE_TIME", "SILENCE_TIME", "Arrival", "Message", "Peers", "why_refused"]

#: Seconds for which messages wait for a peer.
QUEUE_TIME = 5.0

#: Seconds that the socket of a peer has to answer a ping when another peer wants its id.
PROBE_TIME = 2.0

#: Seconds without a message after which a peer is gone. PeerJS sends one every five seconds.
SILENCE_TIME = 90.0

#: Bytes that a waiting message takes besides its payload and the id of its receiver, with a queue of its own.
OVERHEAD = 600

Link = TypeVar("Link", bound=Hashable)


class Arrival(Enum):
    """What became of a peer that has come."""

    OPEN = "open"  # The id is its own now.
    BACK = "back"  # It had the id already, and has another socket now.
    TAKEN = "taken"  # Another peer has the id.


@attrs.frozen
class Message:
    """
    What one peer has to say to another.

    :ivar kind: ``OFFER``, ``ANSWER``, ``CANDIDATE``, ``LEAVE`` or ``EXPIRE``.
    :ivar source: the id of the sender.
    :ivar target: the id of the receiver.
    :ivar payload: JSON in UTF-8, or ``None``.
    """

    kind: str
    source: str
    target: str
    payload: bytes | None = None

    @property
    def waits(self) -> bool:
        """:returns: whether it waits for a peer that is not there."""
        return self.kind not in ("LEAVE", "EXPIRE")


@attrs.frozen
class _Waiting:
    message: Message
    network: SourceNetwork
    size: int


@attrs.define
class _Queue:
    ends_at: float
    messages: list[_Waiting] = attrs.Factory(list)
    size: int = 0


def why_refused(peer: str, token: str, key: str, expected: str, most: int) -> str | None:
    """
    Check what a peer says of itself when it connects.

    :param peer: the id that it wants.
    :param expected: the key of the server.
    :param most: characters that an id and a token may have.
    :returns: why it cannot be let in, in the words of PeerServer where it has some; ``None`` if it can.
    """
    if not (peer and token and key):
        return "No id, token, or key supplied to websocket server"
    if max(len(peer), len(token)) > most:
        return f"An id or a token has more than {most} characters"
    return None if key == expected else "Invalid key provided"


class Peers(Generic[Link]):
    """
    All peers with their sockets.

    :param memory: bytes of all messages that wait.
    :param of_peer: bytes of those that wait for one peer.
    :param shares: the bytes that wait of each source.
    :ivar shares: as given.
    """

    def __init__(self, memory: int, of_peer: int, shares: Shares) -> None:
        self._memory, self._of_peer = memory, of_peer
        self.shares = shares
        self._peers: dict[str, tuple[str, Link]] = {}
        # By the id that they wait for, in the order in which their time ends.
        self._queues: OrderedDict[str, _Queue] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        """:returns: how many peers are there."""
        return len(self._peers)

    @property
    def waiting(self) -> int:
        """:returns: bytes of the messages that wait."""
        return self._size

    def ids(self) -> Collection[str]:
        """:returns: the ids of those that are there."""
        return self._peers.keys()

    def link(self, peer: str) -> Link | None:
        """:returns: the socket of a peer, if it is there."""
        found = self._peers.get(peer)
        return None if found is None else found[1]

    def arrive(self, peer: str, token: str, link: Link) -> tuple[Arrival, Link | None]:
        """
        Give a peer its id.

        :param token: what it shows that it has had the id before.
        :returns: what became of it, and the socket that had the id. It is to be closed, unless the id is taken.
        """
        found = self._peers.get(peer)
        if found is None:
            self._peers[peer] = token, link
            return Arrival.OPEN, None
        if not compare_digest(found[0].encode(), token.encode()):
            return Arrival.TAKEN, found[1]
        self._peers[peer] = token, link
        return Arrival.BACK, found[1]

    def take(self, peer: str) -> list[Message]:
        """:returns: the messages that have waited for a peer. They wait no more."""
        queue = self._queues.pop(peer, None)
        return [] if queue is None else self._forget(queue)

    def leave(self, peer: str, link: Link) -> None:
        """Forget a peer, if this is still its socket."""
        if self.link(peer) is link:
            del self._peers[peer]

    def keep(self, message: Message, network: SourceNetwork, now: float) -> None:
        """
        Keep a message until its receiver is there, or :data:`QUEUE_TIME` is over.

        :param network: of the sender, which is charged for it.
        :raises TooMany: as much of the sender's network, or for the receiver, waits as may.
        :raises Full: as much of all waits as may.
        """
        size = OVERHEAD + text_size(message.target) + len(message.payload or b"")
        queue = self._queues.get(message.target) or _Queue(now + QUEUE_TIME)
        if queue.size + size > self._of_peer:
            raise TooMany("Too many messages wait for this peer.", code="peer-messages")
        self.shares.check(network, size)
        if self._size + size > self._memory:
            raise Full("The server keeps as many messages as it can.", code="full-messages", holder=self.shares.largest)
        self.shares.add(network, size)
        self._size += size
        queue.size += size
        queue.messages.append(_Waiting(message, network, size))
        self._queues[message.target] = queue

    def due(self) -> float | None:
        """:returns: when :meth:`expire` has something to do, if ever."""
        first = next(iter(self._queues.values()), None)
        return None if first is None else first.ends_at

    def expire(self, now: float, most: int) -> list[Message]:
        """
        Forget messages that have waited for too long.

        :param most: messages that are looked at; the rest is left to the next call.
        :returns: an ``EXPIRE`` for each pair of a sender and a receiver, from the receiver to the sender.
        """
        expired: dict[tuple[str, str], Message] = {}
        while self._queues and most > 0:
            peer, queue = next(iter(self._queues.items()))
            if queue.ends_at > now:
                break
            del self._queues[peer]
            for message in self._forget(queue):
                expired[message.source, message.target] = Message("EXPIRE", message.target, message.source)
                most -= 1
        return list(expired.values())

    def _forget(self, queue: _Queue) -> list[Message]:
        for waiting in queue.messages:
            self.shares.remove(waiting.network, waiting.size)
        self._size -= queue.size
        return [waiting.message for waiting in queue.messages]
