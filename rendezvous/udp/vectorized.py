"""
The common cases of a batch decided together, with NumPy: pulses, signed pulses, and plain STUN Bindings.

A Binding is plain if it is 20 bytes long: it has no attributes. Nearly all are; the others are left to
:mod:`rendezvous.wire.stun`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from rendezvous.core.identity import KEY_SIZE
from rendezvous.core.presence.states import PulseCode
from rendezvous.udp.mmsg import LENGTH_OFFSET, MESSAGE_SIZE, NAME_SIZE, Batch, keys_in_hex
from rendezvous.udp.rows import replies, words
from rendezvous.wire.signed import REQUEST, SIGNED_SIZE

if TYPE_CHECKING:
    from rendezvous.udp.fast import Decide
    from rendezvous.udp.shared import Served

__all__ = ["FEW", "Pulses", "Rates", "Signed", "Vectorized"]

#: With fewer datagrams a plain loop is faster.
FEW = 12

_BINDING = bytes.fromhex("000100002112a442")
_BINDING_SIZE = 20
_IPV4_RESPONSE, _IPV6_RESPONSE = 32, 44
_MAPPED = int(np.frombuffer(bytes(2) + b"\xff\xff", np.uint32)[0])


class Pulses(Protocol):
    """Decides pulses of a batch together. It is made for one batch and one live table."""

    def __call__(
        self, which: slice | NDArray[np.intp], now: float, elsewhere: Sequence[bytes] = ()
    ) -> NDArray[np.uint16] | None:
        """
        Take pulses.

        :param which: the rows of the batch that hold 32 bytes: known keys or not.
        :param now: server time.
        :param elsewhere: the keys of pulses in other rows, in pieces of any number of keys. Those of the same clients
            are not taken.
        :returns: the answer to each of them: 1020 if it is recorded, 1060 if no client has its key, or 0 if it has
            changed nothing and is left. ``None`` stands for 1020 everywhere.
        """


class Signed(Protocol):
    """Decides signed pulses of a batch together. It is made for one batch and one live table."""

    def open(self, which: NDArray[np.intp], now: float) -> bytes:
        """
        Look at signed requests.

        :param which: the rows of the batch that hold them.
        :param now: server time.
        :returns: the keys of the clients that have sent signed pulses, one behind the other.
        """

    def take(self, now: float, elsewhere: Sequence[bytes]) -> NDArray[np.intp]:
        """
        Take signed pulses, and queue the replies.

        :param now: server time.
        :param elsewhere: the keys of pulses in other rows, in pieces of any number of keys. Those of the same clients
            are not taken.
        :returns: the rows that are decided.
        """


class Rates(Protocol):
    """Limits how many Bindings are answered."""

    @property
    def is_limited(self) -> bool:
        """:returns: whether answers cost tokens at present."""

    def pay_for_some(self, addr: tuple[str, int], count: int) -> int:
        """:returns: for how many of so many Bindings of one source, from the first on, there are tokens."""


class Vectorized:
    """
    Decides the pulses and plain Bindings of a batch.

    Datagrams of one source that depend on each other are decided in their order: pulses of one client, and requests
    that take tokens of one limit.

    :param batch: where they are.
    :param one_by_one: decides a few datagrams, and those that are not decided together.
    :param pulses: gives what decides pulses together at present, or ``None`` if nothing does.
    :param signed: gives what decides signed pulses together at present, or ``None`` if nothing does.
    :param rates: limits answers.
    :param has_stun: says whether Bindings are answered here at present; if not, they are left to the protocol.
    :param served: counts what is answered.
    """

    way = "with NumPy"

    def __init__(
        self,
        batch: Batch,
        one_by_one: Decide,
        pulses: Callable[[], Pulses | None],
        signed: Callable[[], Signed | None],
        rates: Rates,
        has_stun: Callable[[], bool],
        served: Served,
    ) -> None:
        self._batch, self._one_by_one, self._pulses, self._rates = batch, one_by_one, pulses, rates
        self._has_stun, self._signed, self._served = has_stun, signed, served
        self._lengths = words(batch.received.messages, np.uint32, MESSAGE_SIZE)[:, LENGTH_OFFSET // 4]
        self._first = words(batch.received.buffers, np.uint64, batch.received.room)[:, 0]
        self._binding = np.frombuffer(_BINDING, np.uint64)[0]
        self._beginnings = words(batch.received.buffers, np.uint16, batch.received.room)[:, 0]
        self._request = np.frombuffer(REQUEST, np.uint16)[0]
        self._replies = {code: replies(batch, code) for code in (PulseCode.ON_TIME, PulseCode.UNKNOWN)}
        self._bindings = _Bindings(batch)

    def __call__(self, rows: Sequence[int], now: float) -> int:
        """Decide; see :class:`rendezvous.udp.fast.Decide`."""
        count = len(rows)
        if count < FEW:
            return self._one_by_one(rows, now)
        is_key = self._lengths[:count] == KEY_SIZE
        if not is_key.all():
            return self._sort(count, is_key, now)
        pulses = self._pulses()
        if pulses is None:
            return self._one_by_one(rows, now)
        codes = pulses(slice(count), now)
        if codes is None:
            self._batch.queue(self._replies[PulseCode.ON_TIME][:count].tobytes())
            self._served.batch(PulseCode.ON_TIME, count, count * KEY_SIZE)
            return 0
        self._reply(np.arange(count), codes)
        return self._one_by_one(np.flatnonzero(codes == 0).tolist(), now)

    def _reply(self, rows: NDArray[np.intp], codes: NDArray[np.uint16]) -> None:
        """Queue the replies to pulses; 0 is no reply."""
        for code, messages in self._replies.items():
            answered = rows[codes == code]
            self._batch.queue(messages[answered].tobytes())
            self._served.batch(code, len(answered), len(answered) * KEY_SIZE)

    def _sort(self, count: int, is_key: NDArray[np.bool_], now: float) -> int:
        """Decide a batch of several kinds of datagrams."""
        is_binding = (self._lengths[:count] == _BINDING_SIZE) & (self._first[:count] == self._binding)
        is_signed = (self._lengths[:count] == SIGNED_SIZE) & (self._beginnings[:count] == self._request)
        is_common = is_key | is_binding | is_signed
        if not is_common.any():
            return self._one_by_one(range(count), now)
        left = np.ones(count, np.bool_)
        others = np.flatnonzero(~is_common).tolist()
        if self._has_stun() and is_binding.any():
            # A signed request may take a token, too.
            decided, paid = self._pay(np.flatnonzero(is_binding), np.flatnonzero(~(is_key | is_binding)).tolist())
            left[decided] = False
            self._served.stun += len(paid)
            self._served.received += len(decided) * _BINDING_SIZE
            self._served.sent += self._bindings.answer(paid)
        left[self._take_pulses(np.flatnonzero(is_key), np.flatnonzero(is_signed), others, now)] = False
        return self._one_by_one(np.flatnonzero(left).tolist(), now)

    def _take_pulses(
        self, keys: NDArray[np.intp], requests: NDArray[np.intp], others: Sequence[int], now: float
    ) -> NDArray[np.intp]:
        """
        Take plain and signed pulses.

        :param keys: rows that hold 32 bytes.
        :param requests: rows that hold signed requests.
        :param others: rows that hold neither, nor a Binding.
        :returns: the rows that are decided.
        """
        pulses, signed = self._pulses(), self._signed()
        elsewhere = keys_in_hex(self._batch, others)
        signers = signed.open(requests, now) if signed is not None and len(requests) else b""
        decided = keys[:0]
        if pulses is not None and len(keys):
            codes = pulses(keys, now, [*elsewhere, signers] if signers else elsewhere)
            if codes is None:
                codes = np.full(len(keys), PulseCode.ON_TIME, np.uint16)
            self._reply(keys, codes)
            decided = keys[codes != 0]
        if signed is not None and signers:
            plain = [self._batch.datagram(row) for row in keys.tolist()]
            taken = signed.take(now, [*elsewhere, *plain])
            self._served.received += len(taken) * SIGNED_SIZE
            decided = np.concatenate((decided, taken))
        return decided

    def _pay(self, rows: NDArray[np.intp], others: Sequence[int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """
        Ask the limit of answers once for each source of Bindings.

        Those of sources that have sent other datagrams as well are left, since these may take tokens too.

        :param rows: of Bindings.
        :param others: rows of datagrams that are neither Bindings nor keys.
        :returns: the rows that are decided, and those of them that are to be answered.
        """
        if not self._rates.is_limited:
            return rows, rows
        batch = self._batch
        mixed = {batch.raw_host(row) for row in others}
        by_host: dict[bytes, list[int]] = {}
        for row in rows.tolist():
            by_host.setdefault(batch.raw_host(row), []).append(row)
        decided: list[int] = []
        paid: list[int] = []
        for host, its_rows in by_host.items():
            if host not in mixed:
                decided += its_rows
                paid += its_rows[: self._rates.pay_for_some(batch.source(its_rows[0]), len(its_rows))]
        return np.array(decided, np.intp), np.array(paid, np.intp)


class _Bindings:
    """Success responses to plain Bindings (RFC 8489, sections 6.3.1 and 14.2)."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._is_ipv4 = batch.family == socket.AF_INET
        responses = batch.rows(48, _IPV4_RESPONSE)
        responses.buffers[:] = bytes.fromhex("0101000c2112a442").ljust(20, b"\0").ljust(48, b"\0") * batch.size
        self._out = words(responses.buffers, np.uint32, responses.room)
        self._sizes = words(responses.vectors, np.uintp, len(responses.vectors) // batch.size)[:, 1]
        self._messages = words(responses.messages, np.uint64, MESSAGE_SIZE)
        self._requests = words(batch.received.buffers, np.uint32, batch.received.room)[:, :5]
        self._names = words(batch.names, np.uint32, NAME_SIZE)
        self._cookie = np.frombuffer(_BINDING, np.uint32)[1]
        # XOR-MAPPED-ADDRESS: its head; then the family and the port, which is masked with half of the cookie.
        self._heads = [
            np.frombuffer(bytes.fromhex(text), np.uint32) for text in ("0101000c00200008", "0101001800200014")
        ]
        self._families = [np.frombuffer(bytes.fromhex(text), np.uint32)[0] for text in ("00012112", "00022112")]
        # What of the first word of a socket address is the port.
        self._port = np.frombuffer(bytes.fromhex("0000ffff"), np.uint32)[0]

    def answer(self, which: NDArray[np.intp]) -> int:
        """
        Queue the responses to some rows.

        :returns: bytes of all responses.
        """
        if not len(which):
            return 0
        names = self._names[which]
        if self._is_ipv4:
            size = self._write(which, names[:, 0], names[:, 1:2])
        else:
            mapped = (names[:, 2] == 0) & (names[:, 3] == 0) & (names[:, 4] == _MAPPED)
            if mapped.all():
                size = self._write(which, names[:, 0], names[:, 5:6])
            else:
                size = self._write(which[mapped], names[mapped, 0], names[mapped, 5:6])
                size += self._write(which[~mapped], names[~mapped, 0], names[~mapped, 2:6])
        self._batch.queue(self._messages[which].tobytes())
        return size

    def _write(self, which: NDArray[np.intp], firsts: NDArray[np.uint32], hosts: NDArray[np.uint32]) -> int:
        """:returns: bytes of these responses."""
        length = hosts.shape[1]
        family = int(length == 4)
        masks = self._requests[which, 1:]
        out = self._out
        out[which, 0] = self._heads[family][0]
        out[which, 1:5] = masks
        out[which, 5] = self._heads[family][1]
        out[which, 6] = (firsts & self._port) ^ self._families[family]
        out[which, 7 : 7 + length] = hosts ^ masks[:, :length]
        size = (_IPV4_RESPONSE, _IPV6_RESPONSE)[family]
        self._sizes[which] = size
        return len(which) * size
