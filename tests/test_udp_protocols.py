"""Tests of :mod:`rendezvous.udp.protocol`: how one port tells its dialects apart, STUN, and dialects that are off."""

from __future__ import annotations

import json

from rendezvous.core.presence.states import PulseCode
from rendezvous.wire import pulse, stun
from tests._store_case import local
from tests._udp_case import ALICE, BOB, CAROL, UDPTestCase
from tests.stun_samples import SAMPLE_IPV4_RESPONSE, SAMPLE_REQUEST, TRANSACTION, raw, request

ON_TIME = pulse.encode_reply(PulseCode.ON_TIME)
VERIFY = pulse.encode_reply(PulseCode.VERIFY)
UNKNOWN = pulse.encode_reply(PulseCode.UNKNOWN)

ANNOUNCE = b'{"action":"announce"}'
STUN_KEY = raw((0x8022, bytes(8)))
JSON_KEY = b'{"action":"announce"}'.ljust(32)


def mapped(datagram: bytes) -> tuple[str, int]:
    """:returns: the XOR-MAPPED-ADDRESS of a STUN success response, which has to be all that it holds."""
    message = stun.decode(datagram)
    assert (message.kind, message.transaction_id) == (stun.MessageClass.SUCCESS, TRANSACTION), message
    [(number, (host, port))] = message.attributes
    assert number == 0x0020, number
    return host, port


class OrderTests(UDPTestCase):
    """A datagram belongs to the first dialect that fits."""

    def known(self, key: bytes) -> None:
        """Make a client with a key that is drawn for no client."""
        local(self.server.rendezvous.store).tables.presence.register(bytes(16), key, self.server.reactor.seconds())

    def test_known_key_comes_before_everything(self) -> None:
        """A key that looks like STUN, or like JSON, is a pulse as long as its client is there."""
        for key in (STUN_KEY, JSON_KEY):
            self.start()
            self.known(key)
            self.assertEqual(self.server.deliver(key), [ON_TIME])
            self.assertEqual(self.server.deliver(key, BOB), [ON_TIME])
            self.later(34)
            self.assertEqual(self.server.deliver(key, BOB), [VERIFY])

    def test_stun_comes_before_an_unknown_key(self) -> None:
        """32 bytes with STUN's header are a Binding request where no client has that key."""
        self.assertEqual(len(STUN_KEY), 32)
        [reply] = self.server.deliver(STUN_KEY, ALICE)
        self.assertEqual(mapped(reply), ALICE)

    def test_json_comes_before_an_unknown_key(self) -> None:
        """32 bytes that begin with a brace are the tracker's, whether it can read them or not."""
        [reply] = self.server.deliver(JSON_KEY, ALICE)
        self.assertEqual(json.loads(reply)["action"], "announceReceived")
        self.assertEqual(self.server.deliver(b"{" + bytes(31), ALICE), [])
        self.assertEqual(self.dropped(), {"malformed tracker request": 1})

    def test_anything_of_a_keys_size_is_a_pulse_at_last(self) -> None:
        """32 bytes, and 64 hex digits of either case, get 1060 if no client has that key."""
        for datagram in (bytes(32), b"\xff" * 32, b"0f" * 32, b"0F" * 32):
            self.assertEqual(self.server.deliver(datagram), [UNKNOWN])

    def test_known_key_in_hex_is_a_pulse(self) -> None:
        """Both forms of a pulse mean the same, on every port."""
        _, key, _ = self.server.register()
        for port in (0, 1):
            for form in (key, key.hex().encode(), key.hex().upper().encode()):
                self.assertEqual(self.server.deliver(form, ALICE, port), [ON_TIME])

    def test_all_else_is_dropped_and_counted(self) -> None:
        """Nearly a pulse, nearly STUN, JSON behind a blank, and noise."""
        near = (b"", b"x", bytes(31), bytes(33), b"g" * 64, b" " + ANNOUNCE, b"[" + ANNOUNCE + b"]", request()[:-1])
        for datagram in near:
            self.assertEqual(self.server.deliver(datagram), [], datagram)
        self.assertEqual(self.dropped(), {"unreadable": len(near)})

    def test_drawn_keys_are_never_mistaken(self) -> None:
        """A client that has left gets its 1060, so no key may look like another dialect's datagram."""
        for _ in range(20):
            _, key, headers = self.server.register()
            self.server.request("POST", "/logout", headers=headers)
            self.assertEqual(self.server.deliver(key), [UNKNOWN])


