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

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.real_server import CHECKOUT, environment, real_server

#: Seconds for two peers to start, meet and talk.
PATIENCE = 30.0

#: A topic that has to be percent-encoded in every way.
TOPIC = "r\u00f4le/100% \U0001f600 + you"


class WebRTCTests(SynchronousTestCase):
    """Offer, answer, trickled candidates, a data channel, messages both ways."""

    def setUp(self) -> None:
        """Start a server."""
        if importlib.util.find_spec("aiortc") is None:
            if os.environ.get("CI") == "true":
                self.fail("aiortc is not installed, and here it must be")
            raise SkipTest("aiortc is not installed")
        context = real_server()
        self.server = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)

    def peer(self, dialect: str, role: str) -> subprocess.Popen[str]:
        """Start a peer."""
        peer = subprocess.Popen(
            [sys.executable, "-m", "tests.webrtc_peer", dialect, role, self.server.url, TOPIC],
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

    def assertMeet(self, dialect: str) -> None:
        """Both peers end well in time, and each has heard the other."""
        deadline = time.monotonic() + PATIENCE
        peers = [self.peer(dialect, role) for role in ("offerer", "answerer")]
        heard = []
        for peer in peers:
            output, errors = peer.communicate(timeout=max(0.1, deadline - time.monotonic()))
            self.assertEqual(peer.returncode, 0, errors)
            heard.append(json.loads(output))
        self.assertEqual(heard, [["hello from the answerer"], ["hello from the offerer", "bye \U0001f600"]])

    def test_through_the_offers_dialect(self) -> None:
        """Two peers that share a topic open a data channel through offers."""
        self.assertMeet("offers")

    def test_through_the_sessions_dialect(self) -> None:
        """Two peers that share a topic open a data channel through a session."""
        self.assertMeet("sessions")
