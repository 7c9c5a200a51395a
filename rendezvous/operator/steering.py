"""The routes that change how the server runs: drain and reload; and the settings in force."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger
from twisted.web.http import Request

from rendezvous.errors import Malformed, StartupError
from rendezvous.operator.audit import operator_of, record
from rendezvous.operator.parts import Parts
from rendezvous.web.route import Route

__all__ = ["SteeringRoutes"]


class SteeringRoutes:
    """Drain, reload and settings."""

    log = Logger()

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        """:returns: the routes."""
        return [
            Route("POST", "/drain", self.drain, tag="steering", response="Draining"),
            Route("DELETE", "/drain", self.undrain, tag="steering", response="Draining"),
            Route("POST", "/reload", self.reload, tag="steering", response="Reloaded"),
            Route("GET", "/settings", self.settings, tag="steering", response="Settings"),
        ]

    async def drain(self, request: Request) -> dict[str, Any]:
        """Take no new clients; load balancers learn it from ``/ready`` of the public ports."""
        return self._drain(operator_of(request), is_draining=True)

    async def undrain(self, request: Request) -> dict[str, Any]:
        """Take new clients again."""
        return self._drain(operator_of(request), is_draining=False)

    def _drain(self, operator: str, *, is_draining: bool) -> dict[str, Any]:
        self._parts.gate.admission.is_draining = is_draining
        record(operator, "the server is draining" if is_draining else "the server takes new clients again")
        return {"draining": is_draining}

    async def reload(self, request: Request) -> dict[str, Any]:
        """Read the configuration file, certificates, the TURN secret and all tokens again."""
        operator = operator_of(request)
        record(operator, "a reload was requested")
        try:
            done = self._parts.reload()
        except StartupError as error:
            self.log.error("nothing was reloaded: {reason}", reason=str(error), event="reload_refused")
            raise Malformed(f"Nothing was reloaded: {error}.", code="not-reloaded") from None
        return {"changed": list(done.changed), "refused": list(done.refused), "certificates": done.certificates}

    async def settings(self, request: Request) -> dict[str, Any]:
        """The settings in force; of secrets the names of their files."""
        return {"settings": dict(self._parts.settings())}
