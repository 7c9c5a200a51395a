"""
A path: datagrams of data between two peers, over the pair of addresses that works best.

It does no I/O and reads no clock, as the puncher. It is made of a puncher that has connected, and further ones may join
it, for example after one side has moved to another network::

    path = Path(puncher, random)
    carry_out(path.start(now))
    carry_out(path.send(now, b"payload"))
    carry_out(path.receive(now, local, datagram, source))
    carry_out(path.tick(now))
    carry_out(path.join(now, another_puncher))

The rules are those of ``docs/protocol/connect.rst``.
"""

from __future__ import annotations

from collections.abc import Sequence

from rendezvous.core.addresses import Address
from rendezvous.core.connect import Via
from rendezvous.core.punching.actions import Action, AttemptDue, Closed, Deliver, Lost, PathChanged
from rendezvous.core.punching.checks import Heard
from rendezvous.core.punching.kept import CONSENT_TIME, KeptAttempts
from rendezvous.core.punching.nomination import Nomination
from rendezvous.core.punching.pairs import Local, Pair, Tier
from rendezvous.core.punching.probes import MAX_PAYLOAD, Data, Probe, ProbeType, RandomSource
from rendezvous.core.punching.puncher import Puncher
from rendezvous.core.punching.renewal import Renewal
from rendezvous.core.punching.silence import Silence, Step
from rendezvous.core.punching.spares import MAX_SPARE, has_failed, is_better, probe_due, proven_at, spare
from rendezvous.core.tokenbucket import TokenBucket

__all__ = ["KEEP_ALIVE", "Path"]

KEEP_ALIVE = 15.0
"""Seconds from one probe on the pair in use to the next one, give or take a fifth."""

CHANGE_RATE, CHANGES = 1.0, 4.0
"""Changes to another pair that the peer can ask for: in a second, and at once."""

BYE_PAUSE, BYES = 0.05, 3
"""Seconds between two BYEs, and how many there are."""


