"""A TURN server that is being tried, or used: the carrier to it and the allocation on it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

from attrs import evolve

from twisted.internet.defer import Deferred, succeed

from rendezvous.client.relay.allocation import Allocation
from rendezvous.client.relay.carriers import open_carrier
from rendezvous.client.relay.requests import TurnFailed, TurnRefused
from rendezvous.client.relay.servers import TurnServer
from rendezvous.core.addresses import Address

__all__ = ["Link"]

_TRIES: Final = 3
_TRY_ALTERNATE, _MISMATCH = 300, 437


class Link:
    """
    A relayed address at one TURN server.

    :param trust_root: the authorities whose certificates are taken; ``None`` for those of the system.
    :param on_datagram: called with each datagram of a permitted peer and its source.
    :param on_lost: called at most once after the address was there, with the reason why it is not any more.
    :ivar server: the one that is used; another one than that of the settings if this one has named an alternate.
    :ivar relayed: the relayed address, once there is one.
    """

    def __init__(
        self,
        reactor: Any,
        server: TurnServer,
        *,
        random: Random,
        trust_root: Any,
        on_datagram: Callable[[bytes, Address], object],
        on_lost: Callable[[str], object],
    ) -> None:
        self._reactor, self._random, self._trust_root = reactor, random, trust_root
        self._on_datagram, self._on_lost = on_datagram, on_lost
        self._allocation: Allocation | None = None
        self.server = server
        self.relayed: Address | None = None

    def open(self) -> Deferred[Link]:
        """
        Get a relayed address.

        :returns: fires with this link; fails with ``TurnFailed``, or with an error of Twisted or OpenSSL. It can be
            cancelled. If it fails, :meth:`close` is still to be called.
        """
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> Link:
        for _ in range(_TRIES):
            try:
                return await self._try()
            except TurnRefused as refused:
                self._lost("the TURN server is tried again")
                if refused.code == _TRY_ALTERNATE and refused.alternate is not None:
                    # RFC 8489, section 10: the certificate still has to be for the name that we know.
                    self.server = evolve(self.server, host=refused.alternate[0], port=refused.alternate[1])
                elif refused.code != _MISMATCH:
                    raise
                # RFC 8656, section 7.4: the server still has an allocation of the socket before us on this port.
        raise TurnFailed("the TURN server refers to another server again and again")

    async def _try(self) -> Link:
        carrier = await open_carrier(self._reactor, self.server, self._trust_root, self._received, self._lost)
        self._allocation = Allocation(
            self._reactor,
            carrier,
            self.server.username,
            self.server.password,
            random=self._random,
            on_datagram=self._on_datagram,
            on_lost=self._on_lost,
        )
        self.relayed = await self._allocation.allocate()
        return self

    def permit(self, host: str) -> None:
        """Let a host send to us."""
        if self._allocation is not None:
            self._allocation.permit(host)

    def send(self, datagram: bytes, address: Address) -> None:
        """Send a datagram to a peer."""
        if self._allocation is not None:
            self._allocation.send(datagram, address)

    def close(self) -> Deferred[None]:
        """
        Give the relayed address back, also one that the server may be making at this moment.

        :returns: fires when the server has confirmed it, or has not done so in time.
        """
        return succeed(None) if self._allocation is None else self._allocation.release()

    def _received(self, frame: bytes) -> None:
        if self._allocation is not None:
            self._allocation.received(frame)

    def _lost(self, reason: str) -> None:
        if self._allocation is not None:
            self._allocation.lose(reason)
