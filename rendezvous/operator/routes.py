"""All routes of the operators' port in one table, and its description in OpenAPI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from twisted.web.http import Request

from rendezvous.limits import SignalingLimits
from rendezvous.operator.bans import BanRoutes
from rendezvous.operator.clients import ClientRoutes
from rendezvous.operator.examples import EXAMPLES
from rendezvous.operator.listings import ListingRoutes
from rendezvous.operator.parts import Parts
from rendezvous.operator.schemas import TAGS, parameters, schemas
from rendezvous.operator.steering import SteeringRoutes
from rendezvous.web.openapi import Vocabulary, describe
from rendezvous.web.route import Route

__all__ = ["admin_routes", "vocabulary"]

_DESCRIPTION = """\
Every route but those of the page needs the token of operators. Times are seconds since the epoch. Every error is
`{"ok": false, "error": "<a sentence>", "code": "<a stable word>"}`. What changes something is logged with the address
of the sender, and with the name in the header `Rendezvous-Operator` if there is one. Readers must ignore keys that they
do not know."""


def vocabulary() -> Vocabulary:
    """:returns: what the routes refer to."""
    return Vocabulary(
        "Rendezvous, for operators",
        _DESCRIPTION,
        TAGS,
        schemas(),
        parameters(),
        EXAMPLES,
        "<the token of operators>",
    )


def admin_routes(parts: Parts, guarded: Sequence[Route], public: Sequence[Route] = ()) -> list[Route]:
    """
    :param parts: of the server.
    :param guarded: further routes that need the token.
    :param public: routes that need none.
    :returns: every route of the operators' port, and the one that describes them.
    """
    behind = [
        *guarded,
        *ClientRoutes(parts).routes(),
        *ListingRoutes(parts).routes(),
        *BanRoutes(parts).routes(),
        *SteeringRoutes(parts).routes(),
    ]
    routes = [*(attrs.evolve(route, credential=True) for route in behind), *public]
    return [*routes, _Description(routes, parts.store.limits).route]


class _Description:
    """The description of the routes, its own included."""

    def __init__(self, others: Sequence[Route], limits: SignalingLimits) -> None:
        self.route = Route(
            "GET", "/openapi.json", self.description, tag="operators", response="Description", credential=True
        )
        self._document = describe([*others, self.route], limits, vocabulary())

    async def description(self, request: Request) -> dict[str, Any]:
        """This description, in OpenAPI 3.1."""
        return self._document
