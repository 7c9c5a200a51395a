"""
The description of all routes in OpenAPI 3.1, made from the table of routes itself.

A route says which schemas and parameters it has; what they are is in :mod:`rendezvous.web.schemas` and
:mod:`rendezvous.web.parameters`. What every route answers, such as 413 to a long body, is added here, and so are the
worked requests (:mod:`rendezvous.web.examples`).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import attrs

from rendezvous._version import __version__
from rendezvous.limits import SignalingLimits
from rendezvous.web.examples import EXAMPLES
from rendezvous.web.examples.example import Examples
from rendezvous.web.examples.values import WEBSOCKET_ACCEPT
from rendezvous.web.parameters import parameters
from rendezvous.web.route import Route
from rendezvous.web.schemaparts import worked
from rendezvous.web.schemas import Schema, error_schema, schemas

__all__ = ["Vocabulary", "describe"]

#: What any route may answer: to a request that is malformed, late or too long, to a network that is banned, to a source
#: that is over its limits, or because of a fault or of a store out of reach.
EVERYWHERE = (400, 403, 408, 413, 414, 429, 431, 500, 501, 503)

_TAGS = {
    "about": "What the server says of itself.",
    "identity": "Registration and its end, for every protocol.",
    "rendezvous": "Addresses of UDP hole punchers.",
    "offers": "WebRTC signaling by topic.",
    "topics": "Topics, for both protocols of WebRTC signaling.",
    "sessions": "WebRTC signaling by code, isolated by Origin.",
    "connect": "Direct UDP paths between two clients, coordinated by the server.",
    "peerjs": "What the library PeerJS expects of its server.",
    "demo": "A page that shows what a browser can do with the server, and what it consists of.",
    "signal": "Messages to the subscribers of a topic over WebSockets, for y-webrtc and trystero.",
}

_DESCRIPTION = """\
Every error is `{"ok": false, "error": "<a sentence>", "code": "<a stable word>"}`. `HEAD` works where `GET` does,
`OPTIONS` is answered 204 at every path, and any other method 405. Readers must ignore keys that they do not know."""

_RETRY: Schema = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}
_REQUEST_ID: Schema = {"X-Request-ID": {"schema": {"type": "string", "pattern": "^[0-9a-f]{16}$"}}}
_HEADERS: dict[int, dict[str, Schema]] = {
    401: {"WWW-Authenticate": {"schema": {"const": "Bearer"}}},
    429: _RETRY,
    500: _REQUEST_ID,
    501: _REQUEST_ID,
    503: {**_RETRY, **_REQUEST_ID},
}

_OPENED: Schema = {
    "description": "A WebSocket. The request is a handshake of RFC 6455.",
    "headers": {
        "Upgrade": {"schema": {"const": "websocket"}},
        "Connection": {"schema": {"const": "Upgrade"}},
        "Sec-WebSocket-Accept": {"schema": {"type": "string"}, **worked(WEBSOCKET_ACCEPT)},
    },
}


@attrs.frozen
class Vocabulary:
    """
    The words that routes refer to by name.

    :ivar tags: with descriptions.
    :ivar bearer: what the credential of a route consists of.
    """

    title: str
    description: str
    tags: Mapping[str, str]
    schemas: Mapping[str, Schema]
    parameters: Mapping[str, Schema]
    examples: Examples
    bearer: str


def _public(limits: SignalingLimits) -> Vocabulary:
    return Vocabulary(
        "Rendezvous",
        _DESCRIPTION,
        _TAGS,
        schemas(limits),
        parameters(limits),
        EXAMPLES,
        "<private_id> or <client_id>:<private_id>",
    )


def describe(routes: Sequence[Route], limits: SignalingLimits, vocabulary: Vocabulary | None = None) -> dict[str, Any]:
    """
    Describe routes.

    :param limits: what their requests are held to.
    :param vocabulary: what they refer to; by default that of the public ports.
    :returns: an OpenAPI 3.1 document.
    :raises KeyError: a route names a schema, a parameter, a tag or a worked request that there is none of.
    """
    words = _public(limits) if vocabulary is None else vocabulary
    components = _Components(words)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        item = paths.setdefault(route.path.replace("<", "{").replace(">", "}"), {})
        item[route.method.lower()] = components.operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": words.title, "version": __version__, "description": words.description},
        # Wherever the routes are mounted, this document lies at their root.
        "servers": [{"url": "."}],
        "tags": [{"name": name, "description": description} for name, description in words.tags.items()],
        "paths": paths,
        "components": components.document(sorted({status for route in routes for status in statuses(route)})),
    }


class _Components:
    """What operations share."""

    def __init__(self, words: Vocabulary) -> None:
        self._words = words
        self._schemas = words.schemas
        self._parameters = words.parameters

    def document(self, statuses: Sequence[int]) -> dict[str, Any]:
        """:returns: the shared parts, with a response for each of these statuses."""
        return {
            "schemas": {**self._schemas, "Error": error_schema()},
            "parameters": self._parameters,
            "responses": {_named(status): _error(status) for status in statuses},
            "securitySchemes": {
                "credential": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": self._words.bearer,
                }
            },
        }

    def operation(self, route: Route) -> dict[str, Any]:
        """:returns: one route."""
        example = self._words.examples[route.example]
        described: dict[str, Any] = {
            "operationId": "-".join([route.method.lower(), *re.findall(r"[\w.]+", route.path)]),
            "tags": [_known(route.tag, self._words.tags)],
            "summary": _summary(route),
        }
        names = [*route.parts, *route.params]
        if names:
            described["parameters"] = [
                {"$ref": f"#/components/parameters/{_known(name, self._parameters)}"} for name in names
            ]
        if route.credential:
            described["security"] = [{"credential": []}]
        if route.request is not None:
            described["requestBody"] = {"required": True, "content": self._json(route.request, example.body)}
        refusals = {f"{status}": {"$ref": f"#/components/responses/{_named(status)}"} for status in statuses(route)}
        opened = {"101": _OPENED} if route.socket else {}
        described["responses"] = {**opened, **self._done(route, example.answer), **refusals}
        return described

    def _done(self, route: Route, answer: Any) -> Schema:
        """:returns: the answer when all went well, unless it is a WebSocket."""
        if route.response is not None:
            content = self._json(route.response, answer)
        elif route.media:
            content = {route.media: {"schema": {"type": "string"}, **worked(answer)}}
        else:
            return {}
        return {f"{route.status}": {"description": "Done.", "content": content}}

    def _json(self, name: str, value: Any) -> Schema:
        schema = {"$ref": f"#/components/schemas/{_known(name, self._schemas)}"}
        return {"application/json": {"schema": schema, **worked(value)}}


def statuses(route: Route) -> list[int]:
    """:returns: the statuses of the errors that a route may give, ascending."""
    found = {*EVERYWHERE, *route.errors}
    if route.credential:
        found.add(401)
    if route.request is not None:
        found.add(415)
    if route.socket:
        found |= {403, 426}
    if route.parts:
        found.add(404)
    return sorted(found)


def _known(name: str, among: Mapping[str, object]) -> str:
    if name not in among:
        raise KeyError(name)
    return name


def _named(status: int) -> str:
    return HTTPStatus(status).phrase.replace(" ", "")


def _error(status: int) -> Schema:
    response: Schema = {
        "description": HTTPStatus(status).phrase,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    return {**response, "headers": _HEADERS[status]} if status in _HEADERS else response


def _summary(route: Route) -> str:
    """:returns: the first sentence of the docstring, without markup."""
    paragraph = (inspect.getdoc(route.answer) or "").split("\n\n")[0]
    return re.split(r"(?<=\.)\s", " ".join(paragraph.split()))[0].replace("``", "")
