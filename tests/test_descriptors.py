"""Tests of :mod:`rendezvous.descriptors`."""

from __future__ import annotations

import resource

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.descriptors import connections_within, raise_descriptor_limit
from rendezvous.testing import MemoryServer


class BoundTests(SynchronousTestCase):
    """How many connections fit."""

    def test_all_but_256_or_half(self) -> None:
        """Around the number from which on the reserve is fixed, and at the least."""
        bounds = {1: 1, 2: 1, 256: 128, 511: 256, 512: 256, 513: 257, 20_000: 19_744}
        self.assertEqual({number: connections_within(number) for number in bounds}, bounds)


class LogTests(SynchronousTestCase):
    """What the log says of it."""

    def test_the_limits_are_logged(self) -> None:
        """How many files there may be, as they were raised, and how many connections."""
        self.patch(resource, "getrlimit", lambda which: (1024, 20_000))
        self.patch(resource, "setrlimit", lambda which, limits: None)
        with capturedLogs() as logs:
            MemoryServer().stop()
        lines = [formatEvent(event) for event in logs]
        self.assertIn("up to 19744 connections: 20000 files may be open", lines)


class LimitTests(SynchronousTestCase):
    """The limit of this process, as the system is said to have it."""

    def raised(self, soft: int, hard: int, error: Exception | None = None) -> tuple[int, list[tuple[int, int]]]:
        """:returns: the limit, and what the system was asked to set."""
        asked: list[tuple[int, int]] = []

        def setrlimit(which: int, limits: tuple[int, int]) -> None:
            asked.append(limits)
            if error is not None:
                raise error

        self.patch(resource, "getrlimit", lambda which: (soft, hard))
        self.patch(resource, "setrlimit", setrlimit)
        return raise_descriptor_limit(), asked

    def test_soft_limit_becomes_the_hard_limit(self) -> None:
        """Where it is lower; where it is the same nothing is asked."""
        self.assertEqual(self.raised(1024, 20_000), (20_000, [(20_000, 20_000)]))
        self.assertEqual(self.raised(20_000, 20_000), (20_000, []))

    def test_no_hard_limit_means_a_million(self) -> None:
        """A finite number is needed to bound connections."""
        endless = resource.RLIM_INFINITY
        self.assertEqual(self.raised(1024, endless), (1_000_000, [(1_000_000, endless)]))
        self.assertEqual(self.raised(endless, endless), (1_000_000, []))

    def test_system_that_refuses_costs_nothing(self) -> None:
        """The soft limit holds then."""
        for error in (OSError("no"), ValueError("no")):
            self.assertEqual(self.raised(1024, 20_000, error)[0], 1024)
