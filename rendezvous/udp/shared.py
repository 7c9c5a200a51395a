"""What the UDP ports of one server share, and why they drop datagrams."""

from __future__ import annotations

import typing
from enum import StrEnum

import attrs

from twisted.internet.interfaces import IReactorTime

from rendezvous.core.addresses import Address
from rendezvous.core.amplification import AmplificationLimit
from rendezvous.core.presence.signedrequests import Refusal
from rendezvous.core.presence.states import PulseCode
from rendezvous.core.protocols import Protocol
from rendezvous.core.ratelimit import RateLimit
from rendezvous.counters import Counters
from rendezvous.interfaces import IStore
from rendezvous.wire import tracker
from rendezvous.wire.pulse import REPLY_SIZE

__all__ = ["PORT_NUMBERS", "Attempts", "Datagrams", "Drop", "Served", "Socket"]

#: Numbers that ports may have.
PORT_NUMBERS = 65536


class Drop(StrEnum):
    """Why a datagram was dropped."""

    UNREADABLE = "unreadable"
    PROTOCOL_OFF = "protocol turned off"
    MALFORMED_STUN = "malformed STUN"
    MALFORMED_TRACKER = "malformed tracker request"
    RATE_LIMIT = "rate limit"
    PULSE_LIMIT = Refusal.PULSE_LIMIT.value
    AMPLIFICATION_LIMIT = "amplification limit"
    MALFORMED_SIGNED = "malformed signed request"
    OTHER_PORT = Refusal.OTHER_PORT.value
    WRONG_TIME = Refusal.WRONG_TIME.value
    WRONG_MAC = Refusal.WRONG_MAC.value
    REPEATED = Refusal.REPEATED.value
    STORE_UNAVAILABLE = "store unavailable"
    UNSENDABLE = "unsendable"
    UNRECEIVABLE = "receive error"
    NOT_HANDED_OVER = "not handed over"
    BANNED = "banned"


@attrs.define
class Served:
    """
    The datagrams that were answered since the process started. What is dropped is counted by :class:`Drop`.

    :ivar on_time: pulses that were answered with 1020.
    :ivar verify: pulses that were answered with 1050.
    :ivar unknown: pulses that were answered with 1060.
    :ivar signed: signed requests.
    :ivar stun: STUN requests.
    :ivar tracker: requests of the tracker.
    :ivar received: bytes of all datagrams that came, those that were dropped included.
    :ivar sent: bytes of all datagrams that were sent.
    """

    on_time: int = 0
    verify: int = 0
    unknown: int = 0
    signed: int = 0
    stun: int = 0
    tracker: int = 0
    received: int = 0
    sent: int = 0

    def pulse(self, code: PulseCode, pulses: int = 1) -> None:
        """Count the answers to so many pulses."""
        if code is PulseCode.ON_TIME:
            self.on_time += pulses
        elif code is PulseCode.VERIFY:
            self.verify += pulses
        else:
            self.unknown += pulses

    def batch(self, code: PulseCode, pulses: int, received: int) -> None:
        """
        Count pulses that were answered together, with the bytes of their answers.

        :param received: bytes of these pulses.
        """
        self.pulse(code, pulses)
        self.received += received
        self.sent += pulses * REPLY_SIZE


class Socket(typing.Protocol):
    """
    What the ports use of one another.

    It is a :class:`rendezvous.udp.protocol.RendezvousDatagrams`.
    """

    def choose(self) -> None:
        """Note what has changed of what the ports share."""

    def send_notice(self, notice: tracker.Message, addr: Address, *, is_caller: bool) -> None:
        """Send a message that answers no request of its receiver."""

    def send_to(self, datagram: bytes, address: Address) -> None:
        """
        Send a datagram that answers no request, unless its receiver has been sent too many of them. What is not sent is
        counted.

        :param address: IPv4 spelled as IPv4, whatever the socket is for.
        """


class Attempts(typing.Protocol):
    """What is asked about datagrams that belong to an attempt."""

    async def observe(
        self, client_id: bytes, attempt: bytes, round: int, time: int, port: int, address: Address, now: float
    ) -> PulseCode | None:
        """
        Take an observation that a client has signed.

        :param time: of the observation, in ms since the epoch.
        :param port: the UDP port of the server that it came to, from 0 on.
        :param address: where it came from, IPv4 spelled as IPv4.
        :returns: what to answer; ``None`` if the time is not later than that of the last observation of this client,
            attempt and port. Then it is dropped.
        """

    def client_of_check(self, attempt: bytes, nonce: bytes) -> bytes | None:
        """:returns: the client id of the one who has to answer an address check; ``None`` if there is no such check."""

    async def take_check_answer(self, attempt: bytes, nonce: bytes, now: float) -> None:
        """Take the answer to an address check, which this client has signed."""


@attrs.define
class Datagrams:
    """
    What all UDP ports of a server share.

    :ivar limit: how many answers of STUN and of the tracker one source may cause; see ``security`` in the docs.
    :ivar protocols: the protocols that are on.
    :ivar counters: what the server counts; dropped datagrams are counted by :class:`Drop`.
    :ivar served: the datagrams that were answered.
    :ivar amplification: how much the tracker and address checks may send to an address, compared with what came from
        there.
    :ivar sockets: the protocols that are listening, by their number. What answers no request is sent by the socket
        that its receiver has sent to, as that is the one which the receiver's NAT lets through. The number is the local
        port; a second socket on one port number, with another address, has 65536 more.
    :ivar attempts: what is asked about attempts; ``None`` if there are none.
    :ivar notices: how many datagrams of attempts that answer no request one host is sent. They take no tokens of
        ``limit``: with invitations an attacker could otherwise use up what the receiver needs for its own requests.
    """

    store: IStore
    clock: IReactorTime
    limit: RateLimit
    protocols: frozenset[Protocol] = frozenset(Protocol)
    counters: Counters = attrs.field(factory=Counters)
    served: Served = attrs.field(factory=Served)
    amplification: AmplificationLimit = attrs.field(factory=AmplificationLimit)
    sockets: dict[int, Socket] = attrs.field(factory=dict)
    attempts: Attempts | None = None
    notices: RateLimit = attrs.field(factory=lambda: RateLimit(0.0, 1.0))
    _is_running: bool = True

    @property
    def is_running(self) -> bool:
        """:returns: whether the store can be used; if not, all datagrams are dropped."""
        return self._is_running

    def is_on(self, protocol: Protocol) -> bool:
        """:returns: whether datagrams of a protocol are answered at present."""
        return self._is_running and protocol in self.protocols

    @property
    def ports(self) -> list[int]:
        """:returns: the numbers of the ports that listen, ascending. What is signed names a port by its place here."""
        return sorted({number % PORT_NUMBERS for number in self.sockets})

    def run(self, is_running: bool) -> None:
        """Say whether the store can be used."""
        self._is_running = is_running
        self.choose()

    def choose(self) -> None:
        """Have all sockets note what has changed."""
        for socket in self.sockets.values():
            socket.choose()
