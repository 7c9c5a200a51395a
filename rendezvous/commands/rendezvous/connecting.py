"""Connecting to the peer that the options name, once or again and again."""

from __future__ import annotations

from itertools import chain, repeat

import attrs

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from rendezvous.client import ClientError, PeerNotFound
from rendezvous.commands.rendezvous.context import Context
from rendezvous.commands.rendezvous.errors import CommandError, described
from rendezvous.commands.rendezvous.paths import Carrier, Connector, Path, Paths, warn, with_progress

__all__ = ["connect"]

#: Seconds before each attempt to connect again, of which up to a fifth is added or left off. The last one is repeated.
_PAUSES = (1, 2, 4, 8, 16, 30)

_LOST = "path-lost"


async def connect(context: Context, carrier: Carrier, *, again: bool = False) -> int:
    """
    Connect to the peer that the options name, and use the path until it ends.

    :param again: whether to connect again after the path was lost, until the peer is gone.
    :returns: the exit status: 0 if the connection ended well, by either side; 1 if there is no path.
    :raises CommandError: the path was lost.
    :raises ClientError: the server cannot be asked; or the peer is gone, after the path was lost.
    """
    account, is_connected = context.account, False
    try:
        await account.lock()
        identity = await account.sign_in_with_facts()
        warn(context)
        connector = context.make_connector(identity, _ignore)

        def on_end(reason: str | None) -> None:
            if carrier.finished.called:
                return
            if reason is None:
                carrier.finished.callback(None)
            elif again:
                connecting.begin_again(reason)
            else:
                carrier.finished.errback(CommandError(_LOST, reason))

        paths = Paths(context.output, carrier, 1, on_end)
        connecting = _Connecting(context, paths, carrier.finished, identity.client_id, connector)
        try:
            path = await connecting.first()
            if path is None:
                return 1
            is_connected = True
            paths.add(path)
            await carrier.finished
        finally:
            await paths.close()
            await connecting.close()
    except CancelledError:
        if not is_connected:
            raise
    finally:
        await carrier.stop()
        account.release()
    return 0


@attrs.define
class _Connecting:
    """
    Connects, and connects again after a path was lost.

    :ivar paths: takes each new path.
    :ivar finished: fails if there will be no path any more.
    :ivar client_id: under which this client connects.
    """

    context: Context
    paths: Paths
    finished: Deferred[None]
    client_id: str
    connector: Connector
    _work: Deferred[None] | None = attrs.field(default=None, init=False)

    async def first(self) -> Path | None:
        """:returns: the path; ``None`` if there is none, and this has been said."""
        context = self.context
        await with_progress(context, "Asking the server", self.connector.prepare())
        began = context.reactor.seconds()
        try:
            return await self._connect()
        except ClientError as error:
            took = round((context.reactor.seconds() - began) * 1000)
            context.output.failed(*described(error), peer=context.options.peer, ms=took)
            return None

    def begin_again(self, reason: str) -> None:
        """
        Connect again, until it works or the peer is gone.

        :param reason: why the path was lost.
        """
        self._work = Deferred.fromCoroutine(self._again(reason))
        self._work.addErrback(self._failed)

    async def close(self) -> None:
        """Connect no more."""
        if self._work is not None:
            self._work.cancel()
        await self.connector.close()

    async def _again(self, reason: str) -> None:
        _stay_registered(self.connector)
        why = _LOST, reason
        for nominal in chain(_PAUSES, repeat(_PAUSES[-1])):
            pause = nominal * (0.8 + 0.4 * self.context.random())
            self._say(why, pause)
            await deferLater(self.context.reactor, pause)
            try:
                await self._sign_in()
                path = await self._connect()
            except PeerNotFound:
                raise
            except ClientError as error:
                why = described(error)
            else:
                self.paths.add(path)
                return

    async def _sign_in(self) -> None:
        """Use another identity if the server has forgotten this one."""
        identity = await self.context.account.sign_in_with_facts()
        if identity.client_id != self.client_id:
            await self.connector.close()
            self.client_id, self.connector = identity.client_id, self.context.make_connector(identity, _ignore)
            _stay_registered(self.connector)

    async def _connect(self) -> Path:
        peer = self.context.options.peer
        path: Path = await with_progress(self.context, f"Connecting to {peer}", self.connector.connect(peer))
        return path

    def _say(self, why: tuple[str, str], pause: float) -> None:
        code, reason = why
        peer = self.context.options.peer
        self.context.output.event(
            "reconnecting",
            f"No path to {peer}: {reason.rstrip('.')}. Connecting again in {pause:.0f} s.",
            peer=peer,
            after=round(pause, 1),
            code=code,
            reason=reason,
        )

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError) and not self.finished.called:
            self.finished.errback(failure)


def _stay_registered(connector: Connector) -> None:
    """Have the server keep this client while it has no path, since peers may know its id. No peer is admitted."""
    connector.listen(lambda path: path.close(), lambda peer: False).addErrback(_ignore)


def _ignore(_: object) -> None:
    return None
