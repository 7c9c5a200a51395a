"""Requests a second over loopback, beside a bare Klein route."""

from __future__ import annotations

from functools import partial

from benchmarks.load import requests, server
from benchmarks.report import Report
from benchmarks.servers import KEYRING, client_id

SECONDS = 2.0


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


def run(report: Report) -> None:
    """The rendezvous protocol."""
    report.section("The rendezvous protocol over HTTP")
    peer = client_id(2).hex()
    with server("klein") as klein, server("http", 1000) as ours:
        for what, asked in (
            ("register", request("POST", "/register")),
            ("look up an address", request("GET", f"/peer/{peer}/udp", 1)),
            ("look up a status", request("GET", f"/peer/{peer}/udp/status", 1)),
        ):
            bare = partial(requests, klein, asked, SECONDS)
            report.compare(what, "/s", partial(requests, ours, asked, SECONDS), "bare Klein route", bare)
