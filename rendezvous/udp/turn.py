"""One turn of the reactor for all that UDP workers leave to the main process, however many workers there are."""

from __future__ import annotations

import select
from typing import Any, Protocol

from zope.interface import implementer

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure

from rendezvous.udp.port import DATAGRAMS_A_TURN

__all__ = ["Member", "SharedTurn"]


class Member(Protocol):
    """A descriptor from which datagrams are read: a socket of a worker, or the pair that it uses to hand them over."""

    def fileno(self) -> int:
        """:returns: the descriptor."""

    def read(self, at_most: int) -> int:
        """
        Read datagrams.

        :param at_most: how many are still wanted in this turn. More may be read, by a bounded number such as the rest
            of a batch.
        :returns: how many were read.
        """


@implementer(IReadDescriptor)
class SharedTurn:
    """
    Reads several descriptors in one turn of the reactor: some :data:`~rendezvous.udp.port.DATAGRAMS_A_TURN` datagrams
    from all of them together. The descriptors that were not reached come first in the next turns.

    Example: eight workers each hand over 1000 datagrams. The main process takes about 100 of one worker, then answers
    HTTP requests, then takes 100 of the next worker.

    :param reactor: provides ``IReactorFDSet``.
    :raises OSError: the process has no descriptor left.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._poll = select.epoll()
        self._members: dict[int, Member] = {}

    def __contains__(self, member: Member) -> bool:
        """:returns: whether a member is read."""
        return self._members.get(member.fileno()) is member

    def add(self, member: Member) -> None:
        """
        Read from a member. If that is done already, nothing changes.

        :raises OSError: the system cannot watch its descriptor.
        """
        if member not in self:
            self._poll.register(member, select.EPOLLIN)
            self._members[member.fileno()] = member
            self._reactor.addReader(self)

    def remove(self, member: Member) -> None:
        """Read no more from a member, if it was read. Call this before its descriptor is closed."""
        if member in self:
            self._poll.unregister(member)
            del self._members[member.fileno()]
            if not self._members:
                self._reactor.removeReader(self)

    # A reader

    def fileno(self) -> int:
        """:returns: the descriptor of ``epoll``, which can be read when one of the members can."""
        return self._poll.fileno()

    def logPrefix(self) -> str:
        """:returns: how Twisted's log calls this."""
        return "UDP workers"

    def connectionLost(self, reason: Failure) -> None:
        """Do nothing: the descriptors are closed by those who have opened them."""

    def doRead(self) -> None:
        """Read from the members that can be read."""
        left = DATAGRAMS_A_TURN
        while left > 0:
            # One at a time: the system then gives each its turn (epoll_wait(2), notes).
            ready = self._poll.poll(0, 1)
            if not ready:
                return
            left -= max(1, self._members[ready[0][0]].read(left))
