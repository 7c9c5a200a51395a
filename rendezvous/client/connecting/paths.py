"""A path to a peer: datagrams both ways, on whichever addresses work best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList

from rendezvous.client._callbacks import call_back
from rendezvous.client._latch import Latch
from rendezvous.client._timer import Timer
from rendezvous.client.connecting._attempt import RunningAttempt
from rendezvous.client.connecting._endpoints import Address, Endpoint
from rendezvous.client.connecting._host import Host
from rendezvous.core.connect import Via
from rendezvous.core.punching.actions import (
    Action,
    AttemptDue,
    Closed,
    Deliver,
    Failed,
    Lost,
    NextRound,
    OpenSockets,
    PathChanged,
    Release,
    Send,
)
from rendezvous.core.punching.path import Path as Core
from rendezvous.core.punching.probes import MAX_PAYLOAD

__all__ = ["MAX_EARLY", "MAX_PAYLOAD", "Path"]

MAX_EARLY = 64
"""Payloads that are kept until the application takes them."""

_SILENT: Final = "Nothing was heard from the peer for 30 s."
_FORGOTTEN: Final = "The peer was started anew and does not know this path any more."


def _ignore(*_: object) -> None:
    return None


class Path:
    """
    A path to one peer, made by :class:`~rendezvous.client.Connector`.

    It keeps itself alive and moves to other addresses when the network changes. Nothing is delivered twice, also while
    it moves. Datagrams may get lost, as with UDP. The peer is authenticated, and data is not encrypted: carry
    WireGuard, DTLS or the like on it where that matters.

    Set the callbacks when you get the path. An exception that one of them raises is logged.

    :ivar peer: the client id of the peer.
    :ivar ms: milliseconds from the call of ``connect()``, or from the invitation, to the path.
    :ivar on_path_changed: called with this path when it goes another way.
    :ivar on_lost: called with a sentence when nothing was heard from the peer for 30 s, or when the peer does not know
        the path any more because it was started anew. The path has ended then.
    :ivar on_closed: called without arguments when one side has closed the path.
    """

    def __init__(self, host: Host, attempt: RunningAttempt, core: Core, renew: Callable[[Path], None]) -> None:
        self._host = host
        self._core = core
        self._renew = renew
        self._attempts = [attempt]
        self._timer = Timer(host.reactor, self._tick)
        self._ended = Latch()
        self._released: Deferred[None] | None = None
        self.peer = attempt.peer_id
        self.ms = round(attempt.seconds * 1000)
        self._on_datagram: Callable[[bytes], object] | None = None
        self._early: list[bytes] = []
        self.on_path_changed: Callable[[Path], object] = _ignore
        self.on_lost: Callable[[str], object] = _ignore
        self.on_closed: Callable[[], object] = _ignore

    @property
    def on_datagram(self) -> Callable[[bytes], object] | None:
        """
        Called with each payload. Until it is set, the first :data:`MAX_EARLY` payloads are kept, and further ones are
        lost.
        """
        return self._on_datagram

    @on_datagram.setter
    def on_datagram(self, callback: Callable[[bytes], object] | None) -> None:
        self._on_datagram = callback
        early, self._early = self._early, []
        for payload in early:
            self._deliver(payload)

    @property
    def via(self) -> Via:
        """How it goes. The values are text: ``lan``, ``ipv6``, ``mapped``, ``direct``, ``birthday`` or ``relay``."""
        return self._core.via

    @property
    def address(self) -> Address:
        """The host and the port of the peer that it sends to, through the relay if this side uses one."""
        return self._core.address

    @property
    def round_trip(self) -> float:
        """The round trip, in seconds."""
        return self._core.rtt

    @property
    def name(self) -> bytes:
        """6 bytes, by which both sides know the path."""
        return self._core.name

    @property
    def ended(self) -> bool:
        """Whether it was lost or closed."""
        return self._core.ended

    def send(self, datagram: bytes) -> None:
        """
        Send a datagram. After the end of the path it is dropped.

        :param datagram: at most :data:`MAX_PAYLOAD` bytes, 1200.
        :raises ValueError: when it is longer.
        """
        self._act(self._core.send(self._host.now(), datagram))

    def close(self) -> Deferred[None]:
        """
        End the path. The peer learns it.

        :returns: fires when all sockets are closed.
        """
        self._act(self._core.close(self._host.now()))
        return self._ended.wait()

    def when_ended(self) -> Deferred[None]:
        """:returns: fires when the path was lost or closed, and all sockets are closed."""
        return self._ended.wait()

    # What the connector does.

    def start(self) -> None:
        """Begin, when the application has set its callbacks."""
        if not self._core.ended:
            self._adopt(self._attempts[0])
            self._act(self._core.start(self._host.now()))

    def join(self, attempt: RunningAttempt) -> None:
        """
        Go on with another attempt that has connected.

        :param attempt: the other one.
        """
        if attempt.puncher is None or self._core.ended:
            return
        older, self._attempts = self._attempts, [*self._attempts, attempt]
        for each in older:
            each.finish()
        self._adopt(attempt)
        self._act(self._core.join(self._host.now(), attempt.puncher))

    def forgotten(self) -> None:
        """End: the peer does not know the path any more."""
        self._act(self._core.forgotten())

    def _adopt(self, attempt: RunningAttempt) -> None:
        attempt.act = self._act
        attempt.on_relay_lost = self._relay_lost
        attempt.gathering.redirect(self._received)
        if attempt.puncher is not None and attempt.puncher.connected is not None:
            self._finish_rounds(attempt.puncher.connected.via)

    def _received(self, endpoint: Endpoint, datagram: bytes, source: Address) -> None:
        if not self._attempts[-1].is_servers(endpoint, datagram, source):
            self._act(self._core.receive(self._host.now(), endpoint.local, datagram, source))

    def _relay_lost(self) -> None:
        self._core.relay_lost(self._host.now())
        self._act([])

    def _tick(self) -> None:
        self._act(self._core.tick(self._host.now()))

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            self._do(action)
        if self._core.ended:
            self._release_all()
        else:
            self._timer.set(self._core.due())

    def _do(self, action: Action) -> None:
        match action:
            case Send(local, address, datagram, ttl):
                self._send(local.name, datagram, address, ttl)
            case NextRound(_) | OpenSockets(_) | Failed() | Release(_):
                self._go_on_trying(action)
            case _:
                self._report(action)

    def _report(self, action: Action) -> None:
        """Inform those who use the path."""
        match action:
            case Deliver(payload):
                self._deliver(payload)
            case PathChanged(via=via):
                self._finish_rounds(via)
                call_back(self.on_path_changed, self)
            case AttemptDue():
                self._renew(self)
            case Lost(forgotten):
                call_back(self.on_lost, _FORGOTTEN if forgotten else _SILENT)
            case Closed():
                call_back(self.on_closed)

    def _go_on_trying(self, action: Action) -> None:
        """While the path is relayed, its attempt goes on."""
        match action:
            case NextRound(number):
                self._attempts[-1].next_round(number)
            case OpenSockets(count):
                self._attempts[-1].open_more(count)
            case Failed():
                self._attempts[-1].finish()
            case Release(locals):
                for attempt in self._attempts:
                    attempt.gathering.release(local.name for local in locals)
                self._forget_attempts()

    def _forget_attempts(self) -> None:
        """Forget the attempts that the path has left, with all that is still open of them."""
        left = [each for each in self._attempts if each.puncher is not None and not self._core.uses(each.puncher)]
        for attempt in left:
            self._attempts.remove(attempt)
            attempt.gathering.close()

    def _send(self, name: str, datagram: bytes, address: Address, ttl: int | None) -> None:
        for attempt in reversed(self._attempts):
            endpoint = attempt.gathering.endpoints.get(name)
            if endpoint is not None:
                endpoint.send(datagram, address, ttl)
                return

    def _finish_rounds(self, via: Via) -> None:
        """With a direct path, the attempt has done what it was for."""
        if via is not Via.RELAY:
            self._attempts[-1].finish(via)

    def _release_all(self) -> None:
        if self._released is not None:
            return
        self._timer.cancel()
        for attempt in self._attempts:
            attempt.finish()
        closing: Deferred[Any] = DeferredList(
            [attempt.gathering.close() for attempt in self._attempts], consumeErrors=True
        )
        self._released = closing.addCallback(lambda _: self._ended.set())

    def _deliver(self, payload: bytes) -> None:
        if self._on_datagram is not None:
            call_back(self._on_datagram, payload)
        elif len(self._early) < MAX_EARLY:
            self._early.append(payload)
