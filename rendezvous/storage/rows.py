"""Records to rows and back: the one module that knows both."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from functools import singledispatch
from typing import Any

from rendezvous.core.events import Event, EventKind, EventLogged
from rendezvous.core.notes import Removed
from rendezvous.core.offers import Answer, Candidate, CandidatesAdded, Offer, Role
from rendezvous.core.presence import Client, Revocation
from rendezvous.core.tracker import TrackerPeer

__all__ = [
    "Statement",
    "read_clients",
    "read_events",
    "read_offers",
    "read_revocations",
    "read_tracker_peers",
    "shift",
    "statements",
    "touches",
]

#: SQL and its parameters.
Statement = tuple[str, tuple[Any, ...]]

_PUT_CLIENT = "INSERT OR REPLACE INTO clients VALUES (?, ?, ?, ?, ?)"
_PUT_OFFER = "INSERT OR REPLACE INTO offers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PUT_CANDIDATE = "INSERT OR REPLACE INTO candidates VALUES (?, ?, ?, ?, ?, ?, ?)"
_PUT_EVENT = "INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?, ?)"
_PUT_TRACKER_PEER = "INSERT OR REPLACE INTO tracker_peers VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


# A client that pulses has no pulse_before_verify pulse to remember: see Client.
_TOUCH_CLIENTS = (
    "UPDATE clients SET last_seen = touched.value, pulse_before_verify = NULL FROM json_each(?) AS touched"
    " WHERE client_id = touched.key"
)
_TOUCH_TRACKER_PEERS = (
    "UPDATE tracker_peers SET last_seen = json_extract(touched.value, '$[3]') FROM json_each(?) AS touched"
    " WHERE host = json_extract(touched.value, '$[0]') AND port = json_extract(touched.value, '$[1]')"
    " AND local_port = json_extract(touched.value, '$[2]')"
)


@singledispatch
def statements(record: object) -> Iterator[Statement]:
    """:returns: what makes the file agree with a record that was noted, as it is now."""
    raise TypeError(f"{type(record).__name__} has no rows")


@statements.register
def _(client: Client) -> Iterator[Statement]:
    yield _PUT_CLIENT, (client.client_id.hex(), client.last_seen, client.host, client.port, client.pulse_before_verify)


@statements.register
def _(revocation: Revocation) -> Iterator[Statement]:
    yield "INSERT OR REPLACE INTO revocations VALUES (?, ?)", (revocation.client_id.hex(), revocation.until)


@statements.register
def _(offer: Offer) -> Iterator[Statement]:
    answer = offer.answer
    answered = (None,) * 4 if answer is None else (answer.answerer, answer.sdp, answer.answered_at, answer.seq)
    yield (
        _PUT_OFFER,
        (
            offer.namespace,
            offer.id,
            offer.owner,
            json.dumps(offer.topics),
            offer.sdp,
            offer.secret,
            offer.info,
            offer.created_at,
            offer.expires_at,
            offer.last_seen,
            *answered,
        ),
    )


@statements.register
def _(added: CandidatesAdded) -> Iterator[Statement]:
    for each in added.candidates:
        yield (
            _PUT_CANDIDATE,
            (
                added.offer.namespace,
                added.offer.id,
                each.seq,
                each.role.value,
                each.peer,
                each.payload,
                each.created_at,
            ),
        )


@statements.register
def _(told: EventLogged) -> Iterator[Statement]:
    event = told.event
    payload = None
    if isinstance(event.payload, Answer):
        answer = event.payload
        payload = json.dumps([answer.answerer, answer.sdp, answer.answered_at, answer.seq])
    elif isinstance(event.payload, Candidate):
        each = event.payload
        payload = json.dumps([each.payload, each.peer, each.role.value, each.created_at, each.seq])
    topics = json.dumps(event.topics)
    yield _PUT_EVENT, (event.seq, told.peer, event.kind.value, event.offer_id, topics, payload)


@statements.register
def _(peer: TrackerPeer) -> Iterator[Statement]:
    yield (
        _PUT_TRACKER_PEER,
        (*peer.source, peer.ip, peer.port, peer.share_id, peer.last_seen, peer.multiaddr),
    )


@statements.register
def _(removed: Removed) -> Iterator[Statement]:
    record = removed.record
    if isinstance(record, Client):
        yield "DELETE FROM clients WHERE client_id = ?", (record.client_id.hex(),)
    elif isinstance(record, Revocation):
        yield "DELETE FROM revocations WHERE client_id = ?", (record.client_id.hex(),)
    elif isinstance(record, Offer):
        yield "DELETE FROM offers WHERE namespace = ? AND id = ?", (record.namespace, record.id)
        yield "DELETE FROM candidates WHERE namespace = ? AND offer_id = ?", (record.namespace, record.id)
    elif isinstance(record, TrackerPeer):
        yield "DELETE FROM tracker_peers WHERE host = ? AND port = ? AND local_port = ?", record.source
    else:
        raise TypeError(f"{type(record).__name__} has no rows")


def touches(records: Iterable[object]) -> Iterator[Statement]:
    """
    Make one statement of many signs of life.

    SQLite then walks the list itself. A statement for each row would hand the interpreter's lock to and fro for each,
    which the reactor's thread, answering pulses, would pay for.

    :param records: clients and tracker peers that are in the file, and of which only ``last_seen`` has changed.
    """
    clients = {}
    peers = []
    for record in records:
        if isinstance(record, Client):
            clients[record.client_id.hex()] = record.last_seen
        elif isinstance(record, TrackerPeer):
            peers.append([*record.source, record.last_seen])
    if clients:
        yield _TOUCH_CLIENTS, (json.dumps(clients),)
    if peers:
        yield _TOUCH_TRACKER_PEERS, (json.dumps(peers),)


def shift(database: sqlite3.Connection, pause: float) -> None:
    """
    Put off all that ends with time, in the file too: the next pause must not bring this one back.

    :param pause: seconds for which the server was down; they do not count against anyone.
    """
    database.execute(
        "UPDATE clients SET last_seen = last_seen + ?1, pulse_before_verify = pulse_before_verify + ?1", (pause,)
    )
    database.execute("UPDATE offers SET expires_at_ms = expires_at_ms + ?", (int(pause * 1000),))
    database.execute("UPDATE tracker_peers SET last_seen = last_seen + ?", (pause,))


def read_clients(database: sqlite3.Connection) -> Iterator[Client]:
    """Read back the clients."""
    rows = database.execute("SELECT client_id, last_seen, host, port, pulse_before_verify FROM clients")
    for client_id, last_seen, host, port, pulse_before_verify in rows:
        client = Client(bytes.fromhex(client_id), last_seen)
        if host is not None:
            client.move((host, port))
        client.pulse_before_verify = pulse_before_verify
        yield client


def read_revocations(database: sqlite3.Connection) -> Iterator[Revocation]:
    """Read back the logouts, the oldest first."""
    for client_id, until in database.execute("SELECT client_id, until FROM revocations ORDER BY until"):
        yield Revocation(bytes.fromhex(client_id), until)


def read_offers(database: sqlite3.Connection) -> Iterator[Offer]:
    """Read back offers and sessions, each with its answer and its candidates."""
    offers: dict[tuple[str, str], Offer] = {}
    for row in database.execute("SELECT * FROM offers"):
        namespace, id, owner, topics, sdp, secret, info, created_at, expires_at, last_seen, *answer = row
        offers[namespace, id] = Offer(
            id=id,
            namespace=namespace,
            owner=owner,
            topics=tuple(json.loads(topics)),
            sdp=sdp,
            secret=secret,
            info=info,
            created_at=created_at,
            expires_at=expires_at,
            last_seen=last_seen,
            answer=None if answer[0] is None else Answer(*answer),
        )
    rows = database.execute(
        "SELECT namespace, offer_id, payload, peer, role, created_at_ms, seq FROM candidates"
        " ORDER BY namespace, offer_id, seq"
    )
    for namespace, id, payload, peer, role, created_at, seq in rows:
        offers[namespace, id].attach(Candidate(payload, peer, Role(role), created_at, seq))
    yield from offers.values()


def read_events(database: sqlite3.Connection) -> Iterator[EventLogged]:
    """Read back what peers were told, in order."""
    rows = database.execute("SELECT seq, peer, kind, offer_id, topics, payload FROM events ORDER BY seq")
    for seq, peer, kind, offer_id, topics, text in rows:
        payload: Answer | Candidate | None = None
        if kind == EventKind.ANSWER:
            payload = Answer(*json.loads(text))
        elif kind == EventKind.CANDIDATE:
            candidate, sender, role, created_at, drawn = json.loads(text)
            payload = Candidate(candidate, sender, Role(role), created_at, drawn)
        yield EventLogged(peer, Event(seq, EventKind(kind), offer_id, tuple(json.loads(topics)), payload))


def read_tracker_peers(database: sqlite3.Connection) -> Iterator[TrackerPeer]:
    """Read back the tracker's peers, the least recently seen first."""
    rows = database.execute(
        "SELECT host, port, local_port, ip, recorded_port, share_id, last_seen, multiaddr FROM tracker_peers"
        " ORDER BY last_seen"
    )
    for host, port, local_port, ip, recorded_port, share_id, last_seen, multiaddr in rows:
        yield TrackerPeer((host, port, local_port), ip, recorded_port, share_id, last_seen, multiaddr)
