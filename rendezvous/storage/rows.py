"""Records to rows and back: the one module that knows both."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from functools import cache, singledispatch
from operator import attrgetter
from typing import Any

from rendezvous.core.attempts.attempt import Attempt
from rendezvous.core.bans import Ban
from rendezvous.core.notes import Removed
from rendezvous.core.presence.client import Client
from rendezvous.core.presence.logouts import LiveOnly, Revocation
from rendezvous.core.replies import Source
from rendezvous.core.signaling.encoded import array, string, text_of
from rendezvous.core.signaling.entries import Entry
from rendezvous.core.signaling.events import Event, EventKind, EventLogged
from rendezvous.core.signaling.offers import Answer, Candidate, CandidatesAdded, Offer, OfferChanged, Role
from rendezvous.core.sources import source_network
from rendezvous.core.tracker import TrackerPeer
from rendezvous.storage.attempt_rows import PUT_ATTEMPT, written

__all__ = [
    "PUT_SNAPSHOT",
    "Statement",
    "read_bans",
    "read_clients",
    "read_events",
    "read_offers",
    "read_revocations",
    "read_snapshot",
    "read_tracker_peers",
    "seen_peers",
    "snapshot_row",
    "statements",
]

#: SQL about one table, and its parameters. Of two statements about different tables either may come first. Where the
#: SQL has a list of ``VALUES``, many statements can be made one (:func:`~rendezvous.storage.writer.execute_many`).
Statement = tuple[str, tuple[Any, ...]]

_PUT_CLIENT = "INSERT OR REPLACE INTO clients VALUES (?, ?)"
PUT_SNAPSHOT = "INSERT INTO client_snapshot VALUES (?, ?, ?, ?, ?, ?, ?)"
# What an offer has in the file, field by field; of an answer, see _ANSWER.
_OFFER_COLUMNS = {
    "namespace": "namespace",
    "id": "id",
    "owner": "owner",
    "topics": "topics",
    "sdp": "sdp",
    "secret": "secret",
    "info": "info",
    "created_at": "created_at_ms",
    "expires_at": "expires_at_ms",
    "last_seen": "last_seen_ms",
    "seen": "seen",
    "while_connected": "while_connected",
    "source": "network",
}
_ANSWER_COLUMNS = "answerer, answer_sdp, answered_at_ms, answer_seq"
_VALUES: dict[str, Callable[[Offer], Any]] = {
    **{field: attrgetter(field) for field in _OFFER_COLUMNS},
    "topics": lambda offer: array(offer.topics),
    "sdp": lambda offer: text_of(offer.sdp),
    "source": attrgetter("source.subscriber"),
}
_COLUMNS = ", ".join(_OFFER_COLUMNS.values())
_PUT_OFFER = f"INSERT OR REPLACE INTO offers ({_COLUMNS}) VALUES ({', '.join('?' * len(_OFFER_COLUMNS))})"  # noqa: S608
_PUT_CANDIDATE = "INSERT OR REPLACE INTO candidates VALUES (?, ?, ?, ?, ?, ?, ?)"
_PUT_EVENT = "INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?, ?)"
_PUT_TRACKER_PEER = "INSERT OR REPLACE INTO tracker_peers VALUES (?, ?, ?, ?, ?, ?, ?, ?)"

# The event of an answer is kept without the answer for as long as the offer has it.
_ANSWER = f"json_array({_ANSWER_COLUMNS})"
_KEEP_ANSWER = (
    "UPDATE events SET payload = new.column2 FROM (VALUES (?, ?)) AS new WHERE seq = new.column1 AND kind = 'answer'"
)
# SQLite looks up each row of such a list by the index. With a bare list of VALUES it would read the whole table.
_LISTED = "IN (SELECT column1, column2 FROM (VALUES (?, ?)))"
_DROP_CLIENT = f"DELETE FROM clients WHERE (slot, client_id) {_LISTED}"  # noqa: S608
_DROP_OFFER = f"DELETE FROM offers WHERE (namespace, id) {_LISTED}"  # noqa: S608
_DROP_CANDIDATES = f"DELETE FROM candidates WHERE (namespace, offer_id) {_LISTED}"  # noqa: S608
_PEERS_SEEN = (
    "UPDATE tracker_peers SET last_seen = json_extract(seen.value, '$[3]') FROM json_each(?) AS seen"
    " WHERE host = json_extract(seen.value, '$[0]') AND port = json_extract(seen.value, '$[1]')"
    " AND local_port = json_extract(seen.value, '$[2]')"
)


@singledispatch
def statements(record: object) -> Iterator[Statement]:
    """:returns: what makes the file agree with a record that was noted, as it is now."""
    raise TypeError(f"{type(record).__name__} has no rows")


@statements.register
def _(client: Client) -> Iterator[Statement]:
    yield _PUT_CLIENT, (client.slot, client.client_id)


@statements.register
def _(revocation: Revocation) -> Iterator[Statement]:
    values = (revocation.client_id.hex(), revocation.until, revocation.network)
    yield "INSERT OR REPLACE INTO revocations VALUES (?, ?, ?)", values


@statements.register
def _(rule: LiveOnly) -> Iterator[Statement]:
    yield "INSERT OR REPLACE INTO meta VALUES ('live_only_until', ?)", (rule.until,)


@statements.register
def _(ban: Ban) -> Iterator[Statement]:
    yield "INSERT OR REPLACE INTO bans VALUES (?, ?, ?, ?)", (ban.target, ban.until, ban.reason, ban.since)


@statements.register
def _(offer: Offer) -> Iterator[Statement]:
    # Written out, in the order of _OFFER_COLUMNS: every publication pays for it.
    yield (
        _PUT_OFFER,
        (
            offer.namespace,
            offer.id,
            offer.owner,
            array(offer.topics),
            text_of(offer.sdp),
            offer.secret,
            offer.info,
            offer.created_at,
            offer.expires_at,
            offer.last_seen,
            offer.seen,
            offer.while_connected,
            offer.source.subscriber,
        ),
    )


@statements.register
def _(changed: OfferChanged) -> Iterator[Statement]:
    offer, answer = changed.offer, changed.offer.answer
    if changed.fields != ("answer",):
        sql, values = _set_fields(changed.fields)
        yield sql, (offer.namespace, offer.id, *[value(offer) for value in values])
    elif answer is not None:
        written = (answer.answerer, text_of(answer.sdp), answer.answered_at, answer.seq)
        yield _SET_ANSWER, (offer.namespace, offer.id, *written)


@cache
def _set_fields(fields: tuple[str, ...]) -> tuple[str, tuple[Callable[[Offer], Any], ...]]:
    """:returns: what sets some fields of offers, and what gives the values behind namespace and id."""
    return _update(*map(_OFFER_COLUMNS.__getitem__, fields)), tuple(map(_VALUES.__getitem__, fields))


def _update(*columns: str) -> str:
    """:returns: what sets some columns of offers; namespace and id are the first of its parameters."""
    assignments = ", ".join(f"{column} = new.column{number}" for number, column in enumerate(columns, 3))
    row = ", ".join("?" * (2 + len(columns)))
    return (
        f"UPDATE offers SET {assignments} FROM (VALUES ({row})) AS new"  # noqa: S608
        " WHERE namespace = new.column1 AND id = new.column2"
    )


_SET_ANSWER = _update(*_ANSWER_COLUMNS.split(", "))


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
                each.payload.decode(),
                each.created_at,
            ),
        )


@statements.register
def _(logged: EventLogged) -> Iterator[Statement]:
    event = logged.event
    payload = None
    if isinstance(event.payload, Candidate):
        each = event.payload
        payload = array([each.payload.decode(), each.peer, each.role.value, each.created_at, each.seq])
    yield _PUT_EVENT, (event.seq, logged.peer, event.kind.value, event.offer_id, array(event.topics), payload)


@statements.register
def _(attempt: Attempt) -> Iterator[Statement]:
    yield PUT_ATTEMPT, (attempt.id, attempt.seq, attempt.source.subscriber, written(attempt))


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
        yield _DROP_CLIENT, (record.slot, record.client_id)
    elif isinstance(record, Revocation):
        yield "DELETE FROM revocations WHERE client_id = ?", (record.client_id.hex(),)
    elif isinstance(record, Ban):
        yield "DELETE FROM bans WHERE target = ?", (record.target,)
    elif isinstance(record, Offer):
        answer = record.answer
        if answer is not None:
            kept = array([answer.answerer, text_of(answer.sdp), answer.answered_at, answer.seq])
            yield _KEEP_ANSWER, (answer.seq, kept)
        yield _DROP_OFFER, (record.namespace, record.id)
        yield _DROP_CANDIDATES, (record.namespace, record.id)
    elif isinstance(record, Attempt):
        yield "DELETE FROM attempts WHERE attempt = ?", (record.id,)
    elif isinstance(record, TrackerPeer):
        yield "DELETE FROM tracker_peers WHERE host = ? AND port = ? AND local_port = ?", record.source
    else:
        raise TypeError(f"{type(record).__name__} has no rows")


def seen_peers(seen: Iterable[tuple[Source, float]]) -> Iterator[Statement]:
    """
    Make one statement of the times when many tracker peers were last seen.

    SQLite then walks the list itself. A statement for each row would hand the interpreter's lock to and fro for each,
    which the reactor's thread, answering pulses, would pay for.

    :param seen: sources and times.
    """
    peers = [[*source, last_seen] for source, last_seen in seen]
    if peers:
        yield _PEERS_SEEN, (json.dumps(peers),)


def read_clients(database: sqlite3.Connection) -> Iterator[tuple[int, bytes]]:
    """Read back which clients there are: slots, ascending, and ids."""
    return database.execute("SELECT slot, client_id FROM clients ORDER BY slot")


def read_snapshot(database: sqlite3.Connection, now: float) -> Iterator[Client]:
    """
    Read back clients with their times and addresses, from a copy; slots ascend.

    :param now: when those were seen last of which the copy does not say it.
    """
    rows = database.execute(
        "SELECT slot, client_id, last_seen, network, host, port, local_port, pulse_before_verify"
        " FROM clients LEFT JOIN client_snapshot USING (slot) ORDER BY slot"
    )
    for slot, client_id, last_seen, network, host, port, local_port, before in rows:
        if last_seen is None:
            yield Client(client_id, now, slot=slot)
        else:
            yield Client(client_id, last_seen, network, host, port, local_port, before, slot)


def snapshot_row(client: Client) -> tuple[object, ...]:
    """:returns: the parameters of :data:`PUT_SNAPSHOT` that keep a client for :func:`read_snapshot`."""
    return (
        client.slot,
        client.last_seen,
        client.host,
        client.port,
        client.local_port,
        client.pulse_before_verify,
        client.network,
    )


def read_revocations(database: sqlite3.Connection) -> Iterator[Revocation]:
    """Read back the logouts, the oldest first."""
    rows = database.execute("SELECT client_id, until, network FROM revocations ORDER BY until")
    for client_id, until, network in rows:
        yield Revocation(bytes.fromhex(client_id), until, network)


def read_bans(database: sqlite3.Connection) -> Iterator[Ban]:
    """
    Read back the bans.

    :raises ValueError: a target is not what a ban can have.
    """
    for row in database.execute("SELECT target, until, reason, since FROM bans"):
        ban = Ban(*row)
        if not ban.is_regular:
            raise ValueError("not a target of a ban")
        yield ban


def read_offers(database: sqlite3.Connection) -> Iterator[Entry]:
    """Read back offers and sessions, each with its answer and its candidates."""
    entries: dict[tuple[str, str], Entry] = {}
    for row in database.execute(f"SELECT {_COLUMNS}, {_ANSWER_COLUMNS} FROM offers"):  # noqa: S608
        fields = dict(zip(_OFFER_COLUMNS, row, strict=False))
        answer = row[len(_OFFER_COLUMNS) :]
        fields |= {
            "topics": tuple(json.loads(fields["topics"])),
            "sdp": string(fields["sdp"]),
            "while_connected": bool(fields["while_connected"]),
            "source": source_network(fields["source"]),
            "answer": None if answer[0] is None else _answer(*answer),
        }
        offer = Offer(**fields)
        entries[offer.namespace, offer.id] = Entry(offer)
    rows = database.execute(
        "SELECT namespace, offer_id, payload, peer, role, created_at_ms, seq FROM candidates"
        " ORDER BY namespace, offer_id, seq"
    )
    for namespace, id, payload, peer, role, created_at, seq in rows:
        entries[namespace, id].attach(Candidate(payload.encode(), peer, Role(role), created_at, seq))
    yield from entries.values()


def _answer(answerer: str, sdp: str, answered_at: int, seq: int) -> Answer:
    return Answer(answerer, string(sdp), answered_at, seq)


def read_events(database: sqlite3.Connection) -> Iterator[EventLogged]:
    """Read back the events, in order."""
    rows = database.execute(
        f"SELECT seq, peer, kind, offer_id, events.topics, iif(kind = 'answer', coalesce(payload, {_ANSWER}), payload)"  # noqa: S608
        " FROM events LEFT JOIN offers ON answer_seq = seq ORDER BY seq"
    )
    for seq, peer, kind, offer_id, topics, text in rows:
        payload: Answer | Candidate | None = None
        if kind == EventKind.ANSWER:
            payload = _answer(*json.loads(text))
        elif kind == EventKind.CANDIDATE:
            candidate, sender, role, created_at, drawn = json.loads(text)
            payload = Candidate(candidate.encode(), sender, Role(role), created_at, drawn)
        yield EventLogged(peer, Event(seq, EventKind(kind), offer_id, tuple(json.loads(topics)), payload))


def read_tracker_peers(database: sqlite3.Connection) -> Iterator[TrackerPeer]:
    """Read back the tracker's peers, the least recently seen first."""
    rows = database.execute(
        "SELECT host, port, local_port, ip, recorded_port, share_id, last_seen, multiaddr FROM tracker_peers"
        " ORDER BY last_seen"
    )
    for host, port, local_port, ip, recorded_port, share_id, last_seen, multiaddr in rows:
        yield TrackerPeer((host, port, local_port), ip, recorded_port, share_id, last_seen, multiaddr)
