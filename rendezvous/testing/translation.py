"""
How NATs translate, in the words of RFC 4787.

A translation is a *table*: :class:`Mappings` follows the words of the standard, and :class:`Conntrack` does what a
Linux router does with ``masquerade``. The names in capitals are NATs as they are found.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from random import Random
from typing import Protocol

import attrs

from rendezvous.testing.network import Address

__all__ = [
    "ADDRESS_DEPENDENT", "ADDRESS_RESTRICTED", "EIM_RANDOM", "FULL_CONE", "LINUX_NAIVE", "PORT_BLOCK",
    "PORT_RESTRICTED", "SEQUENTIAL", "SYMMETRIC", "SYMMETRIC_EIF", "TIMEOUT", "Behaviour", "Conntrack", "Dependence",
    "Mappings", "Masquerade", "Ports", "Table",
]  # fmt: skip

TIMEOUT = 30.0
"""Seconds without an outgoing packet after which a mapping ends. RFC 4787 asks for 120; many routers have 30."""


class Dependence(Enum):
    """On what a mapping, or what it lets in, depends (RFC 4787, sections 4.1 and 5)."""

    ENDPOINT_INDEPENDENT = 0
    ADDRESS_DEPENDENT = 1
    ADDRESS_AND_PORT_DEPENDENT = 2

    def of(self, remote: Address) -> tuple[str | int, ...]:
        """:returns: the part of a remote address that counts."""
        return remote[: self.value]


class Ports(Enum):
    """How a NAT chooses an external port (RFC 4787, section 4.2)."""

    PRESERVED = "preserved"
    RANDOM = "random"
    SEQUENTIAL = "sequential"


class Table(Protocol):
    """The translations of one NAT."""

    def outbound(self, now: float, internal: Address, remote: Address) -> int:
        """:returns: the external port of a packet that goes out."""

    def known(self, now: float, internal: Address, remote: Address) -> int | None:
        """:returns: the same, if there is a mapping already."""

    def inbound(self, now: float, port: int, remote: Address) -> Address | None:
        """:returns: the internal address that a packet is for, or ``None`` if it is dropped."""


@attrs.frozen
class Behaviour:
    """
    A NAT in the words of RFC 4787.

    :ivar low: the lowest external port that is not preserved.
    :ivar high: the highest one.
    :ivar timeout: seconds without an outgoing packet after which a mapping ends.
    """

    mapping: Dependence = Dependence.ENDPOINT_INDEPENDENT
    filtering: Dependence = Dependence.ADDRESS_AND_PORT_DEPENDENT
    ports: Ports = Ports.PRESERVED
    low: int = 1024
    high: int = 65535
    timeout: float = TIMEOUT

    def table(self, random: Random) -> Table:
        """:returns: an empty table."""
        return Mappings(self, random)


@attrs.frozen
class Masquerade:
    """
    A Linux router with ``masquerade``.

    :ivar accepts_input: whether it lets packets to itself through, so that its connection tracking remembers them.
    :ivar timeout: seconds without a packet after which an entry ends.
    """

    accepts_input: bool = False
    timeout: float = TIMEOUT

    def table(self, random: Random) -> Table:
        """:returns: an empty table."""
        return Conntrack(self, random)


_ANY, _ADDRESS, _PORT = Dependence

FULL_CONE = Behaviour(filtering=_ANY)
ADDRESS_RESTRICTED = Behaviour(filtering=_ADDRESS)
PORT_RESTRICTED = Masquerade()
LINUX_NAIVE = Masquerade(accepts_input=True)
EIM_RANDOM = Behaviour(ports=Ports.RANDOM, low=20000, high=59999)
ADDRESS_DEPENDENT = Behaviour(_ADDRESS, _PORT, Ports.RANDOM)
SYMMETRIC = Behaviour(_PORT, _PORT, Ports.RANDOM)
SYMMETRIC_EIF = Behaviour(_PORT, _ANY, Ports.RANDOM)
SEQUENTIAL = Behaviour(_PORT, _PORT, Ports.SEQUENTIAL, low=40000, high=40999)
PORT_BLOCK = Behaviour(_PORT, _PORT, Ports.RANDOM, low=40000, high=40511)


@attrs.define(eq=False)
class _Mapping:
    """
    A mapping.

    :ivar contacted: to which parts of remote addresses a packet has gone, and when.
    """

    internal: Address
    port: int
    used: float
    contacted: dict[tuple[str | int, ...], float] = attrs.field(factory=dict)


class Mappings:
    """A table by the words of RFC 4787. Only outgoing packets keep a mapping alive (REQ-6)."""

    def __init__(self, behaviour: Behaviour, random: Random) -> None:
        self._behaviour, self._random = behaviour, random
        self._by_internal: dict[tuple[Address, tuple[str | int, ...]], _Mapping] = {}
        self._by_port: dict[int, _Mapping] = {}
        self._next = behaviour.low

    def outbound(self, now: float, internal: Address, remote: Address) -> int:
        """:returns: the port of the mapping, which is made if there is none."""
        mapping = self._find(now, internal, remote)
        if mapping is None:
            mapping = _Mapping(internal, self._choose(now, internal), now)
            self._by_internal[internal, self._behaviour.mapping.of(remote)] = self._by_port[mapping.port] = mapping
        mapping.used = mapping.contacted[self._behaviour.filtering.of(remote)] = now
        return mapping.port

    def known(self, now: float, internal: Address, remote: Address) -> int | None:
        """:returns: the port of the mapping, if there is one."""
        mapping = self._find(now, internal, remote)
        return None if mapping is None else mapping.port

    def _find(self, now: float, internal: Address, remote: Address) -> _Mapping | None:
        mapping = self._by_internal.get((internal, self._behaviour.mapping.of(remote)))
        return mapping if mapping is not None and self._is_alive(mapping, now) else None

    def inbound(self, now: float, port: int, remote: Address) -> Address | None:
        """:returns: where the packet goes, if the mapping is there and the filter lets it in."""
        mapping = self._by_port.get(port)
        if mapping is None or not self._is_alive(mapping, now):
            return None
        contacted = mapping.contacted.get(self._behaviour.filtering.of(remote))
        return None if contacted is None or now - contacted > self._behaviour.timeout else mapping.internal

    def _is_alive(self, mapping: _Mapping, now: float) -> bool:
        return now - mapping.used <= self._behaviour.timeout

    def _choose(self, now: float, internal: Address) -> int:
        """:returns: a free external port."""
        for port in self._wanted(internal):
            mapping = self._by_port.get(port)
            if mapping is None or not self._is_alive(mapping, now):
                return port
        raise AssertionError("the NAT has no port left")

    def _wanted(self, internal: Address) -> Iterator[int]:
        """Yield the ports to try, in order."""
        low, high = self._behaviour.low, self._behaviour.high
        if self._behaviour.ports is Ports.PRESERVED:
            yield internal[1]
        if self._behaviour.ports is Ports.SEQUENTIAL:
            for _ in range(low, high + 1):
                port, self._next = self._next, self._next + 1 if self._next < high else low
                yield port
        for _ in range(10 * (high - low + 1)):
            yield self._random.randint(low, high)


@attrs.define(eq=False)
class _Entry:
    """
    An entry of connection tracking.

    :ivar internal: ``None`` for a packet that was to the router itself.
    """

    internal: Address | None
    port: int
    remote: Address
    used: float


class Conntrack:
    """
    What Linux does with ``masquerade``, as measured on Linux 6.18.

    The port is preserved, and shared by all destinations. It is another one only if the port and the destination are
    taken together: by another host inside, or by a packet of the destination that came before and that the router took
    for its own. From then on each new destination sees the other port as well.
    """

    def __init__(self, behaviour: Masquerade, random: Random) -> None:
        self._behaviour, self._random = behaviour, random
        self._outgoing: dict[tuple[Address, Address], _Entry] = {}
        self._by_reply: dict[tuple[int, Address], _Entry] = {}
        self._latest: dict[Address, _Entry] = {}

    def outbound(self, now: float, internal: Address, remote: Address) -> int:
        """:returns: the port of the entry, which is made if there is none."""
        entry = self._alive(self._outgoing.get((internal, remote)), now)
        if entry is None:
            latest = self._alive(self._latest.get(internal), now)
            port = internal[1] if latest is None else latest.port
            while self._alive(self._by_reply.get((port, remote)), now) is not None:
                port = self._random.randint(1024, 65535)
            entry = _Entry(internal, port, remote, now)
            self._outgoing[internal, remote] = self._by_reply[port, remote] = self._latest[internal] = entry
        entry.used = now
        return entry.port

    def known(self, now: float, internal: Address, remote: Address) -> int | None:
        """:returns: the port of the entry, if there is one."""
        entry = self._alive(self._outgoing.get((internal, remote)), now)
        return None if entry is None else entry.port

    def inbound(self, now: float, port: int, remote: Address) -> Address | None:
        """:returns: where the packet goes, if it answers one that went out."""
        entry = self._alive(self._by_reply.get((port, remote)), now)
        if entry is None:
            if self._behaviour.accepts_input:
                self._by_reply[port, remote] = _Entry(None, port, remote, now)
            return None
        entry.used = now
        return entry.internal

    def _alive(self, entry: _Entry | None, now: float) -> _Entry | None:
        return None if entry is None or now - entry.used > self._behaviour.timeout else entry
