"""The store in memory: it keeps the contract of every store."""

from __future__ import annotations

from rendezvous.interfaces import IStore
from rendezvous.storage.registry import memory_store
from tests.contract_store import StoreOptions, make_store_tests


def make_store(options: StoreOptions) -> IStore:
    """:returns: a store in memory."""
    return memory_store(**options.parts())


MemoryStoreTests = make_store_tests(make_store, "MemoryStoreTests", __name__)
