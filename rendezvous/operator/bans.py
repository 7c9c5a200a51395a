"""The routes for bans: list, ban, lift."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import deferLater
from twisted.web.http import Request

from rendezvous.core.bans import Ban
from rendezvous.errors import Malformed
from rendezvous.operator.audit import operator_of, record, to_the_end
from rendezvous.operator.parts import Parts
from rendezvous.web._json import read_object
from rendezvous.web.fields import Body, decode_segment
from rendezvous.web.route import Route

__all__ = ["BanRoutes", "ban_json"]


def ban_json(ban: Ban) -> dict[str, Any]:
    """:returns: a ban as operators see it."""
    until = None if ban.until is None else round(ban.until, 3)
    return {"target": ban.target, "until": until, "reason": ban.reason, "since": round(ban.since, 3)}


#: Bans that are made into JSON in one turn of the reactor, in half a millisecond.
SHOWN = 1000


class BanRoutes:
    """The routes for bans."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        """:returns: the routes."""
        return [
            Route("GET", "/bans", self.list, tag="bans", response="Bans"),
            Route("POST", "/bans", self.ban, tag="bans", request="NewBan", response="Ban", status=201),
            Route("DELETE", "/bans/<target>", self.lift, tag="bans", response="Ban"),
        ]

    async def list(self, request: Request) -> dict[str, Any]:
        """The bans that hold now, the latest first."""
        clock, shown = self._parts.clock, list[dict[str, Any]]()
        bans = self._parts.store.bans.all(clock.seconds())
        for first in range(0, len(bans), SHOWN):
            if first:
                await deferLater(clock, 0.0)
            shown += map(ban_json, bans[first : first + SHOWN])
        return {"bans": shown}

    async def ban(self, request: Request) -> dict[str, Any]:
        """Ban a network or a client, for a time or for good; a ban of the same target is replaced."""
        parts, operator = self._parts, operator_of(request)
        body = Body(read_object(request))
        target, reason, seconds = body.text("target"), body.optional_text("reason") or "", _seconds(body)

        async def change() -> Ban:
            ban = await parts.store.ban(target, seconds, reason, parts.clock.seconds())
            how_long = "for good" if seconds is None else f"for {seconds:.10g} s"
            record(operator, f"{ban.target} was banned {how_long}" + (f" ({ban.reason})" if ban.reason else ""))
            return ban

        return ban_json(await to_the_end(change()))

    async def lift(self, request: Request, target: str) -> dict[str, Any]:
        """End a ban."""
        parts, operator, text = self._parts, operator_of(request), decode_segment(target, "target")

        async def change() -> Ban:
            ban = await parts.store.lift(text, parts.clock.seconds())
            record(operator, f"the ban of {ban.target} was lifted")
            return ban

        return ban_json(await to_the_end(change()))


def _seconds(body: Body) -> float | None:
    if "seconds" not in body:
        return None
    value = body.value("seconds")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Malformed("seconds must be a number, or null for a ban without an end.")
    # A greater number than a float holds is refused with those that are too great.
    return float(min(value, 1e18))
