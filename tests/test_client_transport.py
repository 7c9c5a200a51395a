"""How the client's requests end: by a whole reply, by one that is too long, by none, and by cancelling."""

from __future__ import annotations

from typing import Any, cast
from unittest.mock import patch

from OpenSSL import SSL
from service_identity import VerificationError

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError, ConnectionRefusedError, DNSLookupError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone, ResponseFailed, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from rendezvous.client import (
    Health,
    RendezvousClient,
    ServerError,
    ServerUnreachable,
)
from rendezvous.client._http_connections import PAUSES, HedgedEndpoint
from rendezvous.client._replies import MAX_BODY
from tests._client_fakes import BASE_URL, IDENTITY, PEER_ID, PRIVATE_ID, CannedServer, PatientTreq, client_of


class SlowResponse:
    """A response whose body comes when the test says so."""

    code = 200
    headers = Headers()

    def __init__(self) -> None:
        self.closed = False
        self.protocol = Protocol()

    def deliverBody(self, protocol: Protocol) -> None:
        """Begin to read the body."""
        self.protocol = protocol
        protocol.makeConnection(cast(Any, self))

    def loseConnection(self) -> None:
        """Close the connection."""
        self.closed = True

    def deliver(self, data: bytes) -> None:
        """Let a part of the body come."""
        self.protocol.dataReceived(data)

    def finish(self, reason: Exception | None = None) -> None:
        """Let the body end."""
        self.protocol.connectionLost(Failure(reason or ResponseDone()))


class Exchange:
    """A client whose one request waits for the test."""

    def __init__(self, treq: PatientTreq | None = None) -> None:
        self.treq = treq or PatientTreq()
        self.clock = Clock()
        self.client = RendezvousClient(BASE_URL, self.treq, self.clock, timeout=10)

    def respond(self) -> SlowResponse:
        """Let the reply begin."""
        response = SlowResponse()
        self.treq.calls[-1].callback(cast(IResponse, response))
        return response


class BodyLimitTests(SynchronousTestCase):
    """How much of a reply is read."""

    def health_of(self, size: int) -> Deferred[Health]:
        """The health of a server whose reply has this many bytes."""
        body = b'{"status": "ok", "timestamp": 1000, "version": "1.0"}'
        return client_of(CannedServer(200, body.ljust(size))).health()

    def test_body_at_the_limit_is_read(self) -> None:
        """One byte below the limit and at it, all is well."""
        for size in (MAX_BODY - 1, MAX_BODY):
            self.assertEqual(self.successResultOf(self.health_of(size)), Health("1.0", 1000))

    def test_body_over_the_limit_is_the_servers_error(self) -> None:
        """One byte over the limit, and far over it, the reply is given up."""
        for size in (MAX_BODY + 1, 10 * MAX_BODY):
            error = self.failureResultOf(self.health_of(size), ServerError).value
            self.assertIn(f"longer than {MAX_BODY} bytes", str(error))

    def test_endless_body_is_closed_at_the_limit(self) -> None:
        """Reading stops, and the connection closes, as soon as there is too much."""
        exchange = Exchange()
        result = exchange.client.health()
        response = exchange.respond()
        response.deliver(b"x" * MAX_BODY)
        self.assertNoResult(result)
        self.assertFalse(response.closed)
        response.deliver(b"x")
        self.failureResultOf(result, ServerError)
        self.assertTrue(response.closed)
        response.deliver(b"x")
        response.finish()
        self.assertEqual(exchange.clock.getDelayedCalls(), [])


