"""Worked requests about the server itself, for its files, and of the rendezvous protocol."""

from __future__ import annotations

import json
from typing import Any

from rendezvous._version import __version__
from rendezvous.web.examples.example import Example, Examples
from rendezvous.web.examples.values import ALICE, BOB, KEYS, MOMENT, MOMENT_MS
from rendezvous.web.facts import Facts

__all__ = ["FAREWELL", "PRESENCE"]

_FACTS = Facts(udp_ports=lambda: (5024, 5026))


def _with_facts(**fields: Any) -> Any:
    """:returns: fields, and the facts of a server with the usual settings."""
    return json.loads(_FACTS.added_to(fields))


_ADDRESS = {"client_id": BOB, "host": "203.0.113.9", "port": 40123, "timestamp": MOMENT, "ok": True}

PRESENCE: Examples = {
    "GET /": Example(
        _with_facts(
            version=__version__,
            name="rendezvous",
            description="A rendezvous and signaling server for peers behind NATs.",
        )
    ),
    "GET /health": Example({"status": "ok", "timestamp": MOMENT_MS, "version": __version__}),
    "GET /ready": Example({"status": "ready", "timestamp": MOMENT_MS, "version": __version__}),
    "GET /openapi.json": Example(
        {"openapi": "3.1.0", "info": {}, "servers": [{"url": "."}], "tags": [], "paths": {}, "components": {}},
        is_abridged=True,
    ),
    "GET /rendezvous.js": Example("/**\n * Rooms of web pages", is_abridged=True),
    "GET /rendezvous.d.ts": Example("/** Rooms of web pages", is_abridged=True),
    "GET /demo": Example('<!doctype html>\n<html lang="en">\n', is_abridged=True),
    "GET /demo/<file>": Example('<svg xmlns="http://www.w3.org/2000/svg"', media="image/svg+xml", is_abridged=True),
    "POST /register": Example(
        _with_facts(
            client_id=ALICE, private_id=KEYS[ALICE], peerId=ALICE, secret=KEYS[ALICE], timestamp=MOMENT, ok=True
        )
    ),
    "POST /verify": Example({"client_id": ALICE, "timestamp": MOMENT, "ok": True}, caller=ALICE),
    "GET /peer/<client_id>/udp": Example(_ADDRESS, caller=ALICE),
    "GET /peer/<client_id>/udp/address": Example(_ADDRESS, caller=ALICE),
    "GET /peer/<client_id>/udp/status": Example(
        {"client_id": BOB, "status": "ONLINE", "last_online": 0, "timestamp": MOMENT, "ok": True}, caller=ALICE
    ),
}

#: What nothing can come after.
FAREWELL: Examples = {"POST /logout": Example({"client_id": ALICE, "ok": True}, caller=ALICE)}
