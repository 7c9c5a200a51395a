"""Signed pulses in batches, against the same pulses one by one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from rendezvous.core.identity import Keyring, Secret
from rendezvous.core.macs import datagram_key, mac
from rendezvous.core.presence.freshness import WINDOW
from rendezvous.core.presence.presence import Presence
from rendezvous.core.presence.signedrequests import Proof, Refusal, Request
from rendezvous.core.presence.states import PulseCode, Timers
from rendezvous.wire.signed import encode_request
from tests._live_table import clients
from tests._presence_case import NOW

try:
    import numpy as np

    from rendezvous.core.presence.batch import LEFT, Places
    from rendezvous.core.presence.signedbatch import REFUSALS, SignedBatch
except ImportError as e:
    raise SkipTest("this needs NumPy") from e

#: Without an old secret, and with one that is honoured for a while.
KEYRINGS = (Keyring([Secret(bytes(32))]), Keyring([Secret(bytes(32)), Secret(b"\x09" * 32, NOW + 50)]))
MOMENT = round(NOW * 1000)
SOURCES = [("192.0.2.1", 1), ("192.0.2.2", 65535)]
PORT = 5024


class Sent(NamedTuple):
    """
    A signed request that is sent.

    :ivar client: the number of the client; 8 and 9 are registered nowhere.
    :ivar later: its time, in ms after that of the server.
    :ivar secret: which of the server's secrets its key is from.
    :ivar wrong: what of it is wrong, if something is.
    """

    client: int
    later: int
    source: tuple[str, int]
    secret: int = 0
    wrong: str = ""


SENT = st.builds(
    Sent,
    st.integers(0, 9),
    st.integers(-5, 5) | st.sampled_from([-WINDOW - 1, -WINDOW, WINDOW, WINDOW + 1, -MOMENT, 2**63]),
    st.sampled_from(SOURCES),
    st.integers(0, 1),
    st.sampled_from(["", "", "", "", "", "mac", "port", "reserved", "attempt", "round"]),
)
STEPS = st.lists(st.tuples(st.sampled_from([0.0, 1.0, 33.0, 34.0, 60.0]), st.lists(SENT, max_size=20)), max_size=6)


def client_id(number: int) -> bytes:
    """:returns: an id."""
    return b"client of tests" + bytes([number])


class SignedBatchTests(SynchronousTestCase):
    """The same signed requests, one by one and together."""

    def table(self, keyring: Keyring) -> Presence:
        """:returns: a table with eight clients."""
        table = Presence(Timers(), keyring, max_clients=16)
        for number in range(8):
            table.register(client_id(number), keyring.key(client_id(number)), NOW)
        return table

    def datagram(self, keyring: Keyring, sent: Sent, now: float) -> bytes:
        """:returns: the bytes of a request."""
        keys = keyring.keys(client_id(sent.client), NOW)
        own = datagram_key(keys[sent.secret % len(keys)])
        wrong = sent.wrong
        attempt = (b"attempt!", 1) if wrong == "attempt" else (bytes(8), int(wrong == "round"))
        time = min(max(round(now * 1000) + sent.later, 0), 2**64 - 1)
        port = 1 if wrong == "port" else 0
        datagram = encode_request(Request(client_id(sent.client), time, b"nonce..8", *attempt, port), own)
        if wrong == "reserved":
            body = datagram[:50] + b"\1" + datagram[51:64]
            datagram = body + mac(own, body)
        return datagram[:-1] + bytes([datagram[-1] ^ 1]) if wrong == "mac" else datagram

    def plain(self, table: Presence, sent: Sent, datagram: bytes, now: float) -> PulseCode | Refusal | None:
        """:returns: what one request leads to; ``None`` if it is no pulse."""
        if sent.wrong in ("reserved", "attempt", "round"):
            return None
        time = int.from_bytes(datagram[20:28], "big")
        request = Request(client_id(sent.client), time, b"nonce..8", port=datagram[62])
        proof = table.signed.check(request, datagram, 0, now)
        if not isinstance(proof, Proof):
            return proof
        return table.signed.take_pulse(request, proof, sent.source, now, PORT)

    def together(
        self, batch: SignedBatch, sent: Sequence[Sent], datagrams: Sequence[bytes], now: float
    ) -> list[PulseCode | Refusal | None]:
        """:returns: the same of a batch; ``None`` if one is left."""
        found: list[PulseCode | Refusal | None] = [None] * len(sent)
        if not sent:
            return found
        opened = batch.open(np.frombuffer(b"".join(datagrams), np.uint8).reshape(-1, 80), now)
        chosen = [sent[row].source for row in opened.which.tolist()]
        hosts = np.array([int.from_bytes(bytes(map(int, host.split("."))), "little") for host, _ in chosen], np.uint32)
        places = Places(100, PORT).ipv4(hosts, np.array([port for _, port in chosen], np.uint16))
        codes = batch.take(opened, places, now).tolist()
        for row, code in zip(opened.which.tolist(), codes, strict=True):
            found[row] = None if code == LEFT else REFUSALS[code] if code in REFUSALS else PulseCode(code)
        return found

    @settings(max_examples=200, deadline=None)
    @given(STEPS, st.sampled_from(KEYRINGS))
    def test_batch_agrees_with_the_plain_way(self, steps: list[tuple[float, list[Sent]]], keyring: Keyring) -> None:
        """The same are taken and dropped, and the tables are the same afterwards."""
        one_by_one, together = self.table(keyring), self.table(keyring)
        batch, now = SignedBatch(together), NOW
        for pause, sent in steps:
            now += pause
            datagrams = [self.datagram(keyring, each, now) for each in sent]
            plain = [
                self.plain(one_by_one, each, datagram, now) for each, datagram in zip(sent, datagrams, strict=True)
            ]
            found = self.together(batch, sent, datagrams, now)
            for row, result in enumerate(found):
                if result is None:
                    found[row] = self.plain(together, sent[row], datagrams[row], now)
            self.assertEqual(found, plain)
            tables = (one_by_one, together)
            self.assertEqual(*[sorted(map(repr, clients(table))) for table in tables])
            self.assertEqual(*[bytes(table.signed.freshness.memory) for table in tables])

    def test_what_is_on_time_is_not_left(self) -> None:
        """Otherwise the test above would show nothing: first pulses, steady ones, moves, copies and forged ones."""
        keyring = KEYRINGS[0]
        batch, now = SignedBatch(self.table(keyring)), NOW
        order = random.Random(7).sample(range(8), 8)
        for later, source, wrong, result in (
            (0, 0, "", PulseCode.ON_TIME),
            (1, 0, "", PulseCode.ON_TIME),
            (2, 1, "", PulseCode.ON_TIME),
            (2, 1, "", Refusal.REPEATED),
            (3, 1, "mac", Refusal.WRONG_MAC),
        ):
            sent = [Sent(number, later, SOURCES[source], 0, wrong) for number in order]
            datagrams = [self.datagram(keyring, each, now) for each in sent]
            self.assertEqual(self.together(batch, sent, datagrams, now), [result] * 8)

    def test_client_of_an_old_secret_is_left(self) -> None:
        """Its MAC holds under another key, which is tried in the plain way; later nothing is left."""
        keyring = KEYRINGS[1]
        batch = SignedBatch(self.table(keyring))
        for now, result in ((NOW, None), (NOW + 51, Refusal.WRONG_MAC)):
            sent = [Sent(1, 0, SOURCES[0], 1)]
            datagrams = [self.datagram(keyring, each, now) for each in sent]
            self.assertEqual(self.together(batch, sent, datagrams, now), [result])
