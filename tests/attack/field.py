"""What an attack gets, and the table of attacks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from tests.attack.load import Answer, fetch, request
from tests.attack.shim import Shim
from tests.crash.server import Server

__all__ = ["ATTACKS", "MIB", "Attack", "Field", "attack", "until"]

MIB = 1 << 20
#: Somebody who has nothing to do with the attack and comes for the first time.
STRANGER = "127.0.9.1"


class Field:
    """
    A running server, and what an attack may say about it.

    :ivar seconds: how long the attack should last.
    :ivar faults: what should not have been.
    :ivar notes: what the reader may want to know.
    :ivar shim: what slows the disk and moves the clock, if the attack asked for it.
    """

    def __init__(self, server: Server, seconds: float, shim: Shim | None) -> None:
        self.server = server
        self.seconds = seconds
        self.faults: list[str] = []
        self.notes: list[str] = []
        self._shim = shim
        self._after: list[Callable[[], object]] = []

    @property
    def http(self) -> int:
        """:returns: the TCP port."""
        return self.server.http_port

    @property
    def udp(self) -> int:
        """:returns: the UDP port."""
        return self.server.udp_port

    @property
    def shim(self) -> Shim:
        """:returns: the shim."""
        assert self._shim is not None
        return self._shim

    def afterwards(self, do: Callable[[], object]) -> None:
        """Do this when the attack has ended; what the server makes of it counts as recovery."""
        self._after.append(do)

    def end(self) -> None:
        """Do what was left for afterwards."""
        while self._after:
            self._after.pop()()

    def note(self, text: object) -> None:
        """Say something that is good to know."""
        self.notes.append(str(text))

    def expect(self, what: str, *, holds: bool) -> None:
        """Keep a fault unless it holds."""
        if not holds:
            self.faults.append(what)

    def ask(self, method: str, path: str, body: bytes = b"", auth: str = "", **headers: str) -> Answer:
        """:returns: the answer to one request of a stranger, 0 for none."""
        try:
            return fetch(self.http, request(method, path, body, auth, **headers), STRANGER)
        except OSError as e:
            return Answer(0, repr(e).encode())

    def stranger_gets_in(self) -> None:
        """See that somebody from elsewhere can register, publish, open a session and log out."""
        answer = self.ask("POST", "/register")
        self.expect(f"a stranger registers: {answer.status}", holds=answer.status == 200)
        if answer.status != 200:
            return
        auth = f"{answer.json['client_id']}:{answer.json['private_id']}"
        for what, found in (
            ("publishes", self.ask("POST", "/offers", b'{"offers": [{"sdp": "v=0", "topics": ["t"]}]}', auth)),
            ("opens a session", self.ask("POST", "/t/offer", b'{"info": "", "offer": "v=0"}', Origin="https://s.test")),
            ("logs out", self.ask("POST", "/logout", auth=auth)),
        ):
            self.expect(f"a stranger {what}: {found.status} {found.body[:90]!r}", holds=found.status == 200)

    def strangers_connect(self, invited: str = "") -> None:
        """
        See that somebody from elsewhere can begin an attempt to connect, and the other one can accept it.

        :param invited: the credential of the other one; a new client by default.
        """
        made = []
        for _ in range(2):
            answer = self.ask("POST", "/register").json
            made.append(f"{answer['client_id']}:{answer['private_id']}")
        caller, peer = made[0], invited or made[1]
        begun = self.ask("POST", f"/peer/{peer.partition(':')[0]}/connect", b"{}", caller)
        self.expect(f"a stranger begins an attempt: {begun.status} {begun.body[:90]!r}", holds=begun.status == 201)
        if begun.status == 201:
            path = f"/attempts/{begun.json['attempt']}/accept"
            accepted = self.ask("POST", path, b"{}", peer)
            self.expect(f"it is accepted: {accepted.status} {accepted.body[:90]!r}", holds=accepted.status == 200)

    def log_size(self) -> int:
        """:returns: bytes that the server has logged."""
        return self.server.log_path.stat().st_size


@attrs.frozen(kw_only=True)
class Attack:
    """
    One attack.

    :ivar what: one line for people.
    :ivar memory: bytes by which the server may grow meanwhile.
    :ivar log: bytes that it may log meanwhile.
    :ivar options: of the server.
    :ivar least: seconds that it needs at least to show anything.
    :ivar shim: whether it needs the shim.
    :ivar descriptors: the server's limit of open files, if it is not the usual one.
    :ivar prepare: makes the store before the server starts.
    :ivar quick: whether it is one of those that CI runs.
    """

    name: str
    what: str
    run: Callable[[Field], None]
    memory: int = 64 * MIB
    log: int = 20_000
    options: tuple[str, ...] = ()
    least: float = 0.0
    shim: bool = False
    descriptors: int = 0
    prepare: Callable[[Path, Sequence[str]], None] | None = None
    quick: bool = False


ATTACKS: dict[str, Attack] = {}


def attack(name: str, **attributes: object) -> Callable[[Callable[[Field], None]], Callable[[Field], None]]:
    """Enter a function into the table; its docstring is what people read."""

    def enter(function: Callable[[Field], None]) -> Callable[[Field], None]:
        what = (function.__doc__ or "").strip()
        ATTACKS[name] = Attack(name=name, what=what, run=function, **attributes)  # type: ignore[arg-type]
        return function

    return enter


def until(done: Callable[[], bool], seconds: float) -> bool:
    """:returns: whether it was done in time."""
    late = time.monotonic() + seconds
    while not done():
        if time.monotonic() > late:
            return False
        time.sleep(0.05)
    return True
