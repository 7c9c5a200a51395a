"""Connecting to peers: attempts that this client begins, invitations that it takes, and paths that move."""

from __future__ import annotations

from collections.abc import Callable
from random import SystemRandom
from typing import Any, Literal

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from rendezvous.client._callbacks import call_back
from rendezvous.client.api import RendezvousClient
from rendezvous.client.attempts import Invitation
from rendezvous.client.connecting._attempt import RunningAttempt
from rendezvous.client.connecting._host import Host, Mapper, Options, RelayUse
from rendezvous.client.connecting._inviting import Invitations
from rendezvous.client.connecting.paths import Path
from rendezvous.client.errors import ClientError, ClientGone
from rendezvous.client.network.interfaces import interface_addresses
from rendezvous.client.network.uplink import Uplink
from rendezvous.client.portmap import PortMapper
from rendezvous.client.records import Identity
from rendezvous.client.relay import Relay
from rendezvous.core.punching.actions import Connected
from rendezvous.core.punching.path import Path as Core
from rendezvous.core.punching.probes import RandomSource

__all__ = ["MAX_INCOMING", "Connector", "Watch"]

MAX_INCOMING = 16
"""Attempts of peers that are tried at the same time; further ones are declined."""

MOVES, MOVE_PAUSE = 5, 1.0
"""Attempts that move a path to a new network, and the seconds between two of them."""

Watch = Callable[[Any, Callable[[], None]], Uplink]


def _all(_peer_id: str) -> bool:
    return True


