"""
``python -m fuzz.relay [OPTION ...] [FILE ...]``: change scripts of what a TURN server sends until a client fails.

Options are those of libFuzzer, as for :mod:`fuzz.__main__`. New scripts go to ``build/fuzz-relay``, and one that fails
goes to ``fuzz/crashes``. Once mended, it becomes a test in ``tests/test_client_relay_fuzz.py``.
"""

from __future__ import annotations

import atheris

from fuzz.running import ROOT, fuzz

with atheris.instrument_imports(include=["rendezvous.client", "rendezvous.wire"]):
    from tests.turn_script import SAMPLES, play

#: Bytes of a script.
MAX_SCRIPT = 2048


def seeds() -> dict[str, bytes]:
    """:returns: each sample after the address is there; as it is, and as an answer, unsigned and signed."""
    found = {}
    for number, sample in enumerate(SAMPLES):
        records = b"".join(bytes((action, len(sample))) + sample for action in (0, 2, 3, 4))
        for first in range(4):
            found[f"seed-{number}-{first}"] = bytes((first,)) + records
    return found


def main() -> None:
    """Fuzz, or play the files that are named."""
    fuzz(play, ROOT / "build" / "fuzz-relay", seeds(), longest=MAX_SCRIPT)


if __name__ == "__main__":
    main()
