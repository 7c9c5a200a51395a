"""The server's own secret: read from the environment or its file, made on first start, rotated on request."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Mapping, Sequence

from twisted.logger import Logger

from rendezvous.core.identity import Secret
from rendezvous.errors import StartupError
from rendezvous.privatefile import create_private, draft_private, read_private

__all__ = ["SECRET_SIZE", "has_changed", "load_secrets", "rotate_secret"]

_log = Logger()

SECRET_SIZE = 32
VARIABLE = "RENDEZVOUS_SECRET"

#: Characters of a file that are read: more than any secrets with blanks around them.
_LONGEST = 65536
_LINE = re.compile(r"([0-9a-fA-F]{64})(?: until ([0-9]{1,12}))?")


def load_secrets(path: str, random: Callable[[int], bytes], environ: Mapping[str, str]) -> list[Secret]:
    """
    Find the secrets that keys are derived from.

    The file holds the one in use on its first line, and below it those that a rotation has replaced, each with the time
    until which it is honoured: ``HEX until SECONDS-SINCE-THE-EPOCH``. The environment variable may hold the same.

    :param path: the file. If there is none, it is made, readable by its owner alone.
    :param random: gives that many random bytes.
    :returns: the one in use first.
    :raises StartupError: the file cannot be used; the message says why and what to do.
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
        directory = os.path.dirname(path)
        missing = e.errno == errno.ENOENT and directory and not os.path.isdir(directory)
        reason = f"there is no directory {directory!r}" if missing else e.strerror
        raise StartupError(f"the secret file {path!r} cannot be used: {reason}") from None


def has_changed(path: str, environ: Mapping[str, str], secrets: Sequence[Secret]) -> bool:
    """
    Look whether a server that starts now would use other secrets.

    :param secrets: those that the running server uses.
    :returns: ``False`` also if that cannot be found out, as when the server has changed its user since it read them.
    """
    if VARIABLE in environ:
        return False  # The environment of a running process stays as it is.
    try:
        return _read(path) != list(secrets)
    except (OSError, StartupError):
        return False


def rotate_secret(path: str, random: Callable[[int], bytes], keep: float, now: float) -> None:
    """
    Put a new secret in the place of the one in use. A running server takes it up when it is started again.

    :param keep: seconds for which the old one is honoured still.
    :raises StartupError: the file cannot be used; it is as it was.
    """
    try:
        old = [secret for secret in _read(path) if secret.until is None or secret.until > now]
        lines = [random(SECRET_SIZE).hex()]
        for secret in old:
            until = now + keep if secret.until is None else secret.until
            lines.append(f"{secret.value.hex()} until {int(until)}")
        # A link is followed, so that the file is replaced and not the link to it.
        target = os.path.realpath(path)
        draft = draft_private(target, "\n".join(lines) + "\n")
        try:
            if os.geteuid() == 0:
                # The server that is to read it may run as somebody else.
                owner = os.stat(target)
                os.chown(draft, owner.st_uid, owner.st_gid)
            os.replace(draft, target)
        except OSError:
            os.unlink(draft)
            raise
    except OSError as e:
        raise StartupError(f"the secret file {path!r} cannot be rotated: {e.strerror}") from None


def _read(path: str) -> list[Secret]:
    file = read_private(path, f"the secret file {path!r}", _LONGEST)
    if len(file.text) > _LONGEST:
        raise StartupError(f"{file.what} is too long: it must hold {2 * SECRET_SIZE} hex digits")
    secrets = _parse(file.text, file.what)
    file.check_mode()
    if file.owner not in (os.geteuid(), 0):
        # Only root gets here. The server may become that user once it has read the file.
        _log.warn(
            "the secret file {path} belongs to user {owner}, who can read it",
            path=path,
            owner=file.owner,
            event="secret_of_other_user",
        )
    return secrets


def _make(path: str, secret: bytes) -> list[Secret]:
    return [Secret(secret)] if create_private(path, secret.hex() + "\n") else _read(path)


def _parse(text: str, where: str) -> list[Secret]:
    secrets: list[Secret] = []
    for line in text.split("\n"):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None or (match[2] is None) != (not secrets):
            raise StartupError(
                f"{where} must hold {2 * SECRET_SIZE} hex digits, and below them old ones with their end"
            )
        secrets.append(Secret(bytes.fromhex(match[1]), None if match[2] is None else float(match[2])))
    if not secrets:
        raise StartupError(f"{where} is empty: it must hold {2 * SECRET_SIZE} hex digits")
    return secrets