class TransportTests(SynchronousTestCase):
    """When no whole reply comes."""

    def test_request_uses_our_reactor_and_leaves_the_body_to_us(self) -> None:
        """Treq must neither find a reactor of its own, nor buffer a body of any length, nor follow a redirect."""
        exchange = Exchange()
        exchange.client.health().addErrback(lambda failure: failure.trap(CancelledError))
        self.addCleanup(exchange.treq.calls[0].cancel)
        options = exchange.treq.options[0]
        self.assertIs(options["reactor"], exchange.clock)
        self.assertIs(options["unbuffered"], True)
        self.assertIs(options["allow_redirects"], False)

    def test_failed_connection_means_unreachable(self) -> None:
        """Refused, not found, broken: the error says which, and where."""
        for reason in (
            ConnectionRefusedError("refused"),
            DNSLookupError("no such name"),
            OSError("odd"),
            ResponseNeverReceived([Failure(OSError("odd"))]),
        ):
            exchange = Exchange()
            result = exchange.client.health()
            exchange.treq.calls[0].errback(reason)
            error = self.failureResultOf(result, ServerUnreachable).value
            self.assertIn(f"no reply from {BASE_URL}/health: ", str(error))
            self.assertEqual(exchange.clock.getDelayedCalls(), [])

    def test_reason_is_named_even_when_it_is_wrapped(self) -> None:
        """The message holds the cause, not the wrapping."""
        exchange = Exchange()
        result = exchange.client.health()
        exchange.treq.calls[0].errback(ResponseNeverReceived([Failure(OSError("bad certificate"))]))
        error = self.failureResultOf(result, ServerUnreachable).value
        self.assertIn("/health: bad certificate; check the server's address", str(error))

    def test_certificate_that_is_not_trusted(self) -> None:
        """The message says what to do about it, in place of looking for the server."""
        for cause, expected in (
            (SSL.Error([("SSL routines", "", "certificate verify failed")]), "is not trusted; if an authority of your"),
            (VerificationError(errors=[]), "is for another name; use the name that the certificate has"),
        ):
            exchange = Exchange()
            result = exchange.client.health()
            exchange.treq.calls[0].errback(ResponseNeverReceived([Failure(cause)]))
            error = self.failureResultOf(result, ServerUnreachable).value
            self.assertIn(f"no reply from {BASE_URL}/health: its certificate {expected}", str(error))

    def test_error_that_no_network_causes_is_left_alone(self) -> None:
        """A mistake in a program is not blamed on the network."""
        exchange = Exchange()
        result = exchange.client.health()
        exchange.treq.calls[0].errback(LookupError("mistake"))
        self.failureResultOf(result, LookupError)

    def test_silence_means_unreachable(self) -> None:
        """Without a reply in the given time, the request is cancelled; just before, it still waits."""
        exchange = Exchange()
        result = exchange.client.health()
        exchange.clock.advance(9.999)
        self.assertNoResult(result)
        exchange.clock.advance(0.001)
        error = self.failureResultOf(result, ServerUnreachable).value
        self.assertIn("within 10 s", str(error))
        self.assertTrue(exchange.treq.calls[0].called)

    def test_body_that_never_ends_means_unreachable(self) -> None:
        """The time is for the whole reply: a body that drips is given up too."""
        exchange = Exchange()
        result = exchange.client.health()
        exchange.clock.advance(9)
        response = exchange.respond()
        response.deliver(b"{")
        exchange.clock.advance(1)
        self.failureResultOf(result, ServerUnreachable)
        self.assertTrue(response.closed)

    def test_broken_body_means_unreachable(self) -> None:
        """A connection that breaks within the body is no reply."""
        exchange = Exchange()
        result = exchange.client.health()
        exchange.respond().finish(ResponseFailed([Failure(OSError("broken"))]))
        self.failureResultOf(result, ServerUnreachable)
        self.assertEqual(exchange.clock.getDelayedCalls(), [])

    def test_cancelling_ends_the_request(self) -> None:
        """A cancelled method fails with CancelledError, however the HTTP client puts it, and leaves no timer."""
        for cancelled in (
            None,
            lambda: ConnectingCancelledError(cast(IAddress, None)),
            lambda: ResponseNeverReceived([Failure(CancelledError())]),
        ):
            exchange = Exchange(PatientTreq(cancelled))
            result = exchange.client.look_up(IDENTITY, PEER_ID)
            result.cancel()
            self.failureResultOf(result, CancelledError)
            self.assertTrue(exchange.treq.calls[0].called)
            self.assertEqual(exchange.clock.getDelayedCalls(), [])

    def test_cancelling_within_the_body_closes_the_connection(self) -> None:
        """A cancelled method does not leave a body coming."""
        exchange = Exchange()
        result = exchange.client.look_up(IDENTITY, PEER_ID)
        response = exchange.respond()
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertTrue(response.closed)
        self.assertEqual(exchange.clock.getDelayedCalls(), [])

    def test_no_error_shows_the_key(self) -> None:
        """Whatever goes wrong, the credential stays out of the message."""
        exchange = Exchange()
        result = exchange.client.verify(IDENTITY)
        exchange.treq.calls[0].errback(ConnectionRefusedError("refused"))
        self.assertNotIn(PRIVATE_ID, str(self.failureResultOf(result).value))


