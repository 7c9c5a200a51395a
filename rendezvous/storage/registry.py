"""The stores that a URL can name: ``memory:``, and ``sqlite:PATH``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rendezvous.interfaces import IStore
from rendezvous.storage.batchtimer import Later
from rendezvous.storage.durability import Volatile
from rendezvous.storage.journal import RunBlocking
from rendezvous.storage.journaled import Journaled
from rendezvous.storage.local import LocalStore
from rendezvous.storage.tables import Tables

__all__ = ["STORES", "make_store", "memory_store", "sqlite_store"]


def memory_store(later: Later | None = None, **parts: Any) -> LocalStore:
    """
    Make a store that forgets everything when the process ends.

    :param later: calls something after a time.
    :param parts: as for :class:`~rendezvous.storage.tables.Tables`.
    """
    return LocalStore(Tables(**parts), Volatile(), later)


def sqlite_store(
    path: str,
    run: RunBlocking,
    later: Later | None = None,
    seconds: Callable[[], float] | None = None,
    **parts: Any,
) -> LocalStore:
    """
    Make a store whose state is there again after a restart, a crash, or ``kill -9``.

    :param path: the file.
    :param run: calls what blocks, one call at a time.
    :param later: calls something after a time; without it, commits begin at once.
    :param seconds: tells the time that commits are measured on; without it they are not.
    :param parts: as for :class:`~rendezvous.storage.tables.Tables`.
    """
    return LocalStore(Tables(**parts), Journaled(path, run, later, seconds), later)


#: What makes the store of each scheme, from what stands behind the colon.
STORES: Mapping[str, Callable[..., IStore]] = {
    "memory": lambda path, run, later, seconds, **parts: memory_store(later, **parts),
    "sqlite": sqlite_store,
}


def make_store(
    url: str,
    run: RunBlocking,
    later: Later | None = None,
    seconds: Callable[[], float] | None = None,
    **parts: Any,
) -> IStore:
    """
    Make the store that a URL names.

    :param run: calls what blocks, one call at a time.
    :param later: calls something after a time.
    :param seconds: tells the time that commits are measured on; without it they are not.
    :param parts: as for :class:`~rendezvous.storage.tables.Tables`.
    :raises KeyError: there is no such scheme.
    """
    scheme, _, path = url.partition(":")
    return STORES[scheme](path, run, later, seconds, **parts)
