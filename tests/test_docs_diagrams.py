"""The diagrams of the documentation: how they are drawn, and that those of states show what the code does."""

from __future__ import annotations

import re
import sys
from itertools import pairwise
from pathlib import Path
from typing import ClassVar
from xml.etree.ElementTree import Element, fromstring

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.connect import AttemptState
from rendezvous.core.presence.states import PresenceState, Timers, state_of
from tests._rst import directives

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

sys.path.insert(0, str(DOCS))
import diagrams  # noqa: E402

sys.path.remove(str(DOCS))

SVG = "{http://www.w3.org/2000/svg}"

Box = tuple[float, float, float, float]


def parsed(svg: str) -> Element:
    """:returns: a drawing of ours as a tree."""
    return fromstring(svg)  # noqa: S314 - it is ours


def drawn(name: str) -> dict[str, str]:
    """:returns: the text of each diagram of a page, by its title."""
    page = (DOCS / name).read_text(encoding="utf-8")
    found = [each for kind in ("states", "sequence") for each in directives(page, kind)]
    return {title: "\n".join(line for line in body.splitlines() if line.strip()) for title, body in found}


def boxes(svg: str) -> list[Box]:
    """:returns: left, top, right and bottom of each box."""
    found = []
    for each in parsed(svg).iter(f"{SVG}rect"):
        left, top, width, height = (float(each.get(name, "")) for name in ("x", "y", "width", "height"))
        found.append((left, top, left + width, top + height))
    return found


def labels(svg: str) -> list[tuple[str, Box]]:
    """:returns: each line of text, and about what it covers."""
    found = []
    for each in parsed(svg).iter(f"{SVG}text"):
        x, y, words = float(each.get("x", "")), float(each.get("y", "")), each.text or ""
        width = len(words) * diagrams.CHARACTER * 0.85
        left = x - {"start": 0.0, "middle": width / 2, "end": width}[each.get("text-anchor", "")]
        found.append((words, (left, y - 11, left + width, y + 2)))
    return found


def apart(one: Box, other: Box) -> bool:
    """:returns: whether two boxes have no point in common."""
    return one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]


