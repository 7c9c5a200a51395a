"""
The fast path of a UDP port: many datagrams at each wake-up, decided together, answered with one system call.

It stands between Twisted's port and the protocol. Twisted's port owns the socket and opens and closes it. The reactor
calls us instead of it when there is something to read; we hand to the protocol what is not a common case.
"""

from __future__ import annotations

import socket
import typing
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from zope.interface import implementer

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IListeningPort, ILoggingContext, IReadDescriptor
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from rendezvous.core.addresses import Address
from rendezvous.core.identity import KEY_SIZE
from rendezvous.core.presence.presence import Presence
from rendezvous.core.presence.states import PulseCode
from rendezvous.core.protocols import Protocol
from rendezvous.counters import DROPPED_DATAGRAMS
from rendezvous.udp.banfilter import BanFilter
from rendezvous.udp.mmsg import MAX_REPLY, MESSAGE_SIZE, Batch, Calls
from rendezvous.udp.port import DATAGRAMS_A_TURN, FairPort, GroupPort, in_fragments, listen_datagrams, send_whole
from rendezvous.udp.protocol import RendezvousDatagrams
from rendezvous.udp.shared import Drop
from rendezvous.wire import pulse

if typing.TYPE_CHECKING:
    from rendezvous.udp.workers import Workers

__all__ = ["BATCHES", "Decide", "FastPort", "OneByOne", "listen_fast"]


#: Batches that are taken before timers and other sockets have their turn: up to 512 datagrams, in some 2 ms.
BATCHES = 2


class Decide(typing.Protocol):
    """
    Decides a batch. It is made for one port and its :class:`Batch`.

    :ivar way: how, for people.
    """

    way: str

    def __call__(self, rows: Sequence[int], now: float) -> int:
        """
        Decide the common cases, queue the replies at the batch, and hand each other row to the protocol.

        :param rows: which rows of the batch to look at, in the order they came.
        :param now: server time.
        :returns: how many were handed over.
        """


class OneByOne:
    """
    Decides a batch in a plain loop, in its order.

    :param protocol: whose pulses they are.
    :param hand_over: hands a row that is no such pulse to the protocol.
    """

    way = "without NumPy"

    def __init__(self, batch: Batch, protocol: RendezvousDatagrams, hand_over: Callable[[int], None]) -> None:
        self._batch, self._hand_over = batch, hand_over
        self._protocol = protocol
        reply = pulse.encode_reply(PulseCode.ON_TIME)
        on_time = batch.rows(len(reply), len(reply))
        on_time.buffers[:] = reply * batch.size
        self._on_time = [
            bytes(on_time.messages[at : at + MESSAGE_SIZE]) for at in range(0, len(on_time.messages), MESSAGE_SIZE)
        ]

    def __call__(self, rows: Sequence[int], now: float) -> int:
        """Decide; see :class:`Decide`."""
        batch, keep_alive, number = self._batch, self._protocol.keep_alive, self._protocol.number
        kept = handed_over = 0
        for row in rows:
            if batch.length(row) == KEY_SIZE and keep_alive(batch.datagram(row), batch.source(row), now, number):
                batch.queue(self._on_time[row])
                kept += 1
            else:
                self._hand_over(row)
                handed_over += 1
        if kept:
            self._protocol.shared.served.batch(PulseCode.ON_TIME, kept, kept * KEY_SIZE)
        return handed_over


@implementer(ILoggingContext)
class _Gate(DatagramProtocol):
    """The protocol of Twisted's port: it passes on that the port closes."""

    noisy = False

    def __init__(self, port: FastPort) -> None:
        self.port = port

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        self.port.protocol.datagramReceived(datagram, addr)

    def stopProtocol(self) -> None:
        self.port.closed()

    def logPrefix(self) -> str:
        return type(self.port.protocol).__name__


