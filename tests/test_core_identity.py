"""Ids, keys and credentials, by value."""

from __future__ import annotations

import hmac
import random
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.identity import (
    CLIENT_ID_SIZE,
    KEY_SIZE,
    Credential,
    Keyring,
    Secret,
    keyed_hash,
    parse_client_id,
)
from rendezvous.errors import NotFound
from rendezvous.wire.demux import Kind, classify, mistakable

ID = bytes(range(0xA0, 0xB0))
KEY = bytes(range(0xC0, 0xE0))
NOW = 1_700_000_000.0
JUST = 2.0**-10
SECRET, OLD_SECRET = Secret(b"\x01" * 32), Secret(b"\x02" * 32, until=NOW)

IDS = st.binary(min_size=CLIENT_ID_SIZE, max_size=CLIENT_ID_SIZE)
KEYS = st.binary(min_size=KEY_SIZE, max_size=KEY_SIZE)


def recited(*ids: bytes) -> Callable[[int], bytes]:
    """:returns: a random source that gives these, in order."""
    left = list(ids)
    return lambda size: left.pop(0)


class CredentialTests(SynchronousTestCase):
    """What a credential shows of itself."""

    def test_key_is_not_in_the_repr(self) -> None:
        """A credential that ends up in a log gives nothing away."""
        shown = repr(Credential(KEY, ID))
        self.assertNotIn(repr(KEY), shown)
        self.assertNotIn(KEY.hex(), shown)


class ClientIdTests(SynchronousTestCase):
    """The id in a path."""

    def test_hex_digits_in_either_case_are_read(self) -> None:
        """32 of them."""
        self.assertEqual([parse_client_id(text) for text in (ID.hex(), ID.hex().upper())], [ID, ID])

    def test_everything_else_names_no_client(self) -> None:
        """A text that cannot be an id is a peer that cannot exist."""
        text = ID.hex()
        for wrong in ("", text[1:], text + "0", text[:-1] + "g", text + "\n", " " + text, text[:-1] + "\u0661"):
            error = self.assertRaises(NotFound, parse_client_id, wrong)
            self.assertEqual(error.status, 404, wrong)

    @given(st.text())
    def test_any_text_is_an_id_or_not_found(self, text: str) -> None:
        """Nothing else comes out, whatever comes in."""
        try:
            self.assertEqual(len(parse_client_id(text)), CLIENT_ID_SIZE)
        except NotFound:
            self.assertNotRegex(text, r"\A[0-9a-fA-F]{32}\Z")


