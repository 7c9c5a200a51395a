"""File descriptors: as many as the process may have, and how many of them connections may take."""

from __future__ import annotations

import resource

__all__ = ["connections_within", "raise_descriptor_limit"]

#: What a process without a limit of its own is taken to have.
_UNLIMITED = 1_000_000

#: Descriptors that connections leave to the store, the listening ports, the application, and to those connections that
#: are accepted in the same turn of the reactor in which others give way.
_RESERVE = 256


def raise_descriptor_limit() -> int:
    """
    Raise the soft limit of open files to the hard limit, as far as the system lets it.

    :returns: the soft limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        wanted = _UNLIMITED if hard == resource.RLIM_INFINITY else hard
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            return _finite(soft)
        soft = wanted
    return _finite(soft)


def connections_within(descriptors: int) -> int:
    """:returns: how many connections may be open with that many descriptors."""
    return max(1, descriptors - min(_RESERVE, descriptors // 2))


def _finite(limit: int) -> int:
    return _UNLIMITED if limit == resource.RLIM_INFINITY else limit
