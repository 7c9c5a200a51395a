"""Stand-ins for the paths of the client library, and for stdin and stdout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TextIO

import attrs

from twisted.internet.defer import Deferred, succeed

from rendezvous.client import ClientError, Identity
from rendezvous.commands.rendezvous.console import ConsoleEvents
from rendezvous.commands.rendezvous.context import Command, Context
from tests._command_case import CommandCase

ALICE, BOB, CAROL = "a1" * 16, "b0" * 16, "ca" * 16


def _ignore(*_: object) -> None:
    return None


@attrs.define(eq=False)
class FakePath:
    """
    A path.

    :ivar sent: payloads.
    :ivar closed: whether this side has closed it.
    """

    peer: str = BOB
    via: str = "direct"
    ms: float = 312.4
    address: tuple[str, int] = ("192.0.2.7", 4000)
    sent: list[bytes] = attrs.field(factory=list)
    closed: bool = False
    on_datagram: Callable[[bytes], object] = _ignore
    on_path_changed: Callable[[Any], object] = _ignore
    on_lost: Callable[[str], object] = _ignore
    on_closed: Callable[[], object] = _ignore

    def send(self, payload: bytes) -> None:
        """Keep a payload, which must fit."""
        if len(payload) > 1200:
            raise ValueError("too long")
        self.sent.append(payload)

    def close(self) -> Deferred[None]:
        """Close, and say so as the library does."""
        if not self.closed:
            self.closed = True
            self.on_closed()
        return succeed(None)


@attrs.define(eq=False)
class FakeConnector:
    """
    What makes paths.

    :ivar connecting: the peers that were asked for, each with what the test answers.
    :ivar listening: what the test answers.
    """

    identity: Identity
    on_gone: Callable[[ClientError], object]
    connecting: list[tuple[str, Deferred[FakePath]]] = attrs.field(factory=list)
    listening: Deferred[None] = attrs.field(factory=Deferred)
    on_path: Callable[[FakePath], object] = _ignore
    allow: Callable[[str], bool] = bool
    prepared: Deferred[None] = attrs.field(factory=lambda: succeed(None))
    closed: bool = False

    def prepare(self) -> Deferred[None]:
        """Have the test answer."""
        return self.prepared

    def connect(self, peer_id: str) -> Deferred[FakePath]:
        """Begin."""
        found: Deferred[FakePath] = Deferred()
        self.connecting.append((peer_id, found))
        return found

    def listen(self, on_path: Callable[[FakePath], object], allow: Callable[[str], bool]) -> Deferred[None]:
        """Begin."""
        self.on_path, self.allow = on_path, allow
        return self.listening

    def close(self) -> Deferred[None]:
        """Close."""
        self.closed = True
        return succeed(None)


@attrs.define(eq=False)
class FakeConsole:
    """
    Stdin and stdout.

    :ivar reading: whether lines are wanted.
    :ivar full: whether the reader of stdout is slow.
    """

    events: ConsoleEvents
    longest: int
    out: TextIO
    written: list[str] = attrs.field(factory=list)
    reading: bool = False
    full: bool = False
    closed: bool = False

    def resume(self) -> None:
        """Read."""
        self.reading = True

    def pause(self) -> None:
        """Do not read."""
        self.reading = False

    def write(self, text: str, *, droppable: bool = False) -> bool:
        """Keep a text."""
        if droppable and self.full:
            return False
        self.written.append(text)
        self.out.write(text)
        return True

    def close(self) -> Deferred[None]:
        """Close."""
        self.closed = True
        return succeed(None)


class PathCase(CommandCase):
    """A server in memory, and a client library whose paths the test makes."""

    def setUp(self) -> None:
        """Begin."""
        super().setUp()
        self.connectors: list[FakeConnector] = []
        self.consoles: list[FakeConsole] = []

    def context(self, *words: str) -> Context:
        """:returns: what a subcommand is given."""

        def make_connector(identity: Identity, on_gone: Callable[[ClientError], object]) -> FakeConnector:
            self.connectors.append(FakeConnector(identity, on_gone))
            return self.connectors[-1]

        def make_console(events: ConsoleEvents, longest: int) -> Any:
            self.consoles.append(FakeConsole(events, longest, self.out))
            return self.consoles[-1]

        return attrs.evolve(super().context(*words), make_connector=make_connector, make_console=make_console)

    @property
    def console(self) -> FakeConsole:
        """:returns: the one that was opened."""
        [console] = self.consoles
        return console

    @property
    def connector(self) -> FakeConnector:
        """:returns: the last one."""
        return self.connectors[-1]

    def connected(self, command: Command, *words: str, **path: Any) -> tuple[Deferred[int], FakePath]:
        """:returns: the running command, and its path."""
        running = self.start(command, *words)
        [(peer, waiting)] = self.connector.connecting
        made = FakePath(peer, **path)
        waiting.callback(made)
        return running, made
