"""What the command prints: results and events on stdout, and progress and warnings on stderr."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Any, Protocol, TextIO

__all__ = ["Output", "OutputError", "one_line"]

#: Moves to the start of the line and clears it (ECMA-48, EL).
_CLEAR = "\r\x1b[K"


def one_line(text: str) -> str:
    """:returns: a text without control characters, which could move the cursor of a terminal or end the line."""
    return "".join(character if character.isprintable() else " " for character in text).strip()


class OutputError(Exception):
    """Stdout cannot be written, for example because the disk is full."""


class Write(Protocol):
    """Writes to stdout."""

    def __call__(self, text: str, *, droppable: bool = False) -> bool:
        """
        Write.

        :param text: surrogates stand for bytes that are no UTF-8 (PEP 383).
        :param droppable: whether the text may be dropped if the reader is too slow.
        :returns: whether it was written.
        """
        ...


class Output:
    """
    Prints for a program or for a person.

    With ``json``, each result and each event is one JSON object on one line of stdout. Without it, a result is text on
    stdout and an event is a line on stderr, so that stdout carries data alone.

    :param out: stdout.
    :param err: stderr.
    :param json: whether a program reads.
    """

    def __init__(self, out: TextIO, err: TextIO, *, json: bool) -> None:
        self._out = out
        self._err = err
        self._json = json
        self._has_progress = False
        self._write: Write = self._write_out

    def result(self, text: str, fields: dict[str, Any]) -> None:
        """
        Print what the command was asked for.

        :param text: for people.
        :param fields: the same for programs.
        """
        self.clear()
        self._write(_encode(fields) if self._json else text + "\n")

    def event(self, name: str, text: str, **fields: Any) -> None:
        """
        Print that something has happened.

        :param name: of the event, for programs.
        :param text: for people.
        :param fields: of the JSON object, after its ``event``.
        """
        self.clear()
        if self._json:
            self._write(_encode({"event": name, **fields}))
        else:
            self._complain(text)

    def failed(self, code: str, reason: str, **fields: Any) -> None:
        """
        Print why the command has failed.

        :param code: a stable word.
        :param reason: one line.
        :param fields: more members for programs.
        """
        self.event("failed", f"rendezvous: {one_line(reason)}", code=code, reason=reason, **fields)

    def warn(self, text: str) -> None:
        """Print a line that a person should see, with ``json`` too."""
        self.clear()
        self._complain(text)

    def progress(self, text: str) -> None:
        """Show what the command waits for, if stderr is a terminal. The next output takes its place."""
        if not self._json and self._err.isatty():
            self._tell(_CLEAR + one_line(text))
            self._has_progress = True

    def clear(self) -> None:
        """Remove the progress."""
        if self._has_progress:
            self._has_progress = False
            self._tell(_CLEAR)

    def data(self, peer: str, payload: bytes) -> bool:
        """
        Print a line that a peer has sent.

        :param payload: its bytes. A terminal is shown none that could move its cursor.
        :returns: whether it was printed, and not dropped because the reader is too slow.
        """
        if self._json:
            text = _encode({"event": "data", "peer": peer, "text": payload.decode("utf-8", "replace")})
        elif self._out.isatty():
            self.clear()
            text = one_line(payload.decode("utf-8", "replace")) + "\n"
        else:
            text = payload.decode("utf-8", "surrogateescape") + "\n"
        return self._write(text, droppable=True)

    def redirect(self, write: Write | None) -> None:
        """
        Have stdout written by something else, such as a buffer that a slow reader cannot block.

        :param write: ``None`` for stdout itself.
        """
        self._write = self._write_out if write is None else write

    def discard(self) -> None:
        """Print nothing further on stdout, also not what is buffered and would be written when the process ends."""
        self._write = lambda text, *, droppable=False: False
        with suppress(OSError, ValueError):  # A file in memory has no descriptor.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())

    def _write_out(self, text: str, *, droppable: bool = False) -> bool:
        try:
            self._out.write(text)
            self._out.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(error.strerror) from None
        return True

    def _complain(self, text: str) -> None:
        self._tell(one_line(text) + "\n")

    def _tell(self, text: str) -> None:
        """Write to stderr. What cannot be written, for example because the terminal was closed, is left out."""
        with suppress(OSError):
            self._err.write(text)
            self._err.flush()


def _encode(fields: dict[str, Any]) -> str:
    text = json.dumps(fields, ensure_ascii=False)
    # JSON itself escapes C0 alone. C1 and the like would reach a terminal, and lone surrogates cannot be written.
    if not text.isprintable():
        text = "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)
    return text + "\n"
