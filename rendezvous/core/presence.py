"""
Who is there: registration, pulses, verification, logout.

A client's state is never stored. It follows from one timestamp, the last accepted sign of life, so nothing can get out
of step: a sweep that runs late, or not at all, changes no answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from enum import Enum, IntEnum

import attrs

from rendezvous.core.deadlines import Deadlines
from rendezvous.core.identity import Credential, Keyring
from rendezvous.core.notes import Note, Removed, ignore_changes
from rendezvous.errors import Conflict, Full, NotFound, Unauthorized

__all__ = ["Client", "Presence", "PresenceState", "PulseCode", "Revocation", "Timers"]

Address = tuple[str, int]

#: One object for each port number: a client that refers to it keeps no integer of its own (32 bytes saved each).
_PORTS = tuple(range(65536))


class PulseCode(IntEnum):
    """What a pulse is answered with."""

    ON_TIME = 1020
    VERIFY = 1050
    UNKNOWN = 1060


class PresenceState(Enum):
    """What the timestamp says. The dialect calls ``NEW`` and ``PENDING`` by one name, PENDING."""

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
        """:returns: how long after a sign of life a client is ONLINE."""
        return self.pulse_interval + self.pulse_grace

    @property
    def kept(self) -> float:
        """:returns: how long after a sign of life a client that has pulsed is kept at all."""
        return self.error_time + self.pulse_interval


class Client:
    """
    One registered client, as small as it can be: a million of them live in one process.

    :ivar client_id: 16 bytes.
    :ivar host: where its pulses come from, as the socket says it; ``None`` until the first.
    :ivar port: the port of that address.
    :ivar last_seen: the last accepted pulse or verify (before those, the registration), seconds since the epoch.
    :ivar earlier: the last pulse, where a verify is what was last accepted; otherwise ``None``.
    """

    __slots__ = ("client_id", "host", "last_seen", "port", "pulse_before_verify")

    def __init__(self, client_id: bytes, last_seen: float) -> None:
        self.client_id = client_id
        self.last_seen = last_seen
        self.host: str | None = None
        self.port = 0
        self.pulse_before_verify: float | None = None

    @property
    def last_pulse(self) -> float | None:
        """:returns: when the last accepted pulse came, or ``None`` if none has."""
        if self.host is None:
            return None
        return self.last_seen if self.pulse_before_verify is None else self.pulse_before_verify

    def move(self, address: Address) -> None:
        """Record where the client is."""
        self.host, self.port = address[0], _PORTS[address[1]]


@attrs.frozen
class Revocation:
    """
    A logout, remembered so that the credential cannot be used again.

    :ivar client_id: whose credential ended.
    :ivar until: when it may be forgotten, seconds since the epoch.
    """

    client_id: bytes
    until: float


class Presence:
    """
    The live table: every client that this process knows, by key.

    :param timers: the times that decide a state.
    :param keyring: resolves a client id to its key, so that no second table is needed.
    :param max_clients: how many clients, and as many remembered logouts, are kept.
    :param logout_memory: how long a logout is remembered, seconds.
    :param note: told of every record that changes otherwise than by the clock.
    :ivar touched: collects the clients of which only the last sign of life has changed, for a journal to take and to
        empty; ``None`` if there is no journal.
    """

    def __init__(
        self,
        timers: Timers,
        keyring: Keyring,
        *,
        max_clients: int = 1_000_000,
        logout_memory: float = 30 * 86400.0,
        note: Note = ignore_changes,
    ) -> None:
        self.timers = timers
        self._on_time = timers.on_time
        self._keyring = keyring
        self._max_clients = max_clients
        self._logout_memory = logout_memory
        self._note = note
        self._clients: dict[bytes, Client] = {}
        # Second keys of clients that were restored while an old secret is honoured, and until when that is.
        self._old_keys: dict[bytes, float] = {}
        # The first pulse brings a deadline nearer where the registration time is the longer one, hence the patience.
        self._deadlines: Deadlines[bytes] = Deadlines(timers.kept)
        self._revoked: dict[bytes, Revocation] = {}
        self._endings: Deadlines[bytes] = Deadlines()
        self.touched: set[Client] | None = None

    def __len__(self) -> int:
        return len(self._clients) - len(self._old_keys)

    def __contains__(self, key: object) -> bool:
        return key in self._clients

    # What a client does

    def register(self, client_id: bytes, key: bytes, now: float) -> Client:
        """
        Let a client in.

        :raises Full: there are as many as there may be; nothing was recorded.
        :raises Conflict: the id is taken (it was not drawn from a random source).
        """
        if key in self._clients or client_id in self._revoked:
            raise Conflict("This client id is taken.")
        if len(self) >= self._max_clients:
            raise Full("The server has as many clients as it can keep; some will leave soon.")
        client = Client(client_id, now)
        self._enter(key, client)
        self._note(client)
        return client

    def keep_alive(self, key: bytes, address: Address, now: float) -> bool:
        """
        Take the pulse of a client that is ONLINE at the address it is known by: the whole of the common case.

        :param key: any datagram; what is not a known key is left to :meth:`pulse`.
        :returns: whether that is what it was. Then only the timestamp has changed, and ``ON_TIME`` is the answer.
        """
        client = self._clients.get(key)
        if (
            client is None
            or now > client.last_seen + self._on_time
            or client.host != address[0]
            or client.port != address[1]
            or (self._old_keys and now > self._old_keys.get(key, now))
        ):
            return False
        client.last_seen = now
        if client.pulse_before_verify is not None:
            client.pulse_before_verify = None
        if self.touched is not None:
            self.touched.add(client)
        return True

    def pulse(self, key: bytes, address: Address, now: float) -> PulseCode:
        """
        Take any pulse.

        :param address: where it came from; recorded if the pulse is on time.
        :returns: what to answer.
        """
        client = self._clients.get(key)
        if client is None or now > self._old_keys.get(key, now):
            return PulseCode.UNKNOWN
        state = self.state(client, now)
        code = ON_PULSE[state]
        if state is PresenceState.GONE:
            self._remove(key, client)
        elif code is PulseCode.ON_TIME:
            client.move(address)
            client.last_seen = now
            client.pulse_before_verify = None
            self._note(client)
        return code

    def authenticate(self, credential: Credential, now: float) -> bytes:
        """
        :returns: the client id that the credential proves.
        :raises Unauthorized: it proves none, or was ended by a logout.
        """
        client_id = credential.client_id
        if client_id is None:
            client = self._live(credential.key, now)
            if client is None or not self._keyring.proves(client.client_id, credential.key, now):
                raise Unauthorized("No client with this key is here: register again.")
            return client.client_id
        if not self._keyring.proves(client_id, credential.key, now) or self._is_revoked(client_id, now):
            raise Unauthorized("This credential is wrong, or was ended by a logout: register again.")
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

    def logout(self, client_id: bytes, now: float) -> None:
        """
        End a client and its credential; it need not be live.

        :raises Full: no more logouts can be remembered, so this one is refused rather than forgotten.
        """
        # A table that is full makes room as it is asked, so that a late sweep changes no answer.
        self._forget_revocations(now, 2)
        revoked = self._is_revoked(client_id, now)
        if not revoked and len(self._revoked) >= self._max_clients:
            raise Full("The server remembers as many logouts as it can; try again later.")
        for key, _ in self._keyring.keys_until(client_id):
            client = self._clients.get(key)
            if client is not None:
                self._remove(key, client)
        if not revoked:
            revocation = Revocation(client_id, now + self._logout_memory)
            self.restore_revocation(revocation)
            self._note(revocation)

    # What others ask

    def find(self, client_id: bytes, now: float) -> Client | None:
        """:returns: the client, unless it is unknown or gone."""
        for key in self._keyring.keys(client_id, now):
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
        Free the memory of clients that are gone.

        :param at_most: how many clients, and as many logouts, to look at, so that no pass holds the reactor for long.
        :returns: how many clients were removed.
        """
        removed = 0
        for key in self._deadlines.take(now, self._deadline_of_key, at_most):
            removed += key not in self._old_keys
            self._remove(key, self._clients[key])
        self._forget_revocations(now, at_most)
        return removed

    def restore(self, client: Client, now: float) -> None:
        """
        Put in a client that is already noted elsewhere.

        While an old secret is honoured, nobody knows which key the client was given, so it is found by each of them.
        """
        for key, until in self._keyring.keys_until(client.client_id):
            if until is None or now <= until:
                if until is not None:
                    self._old_keys[key] = until
                self._enter(key, client)

    def restore_revocation(self, revocation: Revocation) -> None:
        """Put in a logout that is already noted elsewhere."""
        self._revoked[revocation.client_id] = revocation
        self._endings.put(revocation.client_id, revocation.until)

    def clients(self) -> Iterator[Client]:
        """:returns: every client in the table, those included that are gone but not yet swept."""
        return (client for key, client in self._clients.items() if key not in self._old_keys)

    def _enter(self, key: bytes, client: Client) -> None:
        self._clients[key] = client
        deadline = min(self._deadline(client), client.last_seen + self.timers.kept)
        self._deadlines.put(key, min(deadline, self._old_keys.get(key, math.inf)))

    def _live(self, key: bytes, now: float) -> Client | None:
        client = self._clients.get(key)
        return None if client is None or now > self._deadline(client) else client

    def _deadline(self, client: Client) -> float:
        return client.last_seen + (self.timers.registration_time if client.host is None else self.timers.kept)

    def _deadline_of_key(self, key: bytes) -> float | None:
        client = self._clients.get(key)
        return None if client is None else min(self._deadline(client), self._old_keys.get(key, math.inf))

    def _remove(self, key: bytes, client: Client) -> None:
        del self._clients[key]
        # A client ends with its own key; what ends with a second one is only that way to it.
        if self._old_keys.pop(key, None) is None:
            self._note(Removed(client))

    def _is_revoked(self, client_id: bytes, now: float) -> bool:
        revocation = self._revoked.get(client_id)
        return revocation is not None and now <= revocation.until

    def _end_of_revocation(self, client_id: bytes) -> float | None:
        revocation = self._revoked.get(client_id)
        return None if revocation is None else revocation.until

    def _forget_revocations(self, now: float, at_most: int) -> None:
        for client_id in self._endings.take(now, self._end_of_revocation, at_most):
            self._note(Removed(self._revoked.pop(client_id)))
