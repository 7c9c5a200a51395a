"""The requests that wait for something, such as events, so that those of a banned network can be ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from rendezvous.errors import RendezvousError

__all__ = ["HeldRequest", "HeldRequests"]


class HeldRequest(Protocol):
    """A request that waits."""

    @property
    def host(self) -> str:
        """:returns: the address that it came from; empty if that is not known."""

    def end(self, error: RendezvousError) -> None:
        """Answer it with an error. A stream that has begun ends."""


class HeldRequests:
    """All requests that wait, whatever they wait for."""

    def __init__(self) -> None:
        self._held: dict[HeldRequest, None] = {}

    def __iter__(self) -> Iterator[HeldRequest]:
        """Walk those that are there now, the oldest first."""
        return iter(list(self._held))

    def __contains__(self, request: object) -> bool:
        """Whether a request still waits."""
        return request in self._held

    def add(self, request: HeldRequest) -> None:
        """Note that a request waits."""
        self._held[request] = None

    def remove(self, request: HeldRequest) -> None:
        """Note that it does so no longer; a second time does nothing."""
        self._held.pop(request, None)
