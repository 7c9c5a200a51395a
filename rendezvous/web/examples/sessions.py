"""Worked requests of the sessions protocol, and for WebSockets."""

from __future__ import annotations

from rendezvous.web.examples.example import Example, Examples
from rendezvous.web.examples.values import ANSWER_SDP, CODE, MOMENT_MS, OFFER_SDP, PEERJS_ID

__all__ = ["SESSIONS", "SOCKETS"]

SESSIONS: Examples = {
    "POST /<topic>/offer": Example({"code": CODE}, body={"info": "Alice", "offer": OFFER_SDP}),
    "GET /<topic>/sessions": Example(
        {
            "sessions": [
                {
                    "code": CODE,
                    "info": "Alice",
                    "peerId": "Alice",
                    "offer": OFFER_SDP,
                    "offerCandidates": [],
                    "createdAt": MOMENT_MS,
                    "expiresAt": MOMENT_MS + 300_000,
                }
            ],
            "hasMore": False,
        }
    ),
    "POST /answer": Example({"success": True}, body={"code": CODE, "side": "answerer", "answer": ANSWER_SDP}),
    "POST /poll": Example(
        {"answer": ANSWER_SDP, "answerCandidates": [], "latest": 1_800_000_000_250_006},
        body={"code": CODE, "side": "offerer", "wait": 25},
    ),
}

SOCKETS: Examples = {
    "GET /signal": Example({"ok": True, "protocols": ["y-webrtc", "trystero"]}),
    "GET /peerjs/id": Example(PEERJS_ID),
    "GET /peerjs": Example('{"type":"OPEN"}', params=("key", "id", "token")),
    "GET /peerjs/peers": Example(["alice"]),
}
