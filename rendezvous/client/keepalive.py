"""
A service that keeps one UDP socket known to the server, and lets the application share that socket.

What happens when is the table in :mod:`rendezvous.client._states`; how long to wait is decided by
:mod:`rendezvous.client._backoff`.
The clock, the socket and the name resolver are the reactor's, which is passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from random import SystemRandom
from typing import Any, Final, Protocol, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from rendezvous.client._backoff import pulse_delay, retry_delay
from rendezvous.client._moment import Moment
from rendezvous.client._resolve import choose, is_ipv6, literal, resolve
from rendezvous.client._states import AWAITING, TRANSITIONS, KeepAliveEvent, KeepAliveState
from rendezvous.client.errors import ClientError, ClientGone, NotRegistered, ServerUnreachable
from rendezvous.client.records import Identity
from rendezvous.errors import WireError
from rendezvous.wire.pulse import PulseCode, decode_reply

__all__ = ["REPLY_TIME", "RESOLVE_TIME", "KeepAlive", "KeepAliveState", "Verifier"]

REPLY_TIME = 5.0
"""Seconds to wait for the answer to a pulse."""

RESOLVE_TIME = 20.0
"""Seconds to wait for the addresses of the server's name."""

T = TypeVar("T")
Address = tuple[str, int]

_ANSWERS: Final = {
    PulseCode.ON_TIME: KeepAliveEvent.ON_TIME,
    PulseCode.VERIFY: KeepAliveEvent.VERIFY,
    PulseCode.UNKNOWN: KeepAliveEvent.UNKNOWN,
}
_SYSTEM_RANDOM: Final = SystemRandom()


class Verifier(Protocol):
    """The one thing that is needed of :class:`~rendezvous.client.RendezvousClient`."""

    def verify(self, identity: Identity) -> Deferred[None]:
        """
        Say that a client is still there.

        :param identity: whose.
        """
        ...


