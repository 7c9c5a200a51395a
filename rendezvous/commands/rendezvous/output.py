"""What the command prints: results and events on stdout, and progress and warnings on stderr."""

from __future__ import annotations

import json
from typing import Any, TextIO

__all__ = ["Output", "one_line"]

#: Moves to the start of the line and clears it (ECMA-48, EL).
_CLEAR = "\r\x1b[K"


def one_line(text: str) -> str:
    """:returns: a text without control characters, which could move the cursor of a terminal or end the line."""
    return "".join(character if character.isprintable() else " " for character in text).strip()


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

    @property
    def is_json(self) -> bool:
        """:returns: whether a program reads."""
        return self._json

    def result(self, text: str, fields: dict[str, Any]) -> None:
        """
        Print what the command was asked for.

        :param text: for people.
        :param fields: the same for programs.
        """
        self.clear()
        self.write(_encode(fields) if self._json else text + "\n")

    def event(self, name: str, text: str, **fields: Any) -> None:
        """
        Print that something has happened.

        :param name: of the event, for programs.
        :param text: for people.
        :param fields: of the JSON object, after its ``event``.
        """
        self.clear()
        if self._json:
            self.write(_encode({"event": name, **fields}))
        else:
            self._complain(text)

    def failed(self, code: str, reason: str) -> None:
        """
        Print why the command has failed.

        :param code: a stable word.
        :param reason: one line.
        """
        self.event("failed", f"rendezvous: {one_line(reason)}", code=code, reason=reason)

    def warn(self, text: str) -> None:
        """Print a line that a person should see, with ``json`` too."""
        self.clear()
        self._complain(text)

    def progress(self, text: str) -> None:
        """Show what the command waits for, if stderr is a terminal. The next output takes its place."""
        if not self._json and self._err.isatty():
            self._err.write(_CLEAR + one_line(text))
            self._err.flush()
            self._has_progress = True

    def clear(self) -> None:
        """Remove the progress."""
        if self._has_progress:
            self._has_progress = False
            self._err.write(_CLEAR)
            self._err.flush()

    def write(self, text: str) -> None:
        """Write to stdout."""
        self._out.write(text)
        self._out.flush()

    def _complain(self, text: str) -> None:
        self._err.write(one_line(text) + "\n")
        self._err.flush()


def _encode(fields: dict[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False) + "\n"
