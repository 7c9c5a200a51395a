"""Tests of :mod:`rendezvous.web.authorization`, by value."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.identity import CLIENT_ID_SIZE, KEY_SIZE, Credential
from rendezvous.errors import Unauthorized
from rendezvous.web.authorization import parse_authorization

ID = bytes(range(0xA0, 0xB0))
KEY = bytes(range(0xC0, 0xE0))

IDS = st.binary(min_size=CLIENT_ID_SIZE, max_size=CLIENT_ID_SIZE)
KEYS = st.binary(min_size=KEY_SIZE, max_size=KEY_SIZE)


class AuthorizationTests(SynchronousTestCase):
    """What an Authorization header says."""

    def test_both_forms_are_read(self) -> None:
        """The key alone, or the id in front of it."""
        self.assertEqual(parse_authorization(f"Bearer {KEY.hex()}"), Credential(KEY, None))
        self.assertEqual(parse_authorization(f"Bearer {ID.hex()}:{KEY.hex()}"), Credential(KEY, ID))

    def test_case_and_spaces_do_not_matter(self) -> None:
        """RFC 7235, section 2.1: the scheme has no case, nor have hex digits, and one or more spaces follow."""
        for header in (f"bearer {KEY.hex()}", f"BEARER   {KEY.hex().upper()}", f"Bearer {KEY.hex()}  "):
            self.assertEqual(parse_authorization(header), Credential(KEY), header)

    def test_everything_else_is_unauthorized(self) -> None:
        """A missing header and each near miss are refused."""
        key, client_id = KEY.hex(), ID.hex()
        headers = [
            None,
            "",
            "Bearer",
            "Bearer ",
            key,
            f"Basic {key}",
            f"Bearer{key}",
            f"Bearer\t{key}",
            f" Bearer {key}",
            f"Bearer {key}\n",
            f"Bearer {key[1:]}",
            f"Bearer {key}0",
            f"Bearer {key[:-1]}g",
            f"Bearer {key[:-1]}\uff11",
            f"Bearer {client_id}",
            f"Bearer {client_id}:",
            f"Bearer :{key}",
            f"Bearer {client_id} {key}",
            f"Bearer {client_id}: {key}",
            f"Bearer {client_id[1:]}:{key}",
            f"Bearer 0{client_id}:{key}",
            f"Bearer {key}:{client_id}",
            f"Bearer {client_id}:{client_id}:{key}",
            f"Bearer {key}, Bearer {key}",
        ]
        for header in headers:
            with self.assertRaises(Unauthorized, msg=repr(header)):
                parse_authorization(header)

    def test_refusal_does_not_repeat_the_header(self) -> None:
        """What may be a key with one digit wrong is neither shown nor logged."""
        error = self.assertRaises(Unauthorized, parse_authorization, f"Bearer {KEY.hex()}0")
        self.assertNotIn(KEY.hex(), error.message)

    @given(KEYS, st.none() | IDS)
    def test_every_credential_is_read_back(self, key: bytes, client_id: bytes | None) -> None:
        """What is written in either form is what is read."""
        header = f"Bearer {key.hex()}" if client_id is None else f"Bearer {client_id.hex()}:{key.hex()}"
        self.assertEqual(parse_authorization(header), Credential(key, client_id))

    @given(st.text() | st.from_regex(r"(?i)bearer [0-9a-f:]*", fullmatch=True))
    def test_any_text_is_a_credential_or_unauthorized(self, header: str) -> None:
        """Nothing else comes out, whatever comes in."""
        try:
            credential = parse_authorization(header)
        except Unauthorized:
            return
        self.assertEqual(len(credential.key), KEY_SIZE)
        self.assertIn(credential.client_id and len(credential.client_id), (None, CLIENT_ID_SIZE))