class Connector:
    """
    Opens paths to peers, and takes those that peers open.

    While it listens or has a path, it keeps the client registered. When the network of this host changes, it moves the
    paths to the new one.

    :param client: of the server.
    :param identity: of this client. A client should have one connector.
    :param reactor: the running reactor.
    :param relay: when a path may go through a relay: ``never``, ``fallback`` for when there is no direct path (yet), or
        ``always``. With ``always``, peers do not learn the addresses of this host.
    :param birthday: whether up to 256 ports are opened to pass a NAT that gives every destination another port. The
        peer has to agree as well.
    :param port_mapping: whether the next router is asked for port mappings.
    :param on_gone: called once with the error when the server no longer knows the client. Open paths stay, but cannot
        move any more.
    :param trust_root: the authorities for TLS to a relay; ``None`` for those of the system.
    :param random: randomness; the system's by default.
    :param mapper: asks the next router for mappings; by default it is asked with PCP and NAT-PMP.
    :param find_addresses: finds the addresses of this host.
    :param watch: makes what tells that the network has changed, from a reactor and what to call.
    :param make_relay: makes a relay, from what :class:`~rendezvous.client.relay.Relay` takes.
    :raises ValueError: ``relay`` is another word.
    """

    _log = Logger()

    def __init__(
        self,
        client: RendezvousClient,
        identity: Identity,
        reactor: Any,
        *,
        relay: Literal["never", "fallback", "always"] = "fallback",
        birthday: bool = False,
        port_mapping: bool = True,
        on_gone: Callable[[ClientGone], object] | None = None,
        trust_root: Any = None,
        random: RandomSource | None = None,
        mapper: Mapper | None = None,
        find_addresses: Callable[[], list[str]] = interface_addresses,
        watch: Watch = Uplink,
        make_relay: Callable[..., Relay] = Relay,
    ) -> None:
        self._host = Host(
            client,
            identity,
            reactor,
            SystemRandom() if random is None else random,
            Options(RelayUse(relay), birthday, port_mapping, trust_root),
            PortMapper(reactor) if mapper is None else mapper,
            find_addresses,
            make_relay,
        )
        self._invitations = Invitations(self._host, self._invited, on_gone)
        self._uplink = watch(reactor, self._network_changed)
        self._watching = False
        self._paths: dict[bytes, Path] = {}
        self._attempts: set[RunningAttempt] = set()
        self._declining = 0
        # The attempts that are to join a path, and how many more a path that has to move may have.
        self._renewals: dict[bytes, RunningAttempt] = {}
        self._moving: dict[bytes, int] = {}
        self._listening = False
        self._allow: Callable[[str], bool] = _all
        self._on_path: Callable[[Path], object] = lambda _: None

    @property
    def paths(self) -> list[Path]:
        """The paths that are open."""
        return list(self._paths.values())

    def prepare(self) -> Deferred[None]:
        """
        Learn what the first connection needs: the address, the ports and the time of the server. Otherwise
        :meth:`connect` does it, and takes a little longer.

        :returns: fires when it is known; fails with an error of the client.
        """
        return Deferred.fromCoroutine(self._host.prepare())

    def connect(self, peer_id: str) -> Deferred[Path]:
        """
        Open a path to a peer, which has to listen.

        :param peer_id: its client id.
        :returns: fires with the path; set its callbacks at once. Fails with :exc:`~rendezvous.client.ConnectFailed`,
            whose ``code`` and ``reason`` say why there is none, or another error of the client. It can be cancelled.
        """
        attempt = RunningAttempt(self._host, peer_id)
        result = self._track(attempt).addCallback(lambda _: self._open(attempt))
        attempt.connect()
        return result

    def listen(self, on_path: Callable[[Path], object], allow: Callable[[str], bool] | None = None) -> Deferred[None]:
        """
        Take paths that peers open.

        :param on_path: called with each path; it sets the callbacks of the path.
        :param allow: called with the client id of a peer that wants to connect. If it returns false, the peer is
            declined and learns no address. Without it, anyone who knows the id of this client may connect.
        :returns: fires when peers can connect: the server has answered over HTTP and has taken a pulse, or, where UDP
            is blocked, has taken none for 2 s. Fails with ``ClientGone`` when it does not know this client, and with
            ``NotOffered`` when its operator has turned the protocol off.
        """
        self._listening, self._on_path = True, on_path
        self._allow = allow or _all
        self._keep_in_touch()
        return self._invitations.when_ready()

    def close(self) -> Deferred[None]:
        """
        Close all paths, give up all attempts, and stop listening.

        :returns: fires when everything is closed.
        """
        self._listening = False
        for attempt in list(self._attempts):
            attempt.connected.cancel()
        closing: list[Deferred[Any]] = [path.close() for path in self.paths]
        if self._watching:
            self._watching = False
            self._uplink.stop()
        closed: Deferred[Any] = DeferredList(closing, consumeErrors=True)
        closed.addCallback(lambda _: DeferredList([self._invitations.stop(), self._host.mapper.stop()]))
        return closed.addCallback(lambda _: None)

    def _track(self, attempt: RunningAttempt) -> Deferred[Connected]:
        """:returns: what the attempt leads to; it counts as going on until then."""
        self._attempts.add(attempt)

        def over(result: Any) -> Any:
            self._attempts.discard(attempt)
            return result

        return attempt.connected.addBoth(over)

    def _open(self, attempt: RunningAttempt) -> Path:
        """:returns: a new path."""
        if attempt.puncher is None:
            raise RuntimeError("the attempt has not connected")
        path = Path(self._host, attempt, Core(attempt.puncher, self._host.random), self._renew)
        self._paths[path.name] = path
        path.when_ended().addCallback(lambda _: self._ended(path))
        self._keep_in_touch()
        # What came early is delivered when the application has had its turn to set the callbacks.
        self._host.reactor.callLater(0, path.start)
        return path

    def _ended(self, path: Path) -> None:
        self._paths.pop(path.name, None)
        self._moving.pop(path.name, None)
        if not self._paths and not self._listening:
            self._invitations.stop()

    def _keep_in_touch(self) -> None:
        self._invitations.start()
        if not self._watching:
            self._watching = True
            self._uplink.start()

    # Invitations.

    def _invited(self, invitation: Invitation) -> None:
        known = [path.name for path in self.paths if path.peer == invitation.peer]
        wanted = known or (self._listening and self._allowed(invitation.peer))
        if not wanted or len(self._attempts) >= MAX_INCOMING:
            self._decline(invitation)
            return
        attempt = RunningAttempt(self._host, invitation.peer, known=known)
        connecting = self._track(attempt).addCallback(lambda connected: self._accepted(attempt, connected))
        connecting.addErrback(self._not_connected)
        attempt.accept(invitation.attempt)

    def _decline(self, invitation: Invitation) -> None:
        """Decline an invitation; if many are being declined, this one ends by itself."""
        if self._declining >= MAX_INCOMING:
            return
        self._declining += 1

        def over(_: object) -> None:
            self._declining -= 1

        declining: Deferred[Any] = self._host.client.attempts.end(self._host.identity, invitation.attempt)
        declining.addErrback(lambda failure: self._log.debug("Declining failed: {why}", why=failure.value))
        declining.addCallback(over)

    def _allowed(self, peer_id: str) -> bool:
        try:
            return bool(self._allow(peer_id))
        except Exception:
            self._log.failure("Error in the application's {callback!r}", callback=self._allow)
            return False

    def _accepted(self, attempt: RunningAttempt, connected: Connected) -> None:
        existing = self._paths.get(connected.path)
        if existing is not None:
            existing.join(attempt)
            return
        if not self._listening or not self._allowed(attempt.peer_id):
            # The peer has lost a path that this client has, or says so. It may not open another one.
            attempt.abandon()
            return
        path = self._open(attempt)
        call_back(self._on_path, path)

    def _not_connected(self, failure: Failure) -> None:
        if failure.check(CancelledError, ClientError):
            self._log.debug("There is no path: {why}", why=failure.value)
        else:
            self._log.failure("Unexpected error in an attempt", failure=failure)

    # Moving.

    def _network_changed(self) -> None:
        self._host.network_changed()
        self._invitations.network_changed()
        for path in self.paths:
            self._moving[path.name] = MOVES
            renewal = self._renewals.get(path.name)
            if renewal is None:
                self._renew(path)
            else:
                # It was begun in the old network. The next one begins when it has ended.
                renewal.connected.cancel()

    def _renew(self, path: Path) -> None:
        """Begin a new attempt for a path, unless there is one."""
        if path.name in self._renewals or path.ended:
            return
        attempt = self._renewals[path.name] = RunningAttempt(self._host, path.peer, path=path.name)

        def joined(connected: Connected) -> None:
            if path.ended:
                attempt.abandon()
            elif connected.path == path.name:
                self._moving.pop(path.name, None)
                path.join(attempt)
            else:
                # The peer has opened another path, because it was started anew. It learns that this is not wanted.
                self._open(attempt).close()
                path.forgotten()

        def over(result: Any) -> Any:
            del self._renewals[path.name]
            return result

        work = self._track(attempt).addBoth(over)
        work.addCallback(joined).addErrback(self._not_connected).addCallback(lambda _: self._move_again(path))
        attempt.connect()

    def _move_again(self, path: Path) -> None:
        """Begin another attempt if a path has to move and has not: the new network may have been there in part only."""
        left = self._moving.get(path.name, 0)
        if left and not path.ended and self._paths.get(path.name) is path:
            self._moving[path.name] = left - 1
            self._host.reactor.callLater(MOVE_PAUSE if left < MOVES else 0.0, self._renew, path)
