"""
The puncher: opens a path between two peers in rounds, for one attempt.

It does no I/O and reads no clock. Its methods take the time in seconds, on any clock that does not go back, and return
what is to be done (:mod:`rendezvous.core.punching.actions`). :meth:`Puncher.due` says when :meth:`Puncher.tick` is to
be called next. For example::

    puncher = Puncher(codec, random, attempt=attempt, controlling=True)
    locals = [Local("ipv4"), Local("relay", relayed=True)]
    carry_out(puncher.begin(now, Round(1, hold=0.06, candidates=candidates, locals=locals)))
    carry_out(puncher.receive(now, local, datagram, source))
    carry_out(puncher.tick(now))

After :class:`~rendezvous.core.punching.actions.Connected`, the puncher is given to a
:class:`~rendezvous.core.punching.path.Path`, and everything goes to the path from then on.

The rules are those of ``docs/protocol/connect.rst``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from rendezvous.core.addresses import Address
from rendezvous.core.connect import Candidate, CandidateKind, NatMapping, Strategy
from rendezvous.core.punching import birthday
from rendezvous.core.punching.actions import Action, Connected, Failed, NextRound, OpenSockets, Release
from rendezvous.core.punching.checks import Checks, Heard
from rendezvous.core.punching.pairs import Local, Pair, Tier, choose
from rendezvous.core.punching.probes import NEW_PATH, PATH_ID_SIZE, Codec, Data, Probe, ProbeType, RandomSource
from rendezvous.core.punching.reasons import no_path
from rendezvous.core.punching.rounds import LISTEN_TIME, LONGEST_ROUND, MAX_ROUNDS, Round
from rendezvous.core.punching.schedule import Schedule
from rendezvous.core.punching.selection import Selection

__all__ = ["Puncher"]

MAX_EARLY = 64
"""Datagrams of data that are kept until there is a path."""


class Puncher:
    """
    One side of an attempt.

    :param codec: of this side of the attempt.
    :param attempt: 8 bytes.
    :param controlling: whether this side has asked for the attempt.
    :param path: the name of the path that the attempt is to go on with, if this side is controlling and has one.
    :param known: the names of the paths that this side has with this peer, if it is controlled.
    :ivar connected: the pair that both sides have agreed on; ``None`` before.
    """

    def __init__(
        self,
        codec: Codec,
        random: RandomSource,
        *,
        attempt: bytes,
        controlling: bool,
        path: bytes = NEW_PATH,
        known: Collection[bytes] = (),
    ) -> None:
        self.name = attempt[:PATH_ID_SIZE]
        self.controlling = controlling
        self.checks = Checks(codec, random, path)
        self.connected: Pair | None = None
        self._early: list[Data] = []
        self._random, self._known = random, frozenset(known)
        self._round: Round | None = None
        self._locals: dict[str, Local] = {}
        self._candidates: list[Candidate] = []
        self._schedule = Schedule()
        self._birthday: birthday.Easy | birthday.Hard | None = None
        self._start = self._ends = 0.0
        self._listening: dict[str, float] = {}
        # Whether a socket of this side has heard the other side, in any round and in this one.
        self._heard = self._is_heard = False
        self._selection = Selection(self.checks, controlling, 0.0)
        self._path = NEW_PATH

    # What the caller does.

    def begin(self, now: float, round: Round) -> list[Action]:
        """
        Begin a round. Endpoints of the round before that are not in this one are forgotten.

        :param round: as the server has said it.
        """
        names = {local.name for local in round.locals}
        self.checks.forget(self._locals.keys() - names)
        self._round, self._locals, self._candidates = round, {}, []
        self._start = now + round.hold
        self._ends = self._start + round.time
        self._schedule, self._birthday, self._listening = Schedule(), None, {}
        self._is_heard = False
        self._selection = Selection(self.checks, self.controlling, self._start)
        actions: list[Action] = []
        if round.strategy is Strategy.BIRTHDAY:
            self._begin_birthday(round, actions)
        self.add_locals(now, round.locals)
        self.add_candidates(now, round.candidates)
        return actions + self.tick(now)

    def add_candidates(self, now: float, candidates: Iterable[Candidate]) -> None:
        """
        Add candidates of the peer that have come late. Those that are known already may be among them.

        Call :meth:`due` afterwards.
        """
        known = {candidate.address for candidate in self._candidates}
        chosen = choose([*self._candidates, *candidates])
        new = [candidate for candidate in chosen if candidate.address not in known]
        self._candidates += new
        self._enlist(now, self._locals.values(), new)

    def add_locals(self, now: float, locals: Iterable[Local]) -> None:
        """
        Add endpoints that have come late, for example a relay, or replace one that now has a port mapping.

        Call :meth:`due` afterwards.
        """
        for local in locals:
            known = self._locals.get(local.name)
            self._locals[local.name] = local
            if isinstance(self._birthday, birthday.Hard):
                self._birthday.add([local])
            if known is None and not local.birthday:
                self._listen(local)
                self._enlist(now, [local], self._candidates)

    def receive(self, now: float, local: Local, datagram: bytes, source: Address) -> list[Action]:
        """
        Take a datagram. One that is not from the other side of this attempt does nothing.

        :param local: the endpoint that it came to.
        """
        actions: list[Action] = []
        heard = self.take(now, local, datagram, source, actions)
        if heard is not None and isinstance(heard.message, Data) and len(self._early) < MAX_EARLY:
            self._early.append(heard.message)
        if heard is not None and isinstance(heard.message, Probe) and heard.message.type is ProbeType.BYE:
            self._round = None
            actions.append(Failed("closed", "The peer has ended the attempt."))
        return actions

    def take(self, now: float, local: Local, datagram: bytes, source: Address, actions: list[Action]) -> Heard | None:
        """
        Take a datagram, for the path.

        :param actions: to which what is to be done is added.
        :returns: what was heard, or ``None`` if it is not from the other side of this attempt.
        """
        heard = self.checks.receive(now, local, datagram, source, actions)
        if heard is None:
            return None
        self._note_path(heard.message)
        if not local.relayed:
            self._heard = self._is_heard = True
        if self._listening.pop(local.name, None) is not None:
            self._enlist(now, [local], self._candidates)
        if heard.pair is not None and self._round is not None:
            self._progress(now, heard.pair, heard.acknowledged, heard.message, actions)
        return heard

    def tick(self, now: float) -> list[Action]:
        """Do what is due."""
        actions: list[Action] = []
        if self._round is None:
            return actions
        for name in [name for name, until in self._listening.items() if until <= now]:
            del self._listening[name]
            self._enlist(now, [self._locals[name]], self._candidates)
        while (due := self._schedule.next(now)) is not None:
            pair, ttl = due
            actions.append(self.checks.probe(now, pair, ttl=ttl))
        if self._birthday is not None:
            actions += self._birthday.tick(now)
        if self.connected is None:
            self._selection.tick(now, self._trying(), actions)
        if now >= self._ends:
            self._end_round(now, actions)
        return actions

    def due(self) -> float | None:
        """:returns: when :meth:`tick` is to be called, in seconds; ``None`` if nothing is to be waited for."""
        if self._round is None:
            return None
        times = [self._ends, self._schedule.due(), *self._listening.values()]
        if self.connected is None:
            times.append(self._selection.due(self._trying()))
        if self._birthday is not None:
            times.append(self._birthday.due())
        return min(time for time in times if time is not None)

    def stop(self) -> None:
        """Try nothing further; datagrams are still answered."""
        self._round = None

    def remove_locals(self, locals: Iterable[Local]) -> None:
        """Forget endpoints that are gone, and all pairs of theirs."""
        names = {local.name for local in locals}
        self._locals = {name: local for name, local in self._locals.items() if name not in names}
        self._listening = {name: until for name, until in self._listening.items() if name not in names}
        self._schedule.forget(names)
        self.checks.forget(names)

    def take_early(self) -> list[Data]:
        """:returns: the data that has come before there was a path, once."""
        early, self._early = self._early, []
        return early

    def has(self, name: str) -> bool:
        """:returns: whether a local endpoint takes part."""
        return name in self._locals

    @property
    def locals(self) -> Sequence[Local]:
        """:returns: the endpoints that take part."""
        return list(self._locals.values())

    @property
    def has_relay(self) -> bool:
        """:returns: whether one of them has a relayed address."""
        return any(local.relayed for local in self._locals.values())

    # Which pairs are tried.

    def _enlist(self, now: float, locals: Iterable[Local], candidates: Iterable[Candidate]) -> None:
        """Have probes sent on the pairs of some endpoints and candidates."""
        if self._round is None:
            return
        start = max(now, self._start)
        for local in locals:
            if local.name in self._listening:
                continue
            hosts: set[str] = set()
            for candidate in candidates:
                if self._round.fits(local, candidate, hosts):
                    pair = self.checks.add(local, candidate.address, candidate.kind)
                    if not pair.valid:
                        self._schedule.add(pair, start, self._round.openers_for(pair))

    def _listen(self, local: Local) -> None:
        """Have a socket with a port mapping wait for the first probe."""
        if self._round is None:
            return
        both = any(candidate.kind is CandidateKind.MAPPED for candidate in self._round.candidates)
        if local.mapped is not None and not local.relayed and not (both and self.controlling):
            self._listening[local.name] = self._start + LISTEN_TIME

    def _begin_birthday(self, round: Round, actions: list[Action]) -> None:
        """Begin birthday probing, in the part that the mappings give this side."""
        theirs = [each.address for each in round.candidates if each.kind is CandidateKind.SERVER_REFLEXIVE]
        if not theirs:
            return
        if round.peer_mapping is NatMapping.ENDPOINT_DEPENDENT:
            hosts = [host for host, _ in theirs]
            self._birthday = birthday.Easy(self.checks, self._random, round.locals, hosts, self._start)
        else:
            self._birthday = birthday.Hard(self.checks, theirs[0], self._start)
            actions.append(OpenSockets(birthday.SOCKETS))

    # What is heard, and which pair is chosen.

    def _note_path(self, message: Probe | Data) -> None:
        """Learn which path the other side goes on with, and name it too if this side has it."""
        if isinstance(message, Probe) and message.path != NEW_PATH:
            if not self.controlling and message.path in self._known:
                self.checks.path = message.path
            if message.path == self.checks.path:
                self._path = message.path

    def _progress(
        self, now: float, pair: Pair, acknowledged: bool, message: Probe | Data, actions: list[Action]
    ) -> None:
        """Go on after the peer was heard on a pair."""
        if pair.valid:
            self._schedule.remove(pair)
            if self._birthday is not None and pair.tier is not Tier.RELAYED:
                self._end_birthday(actions)
        else:
            # A pair that is new may have taken the place of another one.
            self._schedule.retain(self.checks.pairs)
            self._schedule.hasten(pair, now)
        if self.connected is None:
            if self._selection.heard(now, pair, message if isinstance(message, Probe) else None, acknowledged):
                self._connect(pair, actions)
            else:
                self._selection.tick(now, self._trying(), actions)

    def _is_direct(self) -> bool:
        """:returns: whether there is a direct path, or one could be chosen."""
        pairs = self.checks.pairs.values() if self.connected is not None else ()
        return any(pair.valid and pair.tier is not Tier.RELAYED for pair in pairs)

    def _end_birthday(self, actions: list[Action]) -> None:
        """End birthday probing, and release the sockets that nothing has come to."""
        self._birthday = None
        used = {pair.local.name for pair in self.checks.pairs.values() if pair.heard is not None}
        unused = tuple(local for local in self._locals.values() if local.birthday and local.name not in used)
        if unused:
            self.remove_locals(unused)
            actions.append(Release(unused))

    def _trying(self) -> list[Tier]:
        """:returns: the tiers of the pairs that are being tried."""
        return [pair.tier for pair in self._schedule.pairs()] + ([Tier.MAPPED] if self._listening else [])

    def _connect(self, pair: Pair, actions: list[Action]) -> None:
        """Both sides have agreed on a pair: from now on only better ones are tried, and relays as the reserve."""
        self.connected = pair
        for other in self._schedule.pairs():
            if pair.tier <= other.tier < Tier.RELAYED:
                self._schedule.remove(other)
        actions.append(Connected(pair.local, pair.address, pair.via, pair.rtt or 0.0, self._path))

    def _end_round(self, now: float, actions: list[Action]) -> None:
        """End a round that has brought no direct path, unless the peer is being heard."""
        if self._round is None:
            return
        self._end_birthday(actions)
        if self._is_direct():
            self._round = None
            return
        # If the other side was heard, it may have connected already, and this side only lacks an acknowledgement.
        longest = self._start + max(LONGEST_ROUND, self._round.time)
        if self._is_heard and self.connected is None and now < longest:
            self._ends = longest
            return
        ended, self._round = self._round, None
        if ended.number < MAX_ROUNDS and ended.strategy is not Strategy.RELAY:
            actions.append(NextRound(ended.number + 1))
        elif self.connected is None:
            relay = self.has_relay or any(candidate.kind is CandidateKind.RELAYED for candidate in self._candidates)
            actions.append(no_path(ended.mapping, ended.peer_mapping, heard=self._heard, relay=relay))
