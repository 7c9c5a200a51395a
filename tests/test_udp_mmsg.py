"""Tests of :mod:`rendezvous.udp.mmsg`: batches over the real system calls on loopback, and over calls that fail."""

from __future__ import annotations

import ctypes
import errno
import socket
import sys
from collections import deque

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from rendezvous.udp import mmsg
from rendezvous.udp.mmsg import MAX_DATAGRAM, MAX_REPLY, MESSAGE_SIZE, SIZE, Batch, Calls, load_calls
from rendezvous.udp.port import enlarge_buffer
from tests._memory_fast import MemoryCalls, name, shown

#: Seconds that a datagram may take over loopback.
PATIENCE = 10.0
HOME, AWAY = ("192.0.2.1", 4000), ("2001:db8::1", 5000)


def real_calls() -> Calls:
    """:returns: the system's, where there are any."""
    calls = load_calls()
    if calls is None:
        raise SkipTest("this system has no recvmmsg and sendmmsg")
    return calls


class LoopbackTests(SynchronousTestCase):
    """Batches on real sockets; loopback delivers what was sent before the call that sends it returns."""

    def opened(self, family: int, host: str, connect_to: int = 0) -> socket.socket:
        """:returns: a socket; a server's takes both families, and a client's is connected."""
        try:
            sock = socket.socket(family, socket.SOCK_DGRAM)
            self.addCleanup(sock.close)
            sock.settimeout(PATIENCE)
            if connect_to:
                sock.connect((host, connect_to))
            else:
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                sock.bind((host, 0))
        except OSError as e:
            raise SkipTest(f"{host} cannot be used here: {e}") from None
        return sock

    def served(self, family: int, host: str) -> tuple[socket.socket, int, Batch]:
        """:returns: a socket, its port and a batch for it."""
        sock = self.opened(family, host)
        return sock, sock.getsockname()[1], Batch(real_calls(), family)

    def test_every_size_of_batch_is_answered(self) -> None:
        """Each datagram of 1 to 400 is received once, with its source, and answered there, in batches of 256."""
        sock, port, batch = self.served(socket.AF_INET, "127.0.0.1")
        enlarge_buffer(sock)  # By default it takes no more than 256 of them.
        clients = [self.opened(socket.AF_INET, "127.0.0.1", port) for _ in range(3)]
        for count in (1, 2, 7, 255, 256, 257, 400):
            for number in range(count):
                clients[number % 3].send(b"%d" % number)
            found = []
            while rows := batch.receive(sock.fileno()):
                for row in range(rows):
                    datagram = batch.datagram(row)
                    found.append(int(datagram))
                    host, its_port = clients[int(datagram) % 3].getsockname()
                    self.assertEqual(batch.source(row), (host, its_port))
                    self.assertEqual((batch.raw_host(row), batch.port(row)), (socket.inet_aton(host), its_port))
                    batch.reply(sock.fileno(), row, datagram * 2)
                self.assertEqual(batch.flush(sock.fileno()), 0)
            self.assertEqual(found, list(range(count)))
            for number in range(count):
                self.assertEqual(clients[number % 3].recv(99), b"%d" % number * 2)

    def test_both_families_share_a_socket(self) -> None:
        """IPv4 shows as IPv4-mapped, as Python's own sockets show it, and both are answered."""
        sock, port, batch = self.served(socket.AF_INET6, "::")
        four, six = self.opened(socket.AF_INET, "127.0.0.1", port), self.opened(socket.AF_INET6, "::1", port)
        for client in (four, six):
            client.send(b"ping")
        self.assertEqual(batch.receive(sock.fileno()), 2)
        self.assertEqual(batch.source(0), ("::ffff:127.0.0.1", four.getsockname()[1]))
        self.assertEqual(batch.source(1), ("::1", six.getsockname()[1]))
        self.assertEqual(batch.raw_host(0), bytes(10) + b"\xff\xff\x7f\x00\x00\x01")
        self.assertEqual(batch.raw_host(1), bytes(15) + b"\x01")
        self.assertEqual([batch.port(row) for row in (0, 1)], [each.getsockname()[1] for each in (four, six)])
        for row in (0, 1):
            batch.reply(sock.fileno(), row, b"pong %d" % row)
        self.assertEqual(batch.flush(sock.fileno()), 0)
        self.assertEqual((four.recv(9), six.recv(9)), (b"pong 0", b"pong 1"))

    def test_long_datagrams_are_cut(self) -> None:
        """One of the full length is whole; a longer one is cut; the next one in its row is whole again."""
        sock, port, batch = self.served(socket.AF_INET, "127.0.0.1")
        client = self.opened(socket.AF_INET, "127.0.0.1", port)
        for size in (MAX_DATAGRAM, MAX_DATAGRAM + 1, 9000, 0):
            client.send(b"x" * size)
        self.assertEqual(batch.receive(sock.fileno()), 4)
        self.assertEqual([len(batch.datagram(row)) for row in range(4)], [MAX_DATAGRAM, MAX_DATAGRAM, MAX_DATAGRAM, 0])
        for _ in range(4):
            client.send(b"short")
        self.assertEqual(batch.receive(sock.fileno()), 4)
        self.assertEqual([batch.datagram(row) for row in range(4)], [b"short"] * 4)

    def test_nothing_waiting_is_no_error(self) -> None:
        """The call does not wait either."""
        sock, _, batch = self.served(socket.AF_INET, "127.0.0.1")
        self.assertEqual(batch.receive(sock.fileno()), 0)

    def test_socket_that_is_closed_is_an_error(self) -> None:
        """It is the caller's fault, and does not look like silence."""
        sock, _, batch = self.served(socket.AF_INET, "127.0.0.1")
        number = sock.fileno()
        sock.close()
        self.assertEqual(self.assertRaises(OSError, batch.receive, number).errno, errno.EBADF)

    def test_reply_that_cannot_be_sent_does_not_keep_back_others(self) -> None:
        """The system refuses port 0, which a forged datagram may come from; all the others are sent."""
        sock, port, batch = self.served(socket.AF_INET, "127.0.0.1")
        client = self.opened(socket.AF_INET, "127.0.0.1", port)
        for number in range(5):
            client.send(b"%d" % number)
        self.assertEqual(batch.receive(sock.fileno()), 5)
        for row in (0, 2, 4):
            batch.names[row * mmsg.NAME_SIZE + 2 : row * mmsg.NAME_SIZE + 4] = bytes(2)
        for row in range(5):
            batch.reply(sock.fileno(), row, batch.datagram(row))
        self.assertEqual(batch.flush(sock.fileno()), 3)
        self.assertEqual([client.recv(9), client.recv(9)], [b"1", b"3"])


