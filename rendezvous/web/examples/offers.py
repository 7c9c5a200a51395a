"""Worked requests of the offers protocol: Alice publishes an offer, Bob answers it, and both send candidates."""

from __future__ import annotations

from typing import Any

from rendezvous.web.examples.example import Example, Examples
from rendezvous.web.examples.values import (
    ALICE,
    ANSWER_SDP,
    BOB,
    MOMENT_MS,
    OFFER,
    OFFER_SDP,
    TICKET,
    TOPIC,
)  # fmt: skip

__all__ = ["OFFERS"]

_NEW: dict[str, Any] = {"id": OFFER, "sdp": OFFER_SDP, "topics": [TOPIC], "ttl": 300_000, "info": "Alice"}
_PUBLISHED = {"id": OFFER, "peerId": ALICE, "topics": [TOPIC], "expiresAt": MOMENT_MS + _NEW["ttl"]}
_SHOWN = {**_PUBLISHED, "sdp": OFFER_SDP, "lastSeen": MOMENT_MS, "hasSecret": False, "info": "Alice"}
_OWN = {
    "createdAt": MOMENT_MS,
    "secret": None,
    "whileConnected": False,
    "answererPeerId": None,
    "answeredAt": None,
}
_ANSWERED = {"offerId": OFFER, "answererId": BOB, "answeredAt": MOMENT_MS}
_CANDIDATE = {
    "candidate": "candidate:1 1 udp 2130706431 192.168.1.20 40000 typ host",
    "sdpMid": "0",
    "sdpMLineIndex": 0,
}
_STREAM = f"""\
id: 1800000000250002
event: answer
data: {{"offerId":"{OFFER}","answererId":"{BOB}","answeredAt":{MOMENT_MS},"topics":["{TOPIC}"],\
"sdp":"v=0\\r\\no=- 2 1 IN IP4 0.0.0.0\\r\\ns=-\\r\\nt=0 0\\r\\n"}}

"""

OFFERS: Examples = {
    "POST /offers": Example({"offers": [_PUBLISHED]}, caller=ALICE, body={"offers": [_NEW]}),
    "GET /offers/mine": Example({"peerId": ALICE, "offers": [{**_SHOWN, **_OWN}], "hasMore": False}, caller=ALICE),
    "GET /offers/by-topic/<topic>": Example(
        {
            "topic": TOPIC,
            "offers": [_SHOWN],
            "gone": [],
            "since": "1800000000250001",
            "reset": True,
            "returned": 1,
            "total": 1,
            "hasMore": False,
        },
        params=("changes-since", "wait"),
    ),
    "GET /peers/<peer>/offers": Example({"peerId": ALICE, "offers": [_SHOWN], "topics": [TOPIC], "hasMore": False}),
    "GET /topics": Example(
        {
            "topics": [{"topic": TOPIC, "activePeers": 1, "count": 0}],
            "total": 1,
            "limit": 10,
            "offset": 0,
            "pagination": {"page": 1, "limit": 10, "total": 1, "hasMore": False},
            "startsWith": "ch",
        },
        params=("topics-limit", "startsWith"),
    ),
    "PUT /offers/<offer>/heartbeat": Example({"id": OFFER, "lastSeen": MOMENT_MS}, caller=ALICE),
    "POST /offers/<offer>/answer": Example(_ANSWERED, caller=BOB, body={"sdp": ANSWER_SDP}),
    "GET /offers/answers": Example(
        {"answers": [{**_ANSWERED, "sdp": ANSWER_SDP, "topics": [TOPIC]}], "hasMore": False},
        params=("wait",),
        caller=ALICE,
    ),
    "POST /offers/<offer>/ice-candidates": Example(
        {"offerId": OFFER, "candidatesAdded": 1}, caller=BOB, body={"candidates": [_CANDIDATE]}
    ),
    "GET /offers/<offer>/ice-candidates": Example(
        {
            "offerId": OFFER,
            "candidates": [{"candidate": _CANDIDATE, "peerId": BOB, "role": "answerer", "createdAt": MOMENT_MS}],
            "hasMore": False,
        },
        params=("wait",),
        caller=ALICE,
    ),
    "POST /events/ticket": Example({"ticket": TICKET, "expires": MOMENT_MS + 60_000}, caller=ALICE),
    "GET /events": Example(_STREAM, params=("Last-Event-ID",), caller=ALICE, is_abridged=True),
    "DELETE /offers/<offer>": Example({"deleted": True}, caller=ALICE),
}
