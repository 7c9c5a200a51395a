"""What the JSON and the parameters of the operators' routes look like, by the names that the routes use."""

from __future__ import annotations

from typing import Any

from rendezvous.core.bans import MAX_REASON
from rendezvous.core.presence.history import Happened
from rendezvous.operator.parts import STATES
from rendezvous.web.examples.values import ALICE, BOB
from rendezvous.web.schemaparts import (
    AT_LEAST_ONE,
    CLIENT_ID,
    COUNT,
    DURATION,
    SECONDS,
    TEXT,
    TRUE,
    Schema,
    many,
    nullable,
    record,
    ref,
    text,
    whole,
    worked,
)

__all__ = ["TAGS", "parameters", "schemas"]

TAGS = {
    "operators": "How much there is of everything, for people and for Prometheus; the dashboard and its parts.",
    "clients": "Clients, and what has happened to them.",
    "signaling": "Offers, sessions, topics and WebSockets.",
    "attempts": "Attempts to connect, and why they have ended as they have.",
    "limits": "What was refused, and to whom.",
    "bans": "Bans of networks and clients.",
    "steering": "Drain, reload, and the settings in force.",
}

_FLAG: Schema = {"type": "boolean"}
_COUNTS: Schema = {"type": "object", "additionalProperties": COUNT}
_NEXT: Schema = {
    "type": ["string", "null"],
    "description": "To be sent back as after. null at the end; there may be more also if a page is not full.",
}
_TARGET: Schema = {"type": "string", "description": "A network such as 198.51.100.0/24, or a client id."}


def _listing(name: str, item: Schema) -> Schema:
    return record((), **{name: many(item), "next": _NEXT})


def schemas() -> dict[str, Schema]:
    """:returns: every schema that a route names, and those that they refer to."""
    return {**_state(), **_clients(), **_signaling(), **_attempts(), **_steering()}


def _state() -> dict[str, Schema]:
    saving: dict[str, Schema] = {
        "is_failing": _FLAG,
        "backlog": {**COUNT, "description": "Bytes that are still to be written."},
        "waiting": COUNT,
        "failed": COUNT,
        "size": {**COUNT, "description": "Bytes of the store's files."},
        "restored": {
            **record((), pause=DURATION, clients=COUNT, offers=COUNT, tracker_peers=COUNT),
            "type": ["object", "null"],
            "description": "What was read back at the start, and for how many seconds there was no server. null if the"
            " store was made then.",
        },
    }
    counts = ("offers", "sessions", "event_streams", "sockets", "tracker_entries", "bans", "connections")
    value: Schema = {"type": ["number", "null"]}
    rates: Schema = {
        "type": "object",
        "description": "Per second, over a minute, ten minutes and an hour.",
        "additionalProperties": {"type": "object", "additionalProperties": value},
    }
    line = record((), seq=AT_LEAST_ONE, time=SECONDS, level=TEXT, system=TEXT, text=TEXT)
    return {
        "Description": {"type": "object", "description": "An OpenAPI document."},
        "History": record(
            (),
            time=SECONDS,
            interval=DURATION,
            times=many(SECONDS),
            series={"type": "object", "additionalProperties": many(value)},
            rates=rates,
        ),
        "Log": record((), lines=many(line), next=COUNT, lost=COUNT),
        "Fill": record((), entries=COUNT, limit=COUNT),
        "Overview": record(
            (),
            version=TEXT,
            started=SECONDS,
            time=SECONDS,
            ready=_FLAG,
            draining=_FLAG,
            clients=record((), **dict.fromkeys(STATES, COUNT)),
            tables={"type": "object", "additionalProperties": ref("Fill")},
            signaling_memory=ref("Fill"),
            saving={**record((), **saving), "type": ["object", "null"]},
            reactor_delay={**DURATION, "description": "The greatest delay of the reactor in the last minute, seconds."},
            **dict.fromkeys(counts, COUNT),
        ),
    }


def _client() -> dict[str, Schema]:
    return {
        "client_id": CLIENT_ID,
        "state": {"enum": [*STATES, "gone"]},
        "network": {**nullable(TEXT), "description": "The network that has registered it."},
        "host": {**nullable(TEXT), "description": "Where its pulses come from."},
        "port": nullable(COUNT),
        "last_seen": nullable(SECONDS),
    }


def _clients() -> dict[str, Schema]:
    event = record((), time=SECONDS, event={"enum": [*Happened, "late", "limited"]}, text=TEXT)
    details = record(
        (),
        **_client(),
        offers=COUNT,
        attempts=COUNT,
        event_stream=_FLAG,
        sockets=COUNT,
        ban={"anyOf": [ref("Ban"), {"type": "null"}]},
        events=many(event),
    )
    return {
        "Clients": _listing("clients", record((), **_client())),
        "Client": record((), client=details),
        "Kicked": record((), client_id=CLIENT_ID, kicked=TRUE),
    }


