"""The server's own secret: read from the environment or its file, made on first start."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping

from rendezvous.settings import SettingsError

__all__ = ["SECRET_SIZE", "load_secret"]

SECRET_SIZE = 32
VARIABLE = "RENDEZVOUS_SECRET"

#: Characters of a file that are read: more than any secret with blanks around it.
_LONGEST = 1024
_HEX = re.compile(r"[0-9a-fA-F]{64}")


def load_secret(path: str, random: Callable[[int], bytes], environ: Mapping[str, str]) -> bytes:
    """
    Find the secret that every key is derived from.

    :param path: its file. If there is none, it is made, readable by its owner alone.
    :param random: gives that many random bytes.
    :returns: 32 bytes.
    :raises SettingsError: the file cannot be used; the message says why and what to do.
    """
    given = environ.get(VARIABLE)
    if given is not None:
        return _parse(given, VARIABLE)
    try:
        try:
            return _read(path)
        except FileNotFoundError:
            return _make(path, random(SECRET_SIZE))
    except OSError as e:
        raise SettingsError(f"the secret file {path!r} cannot be used: {e.strerror}") from None


def _read(path: str) -> bytes:
    with open(path, encoding="ascii", errors="replace") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise SettingsError(f"the secret file {path!r} can be read by others: run chmod 600 on it")
        text = file.read(_LONGEST + 1)
        return _parse(text.strip() if len(text) <= _LONGEST else "", f"the secret file {path!r}")


def _make(path: str, secret: bytes) -> bytes:
    # Whole or not at all: a crash must not leave half a secret behind, and of two first starts one must win.
    # The draft's name is a new one each time: process ids come again, in a container at every start.
    descriptor, draft = tempfile.mkstemp(prefix=os.path.basename(path) + ".", dir=os.path.dirname(path) or os.curdir)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secret.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return _read(path)
    finally:
        os.unlink(draft)
    return secret


def _parse(text: str, where: str) -> bytes:
    if _HEX.fullmatch(text) is None:
        raise SettingsError(f"{where} must hold {2 * SECRET_SIZE} hex digits")
    return bytes.fromhex(text)
