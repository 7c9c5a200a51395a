"""Tests of :mod:`rendezvous.web.sending`: answers and events that clients read slowly, or not at all."""

from __future__ import annotations

import json
from itertools import accumulate
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.limits import UnreadLimits
from rendezvous.refusals import FULL_TABLES, LIMITED_SOURCES
from rendezvous.web.sending import LEAST, PIECE, PIECES, SMALL, STALL_TIME, YIELD_TIME, Sender, _piece
from tests._web_case import ORIGIN, WebTestCase

#: Six bytes of JSON for each character: two of them fill a page.
LARGE = "\x01" * 60_000
PAGE = 2 * 6 * 60_000


class SlowTransport(StringTransport):
    """
    A transport whose client reads only when it is told to.

    :ivar unread: bytes that it has not read.
    """

    bufferSize = 64 * 1024  # noqa: N815 - the name of Twisted
    unread = 0
    aborted = False

    def write(self, data: bytes) -> None:
        """Keep what is written; ask for a pause as a socket does."""
        super().write(data)
        self.unread += len(data)
        if self.unread > self.bufferSize:
            cast(Any, self.producer).pauseProducing()

    def writeSequence(self, data: Any) -> None:
        """Write them all."""
        self.write(b"".join(data))

    def read(self) -> None:
        """Read everything."""
        self.unread = 0
        cast(Any, self.producer).resumeProducing()

    def abortConnection(self) -> None:
        """Remember it."""
        super().abortConnection()
        self.aborted = True


class SlowClient:
    """A connection whose client reads only when it is told to."""

    def __init__(self, test: WebTestCase, host: str = "198.51.100.7") -> None:
        address = IPv4Address("TCP", host, 50_000)
        self.transport = SlowTransport(peerAddress=address)
        self._channel: Any = test.server.site.buildProtocol(address)
        self._channel.makeConnection(self.transport)
        test.addCleanup(self.leave)

    def get(self, path: str, headers: Any = None, method: str = "GET", times: int = 1) -> SlowClient:
        """Send a request, or so many of them in one packet."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        self._channel.dataReceived(f"{method} {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode() * times)
        return self

    def post(self, path: str, body: Any) -> SlowClient:
        """Send a request of the sessions protocol."""
        data = json.dumps(body)
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nOrigin: {ORIGIN['Origin']}\r\nContent-Length: {len(data)}\r\n\r\n"
        self._channel.dataReceived((head + data).encode())
        return self

    def leave(self) -> None:
        """Vanish."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.connectionLost(Failure(ConnectionLost()))

    @property
    def answers(self) -> int:
        """How many answers have begun."""
        return int(self.transport.value().count(b"HTTP/1.1 "))

    @property
    def status(self) -> int:
        """Of the first answer."""
        return int(self.head[9:12])

    @property
    def head(self) -> str:
        """Of the first answer, in small letters."""
        head: bytes = self.transport.value().partition(b"\r\n\r\n")[0]
        return head.decode().lower()

    def json(self) -> Any:
        """The body of the first answer."""
        return json.loads(self.transport.value().partition(b"\r\n\r\n")[2])


class SendingTestCase(WebTestCase):
    """A server with pages of 720 kB."""

    def setUp(self) -> None:
        """Open four large sessions."""
        super().setUp()
        self.codes = [self.open_session(offer=LARGE) for _ in range(4)]
        self.server.reactor.advance(0)

    @property
    def sender(self) -> Sender:
        """The server's."""
        return self.server.rendezvous.web.gate.sender

    def page(self, host: str = "198.51.100.7") -> SlowClient:
        """Ask for a page."""
        return SlowClient(self, host).get("/chess/sessions", ORIGIN)

    def turn(self) -> None:
        """Let one turn of the reactor pass, and not also those that follow from it."""
        for call in self.server.reactor.getDelayedCalls():
            if call.getTime() <= self.server.reactor.seconds():
                call.cancel()
                self.sender._turns._begin()

    def counted(self, family: str) -> dict[str, int]:
        """What was refused."""
        return dict(+self.server.rendezvous.counters.family(family))


