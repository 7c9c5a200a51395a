"""Tests for :mod:`rendezvous.client.network.uplink`, on a clock."""

from __future__ import annotations

import errno
import socket
from collections.abc import Hashable
from unittest.mock import patch

from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.client.network import netlink, uplink
from rendezvous.client.network.netlink import Link, Route
from rendezvous.client.network.uplink import LONGEST, POLL_TIME, QUIET, Uplink, read_uplink
from rendezvous.testing import MemoryReactor


class UplinkCase(SynchronousTestCase):
    """An uplink that a test changes."""

    def setUp(self) -> None:
        """Have a socket that tells of changes."""
        self.reactor = MemoryReactor()
        self.state: Hashable = "Wi-Fi"
        self.reads = 0
        self.changes: list[tuple[float, Hashable]] = []
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ours.setblocking(False)
        self.addCleanup(self.theirs.close)
        self.addCleanup(self.ours.close)
        self.uplink = Uplink(self.reactor, self.changed, read=self.read, open_changes=lambda: self.ours)

    def read(self) -> Hashable:
        """:returns: the uplink."""
        self.reads += 1
        return self.state

    def changed(self) -> None:
        """Keep a change."""
        self.changes.append((round(self.reactor.seconds(), 3), self.state))

    def tell(self, state: Hashable) -> None:
        """Change the uplink, and have the kernel say so."""
        self.state = state
        self.theirs.send(b"news")
        self.turn()

    def turn(self) -> None:
        """Have the reactor read what there is."""
        for reader in list(self.reactor.readers):
            reader.doRead()

    def stop(self) -> None:
        """Stop; neither a timer nor a descriptor is left."""
        self.uplink.stop()
        self.assertEqual((self.reactor.getDelayedCalls(), list(self.reactor.readers)), ([], []))


class NetlinkUplinkTests(UplinkCase):
    """The system tells of changes."""

    def test_change(self) -> None:
        """It is reported after a quiet time."""
        self.uplink.start()
        self.tell("LTE")
        self.assertEqual(self.changes, [])
        self.reactor.advance(QUIET)
        self.assertEqual(self.changes, [(QUIET, "LTE")])
        self.stop()
        self.assertEqual(self.ours.fileno(), -1)

    def test_changes_that_follow_each_other_are_one(self) -> None:
        """A new uplink is a dozen messages; the last one counts."""
        self.uplink.start()
        for number in range(4):
            self.tell(number)
            self.reactor.advance(QUIET / 2)
        self.reactor.advance(0.4 * QUIET)
        self.assertEqual(self.changes, [])
        self.reactor.advance(0.2 * QUIET)
        self.assertEqual([state for _, state in self.changes], [3])
        self.stop()

    def test_changes_without_an_end_are_told_all_the_same(self) -> None:
        """Half a second after the first one, and so on: a flood of messages costs two comparisons a second."""
        self.uplink.start()
        for number in range(200):
            self.tell(number)
            self.reactor.advance(QUIET / 10)
        self.assertEqual([at for at, _ in self.changes][:2], [LONGEST, 2 * LONGEST])
        self.assertLessEqual(self.reads, 1 + 2 / LONGEST)
        self.stop()

    def test_news_without_a_change_is_none(self) -> None:
        """For example a container that starts."""
        self.uplink.start()
        self.tell("Wi-Fi")
        self.reactor.advance(1)
        self.assertEqual(self.changes, [])
        self.stop()

    def test_uplink_that_comes_back_is_no_change(self) -> None:
        """Within the time of quiet."""
        self.uplink.start()
        self.tell("LTE")
        self.tell("Wi-Fi")
        self.reactor.advance(1)
        self.assertEqual(self.changes, [])
        self.stop()

    def test_overrun_is_news(self) -> None:
        """If the kernel has dropped messages, something has changed."""

        class Overrun(socket.socket):
            def recv(self, *_: object) -> bytes:
                raise errors.pop() if errors else BlockingIOError

        errors = [OSError(errno.ENOBUFS, "No buffer space available")]
        self.uplink = Uplink(self.reactor, self.changed, read=self.read, open_changes=Overrun)
        self.uplink.start()
        self.state = "LTE"
        self.turn()
        self.reactor.advance(1)
        self.assertEqual([state for _, state in self.changes], ["LTE"])
        self.stop()

    def test_socket_that_fails_is_replaced_by_polling(self) -> None:
        """Also if it is the reactor that gives it up."""

        def close() -> None:
            self.ours.close()
            self.turn()

        def give_up() -> None:
            [reader] = self.reactor.readers
            reader.connectionLost(Failure(ConnectionLost()))

        for fail in (close, give_up):
            self.setUp()
            self.uplink.start()
            fail()
            self.assertEqual(list(self.reactor.readers), [])
            self.state = "LTE"
            self.reactor.advance(POLL_TIME)
            self.assertEqual(self.changes, [(POLL_TIME, "LTE")])
            self.stop()

    def test_failing_callback_does_no_harm(self) -> None:
        """An exception of the application's callback is logged, and the next change is reported."""

        def fail() -> None:
            raise ZeroDivisionError

        self.uplink = Uplink(self.reactor, fail, read=self.read, open_changes=lambda: self.ours)
        self.uplink.start()
        for state in ("LTE", "Wi-Fi"):
            self.tell(state)
            self.reactor.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.stop()

    def test_stop_while_a_change_is_pending(self) -> None:
        """Nothing is reported any more."""
        self.uplink.start()
        self.tell("LTE")
        self.stop()
        self.reactor.advance(10)
        self.assertEqual(self.changes, [])

    def test_start_and_stop_twice(self) -> None:
        """The second time does nothing."""
        self.uplink.start()
        self.uplink.start()
        self.assertEqual(len(self.reactor.readers), 1)
        self.stop()
        self.stop()