class STUNTests(UDPTestCase):
    """Binding requests through the port."""

    def test_success_tells_the_source(self) -> None:
        """IPv4, IPv6 and IPv4 as an IPv6 socket shows it; the reply goes to the address that asked."""
        for source, seen in ((ALICE, ALICE), (CAROL, CAROL), (("::ffff:192.0.2.1", 4000), ALICE)):
            for port in (0, 1):
                [reply] = self.server.deliver(request(), source, port)
                self.assertEqual(mapped(reply), seen)
                self.assertEqual(self.server.udp_ports[port].sent[-1][1], source)

    def test_fingerprint_is_answered_with_one(self) -> None:
        """A sender that uses one gets one, as RFC 8489, section 7.3.1 asks."""
        for fingerprint in (False, True):
            [reply] = self.server.deliver(request(fingerprint=fingerprint), ALICE)
            self.assertEqual(stun.decode(reply).fingerprint, fingerprint)

    def test_unknown_attribute_gets_420(self) -> None:
        """Each comprehension-required attribute that the server does not know is listed."""
        [reply] = self.server.deliver(request((0x0003, bytes(4)), (0x7FFF, b"")), ALICE)
        message = stun.decode(reply)
        self.assertIs(message.kind, stun.MessageClass.ERROR)
        self.assertEqual(message.attributes, ((0x0009, (420, "")), (0x000A, (0x0003, 0x7FFF))))

    def test_all_else_of_stun_is_dropped(self) -> None:
        """Indications, responses, other methods, a wrong fingerprint and a malformed attribute get nothing."""
        dropped = (
            request(kind=stun.MessageClass.INDICATION),
            SAMPLE_IPV4_RESPONSE,
            stun.encode(stun.Message(0x003, stun.MessageClass.REQUEST, TRANSACTION)),
            request(fingerprint=True)[:-1] + b"\x00",
            raw((0x0020, bytes(3))),
        )
        for datagram in dropped:
            self.assertEqual(self.server.deliver(datagram), [], datagram)
        self.assertEqual(self.dropped(), {"malformed STUN": len(dropped)})

    def test_ice_check_is_not_passed(self) -> None:
        """A connectivity check between peers gets 420: a server must not seem to be one."""
        [reply] = self.server.deliver(SAMPLE_REQUEST, ALICE)
        self.assertIs(stun.decode(reply).kind, stun.MessageClass.ERROR)


class WithoutTests(UDPTestCase):
    """Dialects that are off."""

    def test_tracker_off_is_silent_and_the_others_go_on(self) -> None:
        """Its datagrams are dropped and counted; on every port."""
        self.start(without=("tracker",))
        _, key, _ = self.server.register()
        for port in (0, 1):
            self.assertEqual(self.server.deliver(ANNOUNCE, ALICE, port), [])
            self.assertEqual(len(self.server.deliver(request(), ALICE, port)), 1)
            self.assertEqual(self.server.deliver(key, ALICE, port), [ON_TIME])
        self.assertEqual(self.dropped(), {"protocol turned off": 2})

    def test_stun_off_is_silent_and_the_others_go_on(self) -> None:
        """Not even what is malformed is told from what is off."""
        self.start(without=("stun",))
        _, key, _ = self.server.register()
        self.assertEqual(self.server.deliver(request(), ALICE), [])
        self.assertEqual(self.server.deliver(STUN_KEY, ALICE), [])
        self.assertEqual(len(self.server.deliver(ANNOUNCE, ALICE)), 1)
        self.assertEqual(self.server.deliver(key, ALICE), [ON_TIME])
        self.assertEqual(self.dropped(), {"protocol turned off": 2})

    def test_pulses_off_are_silent_and_the_others_go_on(self) -> None:
        """Known keys and unknown ones, raw and in hex."""
        self.start(without=("rendezvous",))
        _, key, _ = self.server.register()
        for datagram in (key, key.hex().encode(), bytes(32), b"0" * 64):
            self.assertEqual(self.server.deliver(datagram, ALICE), [], datagram)
        self.assertEqual(len(self.server.deliver(request(), ALICE)), 1)
        self.assertEqual(len(self.server.deliver(ANNOUNCE, ALICE)), 1)
        self.assertEqual(self.dropped(), {"protocol turned off": 4})

    def test_pulses_off_are_off_for_a_client_that_is_online(self) -> None:
        """The shortest way is closed as well: a client that a store brought back is not kept alive."""
        self.start(without=("rendezvous",))
        _, key, _ = self.server.register()
        local(self.server.rendezvous.store).tables.presence.pulse(key, ALICE, self.server.reactor.seconds())
        self.assertEqual(self.server.deliver(key, ALICE), [])
        self.assertEqual(self.dropped(), {"protocol turned off": 1})

    def test_all_off_is_silence(self) -> None:
        """Three options together leave a port that answers nothing."""
        self.start(without=("rendezvous", "tracker", "stun"))
        for datagram in (request(), ANNOUNCE, bytes(32), b"x"):
            self.assertEqual(self.server.deliver(datagram), [])
        self.assertEqual(self.dropped(), {"protocol turned off": 3, "unreadable": 1})
