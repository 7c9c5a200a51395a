"""Files that only their owner may read, such as that of the server's secret."""

from __future__ import annotations

import os
import tempfile

__all__ = ["create_private", "draft_private"]


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
