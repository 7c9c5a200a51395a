"""What the tests of the live table share."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.identity import Keyring, Secret
from rendezvous.core.presence.client import Client
from rendezvous.core.presence.logouts import Logouts
from rendezvous.core.presence.presence import Presence
from rendezvous.core.presence.states import PulseCode, Timers
from rendezvous.core.shares import Shares
from tests._live_table import find

#: Exactly representable, as are the moments around it that differ by multiples of JUST.
NOW = 1_700_000_000.0
#: The shortest time that matters here, in seconds.
JUST = 2.0**-10
DAY = 86400.0

HERE = ("198.51.100.7", 40000)
THERE = ("2001:db8::9", 40001)

KEYRING = Keyring([Secret(bytes(32))])
ID = b"a client's id..."
KEY = KEYRING.key(ID)
OTHER = b"another one's..."
OTHER_KEY = KEYRING.key(OTHER)


class PresenceCase(SynchronousTestCase):
    """
    A table in which one client may be brought into any state.

    :ivar notes: what was noted, in order.
    """

    def setUp(self) -> None:
        """Begin with an empty table."""
        self.notes: list[object] = []
        self.table = self.make_table()

    def make_table(
        self,
        timers: Timers | None = None,
        *,
        max_clients: int = 1000,
        logout_memory: float = 30 * DAY,
        max_logouts: int = 1000,
        logout_shares: Shares | None = None,
        **options: Any,
    ) -> Presence:
        """:returns: an empty table that notes."""
        logouts = Logouts(logout_memory, max_logouts, logout_shares, self.notes.append)
        return Presence(
            timers or Timers(), KEYRING, max_clients=max_clients, logouts=logouts, note=self.notes.append, **options
        )

    def register(self) -> None:
        """Let the client in at NOW."""
        self.table.register(ID, KEY, NOW)

    def come_online(self) -> None:
        """Let the client in, and have it pulse, at NOW."""
        self.register()
        self.assertIs(self.table.pulse(KEY, HERE, NOW), PulseCode.ON_TIME)

    def found(self, now: float, client_id: bytes = ID) -> Client:
        """:returns: the client, which must be there."""
        client = find(self.table, client_id, now)
        assert client is not None
        return client
