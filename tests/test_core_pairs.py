"""Tests of :mod:`rendezvous.core.punching.pairs` and of :class:`rendezvous.core.punching.probes.Window`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.connect import Candidate, CandidateKind, Via
from rendezvous.core.punching.pairs import MAX_CANDIDATES, SLOTS, Local, Pair, Tier, choose
from rendezvous.core.punching.probes import Window

KIND = CandidateKind


def candidates(kind: CandidateKind, *hosts: str, port: int = 4000) -> list[Candidate]:
    """:returns: candidates of one kind."""
    return [Candidate(kind, (host, port)) for host in hosts]


class ChooseTests(SynchronousTestCase):
    """Which candidates are tried."""

    def test_addresses_of_no_host_are_left_out(self) -> None:
        """Unspecified, multicast, broadcast and reserved ones, of whichever kind, and what is no address."""
        for host in ("0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "240.0.0.1", "::", "ff02::1", "example", ""):
            for kind in KIND:
                self.assertEqual(choose(candidates(kind, host)), [], (host, kind))

    def test_ports_out_of_range_are_left_out(self) -> None:
        """Zero and what is not a port."""
        for port in (0, -1, 65536):
            self.assertEqual(choose(candidates(KIND.HOST, "192.168.1.2", port=port)), [])
        for port in (1, 65535):
            self.assertEqual(len(choose(candidates(KIND.HOST, "192.168.1.2", port=port))), 1)

    def test_near_addresses_are_left_out_of_hosts(self) -> None:
        """Loopback and link-local addresses name another host at each reader; the server may have observed them."""
        for host in ("127.0.0.1", "169.254.1.1", "::1", "fe80::1"):
            self.assertEqual(choose(candidates(KIND.HOST, host)), [], host)
            self.assertEqual(len(choose(candidates(KIND.SERVER_REFLEXIVE, host))), 1, host)

    def test_repeated_address_is_tried_once(self) -> None:
        """The first kind counts."""
        [chosen] = choose([*candidates(KIND.MAPPED, "198.51.100.1"), *candidates(KIND.HOST, "198.51.100.1")])
        self.assertIs(chosen.kind, KIND.MAPPED)

    def test_one_kind_does_not_take_all_places(self) -> None:
        """A host with forty addresses leaves room for what was observed."""
        hosts = candidates(KIND.HOST, *(f"10.0.0.{n}" for n in range(1, 41)))
        observed = candidates(KIND.SERVER_REFLEXIVE, "198.51.100.1")
        chosen = choose(hosts + observed)
        self.assertEqual(len(chosen), SLOTS[KIND.HOST] + 1)
        self.assertIn(observed[0], chosen)

    def test_all_kinds_together_are_bounded(self) -> None:
        """There are never more than 32."""
        many = [each for n, kind in enumerate(KIND) for each in candidates(kind, *(f"11.{n}.0.{m}" for m in range(40)))]
        self.assertEqual(len(choose(many)), MAX_CANDIDATES)


class PairTests(SynchronousTestCase):
    """What a pair is called, and how it is preferred."""

    def pair(self, host: str, kind: CandidateKind = KIND.SERVER_REFLEXIVE, local: Local = Local("a")) -> Pair:  # noqa: B008
        """:returns: a pair to a host."""
        return Pair(local, (host, 1), kind)

    def test_tiers(self) -> None:
        """One network, IPv6, mapped, direct, relayed; the address counts, not how it was learnt."""
        for host, kind, tier, via in (
            ("192.168.1.2", KIND.PEER_REFLEXIVE, Tier.LAN, Via.LAN), ("10.1.2.3", KIND.HOST, Tier.LAN, Via.LAN),
            ("172.16.0.1", KIND.HOST, Tier.LAN, Via.LAN), ("100.64.0.1", KIND.HOST, Tier.LAN, Via.LAN),
            ("127.0.0.1", KIND.SERVER_REFLEXIVE, Tier.LAN, Via.LAN), ("169.254.0.1", KIND.HOST, Tier.LAN, Via.LAN),
            ("172.32.0.1", KIND.HOST, Tier.DIRECT, Via.DIRECT), ("fd00::1", KIND.HOST, Tier.LAN, Via.LAN),
            ("2001:db8::1", KIND.HOST, Tier.IPV6, Via.IPV6), ("198.51.100.1", KIND.MAPPED, Tier.MAPPED, Via.MAPPED),
            ("198.51.100.1", KIND.PEER_REFLEXIVE, Tier.DIRECT, Via.DIRECT),
            ("198.51.100.1", KIND.RELAYED, Tier.RELAYED, Via.RELAY),
        ):  # fmt: skip
            pair = self.pair(host, kind)
            self.assertEqual((pair.tier, pair.via), (tier, via), (host, kind))

    def test_local_endpoint_counts(self) -> None:
        """A relay of this side, a mapping that was used, and a socket of birthday probing."""
        self.assertIs(self.pair("198.51.100.1", local=Local("r", relayed=True)).via, Via.RELAY)
        self.assertIs(self.pair("198.51.100.1", local=Local("b", birthday=True)).via, Via.BIRTHDAY)
        pair = self.pair("198.51.100.1")
        pair.to_mapping = True
        self.assertIs(pair.via, Via.MAPPED)

    def test_rank(self) -> None:
        """The tier goes before the round trip."""
        slow, fast, relay = (
            self.pair("198.51.100.1"),
            self.pair("198.51.100.2"),
            self.pair("198.51.100.3", KIND.RELAYED),
        )
        for pair, rtt in ((slow, 0.3), (fast, 0.1), (relay, 0.01)):
            pair.measured(rtt)
        self.assertEqual(sorted([relay, slow, fast], key=lambda pair: pair.rank), [fast, slow, relay])

    def test_round_trips_are_smoothed(self) -> None:
        """A new one counts an eighth."""
        pair = self.pair("198.51.100.1")
        for rtt in (0.1, 0.9):
            pair.measured(rtt)
        self.assertEqual(pair.rtt, 0.2)


class WindowTests(SynchronousTestCase):
    """Each number is taken once."""

    @given(st.lists(st.integers(0, 3000), max_size=200), st.integers(1, 1100))
    def test_it_agrees_with_a_set(self, numbers: list[int], size: int) -> None:
        """A number is taken if it is new and less than the size behind the largest."""
        window, seen = Window(size), set[int]()
        for number in numbers:
            expected = number not in seen and number > max(seen, default=-1) - size
            self.assertEqual(window.take(number), expected, number)
            if expected:
                seen.add(number)

    def test_large_jump(self) -> None:
        """A number far ahead costs no more than others."""
        window = Window()
        self.assertTrue(window.take(2**48 - 1))
        self.assertFalse(window.take(2**48 - 1))
        self.assertFalse(window.take(0))
        self.assertFalse(window.take(2**48 - 1025))
        self.assertTrue(window.take(2**48 - 1024))

    def test_window_takes_no_more_room_with_time(self) -> None:
        """Also if each jump is as large as it may be. A number that is taken far ahead forgets all others."""
        window = Window(64)
        for number in range(0, 10_000, 63):
            window.take(number)
            self.assertLess(window._seen.bit_length(), 65)
        self.assertTrue(window.take(2**48 - 1))
        self.assertEqual(window._seen, 1)