@implementer(IListeningPort, IReadDescriptor)
class FastPort:
    """
    A listening UDP port that takes datagrams in batches. To its protocol it is the transport, as far as one needs it.

    :param reactor: provides ``IReactorFDSet`` and ``IReactorUDP``.
    :param calls: the system calls.
    :param protocol: what this is the transport of.
    :param take: takes one datagram that was not decided with the others of its batch; no pulse is left to it that
        :attr:`RendezvousDatagrams.keep_alive` takes.
    :param seconds: tells server time.
    :param dropped: counts what is dropped, by reason.
    :param ban_filter: removes the datagrams of banned networks.
    :ivar on_closed: called when the port closes.
    """

    log = Logger()
    #: What the line about the port at start-up says of processes that share it.
    shared_by = ""
    # The source of the row that the protocol has at present.
    _row = 0
    _source: Address | None = None

    def __init__(
        self,
        reactor: Any,
        calls: Calls,
        protocol: DatagramProtocol,
        take: Callable[[bytes, Address], None],
        seconds: Callable[[], float],
        dropped: dict[str, int],
        ban_filter: BanFilter,
    ) -> None:
        self.protocol = protocol
        self._reactor, self._calls, self._take_one = reactor, calls, take
        self._seconds, self._dropped, self._ban_filter = seconds, dropped, ban_filter
        self.on_closed: Callable[[], None] = _nothing

    # A port

    @property
    def udp_path(self) -> str:
        """:returns: what the line about the port at start-up says of it."""
        return f"fast path {self._decide.way}{self.shared_by}"

    def open(
        self,
        number: int,
        interface: str,
        decide: Callable[[Batch, Callable[[int], None]], Decide],
        kind: type[FairPort] = FairPort,
    ) -> None:
        """
        Listen.

        :param decide: makes what decides a batch, of the batch and :meth:`hand_over`.
        :param kind: what makes Twisted's port.
        :raises CannotListenError: the port is taken, or not ours to take.
        """
        opened: Any = listen_datagrams(self._reactor, number, _Gate(self), interface, kind)
        self._port = opened
        self._socket = self._port.getHandle()
        self._fd: int = self._socket.fileno()
        send_whole(self._socket)
        self._batch = Batch(self._calls, self._socket.family)
        self._most = self._batch.size
        transport: Any = self
        self.protocol.makeConnection(transport)
        self._decide = decide(self._batch, self.hand_over)
        self._port.stopReading()
        self._reactor.addReader(self)

    def closed(self) -> None:
        """Twisted's port is about to close the socket."""
        self._reactor.removeReader(self)
        self.on_closed()
        self.protocol.doStop()

    def another_socket(self) -> socket.socket:
        """
        :returns: another socket of a port that was opened as a :class:`~rendezvous.udp.port.GroupPort`.
        :raises OSError: it cannot be bound.
        """
        made: socket.socket = self._port.another_socket()
        send_whole(made)
        return made

    def getHost(self) -> IAddress:
        """:returns: the port's own address."""
        address: IAddress = self._port.getHost()
        return address

    def startListening(self) -> None:
        """Do nothing: it listens from the start."""

    def stopListening(self) -> Deferred[None] | None:
        """Close; fires when the socket is closed."""
        self._reactor.removeReader(self)
        return self._port.stopListening()  # type: ignore[no-any-return]

    # A reader

    def fileno(self) -> int:
        """:returns: the socket's number."""
        return self._fd

    def logPrefix(self) -> str:
        """:returns: how Twisted's log calls this."""
        return "FastPort"

    def connectionLost(self, reason: Failure) -> None:
        """Close at once: the reactor is ending."""
        self._port.connectionLost(reason)

    def doRead(self) -> None:
        """Take what is waiting, a bounded number of batches."""
        self.read(self._fd)

    def read(self, fd: int) -> int:
        """
        Do :meth:`doRead` for a socket of the same port. The replies are sent from the port's own socket.

        :param fd: the descriptor of the socket.
        :returns: how many datagrams were read: up to :data:`BATCHES` batches.
        """
        taken = handed_over = 0
        for _ in range(BATCHES):
            most = self._most
            try:
                rows = self._batch.receive(fd, most)
            except OSError:
                self._dropped[Drop.UNRECEIVABLE] += 1
                break
            if rows:
                uncommon = self._take(rows)
                # A full batch of datagrams that are decided one by one would take 5 ms, and 20 ms if all of them were
                # announcements to the tracker.
                self._most = DATAGRAMS_A_TURN if uncommon > DATAGRAMS_A_TURN // 2 else self._batch.size
                handed_over += uncommon
                taken += rows
            if rows < most or handed_over >= DATAGRAMS_A_TURN:
                break
        return taken

    def take(self, names: bytes, datagrams: Sequence[bytes]) -> None:
        """
        Take datagrams that another process has received on this port, as one batch.

        :param names: their source addresses; see :meth:`~rendezvous.udp.mmsg.Batch.fill`.
        :param datagrams: at most as many as a batch holds.
        """
        self._batch.fill(names, datagrams)
        self._take(len(datagrams))

    def _take(self, rows: int) -> int:
        """:returns: how many datagrams were not decided with the others."""
        handed_over = 0
        try:
            now = self._seconds()
            if self._ban_filter.is_needed:
                rows = self._ban_filter.apply(self._batch, rows, now)
            handed_over = self._decide(range(rows), now)
        except Exception:
            # The last resort: a fault of ours, which one batch must not turn into the end of the port.
            self.log.failure("a batch of datagrams could not be handled", event="batch_failed")
        finally:
            self._source = None
            self._flush()
        return handed_over

    def _flush(self) -> None:
        failed = self._batch.flush(self._fd)
        if failed:
            self._dropped[Drop.UNSENDABLE] += failed

    def hand_over(self, row: int) -> None:
        """Have the protocol take one datagram."""
        batch = self._batch
        self._row, self._source = row, batch.source(row)
        self._take_one(batch.datagram(row), self._source)

    # A transport

    def write(self, datagram: bytes, addr: Address | None = None) -> None:
        """
        Send a datagram; what answers the row that is being handled waits for the end of the batch.

        :raises OSError: the system cannot send it.
        """
        if addr is not None and addr == self._source and len(datagram) <= MAX_REPLY:
            self._batch.reply(self._fd, self._row, datagram)
        else:
            # What is queued was to be sent before it.
            self._flush()
            if len(datagram) > MAX_REPLY:
                with in_fragments(self._socket):
                    self._socket.sendto(datagram, addr)
            else:
                self._socket.sendto(datagram, addr)


