"""Textual addresses, as sockets give them."""

from __future__ import annotations

__all__ = ["unmapped"]

_MAPPED = "::ffff:"


def unmapped(host: str) -> str:
    """
    :param host: an address as a socket gives it.
    :returns: the same, but an IPv4 address seen through an IPv6 socket (RFC 4291, section 2.5.5.2) in its own form.
    """
    if host.startswith(_MAPPED) and "." in host:
        return host[len(_MAPPED) :]
    return host
