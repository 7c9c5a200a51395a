"""The pages of the documentation about UDP say what the server does."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.settings import Settings
from rendezvous.udp.shared import Drop
from tests._rst import tables
from tests._udp_case import ALICE, BOB, DEPLOYED, DOCUMENTED, UDPTestCase

PROTOCOL = Path(__file__).parents[1] / "docs" / "protocol"


def rows(page: str, heading: str) -> list[list[str]]:
    """:returns: the rows of the table whose header begins so, without the header and the marks of literals."""
    [found] = [table for table in tables((PROTOCOL / page).read_text(encoding="utf-8")) if table[0][0] == heading]
    return [[cell.replace("``", "").strip() for cell in row] for row in found[1:]]


class TrackerPageTests(UDPTestCase):
    """``docs/protocol/tracker.rst``."""

    def exchange(self, at: int) -> list[tuple[str, str]]:
        """:returns: each request of the page with what the server sends, in that order, on one port."""
        self.start()
        names = {self.announce(BOB, at): "bbbbbbbb"}
        port, found = self.server.udp_ports[at], []
        for asked, *_ in rows("tracker.rst", "Request"):
            if asked.startswith("{"):
                request = asked
                for name, shown in names.items():
                    request = request.replace(shown, name)
                before = len(port.sent)
                self.server.deliver(request.encode(), ALICE, at)
                sent = {address: datagram.decode() for datagram, address in port.sent[before:]}
            reply = sent.get(ALICE if asked.startswith("{") else BOB, "nothing")
            if asked == '{"action":"announce"}':
                names[re.findall(r'"(\w{8})"', reply)[-1]] = "aaaaaaaa"
            for name, shown in names.items():
                reply = reply.replace(name, shown)
            found.append((asked, reply))
        return found

    def test_examples_are_what_the_server_says(self) -> None:
        """Both columns, to the byte."""
        page = rows("tracker.rst", "Request")
        self.assertEqual(self.exchange(DOCUMENTED), [(asked, documented) for asked, documented, _ in page])
        self.assertEqual(self.exchange(DEPLOYED), [(asked, deployed) for asked, _, deployed in page])


class UDPPageTests(SynchronousTestCase):
    """``docs/protocol/udp.rst``, and numbers on the pages beside it."""

    def test_reasons_are_those_that_are_counted(self) -> None:
        """Each that the code counts is explained, and no other."""
        self.assertEqual([reason for reason, _ in rows("udp.rst", "Reason")], list(Drop))

    def test_defaults_are_the_settings(self) -> None:
        """The rate and the lifetime that the text names."""
        settings = Settings()
        for page in ("stun.rst", "tracker.rst"):
            text = " ".join((PROTOCOL / page).read_text(encoding="utf-8").split())
            burst = f"at most {settings.udp_rate:g} a second go to one IPv4 address or IPv6 /64, in bursts of at most "
            self.assertIn(f"{burst}{2 * settings.udp_rate:g} (``--udp-rate``)", text)
        self.assertIn(f"It lives for {settings.tracker_lifetime:g} seconds (``--tracker-lifetime``)", text)
