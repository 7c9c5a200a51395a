"""The names of what requests wait for."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.notes import Key, OfferSide, PeerEvents
from rendezvous.core.signaling.offers import Role


class KeyTests(SynchronousTestCase):
    """Keys, and the names that they have where several processes share them."""

    def test_names_are_readable(self) -> None:
        """They say what is waited for."""
        self.assertEqual(str(PeerEvents("ab")), "peer:ab")
        self.assertEqual(str(OfferSide("", "x y", Role.OFFERER)), "offer::x%20y:offerer")

    def test_different_keys_have_different_names(self) -> None:
        """Whatever their texts hold; equal keys are one, and have one name."""
        keys: list[Key] = [
            PeerEvents("a"),
            PeerEvents("a:b"),
            PeerEvents("a%3Ab"),
            OfferSide("a", "b", "offerer"),
            OfferSide("a", "b", "answerer"),
            OfferSide("a:b", "", "offerer"),
            OfferSide("", "a:b", "offerer"),
            OfferSide("https://a.example", "é/", Role.OFFERER),
        ]
        self.assertEqual((len(set(keys)), len({str(key) for key in keys})), (len(keys), len(keys)))
        self.assertEqual(OfferSide("a", "b", Role.OFFERER), OfferSide("a", "b", "offerer"))
