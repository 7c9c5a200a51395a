"""WebSockets that are opened, filled, left half done or unread."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import select
import socket
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence

from tests.attack.field import MIB, STRANGER, Field, attack
from tests.attack.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT, Page, frame, handshake, publish, take
from tests.attack.load import NEW_AT_ONCE, ONE, Answer, addresses, flood, hold, tcp
from tests.attack.slow import unsent

__all__ = ["pour"]

#: A session description with its candidates.
LARGE = "v" * 60_000
#: What a page sends most: one candidate.
SMALL = "c" * 200
#: Nearly as many characters as a message may have, each of four bytes.
WIDE = "\U0001f600" * 120_000


class pour:  # noqa: N801 - used as a function
    """
    Open many sockets, and on each send the same again and again, as fast as the server reads it. What comes is read.

    A socket that is closed is opened again, from the next address.

    :param begins: what is sent first on each socket, in turn.
    :param again: what is sent then, in turn.
    :param ends: whether a socket is given up at once when the server says that it closes it, and not two seconds later.
    :ivar counts: how many were ``opened``, ``closed`` and ``failed``, and how many handshakes had each other status.
    :ivar sent: bytes, the handshakes included.
    """

    def __init__(
        self, port: int, begins: Sequence[bytes], again: Sequence[bytes], count: int, sources: Sequence[str] = ONE, *,
        ends: bool = False,
    ) -> None:  # fmt: skip
        self.counts: Counter[str] = Counter()
        self.sent = 0
        self._port = port
        self._begins, self._again = itertools.cycle(begins), again
        self._count = count
        self._turn = itertools.cycle(sources)
        self._poll = select.epoll()
        self._open: dict[int, tuple[socket.socket, Iterator[memoryview], memoryview]] = {}
        # What has come on each socket whose handshake is answered, as far as it is looked at.
        self._heard: dict[int, bytearray] = {}
        self._ends = ends

    def run(self, seconds: float) -> None:
        """Go on for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.turn(0.01)

    def turn(self, patience: float) -> None:
        """Open what is missing, send what can be sent, and read what has come."""
        for _ in range(min(NEW_AT_ONCE, self._count - len(self._open))):
            self._begin()
        for number, events in self._poll.poll(patience):
            try:
                if events & ~select.EPOLLOUT:
                    self._read(number)
                if events & select.EPOLLOUT:
                    self._write(number)
            except BlockingIOError:
                continue
            except OSError:
                self._drop(number)

    def close(self) -> None:
        """Hang up."""
        for sock, _, _ in self._open.values():
            sock.close()
        self._poll.close()

    def _begin(self) -> None:
        try:
            sock = tcp(next(self._turn))
            with contextlib.suppress(BlockingIOError):
                sock.connect(("127.0.0.1", self._port))
        except OSError:
            self.counts["failed"] += 1
            return
        rest: Iterator[memoryview] = itertools.cycle(map(memoryview, self._again)) if self._again else iter(())
        self._open[sock.fileno()] = sock, rest, memoryview(next(self._begins))
        self._poll.register(sock, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLOUT)

    def _write(self, number: int) -> None:
        sock, rest, data = self._open[number]
        if not data:
            found = next(rest, None)
            if found is None:
                self._poll.modify(number, select.EPOLLIN | select.EPOLLRDHUP)
                return
            data = found
        size = sock.send(data)
        self.sent += size
        self._open[number] = sock, rest, data[size:]

    def _read(self, number: int) -> None:
        piece = self._open[number][0].recv(1 << 18)
        if not piece:
            raise ConnectionError("closed")
        if number not in self._heard:
            head, _, piece = piece.partition(b"\r\n\r\n")
            status = head[9:12].decode("ascii", "replace")
            self.counts["opened" if status == "101" else status] += 1
            self._heard[number] = bytearray()
        if self._ends:
            self._heard[number] += piece
            if any(opcode == CLOSE for opcode, _ in take(self._heard[number])):
                raise ConnectionError("closed")

    def _drop(self, number: int) -> None:
        self.counts["closed"] += 1
        self._heard.pop(number, None)
        self._open.pop(number)[0].close()
        # One that is closed at once would make a busy loop otherwise.
        time.sleep(0.0005)


def _subscribe(*topics: str) -> bytes:
    return frame(json.dumps({"type": "subscribe", "topics": topics}).encode())


