"""The tests of the UDP ports once more, on the fast path and with a worker: they answer as the portable path does."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.udp import vectorized, workercolumns
from tests import _udp_case, test_udp
from tests._memory_fast import fast_server
from tests._memory_workers import worker_server

__all__: list[str] = []

MODULES = [
    import_module(f"tests.test_{name}")
    for name in ("amplification", "udp", "udp_protocols", "udp_rate", "udp_signed", "udp_tracker", "udp_waiting")
]
#: These have protocols on ports of their own, or break a port's ``write``.
OWN_PORT = frozenset({test_udp.FaultTests, test_udp.OnlineFaultTests})


class OneByOne:
    """Has the tests of another case ask a server whose ports take the fast path."""

    make: Any = staticmethod(fast_server)

    def setUp(self) -> None:
        """Have a fast server made where a plain one would be."""
        case: Any = self
        for module in (*MODULES, _udp_case):
            if hasattr(module, "MemoryServer"):
                case.patch(module, "MemoryServer", self.make)
        super().setUp()  # type: ignore[misc]


class Together(OneByOne):
    """The same, and what can be decided together is, even if it is a single datagram."""

    def setUp(self) -> None:
        """Leave no batch to the loop."""
        case: Any = self
        case.patch(vectorized, "FEW", 1)
        super().setUp()


class WithWorker(OneByOne):
    """The same, and every datagram comes to a worker first."""

    make = staticmethod(worker_server)


class WithWorkerTogether(WithWorker):
    """The same, and a worker decides all that it can together."""

    def setUp(self) -> None:
        """Leave no batch to the loop."""
        case: Any = self
        case.patch(workercolumns, "FEW", 1)
        super().setUp()


def again(way: type, case: type) -> type:
    """:returns: a case of tests that are another's."""
    return type(f"{way.__name__}{case.__name__}", (way, case), {"__doc__": case.__doc__, "__module__": __name__})


CASES = [
    case
    for module in MODULES
    for case in vars(module).values()
    if isinstance(case, type) and issubclass(case, SynchronousTestCase) and case.__module__ == module.__name__
]
WAYS = (OneByOne, Together, WithWorker, WithWorkerTogether)
# The loader finds cases by their names in this module.
for made in [again(way, case) for way in WAYS for case in CASES if case not in OWN_PORT]:
    setattr(sys.modules[__name__], made.__name__, made)
del made
