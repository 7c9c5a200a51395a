"""
Scripts of what a TURN server sends to a relay's client: for tests and for the fuzzer.

A script is bytes, so that a fuzzer can change it: the first byte chooses the transport, and then come records of an
action (1 byte), a size (1 byte) and as many bytes, or as many as are left. Any bytes are a script.
"""

from __future__ import annotations

from random import Random
from typing import Any

from rendezvous.client.relay import Relay
from rendezvous.client.relay.allocation import MAX_CHANNELS, MAX_PERMISSIONS
from rendezvous.wire.stun import Message, MessageClass
from rendezvous.wire.turn import Method, Name, encode, encode_channel_data
from tests._scripts import records
from tests._turn_case import ONE_WAY, REALM, SERVER, MemoryTurn, TurnReactor, ice_servers, sealed

__all__ = ["SAMPLES", "play"]

PEER = ("203.0.113.9", 40001)
RELAYED = ("198.51.100.1", 50000)
#: Seconds that an action may let pass.
PAUSES = (ONE_WAY, 0.5, 30.0, 300.0)


def _sample(method: Method, kind: MessageClass, *attributes: tuple[int, Any]) -> bytes:
    return encode(Message(method, kind, bytes(12), attributes))


_CHALLENGE = ((Name.REALM, REALM), (Name.NONCE, "nonce 2"))
SAMPLES = (
    *(
        _sample(method, MessageClass.ERROR, (Name.ERROR_CODE, (code, "Reason")), *_CHALLENGE)
        for method in (Method.ALLOCATE, Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND)
        for code in (401, 403, 437, 438)
    ),
    _sample(Method.ALLOCATE, MessageClass.ERROR, (Name.ERROR_CODE, (300, "")), (Name.ALTERNATE_SERVER, SERVER)),
    _sample(Method.ALLOCATE, MessageClass.SUCCESS, (Name.XOR_RELAYED_ADDRESS, RELAYED), (Name.LIFETIME, 1)),
    _sample(Method.REFRESH, MessageClass.SUCCESS, (Name.LIFETIME, 0)),
    _sample(Method.DATA, MessageClass.INDICATION, (Name.XOR_PEER_ADDRESS, PEER), (Name.DATA, b"hello")),
    encode_channel_data(0x4000, b"hello", padded=True),
)
"""Frames that a server sends, their transaction ids zero."""


class Player:
    """A relay's client that has an address, unless the script says what the server answers to that already."""

    def __init__(self, urls: str) -> None:
        self.reactor, self.server = TurnReactor(), MemoryTurn()
        self.reactor.datagrams[SERVER] = self.reactor.streams[SERVER] = self.server
        self.reactor.nameResolver.known[SERVER[0]] = [SERVER[0]]
        self.lost: list[str] = []
        self.heard = 0
        self.relay = Relay(
            ice_servers(urls), self.reactor, on_datagram=self.receive, on_lost=self.lost.append, random=Random(1)
        )
        self.result: Any = self.relay.allocate().addErrback(lambda failure: None)

    def receive(self, datagram: bytes, source: Any) -> None:
        """Answer each fourth datagram."""
        self.heard += 1
        if self.heard % 4 == 0:
            self.relay.send(datagram, source)

    def act(self, action: int, data: bytes) -> None:
        """Do what a record says."""
        carriers: list[Any] = [*self.reactor.connections, *self.reactor.sockets]
        match action & 7:
            case 0 | 1:
                for carrier in carriers:
                    carrier.receive(data)
            case 2 | 3 if self.server.requests:
                # The answer to a request of the client, its transaction id right, and signed in half of the cases.
                asked = self.server.requests[-1 - (action >> 4) % len(self.server.requests)]
                answer = data[:8] + asked.transaction_id + data[20:]
                for carrier in carriers:
                    carrier.receive(sealed(answer) if action & 1 else answer)
            case 4:
                self.reactor.advance(PAUSES[action >> 4 & 3])
            case 5:
                self.relay.send(data, (f"203.0.113.{action}", 40001))
            case 6:
                self.server.deaf = {Method.ALLOCATE, Method.REFRESH} if action & 16 else set()
            case _:
                self.relay.permit(PEER[0])

    def end(self) -> None:
        """
        Close, and look at what is left.

        :raises AssertionError: if that is too much.
        """
        link = self.relay._link
        allocation = None if link is None else link._allocation
        if allocation is not None:
            assert len(allocation._permissions) <= MAX_PERMISSIONS
            assert len(allocation._heard) <= MAX_PERMISSIONS
            assert len(allocation._numbers) <= MAX_CHANNELS
        assert len(self.lost) <= 1, self.lost
        self.relay.close()
        for _ in range(200):
            self.reactor.advance(0.05)
        assert self.result.called, "the allocation neither succeeds nor fails"
        assert not self.reactor.getDelayedCalls(), self.reactor.getDelayedCalls()
        carriers: list[Any] = [*self.reactor.connections, *self.reactor.sockets]
        assert not any(carrier.open for carrier in carriers)


def play(script: bytes) -> None:
    """
    Play a script to a new client.

    :raises AssertionError: if the client is not left as it has to be.
    """
    first = script[0] if script else 0
    player = Player(f"turn:{SERVER[0]}?transport={'tcp' if first & 1 else 'udp'}")
    if first & 2:
        for _ in range(20):
            player.reactor.advance(ONE_WAY)
        player.relay.permit(PEER[0])
    for action, data in records(script):
        player.act(action, data)
    player.end()