def _note(field: Field, poured: pour) -> None:
    field.note(f"{poured.sent / MIB:.0f} MiB sent; sockets: {dict(sorted(poured.counts.items()))}")
    field.afterwards(poured.close)


def _poured(field: Field, poured: pour) -> None:
    poured.run(field.seconds)
    _note(field, poured)


def _strangers_meet(field: Field) -> None:
    """See that two pages from elsewhere meet in a topic, and two peers of PeerJS find each other."""
    try:
        first, second = (Page(field.http, STRANGER) for _ in range(2))
        for page in (first, second):
            page.say(type="subscribe", topics=["strangers"])
            page.say(type="ping")
            field.expect("a stranger's page is not answered", holds=page.hear() == {"type": "pong"})
        first.say(type="publish", topic="strangers", data="hello")
        heard = second.hear()
        expected = {"type": "publish", "topic": "strangers", "data": "hello", "clients": 2}
        field.expect(f"a stranger's page hears {heard!r}", holds=heard == expected)

        caller = Page(field.http, STRANGER, "/peerjs?key=peerjs&id=stranger-1&token=a")
        field.expect("a stranger's peer has no id", holds=caller.hear() == {"type": "OPEN"})
        caller.say(type="OFFER", dst="stranger-2", payload="hello")
        called = Page(field.http, STRANGER, "/peerjs?key=peerjs&id=stranger-2&token=b")
        field.expect("another has none", holds=called.hear() == {"type": "OPEN"})
        heard = called.hear()
        field.expect(f"it hears {heard!r}", holds=heard.get("payload") == "hello")
        for page in (first, second, caller, called):
            page.close()
    except OSError as e:
        field.expect(f"strangers do not meet: {e!r}", holds=False)


@attack("sockets-half-open", quick=True, least=20.0, memory=128 * MIB)
def half_open(field: Field) -> None:
    """A thousand handshakes, and frames on five hundred sockets, of which a byte comes every five seconds."""
    begin = handshake()
    lines = begin.index(b"Upgrade:")
    handshakes = hold(
        field.http, [begin[:lines], begin[:-2]], 1000, addresses(100, 20), drips=[b"X: y\r\n", b"X-Slow: a"], every=5.0
    )
    frames = hold(
        field.http, [begin + frame(b"", claimed=100_000), begin + b"\x81"], 500, addresses(150, 20)[100:],
        drips=[b"a", b"\xff"], every=5.0,
    )  # fmt: skip
    end = time.monotonic() + field.seconds
    while time.monotonic() < end:
        handshakes.turn(0.05)
        frames.turn(0.05)
    for what, held in (("handshakes", handshakes), ("frames", frames)):
        field.note(f"{what}: {held.closed} closed by the server, {held.failed} not let in, {len(held)} still open")
        field.afterwards(held.close)
    field.expect(f"{len(handshakes)} handshakes are still half open", holds=len(handshakes) == 0)
    _strangers_meet(field)


def _kept(field: Field, number: int, sources: Sequence[str]) -> None:
    """Open so many sockets, and keep those that the server lets in."""
    held = hold(field.http, [handshake()], number, sources)
    held.run(field.seconds)
    field.note(f"{held.closed} closed by the server, {held.failed} not let in, {len(held)} still open")
    field.afterwards(held.close)
    _strangers_meet(field)


@attack("sockets-many", memory=160 * MIB)
def many(field: Field) -> None:
    """Five thousand sockets of five hundred addresses that say nothing."""
    _kept(field, 5000, addresses(500))


@attack("sockets-one-address", memory=96 * MIB)
def one_address(field: Field) -> None:
    """One address opens three thousand sockets, and keeps those that it gets."""
    _kept(field, 3000, ONE)


@attack("sockets-openings", memory=96 * MIB)
def openings(field: Field) -> None:
    """One address opens sockets and closes them again, as fast as it can."""

    def opening() -> Generator[bytes, Answer, None]:
        yield handshake()
        yield frame(b"\x03\xe8", CLOSE)

    counts = flood(field.http, opening, field.seconds)
    field.note(f"answers: {dict(sorted(counts.items()))}")


@attack("sockets-flood", quick=True, memory=96 * MIB)
def flooded(field: Field) -> None:
    """One address publishes on sixty-four sockets, as fast as it may, in a topic of five hundred readers."""
    readers = pour(field.http, [handshake() + _subscribe("flood")], [], 500, addresses(50))
    _publish_to(field, readers, pour(field.http, [handshake()], [publish("flood", SMALL)], 64))


