"""A disk that stalls and one that is full, while requests that have to be saved go on."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from rendezvous.core.identity import Keyring, Secret
from tests.attack.datagrams import unknown_keys
from tests.attack.field import Field, attack, until
from tests.attack.floods import identities, registering
from tests.attack.load import ONE, addresses, blast, flood, udp_sockets
from tests.attack.stores import put_clients, store_with

__all__: list[str] = []

SECRET = bytes(range(32))
PULSING = 50_000


def _together(*doings: Callable[[], object]) -> None:
    threads = [threading.Thread(target=doing, daemon=True) for doing in doings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@attack("disk-stalls", quick=True, shim=True, least=12.0)
def stalls(field: Field) -> None:
    """No sync ends for ten seconds, while registrations, moves, announces and unknown keys go on."""
    moving = [bytes.fromhex(auth.partition(":")[2]) for auth in identities(field.http, ONE[0], 50)]
    sockets = udp_sockets(field.udp, ["127.66.0.1", "127.66.0.1"])
    announcing = udp_sockets(field.udp, addresses(1000, 100))
    field.shim.stall(True)
    stalled = field.seconds - 2.0
    threading.Timer(stalled, field.shim.stall, [False]).start()
    _together(
        lambda: field.note(flood(field.http, registering, stalled, connections=16)),
        lambda: blast(sockets[:1], unknown_keys(), 10_000, stalled),
        lambda: blast(sockets, (key for key in itertools.cycle(moving) for _ in range(2)), 2_000, stalled),
        lambda: blast(announcing, itertools.repeat(b'{"action":"announce"}'), 1_000, stalled),
    )
    registered = until(lambda: field.ask("POST", "/register").status == 200, 5.0)
    field.expect("registering works within 5 s after the stall", holds=registered)


@attack("disk-slow", shim=True)
def slow(field: Field) -> None:
    """Each sync takes half a second, while registrations and moves go on."""
    moving = [bytes.fromhex(auth.partition(":")[2]) for auth in identities(field.http, ONE[0], 50)]
    sockets = udp_sockets(field.udp, ["127.66.0.1", "127.66.0.1"])
    field.shim.slow(0.5)
    _together(
        lambda: field.note(flood(field.http, registering, field.seconds, connections=16)),
        lambda: blast(sockets, (key for key in itertools.cycle(moving) for _ in range(2)), 2_000, field.seconds),
    )
    field.shim.slow(0.0)


def _pulsing(directory: Path, prefix: Sequence[str]) -> None:
    (directory / "rendezvous.secret").write_text(SECRET.hex() + "\n")
    os.chmod(directory / "rendezvous.secret", 0o600)
    store_with(directory, prefix)
    put_clients(directory, (number.to_bytes(16, "big") for number in range(PULSING)))


@attack("disk-full", quick=True, shim=True, prepare=_pulsing)
def full(field: Field) -> None:
    """Nothing can be written, while fifty thousand clients pulse, first and again, and others try to register."""
    keyring = Keyring([Secret(SECRET)])
    keys = [keyring.key(number.to_bytes(16, "big")) for number in range(PULSING)]
    sockets = udp_sockets(field.udp, ONE)
    field.shim.full(True)
    _together(
        lambda: field.note(flood(field.http, registering, field.seconds, connections=4)),
        lambda: blast(sockets, itertools.cycle(keys), 10_000, field.seconds),
    )
    refused = field.ask("POST", "/register")
    field.expect(f"registering is refused while the disk is full: {refused.status}", holds=refused.status == 503)
    field.shim.full(False)
    registered = until(lambda: field.ask("POST", "/register").status == 200, 5.0)
    field.expect("registering works within 5 s after the disk has room", holds=registered)
    sockets[0].close()
