"""Connections that are opened, and then neither send nor read what they should."""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from collections.abc import Generator

from tests.attack.field import MIB, Field, attack
from tests.attack.floods import identities
from tests.attack.load import ONE, Answer, addresses, fetch, flood, hold, request

__all__ = ["unsent"]

#: Descriptors of a server that was given few; what one address may open must leave room for others.
FEW = 256
ORIGIN = "https://listing.test"
#: JSON writes each of the first kind in six bytes, and of the second, which a server has to take, in two.
LARGEST = ("\x01" * (64 * 1024), '"' * (64 * 1024))


@attack("half-open", quick=True, least=20.0, memory=128 * MIB)
def half_open(field: Field) -> None:
    """A thousand requests of which a byte comes every five seconds: headers, header lines, bodies, chunk extensions."""
    body = b"POST /answer HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nOrigin: https://a.test\r\n"
    starts = [
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ",
        b"GET / HTTP/1.1\r\n",
        body + b"Content-Length: 1000\r\n\r\n",
        body + b"Transfer-Encoding: chunked\r\n\r\n5;",
    ]
    held = hold(field.http, starts, 1000, addresses(100, 20), drips=[b"a", b"X: y\r\n", b"a", b"a"], every=5.0)
    held.run(field.seconds)
    _ended(field, held)
    field.expect(f"{len(held)} requests are still half open after {field.seconds:.0f} s", holds=len(held) == 0)


@attack("unfinished-bodies", memory=128 * MIB)
def unfinished_bodies(field: Field) -> None:
    """Five hundred requests of fifty addresses stop after 150 KB of their body: memory, and no temporary files."""
    head = "POST /t/offer HTTP/1.1\r\nHost: a\r\nOrigin: https://a.test\r\nContent-Length: 390000\r\n\r\n"
    before = _descriptors(field)
    held = hold(field.http, [head.encode() + b'{"offer":"' + b"v" * 150_000], 500, addresses(50))
    held.run(field.seconds / 2)
    opened = _descriptors(field) - before
    held.run(field.seconds / 2)
    _ended(field, held)
    field.expect(f"the server opened {opened} files for 500 connections", holds=opened <= 540)


def _ended(field: Field, held: hold) -> None:
    field.note(f"{held.closed} closed by the server, {held.failed} not let in, {len(held)} still open")
    field.afterwards(held.close)


def _descriptors(field: Field) -> int:
    return len(os.listdir(f"/proc/{field.server.pid}/fd"))


@attack("waiting", memory=128 * MIB)
def waiting(field: Field) -> None:
    """Three thousand requests of two hundred addresses wait for answers that do not come."""
    starts, sources = [], addresses(200)
    for number, source in enumerate(sources):
        body = json.dumps({"info": "", "offer": "v=0", "code": f"waiting-{number}"}).encode()
        fetch(field.http, request("POST", "/t/offer", body, Origin=ORIGIN), source)
        poll = json.dumps({"code": f"waiting-{number}", "side": "offerer", "wait": 25}).encode()
        starts.append(request("POST", "/poll", poll, Origin=ORIGIN))
    held = hold(field.http, starts, 3000, sources)
    held.run(field.seconds)
    _ended(field, held)


@attack("descriptors", quick=True, descriptors=FEW)
def descriptors(field: Field) -> None:
    """Six hundred idle connections of one address to a server that may open 256 files."""
    held = hold(field.http, [b""], 600, ONE)
    held.run(field.seconds)
    _ended(field, held)


@attack("descriptors-spread", descriptors=FEW)
def descriptors_spread(field: Field) -> None:
    """Six hundred idle connections of three hundred addresses to a server that may open 256 files."""
    held = hold(field.http, [b""], 600, addresses(300))
    held.run(field.seconds)
    _ended(field, held)