@attack("sockets-flood-spread", memory=160 * MIB)
def flooded_spread(field: Field) -> None:
    """Two hundred addresses publish in a topic of a thousand readers, each as fast as it may."""
    readers = pour(field.http, [handshake() + _subscribe("flood")], [], 1000, addresses(100))
    _publish_to(field, readers, pour(field.http, [handshake()], [publish("flood", SMALL)], 200, addresses(300)[100:]))


def _publish_to(field: Field, readers: pour, writers: pour) -> None:
    readers.run(3.0)
    end = time.monotonic() + field.seconds
    while time.monotonic() < end:
        readers.turn(0.0)
        writers.turn(0.005)
    _note(field, readers)
    _note(field, writers)
    _strangers_meet(field)


@attack("sockets-unread", quick=True, memory=192 * MIB)
def unread(field: Field) -> None:
    """A thousand sockets of a hundred addresses read nothing, and 60 KB messages are published to all of them."""
    begins = [handshake() + _subscribe(f"unread-{number}") for number in range(20)]
    held = hold(field.http, begins, 1000, addresses(100), receive=4096)
    messages = [publish(f"unread-{number}", LARGE) for number in range(20)]
    writers = pour(field.http, [handshake()], messages, 40, addresses(140)[100:])
    end = time.monotonic() + field.seconds
    while time.monotonic() < end:
        held.turn(0.005)
        writers.turn(0.005)
    sizes = unsent(field.http)
    field.note(
        f"{max(sizes) >> 10} KiB at most in the kernel's send buffer of a connection, {sum(sizes) >> 20} MiB in all"
    )
    field.expect("the kernel's send buffer of a connection has more than 128 KiB", holds=max(sizes) <= 128 * 1024)
    field.note(f"readers: {held.closed} closed by the server, {len(held)} still open")
    field.afterwards(held.close)
    _note(field, writers)
    _strangers_meet(field)


@attack("sockets-one-message", memory=192 * MIB)
def one_message(field: Field) -> None:
    """A thousand sockets of a hundred addresses read nothing. Half a megabyte is published to all of them."""
    held = hold(field.http, [handshake() + _subscribe("one")], 1000, addresses(100), receive=4096)
    held.run(3.0)
    largest = json.dumps({"type": "publish", "topic": "one", "data": WIDE}, ensure_ascii=False)
    writers = pour(field.http, [handshake() + frame(largest.encode())], [], 20, addresses(120)[100:])
    end = time.monotonic() + field.seconds
    while time.monotonic() < end:
        held.turn(0.005)
        writers.turn(0.005)
    field.note(f"readers: {held.closed} closed by the server, {len(held)} still open")
    field.afterwards(held.close)
    _note(field, writers)
    _strangers_meet(field)


@attack("sockets-unfinished", memory=192 * MIB)
def unfinished(field: Field) -> None:
    """A thousand sockets of a hundred addresses send messages of half a megabyte, of which only the end is missing."""
    begins = [handshake() + frame(WIDE.encode(), ends=False), handshake() + frame(WIDE.encode(), claimed=500_000)]
    _poured(field, pour(field.http, begins, [], 1000, addresses(100)))
    _strangers_meet(field)


@attack("sockets-pongs", memory=192 * MIB)
def pongs(field: Field) -> None:
    """Five hundred sockets of a hundred addresses send pings as fast as they may, and read no answer."""
    begin = handshake() + frame(b"p" * 125, PING) * 6000
    held = hold(field.http, [begin], 500, addresses(100), receive=4096)
    held.run(field.seconds)
    field.note(f"{held.closed} closed by the server, {len(held)} still open")
    field.afterwards(held.close)
    _strangers_meet(field)


#: Frames that RFC 6455 does not allow, or that are more than the server takes.
WRONG = (
    b"\x81\x05hello",  # not masked
    b"\xf1" + frame(b"hello")[1:],  # reserved bits
    frame(b"hello", 5),  # reserved opcodes
    frame(b"hello", 13),
    frame(b"hello", BINARY),
    frame(b"hello", CONTINUATION),  # of nothing
    frame(b"a", ends=False) + frame(b"b"),  # a message within another
    frame(b"a", PING, ends=False),
    frame(b"a" * 200, PING),
    frame(b"\xff\xfe" * 20),  # no UTF-8
    frame(b"", claimed=(1 << 63) + 5),
    frame(b"a" * 1000, claimed=(1 << 63) - 1),
    frame(b"a" * 200_000),
    frame(b"a" * 100_000, ends=False) + frame(b"a" * 100_000, CONTINUATION),
    frame(b"\x03", CLOSE),
    frame(b"\x00\x01", CLOSE),
    frame(b"\x03\xe8\xff\xfe", CLOSE),
    frame(b"{" * 100_000),
    frame(b"[" * 100_000),
    frame(b'{"type":"subscribe","topics":[' + b"1," * 50_000 + b"1]}"),
    frame(b'{"type":"publish","topic":"\\ud800","data":1e999}'),
)


