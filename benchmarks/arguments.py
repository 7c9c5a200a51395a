"""Arguments of the command lines of benchmarks and of crash tests."""

from __future__ import annotations

from argparse import ArgumentTypeError

__all__ = ["at_least_one"]


def at_least_one(text: str) -> int:
    """:returns: the number that is written here. For example, ``0`` and ``1e6`` are errors."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)
