"""
Finds the route of a request, and writes its answer.

A request that is exactly a route's is answered straight from the table of routes. Klein, which is made from the same
table, answers the others: ``HEAD``, 404, and 405 with the methods that the path takes. Its matching and its Deferreds
take more time than a look-up of an address, and it leaves a reference cycle behind for each request.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from operator import itemgetter
from typing import Any, cast

from klein import Klein

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from rendezvous.eager import eager
from rendezvous.errors import RendezvousError
from rendezvous.web._json import log_failure, write_error, write_failure, write_object
from rendezvous.web.gate import Gate
from rendezvous.web.pages import encode
from rendezvous.web.request import CappedRequest
from rendezvous.web.route import Route
from rendezvous.web.sending import SMALL
from rendezvous.web.sources import source_of

__all__ = ["RouteTable", "Router"]


class RouteTable:
    """
    The routes by method and path.

    The paths of a method and a number of segments are put together by their shape: which of their segments are fixed.
    ``/peer/<client_id>/udp`` and ``/offers/<offer>/answer`` have the same shape, so one look-up finds either. Where
    shapes overlap, the one whose fixed segments come first wins, as with Klein.

    :param routes: the table of routes.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self._shapes: dict[tuple[bytes, int], list[_Shape]] = {}
        for route in routes:
            pattern = route.path.split("/")[1:]
            fixed = [not part.startswith("<") for part in pattern]
            shapes = self._shapes.setdefault((route.method.encode("ascii"), len(pattern)), [])
            shape = next((shape for shape in shapes if shape.fixed == fixed), None)
            if shape is None:
                shape = _Shape(fixed)
                shapes.append(shape)
                shapes.sort(key=lambda shape: shape.fixed, reverse=True)
            shape.routes[shape.name([part.encode("ascii") for part in pattern])] = route

    def find(self, method: bytes, segments: Sequence[bytes]) -> tuple[Route, list[str]] | None:
        """
        :param segments: the parts of the path, percent-encoded as :func:`urllib.parse.quote` does it.
        :returns: the route, and the parts of the path that vary; ``None`` if no route has this method and path.
        """
        for shape in self._shapes.get((method, len(segments)), ()):
            route = shape.routes.get(shape.name(segments))
            if route is not None:
                parts = [segments[place].decode("ascii") for place in shape.varying]
                return (route, parts) if all(parts) else None
        return None


class _Shape:
    """
    The routes of one shape.

    :param fixed: which segments are fixed.
    :ivar varying: the places of the others.
    :ivar name: takes the fixed segments out of a path; they are the key of ``routes``.
    """

    def __init__(self, fixed: list[bool]) -> None:
        self.fixed = fixed
        self.varying = [place for place, is_fixed in enumerate(fixed) if not is_fixed]
        self.name: Callable[[Sequence[bytes]], Any] = itemgetter(*(n for n, is_fixed in enumerate(fixed) if is_fixed))
        self.routes: dict[Any, Route] = {}


