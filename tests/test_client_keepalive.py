"""The service that keeps a socket known to the server: every move of its table, its timing, and its bad days."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from twisted.application.service import IService
from twisted.internet.defer import CancelledError, Deferred

from rendezvous.client import ClientGone, Identity, KeepAlive, NotRegistered, ServerBusy, ServerUnreachable
from rendezvous.client._keepalive_states import KeepAliveState
from rendezvous.client.keepalive import REPLY_TIME
from tests._client_fakes import PatientVerifier
from tests._keepalive_case import ON_TIME, PEER, PULSE, UNKNOWN, VERIFY, KeepAliveTestCase


class PulseTests(KeepAliveTestCase):
    """When the server answers in time."""

    def test_is_a_service(self) -> None:
        """It can be a child of any Twisted service."""
        self.assertTrue(verifyObject(IService, self.service))

    def test_interval_must_be_positive(self) -> None:
        """An interval that would pulse without end is refused."""
        for interval in (0.0, -1.0, float("nan")):
            self.assertRaises(ValueError, self.make, interval=interval)
        self.assertIs(self.make(interval=0.001).state, KeepAliveState.STOPPED)

    def test_starting_sends_the_key_to_the_server(self) -> None:
        """The first pulse goes out at once, from any local address of the server's family."""
        self.start()
        self.assertEqual(self.port.sent, [PULSE])
        self.assertEqual((self.port.interface, self.service.running), ("", 1))

    def test_starting_twice_changes_nothing(self) -> None:
        """A second start opens no second socket."""
        self.start()
        self.service.startService()
        self.assertEqual((len(self.reactor.ports), self.pulses), (1, 1))

    def test_pulses_at_two_thirds_of_the_interval(self) -> None:
        """The period is counted from pulse to pulse, whatever time the answers take."""
        self.start()
        for answer_time in (0.0, 1.5, 4.9):
            self.reactor.advance(answer_time)
            self.receive(ON_TIME)
            self.assert_next_pulse_after(20 - answer_time)

    def test_pulses_are_jittered(self) -> None:
        """The sample moves the next pulse by a tenth at most."""
        self.start()
        for sample, delay in ((0.0, 18), (1.0, 22)):
            self.sample = sample
            self.receive(ON_TIME)
            self.assert_next_pulse_after(delay)

    def test_late_answer_at_a_short_interval_pulses_at_once(self) -> None:
        """When the next pulse is due before the answer comes, it is not put off further."""
        self.service = self.make(interval=3.0)
        self.start()
        self.reactor.advance(4)
        self.receive(ON_TIME)
        self.reactor.advance(0)
        self.assertEqual(self.pulses, 2)

    def test_online_at_the_first_answer(self) -> None:
        """All waiters fire at the first pulse on time, and later ones at once."""
        early = self.service.whenOnline()
        self.start()
        self.assertNoResult(early)
        self.receive(ON_TIME)
        self.assertIsNone(self.successResultOf(early))
        self.assertIsNone(self.successResultOf(self.service.whenOnline()))

    def test_waiting_to_be_online_can_be_cancelled(self) -> None:
        """A cancelled wait fails, and the service goes on."""
        self.start()
        waiter = self.service.whenOnline()
        waiter.cancel()
        self.failureResultOf(waiter, CancelledError)
        self.receive(ON_TIME)
        self.assert_state(KeepAliveState.RESTING)

    def test_service_can_be_stopped_by_who_waits_for_it(self) -> None:
        """A callback of whenOnline may stop the service."""
        self.service.whenOnline().addCallback(lambda _: self.service.stopService())
        self.start()
        self.receive(ON_TIME)
        self.assert_state(KeepAliveState.STOPPED)


