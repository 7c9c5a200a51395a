"""
``python -m fuzz.relay [OPTION ...] [FILE ...]``: change scripts of what a TURN server sends until a client fails.

Options are those of libFuzzer, as for :mod:`fuzz.__main__`. New scripts go to ``build/fuzz-relay``, and one that fails
goes to ``fuzz/crashes``. Once mended, it becomes a test in ``tests/test_client_relay_fuzz.py``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris
from zope.interface import provider

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher

with atheris.instrument_imports(include=["rendezvous.client", "rendezvous.wire"]):
    from tests.turn_script import SAMPLES, play

ROOT = Path(__file__).parents[1]
CORPUS = ROOT / "build" / "fuzz-relay"
CRASHES = ROOT / "fuzz" / "crashes"
MAX_SCRIPT, MAX_SECONDS = 2048, 5

logged: list[LogEvent] = []


@provider(ILogObserver)
def keep_failure(event: LogEvent) -> None:
    """Keep what the client logs when it has to catch an exception of its own."""
    if "log_failure" in event:
        logged.append(event)


def try_script(script: bytes) -> None:
    """
    Play a script.

    :raises BaseException: what the client had to catch, or what it is not as it has to be.
    """
    play(script)
    if logged:
        failure = logged.pop()["log_failure"]
        logged.clear()
        raise failure.value.with_traceback(failure.getTracebackObject())


def main() -> None:
    """Fuzz, or play the files that are named."""
    globalLogPublisher.addObserver(keep_failure)
    files = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    options = [f"-artifact_prefix={CRASHES}/", f"-max_len={MAX_SCRIPT}", f"-timeout={MAX_SECONDS}"]
    if not files:
        CORPUS.mkdir(parents=True, exist_ok=True)
        CRASHES.mkdir(exist_ok=True)
        for number, sample in enumerate(SAMPLES):
            # After the address is there; as it is, and as an answer to the last request, unsigned and signed.
            records = b"".join(bytes((action, len(sample))) + sample for action in (0, 2, 3, 4))
            for first in range(4):
                (CORPUS / f"seed-{number}-{first}").write_bytes(bytes((first,)) + records)
        files = [str(CORPUS)]
    given = [argument for argument in sys.argv[1:] if argument.startswith("-")]
    atheris.Setup([sys.argv[0], *options, *given, *files], try_script)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
