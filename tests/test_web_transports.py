"""Tests of responses that are sent at once."""

from __future__ import annotations

from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.web.transports import send_at_once


class Reactor:
    """Remembers who wants to write."""

    def __init__(self) -> None:
        self.writers: set[object] = set()
        self.addWriter = self.writers.add
        self.removeWriter = self.removeReader = self.writers.discard


class Descriptor(FileDescriptor):
    """
    A transport whose system takes a number of bytes.

    :ivar room: how many it takes; an error instead means that the connection is lost.
    """

    def __init__(self, room: int | BaseException) -> None:
        reactor: Any = Reactor()
        super().__init__(reactor)
        self.connected = 1
        self.room = room
        self.sent = b""
        self.calls = 0

    def writeSomeData(self, data: Any) -> int | BaseException:  # noqa: N802 - the name of Twisted
        """Take what there is room for."""
        self.calls += 1
        if not isinstance(self.room, int):
            return self.room
        taken = bytes(data[: self.room])
        self.sent += taken
        self.room -= len(taken)
        return len(taken)

    @property
    def waits(self) -> bool:
        """Whether it is to go on in another turn."""
        reactor: Any = self.reactor
        return self in reactor.writers


class SendTests(SynchronousTestCase):
    """What the system takes is sent, and the rest follows behind it."""

    def test_whole(self) -> None:
        """With one system call, and without the reactor."""
        transport = Descriptor(100)
        send_at_once(transport, (b"head", b"body"))
        self.assertEqual((transport.sent, transport.calls, transport.waits), (b"headbody", 1, False))

    def test_in_part(self) -> None:
        """The rest is sent when the system has room again."""
        for room in (0, 1, 7):
            transport = Descriptor(room)
            send_at_once(transport, (b"head", b"body"))
            self.assertEqual((transport.sent, transport.waits), (b"headbody"[:room], True))
            transport.room = 100
            transport.doWrite()
            self.assertEqual((transport.sent, transport.waits), (b"headbody", False))

    def test_behind_what_waits(self) -> None:
        """Nothing overtakes what was written before, whether the transport has begun to send it or not."""
        transport = Descriptor(2)
        transport.write(b"first,")
        send_at_once(transport, (b"second,",))
        self.assertEqual(transport.sent, b"")
        transport.doWrite()
        transport.room = 100
        send_at_once(transport, (b"third",))
        self.assertEqual(transport.sent, b"fi")
        while transport.waits:
            transport.doWrite()
        self.assertEqual(transport.sent, b"first,second,third")

    def test_lost_connection(self) -> None:
        """The transport finds it out by itself, in a turn of its own."""
        transport = Descriptor(CONNECTION_LOST)
        send_at_once(transport, (b"head", b"body"))
        self.assertTrue(transport.waits)
        self.assertIs(transport.doWrite(), CONNECTION_LOST)

    def test_ended_connection(self) -> None:
        """Nothing is sent on a connection that is closed, and what comes before its end is sent in order."""
        transport = Descriptor(100)
        transport.connected = 0
        send_at_once(transport, (b"late",))
        self.assertEqual((transport.sent, transport.waits), (b"", False))
        closing = Descriptor(100)
        closing.loseConnection()
        send_at_once(closing, (b"last",))
        self.assertEqual(closing.calls, 0)

    def test_pause(self) -> None:
        """If much is left, the transport asks for a pause, as ever."""
        transport = Descriptor(10)
        transport.bufferSize = 20
        paused = []
        producer: Any = Protocol()
        producer.pauseProducing = lambda: paused.append(transport.sent)
        transport.registerProducer(producer, True)
        send_at_once(transport, (b"x" * 30,))
        self.assertEqual(paused, [])
        send_at_once(transport, (b"x" * 30,))
        self.assertEqual(len(paused), 1)

    def test_only_with_a_socket_of_its_own(self) -> None:
        """TLS and the PROXY protocol stand between a connection and its socket."""
        wrapper = ProtocolWrapper(WrappingFactory(Factory()), Protocol())
        wrapper.transport = Descriptor(20)
        send_at_once(wrapper, (b"head", b"body"))
        self.assertEqual((wrapper.transport.sent, wrapper.transport.waits), (b"", True))
        other = StringTransport()
        send_at_once(other, (b"head", b"body"))
        self.assertEqual(other.value(), b"headbody")