class KeepAlive(Service):
    """
    Keeps a client online from one UDP socket, for as long as the service runs.

    It pulses at two thirds of the interval, jittered; answers "verify" with a verify and a fresh pulse; and when the
    server is away tries again, ever less often, for ever. Only "no such client" ends it: see :meth:`whenGone`.

    :param client: what verifies: a :class:`~rendezvous.client.RendezvousClient`.
    :param identity: who pulses.
    :param server: the server's host, an address or a name, and its UDP port. A name is looked up before the first
        pulse and again after every failure.
    :param reactor: provides ``IReactorTime``, ``IReactorUDP`` and, for a name, ``IReactorPluggableNameResolver``.
    :param interval: the server's pulse interval, in seconds.
    :param random: draws from ``[0, 1)``, for the jitter.
    :param port: the local UDP port; 0 lets the system choose.
    :param interface: the local IP address; by default any, of the family of the server's first address. The socket
        opens when the service starts, or, with a name and no interface, when the name has been found.
    :param on_gone: called once with the error when the server has given the client up.
    :param on_datagram: called with the bytes and the source of every datagram that is not the answer to a pulse.
        What it raises is logged.
    :raises ValueError: when the interval is not positive.
    """

    _log = Logger()

    def __init__(
        self,
        client: Verifier,
        identity: Identity,
        server: Address,
        reactor: Any,
        *,
        interval: float = 30.0,
        random: Callable[[], float] = _SYSTEM_RANDOM.random,
        port: int = 0,
        interface: str | None = None,
        on_gone: Callable[[ClientGone], object] | None = None,
        on_datagram: Callable[[bytes, Address], object] | None = None,
    ) -> None:
        if not interval > 0:
            raise ValueError("the interval must be positive")
        self._client = client
        self._identity = identity
        self._server = server
        self._reactor = reactor
        self._interval = interval
        self._random = random
        self._local = (port, interface)
        self._on_gone = on_gone
        self._on_datagram = on_datagram

        self._state = KeepAliveState.STOPPED
        self._online = Moment()
        self._gone = Moment()
        self._socket: _Socket | None = None
        self._port: IListeningPort | None = None
        self._ipv6: bool | None = None
        self._address = server
        self._timer: IDelayedCall | None = None
        self._work: Deferred[Any] | None = None
        self._pulsed_at = 0.0
        self._failures = 0
        self._reason: BaseException | None = None
        self._enter: dict[KeepAliveState, Callable[[], None]] = {
            KeepAliveState.STOPPED: lambda: None,
            KeepAliveState.RESOLVING: self._look_up,
            KeepAliveState.PULSING: self._pulse,
            KeepAliveState.RESTING: self._rest,
            KeepAliveState.VERIFYING: self._verify,
            KeepAliveState.PROVING: self._pulse,
            KeepAliveState.RETRYING: self._retry,
            KeepAliveState.GONE: self._give_up,
        }

    @property
    def state(self) -> KeepAliveState:
        """What the service is doing now."""
        return self._state

    def startService(self) -> None:
        """
        Open the socket and begin to pulse.

        :raises CannotListenError: when the local port is taken.
        """
        if self._state is not KeepAliveState.STOPPED:
            return
        _, interface = self._local
        host = literal(self._server[0]) if interface is None else interface
        if host is not None:
            self._listen(ipv6=is_ipv6(host))
        super().startService()
        if self._gone.over:
            self._gone = Moment()
        self._failures = 0
        self._fire(KeepAliveEvent.START)

    def stopService(self) -> Deferred[None]:
        """
        Stop pulsing and close the socket. Those who wait to be online get ``CancelledError``.

        :returns: fires when the port is closed.
        """
        super().stopService()
        self._fire(KeepAliveEvent.STOP)
        port, self._port, self._socket, self._ipv6 = self._port, None, None, None
        online, self._online = self._online, Moment()
        online.happen(CancelledError)
        if port is None:
            return succeed(None)
        closed: Deferred[Any] = maybeDeferred(port.stopListening)
        return closed.addCallback(lambda _: None)

    def whenOnline(self) -> Deferred[None]:
        """
        Wait until the server has taken a pulse.

        :returns: fires at the first pulse on time since the start, at once when there was one; fails with
            ``ClientGone`` when the server does not know the client, with ``CancelledError`` when the service stops.
        """
        return self._online.wait()

    def whenGone(self) -> Deferred[None]:
        """
        Wait for the error that ends the pulses. The application should register again.

        :returns: fails with ``ClientGone`` when the server has given the client up, at once when it already has;
            does nothing else, not even when the service stops, unless it is cancelled.
        """
        return self._gone.wait()

    def getHost(self) -> IAddress:
        """
        The socket's local address.

        :raises RuntimeError: when the socket is not open.
        """
        if self._port is None:
            raise RuntimeError("the socket is not open")
        return self._port.getHost()

    def send(self, datagram: bytes, address: Address) -> None:
        """
        Send from the socket that pulses, as hole punching needs it.

        :param datagram: the payload.
        :param address: an IP address and a port.
        :raises RuntimeError: when the socket is not open.
        :raises OSError: when the system will not send it.
        """
        if self._socket is None or self._socket.transport is None:
            raise RuntimeError("the socket is not open")
        self._socket.transport.write(datagram, address)

    def _fire(self, event: KeepAliveEvent) -> None:
        self._state = TRANSITIONS[self._state, event]
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
        self._enter[self._state]()

    def _fail(self, reason: BaseException | None) -> None:
        self._reason = reason
        self._fire(KeepAliveEvent.FAILED)

    def _later(self, delay: float, call: Callable[..., None], *arguments: object) -> None:
        self._timer = self._reactor.callLater(delay, call, *arguments)

    def _begin(self, work: Deferred[T], done: Callable[[T], None]) -> None:
        def finished(result: T | Failure) -> None:
            # Work that a transition has dropped says nothing any more.
            if self._work is not work:
                return
            self._work = None
            if isinstance(result, Failure):
                self._work_failed(result)
            else:
                done(result)

        self._work = work
        work.addBoth(finished)
        work.addErrback(lambda failure: self._log.failure("The pulses have stopped", failure=failure))

    def _work_failed(self, failure: Failure) -> None:
        if failure.check(NotRegistered):
            self._fire(KeepAliveEvent.UNKNOWN)
            return
        if not failure.check(ClientError, TimeoutError):
            self._log.failure("Unexpected error while {state.value}", failure=failure, state=self._state)
        self._fail(failure.value)

    def _listen(self, *, ipv6: bool) -> None:
        port, interface = self._local
        wildcard = "::" if ipv6 else ""
        self._socket = _Socket(self._received, self._refused)
        self._port = self._reactor.listenUDP(port, self._socket, interface=wildcard if interface is None else interface)
        self._ipv6 = ipv6

    def _look_up(self) -> None:
        work = maybeDeferred(lambda: resolve(self._reactor.nameResolver, self._server[0]))
        self._begin(work.addTimeout(RESOLVE_TIME, self._reactor), self._looked_up)

    def _looked_up(self, addresses: list[str]) -> None:
        host = choose(addresses, ipv6=self._ipv6)
        if host is None:
            self._fail(ServerUnreachable(f"{self._server[0]} has no address that this socket can reach"))
            return
        try:
            if self._port is None:
                self._listen(ipv6=is_ipv6(host))
        except CannotListenError as reason:
            self._fail(reason)
            return
        self._address = (host, self._server[1])
        self._fire(KeepAliveEvent.RESOLVED)

    def _pulse(self) -> None:
        self._pulsed_at = self._reactor.seconds()
        self._later(REPLY_TIME, self._fail, ServerUnreachable("no answer to a pulse"))
        try:
            self.send(self._identity.private_key, self._address)
        except OSError as reason:
            self._fail(reason)

    def _rest(self) -> None:
        due = self._pulsed_at + pulse_delay(self._interval, self._random())
        self._later(max(0.0, due - self._reactor.seconds()), self._fire, KeepAliveEvent.DUE)
        if self._failures:
            self._log.info("Client {client_id} is online again", client_id=self._identity.client_id)
        self._failures = 0
        self._online.happen()

    def _verify(self) -> None:
        self._begin(
            maybeDeferred(self._client.verify, self._identity),
            lambda _: self._fire(KeepAliveEvent.VERIFIED),
        )

    def _retry(self) -> None:
        self._failures += 1
        retry_after = getattr(self._reason, "retry_after", None)
        delay = retry_delay(self._interval, self._failures, self._random(), retry_after=retry_after)
        self._later(delay, self._fire, KeepAliveEvent.DUE)
        # Only the first of many failures is news.
        self._log.emit(
            LogLevel.warn if self._failures == 1 else LogLevel.debug,
            "Client {client_id} is not known to be online: {reason}; trying again in {delay:.1f} s",
            client_id=self._identity.client_id,
            reason=self._reason,
            delay=delay,
        )

    def _give_up(self) -> None:
        self._log.warn("Client {client_id} is gone; it must register again", client_id=self._identity.client_id)
        self._gone.happen(ClientGone)
        self._online.happen(ClientGone)
        if self._on_gone is not None:
            self._log_event(self._on_gone, ClientGone())

    def _received(self, datagram: bytes, source: Address) -> None:
        if self._port is None:
            return
        code = self._answer(datagram, source)
        if code is not None:
            if code is PulseCode.VERIFY:
                self._reason = ServerUnreachable("the server asks for a verify again and again")
            self._fire(_ANSWERS[code])
        elif self._on_datagram is not None:
            self._log_event(self._on_datagram, datagram, source)

    def _answer(self, datagram: bytes, source: Address) -> PulseCode | None:
        if self._state not in AWAITING or source != self._address:
            return None
        try:
            return decode_reply(datagram)
        except WireError:
            return None

    def _refused(self) -> None:
        if self._state in AWAITING:
            self._fail(ServerUnreachable("the pulse was refused"))

    def _log_event(self, callback: Callable[..., object], *news: object) -> None:
        try:
            callback(*news)
        except Exception:
            self._log.failure("Error in the application's {callback!r}", callback=callback)


class _Socket(DatagramProtocol):
    """Hands on what Twisted reads from the socket."""

    noisy = False

    def __init__(self, received: Callable[[bytes, Address], None], refused: Callable[[], None]) -> None:
        self._received = received
        self._refused = refused

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        self._received(datagram, addr)

    def connectionRefused(self) -> None:
        self._refused()
