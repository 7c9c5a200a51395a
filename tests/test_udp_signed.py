"""Signed datagrams at UDP ports: pulses, observations, answers to checks, and what is sent to clients."""

from __future__ import annotations

from typing import Any

from rendezvous.core.macs import datagram_key, is_authentic
from rendezvous.core.presence.states import PulseCode
from rendezvous.core.protocols import Protocol
from rendezvous.errors import Unavailable
from rendezvous.udp.signed import ClientDatagrams
from rendezvous.wire import signed
from tests._udp_case import ALICE, BOB, CAROL, UDPTestCase

ATTEMPT = b"attempt!"
#: The same address as a socket for IPv6 and IPv4 shows it.
MAPPED_BOB = (f"::ffff:{BOB[0]}", BOB[1])


class Attempts:
    """
    Attempts that remember what they were asked.

    :ivar codes: what observations are answered with.
    :ivar signer: who has to answer checks, if there are any.
    """

    def __init__(self, *codes: PulseCode | None) -> None:
        self.codes = list(codes)
        self.observed: list[Any] = []
        self.checked_ones: list[Any] = []
        self.signer: bytes | None = None
        self.is_broken = False

    async def observe(self, *arguments: Any) -> PulseCode | None:
        """Remember an observation, and answer with the next code."""
        if self.is_broken:
            raise Unavailable("The disk is full.")
        self.observed.append(arguments)
        return self.codes.pop(0)

    def client_of_check(self, attempt: bytes, nonce: bytes) -> bytes | None:
        """:returns: who has to answer."""
        return self.signer

    async def take_check_answer(self, *arguments: Any) -> None:
        """Remember an answer."""
        if self.is_broken:
            raise Unavailable("The disk is full.")
        self.checked_ones.append(arguments)


class SignedTestCase(UDPTestCase):
    """A server with one client that has not pulsed, and two ports: the first one has the larger number."""

    def start(self, **options: Any) -> None:
        """Start it."""
        super().start(**options)
        self.server.reactor.advance(1_000_000)
        client_id, key, _ = self.server.register()
        self.client, self.key, self.datagram_key = bytes.fromhex(client_id), key, datagram_key(key)
        self.sent_last = 0

    @property
    def attempts(self) -> Attempts:
        """:returns: what the server asks about attempts."""
        attempts = self.server.rendezvous._datagrams.attempts
        assert isinstance(attempts, Attempts)
        return attempts

    def use(self, attempts: Attempts) -> None:
        """Have the server ask about attempts."""
        self.server.rendezvous._datagrams.attempts = attempts

    def request(self, at: int = 0, key: bytes | None = None, **fields: Any) -> bytes:
        """:returns: a signed request with the next time, for a port by position."""
        self.sent_last = max(self.sent_last + 1, round(self.server.reactor.seconds() * 1000))
        values: dict[str, Any] = {
            "client_id": self.client,
            "time": self.sent_last,
            "nonce": b"nonce..8",
            "port": 1 - at,
        }
        return signed.encode_request(signed.Request(**{**values, **fields}), key or self.datagram_key)

    def ask(self, datagram: bytes, source: tuple[str, int] = ALICE, at: int = 0) -> PulseCode | None:  # type: ignore[override]
        """:returns: the code of the reply to a request, which has to fit it, or ``None`` if there is none."""
        replies = self.server.deliver(datagram, source, at)
        if not replies:
            return None
        [reply] = replies
        self.assertEqual(len(reply), len(datagram))
        self.assertEqual(reply[4:44], datagram[4:44])
        read = signed.decode_reply(reply, self.datagram_key)
        self.assertEqual(read.address, source if "ffff" not in source[0] else BOB)
        return read.code

    def address(self) -> tuple[str, int] | None:
        """:returns: where the client is known to be."""
        live = self.server.rendezvous.store.live
        found = live.signed.proven_address(self.client, self.server.rendezvous.clock.seconds())
        return None if found is None else found[0]


