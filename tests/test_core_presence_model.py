"""The live table against a naive model, which stores every state and looks at everybody whenever time passes."""

from __future__ import annotations

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.identity import Credential
from rendezvous.core.presence.logouts import Logouts
from rendezvous.core.presence.presence import Presence
from rendezvous.core.presence.states import PresenceState, PulseCode, Timers
from rendezvous.errors import Full, NotFound, Unauthorized
from tests._live_table import clients, find
from tests._presence_case import JUST, KEYRING, NOW

TIMERS = Timers(registration_time=250.0)
LOGOUT_MEMORY = 400.0
ROOM = 4
#: Seconds to wait: nothing, and each boundary with what is just before and after it.
PAUSES = [0.0, JUST, 1.0, 30.0] + [edge + n * JUST for edge in (33.0, 177.0, 210.0, 250.0, 400.0) for n in (-1, 0, 1)]
ADDRESSES = st.sampled_from([("192.0.2.1", 1), ("192.0.2.1", 2), ("2001:db8::1", 1)])
#: Which client acts: by the order of registration, modulo as many as there have been.
WHO = st.integers(0, 7)


@attrs.define
class Entry:
    """
    What the model knows of a client.

    :ivar ends: when the client left the state that it was in, if it is GONE.
    """

    state: PresenceState
    sign: float
    address: tuple[str, int] | None = None
    pulsed: float | None = None
    ends: float = 0.0
    logged_out: bool = False


