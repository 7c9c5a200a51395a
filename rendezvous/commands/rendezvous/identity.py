"""
The file that keeps the identity of this user at one server, and its lock: one process uses an identity at a time.

Two processes with one identity would each move the address of the client to its own socket with every pulse.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from rendezvous.client import Identity
from rendezvous.commands.rendezvous.errors import CommandError

__all__ = ["IdentityFile", "Lock", "default_path"]

#: What the user can do about a file that holds no identity.
_ADVICE = "remove it, or name another one with --identity"

#: Bytes of a file that are read.
_LONGEST = 65536


def default_path(server: str, environ: Mapping[str, str]) -> Path:
    """
    Where the identity for a server is kept: below ``$XDG_CONFIG_HOME``, or ``~/.config`` (XDG Base Directory
    Specification 0.8).

    :param server: its URL. Each server has an identity of its own.
    :param environ: the environment.
    :raises CommandError: the user has no home directory.
    """
    base = environ.get("XDG_CONFIG_HOME", "")
    if not base.startswith("/"):  # The specification asks for an absolute path, and else for the default.
        home = environ.get("HOME", "")
        if not home.startswith("/"):
            raise CommandError("no-home", "neither XDG_CONFIG_HOME nor HOME is set: name a file with --identity")
        base = f"{home}/.config"
    digest = hashlib.blake2s(server.encode(), digest_size=8).hexdigest()
    host = (urlsplit(server).hostname or "").replace(":", "_")[:100]
    return Path(base) / "rendezvous" / f"{host}-{digest}.json"


@attrs.frozen
class Lock:
    """
    A lock that is held.

    :ivar descriptor: the open file. The system frees the lock when the process ends.
    """

    descriptor: int

    def release(self) -> None:
        """Let another process have it."""
        os.close(self.descriptor)


@attrs.frozen
class IdentityFile:
    """
    An identity in a file that its owner alone can read.

    :ivar path: where. Its directory is made when the identity is saved.
    :ivar server: the URL of the server that the identity belongs to.
    """

    path: Path
    server: str

    def load(self) -> Identity | None:
        """
        Read the identity.

        :returns: ``None`` if there is no file.
        :raises CommandError: the file cannot be read, can be read by others, or holds something else.
        """
        try:
            with open(self.path, "rb") as file:
                status = os.fstat(file.fileno())
                content = file.read(_LONGEST + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error.strerror) from None
        identity = self._parse(content)
        # The content is checked first, so that no user is advised to run chmod on a file that holds something else.
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise self._unusable("it can be read by others: run chmod 600 on it")
        if status.st_uid != os.geteuid():
            raise self._unusable("it belongs to another user")
        return identity

    def save(self, identity: Identity) -> None:
        """
        Write the identity, whole or not at all.

        :raises CommandError: the file cannot be written; it is as it was.
        """
        content = {"server": self.server, "client_id": identity.client_id, "private_id": identity.private_id}
        try:
            self._make_directory()
            # mkstemp makes a file that its owner alone can read.
            descriptor, draft = tempfile.mkstemp(prefix=self.path.name + ".", dir=self.path.parent)
            try:
                with os.fdopen(descriptor, "w", encoding="ascii") as file:
                    file.write(json.dumps(content, indent=1) + "\n")
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(draft, self.path)
            except OSError:
                os.unlink(draft)
                raise
        except OSError as error:
            raise CommandError(
                "identity-file", f"the identity file {str(self.path)!r} cannot be written: {error.strerror}"
            ) from None

    def lock(self) -> Lock | None:
        """
        Take the lock, for as long as the process uses the identity.

        :returns: ``None`` if another process has it.
        :raises CommandError: the lock file cannot be opened.
        """
        path = f"{self.path}.lock"
        try:
            self._make_directory()
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CommandError("identity-file", f"the lock file {path!r} cannot be used: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return Lock(descriptor)

    def _make_directory(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _parse(self, content: bytes) -> Identity:
        try:
            values = json.loads(content) if len(content) <= _LONGEST else None
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            raise self._unusable(f"it does not hold an identity: {_ADVICE}")
        if values.get("server") != self.server:
            raise self._unusable(f"it belongs to another server than {self.server}: name another one with --identity")
        try:
            return Identity(values.get("client_id", ""), values.get("private_id", ""))
        except ValueError as error:
            raise self._unusable(f"{error}: {_ADVICE}") from None

    def _unusable(self, reason: str | None) -> CommandError:
        return CommandError("identity-file", f"the identity file {str(self.path)!r} cannot be used: {reason}")