@attack("connections", memory=128 * MIB)
def connections(field: Field) -> None:
    """Five thousand idle connections of five hundred addresses."""
    held = hold(field.http, [b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"], 5000, addresses(500))
    held.run(field.seconds)
    _ended(field, held)


def _fill_listing(field: Field) -> None:
    """Let twenty addresses open fifty sessions each that are as large as they may be, all in one topic."""
    opened: Counter[int] = Counter()
    for source in addresses(20):
        for _ in range(50):
            for offer in LARGEST:
                body = json.dumps({"info": "", "offer": offer}).encode()
                answer = fetch(field.http, request("POST", "/large/offer", body, Origin=ORIGIN), source)
                opened[answer.status] += 1
                if answer.status != 400:
                    break
    field.note(f"opening sessions of 64 KiB that JSON makes larger: {dict(opened)}")


@attack("listing", memory=256 * MIB, options=("--max-signaling-memory=128M",))
def listing(field: Field) -> None:
    """Four readers of a topic with a thousand sessions of 64 KiB that JSON makes larger."""
    _fill_listing(field)
    asked = request("GET", "/large/sessions", Origin=ORIGIN)

    def reading() -> Generator[bytes, Answer, None]:
        yield asked

    counts = flood(field.http, reading, field.seconds, connections=4)
    field.note(f"pages read: {dict(sorted(counts.items()))}")


@attack("listing-unread", quick=True, memory=256 * MIB, options=("--max-signaling-memory=128M",))
def listing_unread(field: Field) -> None:
    """A thousand connections of a hundred addresses ask for that topic, and read nothing."""
    _fill_listing(field)
    asked = request("GET", "/large/sessions", Origin=ORIGIN)
    held = hold(field.http, [asked], 1000, addresses(100), receive=4096)
    held.run(field.seconds)
    sizes = unsent(field.http)
    field.note(
        f"{max(sizes) >> 10} KiB at most in the kernel's send buffer of a connection, {sum(sizes) >> 20} MiB in all"
    )
    field.expect("the kernel's send buffer of a connection has more than 128 KiB", holds=max(sizes) <= 128 * 1024)
    _ended(field, held)


def unsent(port: int) -> list[int]:
    """:returns: bytes in the kernel's send buffer of each connection of a port, as proc(5) shows them."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        next(table)
        rows = [line.split() for line in table]
    return [int(row[4].partition(":")[0], 16) for row in rows if row[1].endswith(f":{port:04X}")]


@attack("streams-unread", quick=True, memory=192 * MIB)
def streams_unread(field: Field) -> None:
    """A thousand event streams of a hundred peers, each with much to be sent, that are not read."""
    starts, sources = [], addresses(100)
    sdp = "v" * 60_000
    for source in sources:
        made = identities(field.http, source, 2)
        if len(made) < 2:
            continue
        owner, answerer = made
        cursor = _cursor(field.http, owner, source)
        offers = {"offers": [{"sdp": f"{owner} {number}", "topics": ["t"]} for number in range(10)]}
        published = fetch(field.http, request("POST", "/offers", json.dumps(offers).encode(), owner), source)
        for each in published.json["offers"]:
            body = json.dumps({"sdp": sdp}).encode()
            fetch(field.http, request("POST", f"/offers/{each['id']}/answer", body, answerer), source)
        starts.append(request("GET", "/events", auth=owner, Last_Event_ID=cursor))
    field.note(f"{len(starts)} peers, {10 * len(sdp) >> 10} KiB of events for each")
    held = hold(field.http, starts, 1000, sources, receive=4096)
    held.run(field.seconds)
    _ended(field, held)


def _cursor(port: int, auth: str, source: str) -> str:
    """:returns: where a peer's stream begins."""
    with socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(source, 0)) as sock:
        sock.sendall(request("GET", "/events", auth=auth))
        text = b""
        while b"\n" not in text.partition(b"\nid: ")[2]:
            piece = sock.recv(4096)
            if not piece:
                raise ConnectionError(f"the stream ended after {text!r}")
            text += piece
        return text.partition(b"\nid: ")[2].split()[0].decode()
