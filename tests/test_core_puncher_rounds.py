"""Tests of :mod:`rendezvous.core.punching.puncher`: what one side does in a round, at each moment."""

from __future__ import annotations

from rendezvous.core.connect import Candidate, Strategy, Via
from rendezvous.core.punching.actions import Action, Connected, Failed, NextRound, OpenSockets, Release, Send
from rendezvous.core.punching.pairs import Local
from rendezvous.core.punching.probes import NEW_PATH, Data
from rendezvous.core.punching.puncher import MAX_EARLY
from tests._puncher_case import EDM, EIM, HOST, IPV4, KIND, MAPPED, NAT, RELAY, RELAYED, PuncherCase


class RoundTests(PuncherCase):
    """How long rounds last, and what follows."""

    def test_three_rounds(self) -> None:
        """Each lasts 1.5 s from the first probe on, and after the last one the attempt has failed."""
        for number in (1, 2):
            self.begin(NAT, number=number)
            self.assertEqual(self.last(self.run_until(200.0)), (1.75, NextRound(number + 1)))
            self.assertIsNone(self.puncher.due())
        self.begin(NAT, number=3, mappings=(EDM, EIM))
        time, failed = self.last(self.run_until(200.0))
        assert isinstance(failed, Failed)
        self.assertEqual((time, failed.code), (1.75, "symmetric-nat"))
        self.assertIn("there is none", failed.reason)

    def test_peer_that_is_heard(self) -> None:
        """The round lasts 4 s then; one of birthday probing is longer anyway."""
        for strategy, end in ((Strategy.DIRECT, 4.25), (Strategy.BIRTHDAY, 12.25)):
            self.setUp()
            self.begin(NAT, strategy=strategy, mappings=(EIM, EDM), number=2)
            self.say(100.3)
            self.assertEqual(self.last(self.run_until(200.0)), (end, NextRound(3)))

    def test_peer_that_is_heard_in_the_last_round(self) -> None:
        """It is the reason of the failure, also if it was heard in an earlier round."""
        self.begin(NAT)
        self.say(100.3)
        self.run_until(200.0)
        self.begin(NAT, number=3)
        time, failed = self.last(self.run_until(200.0))
        assert isinstance(failed, Failed)
        self.assertEqual((time, failed.code), (1.75, "one-way"))

    def test_peer_that_is_heard_through_a_relay(self) -> None:
        """It says nothing about a direct path, so the round ends in time."""
        self.begin(NAT, locals=(IPV4, RELAY))
        self.say(100.3, local=RELAY)
        self.assertEqual(self.last(self.run_until(200.0)), (1.75, NextRound(2)))

    def test_relay_has_one_round(self) -> None:
        """Of 6 s. The reason says whether there was a relay, at either side."""
        for candidates, locals, words in (
            ((NAT,), (IPV4,), "there is none"),
            ((NAT, RELAYED), (IPV4,), "not worked"),
            ((NAT,), (IPV4, RELAY), "not worked"),
        ):
            self.setUp()
            self.begin(*candidates, locals=locals, strategy=Strategy.RELAY)
            time, failed = self.last(self.run_until(200.0))
            assert isinstance(failed, Failed)
            self.assertEqual(time, 6.25)
            self.assertIn(words, failed.reason)

    def test_endpoints_of_the_round_before(self) -> None:
        """They are forgotten with their pairs, unless they are in this round too."""
        self.begin(NAT, locals=(IPV4, RELAY))
        self.run_until(100.5)
        self.assertEqual({name for name, _ in self.puncher.checks.pairs}, {"ipv4", "relay"})
        new = Local("ipv4-2")
        self.begin(NAT, locals=(new, RELAY), number=2, now=110.0)
        self.assertEqual(list(self.puncher.locals), [new, RELAY])
        self.assertEqual({name for name, _ in self.puncher.checks.pairs}, {"ipv4-2", "relay"})
        self.assertFalse(self.puncher.has("ipv4"))
        self.assertTrue(self.puncher.has("ipv4-2"))

    def test_nothing_is_done_without_a_round(self) -> None:
        """Neither before the first one, nor after the end."""
        self.assertIsNone(self.puncher.due())
        self.puncher.add_candidates(100.0, [NAT])
        self.puncher.add_locals(100.0, [Local("ipv4", mapped=("203.0.113.5", 7000))])
        self.assertEqual(self.puncher.tick(200.0), [])
        self.assertIsNone(self.puncher.due())


