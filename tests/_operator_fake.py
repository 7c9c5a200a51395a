"""A port for operators that is made up, for the program that asks it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs

from tests._admin_case import NOW

__all__ = ["OVERVIEW", "RATES", "FakeConnection", "FakePort"]

OVERVIEW = {
    "version": "1.0",
    "started": NOW - 7320,
    "time": NOW,
    "draining": False,
    "ready": True,
    "clients": {"online": 12345, "late": 2, "registered": 1},
    "offers": 7,
    "sessions": 3,
    "event_streams": 4,
    "sockets": 5,
    "tracker_entries": 0,
    "bans": 0,
    "connections": 9,
    "tables": {"clients": {"entries": 12348, "limit": 1000000}, "tracker_peers": {"entries": 90, "limit": 100}},
    "signaling_memory": {"entries": 52_400_000, "limit": 256_000_000},
    "saving": {
        "is_failing": False,
        "backlog": 0,
        "waiting": 0,
        "failed": 0,
        "size": 1_000_000,
        "restored": {"pause": 4.2, "clients": 12000, "offers": 9, "tracker_peers": 0},
    },
    "reactor_delay": 0.0042,
}
RATES = {"pulses": {"1m": 411.5, "10m": 0.05, "1h": None}, "new in a later version": {"1m": 1.0}}


@attrs.define
class FakePort:
    """
    Answers requests, and keeps them.

    :ivar answer: gives the status and the JSON, or the bytes, of an answer.
    :ivar asked: method, path, query, JSON of the body.
    :ivar headers: those of the last request.
    """

    answer: Callable[[str, str, dict[str, str]], tuple[int, Any]]
    asked: list[tuple[str, str, dict[str, str], Any]] = attrs.field(factory=list)
    headers: dict[str, str] = attrs.field(factory=dict)


class FakeConnection:
    """
    What the program uses of :class:`http.client.HTTPConnection`.

    :param port: answers.
    """

    def __init__(self, port: FakePort) -> None:
        self._port = port
        self.closed = False

    def request(self, method: str, target: str, body: bytes | None, headers: dict[str, str]) -> None:
        """Send a request."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query))
        self._port.asked.append((method, parts.path, query, None if body is None else json.loads(body)))
        self._port.headers = headers
        self._status, answer = self._port.answer(method, parts.path, query)
        self._body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    def getresponse(self) -> Any:
        """:returns: the answer, which can be read as a file."""
        answer: Any = io.BytesIO(self._body)
        return _Answer(answer, self._status)

    def close(self) -> None:
        """Close it."""
        self.closed = True


class _Answer:
    def __init__(self, file: io.BytesIO, status: int) -> None:
        self.read, self.readline, self.status = file.read, file.readline, status
