"""
Two peers of a real WebRTC stack meet through a real server, knowing its URL and a topic.

Everything blocks, in processes of their own with a bound on their time, so nothing of asyncio is in trial's process.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.coturn import SECRET, coturn, program
from tests.real_server import CHECKOUT, environment, real_server
from tests.test_peers_process import require

#: Seconds for two peers to start, meet and talk.
PATIENCE = 30.0

#: A topic that has to be percent-encoded in every way.
TOPIC = "r\u00f4le/100% \U0001f600 + you"


class WebRTCCase(SynchronousTestCase):
    """A server, and two peers that meet at it."""

    def setUp(self) -> None:
        """Start a server."""
        if importlib.util.find_spec("aiortc") is None:
            if os.environ.get("CI") == "true":
                self.fail("aiortc is not installed, and here it must be")
            raise SkipTest("aiortc is not installed")
        context = real_server(*self.options())
        self.server = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)

    def options(self) -> list[str]:
        """:returns: the options of the server."""
        return []

    def peer(self, dialect: str, role: str, *policy: str) -> subprocess.Popen[str]:
        """Start a peer."""
        peer = subprocess.Popen(
            [sys.executable, "-m", "tests.webrtc_peer", dialect, role, self.server.url, TOPIC, *policy],
            cwd=CHECKOUT,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

        def end() -> None:
            peer.kill()
            peer.communicate()

        self.addCleanup(end)
        return peer

    def assertMeet(self, dialect: str, *policy: str) -> None:
        """Both peers end well in time, and each has heard the other."""
        deadline = time.monotonic() + PATIENCE
        peers = [self.peer(dialect, role, *policy) for role in ("offerer", "answerer")]
        heard = []
        for peer in peers:
            output, errors = peer.communicate(timeout=max(0.1, deadline - time.monotonic()))
            self.assertEqual(peer.returncode, 0, errors)
            heard.append(json.loads(output))
        self.assertEqual(heard, [["hello from the answerer"], ["hello from the offerer", "bye \U0001f600"]])


class WebRTCTests(WebRTCCase):
    """Offer, answer, trickled candidates, a data channel, messages both ways."""

    def test_through_the_offers_dialect(self) -> None:
        """Two peers that share a topic open a data channel through offers."""
        self.assertMeet("offers")

    def test_through_the_sessions_dialect(self) -> None:
        """Two peers that share a topic open a data channel through a session."""
        self.assertMeet("sessions")


class RelayTests(WebRTCCase):
    """The same through a TURN server, with the credentials that the server makes."""

    def options(self) -> list[str]:
        """Start coturn, and name it."""
        require(program(), "turnserver (Debian: coturn)")
        context = coturn()
        turn = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        secret = Path(self.mktemp())
        secret.write_text(SECRET)
        secret.chmod(0o600)
        return [f"--turn-uri=turn:127.0.0.1:{turn.port}?transport=udp", f"--turn-secret-file={secret.absolute()}"]

    def test_peers_that_only_use_relays(self) -> None:
        """Two peers take the answer of ``GET /ice`` as it is, and open a data channel from relay to relay."""
        self.assertMeet("offers", "relay")