class PairTests(PuncherCase):
    """Which pairs are tried, and from when on."""

    def test_first_probes(self) -> None:
        """At the end of the hold, 5 ms apart, the best pair first, and never before."""
        self.assertEqual(self.begin(NAT, HOST), [])
        found = self.first_sends(self.run_until(100.3))
        self.assertEqual(found, {("ipv4", HOST.address): 0.25, ("ipv4", NAT.address): 0.255})

    def test_socket_with_a_port_mapping_listens(self) -> None:
        """For 500 ms, or until the peer is heard on it. Other endpoints do not wait."""
        mapped = Local("ipv4", mapped=("203.0.113.5", 7000))
        other = Local("other")
        self.begin(HOST, locals=(mapped, other))
        found = self.first_sends(self.run_until(101.0))
        self.assertEqual(found, {("ipv4", HOST.address): 0.75, ("other", HOST.address): 0.25})
        self.setUp()
        self.begin(HOST, locals=(mapped,))
        self.run_until(100.3)
        self.say(100.4, local=mapped)
        self.assertEqual(self.first_sends(self.run_until(101.0))["ipv4", HOST.address], 0.4)

    def test_one_of_two_sides_with_port_mappings_listens(self) -> None:
        """The controlled one; a relay does not listen in any case."""
        mapped, relay = Local("ipv4", mapped=("203.0.113.5", 7000)), Local("relay", relayed=True, mapped=("::1", 1))
        for controlling, candidates, expected in (
            (True, (MAPPED,), 0.25), (True, (HOST,), 0.75), (False, (MAPPED,), 0.75), (False, (HOST,), 0.75),
        ):  # fmt: skip
            self.make(controlling)
            self.begin(*candidates, locals=(mapped,))
            self.assertEqual(set(self.first_sends(self.run_until(101.0)).values()), {expected})
        self.setUp()
        self.begin(RELAYED, locals=(relay,))
        self.assertEqual(set(self.first_sends(self.run_until(101.0)).values()), {0.25})

    def test_late_candidates(self) -> None:
        """They are tried at once, and those that were known are not tried from the beginning."""
        self.begin(NAT)
        before = self.run_until(101.0)
        self.puncher.add_candidates(101.0, [NAT, HOST])
        after = self.run_until(101.5)
        self.assertEqual(self.first_sends(after)["ipv4", HOST.address], 1.0)
        ttls = [
            action.ttl for _, action in before + after if isinstance(action, Send) and action.address == NAT.address
        ]
        self.assertEqual(ttls[:4], [2, 2, 2, None])
        self.assertNotIn(2, ttls[3:])

    def test_late_endpoints(self) -> None:
        """A new one is tried with all candidates; one that is replaced is not tried again."""
        self.begin(HOST)
        self.run_until(101.0)
        mapped = Local("ipv4", mapped=("203.0.113.5", 7000))
        self.puncher.add_locals(101.0, [mapped, RELAY, Local("other")])
        self.puncher.add_candidates(101.0, [RELAYED])
        found = self.first_sends(self.run_until(101.04))
        self.assertEqual(set(found), {
            ("other", HOST.address), ("ipv4", RELAYED.address), ("relay", RELAYED.address), ("other", RELAYED.address),
        })  # fmt: skip
        self.assertEqual(list(self.puncher.locals), [mapped, RELAY, Local("other")])

    def test_removed_endpoints(self) -> None:
        """Nothing more is sent from them, and a socket that listens does not begin."""
        listening = Local("listening", mapped=("203.0.113.5", 7000))
        self.begin(HOST, locals=(IPV4, RELAY, listening))
        self.puncher.remove_locals([IPV4, listening])
        self.assertEqual(self.first_sends(self.run_until(101.0)), {})
        self.assertEqual(list(self.puncher.locals), [RELAY])
        self.assertEqual({name for name, _ in self.puncher.checks.pairs} - {"relay"}, set())