class AnswerTests(SendingTestCase):
    """Long answers."""

    def test_it_is_handed_over_as_it_is_read(self) -> None:
        """The transport never holds more than a piece; in the end the client has all of it."""
        client = self.page()
        reads = 0
        while client.transport.unread:
            self.assertLessEqual(client.transport.unread, PIECE + 1000)
            client.transport.read()
            reads += 1
        self.assertGreaterEqual(reads, PAGE // PIECE)
        self.assertEqual([each["code"] for each in client.json()["sessions"]], self.codes[:1:-1])
        length = len(client.transport.value().partition(b"\r\n\r\n")[2])
        self.assertIn(f"content-length: {length}", client.head)
        self.assertFalse(client.transport.aborted)

    def test_it_is_counted_until_it_is_read(self) -> None:
        """The whole answer counts until the client has read its last piece."""
        client = self.page()
        self.assertGreater(self.sender.unread, PAGE)
        while client.transport.unread > SMALL:
            self.assertGreater(self.sender.unread, PAGE)
            client.transport.read()
        self.assertEqual(self.sender.unread, 0)

    def test_a_client_that_leaves_counts_no_more(self) -> None:
        """Neither does one that left while it waited for its turn."""
        clients = [self.page() for _ in range(PIECES + 2)]
        self.assertGreater(self.sender.unread, len(clients) * PAGE)
        for client in clients:
            client.leave()
        self.server.reactor.advance(0)
        self.assertEqual(self.sender.unread, 0)

    def test_a_short_answer_is_not_counted(self) -> None:
        """An answer of 16 KiB is handed over whole."""
        self.open_session("go", offer="v" * (SMALL - 400))
        client = SlowClient(self).get("/go/sessions", ORIGIN)
        self.assertEqual(len(client.json()["sessions"]), 1)
        self.assertEqual(self.sender.unread, 0)

    def test_every_long_answer_is_counted(self) -> None:
        """Not only pages: a description of the server, what a poll reads, and a list of topics."""
        self.poll(self.codes[0], "offerer")
        for letter in "ab":
            self.publish(topics=[f"{letter}{number}" + "\u20ac" * 250 for number in range(20)])
        clients = [
            SlowClient(self).get("/openapi.json"),
            SlowClient(self).get("/topics"),
            SlowClient(self).post("/poll", {"code": self.codes[0], "side": "answerer"}),
        ]
        self.assertEqual([client.status for client in clients], [200] * 3)
        self.assertEqual(len(self.sender._paused), 3)

    def test_head_sends_no_body_and_counts_nothing(self) -> None:
        """HEAD has the length that GET has."""
        headed = SlowClient(self).get("/chess/sessions", ORIGIN, "HEAD")
        self.assertEqual(self.sender.unread, 0)
        length = self.page().head.partition("content-length: ")[2].split()[0]
        self.assertIn(f"content-length: {length}", headed.head)
        self.assertTrue(headed.transport.value().endswith(b"\r\n\r\n"))

    def test_who_does_not_read_is_closed(self) -> None:
        """After 60 s without reading; reading a piece begins them anew."""
        client = self.page()
        self.advance(STALL_TIME - 1)
        client.transport.read()
        self.advance(STALL_TIME - 1)
        self.assertFalse(client.transport.aborted)
        self.advance(1)
        self.assertTrue(client.transport.aborted)
        client.leave()
        self.assertEqual(self.sender.unread, 0)

    def test_so_many_pieces_in_one_turn(self) -> None:
        """Clients that ask at the same moment are handed their first pieces in three turns."""
        clients = [self.page() for _ in range(2 * PIECES + 4)]
        begun = []
        for _ in range(3):
            begun.append(sum(bool(client.transport.value()) for client in clients))
            self.turn()
        self.assertEqual(begun, [PIECES, 2 * PIECES, 2 * PIECES + 4])

    def test_sources_take_turns(self) -> None:
        """A client whose source asks for one page does not wait for another source that asks for forty."""
        for _ in range(40):
            self.page()
        other = self.page("192.0.2.1")
        self.assertEqual(other.transport.value(), b"")
        self.turn()
        self.assertEqual(other.status, 200)

    def test_a_transport_is_told_to_hold_little(self) -> None:
        """The transport of each connection asks for a pause at 16 KiB."""
        self.assertEqual(SlowClient(self).transport.bufferSize, SMALL)

    def test_requests_behind_a_long_answer(self) -> None:
        """Each is answered when the answer before it has been read."""
        client = SlowClient(self).get("/openapi.json", times=20)
        for number in range(1, 21):
            self.advance(1)
            self.assertEqual(client.answers, number)
            client.transport.read()

    def test_requests_behind_short_answers(self) -> None:
        """They are answered until 16 KiB are unread, and go on when those are read."""
        client = SlowClient(self).get("/", times=100)
        answered = 0
        while answered < 100:
            self.advance(1)
            self.assertLess(client.transport.unread, SMALL + 2000)
            self.assertGreater(client.answers, answered)
            answered = client.answers
            client.transport.read()


class WholeAnswerTests(SendingTestCase):
    """Answers of up to 128 KiB, here of 60 kB."""

    def setUp(self) -> None:
        """Open a session."""
        super().setUp()
        self.open_session("go", offer="v" * 60_000)

    def whole(self, times: int = 1) -> SlowClient:
        """Ask for it."""
        return SlowClient(self).get("/go/sessions", ORIGIN, times=times)

    def test_it_is_handed_over_whole(self) -> None:
        """The request ends at once; its bytes are counted until they are read."""
        client = self.whole()
        self.assertEqual(len(client.json()["sessions"]), 1)
        self.assertGreater(self.sender.unread, 60_000)
        client.transport.read()
        self.assertEqual(self.sender.unread, 0)
        self.assertEqual(len(self.sender._paused), 0)

    def test_the_next_request_waits_until_it_is_read(self) -> None:
        """Whether it came in the same packet or later."""
        client = self.whole(times=2)
        client.get("/go/sessions", ORIGIN)
        for number in (1, 2, 3):
            self.advance(1)
            self.assertEqual(client.answers, number)
            self.assertLess(self.sender.unread, 70_000)
            client.transport.read()
        self.advance(1)
        self.assertEqual(self.sender.unread, 0)

    def test_a_client_that_leaves_counts_no_more(self) -> None:
        """Before it is sent the answer, and before it has read it."""
        clients = [self.whole() for _ in range(PIECES + 2)]
        self.assertEqual(clients[-1].answers, 0)
        self.assertGreater(self.sender.unread, 60_000 * len(clients))
        for client in clients:
            client.leave()
        self.advance(1)
        self.assertEqual(self.sender.unread, 0)
        self.assertEqual(len(self.sender._paused), 0)

    def test_who_does_not_read_is_closed(self) -> None:
        """After 60 s."""
        client = self.whole()
        self.advance(STALL_TIME - 1)
        self.assertFalse(client.transport.aborted)
        self.advance(1)
        self.assertTrue(client.transport.aborted)

    def test_who_has_not_read_for_a_while_gives_way(self) -> None:
        """After 5 s, if there is no more room."""
        client = self.whole()
        self.sender.change(UnreadLimits(most=LEAST))
        self.sender.unread += LEAST - 61_000
        self.advance(YIELD_TIME - 1)
        self.assertEqual(self.whole().status, 503)
        self.advance(1)
        self.assertEqual(self.whole().status, 200)
        self.assertTrue(client.transport.aborted)

    def test_a_client_that_reads_while_its_answer_waits(self) -> None:
        """It reads what came before. The answer is counted until it is read itself."""
        self.open_session("fill", offer="v" * 10_000)
        short = len(SlowClient(self).get("/fill/sessions", ORIGIN).transport.value())
        self.open_session("near", offer="v" * (10_000 + SMALL - 10 - short))
        # 10 bytes less than what the transport asks a pause for.
        client = SlowClient(self).get("/near/sessions", ORIGIN)
        for _ in range(PIECES):
            self.whole().leave()
        # Another 25 bytes: 100 Continue.
        client.get("/go/sessions", {**ORIGIN, "Expect": "100-continue"})
        client.transport.read()
        self.assertGreater(self.sender.unread, 60_000)
        self.advance(0.1)
        self.assertGreater(client.transport.unread, 60_000)
        self.assertGreater(self.sender.unread, 60_000)
        client.transport.read()
        self.assertEqual(self.sender.unread, 0)
        self.assertEqual(len(self.sender._paused), 0)

    def test_a_transport_that_takes_everything_at_once(self) -> None:
        """What it does not ask a pause for is not counted."""
        client = SlowClient(self)
        client.transport.bufferSize = 10 * PIECE
        client.get("/go/sessions", ORIGIN)
        self.assertEqual(client.answers, 1)
        self.assertEqual(self.sender.unread, 0)


class FullTests(SendingTestCase):
    """The limit of the whole server, here of 2 MiB."""

    settings = {"max_unread_memory": "1M"}  # noqa: RUF012

    def test_the_longest_answers_fit_whatever_the_setting_is(self) -> None:
        """A server that is set to hold less than 2 MiB holds those."""
        clients = [self.page(f"192.0.2.{number}") for number in range(3)]
        self.assertEqual([client.status for client in clients], [200, 200, 503])
        self.assertLessEqual(self.sender.unread, LEAST)

    def test_a_full_server_refuses(self) -> None:
        """503 with Retry-After, and it is counted."""
        self.page()
        self.page()
        refused = self.page()
        self.assertEqual((refused.status, refused.json()["code"]), (503, "full-unread"))
        self.assertIn("retry-after: ", refused.head)
        self.assertEqual(self.counted(FULL_TABLES), {"full-unread": 1})

    def test_who_has_not_read_for_a_while_gives_way(self) -> None:
        """After 5 s, the one that has not read for longest, and no other."""
        first, second = self.page(), self.page()
        self.advance(YIELD_TIME - 1)
        self.assertEqual(self.page().status, 503)
        self.advance(1)
        self.assertEqual(self.page().status, 200)
        self.assertEqual([first.transport.aborted, second.transport.aborted], [True, False])
        first.leave()
        self.assertLessEqual(self.sender.unread, LEAST)
        self.assertEqual(self.page().status, 200)
        self.assertTrue(second.transport.aborted)

    def test_who_reads_does_not_give_way(self) -> None:
        """Reading one piece is enough for another 5 s."""
        first, second = self.page(), self.page()
        self.advance(YIELD_TIME)
        first.transport.read()
        self.assertEqual(self.page().status, 200)
        self.assertEqual([first.transport.aborted, second.transport.aborted], [False, True])
        self.assertEqual(self.page().status, 503)

    def stream(self) -> SlowClient:
        """A stream of Alice, and an answer of 360 kB for it."""
        stream = SlowClient(self, "203.0.113.1").get("/events", self.alice)
        self.answer(self.publish(), sdp=LARGE)
        return stream

    def test_a_stream_waits_for_room(self) -> None:
        """A large event is sent as soon as there is room."""
        readers = [self.page(), self.page()]
        stream = self.stream()
        size = len(stream.transport.value())
        self.advance(3)
        self.assertEqual(len(stream.transport.value()), size)
        readers[0].leave()
        self.advance(1)
        while stream.transport.unread:
            stream.transport.read()
        self.assertGreater(len(stream.transport.value()), 360_000)
        readers[1].leave()
        self.assertEqual(self.sender.unread, 0)

    def test_a_stream_that_waits_too_long_for_room_is_closed(self) -> None:
        """After 60 s; its client can come back and read on."""
        self.sender.change(UnreadLimits(most=LEAST))
        self.sender.unread = LEAST
        stream = self.stream()
        self.advance(STALL_TIME - 1)
        self.assertFalse(stream.transport.aborted)
        self.advance(2)
        self.assertTrue(stream.transport.aborted)

    def test_a_client_that_logs_out_while_it_has_to_read(self) -> None:
        """It gets the rest of the event that it was reading, and no further event."""
        stream = self.stream()
        self.answer(self.publish(sdp="v=1"), sdp=LARGE)
        self.good("POST", "/logout", None, self.alice)
        while stream.transport.unread:
            stream.transport.read()
        self.assertEqual(stream.transport.value().count(b"event: answer"), 1)
        self.assertTrue(stream.transport.value().endswith(b"\r\n0\r\n\r\n"))

    def test_an_event_is_counted_until_it_is_read(self) -> None:
        """The whole of it, and nothing afterwards."""
        stream = self.stream()
        self.assertGreater(self.sender.unread, 360_000)
        while stream.transport.unread > SMALL:
            stream.transport.read()
        self.assertEqual(self.sender.unread, 0)


class ShareTests(SendingTestCase):
    """The limits of one source, here of 3 MiB; a site has 7.5."""

    settings = {"no_source_limits": False, "max_unread_memory": "30M"}  # noqa: RUF012

    def test_one_source_is_refused_and_another_is_not(self) -> None:
        """429 with Retry-After, and it is counted."""
        statuses = [self.page().status for _ in range(5)]
        self.assertEqual(statuses, [200] * 4 + [429])
        refused = self.page()
        self.assertEqual(refused.json()["code"], "source-unread")
        self.assertIn("retry-after: ", refused.head)
        self.assertEqual(self.counted(LIMITED_SOURCES), {"source-unread": 2})
        self.assertEqual(self.page("192.0.2.1").status, 200)

    def test_a_site(self) -> None:
        """Many addresses of a /24 together have two and a half times as much."""
        pages = [self.page(f"198.51.100.{number}") for number in range(1, 13)]
        self.turn()
        statuses = [page.status for page in pages]
        self.assertEqual(statuses, [200] * 10 + [429] * 2)

    def test_a_reload(self) -> None:
        """A new limit counts for the next answer."""
        self.assertEqual(self.page().status, 200)
        self.sender.change(UnreadLimits(most=2**20, share=0.1))
        self.assertEqual([self.page().status, self.page().status], [200, 429])


class PiecesTests(SynchronousTestCase):
    """How an answer is cut."""

    def test_nothing_is_lost(self) -> None:
        """Parts of every size around that of a piece come out as pieces of exactly that size, and a rest."""
        for sizes in ([0], [1], [PIECE - 1, 1], [PIECE], [PIECE + 1], [1, 3 * PIECE, 1], [PIECE, PIECE], [7] * 20_000):
            parts = [bytes([65 + number % 26]) * size for number, size in enumerate(sizes)]
            ends = list(accumulate(sizes))
            cut = [_piece(parts, ends, start) for start in range(0, ends[-1], PIECE)]
            self.assertEqual(b"".join(cut), b"".join(parts))
            self.assertTrue(all(len(piece) == PIECE for piece in cut[:-1]), sizes)
            self.assertTrue(all(0 < len(piece) <= PIECE for piece in cut), sizes)
