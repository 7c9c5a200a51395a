"""The keys that clients have under old secrets, which are honoured for a while after a rotation."""

from __future__ import annotations

from collections.abc import Callable

from rendezvous.core.presence.keyindex import KeyIndex

__all__ = ["OldKeys"]


class OldKeys:
    """
    One index of keys for each old secret. All times are on the wall clock.

    :param make_index: makes an index without keys.
    :ivar indexes: for each old secret, by what gives the keys under it, until when it is honoured, and its index. Two
        secrets may end at the same moment.
    """

    __slots__ = ("_make_index", "indexes")

    def __init__(self, make_index: Callable[[], KeyIndex]) -> None:
        self._make_index = make_index
        self.indexes: dict[Callable[[bytes], bytes], tuple[float, KeyIndex]] = {}

    def index(self, digest: Callable[[bytes], bytes], until: float) -> KeyIndex:
        """
        :param digest: gives the keys under the secret.
        :param until: when the secret is honoured no more, if it is new here.
        :returns: the index of the secret.
        """
        if digest not in self.indexes:
            self.indexes[digest] = until, self._make_index()
        return self.indexes[digest][1]

    def honoured(self, wall: float) -> list[KeyIndex]:
        """:returns: the indexes of the secrets that are honoured now."""
        return [index for until, index in self.indexes.values() if wall <= until]

    def find(self, key: bytes, wall: float) -> int:
        """:returns: the slot that has this key under a secret that is honoured now, 0 if there is none."""
        return next(filter(None, (index.find(key) for index in self.honoured(wall))), 0)

    def __contains__(self, key: bytes) -> bool:
        """Whether a slot has this key, also under a secret that has not been forgotten yet."""
        return any(index.find(key) for _, index in self.indexes.values())

    def remove(self, slot: int) -> None:
        """Take out the keys of a slot."""
        for _, index in self.indexes.values():
            index.remove(slot)

    def expect(self, expected: int) -> None:
        """Have room for more keys: :meth:`KeyIndex.expect`."""
        for _, index in self.indexes.values():
            index.expect(expected)

    def forget(self, wall: float) -> None:
        """Free the memory of secrets that are honoured no more."""
        for digest in [digest for digest, (until, _) in self.indexes.items() if wall > until]:
            del self.indexes[digest]
