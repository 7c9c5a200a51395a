"""The page of the documentation about connecting has the bytes that the code writes."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.macs import datagram_key, derive_key
from rendezvous.core.punching.probes import Data, Probe, ProbeType
from rendezvous.wire.probe import PairCodec
from rendezvous.wire.signed import Request, Short, ShortKind, encode_request, encode_short
from tests._rst import code_blocks

PAGE = Path(__file__).parents[1] / "docs" / "protocol" / "connect.rst"


class VectorTests(SynchronousTestCase):
    """``docs/protocol/connect.rst``, test vectors."""

    def test_vectors(self) -> None:
        """A developer of another client can hold it to them."""
        [text] = [
            block.text for block in code_blocks(PAGE.read_text(encoding="utf-8")) if block.section == "Test vectors"
        ]
        found = {
            name: bytes.fromhex(re.sub(r"\s", "", digits))
            for name, digits in re.findall(r"^(\w[\w ]*?) {2,}((?:[0-9a-f]+\s*)+)$", text, re.MULTILINE)
        }
        private, pair, attempt, nonce = (found.pop(name) for name in ("private key", "pair key", "attempt", "nonce"))
        client, time = found.pop("client id"), int.from_bytes(found.pop("time"), "big")
        key = datagram_key(private)
        probe = Probe(ProbeType.PROBE, 7, nonce, ("203.0.113.7", 51820), nominate=True)
        self.assertEqual(
            found,
            {
                "datagram key": key,
                "probe key": derive_key(pair, b"probe"),
                "data key": derive_key(pair, b"data"),
                "observation": encode_request(Request(client, time, nonce, attempt, round=1, port=1), key),
                "check answer": encode_short(Short(ShortKind.CHECK_ANSWER, attempt, nonce[:4]), key),
                "probe": PairCodec(pair, attempt, controlling=True).encode_probe(probe),
                "data": PairCodec(pair, attempt, controlling=False).encode_data(Data(5, b"hello")),
            },
        )
