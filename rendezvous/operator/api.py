"""The routes for operators."""

from __future__ import annotations

from twisted.web.http import Request

from rendezvous.operator.metrics import Metrics
from rendezvous.web.fields import header
from rendezvous.web.route import Route
from rendezvous.web.sending import Sender

__all__ = ["MetricsRoutes"]


class MetricsRoutes:
    """
    What Prometheus asks for.

    :param metrics: the numbers.
    :param sender: bounds what is not read of the answer.
    """

    def __init__(self, metrics: Metrics, sender: Sender) -> None:
        self._metrics, self._sender = metrics, sender

    def routes(self) -> list[Route]:
        """:returns: the route."""
        return [Route("GET", "/metrics", self.metrics, tag="operators", response=None, media="text/plain")]

    async def metrics(self, request: Request) -> None:
        """All metrics, in the text format of Prometheus or in that of OpenMetrics."""
        body, media = await self._metrics.render(header(request, b"Accept") or "")
        request.write(await self._sender.send(request, [body], media.encode("ascii")))
