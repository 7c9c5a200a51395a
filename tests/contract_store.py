"""What every store must do: one suite, run over each by ``make_store_tests``."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from tests._store_case import MakeStore, StoreCase, StoreOptions
from tests.contract_attempts import ATTEMPTS
from tests.contract_bans import BANS
from tests.contract_offers import OFFERS
from tests.contract_presence import PRESENCE
from tests.contract_sessions import SESSIONS
from tests.contract_topics import TOPICS
from tests.contract_tracker import TRACKER

__all__ = ["StoreOptions", "make_store_tests"]

PARTS = [*PRESENCE, *OFFERS, *TOPICS, *SESSIONS, *TRACKER, *ATTEMPTS, *BANS]


def make_store_tests(make_store: MakeStore, name: str, module: str) -> type[SynchronousTestCase]:
    """
    Make the suite for one kind of store. Bind it to its name in a test module, where trial finds it.

    :param make_store: makes a new and empty store, not yet open.
    :param name: the name of the test class.
    :param module: the module that it is bound in.
    """
    # They become methods of one class, where one of two with the same name would silently take the other's place.
    cases = {case for part in PARTS for case in part.__mro__ if issubclass(case, StoreCase) and case is not StoreCase}
    named = Counter(name for case in cases for name in vars(case) if not name.startswith("_"))
    assert set(named.values()) == {1}, named.most_common(3)
    body = {
        "__doc__": "The contract of every store.",
        "__module__": module,
        "make_store": lambda self, options: make_store(options),
    }
    return type(name, tuple(PARTS), body)
