"""
A table that changes all the time, and a process that takes pulses meanwhile, as a UDP worker does.

``python -m tests.steady_hammer WAY`` is that process: it takes pulses of known keys as fast as it can, with a time that
nothing else writes. So each record that has this time, and is of a client whose key it does not have, was written to by
mistake. All clients are at the same place: only the key and the wait before a slot is given out again keep it away.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from mmap import mmap
from typing import Any

import attrs

from rendezvous.core.presence.clients import ClientColumns
from rendezvous.core.presence.grace import Grace
from rendezvous.core.presence.keyindex import KeyIndex
from rendezvous.core.presence.record import RECORD_SIZE, WORDS
from rendezvous.core.presence.steady import SteadyPulses, place
from rendezvous.udp.control import Control, Line, control_size
from rendezvous.udp.sharing import shared_memory

__all__ = ["Hammered", "hammer"]

SLOTS, CLIENTS = 64, 40
NOW, MARK = 1_000_000.0, 2_000_000.0
HERE = bytes((192, 0, 2, 1))
PORT, LOCAL_PORT = 4000, 5024
ON_TIME = 1e9
#: Seconds within which enough has happened, on a machine with much else to do.
PATIENCE = 60.0


@attrs.define
class Hammered:
    """
    What has happened.

    :ivar taken: how many of the known clients had a pulse taken.
    :ivar reused: how many slots were given out again.
    :ivar batches: how many the process has ended.
    :ivar wrong: how many records were written to by mistake.
    """

    taken: int = 0
    reused: int = 0
    batches: int = 0
    wrong: int = 0


def _keys(first: int) -> list[bytes]:
    """:returns: keys that are random and the same each time."""
    return [random.Random(first + number).randbytes(32) for number in range(CLIENTS)]


def hammer(way: str, until: Callable[[Hammered], bool], *, early: bool = False) -> Hammered:
    """
    Let the process take pulses of 40 known clients while these and 40 others come and go in 64 slots.

    The process is stopped again and again for a moment, so that it is often between its look and its store.

    :param way: ``plain`` or ``together``.
    :param until: says whether enough has happened.
    :param early: whether slots are freed at once, which is the mistake that has to be noticed.
    """
    memory: Any = shared_memory((SLOTS + 1) * RECORD_SIZE)
    columns = ClientColumns(SLOTS, memory)
    index = KeyIndex(SLOTS, SLOTS, salt=7, flat=shared_memory)
    shared = shared_memory(control_size(1))
    line, found, chance = Control(shared).line(0), Hammered(), random.Random(1)
    grace = Grace(columns.free)
    known, others = _keys(0), _keys(1000)
    mapped: list[Any] = [memory, index.keys, index.table.obj, shared]
    files, sizes = [each.descriptor for each in mapped], list(map(len, mapped))
    command = [sys.executable, "-m", "tests.steady_hammer", way, json.dumps([files, sizes, index.spread])]
    process = subprocess.Popen(command, pass_fds=files)
    try:
        end, is_stopped, next_tick = time.monotonic() + PATIENCE, False, 0.0
        while not until(found) and time.monotonic() < end:
            for keys in (known, others):
                key = chance.choice(keys)
                slot = index.find(key)
                if slot:
                    seen = columns.seen[slot * WORDS]
                    found.taken += keys is known and seen == MARK
                    found.wrong += keys is others and seen == MARK
                    index.remove(slot)
                    (columns.free if early else grace.retire)(slot)
                elif slot := columns.take(key[:16], NOW):
                    found.reused += columns.top == SLOTS
                    # Also a slot that is new must not have been written to since it was freed.
                    columns.move(slot, HERE, PORT, LOCAL_PORT, NOW)
                    index.add(key, slot)
            if chance.random() < 0.05:
                is_stopped = not is_stopped
                os.kill(process.pid, signal.SIGSTOP if is_stopped else signal.SIGCONT)
            if time.monotonic() > next_tick:
                # A thousandth of the time that is otherwise between two ticks, and long for a processor.
                next_tick, found.batches = time.monotonic() + 0.001, line.epoch // 2
                grace.tick([line.epoch])
                grace.free_some(SLOTS)
        for key in others:
            slot = index.find(key)
            found.wrong += bool(slot) and columns.seen[slot * WORDS] == MARK
    finally:
        process.kill()
        process.wait()
    return found


def _plain(index: KeyIndex, memory: mmap, line: Line) -> None:
    pulses, at = SteadyPulses(index, memory), place(HERE, PORT, LOCAL_PORT)
    known, chance = _keys(0), random.Random(2)
    while True:
        line.turn()
        looked = [(pulses.look(key, at, MARK, ON_TIME), key) for key in chance.sample(known, 8)]
        for slot, key in looked:
            if slot:
                pulses.record(slot, key, at, MARK)
        line.turn()


def _together(index: KeyIndex, memory: mmap, line: Line) -> None:
    import numpy as np

    from rendezvous.core.presence.batch import Places
    from rendezvous.core.presence.lookup import Lookup
    from rendezvous.core.presence.steadybatch import SteadyBatch

    pulses = SteadyBatch(Lookup(index, memory))
    keys = np.frombuffer(b"".join(_keys(0)), np.uint64).reshape(-1, 4)
    hosts, ports = np.frombuffer(HERE * CLIENTS, np.uint32), np.full(CLIENTS, PORT, np.uint16)
    places = Places(CLIENTS, LOCAL_PORT).ipv4(hosts, ports)
    while True:
        line.turn()
        pulses.record(pulses.look(keys, places, MARK, ON_TIME), MARK)
        line.turn()


def main(way: str, given: str) -> None:
    """Take pulses until the end."""
    files, sizes, spread = json.loads(given)
    memory, keys, table, shared = [mmap(file, size) for file, size in zip(files, sizes, strict=True)]
    index = KeyIndex.attached(keys, table, spread)
    (_plain if way == "plain" else _together)(index, memory, Control(shared).line(0))


if __name__ == "__main__":
    main(*sys.argv[1:])