class VerifyTests(KeepAliveTestCase):
    """When a pulse came late."""

    def start_verifying(self) -> None:
        """Start, and let the server ask for a verify."""
        self.start()
        self.receive(VERIFY)
        self.assert_state(KeepAliveState.VERIFYING)

    def test_verify_is_followed_by_a_pulse_at_once(self) -> None:
        """When asked, the client verifies, and pulses again as soon as that is done."""
        self.start_verifying()
        self.assertEqual((len(self.verifier.calls), self.pulses), (1, 1))
        self.verifier.calls[0].callback(None)
        self.assert_state(KeepAliveState.PROVING)
        self.assertEqual(self.pulses, 2)
        self.receive(ON_TIME)
        self.assert_next_pulse_after(20)

    def test_verify_takes_as_long_as_it_takes(self) -> None:
        """The client's own timeout ends a verify; no pulse is sent meanwhile."""
        self.start_verifying()
        self.reactor.advance(3600)
        self.assertEqual((len(self.verifier.calls), self.pulses), (1, 1))

    def test_server_that_asks_again_is_given_a_pause(self) -> None:
        """A server that is never content does not get verifies without a pause."""
        self.start_verifying()
        for pause in (1, 2, 4):
            self.verifier.calls[-1].callback(None)
            self.receive(VERIFY)
            self.assert_state(KeepAliveState.RETRYING)
            self.assert_next_pulse_after(pause)
            self.receive(VERIFY)
            self.assert_state(KeepAliveState.VERIFYING)

    def test_failed_verify_is_tried_again(self) -> None:
        """An unreachable or failing server is asked again, after a pulse, ever less often."""
        self.start_verifying()
        for error, pause in ((ServerUnreachable(), 1), (ServerBusy(), 2), (ServerBusy(retry_after=9), 9.45)):
            self.verifier.calls[-1].errback(error)
            self.assert_state(KeepAliveState.RETRYING)
            self.assert_next_pulse_after(pause)
            self.receive(VERIFY)
        self.assertEqual(len(self.verifier.calls), 4)

    def test_pause_of_one_failure_does_not_outlive_it(self) -> None:
        """What a busy server asked for does not slow a later retry."""
        self.start_verifying()
        self.verifier.calls[0].errback(ServerBusy(retry_after=9))
        self.assert_next_pulse_after(9.45)
        self.reactor.advance(REPLY_TIME)
        self.assert_next_pulse_after(2)

    def test_client_that_is_gone_for_verify_is_gone(self) -> None:
        """A verify that the server refuses ends the pulses."""
        self.start_verifying()
        self.verifier.calls[0].errback(NotRegistered())
        self.assert_state(KeepAliveState.GONE)
        self.failureResultOf(self.service.whenGone(), ClientGone)

    def test_unexpected_error_is_logged_and_tried_again(self) -> None:
        """Even a mistake in a program does not stop the pulses."""
        self.start_verifying()
        self.verifier.calls[0].errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assert_next_pulse_after(1)

    def test_verify_that_raises_is_logged_and_tried_again(self) -> None:
        """A verify that does not even return a Deferred is no reason to stop either."""

        class Broken(PatientVerifier):
            def verify(self, identity: Identity) -> Deferred[None]:
                raise ZeroDivisionError

        self.verifier = Broken()
        self.service = self.make()
        self.start()
        self.receive(VERIFY)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assert_state(KeepAliveState.RETRYING)

    def test_stopping_cancels_the_verify(self) -> None:
        """A stopped service leaves no request behind."""
        self.start_verifying()
        self.stop()
        self.assertEqual(self.verifier.cancelled, 1)
        self.assert_state(KeepAliveState.STOPPED)


class GoneTests(KeepAliveTestCase):
    """When the server has given the client up."""

    def test_unknown_client_is_gone(self) -> None:
        """All waiters get an error of their own, whether they wait before or after."""
        early, online = self.service.whenGone(), self.service.whenOnline()
        self.start()
        self.assertNoResult(early)
        self.receive(UNKNOWN)
        self.assert_state(KeepAliveState.GONE)
        for waiter in (early, online, self.service.whenGone(), self.service.whenGone(), self.service.whenOnline()):
            self.assertIn("register again", str(self.failureResultOf(waiter, ClientGone).value))
        self.assertEqual([type(error) for error in self.told_gone], [ClientGone])

    def test_pulses_stop(self) -> None:
        """A client that is gone pulses no more, while its socket stays for the application."""
        self.start()
        self.receive(UNKNOWN)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.pulses, 1)
        self.receive(b"hello", PEER)
        self.service.send(b"hello", PEER)
        self.assertEqual(self.others, [(b"hello", PEER)])

    def test_gone_after_verify_is_gone(self) -> None:
        """The pulse after a verify can find the client gone as well."""
        self.start()
        self.receive(VERIFY)
        self.verifier.calls[0].callback(None)
        self.receive(UNKNOWN)
        self.assert_state(KeepAliveState.GONE)

    def test_error_in_the_applications_callback_is_logged(self) -> None:
        """An exception in on_gone reaches the log, and the waiters still fail."""

        def fail(error: ClientGone) -> None:
            raise ZeroDivisionError

        self.service = self.make(on_gone=fail)
        waiter = self.service.whenGone()
        self.start()
        self.receive(UNKNOWN)
        self.failureResultOf(waiter, ClientGone)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_error_is_remembered_until_the_next_start(self) -> None:
        """After the stop one can still learn that the client was gone; a new start is a new try."""
        self.start()
        self.receive(UNKNOWN)
        self.stop()
        self.failureResultOf(self.service.whenGone(), ClientGone)
        self.start()
        waiter = self.service.whenGone()
        self.assertNoResult(waiter)
        self.receive(ON_TIME)
        self.assert_state(KeepAliveState.RESTING)
        self.assertNoResult(waiter)


