"""Signalings and offers for the signaling tests."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

from rendezvous.core.offers import Offer, OfferSpec
from rendezvous.core.signaling import Signaling
from rendezvous.limits import SignalingLimits

NOW = 1_700_000_000.0
NOW_MS = 1_700_000_000_000
LIMITS = SignalingLimits()


def spec(
    sdp: str = "v=0",
    *topics: str,
    limits: SignalingLimits = LIMITS,
    ttl_ms: int | None = None,
    secret: str | None = None,
    info: str | None = None,
    id: str | None = None,
) -> OfferSpec:
    """A checked offer, in the topic ``t`` unless told otherwise."""
    return OfferSpec.check(
        limits, "offers[0]", sdp=sdp, topics=topics or ("t",), ttl_ms=ttl_ms, secret=secret, info=info, id=id
    )


def publish(
    signaling: Signaling, owner: str, id: str, *topics: str, now: float = NOW, ttl_ms: int | None = None
) -> Offer:
    """Publish one offer under an id of its own."""
    return signaling.publish(owner, [spec(f"sdp of {id}", *topics, id=id, ttl_ms=ttl_ms)], now)[0]


def offer(id: str, owner: str = "", *topics: str, last_seen: int = 0) -> Offer:
    """A bare record."""
    return Offer(id=id, owner=owner, topics=topics, sdp="", created_at=0, expires_at=1, last_seen=last_seen)


def ids(offers: list[Offer]) -> list[str]:
    """The ids of a listing."""
    return [each.id for each in offers]


def count_calls(action: Callable[[], object]) -> int:
    """
    How many function calls an action makes, in Python and in C.

    It is the same on every machine and every run, unlike a time.
    """
    calls = 0

    def profile(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(before)
    return calls
