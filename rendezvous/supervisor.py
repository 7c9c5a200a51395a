"""
What a supervisor such as systemd hears: that the server has started, reloads, stops, and is alive.

The protocol is one datagram of text for each message, to the socket that ``NOTIFY_SOCKET`` names (sd_notify(3)). It
needs one call of the system, so there is no library for it here: those for Python are bindings to libsystemd, or not
kept.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

__all__ = ["Supervisor", "supervisor_of", "watchdog_interval"]


class Supervisor:
    """
    Sends messages to a supervisor. A message that cannot be sent is lost, and the server goes on.

    :param send: sends a datagram; it may raise :exc:`OSError`.
    :param seconds: the clock that only goes forward, ``CLOCK_MONOTONIC``.
    """

    def __init__(self, send: Callable[[bytes], object], seconds: Callable[[], float]) -> None:
        self._send = send
        self._seconds = seconds

    def ready(self) -> None:
        """The server has started, or has reloaded: its ports are open."""
        self._say("READY=1")

    def reloading(self) -> None:
        """The server reloads. :meth:`ready` says that it has done so."""
        self._say(f"RELOADING=1\nMONOTONIC_USEC={round(self._seconds() * 1e6)}")

    def stopping(self) -> None:
        """The server is about to stop."""
        self._say("STOPPING=1")

    def alive(self) -> None:
        """The reactor runs."""
        self._say("WATCHDOG=1")

    def _say(self, text: str) -> None:
        with suppress(OSError):
            self._send(text.encode("utf-8"))


def supervisor_of(environ: Mapping[str, str], seconds: Callable[[], float]) -> Supervisor:
    """
    Find the supervisor of this process.

    :param environ: the environment of the process.
    :param seconds: the clock that only goes forward.
    :returns: what reaches it; without one, messages go nowhere.
    """
    name = environ.get("NOTIFY_SOCKET", "")
    if not name.startswith(("/", "@")):
        return Supervisor(lambda _: None, seconds)
    # A name in the abstract namespace of Linux begins with a zero byte, which is written as @ (unix(7)).
    return Supervisor(partial(_send, "\0" + name[1:] if name.startswith("@") else name), seconds)


def _send(address: str, message: bytes) -> None:
    # A socket for each message: a supervisor that has been started anew has a new one of the same name.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as opened:
        opened.setblocking(False)
        opened.sendto(message, address)


def watchdog_interval(environ: Mapping[str, str], process: int) -> float | None:
    """
    :param environ: the environment of the process.
    :param process: its id.
    :returns: the seconds between two signs that the process is alive, half of what the supervisor waits
        (sd_watchdog_enabled(3)); ``None`` if it waits for none.
    """
    if environ.get("WATCHDOG_PID", str(process)) != str(process):
        return None
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / 2e6 if text.isascii() and text.isdigit() and int(text) else None
