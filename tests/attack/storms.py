"""Requests that are many at once: in one packet, in small pieces, on new connections; and reloads under load."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import threading
import time
from collections.abc import Generator, Sequence
from pathlib import Path

from tests.attack.field import MIB, Field, attack
from tests.attack.floods import SMALL_CLIENTS, identities, publishing
from tests.attack.load import ONE, Answer, Script, addresses, flood, hold, request
from tests.attack.stores import STORE

__all__: list[str] = []

CONFIGURATION = "rendezvous.toml"
#: What refreshing and withdrawing without end may leave of the file and its write-ahead log.
FILE = 32 * MIB


def _flood(field: Field, script: Script, sources: Sequence[str], connections: int = 64) -> None:
    counts = flood(field.http, script, field.seconds, connections=connections, sources=sources)
    field.note(f"answers: {dict(sorted(counts.items()))}")


@attack("pipelined")
def pipelined(field: Field) -> None:
    """Two hundred connections of fifty addresses send a hundred requests in each packet, and read the answers."""
    asked = request("GET", "/topics") * 100

    def asking() -> Generator[bytes, Answer, None]:
        yield asked

    _flood(field, asking, addresses(50), 200)


@attack("pipelined-unread", memory=128 * MIB)
def pipelined_unread(field: Field) -> None:
    """A thousand connections of fifty addresses send a thousand requests each, and read nothing."""
    held = hold(field.http, [request("GET", "/") * 1000], 1000, addresses(50), receive=4096)
    held.run(field.seconds)
    field.note(f"{held.closed} closed by the server, {len(held)} still open")
    field.afterwards(held.close)


@attack("withdrawals", memory=128 * MIB)
def withdrawals(field: Field) -> None:
    """Fifty addresses publish an offer, refresh it, and withdraw it, without end; the file stays small."""
    numbers = itertools.count()
    sdp = "v" * 4000

    def changing() -> Generator[bytes, Answer, None]:
        answer = yield request("POST", "/register")
        if answer.status != 200:
            return
        auth = f"{answer.json['client_id']}:{answer.json['private_id']}"
        while True:
            name = f"offer-{next(numbers)}"
            body = json.dumps({"offers": [{"id": name, "sdp": sdp, "topics": ["t"]}]}).encode()
            yield request("POST", "/offers", body, auth)
            for _ in range(3):
                yield request("PUT", f"/offers/{name}/heartbeat", auth=auth)
                yield request("POST", "/offers", body, auth)
            yield request("DELETE", f"/offers/{name}", auth=auth)

    before = _size_of_store(field)
    _flood(field, changing, addresses(50))
    grown = _size_of_store(field) - before
    field.note(f"the file and its log have grown by {grown >> 10} KiB")
    field.expect(f"the file grew by {grown >> 20} MiB, and {FILE >> 20} are allowed", holds=grown <= FILE)


def _size_of_store(field: Field) -> int:
    return sum(path.stat().st_size for path in field.server.directory.glob(f"{STORE}*"))


@attack("registrations-ipv6", options=(f"--max-clients={SMALL_CLIENTS}", f"--trusted-proxy={ONE[0]}"))
def registrations_ipv6(field: Field) -> None:
    """Every /64 of one IPv6 /48 registers, behind a proxy."""

    def registering_anywhere() -> Generator[bytes, Answer, None]:
        yield request("POST", "/register", X_Forwarded_For=f"2001:db8:1:{random.randrange(1 << 16):x}::1")

    _flood(field, registering_anywhere, ONE)
    field.stranger_gets_in()


@attack("small-chunks", memory=96 * MIB)
def small_chunks(field: Field) -> None:
    """Two hundred connections of fifty addresses send bodies in chunks of one byte."""
    head = b"POST /t/offer HTTP/1.1\r\nHost: a\r\nOrigin: https://a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    sent = head + b"1\r\na\r\n" * 20_000 + b"0\r\n\r\n"

    def sending() -> Generator[bytes, Answer, None]:
        yield sent

    _flood(field, sending, addresses(50), 200)


@attack("reconnections")
def reconnections(field: Field) -> None:
    """A hundred addresses open a connection for each request, as fast as they can."""
    asked = request("GET", "/health", Connection="close")

    def asking() -> Generator[bytes, Answer, None]:
        yield asked

    _flood(field, asking, addresses(100), 200)


@attack("streams-reconnect", memory=96 * MIB)
def streams_reconnect(field: Field) -> None:
    """Two hundred peers open event streams and drop them at once, again and again."""
    made = []
    for source in addresses(200):
        made += [(source, request("GET", "/events", auth=auth)) for auth in identities(field.http, source, 1)]
    field.note(f"{len(made)} peers")
    end = time.monotonic() + field.seconds
    rounds = 0
    while time.monotonic() < end:
        held = hold(field.http, [asked for _, asked in made], 400, [source for source, _ in made], rate=2000)
        held.run(0.2)
        held.close()
        rounds += 1
    field.note(f"{rounds} rounds of 400 streams")


def _configured(directory: Path, prefix: Sequence[str]) -> None:
    del prefix
    _configure(directory, 100_000)


def _configure(directory: Path, most: int) -> None:
    text = f'max_clients = {most}\nmax_offers = {most}\nmax_signaling_memory = "{most}K"\nmax_waiting = {most}\n'
    (directory / CONFIGURATION).write_text(text)


def _hang_up(field: Field, pause: float, limits: Sequence[int]) -> None:
    """Send SIGHUP again and again, with these limits in turn."""
    end = time.monotonic() + field.seconds
    for number, most in enumerate(itertools.cycle(limits), 1):
        if time.monotonic() >= end:
            field.note(f"{number - 1} reloads")
            return
        _configure(field.server.directory, most)
        os.kill(field.server.pid, signal.SIGHUP)
        time.sleep(pause)


@attack("hang-ups", log=MIB, prepare=_configured, options=(f"--config={CONFIGURATION}",))
def hang_ups(field: Field) -> None:
    """SIGHUP, a hundred times a second."""
    _hang_up(field, 0.01, [100_000])


@attack("lowered-limits", memory=256 * MIB, prepare=_configured, options=(f"--config={CONFIGURATION}",))
def lowered_limits(field: Field) -> None:
    """Limits of tables are lowered far below what is there, and raised, while others register and publish."""
    reloading = threading.Thread(target=_hang_up, args=(field, 0.5, [100_000, 100]))
    reloading.start()
    _flood(field, publishing, addresses(100), 16)
    reloading.join()
    _configure(field.server.directory, 100_000)
    os.kill(field.server.pid, signal.SIGHUP)
    time.sleep(0.5)
    field.stranger_gets_in()