class LoadTests(SynchronousTestCase):
    """Where the system calls cannot be had there is the portable path."""

    def test_other_systems_have_none(self) -> None:
        """Whatever functions their C library has."""
        self.patch(sys, "platform", "darwin")
        self.assertIs(load_calls(), None)

    def test_library_without_the_functions_has_none(self) -> None:
        """A C library that is too old is no error."""
        self.patch(ctypes, "PyDLL", lambda *args, **kwargs: object())
        self.assertIs(load_calls(), None)

    def test_calls_that_are_forbidden_are_none(self) -> None:
        """A filter of system calls answers with an error at the first try, which is at start."""
        real_calls()

        def refuse(*args: object) -> int:
            raise OSError(errno.ENOSYS, "Function not implemented")

        self.patch(mmsg.LibcCalls, "send", refuse)
        self.assertIs(load_calls(), None)


class ErrorTests(SynchronousTestCase):
    """Every error that the system may report, at every place in a batch."""

    def setUp(self) -> None:
        """Make a batch in memory."""
        self.calls = MemoryCalls()
        self.batch = Batch(self.calls, socket.AF_INET6)

    def fill(self, count: int) -> None:
        """Receive datagrams from alternating families."""
        queue = self.calls.waiting[3] = deque()
        for number in range(count):
            queue.append((b"%d" % number, name((HOME, AWAY)[number % 2], socket.AF_INET6)))
        self.assertEqual(self.batch.receive(3), min(count, self.batch.size))

    def sent(self) -> list[int]:
        """:returns: the numbers that have come back, each from where it came."""
        numbers = []
        for datagram, to in self.calls.sent.get(3, []):
            numbers.append(int(datagram))
            self.assertEqual(shown(to), (("::ffff:192.0.2.1", 4000), AWAY)[int(datagram) % 2])
        return numbers

    def answer(self, count: int) -> int:
        """:returns: how many replies of a batch failed."""
        for row in range(count):
            self.batch.reply(3, row, self.batch.datagram(row))
        return self.batch.flush(3)

    def test_errors_of_receiving(self) -> None:
        """What passes by itself is silence; anything else is raised. Nothing is lost by either."""
        for number in (errno.EAGAIN, errno.EINTR, errno.ECONNREFUSED):
            self.calls.errors.append(number)
            self.assertEqual(self.batch.receive(3), 0)
        self.calls.errors.append(errno.ENOMEM)
        self.assertEqual(self.assertRaises(OSError, self.batch.receive, 3).errno, errno.ENOMEM)
        self.fill(2)

    def test_error_anywhere_costs_one_reply(self) -> None:
        """Of a batch of five, the reply that meets an error is counted and the other four are sent."""
        for number in (errno.EAGAIN, errno.ENOBUFS, errno.EPERM, errno.EINVAL, errno.EHOSTUNREACH, errno.EMSGSIZE):
            for at in range(5):
                self.fill(5)
                self.calls.sent.clear()
                self.calls.errors.extend([0] * at + [number])
                self.assertEqual(self.answer(5), 1)
                self.assertEqual(self.sent(), [row for row in range(5) if row != at])

    def test_error_of_an_earlier_datagram_costs_nothing(self) -> None:
        """An interrupted call and a refusal that was waiting at the socket are tried once more."""
        for number in (errno.EINTR, errno.ECONNREFUSED):
            for at in range(5):
                self.fill(5)
                self.calls.sent.clear()
                self.calls.errors.extend([0] * at + [number])
                self.assertEqual(self.answer(5), 0)
                self.assertEqual(self.sent(), list(range(5)))

    def test_refusal_is_not_tried_for_ever(self) -> None:
        """Two in a row are the end of a reply, and not of the next one."""
        self.fill(3)
        self.calls.errors.extend([errno.ECONNREFUSED] * 3)
        self.assertEqual(self.answer(3), 1)
        self.assertEqual(self.sent(), [1, 2])

    def test_all_may_fail(self) -> None:
        """Every reply is counted, each costs at most two calls, and the next batch is sent."""
        self.fill(SIZE)
        self.calls.errors.extend([errno.ENOBUFS] * SIZE)
        self.assertEqual(self.answer(SIZE), SIZE)
        self.fill(SIZE)
        self.assertEqual(self.answer(SIZE), 0)
        self.assertEqual(self.sent(), list(range(SIZE)))

    def test_row_may_be_answered_often(self) -> None:
        """300 replies to a batch of three are sent, in their order."""
        self.fill(3)
        for _ in range(100):
            for row in range(3):
                self.batch.reply(3, row, self.batch.datagram(row))
        self.assertEqual(self.batch.flush(3), 0)
        self.assertEqual(self.sent(), [0, 1, 2] * 100)

    def test_prepared_messages_keep_their_place(self) -> None:
        """They are sent between the replies that came before them and those that came after."""
        prepared = self.batch.rows(1, 1)
        prepared.buffers[:] = b"1" * self.batch.size
        to_the_second = prepared.messages[MESSAGE_SIZE : 2 * MESSAGE_SIZE]
        self.fill(2)
        self.batch.reply(3, 0, b"0")
        self.batch.queue(to_the_second)
        self.batch.reply(3, 0, b"2")
        self.batch.reply(3, 1, b"3")
        self.batch.queue(to_the_second)
        self.batch.reply(3, 0, b"4")
        self.assertEqual(self.batch.flush(3), 0)
        self.assertEqual(self.sent(), [0, 1, 2, 3, 1, 4])
        self.batch.reply(3, 1, b"5")
        self.assertEqual(self.batch.flush(3), 0)
        self.assertEqual(self.sent(), [0, 1, 2, 3, 1, 4, 5])

    def test_failures_before_the_last_call_are_counted(self) -> None:
        """Where a batch needs two calls to send, the errors of both are in the count."""
        self.fill(1)
        self.calls.errors.extend([errno.EPERM, *[0] * 127, errno.EPERM])
        for _ in range(130):
            self.batch.reply(3, 0, b"0")
        self.assertEqual(self.batch.flush(3), 2)
        self.assertEqual(self.batch.flush(3), 0)

    def test_longest_reply(self) -> None:
        """A reply has a limit; one of just that length is sent whole."""
        self.fill(1)
        self.assertRaises(ValueError, self.batch.reply, 3, 0, bytes(MAX_REPLY + 1))
        self.batch.reply(3, 0, b"1" * MAX_REPLY)
        self.batch.flush(3)
        self.assertEqual([datagram for datagram, _ in self.calls.sent[3]], [b"1" * MAX_REPLY])
