"""The UDP side of the shell: one protocol that tells the dialects apart, asks the store, and replies."""

from __future__ import annotations

from collections import Counter

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from rendezvous.core.presence import PulseCode
from rendezvous.errors import RendezvousError
from rendezvous.interfaces import IStore
from rendezvous.wire import pulse
from rendezvous.wire.demux import Dialect, classify

__all__ = ["RendezvousDatagrams"]

Address = tuple[str, int]

_ON_TIME = pulse.encode_reply(PulseCode.ON_TIME)


class RendezvousDatagrams(DatagramProtocol):
    """
    Every dialect of one UDP port. Give it to ``listenUDP``, yours or the server's.

    Nothing that arrives here raises: what cannot be read is dropped and counted.

    :param dropped: counts what was dropped, by reason; shared with whoever reports it.
    """

    noisy = False
    _log = Logger()

    def __init__(self, store: IStore, clock: IReactorTime, dropped: Counter[str]) -> None:
        self._store = store
        self._keep_alive = store.presence.keep_alive
        self._seconds = clock.seconds
        self._dropped = dropped

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """Answer at once the pulse of a client that is ONLINE where it is known to be; sort out all else."""
        try:
            if self._keep_alive(datagram, addr, self._seconds()):
                self._send(_ON_TIME, addr)
            else:
                self._sort(datagram, addr)
        except Exception:
            # The last resort: a fault of ours, which one datagram must not turn into the end of the port.
            self._log.failure("a datagram could not be handled")

    def _sort(self, datagram: bytes, addr: Address) -> None:
        key = datagram
        if datagram not in self._store.presence:
            if classify(datagram) is not Dialect.PULSE:
                self._dropped["unreadable"] += 1
                return
            key = pulse.decode(datagram)
        Deferred.fromCoroutine(self._pulse(key, addr)).addErrback(self._failed)

    async def _pulse(self, key: bytes, addr: Address) -> None:
        code = await self._store.pulse(key, addr, self._seconds())
        self._send(pulse.encode_reply(code), addr)

    def _failed(self, failure: Failure) -> None:
        # Silence is the honest answer: the client repeats its pulse, and the store may be back by then.
        if failure.check(RendezvousError):
            self._dropped["store"] += 1
        else:
            self._log.failure("a pulse could not be handled", failure)

    def _send(self, datagram: bytes, addr: Address) -> None:
        transport = self.transport
        if transport is None:
            return  # The port was closed while the store was still at it.
        try:
            transport.write(datagram, addr)
        except OSError:
            self._dropped["unsendable"] += 1
