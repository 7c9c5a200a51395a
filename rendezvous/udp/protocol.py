"""The UDP side of the shell: one protocol that tells the dialects apart, asks the store, and replies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import attrs

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from rendezvous.core.presence import PulseCode
from rendezvous.core.protocols import Protocol
from rendezvous.core.ratelimit import RateLimit
from rendezvous.core.tracker import Failed, Replies, Reply, Source
from rendezvous.eager import eager
from rendezvous.errors import RendezvousError, WireError
from rendezvous.interfaces import IStore
from rendezvous.wire import pulse, stun, tracker
from rendezvous.wire.demux import classify

__all__ = ["Datagrams", "RendezvousDatagrams"]

Address = tuple[str, int]

_ON_TIME = pulse.encode_reply(PulseCode.ON_TIME)


def _keep_nobody_alive(datagram: bytes, addr: Address, now: float) -> bool:
    return False


@attrs.frozen
class Datagrams:
    """
    What all UDP ports of a server share.

    :ivar limit: how many answers of STUN and of the tracker one source may cause; see ``security`` in the docs.
    :ivar protocols: the dialects that are on.
    :ivar dropped: what was dropped, counted by reason, for whoever reports it.
    :ivar ports: the protocols that are listening, by local port: a peer is told something where it came in.
    """

    store: IStore
    clock: IReactorTime
    limit: RateLimit
    protocols: frozenset[Protocol] = frozenset(Protocol)
    dropped: Counter[str] = attrs.field(factory=Counter)
    ports: dict[int, RendezvousDatagrams] = attrs.field(factory=dict)


class RendezvousDatagrams(DatagramProtocol):
    """
    Every dialect of one UDP port. Give it to ``listenUDP``, yours or the server's.

    Nothing that arrives here raises: what cannot be read is dropped and counted.

    :param shared: what all ports share.
    :param dialect: which of the tracker's dialects this port speaks.
    """

    noisy = False
    _log = Logger()
    _local_port = 0

    def __init__(self, shared: Datagrams, dialect: tracker.Dialect) -> None:
        self._shared = shared
        self._store = shared.store
        # Chosen once, so that being able to turn pulses off costs a pulse nothing.
        self._keep_alive = (
            shared.store.presence.keep_alive if Protocol.RENDEZVOUS in shared.protocols else _keep_nobody_alive
        )
        self._seconds = shared.clock.seconds
        self._dropped = shared.dropped
        self._dialect = dialect
        handlers = {
            Protocol.STUN: self._handle_stun,
            Protocol.TRACKER: self._handle_tracker,
            Protocol.RENDEZVOUS: self._handle_pulse,
        }
        self._handlers: dict[Protocol, Callable[[bytes, Address], None]] = {
            protocol: handle for protocol, handle in handlers.items() if protocol in shared.protocols
        }

    def startProtocol(self) -> None:
        """Be known by the port that this listens on."""
        transport: Any = self.transport
        self._local_port = transport.getHost().port
        self._shared.ports[self._local_port] = self

    def stopProtocol(self) -> None:
        """Be known no longer."""
        self._shared.ports.pop(self._local_port, None)

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """Answer at once the pulse of a client that is ONLINE where it is known to be; sort out all else."""
        try:
            if self._keep_alive(datagram, addr, self._seconds()):
                self._send(_ON_TIME, addr)
            else:
                self._sort(datagram, addr)
        except Exception:
            # The last resort: a fault of ours, which one datagram must not turn into the end of the port.
            self._log.failure("a datagram could not be handled")

    def _sort(self, datagram: bytes, addr: Address) -> None:
        protocol = Protocol.RENDEZVOUS if datagram in self._store.presence else classify(datagram)
        if protocol is None:
            self._dropped["unreadable"] += 1
        elif (handle := self._handlers.get(protocol)) is None:
            self._dropped["of a dialect that is off"] += 1
        else:
            handle(datagram, addr)

    # One for each dialect

    def _handle_pulse(self, datagram: bytes, addr: Address) -> None:
        self._run(self._pulse(pulse.decode(datagram), addr))

    async def _pulse(self, key: bytes, addr: Address) -> None:
        self._send(pulse.encode_reply(await self._store.pulse(key, addr, self._seconds())), addr)

    def _handle_stun(self, datagram: bytes, addr: Address) -> None:
        reply = stun.answer(datagram, addr)
        if reply is None:
            self._dropped["stun"] += 1
        elif self._is_allowed(addr):
            self._send(reply, addr)

    def _handle_tracker(self, datagram: bytes, addr: Address) -> None:
        source = (addr[0], addr[1], self._local_port)
        try:
            request = tracker.decode(datagram)
        except tracker.FieldError as e:
            if self._is_allowed(addr):
                self.send_reply(Failed(str(e)), addr)
        except WireError:
            self._dropped["tracker"] += 1
        else:
            if self._is_allowed(addr):
                self._run(self._track(request, source))

    async def _track(self, request: tracker.Request, source: Source) -> None:
        try:
            replies = await self._asked(request, source)
        except RendezvousError as e:
            replies = ((Failed(e.message), source),)
        for position, (reply, (host, port, local_port)) in enumerate(replies):
            own = self._shared.ports.get(local_port)
            if own is not None:
                # The first is the answer to the request, which has paid for it.
                own.send_reply(reply, (host, port), paid=position == 0)

    async def _asked(self, request: tracker.Request, source: Source) -> Replies:
        now = self._seconds()
        match request:
            case tracker.Announce():
                return await self._store.announce(source, now)
            case tracker.Alive():
                return await self._store.alive(source, now)
            case tracker.Push(share_id):
                return await self._store.push(source, now, share_id)
            case tracker.PulseRequest():
                return await self._store.tracker_pulse(
                    source,
                    now,
                    override=request.override,
                    ip=request.ip,
                    port=request.port,
                    multiaddr=request.multiaddr,
                    renew_share_id=request.renew_share_id,
                )

    # What they have in common

    def send_reply(self, reply: Reply, addr: Address, *, paid: bool = True) -> None:
        """
        Send a reply of the tracker in this port's dialect, if that has words for it.

        :param paid: whether a request was let through for it; otherwise it costs its receiver an answer.
        """
        datagram = tracker.encode(reply, self._dialect)
        if datagram is not None and (paid or self._is_allowed(addr)):
            self._send(datagram, addr)

    def _is_allowed(self, addr: Address) -> bool:
        allowed = self._shared.limit.allow(addr[0], self._seconds())
        if not allowed:
            self._dropped["over the rate"] += 1
        return allowed

    def _run(self, verb: Coroutine[Any, Any, None]) -> None:
        try:
            waiting = eager(verb)
        except Exception:
            self._failed(Failure())
        else:
            if waiting is not None:
                waiting.addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        # Silence is the honest answer: the client asks again, and the store may be back by then.
        if failure.check(RendezvousError):
            self._dropped["while the store was away"] += 1
        else:
            self._log.failure("a datagram could not be handled", failure)

    def _send(self, datagram: bytes, addr: Address) -> None:
        transport = self.transport
        if transport is None:
            return  # The port was closed while the store was still at it.
        try:
            transport.write(datagram, addr)
        except OSError:
            self._dropped["unsendable"] += 1