class DrawingTests(SynchronousTestCase):
    """What becomes of a text."""

    def test_sequence(self) -> None:
        """Each participant has a box, each message an arrow and its label, and a note has its text."""
        svg = diagrams.sequence(
            "A | B\nA -> B: GET /?a&b\nB --> A: 200\nA => B: <data>\nA -> A: rests\nnote: over", "Two"
        )
        root = parsed(svg)
        self.assertEqual(root.findtext(f"{SVG}title"), "Two")
        self.assertEqual(
            [each.text for each in root.iter(f"{SVG}text")],
            ["GET /?a&b", "200", "<data>", "rests", "over", "A", "B"],
        )
        self.assertEqual(len(list(root.iter(f"{SVG}polygon"))), 4)
        self.assertEqual(
            root.findtext(f"{SVG}desc"), "A to B: GET /?a&b; B to A: 200; A to B: <data>; A to A: rests; over"
        )

    def test_labels_of_a_sequence_fit(self) -> None:
        """Two participants are as far apart as the longest line between them."""
        label = "x" * 30
        short, long = (
            diagrams.sequence(f"A | B | C\nA -> B: {text}\nB -> C: y\nA -> C: z", "") for text in ("x", label)
        )
        (left, *_), (right, *_), _ = boxes(long)
        self.assertGreater(right - left, 30 * diagrams.CHARACTER)
        self.assertGreater(right - left, boxes(short)[1][0] - boxes(short)[0][0])

    def test_states(self) -> None:
        """Each state is in its place, each transition has an arrow, and the beginning is a dot."""
        svg = diagrams.states(
            "| * | A | B |\n| . | C | (both) |\n* -> A: 1\nA -> B: 2\nB -> A: 3\nA -> C: 4\nC -> B: 5\nA -> A: 6",
            "Three",
        )
        root = parsed(svg)
        a, b, c, both = boxes(svg)
        self.assertEqual((a[1], c[1]), (b[1], both[1]))
        self.assertEqual((a[0] + a[2], b[0] + b[2]), (c[0] + c[2], both[0] + both[2]))
        self.assertLess(a[2], b[0])
        self.assertLess(a[3], c[1])
        self.assertEqual(len(list(root.iter(f"{SVG}polygon"))), 6)
        self.assertEqual(len(list(root.iter(f"{SVG}circle"))), 1)
        self.assertTrue((root.findtext(f"{SVG}desc") or "").startswith("beginning to A: 1; "))

    def test_a_transition_and_its_reverse_are_apart(self) -> None:
        """Neither hides the other one, in a row and in a column."""
        for places in ("| A | B |", "| A |\n| B |"):
            root = parsed(diagrams.states(f"{places}\nA -> B: to\nB -> A: back", ""))
            to, back = (
                [float(x) for x in re.split("[ ,]", each.get("points", ""))] for each in root.iter(f"{SVG}polyline")
            )
            self.assertNotEqual(to[:2], back[2:])

    def test_everything_is_inside(self) -> None:
        """No shape and no text of any page's diagrams is cut off, and no two boxes overlap."""
        count = 0
        for page in DOCS.rglob("*.rst"):
            text = page.read_text(encoding="utf-8")
            for kind, draw in (("states", diagrams.states), ("sequence", diagrams.sequence)):
                for title, body in directives(text, kind):
                    svg = draw(body, title)
                    x, y, width, height = map(float, parsed(svg).get("viewBox", "").split())
                    placed = boxes(svg)
                    for number, (left, top, right, bottom) in enumerate(placed):
                        self.assertTrue(x <= left and y <= top and right <= x + width and bottom <= y + height, title)
                        for other in placed[number + 1 :]:
                            self.assertTrue(apart((left, top, right, bottom), other), title)
                    count += 1
        self.assertGreater(count, 7)

    def test_no_label_hides_another_one(self) -> None:
        """In no diagram of any page, and neither is one on a box."""
        for page in DOCS.rglob("*.rst"):
            text = page.read_text(encoding="utf-8")
            drawings = [(title, diagrams.states(body, "")) for title, body in directives(text, "states")]
            drawings += [(title, diagrams.sequence(body, "")) for title, body in directives(text, "sequence")]
            for title, svg in drawings:
                placed = labels(svg)
                for number, (words, box) in enumerate(placed):
                    others = [*placed[number + 1 :], *(("a box", each) for each in boxes(svg))]
                    for other, taken in others:
                        is_inside = other == "a box" and taken[0] < box[0] and box[2] < taken[2]
                        self.assertTrue(is_inside or apart(box, taken), f"{title}: {words!r} and {other!r}")

    def test_mistakes(self) -> None:
        """A text that is wrong is refused with the line that is."""
        for text, message in (
            ("| A |\nA -> B: 1", "nothing is called 'B'"),
            ("| A |\nA to A", "neither a note nor an arrow"),
            ("| A | A |", "two places"),
        ):
            self.assertRaisesRegex(diagrams.DiagramError, message, diagrams.states, text, "")
        self.assertRaisesRegex(
            diagrams.DiagramError, "nothing is called 'C'", diagrams.sequence, "A | B\nA -> C: 1", ""
        )


class StatesTests(SynchronousTestCase):
    """The diagrams of states, beside the code."""

    #: What stands for the states that are no ends.
    GROUPS: ClassVar = {"(any of them)", "(before its end)"}

    def states_of(self, page: str, title: str) -> tuple[set[str], list[diagrams.Transition]]:
        """:returns: the states of a diagram, and its transitions."""
        places, transitions = diagrams.parse_states(drawn(page)[title])
        return set(places) - {diagrams.START} - self.GROUPS, transitions

    def test_client(self) -> None:
        """The states are those of the core, and silence leads from one to the other as it does there."""
        states, transitions = self.states_of("protocol/pulse.rst", "The states of a client")
        self.assertEqual(states, {state.name for state in PresenceState})
        timers = Timers()
        silences = set()
        for pulsed in (False, True):
            seen = [state_of(timers, 0.0, pulsed, float(now)).name for now in range(1000)]
            silences |= {pair for pair in pairwise(seen) if pair[0] != pair[1]}
        shown = {(each.source, each.target) for each in transitions if each.label.startswith("silent")}
        self.assertEqual(shown, silences)

    def test_attempt(self) -> None:
        """The states are those of the core, and those without a way out are those in which it is over."""
        states, transitions = self.states_of("protocol/connect.rst", "The states of an attempt")
        self.assertEqual(states, {str(state) for state in AttemptState})
        ends = states - {each.source for each in transitions}
        self.assertEqual(ends, {str(state) for state in AttemptState if state.over})

    def test_room(self) -> None:
        """The states of a page are those that the types of the module name."""
        states, _ = self.states_of("protocol/rooms.rst", "The states of a page in a room")
        types = (ROOT / "rendezvous" / "web" / "static" / "rendezvous.d.ts").read_text(encoding="utf-8")
        [union] = re.findall(r"readonly state: (.+)$", types, re.MULTILINE)
        self.assertEqual(states, set(re.findall(r'"(\w+)"', union)))
