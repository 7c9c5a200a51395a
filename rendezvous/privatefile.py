"""Files that only their owner may read: those of secrets and of tokens."""

from __future__ import annotations

import os
import stat
import tempfile

import attrs

from rendezvous.errors import StartupError

__all__ = ["PrivateFile", "create_private", "draft_private", "read_private"]


@attrs.frozen
class PrivateFile:
    """
    A file that was read.

    :ivar what: what errors call it.
    :ivar text: its text; U+FFFD stands for what is not UTF-8.
    :ivar owner: the id of the user that it belongs to.
    :ivar mode: its permission bits.
    """

    what: str
    text: str = attrs.field(repr=False)
    owner: int
    mode: int

    def check_mode(self) -> None:
        """
        Refuse a file that others than its owner may read or write.

        Check the text first, so that no operator is advised to run chmod on a file of another program.

        :raises StartupError: they may.
        """
        if self.mode & 0o077:
            raise StartupError(f"{self.what} can be read by others: run chmod 600 on it")


def read_private(path: str, what: str, longest: int) -> PrivateFile:
    """
    Read a file. It must be a regular one: a named pipe would stop a server that reloads until somebody writes to it.

    :param what: what errors call it, such as ``the secret file 'rendezvous.secret'``.
    :param longest: the characters that it may have. Of a longer file there is one more, so that the caller refuses it.
    :raises OSError: it cannot be read.
    :raises StartupError: it is no regular file.
    """

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NONBLOCK)

    with open(path, encoding="utf-8", errors="replace", opener=opener) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise StartupError(f"{what} is not a regular file")
        text = file.read(longest + 1)
    return PrivateFile(what, text, status.st_uid, stat.S_IMODE(status.st_mode))


def draft_private(path: str, text: str) -> str:
    """
    Write a file beside a path, on the disk when this returns and readable by its owner alone.

    :returns: its path. Its name is a new one each time: process ids come again, in a container at every start.
    :raises OSError: it cannot be written; nothing is left of it.
    """
    descriptor, draft = tempfile.mkstemp(prefix=os.path.basename(path) + ".", dir=os.path.dirname(path) or os.curdir)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        os.unlink(draft)
        raise
    return draft


def create_private(path: str, text: str) -> bool:
    """
    Create a file, whole or not at all: a crash must not leave half a secret, and of two first starts one must win.

    :returns: whether it was created; if not, it was there already.
    :raises OSError: it cannot be created.
    """
    draft = draft_private(path, text)
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(draft)
    return True
