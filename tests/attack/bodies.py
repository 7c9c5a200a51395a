"""Requests that cost more to read than to send."""

from __future__ import annotations

import itertools
import json
from collections.abc import Generator

from tests.attack.field import MIB, Field, attack
from tests.attack.floods import identities
from tests.attack.load import ONE, Answer, flood, request

__all__: list[str] = []

#: Just under two MiB, the largest body of any route.
SIZE = 2 * MIB - 1000


def _repeat(field: Field, asked: bytes, connections: int = 2) -> None:
    def sending() -> Generator[bytes, Answer, None]:
        yield asked

    counts = flood(field.http, sending, field.seconds, connections=connections)
    field.note(f"answers: {dict(sorted(counts.items()))}")


def _json(opening: bytes, item: bytes, closing: bytes) -> bytes:
    return opening + b",".join([item] * ((SIZE - len(opening) - len(closing)) // (len(item) + 1))) + closing


@attack("body-lists", memory=128 * MIB)
def lists(field: Field) -> None:
    """Two MiB of empty lists, to a route that needs no credential."""
    _repeat(field, request("POST", "/t/offer", _json(b"[", b"[]", b"]"), Origin="https://a.test"))


@attack("body-offers", memory=128 * MIB)
def seventy_thousand(field: Field) -> None:
    """Two MiB of small offers in one request, from one who has registered."""
    [auth] = identities(field.http, ONE[0], 1)
    _repeat(field, request("POST", "/offers", _json(b'{"offers":[', b'{"sdp":"v","topics":["t"]}', b"]}"), auth))


@attack("body-objects", quick=True, memory=256 * MIB)
def objects(field: Field) -> None:
    """Seven hundred thousand empty objects in the place of offers."""
    [auth] = identities(field.http, ONE[0], 1)
    _repeat(field, request("POST", "/offers", _json(b'{"offers":[', b"{}", b"]}"), auth))


@attack("body-topics", memory=128 * MIB)
def topics(field: Field) -> None:
    """One offer of half a million topics."""
    [auth] = identities(field.http, ONE[0], 1)
    _repeat(field, request("POST", "/offers", _json(b'{"offers":[{"sdp":"v","topics":[', b'""', b"]}]}"), auth))


@attack("body-numbers", memory=128 * MIB)
def numbers(field: Field) -> None:
    """Integers of four thousand digits, and a million small ones."""
    long = _json(b"[", b"9" * 4000, b"]")
    short = _json(b'{"code":[', b"1", b"]}")

    def sending() -> Generator[bytes, Answer, None]:
        yield request("POST", "/answer", long, Origin="https://a.test")
        yield request("POST", "/register", short)

    counts = flood(field.http, sending, field.seconds, connections=2)
    field.note(f"answers: {dict(sorted(counts.items()))}")


@attack("body-candidates", memory=128 * MIB)
def candidates(field: Field) -> None:
    """Fifty candidates of four KiB of small lists each, and ten thousand more of them."""
    [auth] = identities(field.http, ONE[0], 1)
    piece = b"[" + b",".join([b"[]"] * 1300) + b"]"
    _repeat(field, request("POST", "/offers/none/ice-candidates", _json(b'{"candidates":[', piece, b"]}"), auth))


@attack("content-length", quick=True, log=4000)
def content_length(field: Field) -> None:
    """A Content-Length of five thousand digits: refused, and not a word of it in the log."""
    asked = b"POST /register HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n"
    _repeat(field, asked, connections=4)


@attack("bad-http", log=4000)
def bad_http(field: Field) -> None:
    """What is not HTTP, and HTTP that must be refused: no line in the log for any of it."""
    bad = [
        b"\x16\x03\x01" + bytes(range(200)) + b"\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
        b"GET / HTTP/1.1\r\n: a\r\n\r\n",
        b"GET /%ff%fe/sessions HTTP/1.1\r\nHost: \xff\r\n\r\n",
        b"G\x00T / HTTP/1.1\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        json.dumps({}).encode() + b"\r\n\r\n",
    ]

    turn = itertools.cycle(bad)

    def sending() -> Generator[bytes, Answer, None]:
        yield next(turn)

    counts = flood(field.http, sending, field.seconds, connections=8)
    field.note(f"answers: {dict(sorted(counts.items()))}")
