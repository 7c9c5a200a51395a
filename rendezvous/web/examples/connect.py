"""Worked requests of the connect protocol: Alice asks for a direct path to Bob, and both find one."""

from __future__ import annotations

from typing import Any

from rendezvous.web.examples.example import Example, Examples
from rendezvous.web.examples.values import ALICE, ATTEMPT, BOB, MOMENT_MS, PAIR_KEY, TURN

__all__ = ["CONNECT"]


def _servers(client_id: str) -> list[dict[str, Any]]:
    """:returns: the ICE servers of a client."""
    ports = ["stun:rendezvous.example:5024", "stun:rendezvous.example:5026"]
    return [{"urls": ports}, {"urls": ["turn:turn.example:3478"], **TURN[client_id]}]


def _attempt(caller: str, **fields: Any) -> dict[str, Any]:
    """:returns: the attempt as one of its two sides sees it."""
    alice = caller == ALICE
    return {
        "attempt": ATTEMPT,
        "role": "controlling" if alice else "controlled",
        "expires": MOMENT_MS + 60_000,
        "round": 1,
        "peer": {"client_id": BOB if alice else ALICE},
        "iceServers": _servers(caller),
        **fields,
    }


def _reached(**fields: Any) -> dict[str, Any]:
    """:returns: the attempt as Alice sees it when both sides know each other's addresses."""
    bobs = {"kind": "server-reflexive", "host": "203.0.113.9", "port": 40123}
    return _attempt(
        ALICE,
        peer={"client_id": BOB, "mapping": "endpoint-independent", "candidates": [bobs]},
        key=PAIR_KEY,
        hold=0,
        strategy="direct",
        mapping="endpoint-independent",
        **fields,
    )


_HOST = {"kind": "host", "host": "192.168.1.20", "port": 40000}
_MAPPED = {"kind": "mapped", "host": "198.51.100.7", "port": 40000}

CONNECT: Examples = {
    "GET /ice": Example(
        {"iceServers": _servers(ALICE), "ttl": 3600, "expires": 1_800_003_600_000},
        caller=ALICE,
    ),
    "POST /peer/<client_id>/connect": Example(
        _attempt(ALICE, state="invited", version=1), caller=ALICE, body={"candidates": [_HOST], "rtt": 40.5}
    ),
    "GET /attempts": Example(
        {
            "attempts": [
                {"attempt": ATTEMPT, "peer": ALICE, "expires": MOMENT_MS + 30_000, "seq": 1_800_000_000_250_007}
            ]
        },
        params=("wait",),
        caller=BOB,
    ),
    "POST /attempts/<attempt>/accept": Example(
        _attempt(BOB, state="observing", version=2), caller=BOB, body={"candidates": [], "rtt": 32}
    ),
    "POST /attempts/<attempt>/candidates": Example(
        _attempt(ALICE, state="observing", version=2), caller=ALICE, body={"candidates": [_HOST, _MAPPED]}
    ),
    "GET /attempts/<attempt>": Example(_reached(state="go", version=3), params=("wait", "version"), caller=ALICE),
    "POST /attempts/<attempt>/done": Example(
        _reached(state="done", version=4), caller=ALICE, body={"ok": True, "ms": 85, "via": "direct"}
    ),
    "DELETE /attempts/<attempt>": Example(_reached(state="done", version=4), caller=ALICE),
}
