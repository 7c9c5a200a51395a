"""Attempts to connect over HTTP. Times on the wire are milliseconds since the epoch."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from twisted.web.http import Request

from rendezvous.clock import ServerClock
from rendezvous.core.attempts.attempt import AttemptView, Given, Go, Outcome
from rendezvous.core.attempts.candidates import candidate
from rendezvous.core.attempts.strategy import reason_of
from rendezvous.core.connect import Candidate, Via
from rendezvous.core.identity import parse_client_id
from rendezvous.core.notes import AttemptSide, PeerEvents
from rendezvous.errors import Malformed, NotFound
from rendezvous.interfaces import IStore
from rendezvous.limits import ATTEMPT_BODY, AttemptLimits
from rendezvous.web._json import read_object
from rendezvous.web.fields import Body, Query
from rendezvous.web.ice import IceServers
from rendezvous.web.quotas import Quotas
from rendezvous.web.records import ahead_of, invitation_fields
from rendezvous.web.route import Route, caller
from rendezvous.web.sources import source_of
from rendezvous.web.waiting import long_poll

__all__ = ["AttemptRoutes"]

LIMITS = AttemptLimits()

_ATTEMPT = re.compile(r"[0-9A-Fa-f]{16}", re.ASCII)


class AttemptRoutes:
    """``protocol/connect``, Routes."""

    def __init__(self, store: IStore, clock: ServerClock, quotas: Quotas, servers: IceServers) -> None:
        self._store = store
        self._clock = clock
        self._seconds = clock.seconds
        self._quotas = quotas
        self._servers = servers
        self._ahead = ahead_of(clock)

    def routes(self) -> list[Route]:
        """:returns: the routes."""
        route = partial(Route, tag="connect", credential=True)
        shown = partial(route, response="Attempt")
        named = partial(shown, body=ATTEMPT_BODY, errors=(409,))
        one = "/attempts/<attempt>"
        return [
            named("POST", "/peer/<client_id>/connect", self.begin, request="NewAttempt", status=201),
            route("GET", "/attempts", self.invitations, params=("wait", "invited-since"), response="Invitations"),
            named("POST", f"{one}/accept", self.accept, request="NewAttempt"),
            named("POST", f"{one}/candidates", self.candidates, request="AttemptCandidates"),
            shown("GET", one, self.attempt, params=("wait", "version")),
            shown("POST", f"{one}/done", self.done, request="Outcome", errors=(409,)),
            shown("DELETE", one, self.end),
        ]

    async def begin(self, request: Request, client_id: str) -> dict[str, Any]:
        """Ask for a direct path to a peer, which is invited."""
        now = self._seconds()
        own, peer = await caller(request, self._store, now), _peer(client_id)
        given = _given(Body(read_object(request)))
        view = await self._store.begin_attempt(own, peer, given, now, source_of(request))
        return self._shown(request, own, view)

    async def invitations(self, request: Request) -> dict[str, Any]:
        """Invitations that wait for an answer; with ``wait``, as soon as there is one after ``since``."""
        query = Query(request)
        since, wait = query.integer("since", 0), query.wait()
        own = await caller(request, self._store, self._seconds())
        found = await long_poll(
            self._quotas.waiting(source_of(request)),
            self._store,
            self._clock,
            PeerEvents(own.hex()),
            wait,
            lambda: self._store.invitations(own, self._seconds()),
            lambda found: any(each.seq > (since or 0) for each in found),
            lambda: caller(request, self._store, self._seconds()),
        )
        ahead = self._ahead()
        return {"attempts": [{**invitation_fields(each, ahead), "seq": each.seq} for each in found]}

    async def accept(self, request: Request, attempt: str) -> dict[str, Any]:
        """Accept an invitation. A second time replaces what the caller has said before."""
        now = self._seconds()
        own, name = await caller(request, self._store, now), _attempt(attempt)
        given = _given(Body(read_object(request)))
        return self._shown(request, own, await self._store.accept_attempt(own, name, given, now))

    async def candidates(self, request: Request, attempt: str) -> dict[str, Any]:
        """Replace the candidates of the caller."""
        now = self._seconds()
        own, name = await caller(request, self._store, now), _attempt(attempt)
        found = _candidates(Body(read_object(request)))
        return self._shown(request, own, await self._store.name_candidates(own, name, found, now))

    async def attempt(self, request: Request, attempt: str) -> dict[str, Any]:
        """An attempt as the caller sees it; with ``wait``, as soon as its version is greater than ``version``."""
        query = Query(request)
        version, wait = query.integer("version", 0), query.wait()
        own, name = await caller(request, self._store, self._seconds()), _attempt(attempt)
        first = await self._store.attempt(own, name, self._seconds())
        view = await long_poll(
            self._quotas.waiting(source_of(request)),
            self._store,
            self._clock,
            AttemptSide(name.hex(), first.role),
            wait,
            lambda: self._store.attempt(own, name, self._seconds()),
            lambda seen: version is None or seen.version > version,
            lambda: caller(request, self._store, self._seconds()),
        )
        return self._shown(request, own, view)

    async def done(self, request: Request, attempt: str) -> dict[str, Any]:
        """Say whether there is a path."""
        now = self._seconds()
        own, name = await caller(request, self._store, now), _attempt(attempt)
        outcome = _outcome(Body(read_object(request)))
        return self._shown(request, own, await self._store.report_attempt(own, name, outcome, now))

    async def end(self, request: Request, attempt: str) -> dict[str, Any]:
        """Decline an invitation, or give up."""
        now = self._seconds()
        own, name = await caller(request, self._store, now), _attempt(attempt)
        return self._shown(request, own, await self._store.end_attempt(own, name, now))

    def _shown(self, request: Request, own: bytes, view: AttemptView) -> dict[str, Any]:
        """:returns: an attempt as its side sees it. The time to the first probe runs from this moment on."""
        fields: dict[str, Any] = {
            "attempt": view.attempt.hex(),
            "state": view.state,
            "role": view.role,
            "version": view.version,
            "expires": int(view.expires * 1000) + self._ahead(),
            "round": view.round,
            "peer": {"client_id": view.peer.hex()},
        }
        if view.takes_part:
            fields["iceServers"] = self._servers.of(request, own)
        if view.go is not None:
            fields |= self._go(view.go)
            fields["peer"] |= {
                "mapping": view.go.peer_mapping,
                "candidates": [
                    {"kind": each.kind, "host": each.address[0], "port": each.address[1]} for each in view.go.candidates
                ],
            }
        if view.code is not None:
            fields |= {"code": view.code, "reason": reason_of(view.code, has_relay=self._servers.has_turn)}
        return fields

    def _go(self, go: Go) -> dict[str, Any]:
        hold = max(0, round((go.starts - self._seconds()) * 1000))
        return {"key": go.key.hex(), "hold": hold, "strategy": go.strategy, "mapping": go.mapping}


def _peer(text: str) -> bytes:
    try:
        return parse_client_id(text)
    except NotFound as error:
        raise NotFound(error.message, code="no-such-peer") from None


def _attempt(text: str) -> bytes:
    """:raises NotFound: the text is not the id of an attempt."""
    if _ATTEMPT.fullmatch(text) is None:
        raise NotFound("There is no such attempt: its id is 16 hex digits.", code="no-such-attempt")
    return bytes.fromhex(text)


def _given(body: Body) -> Given:
    rtt = body.number("rtt")
    candidates = _candidates(body) if "candidates" in body else ()
    return Given(candidates, min(rtt / 1000, LIMITS.rtt), body.flag("birthday"))


def _candidates(body: Body) -> tuple[Candidate, ...]:
    listed = body.objects("candidates", LIMITS.candidates)
    found = []
    for each in listed:
        kind, host, port = each.text("kind"), each.text("host"), each.optional_integer("port")
        if port is None:
            raise Malformed(f"{each.prefix}port is missing.", code="missing-field")
        found.append(candidate(kind, host, port, each.prefix))
    return tuple(found)


def _outcome(body: Body) -> Outcome:
    if "ok" not in body:
        raise Malformed("ok is missing.", code="missing-field")
    ok, via, code = body.flag("ok"), body.optional_text("via"), body.optional_text("code")
    body.number("ms")
    if via is not None and via not in list(Via):
        raise Malformed(f"via must be one of {', '.join(Via)}.")
    return Outcome(ok, None if via is None else Via(via), code)
