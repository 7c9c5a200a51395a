"""Offers a second over loopback, beside a bare Klein route."""

from __future__ import annotations

import json
import socket
from functools import partial

from benchmarks.http import request
from benchmarks.load import requests, server
from benchmarks.report import Report

SECONDS = 2.0
#: A session description of a browser with one data channel and its candidates.
SDP = "v" * 2000
TOPICS = 100_000


def send(port: int, asked: bytes) -> None:
    """Send one request, and see that it is answered well."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(asked.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        answer = b"".join(iter(partial(sock.recv, 65536), b""))
    assert answer.startswith(b"HTTP/1.1 200"), answer[:300]


def publish(peer: int, offers: list[dict[str, object]]) -> bytes:
    """:returns: the request."""
    return request("POST", "/offers", peer, json.dumps({"offers": offers}).encode())


def crowd(port: int) -> None:
    """Publish offers in very many topics."""
    names = iter(range(TOPICS))
    for peer in range(TOPICS // 20 // 50):
        for _ in range(5):
            offers = [{"sdp": "v=0", "topics": [f"topic-{next(names)}" for _ in range(20)]} for _ in range(10)]
            send(port, publish(peer, offers))


def run(report: Report) -> None:
    """The offers protocol; the first row and the topics again with very many topics there."""
    report.section(f"The offers protocol over HTTP, offers of {len(SDP):,} bytes")
    with server("klein") as klein, server("http", 1000) as ours:

        def compare(what: str, asked: bytes) -> None:
            bare = partial(requests, klein, asked, SECONDS)
            report.compare(what, "/s", partial(requests, ours, asked, SECONDS), "bare Klein route", bare)

        send(ours, publish(900, [{"sdp": SDP, "topics": ["one"]}]))
        for number in range(50):
            send(ours, publish(900, [{"sdp": SDP, "topics": ["fifty"], "id": f"{number}"}]))
        refresh = publish(901, [{"sdp": SDP, "topics": ["bench"], "id": "refreshed"}])
        compare("publish", refresh)
        compare("discover, 1 offer", request("GET", "/offers/by-topic/one"))
        compare("discover, 50 offers", request("GET", "/offers/by-topic/fifty"))
        compare("topics, all 3", request("GET", "/topics"))
        crowd(ours)
        compare(f"topics, 50 of {TOPICS:,}", request("GET", "/topics"))
        compare(f"topics, 50 of {TOPICS:,} with a prefix", request("GET", "/topics?startsWith=topic-9"))
        compare(f"publish, {TOPICS:,} topics there", refresh)