class Path:
    """
    A path to one peer.

    :param puncher: has connected.
    :param random: spreads the keep-alives.
    :ivar name: 6 bytes, by which both sides know the path; later attempts name it.
    :ivar ended: whether it is lost or closed.
    """

    def __init__(self, puncher: Puncher, random: RandomSource) -> None:
        if puncher.connected is None:
            raise ValueError("the puncher has not connected")
        self.name = puncher.name
        self.ended = False
        self._random = random
        self._attempts = KeptAttempts(puncher)
        self._pair = puncher.connected
        self._via = self._pair.via
        self._sequence = 0
        self._silence = Silence()
        self._heard_at = 0.0
        self._keep_alive_at = 0.0
        self._renewal = Renewal()
        # The pair that this side nominates, and the one that the other side has nominated and that is not valid yet.
        self._nomination: Nomination | None = None
        self._proposed: Pair | None = None
        self._changes = TokenBucket(CHANGE_RATE, CHANGES)
        self._byes, self._bye_at = 0, 0.0

    # What the caller does.

    def start(self, now: float) -> list[Action]:
        """Begin. Data that has come before is delivered."""
        self._heard_at = now
        self._probe_later(now)
        # The other side has been sent an acknowledgement. If it gets lost, the other side is probed before it gives up.
        self._silence.sent(now, self._pair)
        self._note_tier(now)
        return [Deliver(data.payload) for data in self._attempts.used.take_early()]

    def join(self, now: float, puncher: Puncher) -> list[Action]:
        """
        Go on with another attempt that has connected. The numbers of data go on.

        :param puncher: of the other attempt; what comes for it goes to the path from now on.
        """
        if puncher.connected is None:
            raise ValueError("the puncher has not connected")
        window = self._attempts.used.checks.data_window
        actions: list[Action] = [Deliver(data.payload) for data in puncher.take_early() if window.take(data.sequence)]
        puncher.checks.data_window = window
        self._attempts.add(puncher)
        self._heard_at = now
        self._use(now, puncher, puncher.connected, actions)
        self._renewal.note_relay(puncher.has_relay)
        self._renewal.started()
        actions += self._attempts.release(now)
        return actions

    def send(self, now: float, payload: bytes) -> list[Action]:
        """
        Send a payload. It may get lost, as any datagram; after the end of the path it is dropped.

        :param payload: at most 1200 bytes.
        :raises ValueError: the payload is longer.
        """
        if len(payload) > MAX_PAYLOAD:
            raise ValueError(f"a datagram on a path has at most {MAX_PAYLOAD} bytes, and this one has {len(payload)}")
        if self.ended or self._byes:
            return []
        data = Data(self._sequence, payload)
        self._sequence += 1
        actions: list[Action] = [self._attempts.used.checks.data(self._pair, data)]
        if self._silence.step is not Step.NOTHING:
            # The pair in use may not work any more. The other side takes only one of the two.
            valid = (each for each in self._others() if each[1].valid)
            second = min(valid, key=lambda each: each[1].rank, default=None)
            if second is not None:
                actions.append(second[0].checks.data(second[1], data))
        self._silence.sent(now, self._pair)
        return actions

    def receive(self, now: float, local: Local, datagram: bytes, source: Address) -> list[Action]:
        """
        Take a datagram. One that is not from the peer does nothing.

        :param local: the endpoint that it came to.
        """
        actions: list[Action] = []
        if self.ended:
            return actions
        for puncher in self._attempts.by_endpoint(local.name):
            heard = puncher.take(now, local, datagram, source, actions)
            if heard is not None:
                self._heard(now, puncher, heard, actions)
                break
        return actions

    def tick(self, now: float) -> list[Action]:
        """Do what is due."""
        actions: list[Action] = []
        if self.ended:
            return actions
        if self._byes:
            self._say_bye(now, actions)
            return actions
        if now - self._heard_at >= CONSENT_TIME:
            self.ended = True
            return [Lost()]
        for puncher in self._attempts:
            actions += puncher.tick(now)
        self._watch(now, actions)
        self._keep_spares(now, actions)
        self._improve(now, actions)
        self._ask_for_attempt(now, actions)
        actions += self._attempts.release(now)
        return actions

    def due(self) -> float | None:
        """:returns: when :meth:`tick` is to be called, in seconds; ``None`` after the end."""
        if self.ended:
            return None
        if self._byes:
            return self._bye_at
        times = [self._heard_at + CONSENT_TIME, self._keep_alive_at, self._silence.due()]
        times += [puncher.due() for puncher in self._attempts]
        times += self._attempts.due()
        times += [probe_due(pair) for pair in self._spares()]
        if self._nomination is not None:
            times.append(self._nomination.at)
        else:
            times += [proven_at(pair) for _, pair in self._better()]
        if self._may_ask():
            times.append(self._renewal.due(self._silent_since()))
        return min(time for time in times if time is not None)

    def relay_lost(self, now: float) -> None:
        """Have another attempt replace a relay that is gone. Its endpoint does not take part any more."""
        self._renewal.relay_lost(now, self._random.random())

    def close(self, now: float) -> list[Action]:
        """End the path. :class:`~rendezvous.core.punching.actions.Closed` follows after 0.1 s."""
        actions: list[Action] = []
        if not self.ended and not self._byes:
            self._say_bye(now, actions)
        return actions

    def forgotten(self) -> list[Action]:
        """End the path, because the peer does not know it any more."""
        if self.ended:
            return []
        self.ended = True
        return [Lost(forgotten=True)]

    # What is used.

    @property
    def via(self) -> Via:
        """:returns: how the path goes."""
        return self._pair.via

    @property
    def local(self) -> Local:
        """:returns: the endpoint that it sends from."""
        return self._pair.local

    @property
    def address(self) -> Address:
        """:returns: the address of the peer that it sends to."""
        return self._pair.address

    @property
    def rtt(self) -> float:
        """:returns: the round trip, in seconds."""
        return self._pair.rtt or 0.0

    @property
    def locals(self) -> Sequence[Local]:
        """:returns: all endpoints that the path still uses."""
        return self._attempts.locals

    def uses(self, puncher: Puncher) -> bool:
        """:returns: whether an attempt is one of those that the path keeps."""
        return puncher in self._attempts

    # What is heard.

    def _heard(self, now: float, puncher: Puncher, heard: Heard, actions: list[Action]) -> None:
        """Go on after the peer was heard."""
        message, pair = heard.message, heard.pair
        if pair is not None and pair.valid:
            # A peer that answers nowhere must not have data sent on to an address where it is no longer.
            self._heard_at = now
        if isinstance(message, Data):
            actions.append(Deliver(message.payload))
        elif message.type is ProbeType.BYE:
            self.ended = True
            actions.append(Closed())
            return
        if pair is None:
            return
        if pair is self._pair:
            self._silence.heard()
            if pair.via is not self._via:
                self._changed(now, actions)
        elif heard.acknowledged and self._silence.step is Step.ALL:
            self._leave(now, puncher, pair, actions)
        if isinstance(message, Probe):
            self._settle(now, puncher, pair, message, heard.acknowledged, actions)
        if not self._decides and isinstance(message, Probe) and message.type is ProbeType.PROBE and pair is self._pair:
            # The acknowledgement keeps the mapping alive as well. The side that decides has to measure the round trip.
            self._probe_later(now)

    def _settle(
        self, now: float, puncher: Puncher, pair: Pair, message: Probe, acknowledged: bool, actions: list[Action]
    ) -> None:
        """Agree with the other side on a pair."""
        if self._decides:
            if message.nominate and acknowledged and self._nomination is not None and self._nomination.pair is pair:
                self._nomination = None
                self._use(now, puncher, pair, actions)
            return
        if message.nominate and message.type is ProbeType.PROBE:
            self._proposed = pair
        if self._proposed is pair and pair.valid:
            self._proposed = None
            if pair is not self._pair and self._changes.take(now):
                self._use(now, puncher, pair, actions)

    def _leave(self, now: float, puncher: Puncher, pair: Pair, actions: list[Action]) -> None:
        """Leave the pair in use, which is silent, for one that has answered."""
        self._pair.valid = False
        self._pair.failures += 1
        self._use(now, puncher, pair, actions)
        if self._decides:
            self._nomination = Nomination(now, puncher.checks, pair)

    def _use(self, now: float, puncher: Puncher, pair: Pair, actions: list[Action]) -> None:
        """Use a pair from now on."""
        if pair is self._pair:
            return
        self._attempts.used, self._pair, self._nomination = puncher, pair, None
        self._silence.heard()
        self._changed(now, actions)

    def _changed(self, now: float, actions: list[Action]) -> None:
        """Say which pair is in use, and how it goes."""
        self._via = self._pair.via
        self._note_tier(now)
        actions.append(PathChanged(self._pair.local, self._pair.address, self._via, self.rtt))

    # What is due.

    def _probe_later(self, now: float) -> None:
        """Have the next keep-alive a whole interval away."""
        self._keep_alive_at = now + KEEP_ALIVE * (0.8 + 0.4 * self._random.random())

    def _watch(self, now: float, actions: list[Action]) -> None:
        """Keep the pair in use alive, and probe it and then all others if it is silent."""
        step = self._silence.next(now, self._pair)
        if step is not Step.NOTHING or now >= self._keep_alive_at:
            actions.append(self._attempts.used.checks.probe(now, self._pair))
            self._probe_later(now)
            self._silence.sent(now, self._pair)
        if step is Step.ALL:
            known = [(puncher, pair) for puncher, pair in self._others() if pair.rtt is not None]
            known.sort(key=lambda each: (not each[1].valid, each[1].rank))
            actions += [puncher.checks.probe(now, pair) for puncher, pair in known[:MAX_SPARE]]

    def _keep_spares(self, now: float, actions: list[Action]) -> None:
        """Probe pairs that are not in use, and take note of those that have failed."""
        for pair in self._spares():
            if pair.valid and has_failed(pair, now):
                pair.valid = False
                pair.failures += 1
            if now >= probe_due(pair):
                actions.append(self._attempts.newest.checks.probe(now, pair))

    def _improve(self, now: float, actions: list[Action]) -> None:
        """Nominate a pair that is better than the one in use, if this side decides."""
        if self._nomination is None:
            proven = [each for each in self._better() if (at := proven_at(each[1])) is not None and at <= now]
            if proven:
                puncher, pair = min(proven, key=lambda each: each[1].rank)
                self._nomination = Nomination(now, puncher.checks, pair)
        if self._nomination is not None and not self._nomination.tick(now, actions):
            self._nomination.pair.valid = False
            self._nomination.pair.failures += 1
            self._nomination = None

    def _better(self) -> list[tuple[Puncher, Pair]]:
        """:returns: pairs that are better than the one in use by enough, if this side decides."""
        return [each for each in self._others() if is_better(each[1], self._pair)] if self._decides else []

    def _ask_for_attempt(self, now: float, actions: list[Action]) -> None:
        """Ask for a new attempt if it would help."""
        self._renewal.note_relay(self._attempts.newest.has_relay)
        if self._may_ask() and self._renewal.take(now, self._silent_since()):
            actions.append(AttemptDue(relayed=self._silent_since() is None))

    def _may_ask(self) -> bool:
        """:returns: whether this side is the one that asks; after a silence or the loss of a relay, each does."""
        busy = any(puncher.due() is not None for puncher in self._attempts)
        missing = self._silent_since() is not None or self._renewal.replace_at is not None
        return missing or (self._decides and not busy)

    def _silent_since(self) -> float | None:
        """:returns: since when no pair answers; ``None`` if one does."""
        return self._silence.since if self._silence.step is Step.ALL else None

    def _note_tier(self, now: float) -> None:
        """Take note whether the path uses a relay."""
        relayed = self._pair.tier is Tier.RELAYED
        self._renewal.relayed_since = (self._renewal.relayed_since or now) if relayed else None

    def _say_bye(self, now: float, actions: list[Action]) -> None:
        """Say that the path ends, three times, and end it."""
        if now < self._bye_at:
            return
        actions.append(self._attempts.used.checks.bye(self._pair))
        self._byes += 1
        self._bye_at = now + BYE_PAUSE
        if self._byes == BYES:
            self.ended = True
            actions.append(Closed())

    @property
    def _decides(self) -> bool:
        """:returns: whether this side chooses the pair: it is the controlling one of the newest attempt."""
        return self._attempts.newest.controlling

    def _others(self) -> list[tuple[Puncher, Pair]]:
        """:returns: all pairs beside the one in use, and the attempts that they belong to."""
        return self._attempts.pairs_beside(self._pair)

    def _spares(self) -> list[Pair]:
        """:returns: the pairs that are kept alive beside the one in use: those of the newest attempt only."""
        return spare(self._attempts.newest.checks.pairs.values(), self._pair)
