"""Tests of :mod:`rendezvous.core.punching.path`: what one side does at each moment."""

from __future__ import annotations

from rendezvous.core.addresses import Address
from rendezvous.core.connect import CandidateKind, Via
from rendezvous.core.punching.actions import (
    Action,
    Closed,
    Deliver,
    Lost,
    PathChanged,
    Send,
)
from rendezvous.core.punching.probes import Data, Probe, ProbeType
from tests._path_case import ACK, BYE, DATA, OTHER, PROBE, START, PathCase
from tests._puncher_case import IPV4, NAT, RELAYED


class UpkeepTests(PathCase):
    """Keep-alives, silence and the end."""

    def test_keep_alive(self) -> None:
        """A probe on the pair in use each 15 s, give or take a fifth."""
        for number, seconds in ((0.0, 12.0), (0.5, 15.0), (1.0, 18.0)):
            self.open(number=number)
            self.hear_data(START + 0.01, 1)
            self.assertEqual(self.run_to(START + seconds - 0.01), [])
            self.assertEqual(self.run_to(START + seconds), [(seconds, (PROBE, NAT.address))])
            self.hear_data(START + seconds + 0.01, 2)
            self.assertEqual(self.run_to(START + 2 * seconds), [(2 * seconds, (PROBE, NAT.address))])

    def test_probe_of_the_peer_saves_a_keep_alive(self) -> None:
        """Of the side that does not decide. Data saves none, nor does a probe on another pair or an acknowledgement."""
        for controlling, heard, expected in (
            (False, lambda: self.hear(START + 5), 20.0),
            (True, lambda: self.hear(START + 5), 15.0),
            (False, lambda: self.hear_data(START + 5, 2), 15.0),
            (False, lambda: self.hear(START + 5, source=OTHER), 15.0),
            (False, lambda: self.hear(START + 5, ProbeType.PROBE_ACK), 15.0),
        ):
            self.open(controlling)
            self.other()
            self.hear_data(START + 0.01, 1)
            heard()
            [first] = [time for time, what in self.run_to(START + 20) if what == (PROBE, NAT.address)][:1]
            self.assertEqual(first, expected)

    def test_start_asks_whether_the_peer_is_there(self) -> None:
        """Its last acknowledgement may be lost: after 200 ms the pair is probed, and after 300 ms all others."""
        self.open()
        relay, never = self.other(RELAYED.address, 0.1), self.puncher.checks.add(IPV4, OTHER, CandidateKind.HOST)
        never.probed = START
        self.assertEqual(self.run_to(START + 0.35), [
            (0.2, (PROBE, NAT.address)), (0.3, (PROBE, NAT.address)), (0.3, (PROBE, relay.address)),
        ])  # fmt: skip

    def test_others_are_asked_in_the_order_of_their_use(self) -> None:
        """Four at most: those that work before those that have failed, and better ones before others."""
        self.open()
        pairs = [self.other((f"198.51.100.{number}", 9), number / 100) for number in range(10, 17)]
        for number in (0, 3):
            pairs[number].valid = False
            pairs[number].silent_since = START - 1000.0
        asked = [address for time, (_, address) in self.run_to(START + 0.35) if time == 0.3]  # type: ignore[misc]
        self.assertEqual(asked, [NAT.address, *(pairs[number].address for number in (1, 2, 4, 5))])

    def test_spare_pair_fails(self) -> None:
        """Four seconds after the first probe that it has not answered; it is probed on with growing pauses."""
        self.open()
        other = self.other()
        found = []
        for step in range(1, 400):
            now = START + step / 10
            self.hear_data(now, step)
            found += [step / 10 for what in self.done(self.path.tick(now)) if what == (PROBE, OTHER)]
            failed = other.silent_since is not None and now - other.silent_since >= 4.0
            self.assertEqual((other.valid, other.failures), (not failed, int(failed)), step)
        self.assertEqual(found, [15.0, 16.0, 17.0, 19.0, 23.0, 31.0])

    def test_path_is_lost(self) -> None:
        """Thirty seconds after the peer was last heard on a pair that works. Then nothing is done."""
        self.open()
        self.hear_data(START + 3, 1)
        self.hear_data(START + 4, 2, ("198.51.100.9", 9))
        *_, last = self.run_to(START + 100)
        self.assertEqual(last, (33.0, Lost()))
        self.assertTrue(self.path.ended)
        self.assertEqual((self.path.due(), self.path.tick(START + 101)), (None, []))
        self.assertEqual((self.hear_data(START + 101, 3), self.path.send(START + 101, b"x")), ([], []))

    def test_path_that_hears_nothing_from_the_start(self) -> None:
        """It has the same time."""
        self.open()
        self.assertEqual(self.run_to(START + 100)[-1], (30.0, Lost()))

    def test_close(self) -> None:
        """Three datagrams, 50 ms apart. Nothing else is sent meanwhile, and what comes is still taken."""
        self.open()
        self.assertEqual(self.done(self.path.close(START + 1)), [(BYE, NAT.address)])
        self.assertEqual(self.path.close(START + 1.01), [])
        self.assertEqual(self.path.send(START + 1.02, b"x"), [])
        self.assertEqual(self.path.tick(START + 1.03), [])
        self.assertEqual(self.hear_data(START + 1.04, 1), [Deliver(b"1")])
        self.assertEqual(self.run_to(START + 100), [
            (1.05, (BYE, NAT.address)), (1.1, (BYE, NAT.address)), (1.1, Closed()),
        ])  # fmt: skip
        self.assertEqual((self.path.close(START + 2), self.path.due()), ([], None))

    def test_peer_that_closes(self) -> None:
        """The path ends at once."""
        self.open()
        self.assertEqual(self.hear(START + 1, ProbeType.BYE), [Closed()])
        self.assertTrue(self.path.ended)
        self.assertEqual(self.path.close(START + 1), [])


