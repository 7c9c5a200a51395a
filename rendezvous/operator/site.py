"""The port of operators: routes behind their token, on a site of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource, Resource

from rendezvous.clock import WorkingTime
from rendezvous.counters import Counters
from rendezvous.errors import Forbidden, TooMany, Unauthorized
from rendezvous.limits import SourceLimits, UnreadLimits
from rendezvous.operator.token import Token
from rendezvous.web._json import write_error
from rendezvous.web.bodies import BodyLimits
from rendezvous.web.cors import Cors
from rendezvous.web.fields import header
from rendezvous.web.gate import Gate, make_gate
from rendezvous.web.quotas import Quotas
from rendezvous.web.root import RootResource
from rendezvous.web.route import Route
from rendezvous.web.router import Router
from rendezvous.web.site import RendezvousSite

__all__ = ["CONNECTIONS", "admin_site"]

#: Connections of operators and of what collects metrics.
CONNECTIONS = 200


class Guarded(Resource):
    """
    What only those may use who show the token.

    :param behind: what the token opens.
    :param token: the token.
    :param gate: names requests that fail. It does not limit how many requests a source sends: operators may have the
        address of others, behind a proxy or on the server's own machine, and must not wait for those.
    :param clock: the time of the limits here: one for requests with the token, and one for those without it.
    :param public: paths that need none: the files of the page, which hold no data.
    """

    isLeaf = True

    def __init__(
        self, behind: IResource, token: Token, gate: Gate, clock: IReactorTime, public: Collection[bytes]
    ) -> None:
        super().__init__()
        self._behind, self._token, self._gate, self._public = behind, token, gate, public
        self._operators, self._others = (Quotas(SourceLimits(), clock) for _ in range(2))

    def render(self, request: Any) -> Any:
        """Answer, or say that the token is missing; also where there is nothing, so that only operators learn that."""
        # A page of another site cannot frame the dashboard, nor learn what it answers.
        for name, value in _FIELDS:
            request.setHeader(name, value)
        try:
            if self._has_token(request):
                _check_site(request)
        except Exception as error:
            request.is_over_rate = isinstance(error, TooMany)
            return write_error(request, error, self._gate.request_ids)
        return self._behind.render(request)

    def _has_token(self, request: Any) -> bool:
        """
        Count a request.

        :returns: whether it has the token. If not, it needs none.
        :raises Unauthorized: it needs one.
        :raises TooMany: its source sends too many with the token, or without it.
        """
        try:
            self._token.check(header(request, b"Authorization"))
        except Unauthorized:
            self._others.request(request.source)
            if b"/".join(request.postpath) in self._public and request.method in (b"GET", b"HEAD"):
                return False
            raise
        self._operators.request(request.source)
        return True


_FIELDS = (
    (b"Content-Security-Policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"X-Frame-Options", b"DENY"),
)


def _check_site(request: Any) -> None:
    """
    Refuse a change that a page of another site asks for. No browser sends the token by itself, as it is no cookie. This
    check also holds against a page that knows the token.

    :raises Forbidden: ``other-site``.
    """
    if request.method in (b"GET", b"HEAD"):
        return
    site, origin = request.getHeader(b"Sec-Fetch-Site"), request.getHeader(b"Origin")
    is_other = site not in (None, b"same-origin", b"none")
    if origin is not None:
        _, separator, host = origin.partition(b"://")
        is_other |= not separator or host != request.getHeader(b"Host")
    if is_other:
        raise Forbidden("Pages of other sites may change nothing here.", code="other-site")


def admin_site(
    routes: Sequence[Route],
    token: Token,
    reactor: IReactorTime,
    wall: Callable[[], float],
    random: Callable[[int], bytes],
    working: WorkingTime,
    public: Collection[bytes] = (),
) -> RendezvousSite:
    """
    Make the site of operators.

    It has limits and counts of its own: a flood of the public ports must not keep operators out. When the token is
    replaced, what was begun with the old one ends, such as streams of updates.

    :param routes: the table of its routes.
    :param token: what opens them.
    :param wall: seconds since the epoch, for the ``Date`` of answers.
    :param random: gives that many random bytes.
    :param working: for how long the reactor has worked.
    :param public: paths that need no token.
    """
    gate = make_gate(SourceLimits(requests=0.0), UnreadLimits(), (), reactor, Counters(), random, working=working)

    def end_all() -> None:
        for each in gate.held:
            each.end(Unauthorized("The token of operators was replaced."))

    token.on_change = end_all
    guarded = Guarded(Router(routes, lambda: None, gate), token, gate, reactor, public)
    root = RootResource(guarded, BodyLimits(routes), Cors(None), gate)
    return RendezvousSite(root, reactor, CONNECTIONS, wall)
