"""
The UDP side of the shell: one protocol that tells the protocols of a port apart, asks the store, and replies.

What is refused is refused as early as it can be: a request over its source's rate is not read any further.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from rendezvous.core.addresses import Address
from rendezvous.core.identity import KEY_SIZE
from rendezvous.core.presence.states import PulseCode
from rendezvous.core.protocols import Protocol
from rendezvous.core.replies import Pushed, PushNotice, Replies, Source
from rendezvous.core.sources import source_network
from rendezvous.counters import DROPPED_DATAGRAMS
from rendezvous.eager import eager
from rendezvous.errors import RendezvousError, WireError
from rendezvous.refusals import Refusals
from rendezvous.udp.shared import PORT_NUMBERS, Datagrams, Drop
from rendezvous.udp.signed import SignedDatagrams
from rendezvous.wire import pulse, stun, tracker
from rendezvous.wire.demux import Kind, classify

__all__ = ["BYTES_A_TOKEN", "RendezvousDatagrams"]

T = TypeVar("T")

BYTES_A_TOKEN = 128
"""Bytes of an answer that one token of the rate limit pays for; a longer answer costs more of them."""

_PULSE_REPLIES: Final = {code: pulse.encode_reply(code) for code in PulseCode}
_ON_TIME: Final = _PULSE_REPLIES[PulseCode.ON_TIME]


def _keep_none_alive(datagram: bytes, addr: Address, now: float, local_port: int) -> bool:
    return False


class RendezvousDatagrams(DatagramProtocol):
    """
    Every protocol of one UDP port. Give it to ``listenUDP``, yours or the server's.

    Nothing that arrives here raises: what cannot be read is dropped and counted.

    :param shared: the parts that all ports share.
    :ivar shared: the same.
    :param dialect: which of the tracker's dialects this port speaks.
    :ivar keep_alive: takes the pulse of a client that is ONLINE where it is known to be, and says whether it was one.
    :ivar number: of the socket, by which the tracker's peers and the clients refer to it.
    :ivar place: its place among the UDP ports of the server, from 0 on, by which signed requests refer to it.
    """

    noisy = False
    _log = Logger()
    number = place = 0

    def __init__(self, shared: Datagrams, dialect: tracker.Dialect) -> None:
        self.shared = shared
        self._store = shared.store
        self._bans = shared.store.bans
        self._served = shared.served
        self.choose()
        self._seconds = shared.clock.seconds
        self._dropped = shared.counters.family(DROPPED_DATAGRAMS, Drop)
        self._limited = shared.counters.networks(DROPPED_DATAGRAMS)
        self._refusals = Refusals(shared.counters)
        self._dialect = dialect
        signed = SignedDatagrams(self, shared)
        takers = (
            (Kind.STUN, Protocol.STUN, self._take_stun),
            (Kind.TRACKER, Protocol.TRACKER, self._take_tracker),
            (Kind.PULSE, Protocol.RENDEZVOUS, self._take_pulse),
        )
        self._takers: dict[Kind, Callable[[bytes, Address], None]] = {
            kind: take for kind, protocol, take in takers if protocol in shared.protocols
        }
        # What these belong to is in what they say.
        self._takers |= {Kind.SIGNED: signed.take_request, Kind.CHECK_ANSWER: signed.take_check_answer}

    def choose(self) -> None:
        """
        Note what has changed of what the ports share.

        What keeps clients alive is chosen here, so that being able to turn pulses off costs a pulse nothing.
        """
        self._is_running = self.shared.is_running
        if self.number in self.shared.sockets:
            self.place = self.shared.ports.index(self.number % PORT_NUMBERS)
        self.keep_alive = self._store.live.keep_alive if self.is_on(Protocol.RENDEZVOUS) else _keep_none_alive

    def is_on(self, protocol: Protocol) -> bool:
        """:returns: whether datagrams of a protocol are answered at present."""
        return self.shared.is_on(protocol)

    @property
    def is_limited(self) -> bool:
        """:returns: whether answers cost tokens at present."""
        return self.shared.limit.is_on

    def startProtocol(self) -> None:
        """Take a number, by which other sockets find this one."""
        transport: Any = self.transport
        number = transport.getHost().port
        while number in self.shared.sockets:
            number += PORT_NUMBERS
        self.number = number
        self.shared.sockets[number] = self
        self.shared.choose()

    def stopProtocol(self) -> None:
        """Give the number back."""
        if self.shared.sockets.pop(self.number, None) is not None:
            self.shared.choose()

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """Answer one datagram."""
        self.datagrams_received(((datagram, addr),))

    def datagrams_received(self, datagrams: Iterable[tuple[bytes, Any]]) -> None:
        """
        Answer datagrams that were there at the same moment.

        The pulse of a client that is ONLINE where it is known to be is answered here, and all else is sorted out.

        :param datagrams: each with the address that the socket has shown.
        """
        if self._bans.has_networks:
            datagrams = self._admitted(datagrams)
        keep_alive, now, number, transport = self.keep_alive, self._seconds(), self.number, self.transport
        write = self.send if transport is None else transport.write
        kept = received = 0
        for datagram, address in datagrams:
            addr = address[:2]
            try:
                if keep_alive(datagram, addr, now, number):
                    kept += 1
                    received += len(datagram)
                    write(_ON_TIME, addr)
                else:
                    self._sort(datagram, addr)
            except OSError:
                self.drop(Drop.UNSENDABLE)
            except Exception:
                # The last resort: a fault of ours, which one datagram must not turn into the end of the port.
                self._log.failure("a datagram could not be handled", event="datagram_failed")
        if kept:
            self._served.batch(PulseCode.ON_TIME, kept, received)

    def _admitted(self, datagrams: Iterable[tuple[bytes, Any]]) -> Iterator[tuple[bytes, Any]]:
        """Yield the datagrams that do not come from banned networks; the others are dropped."""
        now = self._seconds()
        for datagram, address in datagrams:
            if self._bans.of_host(address[0], now) is None:
                yield datagram, address
            else:
                self.drop_banned(len(datagram))

    def drop_banned(self, size: int) -> None:
        """Count a dropped datagram of so many bytes from a banned network."""
        self._served.received += size
        self.drop(Drop.BANNED)

    def sort(self, datagram: bytes, addr: Address) -> None:
        """Take a datagram for which :attr:`keep_alive` was asked already, and which it has not taken."""
        try:
            self._sort(datagram, addr)
        except Exception:
            self._log.failure("a datagram could not be handled", event="datagram_failed")

    def _sort(self, datagram: bytes, addr: Address) -> None:
        self._served.received += len(datagram)
        if not self._is_running:
            self.drop(Drop.STORE_UNAVAILABLE)
            return
        is_known = len(datagram) == KEY_SIZE and datagram in self._store.live
        kind = Kind.PULSE if is_known else classify(datagram)
        if kind is None:
            self._dropped[Drop.UNREADABLE] += 1
        elif (take := self._takers.get(kind)) is None:
            self._dropped[Drop.PROTOCOL_OFF] += 1
        elif is_known:
            self._take_known_key(datagram, addr)
        else:
            take(datagram, addr)

    # One for each protocol

    def _take_pulse(self, datagram: bytes, addr: Address) -> None:
        """Answer a pulse in hex, or one with an unknown key."""
        key = pulse.decode(datagram)
        if len(datagram) == len(key):
            self._ask_presence(key, addr, self._seconds())
        elif self.keep_alive(key, addr, self._seconds(), self.number):
            self._answer_pulse(PulseCode.ON_TIME, addr)
        elif key in self._store.live:
            self._take_known_key(key, addr)
        else:
            self._ask_presence(key, addr, self._seconds())

    def _take_known_key(self, key: bytes, addr: Address) -> None:
        """Answer a first or late pulse, or one from a new address."""
        now = self._seconds()
        if self._store.live.may_move(key, now):
            self._ask_presence(key, addr, now)
        else:
            self.drop(Drop.PULSE_LIMIT)

    def _ask_presence(self, key: bytes, addr: Address, now: float) -> None:
        self.decide(
            self._store.pulse(key, addr, now, self.number),
            lambda code: self._answer_pulse(code, addr),
            # The client pulses again if it gets no reply, and the store may be usable by then. Any code would be wrong.
            lambda error: self.drop(Drop.STORE_UNAVAILABLE),
        )

    def _answer_pulse(self, code: PulseCode, addr: Address) -> None:
        self._served.pulse(code)
        self.send(_PULSE_REPLIES[code], addr)

    def _take_stun(self, datagram: bytes, addr: Address) -> None:
        if not self.pay(addr):
            return
        reply = stun.answer(datagram, addr)
        if reply is None:
            self.drop(Drop.MALFORMED_STUN)
        else:
            self._served.stun += 1
            self.send(reply, addr)

    def _take_tracker(self, datagram: bytes, addr: Address) -> None:
        if not self.pay(addr):
            return
        source, size = (addr[0], addr[1], self.number), len(datagram)
        try:
            request = tracker.decode(datagram)
        except tracker.FieldError as error:
            self._answer(tracker.Failed(str(error)), source, size)
        except WireError:
            self.drop(Drop.MALFORMED_TRACKER)
        else:
            self.decide(
                self._ask_tracker(request, source),
                lambda replies: self._send_replies(replies, source, size),
                lambda error: self._refuse(error, source, size),
            )

    def _ask_tracker(self, request: tracker.Request, source: Source) -> Coroutine[Any, Any, Replies]:
        now = self._seconds()
        match request:
            case tracker.PulseRequest():
                return self._store.tracker_pulse(
                    source,
                    now,
                    override=request.override,
                    ip=request.ip,
                    port=request.port,
                    multiaddr=request.multiaddr,
                    renew_share_id=request.renew_share_id,
                )
            case tracker.Announce():
                return self._store.announce(source, now)
            case tracker.Alive():
                return self._store.alive(source, now)
            case tracker.Push(share_id):
                return self._store.push(source, now, share_id)

    def _send_replies(self, replies: Replies, caller: Source, size: int) -> None:
        """Send what a request of so many bytes has led to: its answer, and notices to others."""
        (answer, _), *notices = replies
        self._answer(answer, caller, size)
        for notice, receiver in notices:
            socket = self.shared.sockets.get(receiver[2])
            if socket is not None:
                socket.send_notice(notice, receiver[:2], is_caller=receiver[:2] == caller[:2])

    def _refuse(self, error: RendezvousError, caller: Source, size: int) -> None:
        """Answer a request that the store has refused."""
        self._refusals.note(error, source_network(caller[0]))
        self._answer(tracker.Failed(error.message), caller, size)

    def _answer(self, reply: tracker.Message, caller: Source, size: int) -> None:
        """Send the answer to a request of so many bytes, with its multiaddr if the caller has the credit for it."""
        self._served.tracker += 1
        forms = self._encode(reply)
        if forms is None:
            return
        addr, (full, short) = caller[:2], forms
        self.shared.amplification.earn(addr, size, len(short))
        # The request has paid for the first bytes already.
        self._send_form(full, short, addr, paid=BYTES_A_TOKEN)

    def send_notice(self, notice: tracker.Message, addr: Address, *, is_caller: bool) -> None:
        """
        Send a message that answers no request of its receiver, if this port's dialect has such a message.

        :param is_caller: whether the receiver has caused it, and so is sent a second datagram for its request.
        """
        forms = self._encode(notice)
        if forms is None:
            return
        full, short = forms
        if is_caller and not self.shared.amplification.spend(addr, len(short)):
            self.drop(Drop.AMPLIFICATION_LIMIT)
            return
        self._send_form(full, short, addr)

    def _encode(self, message: tracker.Message) -> tuple[bytes, bytes] | None:
        """:returns: a message in full and without its multiaddr, if this port's dialect has such a message."""
        full = tracker.encode(message, self._dialect)
        if full is None:
            return None
        if isinstance(message, (Pushed, PushNotice)) and message.peer.multiaddr:
            return full, tracker.encode(message, self._dialect, with_multiaddr=False) or full
        return full, full

    def _send_form(self, full: bytes, short: bytes, addr: Address, *, paid: int = 0) -> None:
        """
        Send a message, in full if its receiver has the credit for the difference.

        :param paid: for how many bytes the receiver has paid tokens already.
        """
        datagram = full if full is short or self.shared.amplification.spend(addr, len(full) - len(short)) else short
        if self.pay(addr, len(datagram) - paid):
            self.send(datagram, addr)

    # What they have in common

    def pay(self, addr: Address, size: int = BYTES_A_TOKEN) -> bool:
        """:returns: whether the receiver of an answer of so many bytes has the tokens for it, which are taken."""
        limit = self.shared.limit
        if size <= 0 or not limit.is_on or limit.allow(addr[0], self._seconds(), -(-size // BYTES_A_TOKEN)):
            return True
        self._refuse_rate(addr)
        return False

    def pay_for_some(self, addr: Address, count: int) -> int:
        """:returns: for how many of so many short answers, from the first on, the receiver has the tokens."""
        paid = self.shared.limit.take_some(source_network(addr[0]), self._seconds(), count)
        for _ in range(count - paid):
            self._refuse_rate(addr)
        return paid

    def _refuse_rate(self, addr: Address) -> None:
        self.drop(Drop.RATE_LIMIT)
        network = source_network(addr[0]).subscriber
        self._limited.add(network)
        self.shared.counters.limited.add(network, "rate-limit")

    def drop(self, reason: Drop) -> None:
        """Count a datagram that is dropped."""
        self._dropped[reason] += 1

    def decide(
        self,
        verb: Coroutine[Any, Any, T],
        answer: Callable[[T], None],
        refuse: Callable[[RendezvousError], None],
    ) -> None:
        """Run a verb of the store, and answer at once unless the store has to wait."""
        try:
            result = eager(verb)
        except RendezvousError as error:
            refuse(error)
            return
        if not isinstance(result, Deferred):
            answer(result)
            return

        def failed(failure: Failure) -> None:
            if isinstance(failure.value, RendezvousError):
                refuse(failure.value)
            else:
                self._log.failure("a datagram could not be handled", failure, event="datagram_failed")

        result.addCallbacks(answer, failed).addErrback(failed)

    def send(self, datagram: bytes, addr: Address) -> None:
        """Send a datagram; if that is not possible, count it."""
        transport = self.transport
        if transport is None:
            return  # The port was closed while the store was still at it.
        try:
            transport.write(datagram, addr)
        except OSError:
            self.drop(Drop.UNSENDABLE)
        else:
            self._served.sent += len(datagram)

    def send_to(self, datagram: bytes, address: Address) -> None:
        """Send a datagram that answers no request; see :class:`~rendezvous.udp.shared.Socket`."""
        if not self.shared.notices.allow(address[0], self._seconds()):
            self._refuse_rate(address)
            return
        transport: Any = self.transport
        host, port = address
        if ":" not in host and ":" in transport.getHost().host:
            host = f"::ffff:{host}"
        if (":" in host) == (":" in transport.getHost().host):
            self.send(datagram, (host, port))
        else:
            self.drop(Drop.UNSENDABLE)
