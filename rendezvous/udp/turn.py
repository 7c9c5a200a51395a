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
    """Has a descriptor from which datagrams are read."""

    def fileno(self) -> int:
        """:returns: the descriptor."""

    def read(self, at_most: int) -> int:
        """
        Read datagrams.

        :param at_most: how many are still wanted in this turn. It may be exceeded by a number that is bounded.
        :returns: how many there were.
        """


@implementer(IReadDescriptor)
class SharedTurn:
    """
    Descriptors that are read in one turn of the reactor together: some :data:`DATAGRAMS_A_TURN` datagrams from all of
    them. Those that are left have their turn before the others are read again.

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
        """Say whether a member is read."""
        return self._members.get(member.fileno()) is member

    def add(self, member: Member) -> None:
        """Read from a member, if that is not done already."""
        if member not in self:
            self._poll.register(member, select.EPOLLIN)
            self._members[member.fileno()] = member
            self._reactor.addReader(self)

    def remove(self, member: Member) -> None:
        """Read no more from a member, if that was done. It is to be removed before its descriptor is closed."""
        if member in self:
            self._poll.unregister(member)
            del self._members[member.fileno()]
            if not self._members:
                self._reactor.removeReader(self)

    # A reader

    def fileno(self) -> int:
        """:returns: a descriptor that can be read when one of the members can."""
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
