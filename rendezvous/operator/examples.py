"""Worked requests to the operators' port: an operator looks at Bob's trouble, and bans who floods."""

from __future__ import annotations

from typing import Any

from rendezvous._version import __version__
from rendezvous.web.examples.example import Example, Examples
from rendezvous.web.examples.values import ALICE, ATTEMPT, BOB, MOMENT, OFFER, ORIGIN, TOPIC

__all__ = ["EXAMPLES"]

_BOB: dict[str, Any] = {
    "client_id": BOB,
    "state": "online",
    "network": "198.51.100.7",
    "host": "203.0.113.9",
    "port": 40123,
    "last_seen": MOMENT,
}
_BAN = {"target": "198.51.100.0/24", "until": MOMENT + 3600, "reason": "floods", "since": MOMENT}
_OFFER = {"topics": [TOPIC], "network": "198.51.100.7", "created": MOMENT, "expires": MOMENT + 300}
_EVENTS = [
    {"time": MOMENT, "event": "registered", "text": "The client has registered."},
    {"time": MOMENT, "event": "first_pulse", "text": "The first pulse came from 203.0.113.9:40123."},
]

EXAMPLES: Examples = {
    "GET /": Example("<!doctype html>", is_abridged=True),
    "GET /dashboard/<file>": Example("<svg", media="image/svg+xml", is_abridged=True),
    "GET /history": Example(
        {
            "time": MOMENT,
            "interval": 5.0,
            "times": [MOMENT],
            "series": {"clients_online": [1]},
            "rates": {"pulses": {"1m": 0.03, "10m": None, "1h": None}},
        },
        is_abridged=True,
    ),
    "GET /log": Example(
        {
            "lines": [{"seq": 1, "time": MOMENT, "level": "info", "system": "rendezvous.service", "text": "reloaded"}],
            "next": 1,
            "lost": 0,
        },
        is_abridged=True,
    ),
    "GET /updates": Example("event: figures\n", is_abridged=True),
    "GET /metrics": Example("# HELP rendezvous_build_info", is_abridged=True),
    "GET /openapi.json": Example(
        {"openapi": "3.1.0", "info": {}, "servers": [{"url": "."}], "tags": [], "paths": {}, "components": {}},
        is_abridged=True,
    ),
    "GET /overview": Example(
        {
            "version": __version__,
            "started": MOMENT,
            "time": MOMENT,
            "ready": True,
            "draining": False,
            "clients": {"online": 1, "late": 0, "registered": 1},
            "offers": 1,
            "sessions": 0,
            "event_streams": 0,
            "sockets": 0,
            "tracker_entries": 0,
            "bans": 0,
            "tables": {},
            "signaling_memory": {"entries": 900, "limit": 536_870_912},
            "saving": None,
            "connections": 2,
            "reactor_delay": 0.001,
        },
        is_abridged=True,
    ),
    "GET /clients": Example({"clients": [_BOB], "next": None}, params=("state",)),
    "GET /clients/<client_id>": Example(
        {
            "client": {
                **_BOB,
                "offers": 0,
                "attempts": 1,
                "event_stream": False,
                "sockets": 0,
                "ban": None,
                "events": _EVENTS,
            }
        }
    ),
    "GET /offers": Example(
        {
            "offers": [{"id": OFFER, "client_id": ALICE, "has_secret": False, **_OFFER, "size": 165, "answered": None}],
            "next": None,
        }
    ),
    "GET /sessions": Example(
        {"sessions": [{"origin": ORIGIN, **_OFFER, "size": 92, "answered": MOMENT}], "next": None}, params=("limit",)
    ),
    "GET /topics": Example({"topics": [{"topic": TOPIC, "peers": 1}], "total": 1}, params=("startsWith",)),
    "GET /sockets": Example(
        {
            "sockets": [{"kind": "events", "client_id": ALICE, "host": "198.51.100.7", "since": MOMENT, "unread": 0}],
            "next": None,
        }
    ),
    "GET /attempts": Example(
        {
            "attempts": [
                {
                    "attempt": ATTEMPT,
                    "state": "failed",
                    "begun": MOMENT,
                    "ended": MOMENT + 2,
                    "controlling": ALICE,
                    "controlled": BOB,
                    "mappings": ["endpoint-dependent", "endpoint-dependent"],
                    "strategy": None,
                    "via": None,
                    "code": "symmetric-pair",
                    "ok": False,
                    "why": "Both NATs give every destination another port; a relay is needed, and this server offers"
                    " none.",
                }
            ],
            "next": None,
        },
        params=("client",),
    ),
    "GET /attempt-pairs": Example(
        {"pairs": [{"mappings": ["endpoint-dependent", "endpoint-dependent"], "ok": 0, "failed": 1}]}
    ),
    "GET /limited": Example(
        {
            "limits": {"source-requests": 12},
            "full": {"full": 0},
            "dropped": {"banned": 0},
            "networks": [{"network": "198.51.100.9", "reason": "source-requests", "times": 12, "last": MOMENT}],
        },
        is_abridged=True,
    ),
    "POST /clients/<client_id>/kick": Example({"client_id": BOB, "kicked": True}),
    "POST /bans": Example(_BAN, body={"target": "198.51.100.0/24", "seconds": 3600, "reason": "floods"}),
    "GET /bans": Example({"bans": [_BAN]}),
    "DELETE /bans/<target>": Example(_BAN),
    "POST /drain": Example({"draining": True}),
    "DELETE /drain": Example({"draining": False}),
    "POST /reload": Example({"changed": ["max_offers = 200000 (was 100000)"], "refused": [], "certificates": 0}),
    "GET /settings": Example({"settings": {"max_offers": "200000", "udp_port": ["5024", "5026"]}}, is_abridged=True),
}
