"""The facts of the protocols that a client needs: times, limits, and UDP ports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from rendezvous.core.presence import Timers
from rendezvous.limits import SignalingLimits

__all__ = ["Facts"]


@attrs.frozen
class Facts:
    """
    What ``GET /`` and ``POST /register`` say besides their own fields.

    :ivar timers: those of presence.
    :ivar limits: those of offers and sessions.
    :ivar udp_ports: gives the ports that datagrams are taken on.
    """

    timers: Timers = attrs.field(factory=Timers)
    limits: SignalingLimits = attrs.field(factory=SignalingLimits)
    udp_ports: Callable[[], Sequence[int]] = tuple

    def fields(self) -> dict[str, Any]:
        """:returns: the fields. Times are in seconds, but for names in ``Ms``; sizes in bytes of UTF-8."""
        timers, limits = self.timers, self.limits
        return {
            "pulseInterval": timers.pulse_interval,
            "pulseGrace": timers.pulse_grace,
            "errorTime": timers.error_time,
            "registrationTime": timers.registration_time,
            "udpPorts": list(self.udp_ports()),
            "limits": {
                "sdpSize": limits.sdp_size,
                "ttlDefaultMs": limits.ttl_default_ms,
                "ttlMinMs": limits.ttl_min_ms,
                "ttlMaxMs": limits.ttl_max_ms,
                "offersPerRequest": limits.offers_per_request,
                "offersPerPeer": limits.offers_per_peer,
                "topicsPerOffer": limits.topics_per_offer,
                "topicChars": limits.topic_chars,
                "candidateSize": limits.candidate_size,
                "candidatesPerRequest": limits.candidates_per_request,
                "candidatesPerSide": limits.candidates_per_side,
                "sessionLifetime": limits.session_lifetime,
            },
        }
