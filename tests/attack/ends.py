"""Very many things that end in the same moment."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.attack.field import MIB, Field, attack
from tests.attack.innocent import CLIENTS as INNOCENT
from tests.attack.stores import Row, clients_in, copies, put_clients, sooner, store_with

__all__: list[str] = []

OFFERS = 50_000
SESSIONS = 90_000
CLIENTS = 1_000_000
#: Seconds from the making of a store to the end of everything in it: as long as the server may need to start.
LEFT = 12.0
HOUR = 3600.0
#: Seconds in which a million clients must have been freed. The sweep frees them no faster than the disk takes it.
SWEPT = 90.0


def _wait(field: Field) -> None:
    """Let what ends do so."""
    time.sleep(LEFT + 3.0)
    field.note(f"{field.ask('GET', '/topics').json['total']} topics are left")


def _offers(directory: Path, prefix: Sequence[str]) -> None:
    store_with(directory, prefix)

    def changed(row: Row) -> Iterator[Row]:
        end = sooner(row, "expires_at", HOUR - LEFT)
        for number in range(OFFERS):
            topics = json.dumps([f"topic-{number}-{each}" for each in range(20)])
            yield {**end, "id": f"offer-{number}", "topics": topics}

    copies(directory, "offers", "namespace = ''", changed)


def _sessions(directory: Path, prefix: Sequence[str]) -> None:
    store_with(directory, prefix)

    def changed(row: Row) -> Iterator[Row]:
        end = sooner(row, "expires_at", 300.0 - LEFT)
        for number in range(SESSIONS):
            yield {**end, "id": f"session-{number}"}

    copies(directory, "offers", "namespace <> ''", changed)


def _tracker_peers(directory: Path, prefix: Sequence[str]) -> None:
    store_with(directory, prefix)

    def changed(row: Row) -> Iterator[Row]:
        for number in range(SESSIONS):
            host = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
            yield {**sooner(row, "last_seen", 300.0 - LEFT), "host": host, "share_id": f"{number:08d}"}

    copies(directory, "tracker_peers", "1", changed)


def _clients(directory: Path, prefix: Sequence[str]) -> None:
    store_with(directory, prefix)
    put_clients(directory, (number.to_bytes(16, "big") for number in range(CLIENTS)))


@attack("ends-offers", quick=True, least=LEFT + 3.0, prepare=_offers, options=("--max-offers=200000",))
def ends_offers(field: Field) -> None:
    """Fifty thousand offers of twenty topics end in one millisecond."""
    _wait(field)


@attack("ends-sessions", least=LEFT + 3.0, prepare=_sessions, options=("--max-offers=200000",))
def ends_sessions(field: Field) -> None:
    """Ninety thousand sessions end in one millisecond."""
    _wait(field)


@attack("ends-tracker", least=LEFT + 3.0, prepare=_tracker_peers)
def ends_tracker(field: Field) -> None:
    """Ninety thousand tracker peers are forgotten in one moment."""
    _wait(field)


@attack("ends-clients", memory=128 * MIB, least=LEFT + 3.0, prepare=_clients, options=(
    "--registration-time=12", "--pulse-interval=5", "--error-time=7", "--max-clients=1100000",
))  # fmt: skip
def ends_clients(field: Field) -> None:
    """A million clients are gone in one moment."""
    _wait(field)
    late = time.monotonic() + SWEPT
    while (left := clients_in(field.server.directory)) > INNOCENT and time.monotonic() < late:
        time.sleep(1.0)
    field.note(f"the last of them was gone {time.monotonic() - late + SWEPT:.0f} s later")
    field.expect(f"{left} clients are still there after {SWEPT:.0f} s", holds=left <= INNOCENT)
