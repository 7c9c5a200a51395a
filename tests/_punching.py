"""Two punchers in the simulated network, and what the server does for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random

import attrs

from rendezvous.core.connect import Candidate, CandidateKind, NatMapping, Strategy
from rendezvous.core.punching.actions import (
    Action,
    Connected,
    Deliver,
    Failed,
    NextRound,
    OpenSockets,
    Release,
    Send,
)  # fmt: skip
from rendezvous.core.punching.pairs import Local
from rendezvous.core.punching.path import Path
from rendezvous.core.punching.probes import NEW_PATH
from rendezvous.core.punching.puncher import Puncher
from rendezvous.core.punching.rounds import Round
from rendezvous.testing.network import Address, Link, Socket
from rendezvous.wire.probe import PairCodec
from tests._simulated import SERVER_PORTS, Site, World

SIGNALING = 0.06
"""Seconds from the last observation until both sides know of it."""


class Relay:
    """
    A TURN server with one allocation for each side that asks: it lets in only hosts to which the side has sent.

    :ivar working: whether it carries anything.
    :ivar delay: seconds from the side to its relay.
    """

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self._socket = world.network.host(f"203.0.113.{10 + number}", world.link()).bind(0, self._arrived)
        self._permitted: set[str] = set()
        self.working = True
        self.delay = world.one_way
        self.on_datagram: Callable[[bytes, Address], None] | None = None

    @property
    def address(self) -> Address:
        """:returns: the relayed address."""
        return self._socket.address

    def send(self, datagram: bytes, address: Address) -> None:
        """Send through the relay: it is one way farther off."""
        self._permitted.add(address[0])
        if self.working:
            self._world.network.clock.callLater(self.delay, self._socket.send, datagram, address)

    def _arrived(self, datagram: bytes, source: Address) -> None:
        if self.working and source[0] in self._permitted and self.on_datagram is not None:
            self._world.network.clock.callLater(self.delay, self.on_datagram, datagram, source)


class End:
    """
    One side: its sockets, its puncher and its path.

    :ivar happened: everything but what was sent and delivered, with its time.
    :ivar delivered: payloads.
    :ivar count: payloads that a test has sent.
    :ivar extra: candidates that the server passes on beside those that it would.
    """

    def __init__(self, world: World, site: Site, relay: Relay | None = None, name: str = "") -> None:
        self.world, self.site, self.relay, self.name = world, site, relay, name
        self.random = Random(world.random.random())
        self.sockets: dict[str, Socket] = {}
        self.locals: dict[str, Local] = {}
        self.observed: dict[str, dict[int, Address]] = {}
        self.puncher: Puncher | None = None
        self.path: Path | None = None
        self.happened: list[tuple[float, Action]] = []
        self.delivered: list[bytes] = []
        self.sent: list[tuple[float, Send]] = []
        self.opened = 0
        self.count = 0
        self.extra: list[Candidate] = []
        self.mapped_port = 0
        self.ready_for = 1
        self.on_next_round: Callable[[], None] = lambda: None
        if relay is not None:
            self.locals["relay"] = Local("relay", relayed=True)
            relay.on_datagram = lambda datagram, source: self.arrived("relay", datagram, source)

    # Sockets.

    def open(self) -> None:
        """Open a socket for each family that the host has, and close those of the round before."""
        for name in list(self.sockets):
            self.observed.pop(name, None)
            if self.path is None or self.path.local.name != name:
                self.close(name)
        for ipv6 in self.site.host.addresses:
            self.opened += 1
            name = f"{'ipv6' if ipv6 else 'ipv4'}-{self.opened}"
            socket = self.sockets[name] = self.site.host.bind(0, partial(self.arrived, name), ipv6)
            mapped = None
            if self.mapped_port and self.site.router is not None and not ipv6:
                mapped = self.site.router.forward_port(self.mapped_port, socket.address)
            self.locals[name] = Local(name, ipv6=ipv6, mapped=mapped)
            self.observed[name] = {}
            self.world.observe(socket, self.observed[name].__setitem__)

    def fresh(self) -> list[Local]:
        """:returns: the endpoints of the next round: the sockets that it has opened, and the relay."""
        return [local for name, local in self.locals.items() if name in self.observed or local.relayed]

    def close(self, name: str) -> None:
        """Close a socket."""
        if name in self.sockets:
            self.sockets.pop(name).close()
            self.locals.pop(name)
            self.observed.pop(name, None)

    def is_observed(self) -> bool:
        """:returns: whether the server has seen each socket on both ports."""
        return all(len(each) == len(SERVER_PORTS) for each in self.observed.values())

    def mapping(self) -> NatMapping:
        """:returns: what the server says of the NAT."""
        for name, seen in self.observed.items():
            if self.locals[name].ipv6:
                continue
            if not seen:
                return NatMapping.BLOCKED
            if len(seen) == 1:
                return NatMapping.UNKNOWN
            first, second = seen[0], seen[1]
            if first == second:
                return NatMapping.NONE if first == self.sockets[name].address else NatMapping.ENDPOINT_INDEPENDENT
            near = first[0] == second[0] and 1 <= abs(first[1] - second[1]) <= 8
            return NatMapping.SEQUENTIAL if near else NatMapping.ENDPOINT_DEPENDENT
        return NatMapping.UNKNOWN

    def candidates(self, beside: bool) -> list[Candidate]:
        """
        :param beside: whether both sides were seen at one public address.
        :returns: what the server passes on to the other side.
        """
        found = [
            Candidate(CandidateKind.HOST, socket.address)
            for socket in self.sockets.values()
            if beside and not socket.ipv6
        ]
        found = [*self.extra, *found]
        for name, seen in self.observed.items():
            found += [Candidate(CandidateKind.SERVER_REFLEXIVE, address) for address in dict.fromkeys(seen.values())]
            mapped = self.locals[name].mapped
            if mapped is not None:
                found.append(Candidate(CandidateKind.MAPPED, mapped))
        if self.mapping() is NatMapping.SEQUENTIAL:
            [seen] = [seen for name, seen in self.observed.items() if not self.locals[name].ipv6]
            host, last = max(seen.values(), key=lambda address: address[1])
            found += [Candidate(CandidateKind.PREDICTED, (host, last + n)) for n in range(1, 9)]
        if self.relay is not None:
            found.append(Candidate(CandidateKind.RELAYED, self.relay.address))
        return found

    # The puncher and the path.

    def arrived(self, name: str, datagram: bytes, source: Address) -> None:
        """Take a datagram."""
        local = self.locals.get(name)
        target = self.path or self.puncher
        if local is not None and target is not None:
            self.do(target.receive(self.world.now, local, datagram, source))
            if self.puncher is not None and self.path is not None and self.puncher.connected is None:
                self.do(self.puncher.receive(self.world.now, local, datagram, source))

    def begin(self, round: Round) -> None:
        """Begin a round."""
        assert self.puncher is not None
        self.do(self.puncher.begin(self.world.now, round))

    def send(self, payload: bytes) -> None:
        """Send a payload on the path."""
        assert self.path is not None
        self.do(self.path.send(self.world.now, payload))

    def do(self, actions: Sequence[Action]) -> None:
        """Carry out actions, and wait for the time of the next ones."""
        for action in actions:
            self._do_one(action)
        self._wake()

    def _do_one(self, action: Action) -> None:
        match action:
            case Send(local, address, datagram, ttl):
                self.sent.append((self.world.now, action))
                if local.relayed:
                    assert self.relay is not None
                    assert ttl is None
                    self.relay.send(datagram, address)
                elif local.name in self.sockets:
                    self.sockets[local.name].send(datagram, address, ttl)
            case Deliver(payload):
                self.delivered.append(payload)
            case _:
                self.happened.append((self.world.now, action))
                self._react(action)

    def _react(self, action: Action) -> None:
        match action:
            case Connected(path=path):
                assert self.puncher is not None
                if self.path is not None and path == self.path.name:
                    self.do(self.path.join(self.world.now, self.puncher))
                else:
                    self.path = Path(self.puncher, self.random)
                    self.do(self.path.start(self.world.now))
            case NextRound(number):
                self.ready_for = number
                self.on_next_round()
            case OpenSockets(count):
                new = []
                for _ in range(count):
                    self.opened += 1
                    name = f"birthday-{self.opened}"
                    self.sockets[name] = self.site.host.bind(0, partial(self.arrived, name))
                    self.locals[name] = Local(name, birthday=True)
                    new.append(self.locals[name])
                assert self.puncher is not None
                self.puncher.add_locals(self.world.now, new)
            case Release(locals):
                for local in locals:
                    self.close(local.name)

    def _wake(self) -> None:
        for target in (self.puncher, self.path):
            due = None if target is None else target.due()
            if due is not None:
                self._call(due)

    def _call(self, due: float) -> None:
        self.world.network.clock.callLater(max(due - self.world.now, 0.0), self._tick, due)

    def _tick(self, due: float) -> None:
        actions: list[Action] = []
        woken = False
        for target in (self.path, self.puncher):
            if target is None or (target is self.puncher and self.path is not None and target.connected is not None):
                continue
            wanted = target.due()
            if wanted is not None and wanted <= self.world.now + 1e-9:
                woken = True
                actions += target.tick(self.world.now + 1e-9)
        if woken:
            self.do(actions)

    def first(self, kind: type[Action]) -> tuple[float, Action] | None:
        """:returns: the first thing of a kind that happened, and when."""
        return next((each for each in self.happened if isinstance(each[1], kind)), None)

    def all(self, kind: type[Action]) -> list[Action]:
        """:returns: what happened of a kind."""
        return [action for _, action in self.happened if isinstance(action, kind)]


@attrs.define(eq=False)
class Attempt:
    """
    What the server does for one attempt.

    :ivar skew: seconds that the second side begins later than it should.
    :ivar forced: the strategy of the second round and of the next ones.
    """

    world: World
    ends: Sequence[End]
    number: int = 1
    skew: float = 0.0
    birthday: bool = False
    round: int = 0
    known: bool = False
    stopped: bool = False

    def begin(self) -> None:
        """Have both sides open sockets, observe them and begin."""
        first, second = self.ends
        attempt, key = bytes([self.number]) * 8, bytes([self.number]) * 32
        for end, controlling in ((first, True), (second, False)):
            path = end.path.name if end.path is not None and controlling else NEW_PATH
            known = [end.path.name] if end.path is not None and not controlling else []
            end.puncher = Puncher(
                PairCodec(key, attempt, controlling), end.random, attempt=attempt, controlling=controlling, path=path,
                known=known,
            )  # fmt: skip
            end.ready_for = 1
            end.on_next_round = self._next
        self._next()

    def _next(self) -> None:
        if not self.stopped and all(end.ready_for > self.round for end in self.ends):
            self.round += 1
            for end in self.ends:
                end.open()
            self._wait(0.0)

    def _wait(self, waited: float) -> None:
        """Begin the round once both sides are observed, or after 600 ms; after 2 s if one was not seen at all."""
        limit = 0.6 if all(any(end.observed.values()) for end in self.ends) else 2.0
        if waited < limit and not all(end.is_observed() for end in self.ends):
            self.world.network.clock.callLater(0.01, self._wait, waited + 0.01)
            return
        for index, end in enumerate(self.ends):
            delay = SIGNALING + (self.skew if index else 0.0)
            self.world.network.clock.callLater(delay, self._go, end, self.ends[1 - index])

    def _go(self, end: End, other: End) -> None:
        hosts = [{seen[0] for each in side.observed.values() for seen in each.values()} for side in self.ends]
        beside = any(":" not in host for host in hosts[0] & hosts[1])
        strategy = Strategy.DIRECT
        dependent = {NatMapping.ENDPOINT_DEPENDENT, NatMapping.SEQUENTIAL}
        mappings = [each.mapping() for each in self.ends]
        mapped = any(each.mapped_port for each in self.ends)
        if not mapped and not beside and (set(mappings) <= dependent or NatMapping.BLOCKED in mappings):
            strategy = Strategy.RELAY
        elif self.birthday and self.round > 1 and NatMapping.ENDPOINT_DEPENDENT in mappings:
            strategy = Strategy.BIRTHDAY
        end.begin(
            Round(
                self.round, 0.01, other.candidates(beside), end.fresh(), strategy, end.mapping(),
                other.mapping(),
            )
        )  # fmt: skip


def meet(
    first: str,
    second: str,
    *,
    seed: int = 0,
    skew: float = 0.0,
    relays: int = 0,
    birthday: bool = False,
    mapped: Sequence[int] = (),
    mapped_port: int = 50000,
    hops: int = 1,
    one_way: float = 0.02,
    link: Callable[[World], Link] | None = None,
    prepare: Callable[[World], None] = lambda world: None,
) -> tuple[World, End, End]:
    """
    Have two sites of two kinds connect, for 60 s at most.

    :param relays: how many of the two sides have a relay.
    :param mapped: which of the two sides have a port mapping, and ``mapped_port`` its port.
    :returns: the world and both sides, when both have connected or one has failed.
    """
    world = World(seed, one_way, hops)
    prepare(world)
    ends = []
    for index, kind in enumerate((first, second)):
        site = world.site(kind, None if link is None else link(world))
        end = End(world, site, Relay(world, index) if index < relays else None, "AB"[index])
        end.mapped_port = mapped_port if index in mapped else 0
        ends.append(end)
    world.network.run(0.5)
    Attempt(world, ends, skew=skew, birthday=birthday).begin()
    world.network.run(60, lambda: is_over(*ends))
    return world, ends[0], ends[1]


def is_over(*ends: End) -> bool:
    """:returns: whether all sides have connected, or one has failed."""
    return all(end.path is not None for end in ends) or any(end.first(Failed) is not None for end in ends)
