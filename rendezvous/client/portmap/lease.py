"""
One port mapping: when to ask a gateway for it, to renew it, and to remove it.

This module decides only. It knows neither a socket nor a clock: :mod:`rendezvous.client.portmap` gives it the
time and the replies, and sends what it says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from ipaddress import ip_address
from itertools import repeat
from math import inf

from attrs import frozen

from rendezvous.wire.portmap import (
    AddressReply,
    MapReply,
    Protocol,
    Refusal,
    Reply,
    encode_address_request,
    encode_natpmp_map,
    encode_pcp_map,
)

__all__ = ["LIFETIME", "Epoch", "External", "Lease", "Removal", "is_public"]

LIFETIME = 7200
"""Seconds that a mapping is asked for."""
MAX_LIFETIME = 86400
"""Seconds after which a mapping is renewed at the latest, twice over (RFC 6887, section 15)."""
MIN_RENEWAL = 4.0
"""Seconds between two renewals at least (RFC 6887, section 11.2.1)."""
HEAD_START = 0.05
"""Seconds that PCP has after NAT-PMP has answered, so that a gateway that knows both makes one mapping."""
PAUSE = 300.0
"""Seconds until a gateway that has refused is asked again, unless it gives a longer time."""
RESTORE_TIME = 10.0
"""Seconds after which a mapping counts as lost if a gateway has restarted and does not renew it."""


def is_public(host: str) -> bool:
    """:returns: whether an address is one of the Internet, and not of a NAT behind another one."""
    return ip_address(host).is_global


@frozen
class External:
    """
    Where a mapping is reached.

    :ivar host: the external address of the gateway, or of an IPv6 pinhole that of this host.
    """

    host: str
    port: int
    protocol: Protocol


class Epoch:
    """
    The epoch of a gateway, which shows that it has restarted and has lost its mappings.

    The rule is that of RFC 6887, section 8.5. It is also used for NAT-PMP, whose own rule (RFC 6886, section 3.6)
    differs in that it does not notice an epoch that runs too fast.
    """

    def __init__(self) -> None:
        self._last: tuple[int, float] | None = None

    def is_continued(self, epoch: int, now: float) -> bool:
        """
        Take the epoch of a reply.

        :param epoch: seconds.
        :returns: whether the gateway still has its mappings, as far as the epochs tell.
        """
        last, self._last = self._last, (epoch, now)
        if last is None:
            return True
        server, client = epoch - last[0], now - last[1]
        return server >= -1 and client + 2 >= server - server / 16 and server + 2 >= client - client / 16


class _Exchange:
    """
    A request that is repeated until it is answered.

    :param gaps: seconds after each sending; after the last one the exchange is over.
    """

    def __init__(self, request: bytes, gaps: Iterable[float], start: float) -> None:
        self.request = request
        self.next = start
        self._gaps: Iterator[float] = iter(gaps)

    def due(self, now: float) -> bytes | None:
        """:returns: what is to be sent now. The exchange is over when ``next`` is infinite."""
        if now < self.next:
            return None
        gap = next(self._gaps, None)
        self.next = inf if gap is None else now + gap
        return None if gap is None else self.request


def _natpmp_gaps() -> Iterator[float]:
    """Nine sendings, the first gap 250 ms, doubled each time (RFC 6886, section 3.1)."""
    return (0.25 * 2**number for number in range(9))


def _pcp_gaps(draw: Callable[[], float]) -> Iterator[float]:
    """The first gap 3 s, doubled each time up to 1024 s, each with a random tenth (RFC 6887, section 8.1.1)."""
    gap = 3.0
    for _ in repeat(None):
        gap = (1 + draw()) * gap
        yield gap
        gap = min(2 * gap, 1024.0)


class Removal:
    """
    A mapping that is to be removed.

    :param request: the datagram.
    :param is_held: whether the gateway is known to have the mapping. Then the request is repeated for a second, until
        it is answered; otherwise it is sent once.
    """

    def __init__(self, request: bytes, protocol: Protocol, local_port: int, *, is_held: bool, now: float) -> None:
        self.local_port = local_port
        self.protocol = protocol
        self._exchange = _Exchange(request, (0.25, 0.5, 0.25) if is_held else (0.0,), now)

    @property
    def wake(self) -> float:
        """:returns: as of :class:`Lease`; infinite when there is nothing more to do."""
        return self._exchange.next

    def due(self, now: float) -> list[bytes]:
        """:returns: as of :class:`Lease`."""
        request = self._exchange.due(now)
        return [] if request is None else [request]

    def received(self, reply: Reply) -> None:
        """Take a reply. The gateway's answer, also a refusal, ends the removal."""
        match reply:
            case MapReply(lifetime=0):
                is_answer = reply.protocol is self.protocol and reply.internal_port == self.local_port
            case Refusal(about_map=True):
                is_answer = reply.protocol is self.protocol
            case _:
                is_answer = False
        if is_answer:
            self._exchange.next = inf


