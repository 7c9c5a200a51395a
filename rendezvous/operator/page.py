"""The files of the dashboard. They hold no data, so they need no token."""

from __future__ import annotations

from pathlib import Path

from twisted.web.http import Request

from rendezvous.errors import NotFound
from rendezvous.web.route import Route
from rendezvous.web.sending import Sender
from rendezvous.web.static_files import StaticFile

__all__ = ["PUBLIC", "PageRoutes"]

_FOLDER = Path(__file__).with_name("static")

_PAGE, _SCRIPT = "text/html; charset=utf-8", "text/javascript; charset=utf-8"

#: The media type of each file, but for the page itself.
_FILES = {
    "dashboard.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "api.js": _SCRIPT,
    "clients.js": _SCRIPT,
    "dashboard.js": _SCRIPT,
    "dialogs.js": _SCRIPT,
    "lists.js": _SCRIPT,
    "live.js": _SCRIPT,
    "logs.js": _SCRIPT,
    "sections.js": _SCRIPT,
    "sparkline.js": _SCRIPT,
    "sse.js": _SCRIPT,
    "tiles.js": _SCRIPT,
    "words.js": _SCRIPT,
}

#: What the page may load and do: scripts, styles, images and requests of this port only, nothing inline, no form that
#: is sent, no frame around it, and no text that becomes markup (Trusted Types).
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)

_PAGE_FIELDS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
}

PUBLIC = frozenset({b"", *(f"dashboard/{name}".encode("ascii") for name in _FILES)})
"""The paths of these files, without the first slash."""


class PageRoutes:
    """
    The routes of the dashboard's files.

    :param sender: bounds what clients have not read.
    """

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._page = StaticFile(_FOLDER / "index.html", _PAGE, _PAGE_FIELDS)
        self._parts = {name: StaticFile(_FOLDER / name, media) for name, media in _FILES.items()}

    def routes(self) -> list[Route]:
        """:returns: the routes."""
        return [
            Route("GET", "/", self.page, tag="operators", response=None, media=_PAGE),
            Route("GET", "/dashboard/<file>", self.part, tag="operators", response=None, media="*/*"),
        ]

    async def page(self, request: Request) -> None:
        """The dashboard."""
        await self._page.answer(request, self._sender)

    async def part(self, request: Request, file: str) -> None:
        """A style, a script or the icon of the dashboard."""
        found = self._parts.get(file)
        if found is None:
            raise NotFound("The dashboard has no such file.", code="no-such-path")
        await found.answer(request, self._sender)
