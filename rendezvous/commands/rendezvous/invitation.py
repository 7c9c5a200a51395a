"""The file with the registration token of this user."""

from __future__ import annotations

from pathlib import Path

from rendezvous.commands.rendezvous.errors import CommandError
from rendezvous.core.registrationtokens import LONGEST, SHORTEST, is_token

__all__ = ["read_token"]

#: Bytes of the file that are read: a token and some lines of comments.
_MOST = 64 * 1024


def read_token(path: Path) -> str:
    """
    :param path: a file with a token on one line; empty lines and lines that begin with ``#`` are left out.
    :returns: the token.
    :raises CommandError: the file cannot be read, or holds no token or several. The message shows
        nothing of it.
    """
    where = f"the file of the registration token {str(path)!r}"
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            text = file.read(_MOST)
    except OSError as error:
        raise CommandError("bad-registration-token", f"{where} cannot be read: {error.strerror}") from None
    lines = [line.strip() for line in text.splitlines()]
    tokens = [line for line in lines if line and not line.startswith("#")]
    if len(tokens) != 1 or not is_token(tokens[0]):
        raise CommandError(
            "bad-registration-token",
            f"{where} must hold one token of {SHORTEST} to {LONGEST} letters, digits and the characters . _ ~ + / = -",
        )
    return tokens[0]
