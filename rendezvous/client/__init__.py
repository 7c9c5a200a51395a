"""
The client library: the protocols of the server as Deferreds, and paths to peers.

An application imports from here. :class:`RendezvousClient` makes requests over HTTP, :class:`Connector` opens paths to
peers (its parts are in ``connecting``, ``network``, ``portmap`` and ``relay``), :class:`KeepAlive` keeps one UDP socket
known to the server, :class:`EventStream` reads events, and :class:`TrackerClient` is a peer of the tracker. Modules
whose names begin with an underscore are parts of these.
"""

from __future__ import annotations

from rendezvous.client.api import RendezvousClient
from rendezvous.client.attempts import Attempt, Attempts, AttemptState, Invitation, Peer
from rendezvous.client.connecting.connector import Connector
from rendezvous.client.connecting.paths import MAX_PAYLOAD, Path
from rendezvous.client.errors import (
    ClientError,
    ClientGone,
    ConnectFailed,
    NotAdmitted,
    NotFound,
    NotOffered,
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
from rendezvous.client.offers import Offers
from rendezvous.client.records import Health, Identity, PeerAddress, PeerStatus, ServerFacts, Status
from rendezvous.client.sessions import Polled, Session, Sessions, Side
from rendezvous.client.tracker import TrackerClient
from rendezvous.core.connect import Candidate, CandidateKind, NatMapping, Strategy, Via
from rendezvous.core.replies import PeerInfo, Pulsed

__all__ = [
    "MAX_PAYLOAD",
    "Answer",
    "Attempt",
    "AttemptState",
    "Attempts",
    "Candidate",
    "CandidateKind",
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
    "NatMapping",
    "NewOffer",
    "NotAdmitted",
    "NotFound",
    "NotOffered",
    "NotRegistered",
    "Offer",
    "OfferCandidate",
    "Offers",
    "OwnOffer",
    "Page",
    "Path",
    "Peer",
    "PeerAddress",
    "PeerHasNoAddress",
    "PeerInfo",
    "PeerNotFound",
    "PeerStatus",
    "Polled",
    "Published",
    "Pulsed",
    "RendezvousClient",
    "RequestRefused",
    "ServerBusy",
    "ServerError",
    "ServerFacts",
    "ServerUnreachable",
    "Session",
    "Sessions",
    "Side",
    "Status",
    "Strategy",
    "Topic",
    "TrackerClient",
    "Via",
]
