"""The client's end: the server's routes as Deferreds, and a service that keeps a UDP socket known to the server."""

from __future__ import annotations

from rendezvous.client.api import RendezvousClient
from rendezvous.client.errors import (
    ClientError,
    ClientGone,
    NotRegistered,
    PeerHasNoAddress,
    PeerNotFound,
    RequestRefused,
    ServerBusy,
    ServerError,
    ServerUnreachable,
)
from rendezvous.client.keepalive import KeepAlive
from rendezvous.client.records import Health, Identity, PeerAddress, PeerStatus, ServerFacts, Status

__all__ = [
    "ClientError",
    "ClientGone",
    "Health",
    "Identity",
    "KeepAlive",
    "NotRegistered",
    "PeerAddress",
    "PeerHasNoAddress",
    "PeerNotFound",
    "PeerStatus",
    "RendezvousClient",
    "RequestRefused",
    "ServerBusy",
    "ServerError",
    "ServerFacts",
    "ServerUnreachable",
    "Status",
]
