"""The facts of the protocols that a client needs: times, limits, and UDP ports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from rendezvous.core.presence.states import Timers
from rendezvous.limits import SignalingLimits
from rendezvous.web.pages import encode

__all__ = ["Facts"]


@attrs.define
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
    _ports: Sequence[int] | None = attrs.field(default=None, init=False)
    _text: bytes = attrs.field(default=b"", init=False)

    def added_to(self, fields: dict[str, Any]) -> bytes:
        """
        :param fields: the other fields of the answer, at least one.
        :returns: the answer as JSON. The facts in it are encoded once, as registrations are many.
        """
        ports = self.udp_ports()
        if ports != self._ports:
            self._ports, self._text = ports, encode(self._fields(ports))[1:]
        return encode(fields)[:-1] + b"," + self._text

    def _fields(self, ports: Sequence[int]) -> dict[str, Any]:
        """:returns: the facts. Times are in seconds, but for names in ``Ms``; sizes in bytes of UTF-8."""
        timers, limits = self.timers, self.limits
        return {
            "pulseInterval": timers.pulse_interval,
            "pulseGrace": timers.pulse_grace,
            "errorTime": timers.error_time,
            "registrationTime": timers.registration_time,
            "udpPorts": list(ports),
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