def _nothing() -> None:
    pass


def listen_fast(
    reactor: Any,
    number: int,
    protocol: RendezvousDatagrams,
    calls: Calls | None,
    interface: str = "",
    workers: Workers | None = None,
) -> IListeningPort:
    """
    Open a UDP port, on the fast path if there is one.

    :param calls: the system calls; ``None`` for the portable path.
    :param workers: the processes that share the port, if there are any.
    :raises CannotListenError: the port is taken, or not ours to take.
    """
    if calls is None:
        return listen_datagrams(reactor, number, protocol, interface)
    shared = protocol.shared
    dropped = shared.counters.family(DROPPED_DATAGRAMS)
    ban_filter = BanFilter(shared.store.bans, protocol.drop_banned)
    port = FastPort(reactor, calls, protocol, protocol.sort, shared.clock.seconds, dropped, ban_filter)
    port.open(number, interface, partial(_decide, protocol), FairPort if workers is None else GroupPort)
    if workers is not None:
        workers.add(port, protocol.number)
    return port


def _decide(protocol: RendezvousDatagrams, batch: Batch, hand_over: Callable[[int], None]) -> Decide:
    """Decide with NumPy where it is installed, otherwise in a plain loop."""
    one_by_one = OneByOne(batch, protocol, hand_over)
    try:
        from rendezvous.udp.columns import ColumnPulses
        from rendezvous.udp.signedcolumns import SignedColumns
        from rendezvous.udp.vectorized import Vectorized
    except ImportError:
        return one_by_one
    live = protocol.shared.store.live
    is_table = isinstance(live, Presence)
    in_columns = ColumnPulses(batch, live, protocol.number) if is_table else None
    signed = SignedColumns(batch, live, protocol, protocol.shared.served) if is_table else None
    # What is on may change while the port is open, and so is asked for each batch.
    return Vectorized(
        batch,
        one_by_one,
        lambda: in_columns if protocol.is_on(Protocol.RENDEZVOUS) else None,
        lambda: signed if protocol.is_on(Protocol.RENDEZVOUS) else None,
        protocol,
        lambda: protocol.is_on(Protocol.STUN),
        protocol.shared.served,
    )
