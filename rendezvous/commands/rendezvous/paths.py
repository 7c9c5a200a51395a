"""
What the subcommands need of the client library, and what they do with every path; listening.

What travels over a path is up to a :class:`Carrier`: lines, or the datagrams of other programs.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Protocol
from urllib.parse import urlsplit

import attrs

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.task import LoopingCall

from rendezvous.commands.rendezvous.arguments import NOT_ENCRYPTED, PLAIN_HTTP
from rendezvous.commands.rendezvous.context import Context
from rendezvous.commands.rendezvous.output import Output

__all__ = ["Carrier", "Connector", "Path", "Paths", "listen", "warn", "with_progress"]

_VIA = {
    "lan": "in the local network",
    "ipv6": "directly over IPv6",
    "mapped": "directly through a port mapping",
    "direct": "directly",
    "birthday": "directly, after birthday probing",
    "relay": "through a relay",
}


class Path(Protocol):
    """
    A path of the client library.

    :ivar peer: the id of the peer.
    :ivar via: lan, ipv6, mapped, direct, birthday or relay.
    :ivar ms: how long it took to connect, in milliseconds.
    :ivar address: where datagrams go now.
    :ivar on_datagram: called with each payload.
    :ivar on_path_changed: called with the path when ``via`` or ``address`` has changed.
    :ivar on_lost: called with the reason when nothing works any more.
    :ivar on_closed: called when the peer has closed the path.
    """

    peer: str
    on_datagram: Callable[[bytes], object]
    on_path_changed: Callable[[Any], object]
    on_lost: Callable[[str], object]
    on_closed: Callable[[], object]

    @property
    def via(self) -> str: ...  # noqa: D102 - see the class
    @property
    def ms(self) -> float: ...  # noqa: D102
    @property
    def address(self) -> tuple[str, int]: ...  # noqa: D102
    def send(self, payload: bytes) -> None: ...  # noqa: D102
    def close(self) -> Deferred[None]: ...  # noqa: D102


class Connector(Protocol):
    """The part of the client library that makes paths."""

    def prepare(self) -> Deferred[None]: ...  # noqa: D102
    def connect(self, peer_id: str) -> Deferred[Any]: ...  # noqa: D102
    def listen(self, on_path: Callable[[Any], object], allow: Callable[[str], bool]) -> Deferred[None]: ...  # noqa: D102
    def close(self) -> Deferred[None]: ...  # noqa: D102


class Carrier(Protocol):
    """
    What a subcommand sends over its paths.

    :ivar finished: fires when it has nothing more to do, so that the command ends well.
    """

    finished: Deferred[None]

    def opened(self, path: Path) -> None:
        """Begin to use a path."""
        ...

    def received(self, path: Path, payload: bytes) -> None:
        """Take a payload that the peer has sent."""
        ...

    def closed(self, path: Path) -> None:
        """Use a path no more."""
        ...

    async def stop(self) -> None:
        """Free what it has opened."""
        ...


@attrs.define
class Paths:
    """
    The open paths, one for each peer.

    :ivar most: how many there may be.
    :ivar on_end: called when a path has ended, with the reason if it was lost.
    """

    output: Output
    carrier: Carrier
    most: int
    on_end: Callable[[str | None], object]
    _open: dict[str, Path] = attrs.field(factory=dict, init=False)

    def has_room(self, peer: str) -> bool:
        """:returns: whether a path of this peer would be used. A new path of a peer replaces its old one."""
        return peer in self._open or len(self._open) < self.most

    @property
    def are_none(self) -> bool:
        """:returns: whether no path is open."""
        return not self._open

    def add(self, path: Path) -> None:
        """Use a new path, or close it if there are enough."""
        if not self.has_room(path.peer):
            path.close()
            return
        old = self._open.get(path.peer)
        if old is not None:
            self._remove(old)
            old.close()
        self._open[path.peer] = path
        host, port = path.address
        self.output.event(
            "connected",
            f"Connected to {path.peer} {_via(path)}, {host} port {port}, after {path.ms:.0f} ms.",
            peer=path.peer,
            ms=round(path.ms),
            via=path.via,
            address=_address(path),
            encrypted=False,
        )
        path.on_datagram = lambda payload: self._received(path, payload)
        path.on_path_changed = lambda _: self._changed(path)
        path.on_lost = lambda reason: self._ended(path, reason)
        path.on_closed = lambda: self._ended(path, None)
        self.carrier.opened(path)

    async def close(self) -> None:
        """Close all paths, in order."""
        for path in list(self._open.values()):
            self._remove(path)
            await path.close()

    def _received(self, path: Path, payload: bytes) -> None:
        if self._open.get(path.peer) is path:
            self.carrier.received(path, payload)

    def _changed(self, path: Path) -> None:
        if self._open.get(path.peer) is path:
            host, port = path.address
            text = f"The path to {path.peer} now goes {_via(path)}, {host} port {port}."
            self.output.event("path", text, peer=path.peer, via=path.via, address=_address(path))

    def _ended(self, path: Path, reason: str | None) -> None:
        if self._open.get(path.peer) is path:
            self._remove(path, reason)
            self.on_end(reason)

    def _remove(self, path: Path, reason: str | None = None) -> None:
        del self._open[path.peer]
        self.carrier.closed(path)
        text = f"The path to {path.peer} is closed." if reason is None else f"The path to {path.peer} is lost. {reason}"
        self.output.event("closed", text, peer=path.peer, **({} if reason is None else {"reason": reason}))


async def listen(context: Context, carrier: Carrier, most: int) -> int:
    """
    Take paths from peers until the command is interrupted.

    :param most: how many peers at once.
    :returns: the exit status.
    :raises ClientError: the server cannot be asked.
    """
    output, allowed = context.output, frozenset(context.options.allow)
    paths = Paths(output, carrier, most, lambda reason: None)
    listening = _Listening(context, paths, lambda peer: paths.has_room(peer) and (not allowed or peer in allowed))
    try:
        await context.account.lock()
        warn(context)
        if not allowed:
            output.warn("Anyone who knows the id may connect. --allow ID admits only the peers that it names.")
        while not carrier.finished.called:
            await listening.begin()
            await DeferredList([carrier.finished, listening.gone], fireOnOneCallback=True, consumeErrors=True)
    except CancelledError:
        if listening.begun == 0:
            raise
    finally:
        await paths.close()
        await listening.close()
        await carrier.stop()
        context.account.release()
    return 0


@attrs.define
class _Listening:
    """
    Listens under an identity that the server knows, and under a new one when it is forgotten.

    :ivar gone: fires when the server has forgotten the client.
    :ivar begun: how often it has begun.
    """

    context: Context
    paths: Paths
    allow: Callable[[str], bool]
    gone: Deferred[None] = attrs.field(factory=Deferred, init=False)
    begun: int = attrs.field(default=0, init=False)
    _connectors: list[Connector] = attrs.field(factory=list, init=False)

    async def begin(self) -> None:
        """Listen. Paths from before go on, and so do the connectors that they belong to."""
        if self.paths.are_none:
            await self.close()
        identity = await self.context.account.sign_in_with_facts()
        gone: Deferred[None] = Deferred()
        self.gone = gone
        connector = self.context.make_connector(identity, lambda _: None if gone.called else gone.callback(None))
        self._connectors.append(connector)
        await with_progress(self.context, "Waiting for the server", connector.listen(self.paths.add, self.allow))
        self.begun += 1
        self.context.output.event("listening", f"Listening as {identity.client_id}", id=identity.client_id)

    async def close(self) -> None:
        """Listen no more."""
        while self._connectors:
            await self._connectors.pop().close()


def warn(context: Context) -> None:
    """Say what the user must not rely on."""
    context.output.warn(NOT_ENCRYPTED)
    parts = urlsplit(context.options.server)
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        context.output.warn(PLAIN_HTTP)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def with_progress(context: Context, text: str, work: Deferred[Any]) -> Any:
    """:returns: what the work gives; each second it is shown for how long it has been going on."""
    began = context.reactor.seconds()
    ticks = LoopingCall(lambda: context.output.progress(f"{text} ({context.reactor.seconds() - began:.0f} s)"))
    ticks.clock = context.reactor
    ticks.start(1.0)
    try:
        return await work
    finally:
        ticks.stop()


def _via(path: Path) -> str:
    return _VIA.get(path.via, path.via)


def _address(path: Path) -> str:
    host, port = path.address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
