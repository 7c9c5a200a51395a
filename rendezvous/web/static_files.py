"""Files that browsers load: the client module for pages, and the demo page."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from twisted.web.http import NOT_MODIFIED, Request

from rendezvous.core.protocols import Protocol
from rendezvous.errors import NotFound
from rendezvous.web.fields import header
from rendezvous.web.route import Route
from rendezvous.web.sending import Sender

__all__ = ["StaticFile", "StaticRoutes"]

_FOLDER = Path(__file__).with_name("static")

_PAGE, _SCRIPT = "text/html; charset=utf-8", "text/javascript; charset=utf-8"
_TYPES = "application/typescript; charset=utf-8"

#: The media type of each file of the demo, but for the page itself.
_DEMO_FILES = {
    "demo.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "bounds.js": _SCRIPT,
    "call.js": _SCRIPT,
    "demo.js": _SCRIPT,
    "entrance.js": _SCRIPT,
    "files.js": _SCRIPT,
    "link.js": _SCRIPT,
    "log.js": _SCRIPT,
    "people.js": _SCRIPT,
    "talk.js": _SCRIPT,
    "words.js": _SCRIPT,
}

#: What the demo page may load and do: scripts, styles, images and requests of this server only, nothing inline, and no
#: frame around it. Files of other peers are ``blob:``. For browsers since 2022, ``'self'`` includes WebSockets of the
#: same host and port.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)

_PAGE_FIELDS = {
    "Content-Security-Policy": _POLICY,
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=()",
    "Referrer-Policy": "no-referrer",
}


@cache
def _read(path: Path) -> bytes:
    return path.read_bytes()


class StaticFile:
    """
    A file, which a process reads once.

    Browsers keep it, and ask each time whether it is still the same (RFC 9110, section 13.1.2). So a page and the
    module that it loads are of the same version, also right after an update of the server.

    :param path: of the file.
    :param media: its media type.
    :param fields: header fields of the answer, beyond those of all files.
    """

    def __init__(self, path: Path, media: str, fields: Mapping[str, str] | None = None) -> None:
        self._data = _read(path)
        self._media = media.encode("ascii")
        self._tag = '"' + hashlib.sha256(self._data).hexdigest()[:32] + '"'
        every = {"Cache-Control": "no-cache", "ETag": self._tag, "X-Content-Type-Options": "nosniff", **(fields or {})}
        self._fields = [(name.encode("ascii"), value.encode("ascii")) for name, value in every.items()]

    async def answer(self, request: Request, sender: Sender) -> None:
        """Send the file, or say that the client's copy is still the same."""
        known = header(request, b"If-None-Match") or ""
        for name, value in self._fields:
            request.setHeader(name, value)
        # A proxy that compresses the answer marks the tag as weak, so the comparison is the weak one.
        if self._tag in known or known.strip() == "*":
            request.setResponseCode(NOT_MODIFIED)
            request.setHeader(b"Content-Length", b"%d" % len(self._data))
        else:
            request.write(await sender.send(request, [self._data], self._media))


class StaticRoutes:
    """
    The routes of files.

    :param sender: bounds what clients have not read.
    """

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._module = StaticFile(_FOLDER / "rendezvous.js", _SCRIPT)
        self._types = StaticFile(_FOLDER / "rendezvous.d.ts", _TYPES)
        self._page = StaticFile(_FOLDER / "demo" / "index.html", _PAGE, _PAGE_FIELDS)
        self._parts = {name: StaticFile(_FOLDER / "demo" / name, media) for name, media in _DEMO_FILES.items()}

    def routes(self) -> list[Route]:
        """:returns: the routes."""
        demo = Protocol.DEMO
        return [
            Route("GET", "/rendezvous.js", self.module, tag="about", response=None, media=_SCRIPT, needs_store=False),
            Route("GET", "/rendezvous.d.ts", self.types, tag="about", response=None, media=_TYPES, needs_store=False),
            Route("GET", "/demo", self.page, tag=demo, response=None, media=_PAGE, needs_store=False),
            Route("GET", "/demo/<file>", self.part, tag=demo, response=None, media="*/*", needs_store=False),
        ]

    async def module(self, request: Request) -> None:
        """The client module for web pages."""
        await self._module.answer(request, self._sender)

    async def types(self, request: Request) -> None:
        """The types of the client module, for TypeScript."""
        await self._types.answer(request, self._sender)

    async def page(self, request: Request) -> None:
        """The demo page."""
        # Its links are relative to this path, so that they hold below any other path too.
        await self._page.answer(request, self._sender)

    async def part(self, request: Request, file: str) -> None:
        """A style, a script or the icon of the demo page."""
        found = self._parts.get(file)
        if found is None:
            raise NotFound("The demo has no such file.", code="no-such-path")
        await found.answer(request, self._sender)
