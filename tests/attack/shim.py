"""A library preloaded into a server, so that its disk can stall, be slow or be full, and its wall clock can jump."""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

__all__ = ["Shim", "missing"]

SOURCE = Path(__file__).with_name("shim.c")
_FIELDS = ("stalled", "slow_us", "full", "shift_ns", "syncs")


def missing() -> str:
    """:returns: why no shim can be made here, or an empty text."""
    return "" if shutil.which("gcc") else "gcc is not installed, so nothing can be preloaded into the server"


class Shim:
    """
    The library, and the mapped file that says what it does.

    :param directory: where both are made.
    """

    def __init__(self, directory: Path) -> None:
        self._library = directory / "shim.so"
        self._control = directory / "shim.control"
        command = ["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-o", str(self._library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True)
        self._control.write_bytes(bytes(8 * len(_FIELDS)))
        with self._control.open("r+b") as file:
            self._mapped = mmap.mmap(file.fileno(), 0)

    @property
    def prefix(self) -> Sequence[str]:
        """:returns: what to put before a server's command."""
        preloaded = os.pathsep.join(filter(None, [str(self._library), os.environ.get("LD_PRELOAD")]))
        return ["env", f"LD_PRELOAD={preloaded}", f"ATTACK_SHIM={self._control}"]

    def stall(self, on: bool) -> None:
        """Let no sync end, or let all that wait go on."""
        self._set("stalled", int(on))

    def slow(self, seconds: float) -> None:
        """Let each sync take that much longer."""
        self._set("slow_us", int(seconds * 1e6))

    def full(self, on: bool) -> None:
        """Let no regular file be written, but standard output and error."""
        self._set("full", int(on))

    def shift(self, seconds: float) -> None:
        """Let the wall clock be off by that much, from now on."""
        self._set("shift_ns", int(seconds * 1e9))

    @property
    def syncs(self) -> int:
        """:returns: how often the server has synced a file."""
        at = 8 * _FIELDS.index("syncs")
        return int(struct.unpack("q", self._mapped[at : at + 8])[0])

    def _set(self, name: str, value: int) -> None:
        at = 8 * _FIELDS.index(name)
        self._mapped[at : at + 8] = struct.pack("q", value)
