"""The client's end: the server's protocols as Deferreds, and a service that keeps a UDP socket known to the server."""

from __future__ import annotations

from rendezvous.client.api import RendezvousClient
from rendezvous.client.attempts import Attempt, AttemptState, Candidate, Invitation
from rendezvous.client.connecting.connector import Connector
from rendezvous.client.connecting.paths import Path
from rendezvous.client.errors import (
    ClientError,
    ClientGone,
    ConnectFailed,
    NotFound,
    NotRegistered,
    PeerHasNoAddress,
    PeerNotFound,
    RequestRefused,
    ServerBusy,
    ServerError,
    ServerUnreachable,
)
from rendezvous.client.events import Event, EventStream
from rendezvous.client.ice import IceServer, IceServers
from rendezvous.client.keepalive import KeepAlive
from rendezvous.client.offer_records import Answer, NewOffer, Offer, OfferCandidate, OwnOffer, Page, Published, Topic
from rendezvous.client.records import Health, Identity, PeerAddress, PeerStatus, ServerFacts, Status
from rendezvous.client.sessions import Polled, Session, Side

__all__ = [
    "Answer",
    "Attempt",
    "AttemptState",
    "Candidate",
    "ClientError",
    "ClientGone",
    "ConnectFailed",
    "Connector",
    "Event",
    "EventStream",
    "Health",
    "IceServer",
    "IceServers",
    "Identity",
    "Invitation",
    "KeepAlive",
    "NewOffer",
    "NotFound",
    "NotRegistered",
    "Offer",
    "OfferCandidate",
    "OwnOffer",
    "Page",
    "Path",
    "PeerAddress",
    "PeerHasNoAddress",
    "PeerNotFound",
    "PeerStatus",
    "Polled",
    "Published",
    "RendezvousClient",
    "RequestRefused",
    "ServerBusy",
    "ServerError",
    "ServerFacts",
    "ServerUnreachable",
    "Session",
    "Side",
    "Status",
    "Topic",
]
