"""The file of registration tokens: one on each line."""

from __future__ import annotations

from rendezvous.core.registrationtokens import LONGEST, SHORTEST, RegistrationTokens, is_token
from rendezvous.errors import StartupError
from rendezvous.privatefile import read_private

__all__ = ["MAX_FILE", "load_registration_tokens"]

#: Characters of the file: some ten thousand tokens.
MAX_FILE = 1024 * 1024


def load_registration_tokens(path: str) -> RegistrationTokens | None:
    """
    Read the tokens with which clients may register. Empty lines and lines that begin with ``#`` are left out.

    :param path: the file; empty if clients need no token.
    :returns: the tokens; ``None`` if clients need none.
    :raises StartupError: the file cannot be used. The message does not show what is in it.
    """
    if not path:
        return None
    what = f"the file of registration tokens {path!r}"
    try:
        file = read_private(path, what, MAX_FILE)
    except OSError as e:
        raise StartupError(f"{what} cannot be used: {e.strerror}") from None
    if len(file.text) > MAX_FILE:
        raise StartupError(f"{what} is longer than {MAX_FILE} characters")
    tokens = []
    for number, line in enumerate(file.text.splitlines(), 1):
        token = line.strip()
        if not token or token.startswith("#"):
            continue
        if not is_token(token):
            raise StartupError(
                f"{what} must hold one token a line, of {SHORTEST} to {LONGEST} letters, digits and the characters"
                f" . _ ~ + / = -; line {number} is none"
            )
        tokens.append(token)
    if not tokens:
        raise StartupError(f"{what} holds no token, so no client could register")
    file.check_mode()
    return RegistrationTokens(tokens)
