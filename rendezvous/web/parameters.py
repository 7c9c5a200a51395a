"""
The parameters of every route, by the names that the tables of routes use.

Each has the value that the worked requests (:mod:`rendezvous.web.examples`) give it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rendezvous.core.registrationtokens import LONGEST, SHORTEST
from rendezvous.limits import SignalingLimits
from rendezvous.web.examples.values import ALICE, ATTEMPT, BOB, OFFER, ORIGIN, TICKET, TOPIC, WEBSOCKET_KEY
from rendezvous.web.schemaparts import AT_LEAST_ONE, BASE64, TEXT, WAIT, Schema, text, whole, worked

__all__ = ["HANDSHAKE", "parameters"]

#: The headers of a handshake (RFC 6455, section 4.1).
HANDSHAKE = ("Upgrade", "Connection", "Sec-WebSocket-Version", "Sec-WebSocket-Key")

_EVENT_ID: Schema = {"type": "string", "pattern": "^[0-9]{1,19}$"}


def parameters(limits: SignalingLimits) -> dict[str, Schema]:
    """:returns: every parameter that a route takes, and every part of a path that varies, by name."""
    return {
        **_parts(limits),
        **_headers(limits),
        **_listings(limits),
        **_waits(),
        **_streams(limits),
        **_peerjs(),
        "registration": _query(
            "registration",
            TEXT,
            "A registration token, where the operator has given out such; a server that asks for none does not look at"
            f" it. It has {SHORTEST} to {LONGEST} characters. The header Authorization may hold it instead: Bearer, and"
            " the token.",
            "3b9d51ea70c2-team-north",
        ),
    }


def _parts(limits: SignalingLimits) -> dict[str, Schema]:
    return {
        "attempt": _part(
            "attempt", {"type": "string", "pattern": "^[0-9A-Fa-f]{16}$"}, "The id of an attempt.", ATTEMPT
        ),
        "topic": _part("topic", text(1, limits.topic_chars), "Percent-encoded, slashes included.", TOPIC),
        "peer": _part("peer", {**TEXT, "minLength": 1}, "A client id; anything else has no offers.", ALICE),
        "offer": _part("offer", text(1, limits.id_chars), "The id of an offer, percent-encoded.", OFFER),
        "file": _part(
            "file", {**TEXT, "minLength": 1}, "The name of a file of the demo page, such as demo.js.", "icon.svg"
        ),
        "client_id": _part("client_id", {"type": "string", "pattern": "^[0-9A-Fa-f]{32}$"}, "A client id.", BOB),
    }


def _headers(limits: SignalingLimits) -> dict[str, Schema]:
    origin = text(1, limits.origin_chars)
    key = {"type": "string", "pattern": "^[A-Za-z0-9+/]{21}[AQgw]==$"}
    handshake = {
        "Upgrade": _header("Upgrade", {"const": "websocket"}, "A handshake of RFC 6455.", "websocket"),
        "Connection": _header("Connection", {"const": "Upgrade"}, "A handshake of RFC 6455.", "Upgrade"),
        "Sec-WebSocket-Version": _header("Sec-WebSocket-Version", {"const": "13"}, "The version of RFC 6455.", "13"),
        "Sec-WebSocket-Key": _header("Sec-WebSocket-Key", key, "16 random bytes.", WEBSOCKET_KEY),
    }
    return {
        "Origin": {**_header("Origin", origin, "The web page's origin. Browsers set it.", ORIGIN), "required": True},
        "topics-Origin": _header(
            "Origin", origin, "Needed with page. Without, count is of this origin's sessions, or 0.", ORIGIN
        ),
        "Last-Event-ID": _header(
            "Last-Event-ID",
            _EVENT_ID,
            "The id of the last event that was read: the stream goes on after it.",
            "1800000000250001",
        ),
        **{name: {**each, "required": True} for name, each in handshake.items()},
    }


def _listings(limits: SignalingLimits) -> dict[str, Schema]:
    page = f"More than {limits.page_max} means {limits.page_max}."
    either_page = (
        f"By default {limits.page_default}, at most {limits.page_max}; with page {limits.session_page_default} and"
        f" {limits.session_page_max}. More than the most means the most."
    )
    bloom = f"A Bloom filter of peers to leave out, in base64; at most {limits.bloom_size} bytes."
    sessions = "Asks for the topics of the Origin's sessions, and for this page of them."
    # No example: an answer has it, and it means nothing in another request.
    following = {"name": "next", "in": "query", "schema": TEXT}
    return {
        "limit": _query("limit", {**AT_LEAST_ONE, "default": limits.page_default}, page, 10),
        "topics-limit": _query("limit", AT_LEAST_ONE, either_page, 10),
        "offset": _query("offset", {**whole(0), "default": 0}, "How many to skip.", 0),
        "startsWith": _query("startsWith", TEXT, "Only topics that begin so.", "ch"),
        "page": _query("page", whole(1), sessions, 1),
        "bloom": _query("bloom", _base64(limits.bloom_size), bloom, "AAAAAAAAAAA="),
        "next": {**following, "description": "The next of the page before: what follows it is answered."},
    }


def _waits() -> dict[str, Schema]:
    since = "Only what is strictly later, in milliseconds since the epoch."
    changes = "The since of an earlier answer: only what has changed later. 0 begins with the listing."
    invited = "Wait for an invitation with a greater seq than this."
    return {
        "wait": _query("wait", {"type": "number", "minimum": 0, "default": 0}, WAIT, 25),
        "since": _query("since", whole(0), since, 0),
        "changes-since": _query("since", whole(0), changes, 0),
        "invited-since": _query("since", whole(0), invited, 0),
        "version": _query("version", whole(0), "Wait for a version greater than this.", 2),
    }


def _streams(limits: SignalingLimits) -> dict[str, Schema]:
    last = "The same as the header Last-Event-ID, for pages that cannot send it."
    watched = "A topic to watch, which may have commas. It may be repeated."
    return {
        "lastEventId": _query("lastEventId", _EVENT_ID, last, "1800000000250001"),
        "ticket": _query("ticket", TEXT, "A ticket, in place of the header Authorization.", TICKET),
        "watched": _query("topics", TEXT, "Topics to watch, with commas between them.", "chess,go"),
        "watched-one": _query("topic", text(1, limits.topic_chars), watched, TOPIC),
    }


def _peerjs() -> dict[str, Schema]:
    return {
        "key": _query("key", TEXT, "The key of the server, by default peerjs.", "peerjs"),
        "id": _query("id", TEXT, "The id that the peer wants to have.", "alice"),
        "token": _query("token", TEXT, "Shows later that the peer has had the id before.", "wpbhznmpa6"),
    }


def _base64(size: int) -> Schema:
    # Of four characters, the last that fit may have to be padding.
    within = [{"maxLength": 4 * (size // 3)}, {"pattern": "=" * (-size % 3) + "$"}]
    return {**text(4, 4 * -(-size // 3)), "pattern": BASE64, "anyOf": within}


def _query(name: str, schema: Schema, description: str, example: object) -> Schema:
    return _parameter(name, "query", schema, description, example)


def _header(name: str, schema: Schema, description: str, example: object) -> Schema:
    return _parameter(name, "header", schema, description, example)


def _part(name: str, schema: Mapping[str, Any], description: str, example: object) -> Schema:
    return {**_parameter(name, "path", schema, description, example), "required": True}


def _parameter(name: str, place: str, schema: Mapping[str, Any], description: str, example: object) -> Schema:
    return {"name": name, "in": place, "description": description, "schema": schema, **worked(example)}