class KeyringTests(SynchronousTestCase):
    """What follows from the server's secret."""

    def test_key_is_the_hmac_of_the_id(self) -> None:
        """RFC 4231, section 4.2: HMAC-SHA-256."""
        expected = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        self.assertEqual(Keyring([Secret(b"\x0b" * 20)]).key(b"Hi There").hex(), expected)

    @given(st.binary(max_size=200), st.binary(max_size=200))
    def test_keyed_hash_is_hmac(self, secret: bytes, message: bytes) -> None:
        """Whatever the lengths, and as often as it is asked."""
        digest = keyed_hash(secret)
        for _ in range(2):
            self.assertEqual(digest(message), hmac.digest(secret, message, "sha256"))

    def test_new_keys_use_the_secret_in_use(self) -> None:
        """After a rotation the first secret makes the keys, and all of them resolve an id, the newest first."""
        new, old, both = Keyring([SECRET]), Keyring([OLD_SECRET]), Keyring([SECRET, OLD_SECRET])
        self.assertEqual(both.key(ID), new.key(ID))
        self.assertEqual(both.keys(ID, NOW), [new.key(ID), old.key(ID)])

    def test_rotated_secret_is_still_honoured(self) -> None:
        """A key proves its id under any secret of the ring, and under no other."""
        new, old, both = Keyring([SECRET]), Keyring([OLD_SECRET]), Keyring([SECRET, OLD_SECRET])
        self.assertEqual([both.proves(ID, ring.key(ID), NOW) for ring in (new, old)], [True, True])
        self.assertFalse(new.proves(ID, old.key(ID), NOW))

    def test_rotated_secret_ends_at_its_time(self) -> None:
        """Until then and at that moment its keys are good; just after, only those of the secret in use are."""
        old, both = Keyring([OLD_SECRET]), Keyring([SECRET, OLD_SECRET])
        for now, honoured in ((0.0, True), (NOW - JUST, True), (NOW, True), (NOW + JUST, False)):
            self.assertEqual(both.proves(ID, old.key(ID), now), honoured, now)
            self.assertEqual(both.keys(ID, now), [both.key(ID), old.key(ID)][: 2 if honoured else 1], now)
            self.assertTrue(both.proves(ID, both.key(ID), now))

    def test_each_old_secret_has_its_own_end(self) -> None:
        """However many rotations there have been."""
        secrets = [Secret(bytes([n]) * 32, None if n == 0 else NOW + 10 * n) for n in range(4)]
        ring = Keyring(secrets)
        self.assertEqual([len(ring.keys(ID, NOW + since)) for since in (10, 11, 20, 21, 30, 31)], [4, 3, 3, 2, 2, 1])
        self.assertEqual(ring.keys(ID, NOW + 21), [ring.key(ID), Keyring(secrets[3:]).key(ID)])

    def test_secret_is_not_in_the_repr(self) -> None:
        """One that ends up in a log gives nothing away."""
        self.assertEqual(repr(OLD_SECRET), f"Secret(until={NOW!r})")

    def test_fingerprint_names_a_secret(self) -> None:
        """The same in every ring, another for each secret, and neither the secret nor a key."""
        (one,), (two,) = Keyring([SECRET]).fingerprints(), Keyring([OLD_SECRET]).fingerprints()
        self.assertEqual(Keyring([SECRET, OLD_SECRET]).fingerprints(), [one, two])
        self.assertEqual(len({one, two}), 2)
        for shown in (one, two):
            self.assertRegex(shown, r"\A[0-9a-f]{16}\Z")

    @given(IDS, IDS, st.integers(0, 8 * KEY_SIZE - 1))
    def test_only_the_own_key_proves_an_id(self, client_id: bytes, other: bytes, bit: int) -> None:
        """Not another id's, not one with a single bit changed, not a piece of it."""
        ring = Keyring([SECRET, OLD_SECRET])
        key = ring.key(client_id)
        self.assertTrue(ring.proves(client_id, key, NOW))
        self.assertEqual(ring.proves(other, key, NOW), other == client_id)
        changed = (int.from_bytes(key, "big") ^ 1 << bit).to_bytes(KEY_SIZE, "big")
        for wrong in (changed, key[:-1], key + b"\0", b""):
            self.assertFalse(ring.proves(client_id, wrong, NOW))


class DrawTests(SynchronousTestCase):
    """New identities."""

    def test_id_is_random_and_key_follows(self) -> None:
        """16 bytes of the random source, and the key that belongs to them."""
        asked: list[int] = []

        def source(size: int) -> bytes:
            asked.append(size)
            return ID

        ring = Keyring([SECRET])
        self.assertEqual(ring.draw(source, mistakable), (ID, ring.key(ID)))
        self.assertEqual(asked, [16])

    def test_mistakable_key_is_drawn_again(self) -> None:
        """However often in a row: the first id whose key is plain is taken."""
        ring = Keyring([SECRET])
        ids = [bytes([n]) * CLIENT_ID_SIZE for n in range(5)]
        wrong = {ring.key(client_id) for client_id in ids[:3]}
        self.assertEqual(ring.draw(recited(*ids), wrong.__contains__), (ids[3], ring.key(ids[3])))

    def test_key_that_starts_like_json_is_drawn_again(self) -> None:
        """A pulse must not be taken for a tracker's datagram once its key is unknown."""
        ring = Keyring([SECRET])
        ids = [n.to_bytes(CLIENT_ID_SIZE, "big") for n in range(2000)]
        braced = next(client_id for client_id in ids if ring.key(client_id).startswith(b"{"))
        plain = next(client_id for client_id in ids if not mistakable(ring.key(client_id)))
        self.assertEqual(ring.draw(recited(braced, plain), mistakable)[0], plain)

    @given(st.integers(), st.integers(1, 255))
    def test_no_drawn_key_is_mistakable(self, seed: int, below: int) -> None:
        """Whatever counts as mistakable, be it nearly everything, what is drawn is not."""

        def likely(key: bytes) -> bool:
            return key[0] < below or mistakable(key)

        _, key = Keyring([SECRET]).draw(random.Random(seed).randbytes, likely)
        self.assertFalse(likely(key))
        self.assertIs(classify(key), Kind.PULSE)
