"""What tests of the service give it instead of the machine's clocks."""

from __future__ import annotations

from typing import Any

from rendezvous.clock import WorkingTime

__all__ = ["clocks"]


def clocks(reactor: Any) -> dict[str, Any]:
    """:returns: the arguments with which a service reads both clocks from a reactor in memory."""
    return {"monotonic": reactor.seconds, "wall": reactor.seconds, "working": WorkingTime(reactor.seconds)}
