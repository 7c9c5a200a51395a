"""Compares the limits of the system with what the settings need, and logs one line about it at the start."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from twisted.logger import Logger

from rendezvous.descriptors import connections_within, raise_descriptor_limit
from rendezvous.listening import BACKLOG
from rendezvous.settings import Settings
from rendezvous.udp.port import RECEIVE_BUFFER, enlarge_buffer

__all__ = ["check_system", "limit_of_system", "receive_buffer", "shortfalls"]

_log = Logger()


def check_system(settings: Settings) -> None:
    """Log the limits that are lower than a server with these settings may need."""
    found = list(shortfalls(settings, limit_of_system, connections_within(raise_descriptor_limit()), receive_buffer()))
    if found:
        _log.info("the system allows less than the settings: {limits}", limits="; ".join(found), event="limits_low")


def shortfalls(
    settings: Settings, limit_of: Callable[[str], int | None], connections: int, buffer: int
) -> Iterator[str]:
    """
    Yield a text for each limit that is too low.

    :param limit_of: gives a limit of the kernel by its name (sysctl(8)), and ``None`` if there is none.
    :param connections: that may be open.
    :param buffer: bytes of the receive buffer that a UDP port gets.
    """
    # Those that stay open: WebSockets, event streams and requests that wait.
    wanted = settings.max_sockets + settings.max_waiting
    if connections < wanted:
        yield f"{connections} connections instead of {wanted} (open files)"
    if buffer < RECEIVE_BUFFER:
        yield f"receive buffers of UDP ports have {buffer} bytes instead of {RECEIVE_BUFFER} (net.core.rmem_max)"
    for name, least in (("net.core.somaxconn", BACKLOG), ("net.netfilter.nf_conntrack_max", settings.max_clients)):
        limit = limit_of(name)
        if limit is not None and limit < least:
            yield f"{name} is {limit} instead of {least}"


def limit_of_system(name: str) -> int | None:
    """
    Read a limit of the kernel.

    :param name: as sysctl(8) has it.
    :returns: ``None`` if there is none of that name, or if it cannot be read.
    """
    try:
        return int(Path("/proc/sys", *name.split(".")).read_text("ascii"))
    except (OSError, ValueError):
        return None


def receive_buffer() -> int:
    """:returns: the bytes of the receive buffer that a UDP port of this process gets."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        return enlarge_buffer(opened)
