"""Signed pulses that come in batches, on sockets of both families: they are decided together."""

from __future__ import annotations

import socket
from collections import Counter
from typing import Any

from rendezvous.core.macs import datagram_key
from rendezvous.core.presence.states import PulseCode
from rendezvous.udp import vectorized
from rendezvous.wire.signed import Reply, Request, decode_reply, encode_request
from tests.test_udp_fast import AWAY, FAR, HOME, ON_TIME, BatchCase

Address = tuple[str, int]


class SignedBatchTests(BatchCase):
    """Twenty clients whose signed pulses arrive together."""

    sources: tuple[Address, ...] = (HOME, AWAY, FAR)

    def start(self, **settings: Any) -> None:
        """Start a server with twenty more clients, and count what is not decided together."""
        super().start(**settings)
        self.reactor.advance(1_000_000)
        made = [self.server.register() for _ in range(20)]
        self.clients = [(bytes.fromhex(client_id), key) for client_id, key, _ in made]
        self.alone: list[bytes] = []
        protocol: Any = self.port_protocol()
        sort = protocol.sort
        [reader] = [each for each in self.reactor.getReaders() if each.fileno() == self.port.handle.fileno()]

        def take(datagram: bytes, addr: Address) -> None:
            self.alone.append(datagram)
            sort(datagram, addr)

        self.patch(reader, "_take_one", take)

    def pulses(self, later: int, port: int = 0, wrong: bytes = b"") -> list[tuple[bytes, Address]]:
        """:returns: a signed pulse of each client, so many ms after the time of the server."""
        time = round(self.reactor.seconds() * 1000) + later
        datagrams = [
            encode_request(Request(client_id, time, bytes([number]) * 8, port=port), wrong or datagram_key(key))
            for number, (client_id, key) in enumerate(self.clients)
        ]
        return [(each, self.sources[row % len(self.sources)]) for row, each in enumerate(datagrams)]

    def test_replies_are_whole(self) -> None:
        """First pulses, steady ones, and moves: each client gets its own code, address and MAC."""
        for later, turn in ((0, 0), (1, 0), (2, 1)):
            self.sources = (*self.sources[turn:], *self.sources[:turn])
            pulses = self.pulses(later)
            sent = self.deliver(pulses)
            self.assertEqual((len(sent), self.alone), (20, []))
            by_nonce = {reply[28:36]: (reply, to) for reply, to in sent}
            for number, ((client_id, key), (datagram, source)) in enumerate(zip(self.clients, pulses, strict=True)):
                reply, to = by_nonce[bytes([number]) * 8]
                time = int.from_bytes(datagram[20:28], "big")
                request = Request(client_id, time, bytes([number]) * 8)
                self.assertEqual(decode_reply(reply, datagram_key(key)), Reply(PulseCode.ON_TIME, request, source))
                self.assertEqual(to, source)

    def test_copies_and_forged_ones_are_dropped_together(self) -> None:
        """They cost no more than what they are."""
        self.deliver(self.pulses(0))
        self.assertEqual(self.deliver(self.pulses(0)), [])
        self.assertEqual(self.deliver(self.pulses(1, wrong=b"another key")), [])
        self.assertEqual(self.alone, [])
        self.assertEqual(self.dropped(), {"repeated signed request": 20, "wrong MAC": 20})

    def test_signed_and_plain_pulses_in_one_batch(self) -> None:
        """Those of other clients are decided together; a client that sends both has them decided in their order."""
        plain = [(key, HOME) for key in self.keys]
        signed = self.pulses(0)
        sent = self.deliver([*signed, *plain, (self.clients[0][1], HOME)])
        self.assertEqual(Counter(len(reply) for reply, _ in sent), {80: 20, 4: 21})
        self.assertEqual(sent.count((ON_TIME, HOME)), 21)
        self.assertEqual(self.alone, [signed[0][0]])

    def test_pulses_may_come_to_any_port(self) -> None:
        """Whichever they name; a copy to another port is a copy."""
        second: Any = self.reactor.udp_ports[1]
        second.deliver_all(self.pulses(0, port=0))
        self.assertEqual(len(second.sent), 20)
        self.assertEqual(self.deliver(self.pulses(0, port=0)), [])
        self.assertEqual(self.dropped(), {"repeated signed request": 20})

    def test_nothing_is_taken_without_pulses(self) -> None:
        """With the rendezvous protocol off."""
        super().start(without=("rendezvous",))
        self.assertEqual(self.deliver(self.pulses(0)), [])
        self.assertEqual(self.dropped(), {"protocol turned off": 20})

    def test_a_few_are_decided_one_by_one(self) -> None:
        """With the same result."""
        few = vectorized.FEW - 1
        self.assertEqual(len(self.deliver(self.pulses(0)[:few])), few)
        self.assertEqual(len(self.alone), few)


class IPv4SignedBatchTests(SignedBatchTests):
    """The same on a socket for IPv4."""

    family = socket.AF_INET
    sources = (HOME, AWAY)
