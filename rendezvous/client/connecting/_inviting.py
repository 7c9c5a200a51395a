"""Who wants to connect: pulses keep this client reachable, and invitations are asked for over HTTP."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from rendezvous.client._backoff import retry_delay
from rendezvous.client._latch import Latch
from rendezvous.client.attempts import LONGEST_WAIT, Invitation
from rendezvous.client.connecting._host import Host
from rendezvous.client.errors import ClientError, ClientGone, NotOffered, NotRegistered
from rendezvous.client.keepalive import KeepAlive
from rendezvous.core.tokenbucket import TokenBucket

__all__ = ["Invitations"]

PULSE_TIME = 2.0
"""Seconds that the answer to a pulse is waited for. A client whose pulses get none is reached over HTTP alone."""

HINT_TIME = 0.2
"""Seconds after an invitation by datagram, in which the one over HTTP should come; then it is asked for again."""

MAX_INVITATIONS = 16
"""Invitations of one answer that are read: the server keeps no more for one client."""

QUESTION_RATE, QUESTIONS = 2.0, 20.0
"""Questions for invitations: in a second, and at once. A server holds a question if there is no invitation."""

HINT_RATE, HINTS = 0.5, 4.0
"""Invitations by datagram that make this client ask again: in a second, and at once. They may be copies that an
eavesdropper sends."""

LONGEST_PAUSE = 60.0
"""Seconds between two questions at most, if the server cannot be reached. An invitation by datagram ends the pause."""


class Invitations:
    """
    Keeps the client registered, and reports each invitation once.

    A request that the server holds brings an invitation, and so does a datagram. So one gets here also if the server
    holds no further requests, or if UDP is blocked.

    :param host: this host.
    :param on_invitation: called with each invitation.
    :param on_gone: called with the error when the server no longer knows the client.
    """

    _log = Logger()

    def __init__(
        self,
        host: Host,
        on_invitation: Callable[[Invitation], None],
        on_gone: Callable[[ClientGone], object] | None,
    ) -> None:
        self._host = host
        self._on_invitation = on_invitation
        self._on_gone = on_gone
        self._pulses: KeepAlive | None = None
        self._asking: Deferred[None] | None = None
        self._pause: Deferred[None] | None = None
        self._ready = Latch()
        self._is_online = self._is_answered = False
        self._late: IDelayedCall | None = None
        self._hint: IDelayedCall | None = None
        self._since: int | None = None
        self._seen: dict[bytes, None] = {}
        self._questions, self._hints = TokenBucket(QUESTION_RATE, QUESTIONS), TokenBucket(HINT_RATE, HINTS)
        self._stopping: Deferred[None] = succeed(None)

    def start(self) -> None:
        """Begin, if that has not been done."""
        if self._pulses is not None:
            return
        host = self._host
        self._pulses = KeepAlive(
            host.client,
            host.identity,
            host.client.host,
            host.reactor,
            random=host.random.random,
            signed=True,
            on_gone=self._gone,
            on_invitation=self._hinted,
        )
        self._ready = Latch()
        self._is_online = self._is_answered = False
        self._begin_pulses(self._pulses)
        self._begin_asking()

    def when_ready(self) -> Deferred[None]:
        """
        Wait until peers can connect.

        :returns: fires when the server has answered over HTTP, and has taken a pulse, or taken none for
            :data:`PULSE_TIME`; fails with ``ClientGone`` when it does not know the client, and with ``NotOffered`` when
            clients cannot connect with its help.
        """
        return self._ready.wait()

    def network_changed(self) -> None:
        """Send a pulse from a new socket, and ask over a new connection, at once."""
        pulses = self._pulses
        if pulses is None:
            return
        self._stop_asking()
        pulses.stopService().addCallback(lambda _: self._begin_pulses(pulses) if self._pulses is pulses else None)
        self._begin_asking()

    def stop(self) -> Deferred[None]:
        """:returns: fires when the socket of the pulses is closed."""
        pulses, self._pulses = self._pulses, None
        self._stop_asking()
        self._ready.set(CancelledError)
        if pulses is not None:
            self._stopping = pulses.stopService()
        stopped: Deferred[None] = Deferred()
        self._stopping.chainDeferred(stopped)
        self._stopping = succeed(None)
        return stopped

    def _begin_pulses(self, pulses: KeepAlive) -> None:
        pulses.startService()
        pulses.whenOnline().addCallbacks(self._online, self._not_online)

    def _online(self, _: object) -> None:
        self._is_online = True
        if self._is_answered:
            self._ready.set()

    def _not_online(self, failure: Failure) -> None:
        if failure.check(ClientGone):
            self._ready.set(ClientGone)

    def _not_offered(self, error: NotOffered) -> None:
        self._ready.set(lambda: error)

    def _begin_asking(self) -> None:
        self._asking = Deferred.fromCoroutine(self._ask())
        self._asking.addErrback(self._stopped)

    def _stop_asking(self) -> None:
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
        for timer in (self._late, self._hint):
            if timer is not None and timer.active():
                timer.cancel()
        self._late = self._hint = None

    async def _ask(self) -> None:
        failures = 0
        wait = 0.0
        while True:
            try:
                found = await self._host.client.attempts.invitations(self._host.identity, wait=wait, since=self._since)
            except NotRegistered:
                return  # The pulses report it.
            except NotOffered as error:
                self._not_offered(error)
                return
            except ClientError as error:
                # Another server process may count anew. What was seen is not reported again.
                self._since = None
                failures += 1
                self._log.debug("Invitations cannot be asked for: {error}", error=error)
                await self._rest(retry_delay(LONGEST_PAUSE, failures, self._host.random.random()))
                continue
            failures = 0
            wait = LONGEST_WAIT - 5
            self._answered()
            # The connection of this answer can be used again in the next turn of the reactor.
            await deferLater(self._host.reactor, 0)
            while not self._questions.take(self._host.now()):
                await deferLater(self._host.reactor, 1 / QUESTION_RATE)
            for invitation in found[:MAX_INVITATIONS]:
                self._since = max(invitation.seq, self._since or 0)
                self._take(invitation)

    def _answered(self) -> None:
        """The server can be asked: that is enough, if it takes no pulse."""
        self._is_answered = True
        if self._is_online:
            self._ready.set()
        if self._late is None and not self._ready.is_set:
            self._late = self._host.reactor.callLater(PULSE_TIME, self._ready.set)

    async def _rest(self, delay: float) -> None:
        self._pause = deferLater(self._host.reactor, delay)
        try:
            await self._pause
        except CancelledError:
            if self._asking is None:
                raise
        finally:
            self._pause = None

    def _take(self, invitation: Invitation) -> None:
        if invitation.attempt in self._seen:
            return
        self._seen[invitation.attempt] = None
        if len(self._seen) > 64:
            del self._seen[next(iter(self._seen))]
        self._on_invitation(invitation)

    def _hinted(self, attempt: bytes) -> None:
        """An invitation has come by datagram: a pause is over, or a request that waits may have lost its answer."""
        if attempt in self._seen or not self._hints.take(self._host.now()):
            return
        if self._pause is not None:
            self._pause.cancel()
        elif self._hint is None or not self._hint.active():
            self._hint = self._host.reactor.callLater(HINT_TIME, self._ask_again, attempt)

    def _ask_again(self, attempt: bytes) -> None:
        if attempt not in self._seen and self._asking is not None:
            self._stop_asking()
            self._begin_asking()

    def _gone(self, error: ClientGone) -> None:
        if self._on_gone is not None:
            self._on_gone(error)

    def _stopped(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("Invitations are not asked for any more", failure=failure)
