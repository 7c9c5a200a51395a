"""
``python -m fuzz.peer [OPTION ...] [FILE ...]``: change scripts of what a peer sends until one side of a path fails.

Options are those of libFuzzer, as for :mod:`fuzz.__main__`. New scripts go to ``build/fuzz-peer``, and one that fails
goes to ``fuzz/crashes``. Once mended, it becomes a test in ``tests/test_core_peer_fuzz.py``.
"""

from __future__ import annotations

import atheris

from fuzz.running import ROOT, fuzz

with atheris.instrument_imports(include=["rendezvous.core.punching", "rendezvous.wire"]):
    from tests.peer_script import SAMPLES, play

#: Bytes of a script.
MAX_SCRIPT = 4096


def seeds() -> dict[str, bytes]:
    """:returns: scripts that probe, acknowledge, wait, repeat and begin again, with each sample and for each role."""
    found = {}
    wait = bytes((4 | 2 << 3, 0))
    for first in range(16):
        talk = wait
        for number in range(12):
            probe = SAMPLES[1][:12] + number.to_bytes(4, "big") + SAMPLES[1][16:]
            talk += bytes((0, len(probe))) + probe + bytes((3, 4)) + (1000 + number).to_bytes(4, "big") + wait
        found[f"seed-{first}"] = bytes((first,)) + talk
        for number, sample in enumerate(SAMPLES):
            records = b"".join(bytes((action, len(sample))) + sample for action in (0, 5, 7, 6, 0, 4 | 5 << 3))
            found[f"seed-{first}-{number}"] = bytes((first,)) + talk + records
    return found


def main() -> None:
    """Fuzz, or play the files that are named."""
    fuzz(play, ROOT / "build" / "fuzz-peer", seeds(), longest=MAX_SCRIPT)


if __name__ == "__main__":
    main()
