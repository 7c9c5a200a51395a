"""The token of operators: a file of its own, made on first start."""

from __future__ import annotations

import base64
import hmac
import os
import re
from collections.abc import Callable

from rendezvous.errors import StartupError, Unauthorized
from rendezvous.privatefile import create_private, read_private
from rendezvous.web.authorization import bearer

__all__ = ["Token", "load_token"]

#: Characters of a token: enough that it cannot be guessed, and few enough for a header.
_LEAST, _MOST = 32, 256
#: Characters of its file: more than a token with blanks around it.
_LONGEST_FILE = 4096
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")


class Token:
    """
    The token that an operator shows.

    :param text: the token.
    :param path: the file that it is in, also for a process that has changed its directory since.
    :ivar on_change: called when it was replaced by another one.
    """

    def __init__(self, text: str, path: str) -> None:
        self._text = text.encode("ascii")
        self.path = os.path.abspath(path)
        self.on_change: Callable[[], None] = _nothing

    def replace(self, other: Token) -> bool:
        """
        Take another one from now on.

        :returns: whether it is another one.
        """
        if hmac.compare_digest(self._text, other._text):
            return False
        self._text = other._text
        self.on_change()
        return True

    def check(self, header: str | None) -> None:
        """
        Check the Authorization header of a request (RFC 6750, section 2.1).

        :raises Unauthorized: it does not hold the token.
        """
        shown = bearer(header)
        if shown is None:
            raise Unauthorized("This needs an Authorization header: Bearer <the token of operators>.")
        if not hmac.compare_digest(shown.encode("ascii"), self._text):
            raise Unauthorized("This is not the token of operators.")


def _nothing() -> None:
    pass


def load_token(path: str, random: Callable[[int], bytes]) -> Token:
    """
    Read the token, or make one.

    :param path: the file. If there is none, it is made, readable by its owner alone.
    :param random: gives that many random bytes.
    :raises StartupError: the file cannot be used; the message says why and what to do.
    """
    try:
        try:
            return _read(path)
        except FileNotFoundError:
            create_private(path, base64.urlsafe_b64encode(random(32)).rstrip(b"=").decode("ascii") + "\n")
            return _read(path)
    except OSError as e:
        raise StartupError(f"the file of the operators' token {path!r} cannot be used: {e.strerror}") from None


def _read(path: str) -> Token:
    file = read_private(path, f"the file of the operators' token {path!r}", _LONGEST_FILE)
    text = file.text.strip()
    if len(file.text) > _LONGEST_FILE or not (_LEAST <= len(text) <= _MOST and _TOKEN.fullmatch(text)):
        raise StartupError(
            f"{file.what} must hold one word of {_LEAST} to {_MOST} letters, digits and the characters . _ ~ + / = -"
        )
    file.check_mode()
    return Token(text, path)
