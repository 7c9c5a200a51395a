"""Sends what is due for attempts to connect: invitations and address checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from rendezvous.core.addresses import Address
from rendezvous.core.attempts.attempt import Facilities, Invite
from rendezvous.core.attempts.table import Due
from rendezvous.core.connect import Strategy
from rendezvous.counters import Counters
from rendezvous.interfaces import IStore

__all__ = ["ATTEMPTS", "Inviting", "Sends"]

ATTEMPTS = "attempts to connect"
"""The family of attempts that have ended, by the mappings of both NATs and what came of it."""

#: Seconds between two rounds at least, so that much that is due does not keep the reactor from serving others.
PAUSE = 0.005
#: Seconds after which a round ends, and how often it asks the store at most.
BUDGET, SLICES = 0.003, 5


class Sends(Protocol):
    """Sends datagrams to clients; it never raises."""

    def send_invitation(self, client_id: bytes, attempt: bytes, nonce: bytes) -> object:
        """Send an invitation to the address that the pulses of a client come from."""

    def send_check(self, client_id: bytes, attempt: bytes, nonce: bytes, address: Address) -> object:
        """Send an address check from the last UDP port."""


class Inviting(Service):
    """
    Does what is due for attempts, when it is due. While there are none, it does nothing.

    :param clock: server time, and timers.
    :param sends: sends datagrams; ``None`` if the protocol is off. Then attempts of before still come to their end.
    :param counters: where attempts that have ended are counted.
    :param facilities: gives what the server has for clients that connect.
    :param random: gives that many random bytes.
    """

    log = Logger()

    def __init__(
        self,
        store: IStore,
        clock: IReactorTime,
        sends: Sends | None,
        counters: Counters,
        facilities: Callable[[], Facilities],
        random: Callable[[int], bytes],
    ) -> None:
        self._store = store
        self._clock = clock
        self._sends = sends
        self._ended = counters.family(ATTEMPTS)
        self._durations = counters.durations(ATTEMPTS, ("", *Strategy))
        self._facilities = facilities
        self._random = random
        self._call: IDelayedCall | None = None
        self._is_busy = False

    def startService(self) -> None:
        """Begin; attempts that were read back from the store go on."""
        super().startService()
        self._store.on_attempts_due(self._wake)
        self._run()

    def stopService(self) -> None:
        """Send nothing any more."""
        super().stopService()
        self._cancel()

    def _wake(self) -> None:
        """Look in another turn of the reactor: this is called in the middle of a decision."""
        if self.running and not self._is_busy:
            self._look_in(0.0)

    def _look_in(self, seconds: float) -> None:
        self._cancel()
        self._call = self._clock.callLater(seconds, self._run)

    def _cancel(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def _run(self) -> None:
        self._call = None
        self._is_busy = True
        Deferred.fromCoroutine(self._look()).addErrback(self._failed)

    async def _look(self) -> None:
        try:
            self._store.use_facilities(self._facilities())
            began = self._clock.seconds()
            for _ in range(SLICES):
                due = await self._store.attempts_due(self._clock.seconds())
                self._send(due)
                now = self._clock.seconds()
                if due.next is None or due.next > now or now - began > BUDGET:
                    break
        finally:
            self._is_busy = False
        if due.next is not None and self.running:
            self._look_in(max(PAUSE, due.next - now))

    def _send(self, due: Due) -> None:
        for ended in due.ended:
            self._ended[ended] += 1
            self._durations[ended.strategy or ""].observe(ended.seconds)
        sends = self._sends
        if sends is None:
            return
        for each in due.sends:
            if isinstance(each, Invite):
                sends.send_invitation(each.client_id, each.attempt, self._random(4))
            else:
                sends.send_check(each.client_id, each.attempt, each.nonce, each.address)

    def _failed(self, failure: Failure) -> None:
        self.log.failure(
            "what is due for attempts could not be sent; it is tried again", failure, event="attempts_failed"
        )
        if self.running:
            self._look_in(1.0)
