"""Tests in the NAT laboratory: skipped where it cannot run, but for CI, where that is a failure."""

from __future__ import annotations

import os

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.natlab.namespaces import missing
from tests.natlab.network import Network
from tests.natlab.probing import Observers


class NatlabCase(SynchronousTestCase):
    """A network, with observers in its core; a test adds sites and hosts."""

    #: Programs that the tests need besides those of every network.
    programs: tuple[str, ...] = ()

    def setUp(self) -> None:
        """Make the network."""
        reason = missing(*self.programs)
        if reason and os.environ.get("CI") == "true":
            self.fail(reason)
        if reason:
            raise SkipTest(reason)
        self.network = Network()
        self.addCleanup(self.network.close)

    def observers(self) -> Observers:
        """:returns: sockets in the core, which are closed after the test."""
        observers = Observers(self.network)
        self.addCleanup(observers.close)
        return observers
