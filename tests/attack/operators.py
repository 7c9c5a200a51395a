"""The operators' port: strangers who want to keep operators out, and requests of operators that cost most."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Generator, Sequence
from pathlib import Path

from tests.attack.datagrams import unknown_keys
from tests.attack.field import MIB, Field, attack
from tests.attack.floods import registering
from tests.attack.load import Answer, addresses, blast, fetch, flood, hold, request, udp_sockets
from tests.attack.stores import put_clients, store_with

__all__ = ["Operator"]

#: Where an operator asks from, who has nothing to do with any attack.
OPERATOR = "127.0.8.1"
#: Seconds within which an operator's request has to be answered.
SOON = 1.0
CLIENTS = 200_000


class Operator:
    """
    Asks for the overview over and over, each time over a new connection, until it is left.

    :ivar slowest: seconds that the slowest answer took.
    :ivar failed: what went wrong, if anything did.
    """

    def __init__(self, field: Field) -> None:
        self._field, self._is_over = field, threading.Event()
        self._asked = request("GET", "/overview", auth=field.server.admin_token)
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self.slowest, self.answers = 0.0, 0
        self.failed = list[str]()

    def __enter__(self) -> Operator:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, and say how it went."""
        self._is_over.set()
        self._thread.join()
        field = self._field
        field.note(f"an operator was answered {self.answers} times, in {self.slowest * 1000:.0f} ms at most")
        field.expect(f"an operator is served: {self.failed[:3]}", holds=not self.failed and self.answers > 0)
        field.expect(f"an operator waited {self.slowest:.1f} s", holds=self.slowest <= SOON)

    def _ask(self) -> None:
        while not self._is_over.wait(0.25):
            began = time.monotonic()
            try:
                status = fetch(self._field.server.admin_port, self._asked, OPERATOR).status
                self.answers += status == 200
                if status != 200:
                    self.failed.append(f"status {status}")
            except OSError as e:
                self.failed.append(repr(e))
            self.slowest = max(self.slowest, time.monotonic() - began)


@attack("operators-kept-out", quick=True, memory=128 * MIB)
def kept_out(field: Field) -> None:
    """A thousand connections without a token to the operators' port: half a request, half a body, answers unread."""
    page, script = request("GET", "/"), request("GET", "/dashboard/dashboard.js")
    starts = [
        b"",
        b"GET /overview HTTP/1.1\r\nHost: a\r\nX-Slow: ",
        b"POST /bans HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n{",
        script * 200,
        page + script * 20,
        request("GET", "/updates") * 500,
    ]
    with Operator(field):
        held = hold(field.server.admin_port, starts, 1000, addresses(100), drips=[b"a"], every=3.0, receive=4096)
        held.run(field.seconds)
        field.note(f"{held.closed} closed by the server, {held.failed} not let in, {len(held)} still open")
        held.close()


def _guessing() -> Generator[bytes, Answer, None]:
    """Ask with a wrong token."""
    yield request("GET", "/overview", auth="not-the-token")


@attack("operators-guessed")
def guessed(field: Field) -> None:
    """A hundred connections of the operator's own address guess the token, and sixty more send half a request."""
    half = b"GET /overview HTTP/1.1\r\nHost: a\r\nX-Slow: "
    held = hold(field.server.admin_port, [half], 60, [OPERATOR])
    with Operator(field):
        counts = flood(field.server.admin_port, _guessing, field.seconds, connections=100, sources=[OPERATOR])
    held.close()
    field.note(f"answers by status: {dict(sorted(counts.items()))}")
    field.expect("no guess is good", holds=counts["200"] == 0 and counts["401"] > 0)


def _searching(token: str) -> Generator[bytes, Answer, None]:
    """Ask for numbers, for what no client is, and for the rest, one after the other."""
    for path in (
        "/metrics",
        f"/clients/{'5' * 32}",
        "/history",
        "/clients?state=late",
        "/attempts?after=1",
        "/sockets?limit=1000",
        "/topics?offset=100000",
        "/clients?network=203.0.113.0/24&limit=1000",
    ):
        yield request("GET", path, auth=token)


def _many(directory: Path, prefix: Sequence[str]) -> None:
    store_with(directory, prefix)
    put_clients(directory, (number.to_bytes(16, "big") for number in range(CLIENTS)))


@attack("operators-queries", quick=True, memory=128 * MIB, prepare=_many, options=("--registration-time=600",))
def queries(field: Field) -> None:
    """Sixty connections of operators ask a server with 200,000 clients for what costs most, as fast as they may."""
    token = field.server.admin_token
    counts = flood(
        field.server.admin_port, lambda: _searching(token), field.seconds, connections=60, sources=addresses(30)
    )
    field.note(f"answers by status: {dict(sorted(counts.items()))}")
    field.expect("some were answered", holds=counts["200"] > 0)


@attack("operators-banned", quick=True)
def banned(field: Field) -> None:
    """A banned network sends 20,000 pulses a second, and a hundred connections of it register over and over."""
    token, sources = field.server.admin_token, addresses(100)
    for target in ("127.67.0.0/16", "127.68.0.0/14", *(f"198.51.{number}.0/24" for number in range(100))):
        answer = fetch(
            field.server.admin_port,
            request("POST", "/bans", json.dumps({"target": target, "seconds": None}).encode(), token),
            OPERATOR,
        )
        field.expect(f"a ban is taken: {answer.status} {answer.body[:90]!r}", holds=answer.status == 201)
    sockets = udp_sockets(field.udp, sources)
    sending = threading.Thread(target=blast, args=(sockets, unknown_keys(), 20_000, field.seconds))
    sending.start()
    with Operator(field):
        counts = flood(field.http, registering, field.seconds, connections=100, sources=sources)
    sending.join()
    for sock in sockets:
        sock.close()
    field.note(f"answers by status: {dict(sorted(counts.items()))}")
    field.expect("they are all refused", holds=counts["200"] == 0 and counts["403"] > 0)
    field.stranger_gets_in()