@attack("sockets-frames", quick=True, log=4000, memory=96 * MIB)
def frames(field: Field) -> None:
    """Frames that are not allowed, huge, or of something else, each again and again on sockets of their own."""
    wrong = [handshake() + each for each in WRONG]
    _poured(field, pour(field.http, wrong, [], 64, addresses(16), ends=True))
    _strangers_meet(field)


@attack("sockets-fragments", memory=96 * MIB)
def fragments(field: Field) -> None:
    """Messages in pieces of one byte and of none, and pings, without an end."""
    begins = [handshake() + frame(b"a", TEXT, ends=False)]
    pieces = frame(b"a", CONTINUATION, ends=False) * 100, frame(b"", CONTINUATION, ends=False) * 100
    _poured(field, pour(field.http, begins, [*pieces, frame(b"p" * 125, PING) * 20], 64, addresses(16)))
    _strangers_meet(field)


@attack("sockets-large", memory=128 * MIB)
def large(field: Field) -> None:
    """Messages of 128 KB, each as large as it may be, to a topic of nobody, on sixty-four sockets."""
    size = 131_072 - len(json.dumps({"type": "publish", "topic": "none", "data": ""}))
    _poured(field, pour(field.http, [handshake()], [publish("none", "v" * size)], 64, addresses(16)))
    _strangers_meet(field)


def _topics(count: int) -> list[str]:
    """:returns: names as long as they may be, each another one."""
    return [f"{random.getrandbits(128):032x}".ljust(256, "t") for _ in range(count)]


def _subscriptions() -> bytes:
    """:returns: the beginning of a socket that subscribes to a thousand topics, which are as long as they may be."""
    topics = _topics(1000)
    return handshake() + b"".join(_subscribe(*topics[at : at + 250]) for at in range(0, 1000, 250))


@attack("sockets-subscriptions", memory=128 * MIB)
def subscriptions(field: Field) -> None:
    """One address subscribes to a thousand topics on each of as many sockets as it gets."""
    _poured(field, pour(field.http, [_subscriptions() for _ in range(300)], [], 1000))
    _strangers_meet(field)


@attack("sockets-subscriptions-spread", memory=512 * MIB)
def subscriptions_spread(field: Field) -> None:
    """A hundred addresses do the same."""
    _poured(field, pour(field.http, [_subscriptions() for _ in range(300)], [], 1000, addresses(100)))


@attack("sockets-resubscribing", memory=96 * MIB)
def resubscribing(field: Field) -> None:
    """Sockets subscribe to topics and end that again, as fast as they may."""
    topics = _topics(100)
    ending = frame(json.dumps({"type": "unsubscribe", "topics": topics}).encode())
    _poured(field, pour(field.http, [handshake()], [_subscribe(*topics) + ending], 64, addresses(16)))
    _strangers_meet(field)


def _peer(name: str, token: str = "t") -> bytes:
    return handshake(f"/peerjs?key=peerjs&id={name}&token={token}")


@attack("peerjs-queues", memory=128 * MIB)
def queues(field: Field) -> None:
    """Peers of ten addresses send session descriptions of 60 KB to peers that never come."""
    offers = [
        frame(json.dumps({"type": "OFFER", "dst": f"nobody-{number}", "payload": LARGE}).encode())
        for number in range(200)
    ]
    begins = [_peer(f"queue-{number}") for number in range(200)]
    _poured(field, pour(field.http, begins, offers, 200, addresses(10)))
    _strangers_meet(field)


@attack("peerjs-ids", memory=96 * MIB)
def ids(field: Field) -> None:
    """Peers of fifty addresses want the same few ids, with ever other tokens, so that their holders are asked."""
    begins = [_peer(f"wanted-{number % 20}", f"token-{number}") for number in range(2000)]
    _poured(field, pour(field.http, begins, [], 500, addresses(50), ends=True))
    _strangers_meet(field)
