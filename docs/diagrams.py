"""
Draws sequence diagrams and state diagrams from text, as SVG.

``conf.py`` makes two directives of it, ``sequence`` and ``states``. What exists is not used, for these reasons:
Mermaid needs a browser at build time, or a script from elsewhere in each page; PlantUML needs Java; Graphviz draws no
sequences, and needs a program that everyone who builds the pages would have to install first; seqdiag had its last
release in 2021. These drawings need nothing, are the same on every machine, take the colours of the page in both
themes, and can be read as text. Tests read the same text and compare it with the code.

A sequence begins with its participants. Each further line is a message, or a note for all of them::

    A | Server | B
    A -> Server: a request over HTTP
    Server --> A: its answer
    B => Server: a datagram
    A -> A: something that a participant does by itself
    note: what is true from here on

States begin with rows that place them. A dot in a row is an empty place. A transition has its cause behind the colon. A
state called ``*`` is the beginning. A name in parentheses stands for several states, which the page names::

    | * | . | . |
    | NEW | GONE | (any of them) |
    | ONLINE | . | . |
    * -> NEW: POST /register
    NEW -> ONLINE: first pulse
    (any of them) -> GONE: POST /logout

Lines do not find a way around states, so place the states such that none is in the way.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import pairwise
from math import hypot
from typing import NamedTuple

__all__ = ["DiagramError", "Transition", "parse_sequence", "parse_states", "sequence", "states"]

#: Width of a character, and height of a line of text, in the units of the drawing: pixels where it is not scaled.
CHARACTER, LINE = 6.8, 17.0
#: The longest line of a label, in characters.
LABEL = 21
BOX_HEIGHT = 34.0
#: Between the rows of states, and the shortest distance between their columns.
ROW_GAP, COLUMN_GAP = 86.0, 70.0
#: By how much the two lines of a transition and its reverse are apart from their middle.
APART = 9.0
#: To which part of its size a drawing may shrink.
LEAST = 0.69

START, EMPTY = "*", "."


class DiagramError(ValueError):
    """The text of a diagram is wrong; the message says where."""


class Transition(NamedTuple):
    """
    A line of a diagram: an arrow and its label.

    :ivar kind: ``->``, ``-->`` or ``=>``; or ``note`` without ends.
    """

    source: str
    kind: str
    target: str
    label: str


class Point(NamedTuple):
    """A place in a drawing."""

    x: float
    y: float


class Drawing:
    """Collects shapes, and knows how large they are together."""

    def __init__(self) -> None:
        self._shapes: list[str] = []
        self._corners: list[Point] = []

    def add(self, shape: str, *corners: Point) -> None:
        """Add a shape that reaches to these points."""
        self._shapes.append(shape)
        self._corners += corners

    def line(self, points: Sequence[Point], kind: str = "->", *, arrow: bool = True) -> None:
        """Add a line of a kind, with an arrow head at its end."""
        style = {"->": "", "-->": " answer", "=>": " datagram"}[kind]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.add(f'<polyline class="line{style}" points="{path}"/>', *points)
        if arrow:
            (fromx, fromy), (x, y) = points[-2:]
            length = hypot(x - fromx, y - fromy) or 1.0
            alongx, alongy = (x - fromx) / length * 9, (y - fromy) / length * 9
            one = (x - alongx - alongy * 0.45, y - alongy + alongx * 0.45)
            other = (x - alongx + alongy * 0.45, y - alongy - alongx * 0.45)
            head = (x, y, *one, *other)
            self.add(f'<polygon class="head{style}" points="{" ".join(f"{each:.1f}" for each in head)}"/>')

    def text(self, lines: Sequence[str], at: Point, anchor: str = "middle", style: str = "label") -> None:
        """Add lines of text, the first one with its middle at a height."""
        for number, line in enumerate(lines):
            y = at.y + number * LINE
            width = len(line) * CHARACTER
            left = at.x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
            self.add(
                f'<text class="{style}" x="{at.x:.1f}" y="{y + 4.5:.1f}" text-anchor="{anchor}">{escape(line)}</text>',
                Point(left, y - LINE / 2),
                Point(left + width, y + LINE / 2),
            )

    def box(self, name: str, middle: Point, width: float) -> None:
        """Add a state or a participant."""
        left, top = middle.x - width / 2, middle.y - BOX_HEIGHT / 2
        style = "box several" if name.startswith("(") else "box"
        size = f'width="{width:.1f}" height="{BOX_HEIGHT:.1f}"'
        self.add(
            f'<rect class="{style}" x="{left:.1f}" y="{top:.1f}" {size} rx="7"/>',
            Point(left, top),
            Point(left + width, top + BOX_HEIGHT),
        )
        self.text([name.strip("()")], middle, style="label" if name.startswith("(") else "name")

    def svg(self, title: str, description: str) -> str:
        """:returns: the drawing; readers of screens get the title and the description."""
        left, top = (min(each) - 8 for each in zip(*self._corners, strict=True))
        right, bottom = (max(each) + 8 for each in zip(*self._corners, strict=True))
        # On phones it shrinks a little, and is scrolled beyond that.
        size = (
            f'width="{right - left:.0f}" height="{bottom - top:.0f}" style="min-width: {(right - left) * 0.75:.0f}px"'
        )
        view = f"{left:.0f} {top:.0f} {right - left:.0f} {bottom - top:.0f}"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="{view}" {size}>'
            f"<title>{escape(title)}</title><desc>{escape(description)}</desc>{''.join(self._shapes)}</svg>"
        )


def wrap(label: str) -> list[str]:
    """:returns: the lines of a label."""
    return textwrap.wrap(label, LABEL, break_long_words=False, break_on_hyphens=False)


def box_width(name: str) -> float:
    """:returns: how wide the box of a name is."""
    return 18.0 if name == START else len(name) * CHARACTER * 1.1 + 26


def _transitions(lines: Iterable[str], names: Iterable[str]) -> Iterator[Transition]:
    known = set(names)
    for line in lines:
        if line.startswith("note: "):
            yield Transition("", "note", "", line.removeprefix("note: "))
            continue
        found = re.fullmatch(r"(.+?) (->|-->|=>) ([^:]+): (.+)", line)
        if found is None:
            raise DiagramError(f"neither a note nor an arrow with a label: {line!r}")
        each = Transition(*found.groups())
        unknown = {each.source, each.target} - known
        if unknown:
            raise DiagramError(f"nothing is called {unknown.pop()!r}: {line!r}")
        yield each


def _described(transitions: Iterable[Transition]) -> str:
    return "; ".join(
        each.label if each.kind == "note" else f"{each.source} to {each.target}: {each.label}" for each in transitions
    ).replace(f"{START} to ", "beginning to ")


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def parse_sequence(text: str) -> tuple[list[str], list[Transition]]:
    """
    :returns: the participants, and the messages.
    :raises DiagramError: if the text is wrong.
    """
    first, *others = _lines(text)
    names = [name.strip() for name in first.split("|")]
    return names, list(_transitions(others, names))


def parse_states(text: str) -> tuple[dict[str, tuple[int, int]], list[Transition]]:
    """
    :returns: the column and the row of each state, and the transitions.
    :raises DiagramError: if the text is wrong.
    """
    lines = _lines(text)
    rows = [line.strip("|").split("|") for line in lines if line.startswith("|")]
    cells = [(name.strip(), column, row) for row, names in enumerate(rows) for column, name in enumerate(names)]
    places = {name: (column, row) for name, column, row in cells if name != EMPTY}
    if len(places) != sum(name != EMPTY for name, _, _ in cells):
        raise DiagramError("a state has two places")
    return places, list(_transitions((line for line in lines if not line.startswith("|")), places))


def sequence(text: str, title: str) -> str:
    """
    Draw a sequence.

    :returns: it, as SVG.
    :raises DiagramError: if the text is wrong.
    """
    names, messages = parse_sequence(text)
    xs = _columns_of_sequence(names, messages)
    drawing, y = Drawing(), LINE
    lines: list[tuple[Transition, float]] = []
    for each in messages:
        extra = (len(_words(each, names)) - 1) * LINE
        y += LINE * 2 + extra
        lines.append((each, y))
    for name in names:
        drawing.line([Point(xs[name], BOX_HEIGHT / 2), Point(xs[name], y + LINE)], "-->", arrow=False)
    for each, height in lines:
        _message(drawing, each, height, xs)
    for name in names:
        drawing.box(name, Point(xs[name], 0), box_width(name))
    return drawing.svg(title, _described(messages))


def _words(message: Transition, names: Sequence[str]) -> list[str]:
    """:returns: the lines of a message: the further it goes, the longer they may be."""
    if message.kind == "note":
        return textwrap.wrap(message.label, 60)
    distance = abs(names.index(message.source) - names.index(message.target))
    return textwrap.wrap(message.label, 30 * max(1, distance), break_long_words=False, break_on_hyphens=False)


def _columns_of_sequence(names: Sequence[str], messages: Iterable[Transition]) -> dict[str, float]:
    """:returns: where each participant is, so that every label fits between its two."""
    gaps = [(box_width(left) + box_width(right)) / 2 + 20 for left, right in pairwise(names)]
    for each in messages:
        if each.kind != "note" and each.source != each.target:
            low, high = sorted((names.index(each.source), names.index(each.target)))
            needed = max(map(len, _words(each, names))) * CHARACTER + 24
            missing = needed - sum(gaps[low:high])
            for gap in range(low, high):
                gaps[gap] += max(0.0, missing) / (high - low)
    return {name: sum(gaps[:number]) for number, name in enumerate(names)}


def _message(drawing: Drawing, each: Transition, y: float, xs: dict[str, float]) -> None:
    words = _words(each, list(xs))
    top = y - 10 - (len(words) - 1) * LINE
    low, high = min(xs.values()), max(xs.values())
    if each.kind == "note":
        width = max(map(len, words)) * CHARACTER + 20
        middle = (low + high) / 2
        corner = Point(middle - width / 2, top - LINE * 0.75)
        height = LINE * (len(words) + 0.5)
        drawing.add(
            f'<rect class="note" x="{corner.x:.1f}" y="{corner.y:.1f}" width="{width:.1f}" height="{height:.1f}"/>',
            corner,
            Point(corner.x + width, corner.y + height),
        )
        drawing.text(words, Point(middle, top))
    elif each.source == each.target:
        x = xs[each.source]
        drawing.line([Point(x, y - 14), Point(x + 26, y - 14), Point(x + 26, y + 2), Point(x, y + 2)], each.kind)
        drawing.text(words, Point(x + 34, y - 6 - (len(words) - 1) * LINE / 2), "start")
    else:
        drawing.text(words, Point((xs[each.source] + xs[each.target]) / 2, top), style="label halo")
        drawing.line([Point(xs[each.source], y), Point(xs[each.target], y)], each.kind)


def states(text: str, title: str) -> str:
    """
    Draw states and their transitions.

    :returns: the drawing, as SVG.
    :raises DiagramError: if the text is wrong.
    """
    places, transitions = parse_states(text)
    layout = _layout(places, transitions)
    pairs = {(each.source, each.target) for each in transitions}
    drawing = Drawing()
    for each in transitions:
        if each.source == each.target:
            _loop(drawing, each, layout.middles[each.source])
        else:
            low, high = sorted((places[each.source][0], places[each.target][0]))
            lane = layout.lanes.get((low, high))
            _arrow(drawing, each, layout.middles, lane, has_reverse=(each.target, each.source) in pairs)
    for name in places:
        middle = layout.middles[name]
        if name == START:
            drawing.add(f'<circle class="start" cx="{middle.x:.1f}" cy="{middle.y:.1f}" r="8"/>', middle)
        else:
            drawing.box(name, middle, box_width(name))
    return drawing.svg(title, _described(transitions))


class Layout(NamedTuple):
    """
    Where states are.

    :ivar middles: of each state.
    :ivar lanes: for each pair of neighbouring columns, the x where labels of slanting lines have room.
    """

    middles: dict[str, Point]
    lanes: dict[tuple[int, int], float]


def _layout(places: dict[str, tuple[int, int]], transitions: Sequence[Transition]) -> Layout:
    """Place states such that the labels between the columns fit."""
    columns = 1 + max(column for column, _ in places.values())
    widths = [
        max((box_width(name) for name, (at, _) in places.items() if at == column), default=0.0)
        for column in range(columns)
    ]
    pairs = {(each.source, each.target) for each in transitions}
    # What labels take between two columns: of level lines, of slanting ones, and on both sides of upright ones.
    level, slanting, left, right = ([0.0] * (columns + 1) for _ in range(4))
    for each in transitions:
        (from_column, from_row), (column, row) = places[each.source], places[each.target]
        if from_column != column:
            taken, at = (level if from_row == row else slanting), min(from_column, column)
        else:
            taken, at = (left if from_row < row and (each.target, each.source) in pairs else right), column
        if (from_column, from_row) != (column, row):
            taken[at] = max(taken[at], max(map(len, wrap(each.label))) * CHARACTER + 24)
    middles, lanes, x = {}, {}, 0.0
    for column in range(columns):
        for name, (at, row) in places.items():
            if at == column:
                middles[name] = Point(x + widths[column] / 2, row * (BOX_HEIGHT + ROW_GAP))
        x += widths[column]
        gap = max(COLUMN_GAP, level[column], right[column] + slanting[column] + left[column + 1])
        lanes[column, column + 1] = x + (right[column] + gap - left[column + 1]) / 2
        x += gap
    return Layout(middles, lanes)


def _loop(drawing: Drawing, each: Transition, middle: Point) -> None:
    """Draw a transition of a state to itself, above the state."""
    x, top = middle.x, middle.y - BOX_HEIGHT / 2
    drawing.line([Point(x - 14, top), Point(x - 14, top - 18), Point(x + 14, top - 18), Point(x + 14, top)])
    words = wrap(each.label)
    drawing.text(words, Point(x, top - 30 - (len(words) - 1) * LINE))


def _arrow(
    drawing: Drawing, each: Transition, middles: dict[str, Point], lane: float | None, *, has_reverse: bool
) -> None:
    """Draw a transition to another state; a slanting one has its label at the x of the lane, if there is one."""
    start, end = middles[each.source], middles[each.target]
    length = hypot(end.x - start.x, end.y - start.y)
    # To the right of the way, so that a reverse has the other side.
    apart = APART if has_reverse else 0.0
    awayx, awayy = -(end.y - start.y) / length * apart, (end.x - start.x) / length * apart
    start, end = (Point(each.x + awayx, each.y + awayy) for each in (start, end))
    first = _border(start, end, box_width(each.source), middles[each.source])
    last = _border(end, start, box_width(each.target), middles[each.target])
    drawing.line([first, last])
    words = wrap(each.label)
    middle = Point((first.x + last.x) / 2, (first.y + last.y) / 2)
    tall = (len(words) - 1) * LINE
    if abs(first.y - last.y) < 1:
        below = has_reverse and end.x > start.x
        drawing.text(words, Point(middle.x, middle.y + 13 if below else middle.y - 12 - tall))
    elif abs(first.x - last.x) < 1:
        left = has_reverse and end.y > start.y
        drawing.text(words, Point(middle.x + (-9 if left else 9), middle.y - tall / 2), "end" if left else "start")
    else:
        part = 0.5 if lane is None else (lane - first.x) / (last.x - first.x)
        at = Point(first.x + part * (last.x - first.x), first.y + part * (last.y - first.y))
        drawing.text(words, Point(at.x, at.y - tall / 2), style="label halo")


def _border(start: Point, end: Point, width: float, middle: Point) -> Point:
    """:returns: where the line from one point to the other leaves the box in which it begins."""
    dx, dy = end.x - start.x, end.y - start.y
    halfx, halfy = width / 2, (BOX_HEIGHT / 2 if width > 18 else 9.0)
    ways = []
    if dx:
        ways.append((middle.x + (halfx if dx > 0 else -halfx) - start.x) / dx)
    if dy:
        ways.append((middle.y + (halfy if dy > 0 else -halfy) - start.y) / dy)
    part = min(ways)
    return Point(start.x + dx * part, start.y + dy * part)
