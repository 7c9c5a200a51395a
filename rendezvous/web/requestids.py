"""Names for requests that the server could not serve: they are in the answer, and in the line of the log about it."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["RequestIds"]

_SIZE = 8


class RequestIds:
    """
    Draws a name for each request that needs one: those that are answered with a status of 500 or more.

    :param random: gives that many random bytes.
    """

    __slots__ = ("_random",)

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random

    def draw(self) -> str:
        """:returns: 16 hex digits."""
        return self._random(_SIZE).hex()
