"""``docs/protocol/rooms.rst`` has the numbers and names of the module for web pages."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[1]


class RoomsPageTests(SynchronousTestCase):
    """The page, beside the constants of the module."""

    def setUp(self) -> None:
        """Read both; line breaks of the page do not count."""
        self.page = " ".join((ROOT / "docs" / "protocol" / "rooms.rst").read_text(encoding="utf-8").split())
        module = (ROOT / "rendezvous" / "web" / "static" / "rendezvous.js").read_text(encoding="utf-8")
        found = re.findall(r"^const ([A-Z_]+) = ([0-9_]+(?: \* [0-9_]+)?|\"[^\"]*\")$", module, re.MULTILINE)
        self.constants = dict(found)
        self.module = module

    def number(self, name: str) -> int:
        """:returns: a constant of the module."""
        product = 1
        for factor in self.constants[name].split(" * "):
            product *= int(factor)
        return product

    def test_times(self) -> None:
        """Each time is the one that the module keeps to."""
        for name, phrase in (
            ("ANSWER_TIMEOUT", "after {:g} s without an answer"),
            ("RESTART_AFTER", "After {:g} s of silence a side restarts ICE"),
            ("GONE_AFTER", "After {:g} s the peer counts as gone"),
            ("STEADY", "A connection that ends after less than {:g} s counts as one that failed"),
            ("POLLED_REFRESH", "publishes the offer again every {:g} s"),
        ):
            self.assertIn(phrase.format(self.number(name) / 1000), self.page, name)
        self.assertIn(f'"ttl": {self.number("PRESENCE_TTL")}, "whileConnected": true', self.page)
        self.assertIn(f'"ttl": {self.number("OFFER_TTL")}, "whileConnected": true', self.page)
        self.assertIn(f"its ``ttl`` is {self.number('OFFER_TTL') // 1000} 000", self.page)

    def test_times_that_are_written_in_place(self) -> None:
        """The pause of the page that does not offer, and the quiet before a ping."""
        self.assertIn("isOther ? 2500 : 0", self.module)
        self.assertIn("if there was no offer after 2.5 s", self.page)
        self.assertIn("silence >= PING_INTERVAL * 0.8", self.module)
        self.assertEqual(self.number("PING_INTERVAL"), 1000)
        self.assertIn("has heard nothing for 0.8 s sends ``ping`` with a value of its choice, once a second", self.page)

    def test_sizes(self) -> None:
        """Each size is the one that the module keeps to."""
        for name, phrase in (
            ("SHORT_MESSAGE", "The text has at most {} KiB"),
            ("SMALL_PIECE", "It has at most {} KiB, or"),
            ("LARGE_PIECE", "or {} KiB if the browser"),
            ("LONGEST_MESSAGE", "at most {} MiB. A side sends one message after the other"),
        ):
            unit = 1 << 20 if "MiB" in phrase else 1 << 10
            self.assertIn(phrase.format(self.number(name) // unit), self.page, name)

    def test_limits(self) -> None:
        """Each limit is the one that the module keeps to."""
        for name, phrase in (
            ("MAX_KNOWN", "A page takes note of up to {} other pages in a room"),
            ("LONGEST_SDP", "A description has at most {} characters"),
            ("LONGEST_CANDIDATE", "and a candidate {}."),
            ("CANDIDATES", "A peer may send {} candidates until it restarts ICE"),
            ("MAX_STREAMS", "and {} streams"),
            ("INCOMING_AT_ONCE", "A peer may have {} messages and files on their way"),
        ):
            self.assertIn(phrase.format(f"{self.number(name):,}".replace(",", " ")), self.page, name)
        self.assertEqual(self.number("DESCRIPTIONS"), 8)
        self.assertIn("sends a ninth description", self.page)
        in_time, time = self.number("DESCRIPTIONS_IN_TIME"), self.number("DESCRIPTIONS_TIME") // 1000
        self.assertIn(f"sends more than {in_time} in {time} s", self.page)
        self.assertIn(f"more than {self.number('LONGEST_HELD') >> 20} MiB on ``data`` before", self.page)
        self.assertIn("this.#control.bufferedAmount > HIGH_WATER", self.module)
        self.assertIn("this.#channel.bufferedAmount > 4 * HIGH_WATER", self.module)
        high = self.number("HIGH_WATER") >> 20
        self.assertIn(f"when {high} MiB waits on ``control`` or {4 * high} MiB on ``data``", self.page)
        unread = self.number("UNREAD_CHECKS") * self.number("UNREAD_INTERVAL") // 1000
        self.assertIn(f"takes nothing of what waits for it for {unread} s loses it", self.page)

    def test_presence(self) -> None:
        """The text that stands in place of a description."""
        self.assertIn(f'"sdp": {self.constants["PRESENCE"]}', self.page)

    def test_every_message_of_the_control_channel_is_described(self) -> None:
        """The module says nothing there that the page does not name."""
        said = set(re.findall(r"#say\(\{ (\w+)", self.module))
        self.assertEqual(said, {"hello", "ping", "pong", "description", "candidate", "bye"})
        for name in said:
            self.assertRegex(self.page, rf"\* - (?:``\w+``, )?``{name}``")
