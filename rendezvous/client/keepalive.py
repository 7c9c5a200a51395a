"""
A service that keeps one UDP socket known to the server, and lets the application share that socket.

:mod:`rendezvous.client._keepalive_states` has the table of states, :mod:`rendezvous.client._backoff` says how long to
wait, and :mod:`rendezvous.client._socket` has the socket. The clock and the name resolver are the reactor's.
"""

from __future__ import annotations

from collections.abc import Callable
from random import SystemRandom
from typing import Any, Final, Protocol, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from rendezvous.client._backoff import pulse_delay, retry_delay
from rendezvous.client._callbacks import call_back
from rendezvous.client._keepalive_states import AWAITING, TRANSITIONS, KeepAliveEvent, KeepAliveState
from rendezvous.client._latch import Latch
from rendezvous.client._pulses import Answered, Invited, pulses_of
from rendezvous.client._server_time import ServerTime
from rendezvous.client._socket import RESOLVE_TIME, PulseSocket
from rendezvous.client.errors import ClientError, ClientGone, NotRegistered, ServerUnreachable
from rendezvous.client.records import Health, Identity, ServerFacts
from rendezvous.core.addresses import Address
from rendezvous.wire.pulse import PulseCode

__all__ = [
    "DEFAULT_INTERVAL",
    "DEFAULT_PORT",
    "REPLY_TIME",
    "RESOLVE_TIME",
    "KeepAlive",
    "KeepAliveState",
    "Verifier",
]

DEFAULT_INTERVAL = 30.0
"""Seconds between pulses that a server expects, if it has not said so."""

DEFAULT_PORT = 5024
"""The server's UDP port, if it has not said which it is."""

REPLY_TIME = 5.0
"""Seconds to wait for the answer to a pulse."""

T = TypeVar("T")

_ANSWERS: Final = {
    PulseCode.ON_TIME: KeepAliveEvent.ON_TIME,
    PulseCode.VERIFY: KeepAliveEvent.VERIFY,
    PulseCode.UNKNOWN: KeepAliveEvent.UNKNOWN,
}
_SYSTEM_RANDOM: Final = SystemRandom()


class Verifier(Protocol):
    """The part of :class:`~rendezvous.client.RendezvousClient` that keeps a client online."""

    @property
    def time(self) -> ServerTime:
        """:returns: the time of the server, which signed pulses need."""
        ...

    def health(self) -> Deferred[Health]:
        """:returns: fires when the time of the server is known."""
        ...

    def facts(self) -> Deferred[ServerFacts | None]:
        """:returns: fires with the settings of the server."""
        ...

    def verify(self, identity: Identity) -> Deferred[None]:
        """:returns: fires when a client is verified."""
        ...