class _Step(Enum):
    """A question to the gateway."""

    PCP_MAP = 1
    NATPMP_ADDRESS = 2
    NATPMP_MAP = 3


_MAP_STEP = {Protocol.PCP: _Step.PCP_MAP, Protocol.NAT_PMP: _Step.NATPMP_MAP}


class Lease:
    """
    One mapping for a UDP port of this host.

    :param client: the address of this host from which the gateway is asked. IPv6 asks PCP alone, for a pinhole.
    :param nonce: 12 random bytes for PCP, the same ones for all mappings of one router.
    :param draw: draws a random number between -0.1 and 0.1.
    :ivar external: where the mapping is reached, or ``None`` while there is none.
    :ivar is_settled: whether the gateway has granted or refused the mapping at least once.
    """

    def __init__(self, local_port: int, client: str, nonce: bytes, now: float, *, draw: Callable[[], float]) -> None:
        self.local_port = local_port
        self.external: External | None = None
        self.is_settled = False
        self._client = client
        self._nonce = nonce
        self._draw = draw
        self._suggested: tuple[str | None, int] = (None, local_port)
        self._address: str | None = None
        self._asked: set[Protocol] = set()
        self._exchanges: dict[_Step, _Exchange] = {}
        self._renew_at = self._expires = self._retry_at = inf
        self._acquire(now)

    @property
    def wake(self) -> float:
        """:returns: the time at which :meth:`due` is to be called next."""
        return min(
            self._renew_at, self._expires, self._retry_at, *(exchange.next for exchange in self._exchanges.values())
        )

    def due(self, now: float) -> list[bytes]:
        """:returns: the datagrams that are to be sent to the gateway now."""
        if now >= self._expires or now >= self._retry_at:
            self._acquire(now)
        elif now >= self._renew_at:
            self._renew(now)
        datagrams = []
        for step, exchange in list(self._exchanges.items()):
            request = exchange.due(now)
            if request is not None:
                datagrams.append(request)
                self._asked |= {protocol for protocol, asked in _MAP_STEP.items() if asked is step}
            elif exchange.next == inf:
                self._unanswered(step, now)
        return datagrams

    def received(self, reply: Reply, now: float) -> list[Removal]:
        """
        Take a reply of the gateway. One that belongs to something else changes nothing.

        :returns: mappings that this reply has made and that are of no use.
        """
        match reply:
            case AddressReply():
                self._has_address(reply.address, now)
            case MapReply() if reply.internal_port == self.local_port and reply.nonce in (b"", self._nonce):
                return self._mapped(reply, now)
            case Refusal() if reply.nonce in (b"", self._nonce):
                self._refused(reply, now)
        return []

    def restore(self, now: float) -> None:
        """Ask for the mapping again, with the address and the port that it had, because the gateway has restarted."""
        self._renew(now)
        self._expires = min(self._expires, now + RESTORE_TIME)

    def release(self, now: float) -> list[Removal]:
        """:returns: what removes the mapping, or what has been asked for. The lease is of no use afterwards."""
        if self.external is not None:
            return [self._removal(self.external.protocol, now, is_held=True)]
        return [self._removal(protocol, now, is_held=False) for protocol in self._asked]

    def _acquire(self, now: float) -> None:
        """Begin from the start: PCP, and at the same time NAT-PMP, which first needs the external address."""
        self._forget()
        self._ask(_Step.PCP_MAP, now)
        if ":" not in self._client:
            self._ask(_Step.NATPMP_ADDRESS, now)

    def _forget(self) -> None:
        self.external = None
        self._exchanges.clear()
        self._renew_at = self._expires = self._retry_at = inf

    def _renew(self, now: float) -> None:
        self._renew_at = inf
        if self.external is not None:
            self._ask(_MAP_STEP[self.external.protocol], now)

    def _ask(self, step: _Step, start: float) -> None:
        if step is _Step.NATPMP_ADDRESS:
            self._exchanges[step] = _Exchange(encode_address_request(), _natpmp_gaps(), start)
        elif step is _Step.NATPMP_MAP:
            self._exchanges[step] = _Exchange(self._request(Protocol.NAT_PMP), _natpmp_gaps(), start)
        else:
            self._exchanges[step] = _Exchange(self._request(Protocol.PCP), _pcp_gaps(self._draw), start)

    def _request(self, protocol: Protocol, lifetime: int = LIFETIME) -> bytes:
        if protocol is Protocol.PCP:
            return encode_pcp_map(self._client, self._nonce, self.local_port, self._suggested, lifetime)
        return encode_natpmp_map(self.local_port, self._suggested[1] if lifetime else 0, lifetime)

    def _removal(self, protocol: Protocol, now: float, *, is_held: bool) -> Removal:
        return Removal(self._request(protocol, 0), protocol, self.local_port, is_held=is_held, now=now)

    def _unanswered(self, step: _Step, now: float) -> None:
        """End an exchange without an answer. A renewal is tried again after half of the time that is left."""
        if self.external is not None:
            del self._exchanges[step]
            self._renew_at = now + max(MIN_RENEWAL, (self._expires - now) / 2)
        else:
            self._end(step, now)

    def _end(self, step: _Step, now: float, pause: float = PAUSE) -> None:
        """End an exchange without success. When no other one is left, there is no mapping until after a pause."""
        self._exchanges.pop(step, None)
        if step is _Step.PCP_MAP and _Step.NATPMP_MAP in self._exchanges:
            following = self._exchanges[_Step.NATPMP_MAP]
            following.next = min(following.next, now)
        if not self._exchanges:
            self._forget()
            self.is_settled = True
            self._retry_at = now + min(max(pause, PAUSE), MAX_LIFETIME)

    def _has_address(self, address: str, now: float) -> None:
        """Take the external address of a NAT-PMP gateway: asked for, or of a gateway whose address may have changed."""
        held = self.external
        if held is not None and held.protocol is Protocol.NAT_PMP and held.host != address:
            self._address = address
            if is_public(address):
                self.external = External(address, held.port, held.protocol)
            else:
                self._exchanges.clear()
                self._end(_Step.NATPMP_MAP, now)
        elif _Step.NATPMP_ADDRESS in self._exchanges:
            if is_public(address):
                self._address = address
                self._ask(_Step.NATPMP_MAP, now + HEAD_START if _Step.PCP_MAP in self._exchanges else now)
            self._end(_Step.NATPMP_ADDRESS, now)

    def _mapped(self, reply: MapReply, now: float) -> list[Removal]:
        host = reply.address or self._address
        if reply.lifetime == 0 or host is None:
            return []
        if self.external is not None and self.external.protocol is not reply.protocol:
            return [self._removal(reply.protocol, now, is_held=True)]  # The other protocol was faster.
        if not is_public(host):
            self._end(_MAP_STEP[reply.protocol], now)
            return [self._removal(reply.protocol, now, is_held=True)]
        self._forget()
        self.is_settled = True
        self.external = External(host, reply.external_port, reply.protocol)
        self._suggested = (host, reply.external_port)
        lifetime = min(reply.lifetime, MAX_LIFETIME)
        self._expires = now + lifetime
        self._renew_at = now + max(MIN_RENEWAL, lifetime / 2)
        return []

    def _refused(self, reply: Refusal, now: float) -> None:
        step = _MAP_STEP[reply.protocol] if reply.about_map else _Step.NATPMP_ADDRESS
        if step is _Step.NATPMP_MAP and Protocol.NAT_PMP not in self._asked:
            # NAT-PMP's refusal of another version (RFC 6886, section 3.5): our request of PCP.
            step = _Step.PCP_MAP
        if step in self._exchanges:
            self._asked.discard(Protocol.PCP if step is _Step.PCP_MAP else Protocol.NAT_PMP)
            self._end(step, now, reply.lifetime)
