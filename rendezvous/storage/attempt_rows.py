"""Attempts to rows and back. An attempt lives for a minute or two, so most of it is one JSON object."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

from rendezvous.core.attempts.attempt import Attempt, Check, Given, Side
from rendezvous.core.connect import AttemptRole, AttemptState, Candidate, CandidateKind, Strategy
from rendezvous.core.sources import source_network

__all__ = ["PUT_ATTEMPT", "read_attempts", "written"]

PUT_ATTEMPT = "INSERT OR REPLACE INTO attempts VALUES (?, ?, ?, ?)"

# The fields of an attempt that JSON has as they are.
_PLAIN = ("begun", "joined", "ended", "invites", "round", "next_round", "starts", "code")


def written(attempt: Attempt) -> str:
    """:returns: what has no column of its own, as JSON."""
    record = {name: getattr(attempt, name) for name in _PLAIN}
    record |= {"state": attempt.state, "strategy": attempt.strategy, "sides": [_side(side) for side in attempt]}
    return json.dumps(record)


def _side(side: Side) -> dict[str, Any]:
    given = side.given
    return {
        "client_id": side.client_id.hex(),
        "candidates": [[each.kind, *each.address] for each in given.candidates],
        "rtt": given.rtt,
        "birthday": given.birthday,
        "observed": side.observed,
        "checks": [[*address, check.nonce.hex(), check.begun, check.sent] for address, check in side.checks.items()],
        "vouched": list(side.vouched),
        "version": side.version,
    }


def read_attempts(database: sqlite3.Connection) -> Iterator[Attempt]:
    """Read back the attempts, in the order of their invitations."""
    for attempt_id, seq, network, text in database.execute("SELECT * FROM attempts ORDER BY seq"):
        record = json.loads(text)
        controlling, controlled = map(_read_side, record["sides"], AttemptRole)
        yield Attempt(
            attempt_id,
            seq,
            source_network(network),
            controlling=controlling,
            controlled=controlled,
            state=AttemptState(record["state"]),
            strategy=Strategy(record["strategy"]),
            **{name: record[name] for name in _PLAIN},
        )


def _read_side(record: dict[str, Any], role: AttemptRole) -> Side:
    candidates = tuple(Candidate(CandidateKind(kind), (host, port)) for kind, host, port in record["candidates"])
    return Side(
        bytes.fromhex(record["client_id"]),
        role,
        Given(candidates, record["rtt"], record["birthday"]),
        {
            int(round): {
                int(family): {int(port): (host, number) for port, (host, number) in ports.items()}
                for family, ports in seen.items()
            }
            for round, seen in record["observed"].items()
        },
        checks={
            (host, port): Check(bytes.fromhex(nonce), begun, sent)
            for host, port, nonce, begun, sent in record["checks"]
        },
        vouched={(host, port) for host, port in record["vouched"]},
        version=record["version"],
    )