class PollingUplinkTests(UplinkCase):
    """The system does not tell of changes."""

    def setUp(self) -> None:
        """Have no netlink."""
        super().setUp()

        def refuse() -> socket.socket:
            raise PermissionError("netlink is forbidden")

        self.uplink = Uplink(self.reactor, self.changed, read=self.read, open_changes=refuse)

    def test_compared_every_five_seconds(self) -> None:
        """A change is reported within that time."""
        self.uplink.start()
        self.reactor.advance(7)
        self.state = "LTE"
        self.reactor.advance(10)
        self.assertEqual(self.changes, [(10, "LTE")])
        self.stop()


class ReadUplinkTests(SynchronousTestCase):
    """What is compared."""

    def read(self, route: Route, carrier_changes: int, *containers: str) -> Hashable:
        """:returns: the uplink of a host with this route, whose cable was plugged so often."""
        links = [Link(2, "eth0", True, False, carrier_changes=carrier_changes)]
        links += [Link(number, name, True, False) for number, name in enumerate(containers, 10)]
        with (
            patch.object(netlink, "route", side_effect=[route, None]),
            patch.object(netlink, "links", return_value=links),
            patch.object(uplink, "interface_addresses", return_value=["192.168.1.20"]),
        ):
            return read_uplink()

    def test_what_changes_it(self) -> None:
        """Another router, another source address, and the same cable plugged again; not a container."""
        route = Route(2, "192.168.1.1", "192.168.1.20")
        before = self.read(route, 2)
        self.assertEqual(self.read(route, 2, "veth1", "docker0"), before)
        for changed in (
            self.read(Route(2, "192.168.1.2", "192.168.1.20"), 2),
            self.read(Route(2, "192.168.1.1", "192.168.1.21"), 2),
            self.read(Route(3, "192.168.1.1", "192.168.1.20"), 2),
            self.read(route, 4),
        ):
            self.assertNotEqual(changed, before)

    def test_without_netlink(self) -> None:
        """The addresses are compared."""
        with patch.object(netlink, "_open", side_effect=PermissionError):
            self.assertEqual(read_uplink(), read_uplink())

    def test_this_host(self) -> None:
        """Nothing changes by looking."""
        self.assertEqual(read_uplink(), read_uplink())