class HedgedConnectionTests(SynchronousTestCase):
    """Connections that take long."""

    def setUp(self) -> None:
        """Make an endpoint whose connections the test opens."""
        self.clock = Clock()
        self.opening: list[Deferred[Any]] = []
        self.result = HedgedEndpoint(self.clock, self).connect(cast(Any, None))

    def connect(self, factory: object) -> Deferred[Any]:
        """Begin to open a connection."""
        self.opening.append(Deferred())
        return self.opening[-1]

    def connection(self) -> Any:
        """:returns: a protocol on a transport in memory."""
        protocol = Protocol()
        protocol.makeConnection(cast(Any, StringTransport()))
        return protocol

    def test_quick_connection_is_the_only_one(self) -> None:
        """Nothing is left for later."""
        protocol = self.connection()
        self.opening[0].callback(protocol)
        self.assertIs(self.successResultOf(self.result), protocol)
        self.assertEqual((len(self.opening), self.clock.getDelayedCalls()), (1, []))

    def test_first_that_is_there_is_kept(self) -> None:
        """Two more are tried, after 0.4 s and after 0.8 s more; the others are given up."""
        for pause, number in zip((0.0, *PAUSES), (1, 2, 3), strict=True):
            self.clock.advance(pause)
            self.assertEqual(len(self.opening), number)
        protocol = self.connection()
        self.opening[1].callback(protocol)
        self.assertIs(self.successResultOf(self.result), protocol)
        for lost in (self.opening[0], self.opening[2]):
            self.assertTrue(lost.called)
        self.assertFalse(protocol.transport.disconnecting)

    def test_connection_that_comes_too_late_is_closed(self) -> None:
        """Also if it could not be cancelled any more."""
        late = Deferred(lambda _: late.callback(protocol))  # type: ignore[var-annotated]
        protocol = self.connection()
        self.opening.clear()
        with patch.object(self, "connect", lambda factory: late):
            result = HedgedEndpoint(self.clock, self).connect(cast(Any, None))
        self.clock.advance(PAUSES[0])
        self.opening[-1].callback(self.connection())
        self.successResultOf(result)
        self.assertTrue(protocol.transport.disconnecting)

    def test_last_failure_is_the_result(self) -> None:
        """A refusal is not held back for the sake of another try that was not begun."""
        self.opening[0].errback(ConnectionRefusedError())
        self.failureResultOf(self.result, ConnectionRefusedError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelling_ends_all(self) -> None:
        """Nothing is left for later."""
        self.clock.advance(PAUSES[0])
        self.result.cancel()
        self.failureResultOf(self.result, CancelledError)
        self.assertTrue(all(each.called for each in self.opening))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class OwnConnectionsTests(SynchronousTestCase):
    """A client that opens its own connections."""

    def test_connections_go_over_the_given_reactor(self) -> None:
        """The convenience constructor connects over the reactor that it is given, and no other."""
        reactor = MemoryReactorClock()
        client = RendezvousClient.over(reactor, "http://127.0.0.1:5025", timeout=3)
        result = client.health()
        self.assertEqual(reactor.tcpClients[0][:2], ("127.0.0.1", 5025))
        reactor.advance(3)
        self.failureResultOf(result, ServerUnreachable)
        self.successResultOf(client.close())
        self.assertEqual(reactor.getDelayedCalls(), [])

    def test_closing_a_client_with_somebody_elses_treq_does_nothing(self) -> None:
        """What was given is not ours to close."""
        self.assertIsNone(self.successResultOf(Exchange().client.close()))
