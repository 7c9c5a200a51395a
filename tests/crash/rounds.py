"""The loop: load, ``kill -9``, restart, compare."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.attack.shim import Shim, missing
from tests.crash.check import Checker
from tests.crash.pair import Pair
from tests.crash.server import UNMEASURED, Server

__all__ = ["OPTIONS", "WORKERS", "crash"]

#: Nothing expires while the test runs. Limits by source are off, because all clients have one host.
OPTIONS = (
    "--no-source-limits",
    "--session-lifetime=86400",
    "--tracker-lifetime=86400",
    "--pulse-interval=600",
    "--registration-time=660",
)
PAIRS = 4
#: Seconds that a sync of the disk may take longer, drawn anew for each round.
SLOW = (0.0, 0.0, 0.02, 0.1)
#: Seconds for which a server may have been down, as its wall clock tells it.
DOWN = (0.0, 1.0, 100.0, 3600.0)

#: UDP workers, in those lives of the server that have any.
WORKERS = 2

#: The part of the rounds in which every caller logs out just before the kill.
LEAVING = 0.3


def crash(directory: Path, rounds: int, seed: int, say: Callable[[str], None], plant: str = "") -> Counter[str]:
    """
    Kill and restart one server that many times, its load and the moments of its deaths drawn from a seed.

    In every third life the server has UDP workers. Some rounds have a slow disk, a long time between two lives, or
    two restarts one after the other.

    :param say: called with a line about each round.
    :param plant: the name of a bug to plant in the server; see :mod:`tests.crash.planted`.
    :returns: how many operations were acknowledged, by name; how many facts were compared, as ``"checked"``; and the
        operations in flight that had happened or not, as ``"in flight, kept"`` and ``"in flight, lost"``.
    :raises ~tests.crash.wire.Violation: the server has not kept what it promised; the message says what.
    """
    chance = random.Random(seed)
    pairs = [Pair(f"pair-{number}", chance.randrange(1 << 60)) for number in range(PAIRS)]
    shim = _Disk(directory, chance, say)
    server = Server(directory, *OPTIONS, prefix=[*UNMEASURED, *shim.prefix], plant=plant)
    total: Counter[str] = Counter()
    server.start()
    try:
        for number in range(1, rounds + 1):
            slow = shim.slow()
            last = chance.uniform(0.0, 0.02 + slow) if chance.random() < LEAVING else None
            _load(server, pairs, chance.uniform(0.05, 0.5) + 5 * slow, last)
            server.workers = WORKERS if number % 3 == 0 else 0
            took, starts = _restart(server, shim, chance)
            before = total.copy()
            _compare(server, pairs, number, total)
            done = total - before
            checked, acknowledged = done.pop("checked", 0), _operations(done)
            say(
                f"round {number}: {acknowledged} operations acknowledged, {checked} facts compared, {starts} start"
                f"{'s' if starts > 1 else ''} of {took:.2f} s, syncs {slow * 1000:.0f} ms slow"
            )
    finally:
        server.kill()
        for pair in pairs:
            for member in filter(None, (pair.caller, pair.callee)):
                member.close()
                member.tracked.close()
    return total


class _Disk:
    """The disk and the wall clock of a server, drawn from a seed; as they are where nothing can be preloaded."""

    def __init__(self, directory: Path, chance: random.Random, say: Callable[[str], None]) -> None:
        self._chance = chance
        self._shim: Shim | None = None
        self._down = 0.0
        if not missing():
            self._shim = Shim(directory)
        elif os.environ.get("CI") == "true":
            raise AssertionError(missing())
        else:
            say(f"no slow disk and no long time between two lives: {missing()}")

    @property
    def prefix(self) -> Sequence[str]:
        """:returns: what to put before the server's command."""
        return () if self._shim is None else self._shim.prefix

    def slow(self) -> float:
        """:returns: the seconds that each sync now takes longer."""
        seconds = self._chance.choice(SLOW)
        if self._shim is None:
            return 0.0
        self._shim.slow(seconds)
        return seconds

    def mend(self) -> None:
        """Let time pass on the wall clock, and syncs be as quick as they are."""
        self._down += self._chance.choice(DOWN)
        if self._shim is not None:
            self._shim.slow(0.0)
            self._shim.shift(self._down)


def _restart(server: Server, disk: _Disk, chance: random.Random) -> tuple[float, int]:
    """:returns: seconds until a server that was killed answers again, and how often it was started."""
    disk.mend()
    took, starts = server.start(), 1
    if chance.random() < 0.3:
        server.kill() if chance.random() < 0.5 else server.stop()
        disk.mend()
        took, starts = server.start(), 2
    return took, starts


def _operations(done: Counter[str]) -> int:
    return sum(count for name, count in done.items() if not name.startswith("in flight"))


def _load(server: Server, pairs: list[Pair], seconds: float, last: float | None) -> None:
    """
    Let the pairs do what they like, and kill the server in the midst of it.

    :param last: if it is given, all callers log out that many seconds before the kill.
    """
    threads = [threading.Thread(target=pair.run, args=(server,), daemon=True) for pair in pairs]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    if last is not None:
        for pair in pairs:
            pair.is_leaving = True
        time.sleep(last)
    server.kill()
    for thread in threads:
        thread.join()
    for pair in pairs:
        if pair.fault is not None:
            raise pair.fault


def _compare(server: Server, pairs: list[Pair], number: int, total: Counter[str]) -> None:
    checker = Checker(server, number)
    for pair in pairs:
        was_pending, world = bool(pair.pending), dict(pair.world)
        pending = dict(pair.pending)
        checker.check(pair)
        if was_pending:
            kept = any(pair.world.get(key) != world.get(key) for key in pending)
            total[f"in flight, {'kept' if kept else 'lost'}"] += 1
        total += pair.done
        pair.done.clear()
    total["checked"] += checker.checked
    checker.close()
