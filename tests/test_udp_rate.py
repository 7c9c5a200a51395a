"""Tests of :mod:`rendezvous.udp.protocol`: how many answers one source may cause, on the server's clock."""

from __future__ import annotations

from itertools import count
from typing import Any, ClassVar

from rendezvous.core.presence.states import PulseCode
from rendezvous.wire import pulse, stun, tracker
from tests._udp_case import ALICE, BOB, CAROL, DEPLOYED, DOCUMENTED, UDPTestCase
from tests.stun_samples import request

ON_TIME = pulse.encode_reply(PulseCode.ON_TIME)
UNKNOWN = pulse.encode_reply(PulseCode.UNKNOWN)


class RateTests(UDPTestCase):
    """A rate of two a second, and so a burst of four."""

    options: ClassVar[dict[str, Any]] = {"udp_rate": 2.0}

    def answered(self, source: tuple[str, int], times: int, port: int = DOCUMENTED) -> int:
        """:returns: how many of so many Binding requests are answered."""
        return sum(len(self.server.deliver(request(), source, port)) for _ in range(times))

    def test_burst_is_answered_and_the_next_is_dropped(self) -> None:
        """Three and four requests at once are, the fifth is not, and it is counted."""
        self.assertEqual(self.answered(ALICE, 3), 3)
        self.assertEqual(self.answered(ALICE, 1), 1)
        self.assertEqual(self.answered(ALICE, 2), 0)
        self.assertEqual(self.dropped(), {"rate limit": 2})

    def test_default_is_a_burst_of_100_and_50_a_second(self) -> None:
        """What the option says, at its boundary."""
        self.start(udp_rate=50.0)
        self.assertEqual(self.answered(ALICE, 101), 100)
        self.later(1)
        self.assertEqual(self.answered(ALICE, 51), 50)

    def test_tokens_come_back_with_time(self) -> None:
        """One after half a second and not before; all four, and no more than those, after a long while."""
        self.answered(ALICE, 4)
        self.later(0.49)
        self.assertEqual(self.answered(ALICE, 1), 0)
        self.later(0.01)
        self.assertEqual(self.answered(ALICE, 2), 1)
        self.later(3600)
        self.assertEqual(self.answered(ALICE, 6), 4)

    def test_zero_is_no_limit(self) -> None:
        """Everything is answered."""
        self.start(udp_rate=0.0)
        self.assertEqual(self.answered(ALICE, 1000), 1000)

    def test_rate_below_one_answers_one(self) -> None:
        """The burst is never less than one, or no request would be answered at all."""
        self.start(udp_rate=0.1)
        self.assertEqual(self.answered(ALICE, 2), 1)
        self.later(9.9)
        self.assertEqual(self.answered(ALICE, 1), 0)
        self.later(0.1)
        self.assertEqual(self.answered(ALICE, 1), 1)

    def test_ports_of_one_address_share(self) -> None:
        """Neither another source port nor another port of the server helps."""
        self.assertEqual(self.answered(ALICE, 3), 3)
        self.assertEqual(self.answered((ALICE[0], 9), 3, DEPLOYED), 1)
        self.assertEqual(self.answered(BOB, 5), 4)

    def test_ipv6_network_shares_and_the_next_does_not(self) -> None:
        """The first 64 bits count: what one subscriber commands."""
        self.assertEqual(self.answered(("2001:db8:0:1::1", 1), 3), 3)
        self.assertEqual(self.answered(("2001:db8:0:1:ffff::2", 1), 3), 1)
        self.assertEqual(self.answered(("2001:db8:0:2::1", 1), 5), 4)

    def test_mapped_address_is_the_ipv4_address(self) -> None:
        """What a dual-stack socket shows differently is the same source."""
        self.assertEqual(self.answered(ALICE, 3), 3)
        self.assertEqual(self.answered((f"::ffff:{ALICE[0]}", 1), 3), 1)

    def test_tracker_and_stun_share(self) -> None:
        """Answers and errors of the tracker count like those of STUN."""
        self.announce(ALICE)
        self.ask(ALICE, "push")
        self.ask(ALICE, "push", shareId="zzzzzzzz")
        self.assertEqual(self.answered(ALICE, 2), 1)
        for action in ("announce", "alive", "pulse", "push"):
            self.assertEqual(self.ask(ALICE, action), [])
        self.assertEqual(self.dropped(), {"rate limit": 5})

    def test_request_over_the_rate_does_nothing(self) -> None:
        """It is dropped before it is looked at: it adds no peer and counts as no activity."""
        self.answered(ALICE, 4)
        self.ask(ALICE, "announce")
        self.later(1)
        self.assertEqual(self.ask(ALICE, "alive"), [{"action": "expired"}])

    def test_malformed_requests_cost_a_token_too(self) -> None:
        """Reading them is work; what belongs to no protocol is not read, and costs nothing."""
        for datagram in (b"", b"x", request()[:-1]):
            self.server.deliver(datagram, ALICE)
        for datagram in (b"{}", b"{", b"\x00\x11" + request()[2:]):
            self.server.deliver(datagram, ALICE)
        self.assertEqual(self.answered(ALICE, 5), 1)
        self.assertEqual(
            self.dropped(),
            {"unreadable": 3, "malformed tracker request": 2, "malformed STUN": 1, "rate limit": 4},
        )

    def test_request_over_the_rate_is_not_read(self) -> None:
        """What a flood costs must not depend on what is in it."""
        self.answered(ALICE, 4)
        for module, name in ((stun, "answer"), (tracker, "decode")):
            self.patch(module, name, lambda *arguments: self.fail("read"))
        self.assertEqual(self.answered(ALICE, 1), 0)
        self.assertEqual(self.ask(ALICE, "announce"), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_pulses_are_never_limited(self) -> None:
        """Known or not, first or thousandth: four bytes for 32 amplify nothing."""
        _, key, _ = self.server.register()
        self.answered(ALICE, 5)
        for datagram, reply in ((key, ON_TIME), (key.hex().encode(), ON_TIME), (bytes(32), UNKNOWN)):
            self.assertEqual([self.server.deliver(datagram, ALICE) for _ in range(100)], [[reply]] * 100)
        self.later(2)
        self.assertEqual(self.answered(ALICE, 5), 4)


class LongAnswerTests(UDPTestCase):
    """An answer costs a token for each 128 bytes of it, so that the limit is one of bytes."""

    options: ClassVar[dict[str, Any]] = {"udp_rate": 2.0}

    def setUp(self) -> None:
        """Announce a target whose introduction is long, and a caller with all its tokens and enough credit."""
        super().setUp()
        self.name = self.announce(BOB, DEPLOYED)
        self.ask(BOB, "pulse", DEPLOYED, multiaddr="m" * 256)
        self.announce(ALICE, DEPLOYED)
        self.later(10)

    def push(self) -> list[dict[str, Any]]:
        """:returns: the answer to a push that is padded, so that it may be a long one."""
        return self.ask(ALICE, "push", DEPLOYED, shareId=self.name, padding="-" * 100)

    def test_long_answer_costs_as_many_tokens_as_it_is_long(self) -> None:
        """352 bytes are three tokens of four: the second push is over the rate, the next short request is not."""
        [pushed] = self.push()
        self.assertEqual(len(pushed["data"]["multiaddr"]), 256)
        self.assertEqual(self.push(), [])
        self.assertEqual(self.dropped()["rate limit"], 1)
        self.later(0.5)
        self.assertEqual(self.ask(ALICE, "alive", DEPLOYED), [{"action": "alived"}])

    def test_long_notice_costs_its_receiver_as_much(self) -> None:
        """The target of two pushes with a long multiaddr has tokens for one notice."""
        self.ask(ALICE, "pulse", DEPLOYED, multiaddr="m" * 256)
        self.ask(BOB, "alive", DEPLOYED, padding="-" * 200)
        self.later(10)
        for _ in range(2):
            self.ask(ALICE, "push", DEPLOYED, shareId=self.name)
        notices = [reply for reply, _ in self.sent(DEPLOYED) if reply["action"] == "income"]
        self.assertEqual([len(notice["data"]["multiaddr"]) for notice in notices], [256])


class MoveTests(UDPTestCase):
    """A pulse that moves its client costs more than one that does not, so there are fewer of them."""

    def setUp(self) -> None:
        """Make a client that is ONLINE."""
        super().setUp()
        _, self.key, _ = self.server.register()
        self.server.deliver(self.key, ALICE)
        self.ports = count(10_000)

    def moves(self, times: int) -> int:
        """:returns: how many of so many pulses are answered, each from an address of its own."""
        return sum(len(self.server.deliver(self.key, (BOB[0], next(self.ports)))) for _ in range(times))

    def test_client_moves_ten_times_at_once_and_once_a_second(self) -> None:
        """The first pulse was one of ten; what is over that is dropped in silence and counted."""
        self.assertEqual(self.moves(1000), 9)
        self.assertEqual(self.dropped(), {"pulse limit": 991})
        self.later(1)
        self.assertEqual(self.moves(10), 1)
        self.later(0.5)
        self.assertEqual(self.moves(10), 0)

    def test_pulses_where_the_client_is_known_to_be_are_never_limited(self) -> None:
        """Neither before nor after its moves are used up, as 32 bytes or in hex."""
        self.moves(10)
        for form in (self.key, self.key.hex().encode()):
            self.later(1)
            self.assertEqual(self.server.deliver(form, ALICE), [ON_TIME])
            self.assertEqual([self.server.deliver(form, ALICE) for _ in range(100)], [[ON_TIME]] * 100)

    def test_other_clients_and_unknown_keys_are_not_concerned(self) -> None:
        """The limit is each client's own; an unknown key is told so each time."""
        self.moves(20)
        _, key, _ = self.server.register()
        self.assertEqual(self.server.deliver(key, BOB), [ON_TIME])
        self.assertEqual([self.server.deliver(bytes(32), BOB) for _ in range(20)], [[UNKNOWN]] * 20)

    def test_pulse_that_is_dropped_moves_no_one(self) -> None:
        """The client stays where the last pulse was answered."""
        self.moves(8)
        self.assertEqual(self.server.deliver(self.key, BOB), [ON_TIME])
        self.assertEqual(self.server.deliver(self.key, CAROL), [])
        self.assertEqual(self.server.deliver(self.key, BOB), [ON_TIME])


class IncomeTests(UDPTestCase):
    """What the target of a push is told costs the target, who would otherwise be told without end."""

    options: ClassVar[dict[str, Any]] = {"udp_rate": 2.0}

    def incomes(self) -> int:
        """:returns: how many times anybody was told of a push."""
        return sum(reply["action"] == "income" for reply, _ in self.sent(DEPLOYED))

    def test_target_is_told_within_its_rate(self) -> None:
        """Of four pushes it is told three times, having announced itself; the callers get their answers."""
        name = self.announce(BOB, DEPLOYED)
        for caller in (ALICE, CAROL):
            self.announce(caller, DEPLOYED)
            for _ in range(2):
                self.assertEqual(self.ask(caller, "push", DEPLOYED, shareId=name)[0]["action"], "pushed")
        self.assertEqual(self.incomes(), 3)
        self.assertEqual(self.dropped(), {"rate limit": 1})

    def test_target_is_told_again_once_it_has_tokens(self) -> None:
        """Half a second is one more."""
        self.announce(ALICE, DEPLOYED)
        name = self.announce(BOB, DEPLOYED)
        for _ in range(3):
            self.server.deliver(request(), BOB)
        self.ask(ALICE, "push", DEPLOYED, shareId=name)
        self.assertEqual(self.incomes(), 0)
        self.later(0.5)
        self.ask(ALICE, "push", DEPLOYED, shareId=name)
        self.assertEqual(self.incomes(), 1)

    def test_target_that_is_told_nothing_pays_nothing(self) -> None:
        """The documented dialect has no word for it, so others cannot use up the answers of a peer that speaks it."""
        name = self.announce(BOB, DOCUMENTED)
        self.announce(ALICE)
        for _ in range(3):
            self.ask(ALICE, "push", shareId=name)
        for _ in range(3):
            self.assertEqual(self.ask(BOB, "alive"), [{"action": "alived"}])

    def test_peer_that_pushes_to_itself_pays_for_both(self) -> None:
        """Two datagrams to one address are two answers."""
        name = self.announce(ALICE, DEPLOYED)
        padding = "-" * 100
        self.assertEqual(len(self.ask(ALICE, "push", DEPLOYED, shareId=name, padding=padding)), 2)
        self.assertEqual(len(self.ask(ALICE, "push", DEPLOYED, shareId=name, padding=padding)), 1)
        self.assertEqual(self.ask(ALICE, "push", DEPLOYED, shareId=name, padding=padding), [])

    def test_notice_to_oneself_at_another_port_is_one_too(self) -> None:
        """One address that has announced itself to both ports must not have the server send it more."""
        self.start(udp_rate=50.0)
        source = ("2001:db8:1111:2222:3333:4444:5555:6666", 65535)
        name = self.announce(source, DEPLOYED)
        self.announce(source, DOCUMENTED)
        for _ in range(20):
            self.ask(source, "push", DOCUMENTED, shareId=name)
        # Each push earns 164 bytes; its answer takes 94 of them, and a notice would take 113.
        self.assertEqual(self.incomes(), 12)

    def test_notice_to_oneself_needs_a_request_that_is_long_enough(self) -> None:
        """Two datagrams for one request are more than four times its length, so the second is left out."""
        self.start(udp_rate=50.0)
        source = ("2001:db8:1111:2222:3333:4444:5555:6666", 65535)
        name = self.announce(source, DEPLOYED)
        replies = [self.ask(source, "push", DEPLOYED, shareId=name) for _ in range(3)]
        self.assertEqual([reply[0]["action"] for reply in replies], ["pushed"] * 3)
        self.assertEqual(len(replies[-1]), 1)
        self.assertGreaterEqual(self.dropped()["amplification limit"], 1)
