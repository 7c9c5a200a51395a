"""What the fuzzers share: where files lie, and a run of libFuzzer that fails on what the code had to catch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import atheris
from zope.interface import provider

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher

__all__ = ["ROOT", "fuzz"]

ROOT = Path(__file__).parents[1]
CRASHES = ROOT / "fuzz" / "crashes"
#: Seconds that one script may take: a thousand times what the costliest needs.
MAX_SECONDS = 5

_logged: list[LogEvent] = []


@provider(ILogObserver)
def _keep_failure(event: LogEvent) -> None:
    """Keep what the code logs when it has to catch an exception of its own."""
    if "log_failure" in event:
        _logged.append(event)


def fuzz(
    play: Callable[[bytes], object],
    corpus: Path,
    seeds: Mapping[str, bytes],
    *,
    longest: int,
    others: Iterable[Path] = (),
    **setup: Any,
) -> None:
    """
    Change scripts until one fails, or play the files that the command line names.

    :param play: plays a script; it raises what the code has not done as it has to.
    :param corpus: the folder of scripts, from where the next run starts.
    :param seeds: the scripts to start with, by file name.
    :param longest: bytes of a script.
    :param others: further folders of scripts.
    :param setup: for ``atheris.Setup``.
    """

    def try_script(script: bytes) -> None:
        play(script)
        if _logged:
            failure = _logged.pop()["log_failure"]
            _logged.clear()
            raise failure.value.with_traceback(failure.getTracebackObject())

    globalLogPublisher.addObserver(_keep_failure)
    files = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    given = [argument for argument in sys.argv[1:] if argument.startswith("-")]
    options = [f"-artifact_prefix={CRASHES}/", f"-max_len={longest}", f"-timeout={MAX_SECONDS}"]
    if not files:
        corpus.mkdir(parents=True, exist_ok=True)
        CRASHES.mkdir(exist_ok=True)
        for name, seed in seeds.items():
            (corpus / name).write_bytes(seed)
        files = [str(corpus), *map(str, others)]
    atheris.Setup([sys.argv[0], *options, *given, *files], try_script, **setup)
    atheris.Fuzz()
