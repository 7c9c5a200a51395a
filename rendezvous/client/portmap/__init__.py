"""Port mapping: the next router is asked to pass on a UDP port (PCP, RFC 6887; NAT-PMP, RFC 6886; UPnP)."""

from __future__ import annotations

from rendezvous.client.portmap.mapper import BUDGET, GatewayReport, PortMapper, PortMapping

__all__ = ["BUDGET", "GatewayReport", "PortMapper", "PortMapping"]
