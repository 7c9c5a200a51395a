"""Registration tokens, for a server that registers only clients that show one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256

__all__ = ["LONGEST", "SHORTEST", "RegistrationTokens", "is_token"]

#: Characters of a token.
SHORTEST, LONGEST = 16, 256

_TOKEN = re.compile(rf"[A-Za-z0-9._~+/=-]{{{SHORTEST},{LONGEST}}}")


def is_token(text: str) -> bool:
    """:returns: whether a text has the form of a token."""
    return _TOKEN.fullmatch(text) is not None


class RegistrationTokens:
    """
    Tokens that are good now. They are kept as hashes, so that the time of a look-up says nothing about them.

    :param tokens: the tokens.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self._digests = frozenset(sha256(each.encode()).digest() for each in tokens)

    def __contains__(self, token: object) -> bool:
        """Whether a text is one of them."""
        return isinstance(token, str) and is_token(token) and sha256(token.encode()).digest() in self._digests