class SignedPulseTests(SignedTestCase):
    """Signed pulses."""

    def test_reply_has_the_code_and_the_address(self) -> None:
        """On each port, from IPv4, from IPv6, and from IPv4 as a socket for both shows it."""
        for at in (0, 1):
            for source in (ALICE, CAROL, MAPPED_BOB):
                self.assertIs(self.ask(self.request(at), source, at), PulseCode.ON_TIME)
                self.assertEqual(self.address(), BOB if source is MAPPED_BOB else source)

    def test_codes_are_those_of_pulses(self) -> None:
        """On time, late, and after the client is gone."""
        self.assertIs(self.ask(self.request()), PulseCode.ON_TIME)
        for seconds, code in ((33, PulseCode.ON_TIME), (34, PulseCode.VERIFY), (177, PulseCode.UNKNOWN)):
            self.later(seconds)
            self.assertIs(self.ask(self.request()), code)

    def test_a_copy_is_dropped(self) -> None:
        """From where it was sent, from elsewhere, and to the other port; the client stays where it is."""
        datagram = self.request()
        self.assertIs(self.ask(datagram), PulseCode.ON_TIME)
        self.later(1)
        for source, at in ((ALICE, 0), (BOB, 0), (BOB, 1)):
            self.assertIsNone(self.ask(datagram, source, at))
        self.assertEqual(self.address(), ALICE)
        self.assertEqual(self.dropped(), {"repeated signed request": 3})

    def test_what_is_not_the_clients_is_dropped(self) -> None:
        """A wrong MAC, a wrong time, and reserved bytes that are not zero."""
        self.assertIsNone(self.ask(self.request(key=self.key)))
        self.assertIsNone(self.ask(self.request(client_id=bytes(16))))
        self.assertIsNone(self.ask(self.request(time=1)))
        self.assertIsNone(self.ask(self.request(round=1)))
        expected = {"wrong MAC": 2, "signed with a wrong time": 1, "malformed signed request": 1}
        self.assertEqual(self.dropped(), expected)
        self.assertIsNone(self.address())

    def test_steady_pulses_take_no_tokens(self) -> None:
        """Moves neither, as they have a limit of their own."""
        self.start(udp_rate=1)
        for number in range(40):
            self.assertIs(self.ask(self.request(), ALICE), PulseCode.ON_TIME, number)
        self.assertIs(self.ask(self.request(), BOB), PulseCode.ON_TIME)

    def test_moves_are_limited(self) -> None:
        """As those of plain pulses are."""
        codes = [self.ask(self.request(), (ALICE[0], 1 + port)) for port in range(11)]
        self.assertEqual(codes, [PulseCode.ON_TIME] * 10 + [None])
        self.assertEqual(self.dropped(), {"pulse limit": 1})

    def test_answers_to_unknown_clients_take_tokens(self) -> None:
        """Somebody who lets clients end draws no more answers than anybody else."""
        self.start(udp_rate=1)
        self.assertIs(self.ask(self.request()), PulseCode.ON_TIME)
        self.later(400)
        codes = [self.ask(self.request()) for _ in range(3)]
        self.assertEqual(codes, [PulseCode.UNKNOWN, PulseCode.UNKNOWN, None])
        self.assertEqual(self.dropped(), {"rate limit": 1})

    def test_plain_and_signed_pulses_may_be_mixed(self) -> None:
        """The client is the same for both."""
        self.assertIs(self.ask(self.request()), PulseCode.ON_TIME)
        [reply] = self.server.deliver(self.key, ALICE)
        self.assertEqual(len(reply), 4)
        self.assertIs(self.ask(self.request()), PulseCode.ON_TIME)

    def test_they_are_off_when_pulses_are(self) -> None:
        """Without the rendezvous protocol there is no client, and nothing is answered."""
        super().start(without=[Protocol.RENDEZVOUS])
        self.sent_last = 0
        self.assertIsNone(self.ask(self.request()))
        self.assertEqual(self.dropped(), {"protocol turned off": 1})

    def test_they_are_dropped_while_the_server_does_not_run(self) -> None:
        """The client sends another one."""
        self.server.rendezvous._datagrams.run(False)
        self.assertIsNone(self.ask(self.request()))
        self.server.rendezvous._datagrams.run(True)
        self.assertEqual(self.dropped(), {"store unavailable": 1})
        self.assertIs(self.ask(self.request()), PulseCode.ON_TIME)


