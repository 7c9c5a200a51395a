"""From the identity file to a client that the server knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from twisted.internet.task import deferLater

from rendezvous.client import Identity, NotRegistered, RendezvousClient
from rendezvous.commands.rendezvous.errors import CommandError
from rendezvous.commands.rendezvous.identity import IdentityFile, Lock
from rendezvous.commands.rendezvous.invitation import read_token
from rendezvous.commands.rendezvous.output import Output

__all__ = ["Account"]

#: How often a busy server is asked for a registration.
_ATTEMPTS = 3

#: How often a lock that another process has is tried, and the seconds between two attempts. A process that only
#: registers frees it meanwhile.
_LOCK_ATTEMPTS = 20
_LOCK_PAUSE = 0.1


@attrs.define
class Account:
    """
    This user at one server.

    :ivar client: the server.
    :ivar file: where the identity is kept.
    :ivar reactor: provides ``IReactorTime``.
    :ivar output: says that the id is a new one.
    :ivar token_file: holds a registration token; ``None`` for a server that asks for none.
    """

    client: RendezvousClient
    file: IdentityFile
    reactor: Any
    output: Output
    token_file: Path | None = None
    _lock: Lock | None = attrs.field(default=None, init=False)

    async def sign_in(self) -> Identity:
        """
        Find an identity that the server knows: that of the file, or a new one, which is saved.

        :raises CommandError: a file cannot be used, or another process registers.
        :raises ClientError: the server cannot be asked.
        """
        saved = self.file.load()
        if saved is not None and await self._is_known(saved):
            return saved
        if self._lock is not None:
            return await self._register(saved)
        await self.lock()
        try:
            # Another process may have registered while this one waited for the lock.
            newer = self.file.load()
            if newer is not None and newer != saved and await self._is_known(newer):
                return newer
            return await self._register(newer)
        finally:
            self.release()

    async def sign_in_with_facts(self) -> Identity:
        """
        Do the same, with what the server says of itself, such as its UDP ports.

        :raises CommandError: as :meth:`sign_in`.
        :raises ClientError: the server cannot be asked.
        """
        identity = await self.sign_in()
        return attrs.evolve(identity, facts=identity.facts or await self.client.facts())

    async def lock(self) -> None:
        """
        Keep other processes from using the identity.

        :raises CommandError: another process uses it.
        """
        for _ in range(_LOCK_ATTEMPTS):
            self._lock = self.file.lock()
            if self._lock is not None:
                return
            await deferLater(self.reactor, _LOCK_PAUSE)
        raise CommandError(
            "identity-in-use",
            f"another process uses the identity in {str(self.file.path)!r}: end it, or name another file with"
            " --identity",
        )

    def release(self) -> None:
        """Let other processes use the identity."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    async def _is_known(self, identity: Identity) -> bool:
        try:
            await self.client.verify(identity)
        except NotRegistered:
            return False
        return True

    async def _register(self, old: Identity | None) -> Identity:
        token = None if self.token_file is None else read_token(self.token_file)
        identity = await self.client.register(attempts=_ATTEMPTS, token=token)
        self.file.save(identity)
        if old is not None:
            self.output.warn(
                f"The server no longer knows {old.client_id}. This is a new client: tell your peers its id,"
                f" {identity.client_id}."
            )
        return identity