class ServerAwayTests(KeepAliveTestCase):
    """When the server does not answer."""

    def test_silence_is_noticed_after_the_reply_time(self) -> None:
        """An answer may take just under five seconds."""
        self.start()
        self.reactor.advance(REPLY_TIME - 0.001)
        self.assert_state(KeepAliveState.PULSING)
        self.reactor.advance(0.001)
        self.assert_state(KeepAliveState.RETRYING)

    def test_retries_go_on_for_ever(self) -> None:
        """The waits double up to the pulse period, and never end."""
        self.start()
        for pause in (1, 2, 4, 8, 16, *[20] * 2000):
            self.reactor.advance(REPLY_TIME)
            self.assert_next_pulse_after(pause)

    def test_retries_are_jittered(self) -> None:
        """A retry comes up to a tenth earlier or later."""
        self.start()
        for sample, pause in ((0.0, 0.9), (1.0, 2.2)):
            self.sample = sample
            self.reactor.advance(REPLY_TIME)
            self.assert_next_pulse_after(pause)

    def test_server_that_comes_back_is_online_again(self) -> None:
        """An answer brings back the usual period, and the next failure begins at the shortest wait."""
        self.start()
        for pause in (1, 2, 4):
            self.reactor.advance(REPLY_TIME)
            self.assert_next_pulse_after(pause)
        self.receive(ON_TIME)
        self.successResultOf(self.service.whenOnline())
        self.assert_next_pulse_after(20)
        self.reactor.advance(REPLY_TIME)
        self.assert_next_pulse_after(1)

    def test_answer_after_the_reply_time_is_not_taken(self) -> None:
        """An answer that comes too late changes nothing, and the application does not see it."""
        self.start()
        self.reactor.advance(REPLY_TIME)
        self.receive(ON_TIME)
        self.assert_state(KeepAliveState.RETRYING)
        self.assertEqual(self.others, [])

    def test_refused_pulse_is_tried_again_without_waiting_for_an_answer(self) -> None:
        """ICMP's "refused" counts as a failure while a pulse is outstanding, and as nothing otherwise."""
        self.start()
        self.port.protocol.connectionRefused()
        self.assert_state(KeepAliveState.RETRYING)
        self.port.protocol.connectionRefused()
        self.assert_next_pulse_after(1)

    def test_pulse_that_cannot_be_sent_is_tried_again(self) -> None:
        """A host without a network keeps trying."""
        self.start_online()
        self.port.refuse_with = OSError("network is unreachable")
        self.reactor.advance(20)
        self.assert_state(KeepAliveState.RETRYING)
        self.port.refuse_with = None
        self.assert_next_pulse_after(1)

    def test_only_the_first_failure_is_a_warning(self) -> None:
        """A night without a server is two lines in the log: when it left, and when it came back."""
        self.start()
        for pause in (1, 2, 4):
            self.reactor.advance(REPLY_TIME)
            self.reactor.advance(pause)
        self.receive(ON_TIME)
        ours = [event for event in self.logged if event["log_namespace"] == KeepAlive.__module__ + ".KeepAlive"]
        levels = [event["log_level"].name for event in ours]
        self.assertEqual(levels, ["warn", "debug", "debug", "info"])