class DataTests(PathCase):
    """Payloads."""

    def numbers(self, actions: list[Action]) -> list[tuple[Address, int]]:
        """:returns: where data goes, and its numbers."""
        sends = [each for each in actions if isinstance(each, Send) and each.datagram[1] & ~1 == DATA]
        messages = [(send.address, self.peer.decode(send.datagram)) for send in sends]
        return [(address, message.sequence) for address, message in messages if isinstance(message, Data)]

    def test_data_is_doubled_while_the_pair_is_silent(self) -> None:
        """The same number on the best other pair that works, until the peer is heard again."""
        self.open()
        self.other(rtt=0.2)
        best, failed = self.other(RELAYED.address, 0.1), self.other(("192.168.1.9", 1), 0.01)
        failed.valid = False
        self.assertEqual(self.numbers(self.path.send(START, b"x")), [(NAT.address, 0)])
        self.run_to(START + 0.2)
        self.assertEqual(self.numbers(self.path.send(START + 0.21, b"x")), [(NAT.address, 1), (best.address, 1)])
        self.hear_data(START + 0.22, 1)
        self.assertEqual(self.numbers(self.path.send(START + 0.23, b"x")), [(NAT.address, 2)])

    def test_data_without_another_pair(self) -> None:
        """It goes on the pair in use alone."""
        self.open()
        self.run_to(START + 0.3)
        self.assertEqual(self.numbers(self.path.send(START + 0.31, b"x")), [(NAT.address, 0)])

    def test_data_that_is_sent_wants_an_answer(self) -> None:
        """The pair is probed 200 ms after the first datagram that nothing has answered."""
        self.open()
        self.hear_data(START + 0.01, 1)
        for after in (1.0, 1.1):
            self.path.send(START + after, b"x")
        self.assertEqual(self.run_to(START + 1.25), [(1.2, (PROBE, NAT.address))])


