"""Observations: the server says where a socket is, as its first two UDP ports see it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs

from rendezvous.client._signing import Signer
from rendezvous.client._timer import Timer
from rendezvous.client.connecting._endpoints import SocketEndpoint
from rendezvous.core.addresses import Address
from rendezvous.core.presence.states import PulseCode
from rendezvous.core.tokenbucket import TokenBucket
from rendezvous.wire.signed import ShortKind

__all__ = ["Observer"]

FIRST_TIMES = (0.1, 0.2, 0.4, 0.8)
"""Seconds after the first request at which an observation that has no answer is repeated. Later it is each second."""

REPEAT = 1.0

CHECK_RATE, CHECKS = 1.0, 20.0
"""Address checks that are answered: in a second, and at once. Copies that an eavesdropper sends from other sources look
the same."""


@attrs.define
class _Question:
    """What one socket asks one UDP port of the server."""

    endpoint: SocketEndpoint
    port: int
    target: Address
    sent: dict[bytes, float] = attrs.field(factory=dict)
    address: Address | None = None


class Observer:
    """
    Observes the sockets of one round.

    :param reactor: provides ``IReactorTime``.
    :param signer: of the client.
    :param attempt: the 8 bytes of its id.
    :param round: from 1 on.
    :ivar round_trip: the shortest time to an answer, in seconds; ``None`` before the first.
    """

    def __init__(self, reactor: Any, signer: Signer, attempt: bytes, round: int) -> None:
        self._reactor = reactor
        self._signer = signer
        self._attempt = attempt
        self._round = round
        self._questions: list[_Question] = []
        self._began = 0.0
        self._timer = Timer(reactor, self._ask)
        self._times: list[float] = []
        self._checks = TokenBucket(CHECK_RATE, CHECKS)
        self._is_over = False
        self.round_trip: float | None = None

    def start(self, endpoints: Iterable[SocketEndpoint], targets: Callable[[bool], Sequence[Address]]) -> None:
        """
        Send the first requests.

        :param endpoints: the sockets.
        :param targets: gives the first two UDP ports of the server, for IPv4 and for IPv6.
        """
        self._questions = [
            _Question(endpoint, port, target)
            for endpoint in endpoints
            for port, target in enumerate(targets(endpoint.local.ipv6))
        ]
        self._began = self._reactor.seconds()
        self._times = list(FIRST_TIMES)
        self._ask()

    def stop(self) -> None:
        """Send no more, not even answers to address checks."""
        self._is_over = True
        self._timer.cancel()

    def receive(self, endpoint: SocketEndpoint, datagram: bytes, source: Address) -> bool:
        """
        Take a datagram of the server: an answer to an observation, or an address check.

        :returns: whether it was one.
        """
        reply = self._signer.reply(datagram)
        if reply is not None:
            self._answered(endpoint, source, reply.request.nonce, reply.code, reply.address)
            return True
        short = self._signer.short(datagram)
        if short is None:
            return False
        wanted = short.kind is ShortKind.ADDRESS_CHECK and short.attempt == self._attempt and not self._is_over
        if wanted and self._checks.take(self._reactor.seconds()):
            endpoint.send(self._signer.answer(short), source)
        return True

    def _ask(self) -> None:
        waiting = [question for question in self._questions if question.address is None]
        for question in waiting:
            datagram, nonce = self._signer.sign(self._attempt, self._round, question.port)
            question.sent[nonce] = self._reactor.seconds()
            question.endpoint.send(datagram, question.target)
        if waiting:
            self._timer.set(self._began + self._times.pop(0) if self._times else self._reactor.seconds() + REPEAT)

    def _answered(
        self, endpoint: SocketEndpoint, source: Address, nonce: bytes, code: PulseCode, address: Address
    ) -> None:
        for question in self._questions:
            asked = question.endpoint is endpoint and question.target == source and nonce in question.sent
            # Any other code says that the attempt does not go on; its state says why.
            if asked and code is PulseCode.ON_TIME:
                took = self._reactor.seconds() - question.sent[nonce]
                self.round_trip = min(took, took if self.round_trip is None else self.round_trip)
                question.address = address
