"""Observations: when they are sent and repeated, which answers are taken, and what else comes to these sockets."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.client._server_time import ServerTime
from rendezvous.client._signing import Signer
from rendezvous.client.connecting._observing import Observer
from rendezvous.core.macs import datagram_key
from rendezvous.core.punching.pairs import Local
from rendezvous.wire.pulse import PulseCode
from rendezvous.wire.signed import Short, ShortKind, decode_request, decode_short, encode_short, reply_to
from tests._client_fakes import IDENTITY

Address = tuple[str, int]

KEY = datagram_key(IDENTITY.private_key)
PORTS: list[Address] = [("203.0.113.1", 5024), ("203.0.113.1", 5026)]
PUBLIC: Address = ("198.51.100.1", 40001)
ATTEMPT = b"attempt1"


class Socket:
    """What an observer needs of a socket."""

    def __init__(self, clock: Clock) -> None:
        self.local = Local("ipv4-0")
        self.clock = clock
        self.sent: list[tuple[float, bytes, Address]] = []

    def send(self, datagram: bytes, address: Address) -> None:
        """Remember it."""
        self.sent.append((round(self.clock.seconds(), 1), datagram, address))


class ObserverTests(SynchronousTestCase):
    """One socket that two ports of the server observe."""

    def setUp(self) -> None:
        """Begin."""
        self.clock = Clock()
        time = ServerTime(self.clock.seconds)
        time.learn(1_790_000_000.0, 0.0)
        self.socket = cast(Any, Socket(self.clock))
        self.observer = Observer(self.clock, Signer(IDENTITY, time), ATTEMPT, 2)
        self.observer.start([self.socket], lambda ipv6: [] if ipv6 else PORTS)
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))
        self.addCleanup(self.observer.stop)

    def answer(
        self, sent: int, code: PulseCode = PulseCode.ON_TIME, source: Address | None = None, socket: Any = None
    ) -> bool:
        """Answer one of the datagrams that were sent; :returns: whether the observer took it."""
        _, datagram, target = self.socket.sent[sent]
        reply = reply_to(datagram, code, PUBLIC, KEY)
        return self.observer.receive(socket or self.socket, reply, source or target)

    def times(self, port: int) -> list[float]:
        """:returns: when something was sent to a port of the server."""
        return [at for at, _, target in self.socket.sent if target == PORTS[port]]

    def pass_time(self, seconds: float) -> None:
        """Let time pass in steps of 10 ms."""
        self.clock.pump([0.01] * round(seconds / 0.01))

    def test_each_port_gets_the_attempt_the_round_and_its_own_number(self) -> None:
        """At once."""
        requests = [(decode_request(datagram), target) for _, datagram, target in self.socket.sent]
        self.assertEqual(
            [(request.attempt, request.round, request.port, target) for request, target in requests],
            [(ATTEMPT, 2, port, target) for port, target in enumerate(PORTS)],
        )

    def test_request_without_an_answer_is_repeated(self) -> None:
        """After 100, 200, 400 and 800 ms and then each second; a port that has answered is left alone."""
        self.answer(1)
        self.pass_time(3)
        self.assertEqual(self.times(0), [0.0, 0.1, 0.2, 0.4, 0.8, 1.8, 2.8])
        self.assertEqual(self.times(1), [0.0])

    def test_nothing_is_sent_after_both_answers(self) -> None:
        """Nor after the end."""
        self.answer(0)
        self.answer(1)
        self.pass_time(3)
        self.assertEqual(len(self.socket.sent), 2)

    def test_stopping_ends_the_repetitions(self) -> None:
        """Whether they were answered or not."""
        self.observer.stop()
        self.pass_time(3)
        self.assertEqual(len(self.socket.sent), 2)

    def test_answer_to_an_earlier_request_counts(self) -> None:
        """The round trip is that of the request that was answered, and the shortest one is kept."""
        self.pass_time(0.15)
        self.assertIsNone(self.observer.round_trip)
        self.answer(0)
        self.assertApproximates(self.observer.round_trip, 0.15, 0.011)
        self.answer(3)  # The repetition after 0.1 s, to the other port.
        self.assertApproximates(self.observer.round_trip, 0.05, 0.011)
        self.pass_time(3)
        self.assertEqual(len(self.socket.sent), 4)

    def test_answers_that_do_not_fit_are_not_taken_for_observations(self) -> None:
        """Another source, another socket, or a code that says that the attempt does not go on: it is asked again."""
        self.assertTrue(self.answer(0, source=PORTS[1]))
        self.assertTrue(self.answer(0, socket=Socket(self.clock)))
        self.assertTrue(self.answer(0, code=PulseCode.UNKNOWN))
        self.assertIsNone(self.observer.round_trip)
        self.pass_time(0.15)
        self.assertEqual(self.times(0), [0.0, 0.1])

    def test_address_check_of_this_attempt_is_answered(self) -> None:
        """To where it came from; one of another attempt is taken, and gets nothing."""
        checker: Address = ("203.0.113.1", 5026)
        for attempt, answers in ((ATTEMPT, 1), (b"attempt2", 0)):
            self.socket.sent.clear()
            check = encode_short(Short(ShortKind.ADDRESS_CHECK, attempt, b"abcd"), KEY)
            self.assertTrue(self.observer.receive(self.socket, check, checker))
            self.assertEqual([address for _, _, address in self.socket.sent], [checker] * answers)
            for _, datagram, _ in self.socket.sent:
                self.assertEqual(decode_short(datagram), Short(ShortKind.CHECK_ANSWER, ATTEMPT, b"abcd"))

    def test_invitation_is_taken_and_gets_nothing(self) -> None:
        """It belongs to the socket of the pulses, but it is the server's all the same."""
        self.socket.sent.clear()
        invitation = encode_short(Short(ShortKind.INVITATION, ATTEMPT, b"abcd"), KEY)
        self.assertTrue(self.observer.receive(self.socket, invitation, PORTS[0]))
        self.assertEqual(self.socket.sent, [])

    def test_datagram_of_a_peer_is_left_to_others(self) -> None:
        """It is neither an answer nor a check."""
        self.assertFalse(self.observer.receive(self.socket, bytes(64), ("198.51.100.2", 1)))
