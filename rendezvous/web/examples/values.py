"""Who and what the worked requests are about: Alice asks, Bob answers, and all of it happens at one moment."""

from __future__ import annotations

__all__ = [
    "ALICE",
    "ANSWER_SDP",
    "ATTEMPT",
    "BOB",
    "CODE",
    "KEYS",
    "MOMENT",
    "MOMENT_MS",
    "OFFER",
    "OFFER_SDP",
    "ORIGIN",
    "PAIR_KEY",
    "PEERJS_ID",
    "RANDOM",
    "TICKET",
    "TOPIC",
    "TURN",
    "WEBSOCKET_ACCEPT",
    "WEBSOCKET_KEY",
]

#: Seconds since the epoch, and the same in milliseconds.
MOMENT = 1_800_000_000.25
MOMENT_MS = 1_800_000_000_250

ALICE = "eee65f53e9421ce50211670eae679f02"
BOB = "e8d28a79023c39c200661fccd268a29a"

#: The private keys of clients, by their ids.
KEYS = {
    ALICE: "0d347301ef56e64dc3cd6089065c3146e80a9c222670bbe4f4c54977656cf2d1",
    BOB: "33187c8df95247f2866028de71159b42b4ea410fb9102f29a422eb14ab2f2d0f",
}

#: What a client is given for the TURN server, by its id.
TURN = {
    ALICE: {"username": "1800003600:7413e3b266f850f1", "credential": "3Y283dIXf9FfzV3MRfdApMhdmuw="},
    BOB: {"username": "1800003600:578b5c72dc4ee60c", "credential": "oLG4t86mnB/Xmpo2UNcGPptVZeY="},
}

ATTEMPT = "0cc022238daceee2"
PAIR_KEY = "092f073ff80b9465aef7ac86d66c7a644fb12853ef86dcfaea21818b904ce608"
TICKET = "Qz7VV8GMtXZVXJNTSBO9pjs7evsf9XM0Mb9VGV3G0Lg"
CODE = "0ca8cd8c-0fcc-4d91-bba0-15a76d2b1be1"
PEERJS_ID = "4ab2ad80-1af0-48cb-a678-c7d198e4baf1"

#: What the server draws at random or derives from that: it is another text in each answer of a real server.
RANDOM = frozenset(
    {
        *(ALICE, BOB, ATTEMPT, PAIR_KEY, TICKET, CODE, PEERJS_ID),
        *KEYS.values(),
        *(text for given in TURN.values() for text in given.values()),
    }
)

TOPIC = "chess"
OFFER = "alice-1"
ORIGIN = "https://app.example"
OFFER_SDP = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
ANSWER_SDP = "v=0\r\no=- 2 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"

# The example of RFC 6455, section 1.3.
WEBSOCKET_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
WEBSOCKET_ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
