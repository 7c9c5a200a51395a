"""
``python -m fuzz [OPTION ...] [FILE ...]``: change scripts of datagrams until one does what none may.

Options are libFuzzer's, such as ``-max_total_time=60``. New scripts go to ``build/fuzz``, from where the next run
starts; one that fails goes to ``fuzz/crashes``, and the exit status is not 0. Name the file to play it again. Once
mended, it moves to ``fuzz/regressions``, which the tests play.
"""

from __future__ import annotations

import random
from zlib import crc32

import atheris

from fuzz.running import ROOT, fuzz

with atheris.instrument_imports(include=["rendezvous", "tests.small_server"]):
    from tests.small_server import SAMPLES, as_script, play, records, share_ids, signed_again

#: Bytes of a script.
MAX_SCRIPT = 4096

ACTIONS = (b"announce", b"alive", b"pulse", b"pulse", b"pulse", b"push", b"push", b"announced", b"error")
NAMES = tuple(b'"%s"' % share_id.encode() for share_id in share_ids())
HOSTS = (b'"10.0.0.1"', b'"198.51.100.7"', b'"fe80::1%eth0"', b'"fd00::1"', b'"::ffff:10.0.0.1"', b'"2001:db8::1"')
TEXTS = (b'""', b'"\\ud800"', b'"\\u0000"', b'"\xc3\xa9"', b'"\xff"', b'"%s"' % (b"m" * 256), b'"%s"' % (b"m" * 257))
NUMBERS = (b"0", b"1", b"65535", b'"65535"', b"65536", b"-1", b"1.5", b"1e400", b"NaN")
SWITCHES = (b"true", b"true", b"false", b'"true"', b"null")
FIELDS = {
    b"override": SWITCHES,
    b"ip": HOSTS,
    b"port": NUMBERS,
    b"multiaddr": TEXTS,
    b"shareId": SWITCHES + NAMES,
    b"action": ACTIONS,
}
VALUES = (b"[]", b"{}", *NAMES, *HOSTS, *TEXTS, *NUMBERS, *SWITCHES)


def repaired(datagram: bytes, draw: random.Random) -> bytes:
    """
    Make a message of most that resembles one.

    A STUN message gets the right length field, and perhaps its FINGERPRINT; what is signed gets the right MAC.
    """
    if datagram[:1] == b"\x0b" and len(datagram) in (32, 80) and draw.random() < 0.8:
        return signed_again(datagram)
    if datagram[4:8] != b"\x21\x12\xa4\x42" or len(datagram) < 20 or draw.random() < 0.2:
        return datagram
    body = datagram[20:] + bytes(-len(datagram) % 4)
    seal = draw.random() < 0.3
    head = datagram[:2] + (len(body) + 8 * seal).to_bytes(2, "big") + datagram[4:20]
    if not seal:
        return head + body
    return head + body + b"\x80\x28\x00\x04" + (crc32(head + body) ^ 0x5354554E).to_bytes(4, "big")


def request(draw: random.Random) -> bytes:
    """Write a request of the tracker, a field or two with what it may well hold, or with anything."""
    parts = [b'"action":"%s"' % draw.choice(ACTIONS)]
    for name in draw.sample(list(FIELDS), draw.choice((0, 1, 1, 2, 3))):
        parts.append(b'"%s":%s' % (name, draw.choice(FIELDS[name] if draw.random() < 0.8 else VALUES)))
    return b"{" + b",".join(parts) + b"}"


def changed(datagram: bytes, draw: random.Random) -> bytes:
    """Change what one record says."""
    match draw.randrange(4):
        case 0:
            other = draw.choice(SAMPLES)
            datagram = datagram[: draw.randrange(len(datagram) + 1)] + other[draw.randrange(len(other) + 1) :]
        case 1:
            datagram = request(draw)
        case _:
            datagram = atheris.Mutate(datagram, len(datagram) + 64)
    return repaired(datagram, draw)


def mutate(script: bytes, max_size: int, seed: int) -> bytes:
    """Change a script, keeping to its form: libFuzzer's own changes would mostly end it early."""
    draw = random.Random(seed)
    steps = list(records(script)) or [(0, b"")]
    at = draw.randrange(len(steps))
    action, datagram = steps[at]
    # Most often somebody speaks who is there already: little happens between sources that send once each.
    speaker = draw.choice(steps)[0] if draw.random() < 0.7 else draw.randrange(256)
    match draw.randrange(5):
        case 0:
            steps.insert(at + 1, (speaker, draw.choice(SAMPLES)))
        case 1:
            steps.insert(at + 1, (speaker, changed(datagram, draw)))
        case 2:
            steps[at] = (speaker, datagram)
        case 3 if len(steps) > 1:
            del steps[at]
        case _:
            steps[at] = (action, changed(datagram, draw))
    return as_script(steps)[:max_size]


def seeds() -> list[bytes]:
    """:returns: each sample alone, and two peers that go through all of the tracker's requests twice."""
    talk = [(source, sample) for sample in SAMPLES if sample[:1] == b"{" for source in (1, 2)]
    return [as_script([(number & 15, sample)]) for number, sample in enumerate(SAMPLES)] + [as_script(talk + talk)]


def main() -> None:
    """Fuzz, or play the files that are named."""
    fuzz(
        play,
        ROOT / "build" / "fuzz",
        {f"seed-{number}": seed for number, seed in enumerate(seeds())},
        longest=MAX_SCRIPT,
        others=[ROOT / "fuzz" / "regressions"],
        custom_mutator=mutate,
    )


if __name__ == "__main__":
    main()
