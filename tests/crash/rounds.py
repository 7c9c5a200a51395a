"""The loop: load, ``kill -9``, restart, compare."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.crash.check import Checker
from tests.crash.pair import Pair
from tests.crash.server import Server

__all__ = ["OPTIONS", "crash"]

#: Nothing ends by itself while the test runs, but what is ended; one host is not held back for being many.
OPTIONS = ("--udp-rate=0", "--session-lifetime=86400", "--tracker-lifetime=86400", "--pulse-interval=600")
PAIRS = 4


def crash(directory: Path, rounds: int, seed: int, say: Callable[[str], None]) -> Counter[str]:
    """
    Kill and restart one server that many times, its load and the moments of its deaths drawn from a seed.

    :param say: told of each round.
    :returns: how many operations were acknowledged, by name; how many facts were compared, as ``"checked"``; and the
        operations in flight that had happened or not, as ``"in flight, kept"`` and ``"in flight, lost"``.
    :raises ~tests.crash.wire.Violation: the server has not kept what it promised; the message says what.
    """
    chance = random.Random(seed)
    pairs = [Pair(f"pair-{number}", chance.randrange(1 << 60)) for number in range(PAIRS)]
    server = Server(directory, *OPTIONS)
    total: Counter[str] = Counter()
    server.start()
    try:
        for number in range(1, rounds + 1):
            _load(server, pairs, chance.uniform(0.05, 0.5))
            took = server.start()
            before = total.copy()
            _compare(server, pairs, number, total)
            done = total - before
            checked, acknowledged = done.pop("checked"), _operations(done)
            say(f"round {number}: {acknowledged} operations acknowledged, {checked} facts compared, start {took:.2f} s")
    finally:
        server.kill()
        for pair in pairs:
            for member in filter(None, (pair.caller, pair.callee)):
                member.close()
                member.tracked.close()
    return total


def _operations(done: Counter[str]) -> int:
    return sum(count for name, count in done.items() if not name.startswith("in flight"))


def _load(server: Server, pairs: list[Pair], seconds: float) -> None:
    """Let the pairs do what they like, and kill the server in the midst of it."""
    threads = [threading.Thread(target=pair.run, args=(server,), daemon=True) for pair in pairs]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
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
