"""Relayed addresses at TURN servers (RFC 8656)."""

from __future__ import annotations

from rendezvous.client.relay.relay import MAX_DATAGRAM, Relay, RelayUnavailable

__all__ = ["MAX_DATAGRAM", "Relay", "RelayUnavailable"]
