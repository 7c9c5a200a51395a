"""What an answer over HTTP costs, beside a bare resource of twisted.web that gives a constant answer."""

from __future__ import annotations

import contextlib
import json
import socket
import statistics
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.load import requests, server
from benchmarks.report import Report, Row
from benchmarks.revisions import Rate, rate
from benchmarks.servers import KEYRING, client_id
from benchmarks.udp_protocols import on_another_core

SECONDS = 2.0
#: Kept alive, with one request under way on each.
CONNECTIONS = 64
#: A session description of a browser with one data channel and its candidates.
SDP = "v" * 2000
TOPICS = 100_000
SHORT = b'{"ok":true}'


def request(method: str, path: str, number: int | None = None, body: bytes = b"", headers: str = "") -> bytes:
    """
    A whole HTTP request.

    :param number: which client sends it, if it needs a credential.
    """
    if number is not None:
        own = client_id(number)
        headers += f"Authorization: Bearer {own.hex()}:{KEYRING.key(own).hex()}\r\n"
    if body:
        headers += "Content-Type: application/json\r\n"
    return (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body
    )


def publish(peer: int, offers: list[dict[str, object]]) -> bytes:
    """:returns: the request."""
    return request("POST", "/offers", peer, json.dumps({"offers": offers}).encode())


def send(port: int, asked: bytes) -> bytes:
    """
    Send one request, and see that it is answered well.

    :returns: the body of the answer.
    """
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(asked.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        answer = b"".join(iter(partial(sock.recv, 65536), b""))
    assert answer.startswith(b"HTTP/1.1 200"), answer[:300]
    return answer.partition(b"\r\n\r\n")[2]


def run(report: Report) -> None:
    """Look-ups in memory, then what is written to the default store, then listings."""
    report.section("HTTP beside a bare twisted.web resource: CPU time an answer, source limits on")
    Path("build").mkdir(exist_ok=True)
    with on_another_core() as core, tempfile.TemporaryDirectory(dir="build") as made:
        directory = Path(made).resolve()
        store = f"sqlite:{directory}/store.sqlite3"
        with (
            server("http", 1000, core, high_limits=True) as memory,
            server("http", 1000, core, high_limits=True, store=store, max_offers=1_000_000) as sqlite,
            _constant(directory, core, SHORT) as short,
        ):
            peer = client_id(2).hex()
            for what, asked in (
                ("look up an address", request("GET", f"/peer/{peer}/udp", 1)),
                ("look up a status", request("GET", f"/peer/{peer}/udp/status", 1)),
            ):
                _compare(report, what, asked, memory, short)
            refresh = publish(901, [{"sdp": SDP, "topics": ["bench"], "id": "refreshed"}])
            _compare(report, "register, SQLite", request("POST", "/register"), sqlite, short)
            _compare(report, "publish an offer of 2 KB, SQLite", refresh, sqlite, short)
            _listings(report, core, directory, memory)


def _listings(report: Report, core: int, directory: Path, port: int) -> None:
    """Each beside a resource that gives the same answer, ready-made."""
    send(port, publish(900, [{"sdp": SDP, "topics": ["one"]}]))
    for number in range(50):
        send(port, publish(900, [{"sdp": SDP, "topics": ["fifty"], "id": f"{number}"}]))

    def compare(what: str, path: str) -> None:
        asked = request("GET", path)
        with _constant(directory, core, send(port, asked)) as ready:
            _compare(report, what, asked, port, ready)

    compare("discover, 1 offer of 2 KB", "/offers/by-topic/one")
    compare("discover, 50 offers of 2 KB", "/offers/by-topic/fifty")
    compare("topics, both", "/topics")
    names = iter(range(TOPICS))
    for peer in range(TOPICS // 20 // 50):
        for _ in range(5):
            offers = [{"sdp": "v=0", "topics": [f"topic-{next(names)}" for _ in range(20)]} for _ in range(10)]
            send(port, publish(peer, offers))
    compare(f"topics, 50 of {TOPICS:,}", "/topics")
    compare(f"topics, 50 of {TOPICS:,} with a prefix", "/topics?startsWith=topic-9")


@contextlib.contextmanager
def _constant(directory: Path, core: int, body: bytes) -> Iterator[int]:
    path = directory / f"{len(body)}.json"
    path.write_bytes(body)
    with server("constant", core=core, body=str(path)) as port:
        yield port


def _compare(report: Report, what: str, asked: bytes, ours: int, constant: int) -> None:
    load = partial(requests, request=asked, seconds=SECONDS, connections_open=CONNECTIONS)
    pairs = [(rate(load, ours), rate(load, constant)) for _ in range(report.rounds)]
    ratio = statistics.median(one.by_cpu / other.by_cpu for one, other in pairs)
    mine, bare = ([pair[side] for pair in pairs] for side in (0, 1))
    report.add(Row(what, _shown(mine), f"bare resource {_shown(bare)}", f"{ratio:.2f}"))


def _shown(rates: list[Rate]) -> str:
    cost = statistics.median(1e6 / each.by_cpu for each in rates)
    return f"{cost:.0f} µs ({statistics.median(each.a_second for each in rates):,.0f}/s)"
