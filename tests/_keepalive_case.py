"""A pulse service in memory, and what a test does to it."""

from __future__ import annotations

from typing import Any, cast

from twisted.logger import ILogObserver, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.client import ClientGone, KeepAlive
from rendezvous.client._keepalive_states import KeepAliveState
from rendezvous.wire.pulse import PulseCode, encode_reply
from tests._client_fakes import IDENTITY, PRIVATE_ID, MemoryPort, MemoryUDPReactor, PatientVerifier

SERVER = ("192.0.2.1", 5024)
PEER = ("198.51.100.9", 7000)
PULSE = (IDENTITY.private_key, SERVER)
ON_TIME, VERIFY, UNKNOWN = (encode_reply(code) for code in (PulseCode.ON_TIME, PulseCode.VERIFY, PulseCode.UNKNOWN))
MIDDLE = 0.5
"""The sample that leaves a delay at its nominal length."""


class KeepAliveTestCase(SynchronousTestCase):
    """A service in memory; at the end of each test it is stopped, and no timer may be left."""

    server = SERVER

    def setUp(self) -> None:
        """Make a service with everything that a test watches, and watch the log."""
        self.reactor = MemoryUDPReactor()
        self.verifier = PatientVerifier()
        self.sample = MIDDLE
        self.others: list[tuple[bytes, tuple[str, int]]] = []
        self.told_gone: list[ClientGone] = []
        self.logged: list[dict[str, Any]] = []
        observer = cast(ILogObserver, self.logged.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.service = self.make()
        self.addCleanup(self.stop)

    def make(self, **options: Any) -> KeepAlive:
        """A service with everything that a test watches."""
        settings: dict[str, Any] = {
            "interval": 30.0,
            "signed": False,
            "random": lambda: self.sample,
            "on_gone": self.told_gone.append,
            "on_datagram": lambda datagram, source: self.others.append((datagram, source)),
        }
        return KeepAlive(self.verifier, IDENTITY, self.server, self.reactor, **settings | options)

    def stop(self) -> None:
        """Stop the service and look for what it left behind."""
        closed = self.service.stopService()
        self.reactor.advance(0)
        self.successResultOf(closed)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertFalse([port for port in self.reactor.ports if port.open])
        for event in self.logged:
            self.assertNotIn(PRIVATE_ID, repr(event))
            self.assertNotIn(repr(IDENTITY.private_key), repr(event))

    def start(self) -> None:
        """Start the service, which sends the first pulse."""
        self.service.startService()
        self.assert_state(KeepAliveState.PULSING)

    def start_online(self) -> None:
        """Start the service and take the first pulse."""
        self.start()
        self.receive(ON_TIME)
        self.assert_state(KeepAliveState.RESTING)

    @property
    def port(self) -> MemoryPort:
        """The service's newest port."""
        return self.reactor.ports[-1]

    @property
    def pulses(self) -> int:
        """How many pulses were sent; nothing else may have been."""
        self.assertEqual(set(self.port.sent) - {PULSE}, set())
        return len(self.port.sent)

    def receive(self, datagram: bytes, source: tuple[str, int] = SERVER) -> None:
        """Let a datagram come."""
        self.port.protocol.datagramReceived(datagram, source)

    def assert_state(self, state: KeepAliveState) -> None:
        """The service must be doing this."""
        self.assertIs(self.service.state, state)

    def assert_next_pulse_after(self, delay: float) -> None:
        """No pulse is sent before this time, and one is then."""
        before = self.pulses
        self.reactor.advance(delay - 0.001)
        self.assertEqual(self.pulses, before)
        self.reactor.advance(0.002)
        self.assertEqual(self.pulses, before + 1)
