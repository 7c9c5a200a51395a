"""Why there is no path, for programs and for people."""

from __future__ import annotations

from rendezvous.core.connect import NatMapping
from rendezvous.core.punching.actions import Failed

__all__ = ["no_path"]


def no_path(ours: NatMapping, theirs: NatMapping, *, heard: bool, relay: bool) -> Failed:
    """
    Say why no round has opened a path.

    :param ours: what the server has observed of the NAT of this side.
    :param theirs: the same of the peer.
    :param heard: whether a probe of the peer has arrived.
    :param relay: whether either side has had a relay.
    """
    if NatMapping.BLOCKED in (ours, theirs):
        whose = "your network" if ours is NatMapping.BLOCKED else "the network of the peer"
        code, why = "udp-blocked", f"{whose} lets no UDP datagram reach the server"
    elif heard:
        code, why = "one-way", "probes of the peer arrive, but those sent to it get no answer"
    elif ours.is_per_destination and theirs.is_per_destination:
        code, why = "symmetric-pair", "your NAT gives every destination another port, and so does that of the peer"
    elif ours.is_per_destination or theirs.is_per_destination:
        whose = "your NAT" if ours.is_per_destination else "the NAT of the peer"
        code, why = (
            "symmetric-nat",
            f"{whose} gives every destination another port, and the other NAT accepts no other port",
        )
    else:
        code, why = "no-answer", "no probe has passed in either direction; a firewall may drop them"
    end = "and the relay has not worked either" if relay else "so a relay is needed, and there is none"
    return Failed(code, f"{why[0].upper()}{why[1:]}, {end}.")
