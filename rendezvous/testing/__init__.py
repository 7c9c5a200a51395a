"""
For our tests, and for those of others: a whole server in memory, and a network with NATs, on a clock.

Nothing here opens a socket or waits.
"""

from rendezvous.testing.memory import (
    SECRET,
    Connection,
    MemoryReactor,
    MemoryServer,
    MemoryTCPPort,
    MemoryUDPPort,
    Response,
)  # fmt: skip
from rendezvous.testing.sockets import MemorySocket

__all__ = [
    "SECRET",
    "Connection",
    "MemoryReactor",
    "MemoryServer",
    "MemorySocket",
    "MemoryTCPPort",
    "MemoryUDPPort",
    "Response",
]
