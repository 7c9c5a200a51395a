"""The file of registration tokens: one on each line."""

from __future__ import annotations

import os
import stat

from rendezvous.core.registration import LONGEST, SHORTEST, RegistrationTokens, is_token
from rendezvous.errors import StartupError

__all__ = ["MAX_FILE", "load_registration_tokens"]

#: Characters of the file: some ten thousand tokens.
MAX_FILE = 1024 * 1024


def load_registration_tokens(path: str) -> RegistrationTokens | None:
    """
    Read the tokens with which clients may register. Empty lines and lines that begin with ``#`` are left out.

    :param path: the file; empty if everybody may register.
    :returns: the tokens; ``None`` if everybody may.
    :raises StartupError: the file cannot be used. The message does not show what is in it.
    """
    if not path:
        return None
    where = f"the file of registration tokens {path!r}"
    try:
        # A named pipe is opened at once, and refused.
        with open(path, encoding="ascii", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            text = file.read(MAX_FILE + 1) if stat.S_ISREG(status.st_mode) else ""
    except (OSError, UnicodeDecodeError) as e:
        reason = e.strerror if isinstance(e, OSError) else "it is not ASCII"
        raise StartupError(f"{where} cannot be used: {reason}") from None
    if not stat.S_ISREG(status.st_mode):
        raise StartupError(f"{where} is not a regular file")
    if len(text) > MAX_FILE:
        raise StartupError(f"{where} is longer than {MAX_FILE} bytes")
    tokens = []
    for number, line in enumerate(text.splitlines(), 1):
        token = line.strip()
        if not token or token.startswith("#"):
            continue
        if not is_token(token):
            raise StartupError(
                f"{where} must hold one token a line, of {SHORTEST} to {LONGEST} letters, digits and the characters"
                f" . _ ~ + / = -; line {number} is none"
            )
        tokens.append(token)
    if not tokens:
        raise StartupError(f"{where} holds no token, so that nobody could register")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise StartupError(f"{where} can be read by others: run chmod 600 on it")
    return RegistrationTokens(tokens)
