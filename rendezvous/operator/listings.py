"""The routes for lists: offers, sessions, topics, WebSockets, attempts, and refusals."""

from __future__ import annotations

from collections import Counter
from heapq import nsmallest
from typing import Any

from twisted.web.http import Request

from rendezvous.core.attempts.attempt import Ended
from rendezvous.core.attempts.records import AttemptRecord
from rendezvous.core.connect import AttemptState
from rendezvous.core.identity import parse_client_id
from rendezvous.core.signaling.offers import Offer
from rendezvous.counters import DROPPED_DATAGRAMS
from rendezvous.errors import Malformed
from rendezvous.inviting import ATTEMPTS
from rendezvous.operator.clients import PAGE, PAGE_MAX
from rendezvous.operator.parts import Parts
from rendezvous.refusals import FULL_TABLES, LIMITED_SOURCES
from rendezvous.web.fields import Query
from rendezvous.web.pages import number_after
from rendezvous.web.route import Route
from rendezvous.web.sockets.socket import Socket

__all__ = ["ListingRoutes"]


class ListingRoutes:
    """The routes for lists."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        """:returns: the routes."""

        def listing(path: str, answer: Any, tag: str, response: str, *params: str) -> Route:
            return Route("GET", path, answer, tag=tag, params=params, response=response)

        return [
            listing("/offers", self.offers, "signaling", "Offers", "limit", "after"),
            listing("/sessions", self.sessions, "signaling", "Sessions", "limit", "after"),
            listing("/topics", self.topics, "signaling", "Topics", "startsWith", "limit", "offset"),
            listing("/sockets", self.sockets, "signaling", "Sockets", "limit", "after"),
            listing("/attempts", self.attempts, "attempts", "Attempts", "client", "limit", "after"),
            listing("/attempt-pairs", self.pairs, "attempts", "AttemptPairs"),
            listing("/limited", self.limited, "limits", "Limited"),
        ]

    async def offers(self, request: Request) -> dict[str, Any]:
        """The offers, in the order in which they end; without their descriptions, which belong to clients."""
        return await self._offers(request, "offers", sessions=False)

    async def sessions(self, request: Request) -> dict[str, Any]:
        """The sessions, in the order in which they end; without their codes, which are secrets of clients."""
        return await self._offers(request, "sessions", sessions=True)

    async def _offers(self, request: Request, name: str, *, sessions: bool) -> dict[str, Any]:
        query, parts = Query(request), self._parts
        limit, now = query.limit(PAGE, PAGE_MAX), parts.clock.seconds()
        page = await parts.queries.offers(_position(query.text("after")), limit, now, sessions=sessions)
        shown = self._session if sessions else self._offer
        following = None if page.next is None else f"{page.next[0]}.{page.next[1]}"
        return {name: [shown(offer) for offer in page.items], "next": following}

    def _common(self, offer: Offer) -> dict[str, Any]:
        return {
            "topics": list(offer.topics),
            "network": offer.source.subscriber or None,
            "created": round(offer.created_at / 1000, 3),
            "expires": self._parts.time(offer.expires_at / 1000),
            "answered": None if offer.answer is None else round(offer.answer.answered_at / 1000, 3),
            "size": offer.size,
        }

    def _offer(self, offer: Offer) -> dict[str, Any]:
        return {"id": offer.id, "client_id": offer.owner, "has_secret": bool(offer.secret), **self._common(offer)}

    def _session(self, offer: Offer) -> dict[str, Any]:
        return {"origin": offer.namespace, **self._common(offer)}

    async def topics(self, request: Request) -> dict[str, Any]:
        """The topics of offers, those with most peers first."""
        query, parts = Query(request), self._parts
        page = await parts.store.topics(
            query.limit(PAGE, parts.store.limits.page_max),
            query.integer("offset", 0) or 0,
            query.text("startsWith") or "",
            parts.clock.seconds(),
        )
        return {"topics": [{"topic": topic, "peers": peers} for topic, peers in page.items], "total": page.total}

    async def sockets(self, request: Request) -> dict[str, Any]:
        """The open WebSockets, the oldest first."""
        query, parts = Query(request), self._parts
        limit, after = query.limit(PAGE, PAGE_MAX), number_after(query.text("after")) or 0
        later = (socket for socket in parts.sockets if socket.number > after)
        found = nsmallest(limit + 1, later, key=lambda socket: socket.number)
        more = len(found) > limit
        return {
            "sockets": [self._socket(socket) for socket in found[:limit]],
            "next": str(found[limit - 1].number) if more else None,
        }

    def _socket(self, socket: Socket) -> dict[str, Any]:
        return {
            "kind": socket.conversation.kind,
            "client_id": socket.conversation.peer,
            "host": socket.host or None,
            "since": self._parts.time(socket.since),
            "unread": socket.writer.unread,
        }

    async def attempts(self, request: Request) -> dict[str, Any]:
        """Attempts to connect, the latest first: those that go on and the last that have ended, and why."""
        query = Query(request)
        client, limit, after = query.text("client"), query.limit(PAGE, PAGE_MAX), number_after(query.text("after"))
        peer = None if client is None else parse_client_id(client)
        found = await self._parts.queries.attempts(peer, after, limit + 1)
        return {
            "attempts": [self._attempt(each) for each in found[:limit]],
            "next": str(found[limit - 1].number) if len(found) > limit else None,
        }

    def _attempt(self, each: AttemptRecord) -> dict[str, Any]:
        time, ok = self._parts.time, each.state is AttemptState.DONE
        return {
            "attempt": each.id.hex(),
            "state": each.state.value,
            "begun": time(each.begun),
            "ended": None if each.ended is None else time(each.ended),
            "controlling": each.controlling.hex(),
            "controlled": each.controlled.hex(),
            "mappings": None if each.mappings is None else [mapping.value for mapping in each.mappings],
            "strategy": None if each.strategy is None else each.strategy.value,
            "via": each.result if ok else None,
            "code": each.result if each.state is AttemptState.FAILED else None,
            "ok": None if each.ended is None else ok,
            "why": each.why(has_relay=self._parts.has_relay()),
        }

    async def pairs(self, request: Request) -> dict[str, Any]:
        """How many attempts of each pair of NAT mappings have found a path since the start, and how many have not."""
        ended: Counter[Ended] = self._parts.counters.family(ATTEMPTS)
        found: dict[tuple[str, ...] | None, list[int]] = {}
        for each, count in ended.items():
            pair = None if each.mappings is None else tuple(mapping.value for mapping in each.mappings)
            found.setdefault(pair, [0, 0])[not each.ok] += count
        return {
            "pairs": [
                {"mappings": None if pair is None else list(pair), "ok": ok, "failed": failed}
                for pair, (ok, failed) in sorted(found.items(), key=lambda item: item[0] or ())
            ]
        }

    async def limited(self, request: Request) -> dict[str, Any]:
        """What limits and full tables have refused since the start, and to which networks."""
        counters = self._parts.counters
        return {
            "limits": _texts(counters.family(LIMITED_SOURCES)),
            "full": _texts(counters.family(FULL_TABLES)),
            "dropped": _texts(counters.family(DROPPED_DATAGRAMS)),
            "networks": [
                {
                    "network": each.network,
                    "reason": each.reason,
                    "times": each.times,
                    "last": self._parts.time(each.last),
                }
                for each in counters.limited.worst()
            ],
        }


def _texts(counts: Counter[Any]) -> dict[str, int]:
    return {str(reason): count for reason, count in counts.items()}


def _position(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    end, dot, number = text.partition(".")
    first, second = number_after(end), number_after(number)
    if not dot or first is None or second is None:  # pragma: no cover
        raise Malformed("after is not what this listing has given.")
    return first, second
