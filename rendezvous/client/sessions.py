"""The routes of the sessions protocol: WebRTC signaling by code. ``docs/protocol/sessions.rst`` has the rules."""

from __future__ import annotations

from enum import Enum
from typing import Any

import attrs

from twisted.internet.defer import Deferred

from rendezvous.client._http import MAX_PAGE, Exchanges, Request, bearing, segment
from rendezvous.client._replies import Fields
from rendezvous.client.errors import NotFound
from rendezvous.client.offer_records import Page, Topic, next_page, read_topics

__all__ = ["Polled", "Session", "Sessions", "Side"]


class Side(Enum):
    """Which side of a session a client is."""

    OFFERER = "offerer"
    ANSWERER = "answerer"


@attrs.frozen
class Session:
    """
    A session that was not answered yet. Times are in milliseconds since the epoch.

    :ivar code: its code.
    :ivar info: text about the peer that has opened it.
    :ivar offer: the session description.
    :ivar candidates: ICE candidates of the offerer, any JSON values.
    :ivar created_at: when it was opened.
    :ivar expires_at: when it ends.
    """

    code: str
    info: str
    offer: str
    candidates: tuple[Any, ...]
    created_at: int
    expires_at: int


@attrs.frozen
class Polled:
    """
    What the other side of a session has sent so far.

    :ivar description: to the offerer the answer, or ``None`` if there is none yet; to the answerer the offer.
    :ivar candidates: ICE candidates, any JSON values, the oldest first.
    :ivar latest: the number of the newest thing in it, to be given as ``since`` of the next poll.
    """

    description: str | None
    candidates: tuple[Any, ...]
    latest: int


class Sessions:
    """
    The sessions of one server. Every method returns a cancellable Deferred.

    Sessions have no credentials. A client names an ``origin`` as a web page has one, and sees only the sessions of this
    origin. Methods fail with :exc:`~rendezvous.client.NotFound` if there is no such session.

    :param exchanges: with the server.
    """

    def __init__(self, exchanges: Exchanges) -> None:
        self._exchanges = exchanges

    def topics(
        self, origin: str, *, page: int = 1, limit: int | None = None, next: str | None = None
    ) -> Deferred[Page[Topic]]:
        """
        List the topics that have sessions which can be answered, by name.

        :param origin: such as ``https://app.example``.
        :param page: from 1.
        :param limit: the length of a page.
        :param next: where to go on, in place of ``page``.
        """
        query = {"page": page, "limit": limit, "next": next}
        return self._exchanges.ask(_request("GET", "/topics", origin, query=query, longest=MAX_PAGE), read_topics)

    def find(self, origin: str, topic: str, *, next: str | None = None) -> Deferred[Page[Session]]:
        """
        List the sessions in a topic that can be answered, the newest first.

        :param origin: such as ``https://app.example``.
        :param topic: which.
        :param next: where to go on.
        """
        request = _request("GET", f"/{segment(topic)}/sessions", origin, query={"next": next}, longest=MAX_PAGE)
        return self._exchanges.ask(
            request, lambda fields: Page(tuple(map(_session, fields.objects("sessions"))), next_page(fields))
        )

    def open(
        self, origin: str, topic: str, info: str, offer: str, *, code: str | None = None, token: str | None = None
    ) -> Deferred[str]:
        """
        Open a session.

        :param origin: such as ``https://app.example``.
        :param topic: where.
        :param info: text about this client, 1024 characters at most.
        :param offer: the session description.
        :param code: the code that it shall have; ``None`` for a random one.
        :param token: a registration token, where the operator of the server has given out such.
        :returns: fires with its code; fails with ``RequestRefused`` when the code is taken, and with ``NotAdmitted``
            without a good token where one is needed.
        """
        body = {"info": info, "offer": offer, "code": code}
        request = _request("POST", f"/{segment(topic)}/offer", origin, body=body, token=token)
        return self._exchanges.ask(request, lambda fields: fields.text("code"))

    def answer(self, origin: str, code: str, answer: str) -> Deferred[None]:
        """
        Answer a session. The first answer locks it.

        :param origin: such as ``https://app.example``.
        :param code: which.
        :param answer: the session description.
        """
        return self._send(origin, {"code": code, "side": Side.ANSWERER.value, "answer": answer})

    def add_candidate(self, origin: str, code: str, side: Side, candidate: object) -> Deferred[None]:
        """
        Send an ICE candidate to the other side.

        :param origin: such as ``https://app.example``.
        :param code: of which session.
        :param side: of this client.
        :param candidate: any JSON value but null.
        """
        return self._send(origin, {"code": code, "side": side.value, "candidate": candidate})

    def poll(
        self, origin: str, code: str, side: Side, *, wait: float = 0.0, since: int | None = None
    ) -> Deferred[Polled]:
        """
        Read what the other side has sent.

        :param origin: such as ``https://app.example``.
        :param code: of which session.
        :param side: of this client.
        :param wait: seconds to wait for something later than ``since``, 30 at most.
        :param since: the ``latest`` of the poll before.
        """
        body = {"code": code, "side": side.value, "wait": wait or None, "since": since}
        request = _request("POST", "/poll", origin, body=body, wait=wait, longest=MAX_PAGE)
        return self._exchanges.ask(request, lambda fields: _polled(fields, side))

    def _send(self, origin: str, body: dict[str, object]) -> Deferred[None]:
        return self._exchanges.ask(_request("POST", "/answer", origin, body=body), lambda _: None)


def _request(method: str, path: str, origin: str, *, token: str | None = None, **fields: Any) -> Request:
    headers = {"Origin": origin, **bearing(token)}
    return Request(method, path, headers=headers, missing=NotFound, **fields)


def _session(fields: Fields) -> Session:
    return Session(
        fields.text("code"),
        fields.text("info"),
        fields.text("offer"),
        tuple(fields.items("offerCandidates")),
        fields.integer("createdAt"),
        fields.integer("expiresAt"),
    )


def _polled(fields: Fields, side: Side) -> Polled:
    if side is Side.OFFERER:
        return Polled(fields.text_or_none("answer"), tuple(fields.items("answerCandidates")), fields.integer("latest"))
    return Polled(fields.text("offer"), tuple(fields.items("offerCandidates")), fields.integer("latest"))
