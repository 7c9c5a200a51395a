"""An attempt to connect, as this client takes part in it: requests to the server, observations, and the puncher."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from rendezvous.client._timer import Timer
from rendezvous.client.attempts import Attempt, AttemptState
from rendezvous.client.connecting._endpoints import Endpoint, SocketEndpoint
from rendezvous.client.connecting._gathering import Gathering
from rendezvous.client.connecting._host import Host, RelayUse
from rendezvous.client.connecting._observing import Observer
from rendezvous.client.connecting._reasons import error_of, with_relay_failure
from rendezvous.client.connecting._requests import AttemptRequests
from rendezvous.client.errors import ClientError, ConnectFailed
from rendezvous.core.addresses import Address
from rendezvous.core.connect import Candidate, Strategy, Via
from rendezvous.core.punching.actions import Action, Connected, Failed, NextRound, OpenSockets, Release, Send
from rendezvous.core.punching.pairs import Local
from rendezvous.core.punching.probes import NEW_PATH
from rendezvous.core.punching.puncher import Puncher
from rendezvous.core.punching.rounds import Round
from rendezvous.wire.probe import PairCodec

__all__ = ["RunningAttempt"]

LONGEST_HOLD = 1.5
"""Seconds that a round waits before its first probe, at most. The server names half of a round trip, up to 1 s."""

T = TypeVar("T")


class RunningAttempt:
    """
    An attempt that is going on, from the first request or the invitation to the path or the error.

    :param host: this host.
    :param peer_id: the client id of the peer.
    :param path: the name of the path to go on with, if this side has asked for the attempt.
    :param known: the names of the paths with this peer, if the peer has asked.
    :ivar gathering: the endpoints.
    :ivar puncher: opens the path; there is none before the server lets both sides begin.
    :ivar connected: fires with how the puncher has connected; fails with a ``ClientError``. Cancel it to give up.
    :ivar act: carries out actions; a path takes this over when there is one.
    :ivar on_relay_lost: called when the relay is gone.
    """

    _log = Logger()

    def __init__(self, host: Host, peer_id: str, *, path: bytes = NEW_PATH, known: Collection[bytes] = ()) -> None:
        self._host = host
        self.peer_id = peer_id
        self._path, self._known = path, known
        self._requests = AttemptRequests(host)
        self.gathering = Gathering(host, self.received, self._local_changed, self._local_gone)
        self.puncher: Puncher | None = None
        self.connected: Deferred[Connected] = Deferred(lambda _: self.finish(gave_up=True))
        self.act: Callable[[list[Action]], None] = self._act
        self.on_relay_lost: Callable[[], None] = lambda: None
        self._timer = Timer(host.reactor, self._tick)
        self._observer: Observer | None = None
        self._round, self._begun = 1, False
        # What is waited for, to be cancelled at the end.
        self._waiting: Deferred[Any] | None = None
        self._finished = False
        self._outcome: tuple[Via | None, float, str | None] = (None, 0.0, None)

    @property
    def seconds(self) -> float:
        """:returns: seconds since the attempt was asked for."""
        return self._requests.seconds

    def connect(self) -> None:
        """Ask for an attempt with the peer."""
        self._begin(partial(self._requests.connect, self.peer_id))

    def accept(self, attempt: bytes) -> None:
        """
        Accept an invitation.

        :param attempt: the 8 bytes of its id.
        """
        self._begin(partial(self._requests.accept, attempt), attempt)

    def received(self, endpoint: Endpoint, datagram: bytes, source: Address) -> None:
        """Take a datagram, until there is a path."""
        if not self.is_servers(endpoint, datagram, source) and self.puncher is not None:
            self.act(self.puncher.receive(self._host.now(), endpoint.local, datagram, source))
            self._wake()

    def is_servers(self, endpoint: Endpoint, datagram: bytes, source: Address) -> bool:
        """:returns: whether a datagram is one of the server's, which is then taken."""
        observer = self._observer
        return (
            observer is not None
            and isinstance(endpoint, SocketEndpoint)
            and observer.receive(endpoint, datagram, source)
        )

    def next_round(self, number: int) -> None:
        """
        Open new sockets and observe them.

        :param number: of the round.
        """
        attempt = self._requests.attempt
        if self._finished or attempt is None or attempt.state.over:
            self._end_rounds()
            return
        self._round, self._begun = number, False
        try:
            self.gathering.open_round()
        except CannotListenError as error:
            self._fail(ConnectFailed(f"no UDP socket can be opened: {error}", code="no-socket"))
            return
        self._observe(attempt.id)
        self._requests.name(self.gathering.candidates())
        self._take(attempt)

    def open_more(self, count: int) -> None:
        """
        Open sockets for birthday probing.

        :param count: how many.
        """
        if self.puncher is not None and self._host.options.birthday:
            self.puncher.add_locals(self._host.now(), self.gathering.open_more(count))

    def finish(self, via: Via | None = None, *, gave_up: bool = False) -> None:
        """
        End the attempt: no further rounds. Endpoints stay open if there is a path.

        :param via: how the path goes now; by default as it was connected.
        :param gave_up: whether the application has given up.
        """
        if self._finished:
            return
        self._finished = True
        self._timer.cancel()
        if self._observer is not None:
            self._observer.stop()
        if self._waiting is not None:
            self._waiting.cancel()
        connected_via, seconds, code = self._outcome
        self._requests.report(via=via or connected_via, seconds=seconds, code=code, gave_up=gave_up)
        if connected_via is None:
            self.gathering.close()

    def abandon(self) -> None:
        """End an attempt that has connected, without a path."""
        self.finish()
        self.gathering.close()

    # The server's part.

    def _begin(self, ask: Callable[[list[Candidate]], Deferred[Attempt]], attempt: bytes | None = None) -> None:
        try:
            self.gathering.open_round()
        except CannotListenError as error:
            self._fail(ConnectFailed(f"no UDP socket can be opened: {error}", code="no-socket"))
            return
        # Both go on at the same time.
        preparing, asking = Deferred.fromCoroutine(self._host.prepare()), ask(self.gathering.candidates())
        Deferred.fromCoroutine(self._run(preparing, asking, attempt)).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        if not failure.check(ClientError):
            self._log.failure("Unexpected error in an attempt", failure=failure)
        self._fail(failure)

    async def _run(self, preparing: Deferred[None], asking: Deferred[Attempt], attempt_id: bytes | None) -> None:
        try:
            await self._wait(preparing)
            if attempt_id is not None:
                # The invited side knows the attempt already, and need not wait for the answer.
                self._observe(attempt_id)
        except BaseException:
            asking.addErrback(lambda _: None)
            asking.cancel()
            raise
        attempt = await self._wait(asking)
        if attempt_id is None:
            self._observe(attempt.id)
        self.gathering.allocate(attempt.ice_servers)
        while True:
            self._take(attempt)
            self._requests.name(self.gathering.candidates())
            if attempt.state.over or self._finished:
                return
            attempt = await self._wait(self._requests.next(attempt))

    async def _wait(self, work: Deferred[T]) -> T:
        """:returns: a result, unless the attempt ends before."""
        self._waiting = work
        try:
            return await work
        finally:
            self._waiting = None

    def _take(self, attempt: Attempt) -> None:
        """Go on with what the server says."""
        if self._finished:
            return
        failed = attempt.state is AttemptState.FAILED and not self.connected.called
        if failed or (attempt.state.over and self.puncher is None):
            self._fail(error_of(attempt))
        elif attempt.state is AttemptState.GO and attempt.round == self._round:
            self._go(attempt)

    def _go(self, attempt: Attempt) -> None:
        now = self._host.now()
        self.gathering.permit(each.address[0] for each in attempt.peer.candidates)
        if self._begun and self.puncher is not None:
            self.puncher.add_candidates(now, attempt.peer.candidates)
            self._wake()
            return
        if self.puncher is None:
            self.puncher = Puncher(
                PairCodec(attempt.key or b"", attempt.id, attempt.controlling),
                self._host.random,
                attempt=attempt.id,
                controlling=attempt.controlling,
                path=self._path,
                known=self._known,
            )
        self._begun = True
        begun = Round(
            attempt.round, self._hold(attempt), attempt.peer.candidates, self.gathering.locals(),
            self._strategy(attempt), attempt.mapping, attempt.peer.mapping,
        )  # fmt: skip
        self.act(self.puncher.begin(now, begun))
        self._wake()

    def _hold(self, attempt: Attempt) -> float:
        """:returns: the hold, less what the server could not know of the way to this client."""
        measured = None if self._observer is None else self._observer.round_trip
        late = 0.0 if measured is None else (measured - (self._requests.round_trip or 0.0)) / 2
        return min(max(attempt.hold - late, 0.0), LONGEST_HOLD)

    def _strategy(self, attempt: Attempt) -> Strategy:
        """:returns: what the server says, but no birthday probing if the application has not agreed to it."""
        options = self._host.options
        agreed = options.birthday and options.relay is not RelayUse.ALWAYS
        return Strategy.DIRECT if attempt.strategy is Strategy.BIRTHDAY and not agreed else attempt.strategy

    def _observe(self, attempt: bytes) -> None:
        if self._observer is not None:
            self._observer.stop()
        self._observer = Observer(self._host.reactor, self._host.signer, attempt, self._round)
        if not self._finished and self.gathering.sockets:
            self._observer.start(self.gathering.sockets, self._host.targets)

    def _local_changed(self, local: Local) -> None:
        """Go on with an endpoint that was added, or that has changed."""
        if self._finished and self._outcome[0] is None:
            return
        if self.puncher is not None and self._begun:
            self.puncher.add_locals(self._host.now(), [local])
            if self._requests.attempt is not None:
                self.gathering.permit(each.address[0] for each in self._requests.attempt.peer.candidates)
            self._wake()
        if not self._finished:
            self._requests.name(self.gathering.candidates())

    def _local_gone(self, local: Local) -> None:
        """Go on without the relay."""
        if self.puncher is not None:
            self.puncher.remove_locals([local])
        self.on_relay_lost()

    # The puncher's part.

    def _tick(self) -> None:
        if self.puncher is not None:
            self.act(self.puncher.tick(self._host.now()))
            self._wake()

    def _wake(self) -> None:
        if self._outcome[0] is not None:
            self.act([])  # The path sets its timer anew.
        elif self.puncher is not None and not self._finished:
            self._timer.set(self.puncher.due())

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Send(local, address, datagram, ttl):
                    endpoint = self.gathering.endpoints.get(local.name)
                    if endpoint is not None:
                        endpoint.send(datagram, address, ttl)
                case NextRound(number):
                    self.next_round(number)
                case OpenSockets(count):
                    self.open_more(count)
                case Release(locals):
                    self.gathering.release(local.name for local in locals)
                case Connected(via=via):
                    self._outcome = (via, self.seconds, None)
                    self._timer.cancel()
                    self.connected.callback(action)
                case Failed(code, reason):
                    self._fail(ConnectFailed(reason, code=code))

    def _end_rounds(self) -> None:
        if self._outcome[0] is not None:
            self.finish()
        elif not self._finished:
            self._fail(error_of(self._requests.attempt))

    def _fail(self, error: BaseException | Failure) -> None:
        if self._finished:
            return
        failure = error if isinstance(error, Failure) else Failure(error)
        if isinstance(failure.value, ConnectFailed):
            failure = Failure(with_relay_failure(failure.value, self.gathering.relay_failure))
        code = getattr(failure.value, "code", None)
        self._outcome = (self._outcome[0], self._outcome[1], code or "error")
        self.finish()
        if not self.connected.called:
            self.connected.errback(failure)
