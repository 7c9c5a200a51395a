"""Typed access to what a request holds: fields of its JSON body, parameters of its query, parts of its path."""

from __future__ import annotations

import re
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from twisted.web.http import Request

from rendezvous.errors import Malformed
from rendezvous.limits import MAX_INTEGER, MAX_WAIT

__all__ = ["Body", "Query", "decode_segment", "header"]

T = TypeVar("T")
N = TypeVar("N", int, float)


def header(request: Request, name: bytes) -> str | None:
    """:returns: a header as text, or ``None``. Bytes that are not UTF-8 become what fits no rule."""
    value = request.getHeader(name)
    return None if value is None else value.decode("utf-8", "surrogateescape")


def decode_segment(text: str, name: str) -> str:
    """
    :param text: a part of the path as the router gives it, percent-encoded.
    :param name: what an error calls it.
    :raises Malformed: it is not UTF-8.
    """
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed(f"{name} in the path is not UTF-8.") from None


class Body:
    """
    The fields of a JSON object. What is not asked for is ignored; ``null`` is the same as absent.

    Every method raises :exc:`~rendezvous.errors.Malformed` for a field that is missing or of the wrong type.

    :param prefix: what errors put before a field's name.
    """

    def __init__(self, fields: dict[str, Any], prefix: str = "") -> None:
        self._fields = fields
        self.prefix = prefix

    def __contains__(self, name: str) -> bool:
        return self._fields.get(name) is not None

    def text(self, name: str) -> str:
        """:returns: a string."""
        return self._required(name, self.optional_text(name))

    def optional_text(self, name: str) -> str | None:
        """:returns: a string, or ``None``."""
        return self._typed(name, str, "a string")

    def optional_integer(self, name: str, least: int | None = None) -> int | None:
        """
        :param least: the least that is right; then there is a most as well, 2**53 - 1.
        :returns: an integer, or ``None``. ``300000.0`` is one: JSON knows only numbers.
        """
        value = self._fields.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise Malformed(f"{self.prefix}{name} must be an integer.")
        if value is not None and least is not None and not least <= value <= MAX_INTEGER:
            raise Malformed(f"{self.prefix}{name} must be an integer, {least} or more.")
        return value

    def items(self, name: str, most: int) -> list[Any]:
        """
        :param most: how many there may be; it is checked before anything is done with one of them.
        :returns: a list.
        """
        items = self._required(name, self._typed(name, list, "a list"))
        if len(items) > most:
            raise Malformed(f"{self.prefix}{name} must be at most {most}.", code="too-long")
        return items

    def texts(self, name: str, most: int) -> list[str]:
        """:returns: a list of at most so many strings."""
        items = self.items(name, most)
        for index, item in enumerate(items):
            if not isinstance(item, str):
                raise Malformed(f"{self.prefix}{name}[{index}] must be a string.")
        return items

    def objects(self, name: str, most: int) -> list[Body]:
        """:returns: a list of at most so many objects, each with its own name in errors."""
        items = self.items(name, most)
        for index, item in enumerate(items):
            if not isinstance(item, dict):
                raise Malformed(f"{self.prefix}{name}[{index}] must be an object.")
        return [Body(item, f"{self.prefix}{name}[{index}].") for index, item in enumerate(items)]

    def flag(self, name: str) -> bool:
        """:returns: a boolean; false when it is absent."""
        return bool(self._typed(name, bool, "a boolean"))

    def number(self, name: str) -> float:
        """:returns: a number, 0 or more; 0 when it is absent."""
        value = self._fields.get(name)
        if value is None:
            return 0.0
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise Malformed(f"{self.prefix}{name} must be a number, 0 or more.")
        return float(min(value, MAX_INTEGER))

    def value(self, name: str) -> Any:
        """:returns: any JSON."""
        return self._required(name, self._fields.get(name))

    def wait(self) -> float:
        """:returns: the seconds that the caller is ready to wait, at most :data:`~rendezvous.limits.MAX_WAIT`."""
        value = self._fields.get("wait")
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0):
            raise _bad_wait()
        return _at_most(value, 0.0, MAX_WAIT)

    def _typed(self, name: str, kind: type[T], called: str) -> T | None:
        value = self._fields.get(name)
        if value is not None and not isinstance(value, kind):
            raise Malformed(f"{self.prefix}{name} must be {called}.")
        return value

    def _required(self, name: str, value: T | None) -> T:
        if value is None:
            raise Malformed(f"{self.prefix}{name} is missing.", code="missing-field")
        return value


class Query:
    """The parameters behind the ``?``. Of a repeated one, the first counts."""

    def __init__(self, request: Request) -> None:
        args: dict[bytes, list[bytes]] = request.args or {}
        self._args = args

    def text(self, name: str) -> str | None:
        """
        :returns: a string, or ``None``.
        :raises Malformed: it is not UTF-8.
        """
        values = self._args.get(name.encode("ascii"))
        if values is None:
            return None
        try:
            return values[0].decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed(f"{name} is not UTF-8.") from None

    def texts(self, name: str) -> list[str]:
        """
        :returns: all strings of this name.
        :raises Malformed: one is not UTF-8.
        """
        try:
            return [value.decode("utf-8") for value in self._args.get(name.encode("ascii"), ())]
        except UnicodeDecodeError:
            raise Malformed(f"{name} is not UTF-8.") from None

    def integer(self, name: str, least: int) -> int | None:
        """
        :returns: an integer, or ``None``.
        :raises Malformed: it is not one, or less than ``least``.
        """
        text = self.text(name)
        if text is None:
            return None
        value = int(text) if re.fullmatch(r"-?[0-9]{1,16}", text, re.ASCII) else None
        if value is None or not least <= value <= MAX_INTEGER:
            raise Malformed(f"{name} must be an integer, {least} or more.")
        return value

    def limit(self, default: int, most: int) -> int:
        """
        :param default: what it is if it is not given.
        :param most: what more than that means, with any number of digits.
        :returns: the size of a page.
        :raises Malformed: it is not an integer, or less than one.
        """
        text = self.text("limit")
        if text is not None and re.fullmatch(r"0*[1-9][0-9]*", text, re.ASCII) is None:
            raise Malformed("limit must be an integer, 1 or more.")
        return _at_most(None if text is None else int(text.lstrip("0")[:16]), default, most)

    def wait(self) -> float:
        """:returns: the seconds that the caller is ready to wait, at most :data:`~rendezvous.limits.MAX_WAIT`."""
        text = self.text("wait")
        if text is not None and re.fullmatch(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", text, re.ASCII) is None:
            raise _bad_wait()
        return _at_most(None if text is None else float(text), 0.0, MAX_WAIT)


def _bad_wait() -> Malformed:
    return Malformed("wait must be a number of seconds, 0 or more.")


def _at_most(value: N | None, default: N, most: N) -> N:
    """:returns: a number that was given or its default; what is above ``most`` means ``most``."""
    return default if value is None else min(value, most)