class ObservationTests(SignedTestCase):
    """Observations."""

    def observe(self, source: tuple[str, int] = ALICE, at: int = 0, **fields: Any) -> PulseCode | None:
        """:returns: the code that an observation is answered with."""
        return self.ask(self.request(at, **{"attempt": ATTEMPT, "round": 2, **fields}), source, at)

    def test_attempts_are_asked(self) -> None:
        """They get all that the request says, and the address as it is shown; their code is the answer."""
        self.use(Attempts(PulseCode.ON_TIME, PulseCode.UNKNOWN))
        now = self.server.rendezvous.clock.seconds()
        self.assertIs(self.observe(ALICE), PulseCode.ON_TIME)
        first = self.sent_last
        self.assertIs(self.observe(MAPPED_BOB, 1), PulseCode.UNKNOWN)
        expected = [
            (self.client, ATTEMPT, 2, first, 1, ALICE, now),
            (self.client, ATTEMPT, 2, self.sent_last, 0, BOB, now),
        ]
        self.assertEqual(self.attempts.observed, expected)

    def test_what_they_drop_is_counted(self) -> None:
        """``None`` stands for a copy."""
        self.use(Attempts(None))
        self.assertIsNone(self.observe())
        self.assertEqual(self.dropped(), {"repeated signed request": 1})

    def test_what_is_not_the_clients_never_gets_there(self) -> None:
        """A wrong MAC, a wrong time, and another port."""
        self.use(Attempts())
        for fields in ({"key": self.key}, {"time": 1}, {"port": 0}):
            self.assertIsNone(self.observe(**fields))
        self.assertEqual(self.attempts.observed, [])

    def test_each_takes_a_token(self) -> None:
        """An attempt does not raise the limit of answers."""
        self.start(udp_rate=1)
        self.use(Attempts(PulseCode.ON_TIME, PulseCode.UNKNOWN, PulseCode.ON_TIME))
        codes = [self.observe() for _ in range(3)]
        self.assertEqual(codes, [PulseCode.ON_TIME, PulseCode.UNKNOWN, None])
        self.assertEqual(self.dropped(), {"rate limit": 1})

    def test_they_do_not_pulse(self) -> None:
        """The socket that they come from is another one."""
        self.use(Attempts(PulseCode.ON_TIME))
        self.observe()
        self.assertIsNone(self.address())

    def test_trouble_of_the_store_is_no_answer(self) -> None:
        """The client observes again."""
        self.use(Attempts())
        self.attempts.is_broken = True
        self.assertIsNone(self.observe())
        self.assertEqual(self.dropped(), {"store unavailable": 1})

    def test_they_are_off_without_attempts(self) -> None:
        """Pulses are answered all the same."""
        self.server.rendezvous._datagrams.attempts = None
        self.assertIsNone(self.observe())
        self.assertEqual(self.dropped(), {"protocol turned off": 1})
        self.assertIs(self.ask(self.request()), PulseCode.ON_TIME)


class CheckAnswerTests(SignedTestCase):
    """Answers to address checks."""

    def answer(self, key: bytes | None = None, source: tuple[str, int] = MAPPED_BOB) -> None:
        """Have an answer arrive, which is not answered."""
        short = signed.Short(signed.ShortKind.CHECK_ANSWER, ATTEMPT, b"four")
        datagram = signed.encode_short(short, key or self.datagram_key)
        self.assertEqual(self.server.deliver(datagram, source), [])

    def test_attempts_are_asked(self) -> None:
        """They say who has to sign it; what another one has signed, or what answers no check, is dropped."""
        self.use(Attempts())
        self.answer()
        self.attempts.signer = self.client
        self.answer()
        self.answer(key=self.key)
        now = self.server.rendezvous.clock.seconds()
        self.assertEqual(self.attempts.checked_ones, [(ATTEMPT, b"four", now)])
        self.assertEqual(self.dropped(), {"wrong MAC": 2})

    def test_trouble_of_the_store_is_counted(self) -> None:
        """Another check follows."""
        self.use(Attempts())
        self.attempts.signer, self.attempts.is_broken = self.client, True
        self.answer()
        self.assertEqual(self.dropped(), {"store unavailable": 1})

    def test_each_takes_a_token(self) -> None:
        """A forged one as well: it costs as much."""
        self.start(udp_rate=1)
        self.use(Attempts())
        self.attempts.signer = self.client
        for _ in range(3):
            self.answer()
        self.assertEqual(len(self.attempts.checked_ones), 2)
        self.assertEqual(self.dropped(), {"rate limit": 1})

    def test_what_cannot_be_read_is_dropped(self) -> None:
        """Reserved bytes are zero."""
        self.use(Attempts())
        self.assertEqual(self.server.deliver(b"\x0b\x82\0\1" + bytes(28)), [])
        self.assertEqual(self.dropped(), {"malformed signed request": 1})

    def test_they_are_off_without_attempts(self) -> None:
        """They are no pulses with an unknown key either."""
        self.server.rendezvous._datagrams.attempts = None
        self.answer()
        self.assertEqual(self.dropped(), {"protocol turned off": 1})

    def test_key_that_looks_like_one_is_a_key_while_its_client_is_there(self) -> None:
        """No client is given such a key; one that has it all the same is served."""
        key = b"\x0b\x82" + bytes(30)
        store: Any = self.server.rendezvous.store
        store.tables.presence.register(bytes(16), key, self.server.rendezvous.clock.seconds())
        self.assertEqual(self.server.deliver(key, ALICE), [b"\0\0\x03\xfc"])