class ChangeTests(PathCase):
    """Another pair."""

    def test_first_pair_that_answers_is_used(self) -> None:
        """After all were asked. The side that decides nominates it; the one that is left has failed."""
        for controlling in (True, False):
            self.open(controlling)
            other = self.other()
            self.assertEqual(self.run_to(START + 0.3)[-1], (0.3, (PROBE, OTHER)))
            self.assertEqual(self.done(self.hear(START + 0.31, source=OTHER)), [(ACK, OTHER)])
            self.assertEqual(self.path.address, NAT.address)
            actions = self.hear_answer(START + 0.34, self.puncher.checks.probe(START + 0.3, other))
            self.assertEqual([each for each in actions if isinstance(each, PathChanged)], [
                PathChanged(IPV4, OTHER, Via.DIRECT, other.rtt or 0.0),
            ])  # fmt: skip
            self.assertEqual((self.pair.valid, self.pair.failures, self.path.address), (False, 1, OTHER))
            nominating = [each for each in self.path.tick(START + 0.34) if isinstance(each, Send)]
            self.assertEqual([each.datagram[3] & 2 for each in nominating if each.address == OTHER], [2] * controlling)
            for each in nominating:
                self.hear_answer(START + 0.4, each)
            later = [self.path.tick(START + 0.5 + step / 10) for step in range(10)]
            again = [each for actions in later for each in actions if isinstance(each, Send) and each.datagram[3] & 2]
            self.assertEqual((again, other.valid), ([], True))

    def test_answer_of_another_pair_while_the_pair_in_use_works(self) -> None:
        """It changes nothing."""
        self.open(controlling=False)
        other = self.other()
        self.hear_data(START + 0.01, 1)
        self.assertEqual(self.hear_answer(START + 1, self.puncher.checks.probe(START + 0.9, other)), [])
        self.assertEqual(self.path.address, NAT.address)

    def test_better_pair_is_nominated(self) -> None:
        """By the side that decides; it is used when the peer has acknowledged the nomination."""
        self.open()
        self.hear_data(START + 0.01, 1)
        other = self.other(("192.168.1.9", 1), 0.01)
        [send] = self.path.tick(START + 1)
        assert isinstance(send, Send)
        self.assertEqual((send.address, send.datagram[3] & 2), (other.address, 2))
        plain = self.puncher.checks.probe(START + 1, other)
        self.assertEqual(self.hear_answer(START + 1.01, plain), [])
        self.assertEqual(self.path.address, NAT.address)
        [changed] = self.hear_answer(START + 1.02, send)
        assert isinstance(changed, PathChanged)
        self.assertEqual((changed.address, changed.via, self.path.via), (other.address, Via.LAN, Via.LAN))
        self.assertEqual(self.path.rtt, other.rtt)
        self.assertTrue(self.pair.valid)

    def test_better_pair_that_does_not_answer(self) -> None:
        """After twelve probes it has failed, and the path stays."""
        self.open()
        other = self.other(("192.168.1.9", 1), 0.01)
        sent = 0
        for step in range(200):
            self.hear_data(START + 1 + step / 50, step)
            actions = self.path.tick(START + 1 + step / 50)
            sent += len([each for each in actions if isinstance(each, Send) and each.datagram[3] & 2])
        self.assertEqual((sent, other.valid, other.failures), (12, False, 1))
        self.assertEqual(self.path.address, NAT.address)

    def test_nomination_is_due_until_it_is_acknowledged(self) -> None:
        """After 50, 100 and then each 200 ms."""
        self.open()
        self.hear_data(START, 1)
        other = self.other(("192.168.1.9", 1), 0.01)
        found = [time for time, what in self.run_to(START + 0.8) if what == (PROBE, other.address)]
        self.assertEqual(found, [0.0, 0.05, 0.15, 0.35, 0.55, 0.75])

    def test_other_side_nominates(self) -> None:
        """The side that does not decide follows as soon as the pair is valid for it."""
        self.open(controlling=False)
        other = self.other(("192.168.1.9", 1), 0.01)
        self.assertEqual(self.path.tick(START + 0.1), [])
        other.valid = False
        actions = self.hear(START + 1, source=other.address, nominate=True)
        self.assertEqual(self.done(actions), [(ACK, other.address), (PROBE, other.address)])
        actions = self.hear_answer(START + 1.01, actions[1])
        self.assertEqual([type(each) for each in actions], [PathChanged])
        self.assertEqual(self.path.address, other.address)

    def test_side_that_decides_follows_nobody(self) -> None:
        """A nomination of the other side is answered, and no more."""
        self.open()
        self.other()
        self.assertEqual(self.done(self.hear(START + 1, source=OTHER, nominate=True)), [(ACK, OTHER)])
        self.assertEqual(self.path.address, NAT.address)

    def test_pair_in_use_gets_another_name(self) -> None:
        """A probe says that the peer sends from a socket of birthday probing: the change is reported once."""
        self.open()
        for expected in ([PathChanged(IPV4, NAT.address, Via.BIRTHDAY, 0.04)], []):
            self.sequence += 1
            probe = Probe(ProbeType.PROBE, self.sequence, bytes(8), NAT.address, birthday=True)
            actions = self.path.receive(START + 1, IPV4, self.peer.encode_probe(probe), NAT.address)
            self.assertEqual(actions[1:], expected)
