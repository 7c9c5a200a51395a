"""What the JSON of attempts and ICE servers looks like."""

from __future__ import annotations

from rendezvous.core.attempts.candidates import GIVEN_KINDS
from rendezvous.core.attempts.strategy import REASONS
from rendezvous.core.connect import AttemptRole, AttemptState, CandidateKind, NatMapping, Strategy, Via
from rendezvous.limits import AttemptLimits
from rendezvous.web.schemaparts import (
    AT_LEAST_ONE,
    CLIENT_ID,
    COUNT,
    KEY,
    MS,
    TEXT,
    Schema,
    many,
    nullable,
    record,
    ref,
)  # fmt: skip

__all__ = ["connect_schemas"]

ATTEMPT: Schema = {"type": "string", "pattern": "^[0-9a-f]{16}$"}
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
# RFC 4291, section 2.2. What has an IPv4 address at its end is taken, too.
_GROUP = "[0-9A-Fa-f]{1,4}"
_IPV6 = "|".join(
    [
        f"({_GROUP}:){{7}}{_GROUP}",
        f"({_GROUP}:){{1,7}}:",
        *(f"({_GROUP}:){{1,{7 - count}}}(:{_GROUP}){{1,{count}}}" for count in range(1, 7)),
        f":((:{_GROUP}){{1,7}}|:)",
    ]
)
_BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
HOST: Schema = {
    "type": "string",
    "pattern": rf"^(({_BYTE}\.){{3}}{_BYTE}|{_IPV6})$",
    "description": "An IPv4 or IPv6 address without a scope.",
}
MAPPING: Schema = {"enum": list(NatMapping)}
AMOUNT: Schema = {"type": ["number", "null"], "minimum": 0}
FLAG: Schema = {"type": ["boolean", "null"]}


def connect_schemas() -> dict[str, Schema]:
    """:returns: the schemas of the connect protocol."""
    return {**_requests(AttemptLimits()), **_answers()}


def _requests(limits: AttemptLimits) -> dict[str, Schema]:
    named = record(kind={"enum": list(GIVEN_KINDS)}, host=HOST, port=PORT)
    candidates = many(named, maxItems=limits.candidates)
    return {
        "NewAttempt": record(
            candidates=nullable(candidates),
            rtt={**AMOUNT, "description": "Milliseconds of a round trip to the server."},
            birthday={**FLAG, "description": "Whether the client agrees to open many ports."},
            optional=("candidates", "rtt", "birthday"),
        ),
        "AttemptCandidates": record(candidates=candidates),
        "Outcome": record(
            ok={"type": "boolean"},
            ms={**AMOUNT, "description": "Milliseconds that it took."},
            via={"enum": [*Via, None], "description": "How the path goes."},
            code={"type": ["string", "null"], "description": "Why there is none."},
            optional=("ms", "via", "code"),
        ),
    }


def _answers() -> dict[str, Schema]:
    server = record(urls=many(TEXT, minItems=1), username=TEXT, credential=TEXT, optional=("username", "credential"))
    given = record(kind={"enum": list(CandidateKind)}, host=TEXT, port=PORT)
    peer = record(
        client_id=CLIENT_ID, mapping=MAPPING, candidates=many(given, maxItems=32), optional=("mapping", "candidates")
    )
    return {
        "IceServer": server,
        "IceServers": record(iceServers=many(ref("IceServer")), ttl=AT_LEAST_ONE, expires=MS),
        "Invitations": record(attempts=many(record(attempt=ATTEMPT, peer=CLIENT_ID, seq=COUNT, expires=MS))),
        "Attempt": record(
            attempt=ATTEMPT,
            state={"enum": list(AttemptState)},
            role={"enum": list(AttemptRole)},
            version=AT_LEAST_ONE,
            expires=MS,
            round=AT_LEAST_ONE,
            iceServers=many(ref("IceServer")),
            peer=peer,
            key=KEY,
            hold={**COUNT, "description": "Milliseconds to wait before the first probe."},
            strategy={"enum": list(Strategy)},
            mapping=MAPPING,
            code={"enum": list(REASONS)},
            reason=TEXT,
            optional=("iceServers", "key", "hold", "strategy", "mapping", "code", "reason"),
        ),
    }
