"""Scripts of bytes: what a fuzzer changes, Hypothesis draws, and a test plays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hypothesis import strategies as st

__all__ = ["records", "scripts"]


def records(script: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the records of a script: behind its first byte, each has an action, a length, and so many bytes."""
    position = 1
    while position + 1 < len(script):
        end = position + 2 + script[position + 1]
        yield script[position], script[position + 2 : end]
        position = end


def scripts(samples: Sequence[bytes], *, firsts: int, most: int) -> st.SearchStrategy[bytes]:
    """
    :param samples: datagrams or frames, of which some are sent as they are and some with one byte changed.
    :param firsts: the first byte is less than this.
    :param most: records of a script.
    :returns: a strategy of scripts.
    """
    sample = st.sampled_from(samples)
    changed = st.tuples(sample, st.integers(0, 100), st.integers(0, 255)).map(
        lambda drawn: drawn[0][: drawn[1]] + bytes((drawn[2],)) + drawn[0][drawn[1] + 1 :]
    )
    sent = st.one_of(sample, st.binary(max_size=70), changed)
    return st.tuples(st.integers(0, firsts - 1), st.lists(st.tuples(st.integers(0, 255), sent), max_size=most)).map(
        lambda drawn: bytes((drawn[0],)) + b"".join(bytes((action, len(data))) + data for action, data in drawn[1])
    )
