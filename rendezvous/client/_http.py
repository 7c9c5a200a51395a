"""One HTTP exchange with the server: a request with a credential and a JSON body, and a reply that has been checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar, cast
from urllib.parse import quote, urlencode, urlsplit

import attrs
from zope.interface import implementer

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse

from rendezvous.client._replies import MAX_BODY, Fields, Reply, exchange_error, read_body
from rendezvous.client._server_time import ServerTime
from rendezvous.client.errors import ClientError, ServerUnreachable
from rendezvous.client.records import Identity

__all__ = ["MAX_PAGE", "Exchanges", "Request", "Treq", "bearing", "segment"]

MAX_PAGE = 8 * 1024 * 1024
"""Bytes of a page of a listing that are read at most. The server cuts pages at 1 MiB; all else is less."""


T = TypeVar("T")


class Treq(Protocol):
    """The one thing that is needed of treq: ``treq.client.HTTPClient`` has it, and so have treq's test doubles."""

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Headers,
        data: IBodyProducer | None,
        allow_redirects: bool,
        unbuffered: bool,
        reactor: Any,
    ) -> Deferred[Any]:
        """
        Send a request.

        :returns: fires with an ``IResponse`` whose body is still to be read.
        """
        ...


@implementer(IBodyProducer)
class Body:
    """
    The bytes of a body, which are written at once. Those of Twisted need a reactor of their own.

    :param data: all of them.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write them."""
        consumer.write(self._data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Do nothing: all is written."""

    def resumeProducing(self) -> None:
        """Do nothing: all is written."""

    def stopProducing(self) -> None:
        """Do nothing: all is written."""


@attrs.frozen
class Request:
    """
    One request.

    :ivar method: of HTTP.
    :ivar path: below the base URL, its segments quoted.
    :ivar identity: whose credential to send; ``None`` for none.
    :ivar body: the members of a JSON object; those that are ``None`` are left out. ``None`` for no body.
    :ivar query: parameters; those that are ``None`` are left out.
    :ivar headers: further headers.
    :ivar wait: seconds that the server may hold the request, beyond the usual time of a request.
    :ivar patience: seconds that it may take beside ``wait``; ``None`` for those of the client.
    :ivar longest: bytes of the reply that are read at most.
    :ivar missing: what a plain 404 means.
    """

    method: str
    path: str
    identity: Identity | None = None
    body: Mapping[str, object] | None = None
    query: Mapping[str, object] = attrs.field(factory=dict)
    headers: Mapping[str, str] = attrs.field(factory=dict)
    wait: float = 0.0
    patience: float | None = None
    longest: int = MAX_BODY
    missing: type[ClientError] | None = None

    def target(self) -> str:
        """:returns: the path and the query."""
        query = urlencode({name: _parameter(value) for name, value in self.query.items() if value is not None})
        return f"{self.path}?{query}" if query else self.path

    def data(self) -> Body | None:
        """:returns: the body."""
        if self.body is None:
            return None
        members = {name: value for name, value in self.body.items() if value is not None}
        return Body(json.dumps(members, separators=(",", ":")).encode())

    def all_headers(self) -> Headers:
        """:returns: the headers, with the credential and the type of the body."""
        headers = Headers({"Accept": ["application/json"]})
        if self.identity is not None:
            headers.setRawHeaders("Authorization", [self.identity.credential])
        if self.body is not None:
            headers.setRawHeaders("Content-Type", ["application/json"])
        for name, value in self.headers.items():
            headers.setRawHeaders(name, [value])
        return headers


class Exchanges:
    """
    Sends requests to one server, and learns the time of the server from its replies.

    :param base_url: where the server's routes begin.
    :param treq: what sends requests.
    :param reactor: the reactor that times the requests.
    :param timeout: seconds that one request may take, up to the last byte of its reply.
    :ivar time: the server's time.
    :ivar round_trip: the round trip to the server, in seconds, as the shortest exchange shows it that the server did
        not hold; ``None`` before the first.
    :raises ValueError: when ``base_url`` is not an ``http`` or ``https`` URL with a host.
    """

    def __init__(self, base_url: str, treq: Treq, reactor: Any, timeout: float) -> None:
        _check_url(base_url)
        self._base_url = base_url.rstrip("/")
        self._treq = treq
        self._reactor = reactor
        self._timeout = timeout
        self.time = ServerTime(reactor.seconds)
        self.round_trip: float | None = None

    @property
    def host(self) -> str:
        """:returns: the host of the base URL: a name or an IP address."""
        return cast(str, urlsplit(self._base_url).hostname)

    async def call(self, request: Request) -> Fields:
        """
        Send a request and read its reply.

        :returns: the members of the JSON object that it is.
        :raises ClientError: when there is no good reply; the subclass says why.
        """
        url = self._base_url + request.target()
        began = self._reactor.seconds()
        reply: Reply = await self._in_time(request, url, Deferred.fromCoroutine(self._exchange(request, url)))
        fields = reply.fields(missing=request.missing)
        self._learn(fields, began, held=request.wait > 0)
        return fields

    def ask(self, request: Request, read: Callable[[Fields], T]) -> Deferred[T]:
        """
        Send a request and read its reply.

        :param read: takes the members of the JSON object that the reply is.
        :returns: fires with what ``read`` gives; fails as :meth:`call`. It can be cancelled.
        """

        async def ask() -> T:
            return read(await self.call(request))

        return Deferred.fromCoroutine(ask())

    async def open(self, request: Request) -> IResponse:
        """
        Send a request whose reply is a stream.

        :returns: the response, with the status 200 and a body that has not been read.
        :raises ClientError: when it has another status; the subclass says why.
        """
        url = self._base_url + request.target()
        response = await self._in_time(request, url, self._send(request, url))
        if response.code == 200:
            return cast(IResponse, response)
        body = await self._in_time(request, url, read_body(response, request.longest))
        raise Reply(response.code, response.headers, body).error(request.missing)

    async def _in_time(self, request: Request, url: str, work: Deferred[Any]) -> Any:
        timeout = (self._timeout if request.patience is None else request.patience) + request.wait
        try:
            return await work.addTimeout(timeout, cast(IReactorTime, self._reactor), _too_late(url))
        except Exception as reason:
            error = exchange_error(reason, url)
            if error is reason:
                raise
            raise error from reason

    async def _exchange(self, request: Request, url: str) -> Reply:
        response = await self._send(request, url)
        return Reply(response.code, response.headers, await read_body(response, request.longest))

    def _send(self, request: Request, url: str) -> Deferred[Any]:
        # A credential must not follow a redirect, and our server sends none. The body is read here, not by treq,
        # since only here is its length limited.
        return self._treq.request(
            request.method,
            url,
            headers=request.all_headers(),
            data=request.data(),
            allow_redirects=False,
            unbuffered=True,
            reactor=self._reactor,
        )

    def _learn(self, fields: Fields, began: float, *, held: bool) -> None:
        ended = self._reactor.seconds()
        if not held and ended >= began:
            # A new connection takes one round trip more, and with TLS two.
            first = (ended - began) / (3 if self._base_url.startswith("https:") else 2)
            self.round_trip = first if self.round_trip is None else min(ended - began, self.round_trip)
        timestamp = fields.values.get("timestamp")
        if isinstance(timestamp, int | float) and not isinstance(timestamp, bool):
            # The server writes its answer last, so of a held request only the end counts.
            self.time.learn(timestamp, ended if held else (began + ended) / 2)


def bearing(token: str | None) -> Mapping[str, str]:
    """
    :param token: a registration token, or ``None`` if the server asks for none.
    :returns: the headers that show it.
    """
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def segment(text: str) -> str:
    """
    :param text: anything.
    :returns: the text as one segment of a path.
    """
    # A client would take these two out of the path, also when they are quoted.
    return {".": "%2E", "..": "%2E%2E"}.get(text) or quote(text, safe="")


def _parameter(value: object) -> object:
    return ",".join(map(str, value)) if isinstance(value, Iterable) and not isinstance(value, str | bytes) else value


def _too_late(url: str) -> Callable[[Any, float], Failure]:
    # The reason is always the cancelling, which says less than this.
    return lambda _reason, timeout: Failure(ServerUnreachable(f"no whole reply from {url} within {timeout:g} s"))


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    # A password, a query or a fragment would be lost, or shown in an error.
    if not whole or parts.username is not None or parts.query or parts.fragment:
        raise ValueError("the base URL must be a plain http or https one, such as http://example.net:5025")
