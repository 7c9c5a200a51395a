"""Ends the requests that wait and the WebSockets of a network when it is banned."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from rendezvous.core.bans import Bans
from rendezvous.errors import Forbidden
from rendezvous.web.held import HeldRequest, HeldRequests
from rendezvous.web.sockets.socket import Socket
from rendezvous.web.sockets.sockets import Sockets

__all__ = ["BANNED", "ENDED", "LOOKED_AT", "BanEnforcement"]

#: The close code of a WebSocket whose network is banned: 4000 and the HTTP status.
BANNED = 4403

#: Requests and sockets that one turn of the reactor looks at, and that it ends: some 2 ms and 5 ms.
LOOKED_AT, ENDED = 1000, 50


class BanEnforcement:
    """
    Looks at all requests that wait and at all sockets when a network is banned, some in each turn of the reactor.

    Later requests are refused by the gate.

    :param bans: the bans.
    :param clock: server time.
    """

    def __init__(self, bans: Bans, clock: IReactorTime, held: HeldRequests, sockets: Sockets) -> None:
        self._bans, self._clock, self._held, self._sockets = bans, clock, held, sockets
        self._left: deque[HeldRequest | Socket] = deque()
        self._next: IDelayedCall | None = None

    def begin(self) -> None:
        """Look at all that is open now. If this is under way already, it begins again."""
        self._left = deque([*self._held, *self._sockets])
        if self._next is None:
            self._go_on()

    def stop(self) -> None:
        """Look at nothing more."""
        self._left.clear()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _go_on(self) -> None:
        self._next = None
        ended = looked = 0
        while self._left and ended < ENDED and looked < LOOKED_AT:
            looked += 1
            ended += self._look(self._left.popleft())
        if self._left:
            self._next = self._clock.callLater(0.0, self._go_on)

    def _look(self, each: Any) -> bool:
        """:returns: whether it was ended."""
        try:
            self._bans.check_host(each.host, self._clock.seconds())
        except Forbidden as error:
            if isinstance(each, Socket):
                each.close(BANNED, error.code)
            elif each in self._held:
                each.end(error)
            return True
        return False
