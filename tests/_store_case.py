"""A store that is open, and what the parts of its contract have in common."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import attrs

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.identity import Keyring, Secret
from rendezvous.core.presence.states import Timers
from rendezvous.core.signaling.pages import Page
from rendezvous.errors import RendezvousError
from rendezvous.interfaces import IStore
from rendezvous.limits import Bounds, SignalingLimits
from rendezvous.storage.local import LocalStore

T = TypeVar("T")
E = TypeVar("E", bound=RendezvousError)

NOW = 1_700_000_000.0
DAY = 86400.0


@attrs.frozen(kw_only=True)
class StoreOptions:
    """
    What a store is to be made with.

    :ivar case: the test, for its temporary names and its clean-up.
    :ivar random: seeded, so that a failure can be repeated.
    """

    case: SynchronousTestCase
    keyring: Keyring
    random: Callable[[int], bytes]
    timers: Timers = attrs.field(factory=Timers)
    max_clients: int = 1000
    logout_memory: float = 30 * DAY
    max_logouts: int = 1000
    limits: SignalingLimits = attrs.field(factory=SignalingLimits)
    max_offers: int = 1000
    tracker_lifetime: float = 300.0
    max_tracker_peers: int = 1000

    def parts(self) -> dict[str, Any]:
        """:returns: what the constructors of our own stores take."""
        parts = {field.name: getattr(self, field.name) for field in attrs.fields(StoreOptions) if field.name != "case"}
        bounds = Bounds(
            max_clients=parts.pop("max_clients"),
            max_offers=parts.pop("max_offers"),
            max_tracker_peers=parts.pop("max_tracker_peers"),
            signaling_memory=512 * 1024 * 1024,
            max_waiting=10_000,
            share=0.0,
        )
        return {**parts, "bounds": bounds}


def local(store: IStore) -> LocalStore:
    """:returns: a store of our own, for what is not in the interface."""
    assert isinstance(store, LocalStore)
    return store


MakeStore = Callable[[StoreOptions], IStore]


class StoreCase(SynchronousTestCase):
    """A store that is open, and what the tests ask of it."""

    def make_store(self, options: StoreOptions) -> IStore:
        """:returns: a new and empty store, not yet open."""
        raise NotImplementedError

    def setUp(self) -> None:
        """Begin with an empty table."""
        self.keyring = Keyring([Secret(bytes(32)), Secret(b"\x09" * 32, until=NOW + 10_000 * DAY)])
        self.store = self.opened()

    def opened(self, now: float = NOW, **options: Any) -> IStore:
        """:returns: a store that is closed when the test is over."""
        options.setdefault("random", random.Random(1).randbytes)
        store = self.make_store(StoreOptions(case=self, keyring=self.keyring, **options))
        store.open(now)
        self.addCleanup(lambda: self.done(store.close(now)))
        return store

    def done(self, verb: Coroutine[Any, Any, T]) -> T:
        """:returns: what the verb has returned."""
        return self.successResultOf(Deferred.fromCoroutine(verb))

    def listed(self, verb: Coroutine[Any, Any, Page[T, Any]]) -> list[T]:
        """:returns: the items of the page that the verb has returned, which must be the only one."""
        page = self.done(verb)
        self.assertIsNone(page.next)
        return list(page.items)

    def counted(self, verb: Coroutine[Any, Any, Page[T, Any]]) -> tuple[list[T], int]:
        """:returns: the items of the page that the verb has returned, and its total."""
        page = self.done(verb)
        return list(page.items), page.total

    def refused(self, verb: Coroutine[Any, Any, object], *kinds: type[E]) -> E:
        """:returns: the error that the verb has raised."""
        error = self.failureResultOf(Deferred.fromCoroutine(verb), *kinds).value
        assert isinstance(error, kinds)
        return error
