"""Tests of the log for people at a terminal."""

from __future__ import annotations

import io
import sys

from twisted.logger import Logger, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.logs import plain


class PlainLogTests(SynchronousTestCase):
    """Tests of :func:`rendezvous.logs.plain`."""

    def setUp(self) -> None:
        """Take what would be printed."""
        self.printed = io.StringIO()
        self.patch(sys, "stdout", self.printed)
        self.publisher = LogPublisher(plain())

    def logger(self, namespace: str) -> Logger:
        """A logger of some module."""
        return Logger(namespace, observer=self.publisher)

    def test_what_the_server_says_is_a_line(self) -> None:
        """With neither time nor origin."""
        self.logger("rendezvous.service.Listening").info("{what} on {address}", what="HTTP", address="[::]:5025")
        self.assertEqual(self.printed.getvalue(), "HTTP on [::]:5025\n")

    def test_small_talk_of_others_is_left_out(self) -> None:
        """Twisted tells what starts and stops, and debugging is for a log file."""
        self.logger("twisted.web").info("Starting factory")
        self.logger("rendezvous.service").debug("a detail")
        self.assertEqual(self.printed.getvalue(), "")

    def test_warnings_of_others_are_shown(self) -> None:
        """Whoever has them."""
        self.logger("twisted.web").warn("something is odd")
        self.assertEqual(self.printed.getvalue(), "something is odd\n")

    def test_fault_comes_with_its_traceback(self) -> None:
        """It is what a report needs."""
        try:
            raise RuntimeError("a fault")
        except RuntimeError:
            self.logger("rendezvous.sweep").failure("a sweep failed")
        self.assertTrue(self.printed.getvalue().startswith("a sweep failed\nTraceback"))
        self.assertIn("RuntimeError: a fault", self.printed.getvalue())
