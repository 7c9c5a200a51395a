"""The TURN servers of this server: their shared secret, which is read from a file, and their addresses."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from twisted.application.internet import TimerService
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger

from rendezvous.core.ice import Turn
from rendezvous.errors import StartupError
from rendezvous.privatefile import read_private
from rendezvous.resolving import literal, resolve
from rendezvous.settings import Settings

__all__ = ["RESOLVE_INTERVAL", "Resolving", "load_turn"]

#: Seconds between two look-ups of the names of TURN servers.
RESOLVE_INTERVAL = 600.0

#: Characters of a file that are read: more than two secrets with blanks around them.
_LONGEST = 4096

_HOST = re.compile(r"turns?:(?:\[([^]]+)\]|([^:?]+))")

_log = Logger()


def load_turn(settings: Settings) -> Turn | None:
    """
    Find out what credentials are made with.

    :returns: ``None`` if the settings name no TURN server.
    :raises StartupError: the file of the secret cannot be used, or only one of the two settings is given.
    """
    if bool(settings.turn_uri) != bool(settings.turn_secret_file):
        raise StartupError("turn-uri and turn-secret-file need each other: give both or none of them")
    if not settings.turn_uri:
        return None
    return Turn(settings.turn_uri, _read_secret(settings.turn_secret_file), max(1, int(settings.turn_ttl)))


def _read_secret(path: str) -> bytes:
    what = f"the TURN secret file {path!r}"
    try:
        file = read_private(path, what, _LONGEST)
    except OSError as e:
        raise StartupError(f"{what} cannot be used: {e.strerror}") from None
    if "\N{REPLACEMENT CHARACTER}" in file.text:
        raise StartupError(f"{what} cannot be used: it is not UTF-8")
    lines = [line.strip() for line in file.text.strip().splitlines()]
    if len(file.text) > _LONGEST or not 1 <= len(lines) <= 2 or not all(lines):
        raise StartupError(f"{what} must hold one secret on one line, or the new one and below it the old one")
    file.check_mode()
    return lines[0].encode("utf-8")


class Resolving(TimerService):
    """
    Looks up the names of TURN servers at the start and every ten minutes.

    Addresses in URIs are used at once. The last addresses of a name are used for as long as it cannot be looked up.

    :param reactor: resolves names.
    :param use: called with all addresses, whenever they may have changed.
    """

    def __init__(self, reactor: Any, use: Callable[[frozenset[str]], None]) -> None:
        super().__init__(RESOLVE_INTERVAL, self._resolve)
        self.clock = reactor
        self._reactor = reactor
        self._use = use
        self._found: dict[str, list[str]] = {}

    def serve(self, uris: Iterable[str]) -> None:
        """Use these TURN servers from now on. Names are looked up if the service runs, or when it starts."""
        hosts = {match[1] or match[2] for match in map(_HOST.match, uris) if match}
        literals = {host: literal(host) for host in sorted(hosts)}
        self._found = {host: [address] if address else self._found.get(host, []) for host, address in literals.items()}
        self._give()
        if self.running:
            self._resolve()

    def stopService(self) -> Deferred[None]:
        """Stop; one that never started can be stopped too."""
        if not self.running:
            return succeed(None)
        stopped: Deferred[None] = super().stopService()
        return stopped

    def _give(self) -> None:
        self._use(frozenset().union(*self._found.values()))

    def _resolve(self) -> None:
        for host in self._found:
            maybeDeferred(self._look_up, host).addCallback(self._resolved, host).addErrback(
                lambda failure: _log.failure(
                    "a TURN server could not be looked up", failure, event="turn_look_up_failed"
                )
            )

    def _look_up(self, host: str) -> Deferred[list[str]]:
        return resolve(self._reactor.nameResolver, host)

    def _resolved(self, found: list[str], host: str) -> None:
        if host not in self._found:
            return
        if found:
            self._found[host] = found
            self._give()
        else:
            _log.warn(
                "the TURN server {host} has no address now; it is looked up again in ten minutes",
                host=host,
                event="turn_server_without_address",
            )