class KeepAlive(Service):
    """
    Keeps a client online from one UDP socket, for as long as the service runs.

    It sends a pulse at two thirds of the server's interval, jittered. When the server asks for it, it verifies and
    pulses again. When the server does not answer, it tries again at growing intervals, without end. It ends only when
    the server no longer knows the client: see :meth:`whenGone`.

    :param client: sends the verify requests: a :class:`~rendezvous.client.RendezvousClient`.
    :param identity: the client that pulses.
    :param server: the server's host, an address or a name, and its UDP port. With a host alone, the port is the first
        that the server has named at registration; if the identity was saved without that, the server is asked. A name
        is looked up before the first pulse and again after every failure.
    :param reactor: provides ``IReactorTime``, ``IReactorUDP`` and, for a name, ``IReactorPluggableNameResolver``.
    :param interval: the server's pulse interval, in seconds; ``None`` for the one that the server has named, or 30.
    :param random: draws from ``[0, 1)``, for the jitter.
    :param port: the local UDP port; 0 lets the system choose.
    :param interface: the local IP address; by default any, of the family of the server's first address. The socket
        opens when the service starts, or, with a name and no interface, when the name has been found.
    :param on_gone: called once with the error when the server no longer knows the client.
    :param on_datagram: called with the bytes and the source of every datagram but the server's answers to pulses.
        An exception that it raises is logged.
    :param signed: whether pulses are signed. The key then does not cross the network, the client learns its public
        address, and invitations arrive. Otherwise a pulse is the key itself.
    :param on_address: called with the public host and port when they have changed.
    :param on_invitation: called with the 8 bytes of an attempt when a peer wants to connect; the server repeats it.
    :raises ValueError: when the interval is not positive.
    """

    _log = Logger()

    def __init__(
        self,
        client: Verifier,
        identity: Identity,
        server: Address | str,
        reactor: Any,
        *,
        interval: float | None = None,
        random: Callable[[], float] = _SYSTEM_RANDOM.random,
        port: int = 0,
        interface: str | None = None,
        on_gone: Callable[[ClientGone], object] | None = None,
        on_datagram: Callable[[bytes, Address], object] | None = None,
        signed: bool = True,
        on_address: Callable[[Address], object] | None = None,
        on_invitation: Callable[[bytes], object] | None = None,
    ) -> None:
        self._client = client
        self._identity = identity
        self._reactor = reactor
        self._given_interval, self._interval = interval, _interval(identity.facts) if interval is None else interval
        if not self._interval > 0:
            raise ValueError("the interval must be positive")
        # Whether the server is asked for what the identity was saved without.
        self._lacks_facts = isinstance(server, str) and identity.facts is None
        self._random = random
        self._on_gone = on_gone
        self._on_datagram = on_datagram
        self._signed = signed
        self._on_address = on_address
        self._on_invitation = on_invitation
        self._pulses = pulses_of(identity, client.time, signed=signed)
        self._public_address: Address | None = None
        self._socket = PulseSocket(
            reactor,
            (server, _udp_port(identity.facts)) if isinstance(server, str) else server,
            (port, interface),
            take=self._take,
            received=self._received,
            refused=self._refused,
        )
        self._state = KeepAliveState.STOPPED
        self._online = Latch()
        self._gone = Latch()
        self._timer: IDelayedCall | None = None
        self._work: Deferred[Any] | None = None
        self._pulsed_at = 0.0
        self._failures = 0
        self._reason: BaseException | None = None

    @property
    def state(self) -> KeepAliveState:
        """What the service is doing now."""
        return self._state

    @property
    def public_address(self) -> Address | None:
        """Where the server sees the socket, as the last answer to a signed pulse has said; ``None`` before."""
        return self._public_address

    def startService(self) -> None:
        """
        Open the socket and begin to pulse.

        :raises CannotListenError: when the local port is taken.
        """
        if self._state is not KeepAliveState.STOPPED:
            return
        self._socket.open_early()
        super().startService()
        if self._gone.is_set:
            self._gone = Latch()
        self._failures = 0
        self._fire(KeepAliveEvent.START)

    def stopService(self) -> Deferred[None]:
        """
        Stop pulsing and close the socket. Deferreds of :meth:`whenOnline` fail with ``CancelledError``.

        :returns: fires when the socket is closed.
        """
        super().stopService()
        self._fire(KeepAliveEvent.STOP)
        closed = self._socket.close()
        online, self._online = self._online, Latch()
        online.set(CancelledError)
        return closed

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

        :returns: fails with ``ClientGone`` when the server no longer knows the client, at once if that has happened
            already. It never fires otherwise, not even when the service stops, unless it is cancelled.
        """
        return self._gone.wait()

    def getHost(self) -> IAddress:
        """
        The socket's local address.

        :raises RuntimeError: when the socket is not open.
        """
        return self._socket.getHost()

    def send(self, datagram: bytes, address: Address) -> None:
        """
        Send from the socket that pulses, as hole punching needs it.

        :param datagram: the payload.
        :param address: an IP address and a port.
        :raises RuntimeError: when the socket is not open.
        :raises OSError: when the system will not send it.
        """
        self._socket.send(datagram, address)

    def _fire(self, event: KeepAliveEvent) -> None:
        self._state = TRANSITIONS[self._state, event]
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
        match self._state:
            case KeepAliveState.STOPPED:
                pass
            case KeepAliveState.RESOLVING:
                self._look_up()
            case KeepAliveState.PULSING | KeepAliveState.PROVING:
                self._pulse()
            case KeepAliveState.RESTING:
                self._rest()
            case KeepAliveState.VERIFYING:
                self._verify()
            case KeepAliveState.RETRYING:
                self._retry()
            case KeepAliveState.GONE:
                self._give_up()

    def _fail(self, reason: BaseException | None) -> None:
        self._reason = reason
        self._fire(KeepAliveEvent.FAILED)

    def _later(self, delay: float, call: Callable[..., None], *arguments: object) -> None:
        self._timer = self._reactor.callLater(delay, call, *arguments)

    def _begin(self, work: Deferred[T], done: Callable[[T], None]) -> None:
        def finished(result: T | Failure) -> None:
            # A transition has dropped this work, so its result does not count.
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
        if not failure.check(ClientError, TimeoutError, CannotListenError):
            self._log.failure("Unexpected error while {state.value}", failure=failure, state=self._state)
        self._fail(failure.value)

    def _look_up(self) -> None:
        self._begin(Deferred.fromCoroutine(self._prepare()), lambda _: self._fire(KeepAliveEvent.RESOLVED))

    async def _prepare(self) -> None:
        if self._lacks_facts:
            await self._find_facts()
        await self._socket.find_server()
        # After a failure the server's clock may be another one than it was.
        if self._signed and (self._failures or not self._client.time.known):
            try:
                await self._client.health()
            except ClientError:
                if not self._client.time.known:
                    raise

    async def _find_facts(self) -> None:
        facts = await self._client.facts()
        self._lacks_facts = False
        self._interval = self._given_interval or _interval(facts)
        self._socket.use_port(_udp_port(facts))

    def _pulse(self) -> None:
        self._pulsed_at = self._reactor.seconds()
        self._later(REPLY_TIME, self._fail, ServerUnreachable("no answer to a pulse"))
        try:
            self._socket.send(self._pulses.make())
        except OSError as reason:
            self._fail(reason)

    def _rest(self) -> None:
        due = self._pulsed_at + pulse_delay(self._interval, self._random())
        self._later(max(0.0, due - self._reactor.seconds()), self._fire, KeepAliveEvent.DUE)
        if self._failures:
            self._log.info("Client {client_id} is online again", client_id=self._identity.client_id)
        self._failures = 0
        self._online.set()

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
        # Only the first of many failures in a row is worth a line.
        self._log.emit(
            LogLevel.warn if self._failures == 1 else LogLevel.debug,
            "Client {client_id} is not known to be online: {reason}; trying again in {delay:.1f} s",
            client_id=self._identity.client_id,
            reason=self._reason,
            delay=delay,
        )

    def _give_up(self) -> None:
        self._log.warn("Client {client_id} is gone; it must register again", client_id=self._identity.client_id)
        self._gone.set(ClientGone)
        self._online.set(ClientGone)
        call_back(self._on_gone, ClientGone())

    def _take(self, datagram: bytes) -> bool:
        """:returns: whether a datagram from the server's address was for this service."""
        match self._pulses.read(datagram):
            case Answered(code, address):
                if address is not None and address != self._public_address:
                    self._public_address = address
                    call_back(self._on_address, address)
                self._answered(code)
            case Invited(attempt):
                call_back(self._on_invitation, attempt)
            case None:
                return False
        return True

    def _answered(self, code: PulseCode) -> None:
        if self._state not in AWAITING:
            return  # A second answer to one pulse, or one that comes too late.
        if code is PulseCode.VERIFY:
            self._reason = ServerUnreachable("the server asks for a verify again and again")
        self._fire(_ANSWERS[code])

    def _received(self, datagram: bytes, source: Address) -> None:
        call_back(self._on_datagram, datagram, source)

    def _refused(self) -> None:
        if self._state in AWAITING:
            self._fail(ServerUnreachable("the pulse was refused"))


def _interval(facts: ServerFacts | None) -> float:
    """:returns: the pulse interval that the server has named, or the default."""
    return DEFAULT_INTERVAL if facts is None else facts.pulse_interval


def _udp_port(facts: ServerFacts | None) -> int:
    """:returns: the first UDP port that the server has named, or the default."""
    return facts.udp_ports[0] if facts is not None and facts.udp_ports else DEFAULT_PORT