class ConnectTests(PuncherCase):
    """From the first valid pair to the path."""

    def connect(self, now: float, candidate: Candidate) -> list[Action]:
        """:returns: what follows when the controlling side nominates a pair that is valid then."""
        [probe] = [
            action
            for _, action in self.run_until(now)
            if isinstance(action, Send) and action.address == candidate.address and action.ttl is None
        ][:1]
        self.acknowledge(now, probe)
        return self.say(now, source=candidate.address, nominate=True)

    def test_better_pairs_and_relays_are_tried_on(self) -> None:
        """After the path is there, pairs that are no better are not, but a relay is the reserve."""
        other = Candidate(KIND.MAPPED, ("198.51.100.3", 4000))
        self.begin(NAT, HOST, MAPPED, other, RELAYED)
        actions = self.connect(100.3, MAPPED)
        [connected] = [action for action in actions if isinstance(action, Connected)]
        self.assertEqual((connected.local, connected.address, connected.via), (IPV4, MAPPED.address, Via.MAPPED))
        self.assertEqual(connected.path, NEW_PATH)
        found = self.first_sends(self.run_until(200.0))
        self.assertEqual({address for _, address in found}, {HOST.address, RELAYED.address})
        self.assertIsNone(self.puncher.due())

    def test_round_goes_on_behind_a_relayed_path(self) -> None:
        """The next round may bring a direct path. The last one ends without a word."""
        for number, expected in ((1, [NextRound(2)]), (2, [NextRound(3)]), (3, [])):
            self.setUp()
            self.begin(NAT, RELAYED, number=number)
            self.connect(100.35, RELAYED)
            self.assertIsNotNone(self.puncher.connected)
            found = [(time, action) for time, action in self.run_until(200.0) if not isinstance(action, Send)]
            self.assertEqual(found, [(101.75, action) for action in expected])

    def test_data_that_comes_before_the_path(self) -> None:
        """Sixty-four datagrams are kept, and handed over once."""
        self.begin(NAT)
        for number in range(MAX_EARLY + 2):
            datagram = self.peer.encode_data(Data(number, b"%d" % number))
            self.puncher.receive(100.3, IPV4, datagram, NAT.address)
        self.assertEqual([data.sequence for data in self.puncher.take_early()], list(range(64)))
        self.assertEqual(self.puncher.take_early(), [])

    def test_controlled_side_names_a_path_that_it_knows(self) -> None:
        """A path that it does not have is not named, and a new one begins."""
        for known, expected in (((b"path 1",), b"path 1"), ((b"path 2",), NEW_PATH), ((), NEW_PATH)):
            self.make(controlling=False, known=known)
            self.begin(NAT)
            self.say(100.3, path=b"path 1")
            self.assertEqual(self.puncher.checks.path, expected)
            [connected] = [each for each in self.connect(100.5, NAT) if isinstance(each, Connected)]
            self.assertEqual(connected.path, expected)

    def test_controlling_side_goes_on_with_a_path_that_the_peer_names(self) -> None:
        """If the peer names none, or another one, it has lost the path."""
        for said, expected in ((b"path 1", b"path 1"), (NEW_PATH, NEW_PATH), (b"path 2", NEW_PATH)):
            self.make(controlling=True, path=b"path 1", known=(b"path 2",))
            self.begin(NAT)
            self.say(100.3, path=said)
            [probe] = [each for _, each in self.run_until(100.35) if isinstance(each, Send) and each.ttl is None][:1]
            actions = self.acknowledge(100.4, probe)
            actions += [action for _, action in self.run_until(100.5)]
            nominating = [each for each in actions if isinstance(each, Send) and each.datagram[3] & 2]
            [connected] = [each for each in self.acknowledge(100.5, nominating[0]) if isinstance(each, Connected)]
            self.assertEqual((self.puncher.checks.path, connected.path), (b"path 1", expected))


class BirthdayTests(PuncherCase):
    """The two parts of birthday probing."""

    def hard(self) -> list[Local]:
        """:returns: the sockets of the hard side, after the first openers."""
        [(_, opened)] = self.begin(NAT, HOST, strategy=Strategy.BIRTHDAY, mappings=(EDM, EIM), locals=(IPV4, RELAY))
        assert isinstance(opened, OpenSockets)
        self.assertEqual(opened.count, 256)
        sockets = [Local(f"b{number}", birthday=True) for number in range(3)]
        self.puncher.add_locals(100.0, sockets)
        found = self.first_sends(self.run_until(100.3))
        times = {(f"b{number}", NAT.address): round(0.25 + number * 0.002, 6) for number in range(3)}
        self.assertEqual(found, {**times, ("ipv4", HOST.address): 0.25, ("relay", NAT.address): 0.255})
        return sockets

    def test_sockets_are_released_when_there_is_a_path(self) -> None:
        """All but those on which something has come; the usual sockets and the relay stay."""
        first, second, third = self.hard()
        actions = self.say(101.0, local=second)
        self.assertEqual([each for each in actions if isinstance(each, Release)], [])
        [probe] = [each for each in actions if isinstance(each, Send) and each.datagram[1] == 0x10]
        released = [each for each in self.acknowledge(101.1, probe) if isinstance(each, Release)]
        self.assertEqual(released, [Release((first, third))])
        self.assertEqual(list(self.puncher.locals), [IPV4, RELAY, second])

    def test_relayed_pair_does_not_end_it(self) -> None:
        """A direct path is better."""
        self.hard()
        actions = self.say(101.0, local=RELAY)
        [probe] = [each for each in actions if isinstance(each, Send) and each.datagram[1] == 0x10]
        self.assertEqual([each for each in self.acknowledge(101.1, probe) if isinstance(each, Release)], [])

    def test_sockets_are_released_at_the_end_of_the_round(self) -> None:
        """Before the next one is asked for."""
        sockets = self.hard()
        found = [(time, each) for time, each in self.run_until(200.0) if not isinstance(each, Send)]
        self.assertEqual(found, [(112.25, Release(tuple(sockets))), (112.25, NextRound(2))])

    def test_easy_side(self) -> None:
        """It opens no sockets, and tries ports of the address of the peer."""
        self.assertEqual(self.begin(NAT, strategy=Strategy.BIRTHDAY, mappings=(EIM, EDM)), [])
        found = self.first_sends(self.run_until(100.9))
        self.assertEqual(min(found.values()), 0.85)
        self.assertEqual({(name, host) for name, (host, _) in found}, {("ipv4", NAT.address[0])})

    def test_peer_without_an_observed_address(self) -> None:
        """There is nothing to try."""
        self.assertEqual(self.begin(HOST, strategy=Strategy.BIRTHDAY, mappings=(EDM, EIM)), [])
