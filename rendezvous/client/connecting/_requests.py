"""The requests of one attempt to the server, which are sent again where the network has lost them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import chain, repeat
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from rendezvous.client.attempts import Attempt, AttemptState
from rendezvous.client.connecting._host import ASK_TIMES, Host
from rendezvous.client.errors import ClientError, ConnectFailed, NotFound, ServerUnreachable
from rendezvous.core.connect import Candidate, Via
from rendezvous.core.tokenbucket import TokenBucket

__all__ = ["GIVE_UP", "RETRY", "AttemptRequests"]

RETRY = 0.5
"""Seconds after which a request is sent again when the server could not be reached."""

VIEW_TIME, PATIENCE = 2.0, 1.5
"""Seconds that the server holds the request for a change of an attempt, and that the request may take beside that. A
connection that has lost packets takes longer, and then another one is faster."""

GIVE_UP = 65.0
"""Seconds after which an attempt is given up; the server ends each after 60 s."""

VIEW_RATE, VIEWS = 2.0, 20.0
"""Questions for a change of an attempt: in a second, and at once. A server holds a question if nothing has changed."""


T = TypeVar("T")


class AttemptRequests:
    """
    What this client says to the server about one attempt.

    :param host: this host.
    :ivar attempt: as the server has last described it; ``None`` before its first answer.
    :ivar round_trip: the round trip to the server, in seconds, as the server was given it; ``None`` if it was not.
    """

    _log = Logger()

    def __init__(self, host: Host) -> None:
        self.attempt: Attempt | None = None
        self.round_trip = host.client.round_trip
        self._host = host
        self._attempts, self._identity = host.client.attempts, host.identity
        self._began = host.now()
        self._named: list[Candidate] = []
        self._wanted: list[Candidate] = []
        self._is_naming = False
        self._views = TokenBucket(VIEW_RATE, VIEWS)

    @property
    def seconds(self) -> float:
        """:returns: seconds since the attempt began for this side."""
        return self._host.now() - self._began

    def connect(self, peer_id: str, candidates: list[Candidate]) -> Deferred[Attempt]:
        """
        Ask for an attempt with a peer.

        :returns: fires with the attempt. It can be cancelled, as the others.
        """
        return self._begin(partial(self._attempts.connect, self._identity, peer_id), candidates, invited=False)

    def accept(self, attempt: bytes, candidates: list[Candidate]) -> Deferred[Attempt]:
        """
        Accept an invitation.

        :param attempt: the 8 bytes of its id.
        :returns: fires with the attempt.
        """
        return self._begin(partial(self._attempts.accept, self._identity, attempt), candidates, invited=True)

    def next(self, attempt: Attempt) -> Deferred[Attempt]:
        """
        Wait for a change of the attempt. A server that cannot be reached is asked again.

        :returns: fires with the next version; fails :data:`GIVE_UP` after the beginning of the attempt.
        """
        return Deferred.fromCoroutine(self._next(attempt))

    def name(self, candidates: list[Candidate]) -> None:
        """
        Give the server the candidates of this side, if it does not have them.

        There is one such request at a time, however often a router changes its mind.
        """
        self._wanted = candidates
        if self.attempt is None or self.attempt.state.over or self._is_naming or candidates == self._named:
            return
        self._named, self._is_naming = candidates, True
        naming = self._attempts.candidates(self._identity, self.attempt.id, candidates)
        naming.addBoth(self._end_naming).addCallbacks(lambda _: self.name(self._wanted), self._not_named)

    def report(self, *, via: Via | None, seconds: float, code: str | None, gave_up: bool) -> None:
        """
        Say how the attempt has ended. Whether the server takes it makes no difference.

        :param via: how the path goes, if there is one.
        :param seconds: that it took.
        :param code: why there is none.
        :param gave_up: whether the application has given up.
        """
        attempt = self.attempt
        if attempt is None or attempt.state in (AttemptState.DECLINED, AttemptState.EXPIRED, AttemptState.FAILED):
            return
        if via is not None:
            reporting = self._attempts.done(self._identity, attempt.id, ok=True, seconds=seconds, via=via)
        elif gave_up:
            reporting = self._attempts.end(self._identity, attempt.id)
        else:
            reporting = self._attempts.done(self._identity, attempt.id, ok=False, code=code)
        reporting.addErrback(lambda failure: self._log.debug("The outcome was refused: {why}", why=failure.value))

    def _begin(
        self, ask: Callable[..., Deferred[Attempt]], candidates: list[Candidate], *, invited: bool
    ) -> Deferred[Attempt]:
        self._named = candidates
        request = partial(ask, candidates, rtt=self.round_trip, birthday=self._host.options.birthday)
        return Deferred.fromCoroutine(self._ask(request, invited=invited))

    async def _ask(self, request: Callable[..., Deferred[Attempt]], *, invited: bool) -> Attempt:
        """
        Repeat a request that has got no answer: one too many does no harm.

        :param invited: whether to go on for long, because an invitation outlives a restart of the server.
        """
        times = chain(ASK_TIMES, repeat(None))
        while True:
            asked, patience = self.seconds, next(times)
            try:
                self.attempt = await request(patience=patience)
                return self.attempt
            except ServerUnreachable as error:
                if patience is None and (not invited or self.seconds > GIVE_UP):
                    raise
                self._log.debug("The request is repeated: {error}", error=error)
            await deferLater(self._host.reactor, max(0.0, asked + RETRY - self.seconds))

    async def _next(self, attempt: Attempt) -> Attempt:
        # The connection of the answer before can be used again in the next turn of the reactor.
        pause, trouble = 0.0, None
        while True:
            await deferLater(self._host.reactor, pause)
            while not self._views.take(self._host.now()):
                await deferLater(self._host.reactor, RETRY)
            asked = self.seconds
            if asked > GIVE_UP:
                raise trouble or ConnectFailed(f"The attempt has not ended within {GIVE_UP:.0f} s.", code="expired")
            try:
                self.attempt = await self._attempts.view(
                    self._identity, attempt.id, wait=VIEW_TIME, version=attempt.version, patience=PATIENCE
                )
                return self.attempt
            except NotFound:
                raise
            except ClientError as error:
                trouble = error
                self._log.debug("The attempt is read again: {error}", error=error)
                pause = 0.0 if isinstance(error, ServerUnreachable) and self.seconds - asked > PATIENCE else RETRY

    def _end_naming(self, result: T) -> T:
        self._is_naming = False
        return result

    def _not_named(self, failure: Failure) -> None:
        self._log.debug("Candidates were not taken: {why}", why=failure.value)
        if failure.check(ServerUnreachable):
            self._named = []  # They are given with the next version of the attempt.
