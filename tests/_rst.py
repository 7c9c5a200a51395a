"""What the tests read of reStructuredText: code blocks and list tables, as the documentation writes them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

import attrs

__all__ = ["Block", "code_blocks", "directives", "tables"]

Table = list[list[str]]


@attrs.frozen
class Block:
    """
    A code block.

    :ivar section: the title it stands below.
    :ivar language: the language it says it is in.
    """

    section: str
    language: str
    text: str


def code_blocks(page: str) -> list[Block]:
    """:returns: every code block of a page, in order."""
    section, found = "", []
    for name, argument, body in _pieces(page):
        if name == "section":
            section = argument
        elif name == "code-block":
            found.append(Block(section, argument, body))
    return found


def tables(page: str) -> list[Table]:
    """:returns: every list table of a page, in order: its rows, the header first, each a list of cells."""
    return [_rows(body) for name, _, body in _pieces(page) if name == "list-table"]


def directives(page: str, name: str) -> list[tuple[str, str]]:
    """:returns: the argument and the text of every directive of a name, in order."""
    return [(argument, body) for found, argument, body in _pieces(page) if found == name]


def _pieces(page: str) -> Iterator[tuple[str, str, str]]:
    """Yield titles and directives as name, argument, and the directive's indented text."""
    lines = page.splitlines()
    for number, line in enumerate(lines):
        below = lines[number + 1] if number + 1 < len(lines) else ""
        directive = re.fullmatch(r"\.\. ([a-z-]+)::(?: (.+))?", line)
        if directive:
            yield directive[1], directive[2] or "", _indented(lines[number + 1 :])
        elif line and re.fullmatch(r"([=-])\1+", below) and len(below) == len(line):
            yield "section", line, ""


def _indented(lines: list[str]) -> str:
    body: list[str] = []
    for line in lines:
        if line and not line.startswith(" "):
            break
        body.append(line)
    return textwrap.dedent("\n".join(body)).strip("\n") + "\n"


def _rows(body: str) -> Table:
    rows: Table = []
    for line in body.splitlines():
        if re.match(r"\* -( |$)", line):
            rows.append([line[4:]])
        elif re.match(r"  -( |$)", line):
            rows[-1].append(line[4:])
        elif rows and line.strip():
            rows[-1][-1] += " " + line.strip()
    return rows