class SendingTests(SignedTestCase):
    """Invitations and address checks."""

    @property
    def datagrams(self) -> ClientDatagrams:
        """:returns: what sends them, to hosts that have sent something."""
        shared = self.server.rendezvous._datagrams
        for host, _ in (BOB, CAROL):
            shared.amplification.earn((host, 0), 80, 80)
        return ClientDatagrams(shared)

    def shorts(self, at: int) -> list[tuple[signed.Short, tuple[str, int]]]:
        """:returns: what was sent from a port since this was last asked, each with a MAC that holds."""
        sent = self.server.udp_ports[at].sent
        found = []
        for datagram, address in sent:
            self.assertTrue(is_authentic(self.datagram_key, datagram))
            found.append((signed.decode_short(datagram), address))
        sent.clear()
        return found

    def test_invitation_goes_where_pulses_come_from(self) -> None:
        """From the port that they come to."""
        for at, source in ((0, ALICE), (1, BOB)):
            self.ask(self.request(at), source, at)
            self.server.udp_ports[at].sent.clear()
            self.assertTrue(self.datagrams.send_invitation(self.client, ATTEMPT, b"four"))
            expected = signed.Short(signed.ShortKind.INVITATION, ATTEMPT, b"four")
            self.assertEqual(self.shorts(at), [(expected, source)])
            self.assertEqual(self.shorts(1 - at), [])

    def test_addresses_are_spelled_as_the_socket_spells_them(self) -> None:
        """A socket for IPv6 and IPv4 reaches an IPv4 address only as a mapped one, and one for IPv4 no IPv6 address."""
        for interface, sent in (("::", [MAPPED_BOB, CAROL]), ("0.0.0.0", [BOB])):
            self.start(interface=interface)
            for address in (BOB, CAROL):
                self.assertTrue(self.datagrams.send_check(self.client, ATTEMPT, b"four", address))
            self.assertEqual([address for _, address in self.shorts(0)], sent)
        self.assertEqual(self.dropped(), {"unsendable": 1})

    def test_there_is_no_invitation_without_a_proven_address(self) -> None:
        """Before the first pulse, after the client is gone, and to an unknown client."""
        self.assertFalse(self.datagrams.send_invitation(self.client, ATTEMPT, b"four"))
        self.assertFalse(self.datagrams.send_invitation(bytes(16), ATTEMPT, b"four"))
        self.ask(self.request())
        self.later(211)
        self.server.udp_ports[0].sent.clear()
        self.assertFalse(self.datagrams.send_invitation(self.client, ATTEMPT, b"four"))
        self.assertEqual(self.shorts(0) + self.shorts(1), [])

    def test_there_is_no_invitation_from_a_port_that_is_closed(self) -> None:
        """Another port would not get through the client's NAT."""
        self.ask(self.request())
        self.server.udp_ports[0].stopListening()
        self.assertFalse(self.datagrams.send_invitation(self.client, ATTEMPT, b"four"))

    def test_check_goes_from_the_last_port(self) -> None:
        """To the address that is checked."""
        self.assertTrue(self.datagrams.send_check(self.client, ATTEMPT, b"four", BOB))
        expected = signed.Short(signed.ShortKind.ADDRESS_CHECK, ATTEMPT, b"four")
        self.assertEqual(self.shorts(0), [(expected, BOB)])
        self.assertEqual(self.shorts(1), [])

    def test_each_datagram_of_a_check_costs_credit(self) -> None:
        """While old secrets are honoured, there is one for each key that the client may have."""
        datagrams = self.datagrams
        self.patch(self.server.rendezvous.store.live.signed, "datagram_keys", lambda client_id, now: [bytes(32)] * 4)
        checks = [datagrams.send_check(self.client, ATTEMPT, b"four", BOB) for _ in range(2)]
        # The host has credit for 240 bytes, and four datagrams have 128.
        self.assertEqual((checks, len(self.server.udp_ports[0].sent)), ([True, False], 4))
        self.assertEqual(self.dropped(), {"amplification limit": 1})

    def test_there_is_no_check_without_a_port(self) -> None:
        """An application may have closed them."""
        for port in self.server.udp_ports:
            port.stopListening()
        self.assertFalse(self.datagrams.send_check(self.client, ATTEMPT, b"four", BOB))

    def test_places_of_ports_follow_those_that_are_open(self) -> None:
        """The first one is the one with the smallest number."""
        self.assertEqual(self.server.rendezvous._datagrams.ports, [3000, 5024])
        self.server.udp_ports[1].stopListening()
        self.assertEqual(self.server.rendezvous._datagrams.ports, [5024])
        self.use(Attempts(PulseCode.ON_TIME))
        self.assertIs(self.ask(self.request(port=0, attempt=ATTEMPT, round=1)), PulseCode.ON_TIME)
