"""What tests of the service give it instead of the machine's clocks."""

from __future__ import annotations

from typing import Any

__all__ = ["clocks"]


def clocks(reactor: Any) -> dict[str, Any]:
    """:returns: the arguments with which a service reads both clocks from a reactor in memory."""
    return dict.fromkeys(("monotonic", "wall", "working"), reactor.seconds)
