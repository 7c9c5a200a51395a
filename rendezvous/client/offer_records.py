"""What the routes of offers and sessions take and return."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import attrs

from rendezvous.client._replies import Fields

__all__ = [
    "Answer",
    "NewOffer",
    "Offer",
    "OfferCandidate",
    "OwnOffer",
    "Page",
    "Published",
    "Topic",
    "next_page",
    "read_answer",
    "read_candidate",
    "read_offer",
    "read_own_offer",
    "read_published",
    "read_topics",
]

T = TypeVar("T")


@attrs.frozen
class Page(Generic[T]):
    """
    A page of a listing.

    :ivar items: what is on it.
    :ivar next: where the next page begins, to be given back with the same other parameters; ``None`` on the last page.
    """

    items: tuple[T, ...]
    next: str | None = None


@attrs.frozen
class Topic:
    """
    A topic.

    :ivar name: of the topic.
    :ivar peers: peers with offers in it that can be answered; 0 in a listing of sessions.
    :ivar sessions: sessions in it.
    """

    name: str
    peers: int
    sessions: int


@attrs.frozen
class NewOffer:
    """
    An offer that is to be published.

    :ivar sdp: the session description.
    :ivar topics: one to 20.
    :ivar ttl: seconds that it lives; ``None`` for the server's default.
    :ivar secret: what a peer must know to answer it. ``repr`` never shows it.
    :ivar info: text for those who find it.
    :ivar id: its id; ``None`` for one that the server derives from ``sdp`` and ``topics``.
    :ivar while_connected: whether it ends when the owner's event stream has ended.
    """

    sdp: str
    topics: tuple[str, ...] = attrs.field(converter=tuple)
    ttl: float | None = None
    secret: str | None = attrs.field(default=None, repr=False)
    info: str | None = None
    id: str | None = None
    while_connected: bool = False

    def members(self) -> dict[str, object]:
        """:returns: the JSON object that it is."""
        members = {
            "sdp": self.sdp,
            "topics": list(self.topics),
            "ttl": None if self.ttl is None else round(self.ttl * 1000),
            "secret": self.secret,
            "info": self.info,
            "id": self.id,
            "whileConnected": self.while_connected or None,
        }
        return {name: value for name, value in members.items() if value is not None}


@attrs.frozen
class Published:
    """
    An offer that was published.

    :ivar id: of the offer.
    :ivar topics: its topics.
    :ivar expires_at: when it ends, in milliseconds since the epoch.
    """

    id: str
    topics: tuple[str, ...]
    expires_at: int


@attrs.frozen
class Offer:
    """
    An offer of some peer. Times are in milliseconds since the epoch.

    :ivar id: of the offer.
    :ivar peer_id: of its owner.
    :ivar sdp: the session description.
    :ivar topics: its topics.
    :ivar expires_at: when it ends.
    :ivar last_seen: when its owner has published it or sent a heartbeat.
    :ivar has_secret: whether an answer needs a secret.
    :ivar info: text of its owner, or ``None``.
    """

    id: str
    peer_id: str
    sdp: str
    topics: tuple[str, ...]
    expires_at: int
    last_seen: int
    has_secret: bool
    info: str | None


@attrs.frozen
class OwnOffer:
    """
    An offer of one's own.

    :ivar offer: what all peers see of it.
    :ivar created_at: when it was published, in milliseconds since the epoch.
    :ivar while_connected: whether it ends when the owner's event stream has ended.
    :ivar secret: its secret, or ``None``. ``repr`` never shows it.
    :ivar answerer_id: the peer that has answered it, or ``None``.
    :ivar answered_at: when, or ``None``.
    """

    offer: Offer
    created_at: int
    while_connected: bool
    secret: str | None = attrs.field(repr=False)
    answerer_id: str | None
    answered_at: int | None


@attrs.frozen
class Answer:
    """
    An answer to an offer.

    :ivar offer_id: of the offer.
    :ivar answerer_id: of the peer that has answered.
    :ivar sdp: the session description; empty for an answer of one's own.
    :ivar answered_at: when, in milliseconds since the epoch. It increases with each answer on the server.
    :ivar topics: of the offer.
    """

    offer_id: str
    answerer_id: str
    sdp: str
    answered_at: int
    topics: tuple[str, ...]


@attrs.frozen
class OfferCandidate:
    """
    An ICE candidate.

    :ivar value: any JSON value.
    :ivar peer_id: of the side that has sent it.
    :ivar role: ``offerer`` or ``answerer``.
    :ivar created_at: when, in milliseconds since the epoch. It increases with each candidate of an offer.
    """

    value: Any
    peer_id: str
    role: str
    created_at: int


def next_page(fields: Fields) -> str | None:
    """:returns: where the page after this one begins, or ``None``."""
    return fields.text("next") if fields.boolean("hasMore") else None


def read_topics(fields: Fields) -> Page[Topic]:
    """
    Read a listing of topics.

    :raises ServerError: when a member is missing or wrong.
    """
    found = tuple(
        Topic(one.text("topic"), one.integer_or_none("activePeers") or 0, one.integer("count"))
        for one in fields.objects("topics")
    )
    return Page(found, next_page(fields.member("pagination")))


def read_answer(fields: Fields) -> Answer:
    """
    Read an answer, of a listing or of an event.

    :raises ServerError: when a member is missing or wrong.
    """
    return Answer(
        fields.text("offerId"),
        fields.text("answererId"),
        fields.text("sdp"),
        fields.integer("answeredAt"),
        fields.texts("topics"),
    )


def read_candidate(fields: Fields) -> OfferCandidate:
    """
    Read a candidate, of a listing or of an event.

    :raises ServerError: when a member is missing or wrong.
    """
    if "candidate" not in fields.values:
        raise fields.wrong("candidate")
    return OfferCandidate(
        fields.values["candidate"], fields.text("peerId"), fields.text("role"), fields.integer("createdAt")
    )


def read_published(fields: Fields) -> Published:
    """
    Read an offer that was published.

    :raises ServerError: when a member is missing or wrong.
    """
    return Published(fields.text("id"), fields.texts("topics"), fields.integer("expiresAt"))


def read_offer(fields: Fields) -> Offer:
    """
    Read an offer of a listing.

    :raises ServerError: when a member is missing or wrong.
    """
    return Offer(
        fields.text("id"),
        fields.text("peerId"),
        fields.text("sdp"),
        fields.texts("topics"),
        fields.integer("expiresAt"),
        fields.integer("lastSeen"),
        bool(fields.values.get("hasSecret") or fields.values.get("secret")),
        fields.text_or_none("info"),
    )


def read_own_offer(fields: Fields) -> OwnOffer:
    """
    Read an offer of one's own.

    :raises ServerError: when a member is missing or wrong.
    """
    return OwnOffer(
        read_offer(fields),
        fields.integer("createdAt"),
        fields.boolean("whileConnected"),
        fields.text_or_none("secret"),
        fields.text_or_none("answererPeerId"),
        fields.integer_or_none("answeredAt"),
    )