def _signaling() -> dict[str, Schema]:
    common: dict[str, Schema] = {
        "topics": many(TEXT),
        "network": nullable(TEXT),
        "created": SECONDS,
        "expires": SECONDS,
        "answered": nullable(SECONDS),
        "size": {**COUNT, "description": "Bytes that it takes."},
    }
    socket = record(
        (),
        kind={"enum": ["events", "peerjs", "signal"]},
        client_id=nullable(CLIENT_ID),
        host=nullable(TEXT),
        since=SECONDS,
        unread={**COUNT, "description": "Bytes that the client has not read."},
    )
    return {
        "Offers": _listing("offers", record((), id=TEXT, client_id=TEXT, has_secret=_FLAG, **common)),
        "Sessions": _listing("sessions", record((), origin=TEXT, **common)),
        "Topics": record((), topics=many(record((), topic=TEXT, peers=COUNT)), total=COUNT),
        "Sockets": _listing("sockets", socket),
    }


def _attempts() -> dict[str, Schema]:
    mappings = {**many(TEXT, minItems=2, maxItems=2), "type": ["array", "null"]}
    attempt = record(
        (),
        attempt={"type": "string", "pattern": "^[0-9a-f]{16}$"},
        state=TEXT,
        begun=SECONDS,
        ended=nullable(SECONDS),
        controlling=CLIENT_ID,
        controlled=CLIENT_ID,
        mappings=mappings,
        strategy=nullable(TEXT),
        via=nullable(TEXT),
        code=nullable(TEXT),
        ok={"type": ["boolean", "null"]},
        why={**TEXT, "description": "A sentence: what it waits for, or why it has ended."},
    )
    return {
        "Attempts": _listing("attempts", attempt),
        "AttemptPairs": record((), pairs=many(record((), mappings=mappings, ok=COUNT, failed=COUNT))),
    }


def _steering() -> dict[str, Schema]:
    network = record((), network=TEXT, reason=TEXT, times=AT_LEAST_ONE, last=SECONDS)
    return {
        "Limited": record((), limits=_COUNTS, full=_COUNTS, dropped=_COUNTS, networks=many(network)),
        "Ban": record((), target=_TARGET, until=nullable(SECONDS), reason=TEXT, since=SECONDS),
        "Bans": record((), bans=many(ref("Ban"))),
        "NewBan": record(
            target={**_TARGET, "description": "A network such as 198.51.100.0/24, an address, or a client id."},
            seconds={
                "type": ["number", "null"],
                "exclusiveMinimum": 0,
                "description": "For how long; null or absent for good.",
            },
            reason=nullable(text(0, MAX_REASON)),
            optional=("seconds", "reason"),
        ),
        "Draining": record((), draining=_FLAG),
        "Reloaded": record((), changed=many(TEXT), refused=many(TEXT), certificates=COUNT),
        "Settings": record((), settings={"type": "object", "additionalProperties": {"anyOf": [TEXT, many(TEXT)]}}),
    }


def parameters() -> dict[str, Schema]:
    """:returns: every parameter that a route takes, and every part of a path that varies, by name."""
    network = "An address or a network: of pulses, or of the registration."
    return {
        "client_id": {
            **_query("client_id", {"type": "string", "pattern": "^[0-9A-Fa-f]{32}$"}, "A client id.", BOB),
            "in": "path",
            "required": True,
        },
        "target": {
            **_query("target", _TARGET, "A network or a client id, percent-encoded.", "198.51.100.0/24"),
            "in": "path",
            "required": True,
        },
        "file": {
            **_query("file", {**TEXT, "minLength": 1}, "The name of a file of the dashboard.", "icon.svg"),
            "in": "path",
            "required": True,
        },
        "prefix": _query(
            "prefix", {"type": "string", "pattern": "^[0-9A-Fa-f]{0,32}$"}, "The beginning of client ids.", ALICE[:4]
        ),
        "network": _query("network", TEXT, network, "198.51.100.0/24"),
        "state": _query("state", {"enum": [*STATES]}, "The state of clients.", "online"),
        "client": _query("client", {"type": "string", "pattern": "^[0-9A-Fa-f]{32}$"}, "One of both clients.", ALICE),
        "startsWith": _query("startsWith", TEXT, "Only topics that begin so.", "ch"),
        "offset": _query("offset", {**whole(0), "default": 0}, "How many to skip.", 0),
        "limit": _query("limit", {**AT_LEAST_ONE, "default": 100}, "By default 100, and at most 1000.", 10),
        "after": {
            "name": "after",
            "in": "query",
            "schema": TEXT,
            "description": "The next of the page before: what follows it is answered.",
        },
    }


def _query(name: str, schema: Schema, description: str, example: Any) -> Schema:
    return {"name": name, "in": "query", "description": description, "schema": schema, **worked(example)}
