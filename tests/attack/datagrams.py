"""Floods of datagrams, at a rate that the server's core can still carry: beyond it the kernel drops anybody's."""

from __future__ import annotations

import itertools
import json
import random
import socket
import struct
from collections.abc import Callable, Iterator, Sequence

from rendezvous.clock import wall_clock
from rendezvous.core.macs import datagram_key
from rendezvous.wire.signed import Request, encode_request
from tests.attack.field import MIB, Field, attack
from tests.attack.floods import identities
from tests.attack.load import ONE, addresses, blast, udp_sockets

__all__ = ["unknown_keys"]

#: Datagrams a second.
RATE = 20_000
SLOW_RATE = 5_000


def unknown_keys() -> Iterator[bytes]:
    """Draw keys that no client has."""
    return map(random.randbytes, itertools.repeat(32))


def _hex_keys() -> Iterator[bytes]:
    return (key.hex().encode() for key in unknown_keys())


def _stun() -> bytes:
    """A Binding with as many unknown comprehension-required attributes as a datagram takes here."""
    attributes = b"".join(struct.pack("!HH", 0x4000 + number, 0) for number in range(63))
    return struct.pack("!HHI12s", 1, len(attributes), 0x2112A442, b"attack attac") + attributes


def _send(
    field: Field, payloads: Callable[[], Iterator[bytes]], sources: Sequence[str] = ONE, rate: int = RATE
) -> None:
    sockets = udp_sockets(field.udp, sources)
    sent = blast(sockets, payloads(), rate, field.seconds)
    field.note(f"{sent / field.seconds:,.0f} datagrams a second from {len(sockets)} addresses")
    _close(sockets)


def _close(sockets: Sequence[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


@attack("udp-unknown-keys")
def keys(field: Field) -> None:
    """Pulses with keys that no client has."""
    _send(field, unknown_keys)


@attack("udp-hex-keys")
def hex_keys(field: Field) -> None:
    """Pulses in hex with keys that no client has."""
    _send(field, _hex_keys)


@attack("udp-signed-forged")
def signed_forged(field: Field) -> None:
    """Signed pulses whose MAC is wrong, so that each of them costs the server two hashes and more."""

    def payloads() -> Iterator[bytes]:
        while True:
            # The clock is read for each: the server takes a time that is off by 15 seconds at most.
            pulse = Request(random.randbytes(16), round(wall_clock() * 1000), random.randbytes(8))
            yield encode_request(pulse, bytes(32))

    _send(field, payloads)


@attack("udp-signed-copies")
def signed_copies(field: Field) -> None:
    """Copies of the signed pulses of a hundred clients, from elsewhere: no client is where the copies come from."""
    made = [tuple(map(bytes.fromhex, auth.split(":"))) for auth in identities(field.http, ONE[0], 100)]
    time = round(wall_clock() * 1000)
    pulses = [encode_request(Request(client_id, time, bytes(8)), datagram_key(key)) for client_id, key in made]
    [own] = udp_sockets(field.udp, ["127.66.0.1"])
    blast([own], pulses, SLOW_RATE, field.seconds)
    own.setblocking(True)
    own.settimeout(2.0)
    codes = [own.recv(2048)[:4].hex() for _ in pulses]
    field.expect(f"{len(pulses)} clients pulse", holds=codes == ["0b8103fc"] * len(pulses))
    [thief] = udp_sockets(field.udp, ["127.66.0.2"])
    sent = blast([thief], itertools.cycle(pulses), RATE, min(field.seconds, 10.0))
    field.note(f"{sent / min(field.seconds, 10.0):,.0f} copies a second")
    thief.setblocking(False)
    try:
        reply = thief.recv(2048)
    except BlockingIOError:
        reply = b""
    field.expect("no copy is answered", holds=not reply)
    _close([own, thief])


@attack("udp-stun")
def stun(field: Field) -> None:
    """STUN with 63 unknown attributes, from one address and so mostly over its rate."""
    _send(field, lambda: itertools.repeat(_stun()))


@attack("udp-stun-spread")
def stun_spread(field: Field) -> None:
    """STUN with 63 unknown attributes, from two thousand addresses that each stay within their rate."""
    _send(field, lambda: itertools.repeat(_stun()), addresses(2000, 200))


@attack("udp-announces", quick=True, memory=128 * MIB)
def announces(field: Field) -> None:
    """Announces to the tracker from four thousand addresses."""
    _send(field, lambda: itertools.repeat(b'{"action":"announce"}'), addresses(4000, 200), SLOW_RATE)


@attack("udp-announces-full", options=("--max-tracker-peers=500",))
def announces_full(field: Field) -> None:
    """One site fills a small table of tracker peers; somebody from elsewhere still announces."""
    _send(field, lambda: itertools.repeat(b'{"action":"announce"}'), addresses(250, 1), SLOW_RATE)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.9.1", 0))
        sock.connect(("127.0.0.1", field.udp))
        sock.settimeout(2.0)
        sock.send(b'{"action":"announce"}')
        try:
            reply = sock.recv(2048)
        except TimeoutError:
            reply = b"nothing"
    field.expect(f"a stranger announces: {reply!r}", holds=b"announceReceived" in reply)


@attack("udp-pushes")
def pushes(field: Field) -> None:
    """A thousand announced peers push to one that has left a long multiaddr."""
    sockets = udp_sockets(field.udp, ["127.66.9.1", *addresses(1000, 100)])
    target = sockets[0]
    target.settimeout(2.0)
    target.send(b'{"action":"announce"}')
    share_id = json.loads(target.recv(2048))["data"]["shareId"]
    target.send(json.dumps({"action": "pulse", "multiaddr": "m" * 256}).encode())
    target.setblocking(False)
    blast(sockets[1:], [b'{"action":"announce"}'] * 1000, SLOW_RATE, field.seconds)
    push = json.dumps({"action": "push", "shareId": share_id}).encode()
    sent = blast(sockets[1:], itertools.repeat(push), SLOW_RATE, field.seconds)
    field.note(f"{sent / field.seconds:,.0f} datagrams a second from {len(sockets)} addresses")
    _close(sockets)


@attack("udp-junk")
def junk(field: Field) -> None:
    """Random bytes of every length up to 1400."""
    _send(field, lambda: (random.randbytes(random.randrange(1400)) for _ in itertools.count()))


@attack("udp-empty")
def empty(field: Field) -> None:
    """Datagrams without a byte, as fast as one core sends them."""
    _send(field, lambda: itertools.repeat(b""), rate=100_000)


@attack("udp-moves", quick=True, memory=64 * MIB)
def moves(field: Field) -> None:
    """A hundred clients whose pulses come from two sockets in turn, so that each moves its client."""
    keys = [bytes.fromhex(auth.partition(":")[2]) for auth in identities(field.http, ONE[0], 100)]
    field.note(f"{len(keys)} clients")
    sockets = udp_sockets(field.udp, ["127.66.0.1", "127.66.0.1"])
    drawn = (key for key in itertools.cycle(keys) for _ in range(2))
    sent = blast(sockets, drawn, SLOW_RATE, field.seconds)
    field.note(f"{sent / field.seconds:,.0f} moves a second")
    _close(sockets)
