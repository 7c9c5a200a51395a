"""Pulses that are signed: what they carry, which answers count, and what else the server sends to their socket."""

from __future__ import annotations

from typing import Any

from rendezvous.client import Health, KeepAlive, ServerUnreachable
from rendezvous.client._keepalive_states import KeepAliveState
from rendezvous.client._signing import Signer
from rendezvous.core.macs import datagram_key, is_authentic
from rendezvous.wire.pulse import PulseCode
from rendezvous.wire.signed import (
    NO_ATTEMPT,
    Request,
    Short,
    ShortKind,
    decode_request,
    encode_request,
    encode_short,
    reply_to,
)
from tests._client_fakes import CLIENT_ID, IDENTITY
from tests._keepalive_case import ON_TIME, SERVER, KeepAliveTestCase

KEY = datagram_key(IDENTITY.private_key)
PUBLIC = ("203.0.113.5", 40001)
ATTEMPT = b"attempt1"


class SignedPulseTests(KeepAliveTestCase):
    """A service in memory whose pulses are signed."""

    def setUp(self) -> None:
        """Have the time of the server be known."""
        super().setUp()
        self.verifier.time.learn(1_790_000_000.0, 0.0)

    def make(self, **options: Any) -> KeepAlive:
        """A service whose pulses are signed."""
        self.addresses: list[tuple[str, int]] = []
        self.invitations: list[bytes] = []
        return super().make(
            signed=True, on_address=self.addresses.append, on_invitation=self.invitations.append, **options
        )

    def sent(self) -> list[Request]:
        """:returns: every pulse; each was sent to the server and its MAC holds."""
        self.assertEqual({address for _, address in self.port.sent}, {SERVER})
        self.assertTrue(all(is_authentic(KEY, datagram) for datagram, _ in self.port.sent))
        return [decode_request(datagram) for datagram, _ in self.port.sent]

    def answer(self, code: PulseCode = PulseCode.ON_TIME, address: tuple[str, int] = PUBLIC, pulse: int = -1) -> None:
        """Answer a pulse as the server does."""
        self.receive(reply_to(self.port.sent[pulse][0], code, address, KEY))

    def test_pulse_shows_the_id_and_not_the_key(self) -> None:
        """It is a request without an attempt, at the time of the server."""
        self.start()
        [request] = self.sent()
        self.assertEqual((request.client_id.hex(), request.time), (CLIENT_ID, 1_790_000_000_000))
        self.assertEqual((request.attempt, request.round, request.port), (NO_ATTEMPT, 0, 0))
        self.assertNotIn(IDENTITY.private_key, self.port.sent[0][0])

    def test_answer_tells_the_public_address(self) -> None:
        """It is reported when it has changed, and only then."""
        self.start()
        self.answer()
        self.assert_state(KeepAliveState.RESTING)
        self.assertEqual((self.service.public_address, self.addresses), (PUBLIC, [PUBLIC]))
        for address in (PUBLIC, ("203.0.113.5", 40002)):
            self.reactor.advance(25)
            self.answer(address=address)
        self.assertEqual(self.addresses, [PUBLIC, ("203.0.113.5", 40002)])

    def test_each_pulse_is_later_than_the_one_before(self) -> None:
        """Also if the clock has not moved on, or was set back."""
        time = self.verifier.time
        signer = Signer(IDENTITY, time)
        times = [decode_request(signer.sign()[0]).time for _ in range(3)]
        time.learn(1_700_000_000.0, 0.0)
        times.append(decode_request(signer.sign()[0]).time)
        self.assertEqual([later - times[0] for later in times], [0, 1, 2, 3])

    def test_only_the_answer_to_the_last_pulse_counts(self) -> None:
        """A copy of an earlier answer, a plain one and a forged one change nothing; the first is not handed on."""
        self.start()
        self.answer()
        self.reactor.advance(25)
        self.assert_state(KeepAliveState.PULSING)
        self.answer(pulse=0)
        request, _ = self.port.sent[-1]
        self.receive(reply_to(request, PulseCode.UNKNOWN, PUBLIC, bytes(32)))
        self.receive(ON_TIME)
        self.assert_state(KeepAliveState.PULSING)
        self.assertEqual(len(self.others), 2)
        self.answer()
        self.assert_state(KeepAliveState.RESTING)

    def test_answer_for_another_client_does_not_count(self) -> None:
        """Even under the right key, which no server would use."""
        self.start()
        nonce = self.sent()[0].nonce
        other = encode_request(Request(bytes(16), 5, nonce), KEY)
        self.receive(reply_to(other, PulseCode.UNKNOWN, PUBLIC, KEY))
        self.assert_state(KeepAliveState.PULSING)

    def test_codes_mean_what_they_mean_for_plain_pulses(self) -> None:
        """A late client verifies and sends another pulse; an unknown one is gone."""
        self.start()
        self.answer(PulseCode.VERIFY)
        self.assert_state(KeepAliveState.VERIFYING)
        self.verifier.calls[-1].callback(None)
        self.assertEqual(len(self.sent()), 2)
        self.answer(PulseCode.UNKNOWN)
        self.assert_state(KeepAliveState.GONE)
        self.assertEqual(len(self.told_gone), 1)

    def test_invitation_is_reported(self) -> None:
        """In any state; a forged one, an address check and one from elsewhere are not."""
        self.start()
        self.answer()
        invitation = Short(ShortKind.INVITATION, ATTEMPT, b"nonc")
        self.receive(encode_short(invitation, KEY))
        self.receive(encode_short(invitation, bytes(32)))
        self.receive(encode_short(Short(ShortKind.CHECK_ANSWER, ATTEMPT, b"nonc"), KEY))
        self.receive(encode_short(Short(ShortKind.ADDRESS_CHECK, ATTEMPT, b"nonc"), KEY))
        self.receive(encode_short(invitation, KEY), ("203.0.113.66", 5024))
        self.assertEqual(self.invitations, [ATTEMPT])
        self.assertEqual(len(self.others), 4)

    def test_time_is_asked_for_after_a_failure(self) -> None:
        """The clock of the server may have been set. If it cannot be asked, the pulses go on."""
        self.start()
        self.reactor.advance(5)
        self.assert_state(KeepAliveState.RETRYING)
        self.reactor.advance(1.1)
        [asked] = self.verifier.asked
        self.assertEqual(len(self.sent()), 1)
        asked.errback(ServerUnreachable())
        self.assertEqual(len(self.sent()), 2)


class UnknownTimeTests(KeepAliveTestCase):
    """The time of the server is not known yet."""

    def make(self, **options: Any) -> KeepAlive:
        """A service whose pulses are signed."""
        return super().make(signed=True, **options)

    def test_time_is_asked_for_before_the_first_pulse(self) -> None:
        """The first pulse follows its answer."""
        self.service.startService()
        self.assert_state(KeepAliveState.RESOLVING)
        self.verifier.time.learn(1_790_000_000.0, 0.0)
        self.verifier.asked.pop().callback(Health("1.0", 1.0))
        self.assert_state(KeepAliveState.PULSING)
        self.assertEqual(len(self.port.sent), 1)

    def test_without_a_time_there_is_no_pulse(self) -> None:
        """The key is not sent instead; the service tries again."""
        self.service.startService()
        self.verifier.asked.pop().errback(ServerUnreachable())
        self.assert_state(KeepAliveState.RETRYING)
        self.assertEqual(self.port.sent, [])
