"""The examples of ``docs/connecting.rst``, run as they stand against a real server, on loopback."""

from __future__ import annotations

import sys

from tests._rst import code_blocks
from tests.real_server import real_server
from tests.test_readme_process import ROOT, ReadmeCase, with_ports

PAGE = ROOT / "docs" / "connecting.rst"


class ConnectingPageTests(ReadmeCase):
    """Two processes meet."""

    def setUp(self) -> None:
        """Start a server with two UDP ports."""
        super().setUp()
        context = real_server(udp_ports=("0", "0"))
        server = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        blocks = [block for block in code_blocks(PAGE.read_text("utf-8")) if block.language == "python"]
        self.scripts = {
            (block.section, number): with_ports(block.text, {"5025": str(server.http_port)})
            for number, block in enumerate(blocks)
            if "5025" in block.text
        }

    def listening(self) -> tuple[str, object]:
        """:returns: the id of a process that listens, and the process."""
        listening = self.start([sys.executable, self.save("meet.py", self.scripts["Example", 0])])
        return listening.expect(r"I am ([0-9a-f]{32})$"), listening

    def test_two_processes_meet(self) -> None:
        """One listens, the other connects, sends a line and is answered."""
        name, listening = self.listening()
        connecting = self.start([sys.executable, "meet.py", name])
        self.assertEqual(connecting.expect(r"^connected: (\w+) \d+ ms$"), "lan")
        connecting.expect(r"^(you said hello)$")
        listening.expect(r"^[0-9a-f]{32} has connected: (lan)$")  # type: ignore[attr-defined]

    def test_asyncio_meets_twisted(self) -> None:
        """The connecting side runs on the event loop of asyncio."""
        name, _ = self.listening()
        connecting = self.start([sys.executable, self.save("aio.py", self.scripts["asyncio", 2]), name])
        connecting.expect(r"^(you said hello)$")

    def test_peer_that_is_not_there(self) -> None:
        """The server says so, and the process ends."""
        script = self.save("meet.py", self.scripts["Example", 0])
        self.start([sys.executable, script, "0" * 32]).expect(r"(no such peer is registered)")