class Router(Resource):
    """
    The resource that finds the route of a request and writes its answer as JSON.

    :param routes: the table of routes.
    :param check_running: raises if the store cannot be used, because the server has not been started or has stopped.
    :param gate: sends what is long, and counts what the routes refuse because of a limit.
    :ivar table: what is found without Klein.
    """

    isLeaf = True

    def __init__(self, routes: Sequence[Route], check_running: Callable[[], None], gate: Gate) -> None:
        super().__init__()
        self._check_running = check_running
        self._gate = gate
        self.table = RouteTable(routes)
        self._klein = self._made_of(routes)

    def render(self, request: Any) -> Any:
        """Answer."""
        found = self.table.find(request.method, request.postpath)
        if found is None:
            return self._klein.render(request)
        route, parts = found
        request.route = route.path
        verb = self._answer(request, route, parts)
        try:
            awaited = verb.send(None)
        except StopIteration as done:
            return done.value
        except Exception as error:
            return write_error(request, error, self._gate.request_ids)
        _Waiting(request, verb, awaited, self._gate)
        return NOT_DONE_YET

    async def _answer(self, request: Request, route: Route, parts: Sequence[str]) -> bytes | int:
        """:returns: the body, to be written; ``NOT_DONE_YET`` if there is none, because HTTP has ended."""
        if route.needs_store:
            self._check_running()
        try:
            body = await route.answer(request, *parts)
            if body is None:
                return b""
            if isinstance(body, int):
                return body
            if isinstance(body, list):
                return await self._gate.sender.send(request, body)
            data = body if isinstance(body, bytes) else encode(body)
            if len(data) > SMALL:
                return await self._gate.sender.send(request, [data])
        except RendezvousError as error:
            self._gate.refusals.note(error, source_of(request))
            raise
        return write_object(request, data, route.status)

    def _made_of(self, routes: Sequence[Route]) -> IResource:
        app = Klein()
        # Klein would otherwise redirect to a tidier path; a path of ours is right as it is, or nothing is there.
        app.url_map.merge_slashes = False
        for number, route in enumerate(routes):
            app.route(route.path, methods=[route.method], endpoint=f"{number}", strict_slashes=True)(
                self._renderer(route)
            )

        def failed(request: Any, failure: Failure) -> bytes:
            return write_failure(request, failure, self._gate.request_ids)

        # Klein's types ask for keywords of a function that Klein itself calls by position.
        app.handle_errors(Exception)(cast(Any, failed))
        resource: IResource = app.resource()
        return resource

    def _renderer(self, route: Route) -> Callable[..., Any]:
        def render(request: Any, **parts: str) -> Any:
            request.route = route.path
            return eager(self._answer(request, route, list(parts.values())))

        return render


class _Waiting:
    """
    A request whose route waits for Deferreds. It writes the answer at the end, and cancels the route if the client
    leaves first.

    It does what ``Deferred.fromCoroutine`` does with callbacks that write, in a third of the time.

    :param request: is answered.
    :param verb: the coroutine that returns the body. It has been started.
    :param awaited: the first Deferred that it waits for.
    :param gate: notes that it waits, and names the request if it fails.
    :ivar host: the address that the request came from.
    """

    _end: RendezvousError | None = None

    def __init__(self, request: Any, verb: Coroutine[Any, Any, Any], awaited: Deferred[Any], gate: Gate) -> None:
        self._request = request
        self._verb = verb
        self._awaited = awaited
        self._held, self._ids = gate.held, gate.request_ids
        self.host: str = getattr(request, "source_host", "")
        gate.held.add(self)
        if isinstance(request, CappedRequest):
            request.left = self._left
        else:
            request.notifyFinish().addErrback(lambda _: self._left())
        awaited.addCallbacks(self._go_on, self._fail)

    def end(self, error: RendezvousError) -> None:
        """Answer with an error, and wait no longer."""
        self._end = error
        self._awaited.cancel()

    def _left(self) -> None:
        self._request = None
        self._awaited.cancel()

    def _go_on(self, _: Any) -> None:
        # The coroutine takes the result from the Deferred itself.
        self._step(self._verb.send, None)

    def _fail(self, failure: Failure) -> None:
        self._step(self._verb.throw, failure.value)
        # The frames of the traceback refer to the failure: they would stay until the garbage is collected.
        failure.cleanFailure()

    def _step(self, step: Callable[[Any], Any], value: Any) -> None:
        try:
            awaited = step(value)
        except StopIteration as done:
            self._held.remove(self)
            self._write(done.value)
        except Exception as error:
            self._held.remove(self)
            self._raised(self._end if self._end is not None and isinstance(error, CancelledError) else error)
        else:
            self._awaited = awaited
            awaited.addCallbacks(self._go_on, self._fail)

    def _raised(self, error: Exception) -> None:
        if self._request is not None:
            self._write(write_error(self._request, error, self._ids))
        elif not isinstance(error, CancelledError | RendezvousError):
            log_failure(Failure(error), self._ids.draw())

    def _write(self, body: bytes | int) -> None:
        request = self._request
        if request is None or isinstance(body, int):
            return
        try:
            request.write(body)
            request.finish()
        except Exception:
            log_failure(Failure(), self._ids.draw())
