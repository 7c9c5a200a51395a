"""Who wants to connect: pulses keep this client reachable, and invitations are asked for over HTTP."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from rendezvous.client._backoff import retry_delay
from rendezvous.client._host import Host
from rendezvous.client.attempts import LONGEST_WAIT, Invitation
from rendezvous.client.errors import ClientError, ClientGone, NotRegistered
from rendezvous.client.keepalive import KeepAlive

__all__ = ["Invitations"]

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
        self._since: int | None = None
        self._seen: dict[bytes, None] = {}
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
            random=host.chance.random,
            signed=True,
            on_gone=self._gone,
            on_invitation=self._hinted,
        )
        self._pulses.startService()
        self._asking = Deferred.fromCoroutine(self._ask())
        self._asking.addErrback(self._stopped)

    def when_online(self) -> Deferred[None]:
        """:returns: fires when the server has taken a pulse; fails with ``ClientGone`` when the client is unknown."""
        if self._pulses is None:
            raise RuntimeError("it has not been started")
        return self._pulses.whenOnline()

    def network_changed(self) -> None:
        """Send a pulse from a new socket at once."""
        if self._pulses is not None:
            pulses = self._pulses
            pulses.stopService().addCallback(lambda _: pulses.startService() if self._pulses is pulses else None)
            self._hinted(b"")

    def stop(self) -> Deferred[None]:
        """:returns: fires when the socket of the pulses is closed."""
        pulses, self._pulses = self._pulses, None
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
        if pulses is not None:
            self._stopping = pulses.stopService()
        stopped: Deferred[None] = Deferred()
        self._stopping.chainDeferred(stopped)
        self._stopping = succeed(None)
        return stopped

    async def _ask(self) -> None:
        failures = 0
        while True:
            try:
                found = await self._host.client.attempts.invitations(
                    self._host.identity, wait=LONGEST_WAIT - 5, since=self._since
                )
            except NotRegistered:
                return  # The pulses report it.
            except ClientError as error:
                # Another server process may count anew. What was seen is not reported again.
                self._since = None
                failures += 1
                self._log.debug("Invitations cannot be asked for: {error}", error=error)
                await self._rest(retry_delay(LONGEST_PAUSE, failures, self._host.chance.random()))
                continue
            failures = 0
            for invitation in found:
                self._since = max(invitation.seq, self._since or 0)
                self._take(invitation)

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
        """An invitation has come by datagram: a pause is over."""
        if self._pause is not None and attempt not in self._seen:
            self._pause.cancel()

    def _gone(self, error: ClientGone) -> None:
        if self._on_gone is not None:
            self._on_gone(error)

    def _stopped(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("Invitations are not asked for any more", failure=failure)
