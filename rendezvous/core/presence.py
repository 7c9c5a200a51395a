"""
Who is there: registration, pulses, verification, logout.

A client's state is never stored. It follows from one timestamp, the last accepted pulse or verify. So the state cannot
disagree with the timestamp: a sweep that runs late, or not at all, changes no answer.

Times. ``now`` is server time, in seconds: it does not run while the server is down. Times that must also run then (the
end of a remembered logout, the end of an old secret) are on the wall clock; ``wall`` converts.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from enum import Enum, IntEnum

import attrs

from rendezvous.core.client import Client
from rendezvous.core.deadlines import Deadlines
from rendezvous.core.identity import Credential, Keyring
from rendezvous.core.logouts import Logouts
from rendezvous.core.notes import Moved, Note, Removed, ignore_changes
from rendezvous.core.shares import Shares
from rendezvous.core.sources import UNKNOWN, SourceNetwork, source_network
from rendezvous.errors import Conflict, Full, NotFound, Unauthorized

__all__ = ["Presence", "PresenceState", "PulseCode", "Timers"]

Address = tuple[str, int]

#: Clients that a registration looks at, at most, for one that is gone: about a millisecond.
_LOOKS_FOR_ROOM = 1000


class PulseCode(IntEnum):
    """What a pulse is answered with."""

    ON_TIME = 1020
    VERIFY = 1050
    UNKNOWN = 1060


class PresenceState(Enum):
    """The state of a client, which follows from its timestamp. The protocol shows ``NEW`` as PENDING."""

    NEW = "registered, never pulsed"
    ONLINE = "pulsed in time"
    PENDING = "late: must verify"
    GONE = "silent for too long: logged out"


#: What a pulse means in each state. Only what is answered ``ON_TIME`` is recorded.
ON_PULSE: Mapping[PresenceState, PulseCode] = {
    PresenceState.NEW: PulseCode.ON_TIME,
    PresenceState.ONLINE: PulseCode.ON_TIME,
    PresenceState.PENDING: PulseCode.VERIFY,
    PresenceState.GONE: PulseCode.UNKNOWN,
}


@attrs.frozen(kw_only=True)
class Timers:
    """
    The times that decide a state, in seconds.

    :ivar pulse_interval: how often clients pulse.
    :ivar pulse_grace: how much later than that a pulse may come, for network jitter.
    :ivar error_time: how long a silent client is kept, plus one interval.
    :ivar registration_time: how long a new client may take to its first pulse.
    """

    pulse_interval: float = 30.0
    pulse_grace: float = 3.0
    error_time: float = 180.0
    registration_time: float = 300.0

    @property
    def on_time(self) -> float:
        """:returns: seconds after its last activity for which a client is ONLINE."""
        return self.pulse_interval + self.pulse_grace

    @property
    def kept(self) -> float:
        """:returns: seconds after its last activity for which a client that has pulsed is kept."""
        return self.error_time + self.pulse_interval


def same_clock(moment: float) -> float:
    """Convert server time to the wall clock where both are one, as in most tests."""
    return moment


class Presence:
    """
    The live table: every client that this process knows, by key.

    :param timers: the times that decide a state.
    :param keyring: resolves a client id to its key, so that no second table is needed.
    :param max_clients: how many clients are kept.
    :param logouts: where logouts are remembered; by default for 30 days, and as many as there may be clients.
        Restore them through :attr:`logouts`.
    :param shares: how many of the clients each source may hold.
    :param note: called with every record that is new, has changed otherwise than by the clock, or has ended.
    :param touch: called with a client of which only ``last_seen`` has changed, unless ``touched`` has it already.
    :param wall: converts server time to the wall clock.
    :ivar touched: collects the clients of which only ``last_seen`` has changed since they were last written, in 256
        sets by the first byte of their ids; ``None`` if nothing writes them.
    :ivar unsettled: clients whose address is not safe yet. :meth:`keep_alive` leaves their pulses to :meth:`pulse`.
    """

    def __init__(
        self,
        timers: Timers,
        keyring: Keyring,
        *,
        max_clients: int = 1_000_000,
        logouts: Logouts | None = None,
        shares: Shares | None = None,
        note: Note = ignore_changes,
        touch: Note = ignore_changes,
        wall: Callable[[float], float] = same_clock,
    ) -> None:
        self.timers = timers
        self._on_time = timers.on_time
        self._keyring = keyring
        self._max_clients = max_clients
        self._shares = Shares("clients") if shares is None else shares
        self.logouts = Logouts(30 * 86400.0, max_clients, note=note) if logouts is None else logouts
        self._note = note
        self._touch = touch
        self._wall = wall
        self._clients: dict[bytes, Client] = {}
        # Second keys of clients that were restored while an old secret is honoured, and until when that is.
        self._old_keys: dict[bytes, float] = {}
        # The first pulse brings a deadline nearer where the registration time is the longer one, hence the patience.
        self._deadlines: Deadlines[bytes] = Deadlines(timers.kept)
        self.touched: list[set[Client]] | None = None
        self.unsettled: Container[object] = frozenset()

    def change(self, max_clients: int, shares: tuple[int, int]) -> None:
        """Use other bounds from now on, for clients and for logouts. What is there already stays, and is counted."""
        self._max_clients = max_clients
        self._shares.change(*shares)
        self.logouts.change(max_clients, shares)

    def clear(self) -> None:
        """Remove all clients. The object stays the same, so that its users can keep their references."""
        self._shares.clear()
        self.logouts.clear()
        self._clients.clear()
        self._old_keys.clear()
        self._deadlines = Deadlines(self.timers.kept)

    def __len__(self) -> int:
        return len(self._clients) - len(self._old_keys)

    def __contains__(self, key: object) -> bool:
        return key in self._clients

    # What a client does

    def register(self, client_id: bytes, key: bytes, now: float, source: SourceNetwork = UNKNOWN) -> Client:
        """
        Let a client in.

        :raises Full: there are as many as there may be; nothing was recorded.
        :raises TooMany: the source holds its share of the clients, or has caused its share of the logouts.
        :raises Conflict: the id is taken (it was not drawn from a random source).
        """
        if key in self._clients or client_id in self.logouts:
            raise Conflict("This client id is taken.")
        # A full table makes room as it is asked, so that a late sweep changes no answer.
        if len(self) >= self._max_clients and not self._remove_gone(now, _LOOKS_FOR_ROOM):
            raise Full(
                "The server has as many clients as it can keep; some will leave soon.", holder=self._shares.largest
            )
        self._shares.check(source)
        self.logouts.check(source)
        client = Client(client_id, now, source.subscriber)
        self._enter(key, client)
        self._note(client)
        return client

    def keep_alive(self, key: bytes, address: Address, now: float, local_port: int = 0) -> bool:
        """
        Take the pulse of a client that is ONLINE and has not moved. This is the common case.

        :param key: any datagram; one that is not a known key is left to :meth:`pulse`.
        :param local_port: the UDP port of the server that it came to.
        :returns: whether the pulse was taken. Then only the timestamp has changed, and the answer is ``ON_TIME``.
        """
        client = self._clients.get(key)
        if (
            client is None
            or now > client.last_seen + self._on_time
            or client.host != address[0]
            or client.port != address[1]
            or client.local_port != local_port
            or (self.unsettled and client in self.unsettled)
            or (self._old_keys and not self._is_honoured(key, now))
        ):
            return False
        client.last_seen = now
        if client.pulse_before_verify is not None:
            client.pulse_before_verify = None
        if self.touched is not None:
            self.touched[client.client_id[0]].add(client)
        return True

    def pulse(self, key: bytes, address: Address, now: float, local_port: int = 0) -> PulseCode:
        """
        Take any pulse.

        :param address: where it came from; recorded if the pulse is on time.
        :param local_port: the UDP port of the server that it came to; recorded with the address.
        :returns: what to answer.
        """
        client = self._clients.get(key)
        if client is None or not self._is_honoured(key, now):
            return PulseCode.UNKNOWN
        state = self.state(client, now)
        code = ON_PULSE[state]
        if state is PresenceState.GONE:
            self._remove(key, client)
        elif code is PulseCode.ON_TIME:
            client.last_seen = now
            client.pulse_before_verify = None
            if client.is_at(address, local_port):
                self._touch(client)
            else:
                client.move(address, local_port)
                self._note(Moved(client))
        return code

    def authenticate(self, credential: Credential, now: float) -> bytes:
        """
        :returns: the client id that the credential proves.
        :raises Unauthorized: it proves none, or was ended by a logout.
        """
        client_id, wall = credential.client_id, self._wall(now)
        if client_id is None:
            client = self._live(credential.key, now)
            if client is None or not self._keyring.proves(client.client_id, credential.key, wall):
                raise Unauthorized("No client with this key is here: register again.")
            return client.client_id
        if not self._keyring.proves(client_id, credential.key, wall) or self.logouts.has_revoked(client_id, wall):
            raise Unauthorized("This credential is wrong, or was ended by a logout: register again.")
        if self.logouts.live_only(wall) and self.find(client_id, now) is None:
            raise Unauthorized("This client is not here any more: register again.")
        return client_id

    def verify(self, client_id: bytes, now: float) -> Client:
        """
        Take a client back that was late; harmless for one that was not.

        A client that has never pulsed stays without an address, and has the registration time once more.

        :raises NotFound: the client is gone and must register again.
        """
        client = self.find(client_id, now)
        if client is None:
            raise NotFound("This client is gone: register again.", code="not-registered")
        client.pulse_before_verify = client.last_pulse
        client.last_seen = now
        self._note(client)
        return client

    def logout(self, client_id: bytes, now: float, source: SourceNetwork = UNKNOWN) -> None:
        """
        End a client and its credential; it need not be live. A logout is never refused.

        :param source: where the request came from. The logout is counted for it if the client is gone, and otherwise
            for the source that registered the client.
        """
        # A table that is full makes room as it is asked, so that a late sweep changes no answer.
        self.logouts.forget(self._wall(now), 2)
        for key, _ in self._keyring.keys_until(client_id):
            client = self._clients.get(key)
            if client is not None:
                source = source_network(client.network)
                self._remove(key, client)
        self.logouts.add(client_id, source, self._wall(now))

    # What others ask

    def find(self, client_id: bytes, now: float) -> Client | None:
        """:returns: the client, unless it is unknown or gone."""
        for key in self._keyring.keys(client_id, self._wall(now)):
            client = self._live(key, now)
            if client is not None:
                return client
        return None

    def state(self, client: Client, now: float) -> PresenceState:
        """:returns: what the client's timestamp means now."""
        if now > self._deadline(client):
            return PresenceState.GONE
        if client.host is None:
            return PresenceState.NEW
        return PresenceState.ONLINE if now <= client.last_seen + self._on_time else PresenceState.PENDING

    # What the server does

    def sweep(self, now: float, at_most: int) -> int:
        """
        Free the memory of clients that are gone, and of logouts that need not be remembered any more.

        :param at_most: how many clients, and as many logouts, to look at, so that no pass holds the reactor for long.
        :returns: how many clients were removed; :meth:`is_due` says whether there is more to do.
        """
        removed = self._remove_gone(now, at_most)
        self.logouts.forget(self._wall(now), at_most)
        return removed

    def is_due(self, now: float) -> bool:
        """:returns: whether a sweep would look at something."""
        return self._deadlines.is_due(now) or self.logouts.is_due(self._wall(now))

    def _remove_gone(self, now: float, at_most: int) -> int:
        removed = 0
        for key in self._deadlines.take(now, self._deadline_of_key, at_most):
            removed += key not in self._old_keys
            self._remove(key, self._clients[key])
        return removed

    def restore(self, client: Client, wall: float) -> None:
        """
        Put in a client that is already noted elsewhere.

        :param wall: the time on the wall clock.

        While an old secret is honoured, it is not known which key the client was given, so it is found by each of them.
        """
        for key, until in self._keyring.keys_until(client.client_id):
            if until is None or wall <= until:
                if until is not None:
                    self._old_keys[key] = until
                self._enter(key, client)

    def clients(self) -> Iterator[Client]:
        """:returns: every client in the table, those included that are gone but not yet swept."""
        return (client for key, client in self._clients.items() if key not in self._old_keys)

    def _enter(self, key: bytes, client: Client) -> None:
        self._clients[key] = client
        self._deadlines.put(key, min(self._ending(key, client), client.last_seen + self.timers.kept))
        if key not in self._old_keys:
            self._shares.add(source_network(client.network))

    def _is_honoured(self, key: bytes, now: float) -> bool:
        """:returns: whether a key is of a secret that is still honoured."""
        until = self._old_keys.get(key)
        return until is None or self._wall(now) <= until

    def _live(self, key: bytes, now: float) -> Client | None:
        client = self._clients.get(key)
        return None if client is None or now > self._deadline(client) else client

    def _deadline(self, client: Client) -> float:
        return client.last_seen + (self.timers.registration_time if client.host is None else self.timers.kept)

    def _deadline_of_key(self, key: bytes) -> float | None:
        client = self._clients.get(key)
        return None if client is None else self._ending(key, client)

    def _ending(self, key: bytes, client: Client) -> float:
        """:returns: when an entry may be freed: a second key, once its secret has ended."""
        ending = self._deadline(client)
        until = self._old_keys.get(key)
        return ending if until is None else min(ending, until - self._wall(0.0))

    def _remove(self, key: bytes, client: Client) -> None:
        del self._clients[key]
        # A client ends with its own key; what ends with a second one is only that way to it.
        if self._old_keys.pop(key, None) is None:
            self._shares.remove(source_network(client.network))
            self._note(Removed(client))
