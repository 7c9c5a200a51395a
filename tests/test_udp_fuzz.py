"""Any datagram at all, from anywhere, in any order: nothing raises, nothing grows, and the pulses are as quick."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tests.small_server import CLIENT, ON_TIME, SAMPLES, SOURCES, SmallServer, as_script, play, records, work

ROOT = Path(__file__).parents[1]

#: Calls that the costliest datagram causes, STUN with 32 attributes, and half as much again.
MAX_WORK = 400


def cut(datagram: bytes, start: int, end: int) -> bytes:
    """Leave out what comes before and after."""
    return datagram[start % (len(datagram) + 1) :][: end % (len(datagram) + 1)]


def flipped(datagram: bytes, bits: list[int]) -> bytes:
    """Turn some bits over."""
    changed = bytearray(datagram)
    for bit in bits:
        changed[bit // 8 % len(changed)] ^= 1 << bit % 8
    return bytes(changed)


def spliced(one: bytes, other: bytes, at: int, to: int) -> bytes:
    """Go on with another datagram somewhere."""
    return one[: at % (len(one) + 1)] + other[to % (len(other) + 1) :]


samples = st.sampled_from(SAMPLES)
positions = st.integers(0, 1 << 16)
datagrams = st.one_of(
    samples,
    st.binary(max_size=100),
    st.builds(cut, samples, positions, positions),
    st.builds(flipped, samples, st.lists(positions, min_size=1, max_size=4)),
    st.builds(spliced, samples, samples, positions, positions),
    st.builds(lambda rest: b"\x00\x01" + len(rest).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + rest, st.binary()),
    st.text(max_size=300).map(lambda text: b'{"action":"pulse","multiaddr":"%s"}' % text.encode(errors="replace")),
)
steps = st.lists(st.tuples(st.integers(0, 255), datagrams), max_size=20)


class AnyDatagramTests(SynchronousTestCase):
    """Whatever arrives, the port stays as it has to be."""

    @given(steps)
    def test_nothing_raises_and_no_table_outgrows_its_bound(self, script: list[tuple[int, bytes]]) -> None:
        """Nothing is logged as an error, the tables keep to their bounds, and the client's pulse is answered."""
        play(as_script(script))
        self.assertEqual(self.flushLoggedErrors(), [])

    @given(steps)
    def test_a_pulse_costs_the_same_whatever_came_before(self, script: list[tuple[int, bytes]]) -> None:
        """The client's pulse causes as many calls after it as before, so it cannot be slowed."""
        server = SmallServer()
        before = work(server, server.key)
        for action, datagram in script:
            server.deliver(datagram, SOURCES[action & 7], action >> 3 & 1)
        # What came from the client's own address is no pulse, so it has moved nothing.
        server.clock.advance(2)
        server.deliver(server.key)
        self.assertEqual(work(server, server.key), before)

    @given(datagrams, st.sampled_from(SOURCES))
    def test_no_datagram_costs_much(self, datagram: bytes, source: tuple[str, int]) -> None:
        """The calls that one datagram causes are bounded, so that it takes little from the others."""
        self.assertLessEqual(work(SmallServer(), datagram, source), MAX_WORK)

    @given(st.binary(max_size=200))
    @settings(max_examples=200)
    def test_any_bytes_are_a_script(self, script: bytes) -> None:
        """The fuzzer may change a script as it likes: it can be played, and written again."""
        play(script)
        read = list(records(script))
        self.assertEqual(list(records(as_script(read))), read)

    def test_the_longest_datagrams_cost_little(self) -> None:
        """Neither the longest STUN request nor the most deeply nested JSON costs more than any other."""
        for datagram in (
            b"\x00\x01\x10\x00\x21\x12\xa4\x42" + bytes(12) + b"\x7f\xff\x00\x00" * 1024,
            b"\x00\x01\x00\x80\x21\x12\xa4\x42" + bytes(12) + b"".join(bytes((127, n, 0, 0)) for n in range(32)),
            b"{" * 8000,
            b'{"action":' + b"[" * 1000,
            b'{"action":"pulse","override":true,"ip":"%s"}' % (b":" * 900),
            b'{"action":"pulse","override":true,"ip":"%s"}' % (b"1." * 450),
            b'{"action":"push","shareId":"%s"}' % (b"x" * 900),
            b"\xff" * 65507,
        ):
            server = SmallServer()
            server.deliver(b'{"action":"announce"}')
            self.assertLessEqual(work(server, datagram), MAX_WORK)
            self.assertEqual(server.deliver(server.key, CLIENT), [ON_TIME])


class RegressionTests(SynchronousTestCase):
    """What the fuzzer once found stays mended."""

    def test_every_kept_script_plays(self) -> None:
        """Each file in fuzz/regressions, as the fuzzer wrote it, passes the checks that it once failed."""
        paths = sorted((ROOT / "fuzz" / "regressions").glob("*"))
        self.assertNotEqual(paths, [])
        for path in paths:
            play(path.read_bytes())
            self.assertEqual(self.flushLoggedErrors(), [], path.name)