class PresenceMachine(RuleBasedStateMachine):
    """Registers, pulses, verifies, logs out, sweeps and waits at random, and compares all that can be asked."""

    def __init__(self) -> None:
        super().__init__()
        self.table = Presence(TIMERS, KEYRING, max_clients=ROOM, logouts=Logouts(LOGOUT_MEMORY, ROOM))
        self.entries: dict[bytes, Entry] = {}
        self.logouts: dict[bytes, float] = {}
        # The ends of those that the table has not forgotten.
        self.kept: list[float] = []
        self.live_only = NOW - 10
        self.now = NOW
        self.swept = NOW

    def pick(self, who: int) -> bytes:
        """:returns: the id of a client, which may never have been."""
        known = list(self.entries)
        return known[who % len(known)] if known else b"\xff" * 16

    def state(self, client_id: bytes) -> PresenceState:
        """:returns: what the model says."""
        return self.entries[client_id].state if client_id in self.entries else PresenceState.GONE

    @rule()
    def register(self) -> None:
        """Let somebody in, unless the table has no room."""
        client_id = len(self.entries).to_bytes(16, "big")
        try:
            self.table.register(client_id, KEYRING.key(client_id), self.now)
        except Full:
            assert self.live + len(self.fresh) >= ROOM
        else:
            assert self.live < ROOM
            self.entries[client_id] = Entry(PresenceState.NEW, self.now)

    @rule(who=WHO, address=ADDRESSES)
    def pulse(self, who: int, address: tuple[str, int]) -> None:
        """Have a datagram arrive, as the shell takes it: the short way first."""
        client_id = self.pick(who)
        key = KEYRING.key(client_id)
        state = self.state(client_id)
        entry = self.entries.get(client_id)
        short = self.table.keep_alive(key, address, self.now)
        assert short == (state is PresenceState.ONLINE and entry is not None and entry.address == address)
        code = PulseCode.ON_TIME if short else self.table.pulse(key, address, self.now)
        if state is PresenceState.GONE:
            assert code is PulseCode.UNKNOWN
        elif state is PresenceState.PENDING:
            assert code is PulseCode.VERIFY
        else:
            assert code is PulseCode.ON_TIME
            assert entry is not None
            entry.state, entry.sign, entry.address, entry.pulsed = PresenceState.ONLINE, self.now, address, self.now

    @rule(who=WHO)
    def verify(self, who: int) -> None:
        """Take a client back."""
        client_id = self.pick(who)
        try:
            self.table.verify(client_id, self.now)
        except NotFound:
            assert self.state(client_id) is PresenceState.GONE
            return
        entry = self.entries[client_id]
        assert entry.state is not PresenceState.GONE
        entry.sign = self.now
        if entry.state is PresenceState.PENDING:
            entry.state = PresenceState.ONLINE

    @rule(who=WHO)
    def logout(self, who: int) -> None:
        """End a client. Where too many are remembered, one is forgotten that ends in the same second as the first."""
        client_id = self.pick(who)
        remembered = self.logouts.get(client_id, -1.0) >= self.now
        if remembered and self.live_only >= NOW:
            return  # Of several that end in one second any may be forgotten, so this one may be remembered or not.
        self.table.logout(client_id, self.now)
        if not remembered:
            kept = sorted(until for until in self.kept if until >= self.now)
            if len(kept) >= ROOM:
                self.live_only = max(self.live_only, kept.pop(0))
            self.kept = [*kept, self.now + LOGOUT_MEMORY]
            self.logouts[client_id] = self.now + LOGOUT_MEMORY
        if client_id in self.entries:
            self.entries[client_id].state = PresenceState.GONE
            self.entries[client_id].logged_out = True

    @rule(seconds=st.sampled_from(PAUSES))
    def wait(self, seconds: float) -> None:
        """Let time pass, and move everybody on whose time is up."""
        self.now += seconds
        for entry in self.entries.values():
            silence = self.now - entry.sign
            if entry.state is PresenceState.NEW and silence > 250:
                entry.state, entry.ends = PresenceState.GONE, entry.sign + 250
            if entry.state is PresenceState.ONLINE and silence > 33:
                entry.state = PresenceState.PENDING
            if entry.state is PresenceState.PENDING and silence > 210:
                entry.state, entry.ends = PresenceState.GONE, entry.sign + 210

    @rule(at_most=st.sampled_from([0, 1, 2, 1000]))
    def sweep(self, at_most: int) -> None:
        """Free memory, of no more than allowed, and of all that is gone if allowed."""
        before = len(self.table)
        removed = self.table.sweep(self.now, at_most)
        assert removed <= at_most
        assert len(self.table) == before - removed
        if at_most == 1000:
            assert len(self.table) <= self.live + len(self.fresh)

    @property
    def fresh(self) -> list[Entry]:
        """:returns: those that have gone within the last second, of which the memory may be in use still."""
        return [e for e in self.entries.values() if e.state is PresenceState.GONE and e.ends > self.now - 1]

    @property
    def live(self) -> int:
        """How many are there, as far as anybody may know."""
        return sum(entry.state is not PresenceState.GONE for entry in self.entries.values())

    @invariant()
    def everybody_is_as_the_model_says(self) -> None:
        """Found or not, in which state, where, and since when."""
        for client_id, entry in self.entries.items():
            client = find(self.table, client_id, self.now)
            if client is None:
                assert entry.state is PresenceState.GONE
                continue
            assert self.table.state(client.slot, self.now) is entry.state
            assert (client.host, client.port) == (entry.address or (None, 0))
            assert client.last_pulse == entry.pulsed

    @invariant()
    def credentials_are_as_the_model_says(self) -> None:
        """The bare key lives as long as its client, the pair until the logout and after that is forgotten."""
        for client_id, entry in self.entries.items():
            key = KEYRING.key(client_id)
            revoked = self.logouts.get(client_id, -1.0) >= self.now
            assert self.proves(Credential(key)) == (entry.state is not PresenceState.GONE)
            # Whether a logout was forgotten early is known to a second only.
            if revoked or self.now > self.live_only + 1 or entry.state is not PresenceState.GONE:
                assert self.proves(Credential(key, client_id)) == (not revoked)

    @invariant()
    def table_is_bounded(self) -> None:
        """No live client is missing, and there are never too many."""
        assert self.live <= len(self.table) <= ROOM
        assert len(list(clients(self.table))) == len(self.table)

    def proves(self, credential: Credential) -> bool:
        """:returns: whether the credential is good."""
        try:
            self.table.authenticate(credential, self.now)
        except Unauthorized:
            return False
        return True


class PresenceModelTests(SynchronousTestCase):
    """Any order of events."""

    def test_table_agrees_with_the_model(self) -> None:
        """The table tells the same as a model that stores what the table works out."""
        case = PresenceMachine.TestCase
        case.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
        case("runTest").debug()
