"""Signed datagrams at a UDP port: signed pulses, observations and answers to address checks; invitations and checks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, Protocol, TypeVar

from rendezvous.core.addresses import Address, shown
from rendezvous.core.presence.signedrequests import Proof, Refusal, Request
from rendezvous.core.presence.states import PulseCode
from rendezvous.core.protocols import Protocol as Switch
from rendezvous.counters import DROPPED_DATAGRAMS
from rendezvous.errors import RendezvousError, WireError
from rendezvous.udp.shared import PORT_NUMBERS, Attempts, Datagrams, Drop
from rendezvous.wire import signed

__all__ = ["ClientDatagrams", "Port", "SignedDatagrams"]

T = TypeVar("T")


class Port(Protocol):
    """
    What is needed of a UDP port. It is a :class:`rendezvous.udp.protocol.RendezvousDatagrams`.

    :ivar number: of its socket.
    :ivar place: its place among the UDP ports, from 0 on.
    """

    number: int
    place: int

    def pay(self, addr: Address) -> bool:
        """:returns: whether the sender of a request has a token for it, which is taken."""

    def drop(self, reason: Drop) -> None:
        """Count a datagram that is dropped."""

    def send(self, datagram: bytes, addr: Address) -> None:
        """Send a datagram; if that is not possible, count it."""

    def decide(
        self, verb: Coroutine[Any, Any, T], answer: Callable[[T], None], refuse: Callable[[RendezvousError], None]
    ) -> None:
        """Run a verb of the store, and answer at once unless the store has to wait."""


class SignedDatagrams:
    """
    Takes the signed datagrams of a port.

    Only the pulse of a known client takes no token. An attacker can cause all others: with clients that were registered
    and have ended, or by taking part in an attempt.
    """

    def __init__(self, port: Port, shared: Datagrams) -> None:
        self._port, self._shared = port, shared

    def take_request(self, datagram: bytes, addr: Address) -> None:
        """Answer a signed pulse or an observation."""
        port, shared = self._port, self._shared
        try:
            request = signed.decode_request(datagram)
        except WireError:
            port.drop(Drop.MALFORMED_SIGNED)
            return
        if not (shared.is_on(Switch.RENDEZVOUS) if request.is_pulse else shared.attempts):
            port.drop(Drop.PROTOCOL_OFF)
            return
        if not addr[1] and not request.is_pulse:
            # No answer can be sent to port 0, nor any probe: the peer must not get this address.
            port.drop(Drop.UNSENDABLE)
            return
        now = shared.clock.seconds()
        proof = shared.store.live.signed.check(request, datagram, port.place, now)
        if isinstance(proof, Refusal):
            port.drop(Drop(proof))
        elif (request.is_pulse and proof.slot) or port.pay(addr):
            reply = partial(self._reply, datagram, proof, addr)
            if request.is_pulse:
                reply(shared.store.live.signed.take_pulse(request, proof, addr, now, port.number))
            elif shared.attempts is not None:
                observed = _observe(shared.attempts, request, port.place, addr, now)
                port.decide(observed, partial(self._observed, reply, addr), self._store_unavailable)

    def _observed(self, reply: Callable[[PulseCode | None], None], addr: Address, code: PulseCode | None) -> None:
        if code is PulseCode.ON_TIME:
            # The source may be forged. What it earns here is all that address checks may send to this host.
            self._shared.amplification.earn(_any_port(addr), signed.SIGNED_SIZE, signed.SIGNED_SIZE)
        reply(code)

    def _reply(self, datagram: bytes, proof: Proof, addr: Address, code: PulseCode | Refusal | None) -> None:
        if isinstance(code, PulseCode):
            self._shared.served.signed += 1
            self._port.send(signed.reply_to(datagram, code, addr, proof.datagram_key), addr)
        else:
            self._port.drop(Drop(code or Refusal.REPEATED))

    def take_check_answer(self, datagram: bytes, addr: Address) -> None:
        """Take the answer to an address check."""
        port, shared = self._port, self._shared
        if shared.attempts is None:
            port.drop(Drop.PROTOCOL_OFF)
            return
        if not port.pay(addr):
            return
        try:
            answer = signed.decode_short(datagram)
        except WireError:
            port.drop(Drop.MALFORMED_SIGNED)
            return
        now = shared.clock.seconds()
        client_id = shared.attempts.client_of_check(answer.attempt, answer.nonce)
        if client_id is None or not shared.store.live.signed.is_from(client_id, datagram, now):
            port.drop(Drop.WRONG_MAC)
            return
        checked = shared.attempts.take_check_answer(answer.attempt, answer.nonce, now)
        port.decide(checked, lambda _: None, self._store_unavailable)

    def _store_unavailable(self, error: RendezvousError) -> None:
        self._port.drop(Drop.STORE_UNAVAILABLE)


def _observe(
    attempts: Attempts, request: Request, place: int, addr: Address, now: float
) -> Coroutine[Any, Any, PulseCode | None]:
    address = shown(addr[0]), addr[1]
    return attempts.observe(request.client_id, request.attempt, request.round, request.time, place, address, now)


def _any_port(addr: Address) -> Address:
    return shown(addr[0]), 0


class ClientDatagrams:
    """
    Sends datagrams to clients that answer no request. Nothing here raises.

    :param shared: the parts that all ports share.
    """

    def __init__(self, shared: Datagrams) -> None:
        self._shared = shared

    def send_invitation(self, client_id: bytes, attempt: bytes, nonce: bytes) -> bool:
        """
        Invite a client: send a datagram to the address that its pulses have proven, from the socket that they come to.

        :param attempt: 8 bytes.
        :param nonce: 4 bytes.
        :returns: whether there is such an address and such a socket. Whether the datagram arrives is not known.
        """
        found = self._shared.store.live.signed.proven_address(client_id, self._shared.clock.seconds())
        if found is None:
            return False
        address, number = found
        invitation = signed.Short(signed.ShortKind.INVITATION, attempt, nonce)
        return self._send(number, self._signed(client_id, invitation), address)

    def send_check(self, client_id: bytes, attempt: bytes, nonce: bytes, address: Address) -> bool:
        """
        Check an address that a client has named: send a datagram there, from the last UDP port.

        :param attempt: 8 bytes.
        :param nonce: 4 bytes; the answer has the same.
        :returns: whether a UDP port is open, and the host has sent enough: see :mod:`rendezvous.core.amplification`.
        """
        # Of several sockets on that port, the first.
        number = max(self._shared.sockets, key=lambda number: (number % PORT_NUMBERS, -number), default=0)
        datagrams = self._signed(client_id, signed.Short(signed.ShortKind.ADDRESS_CHECK, attempt, nonce))
        if not self._shared.amplification.spend(_any_port(address), signed.SHORT_SIZE * len(datagrams)):
            self._shared.counters.family(DROPPED_DATAGRAMS)[Drop.AMPLIFICATION_LIMIT] += 1
            return False
        return self._send(number, datagrams, address)

    def _signed(self, client_id: bytes, short: signed.Short) -> list[bytes]:
        """:returns: a datagram for each key that the client may have; it drops those signed with another one."""
        keys = self._shared.store.live.signed.datagram_keys(client_id, self._shared.clock.seconds())
        return [signed.encode_short(short, key) for key in keys]

    def _send(self, number: int, datagrams: Iterable[bytes], address: Address) -> bool:
        socket = self._shared.sockets.get(number)
        if socket is None:
            return False
        for datagram in datagrams:
            socket.send_to(datagram, address)
        return True
