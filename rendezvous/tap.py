"""
What ``twistd rendezvous`` runs: options in, service out.

The one module that names the global reactor. ``service`` is imported late: it imports Klein, which installs a reactor.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import attrs

from twisted.application.service import IService, MultiService
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python import usage

from rendezvous._version import __version__
from rendezvous.errors import StartupError
from rendezvous.settings import (
    CONFIG,
    CONFIG_HELP,
    FLAG,
    Settings,
    default_text,
    environment_name,
    kind_of,
    option_name,
    read_settings,
)

__all__ = ["Options", "makeService"]


def _collect(name: str, help: str, *, is_flag: bool = False) -> Callable[..., None]:
    """:returns: a method that keeps the texts of an option. Twisted looks at its parameters and its docstring."""

    def collect(self: Options, text: str) -> None:
        self.given.setdefault(name, []).append(text)

    def collect_flag(self: Options) -> None:
        self.given[name] = ["true"]

    method = collect_flag if is_flag else collect
    method.__doc__ = help
    return method


def _help(field: attrs.Attribute[Any]) -> str:
    default = default_text(field)
    help: str = field.metadata["help"]
    return f"{help} [default: {default}]" if default else help


class Options(usage.Options):
    """
    The settings as ``twistd`` options.

    :ivar given: the texts of each option that was given, by name.
    :ivar settings: what came of them.
    """

    synopsis = "[options]"
    longdesc = (
        "A rendezvous and signaling server for peers behind NATs. Every option can also come from the environment, such"
        f" as {environment_name(attrs.fields(Settings).http_port)}=8080, where white space separates several values;"
        " and from a TOML file (--config), such as http_port = 8080. The command line goes before the environment, and"
        " the environment before the file."
    )

    def __init__(self) -> None:
        self.given: dict[str, list[str]] = {}
        self.settings = Settings()
        super().__init__()

    def opt_version(self) -> None:
        """Print the version and exit."""
        sys.stdout.write(f"rendezvous {__version__}\n")
        raise SystemExit(0)

    def parseOptions(self, options: Any = None) -> None:
        """
        Read the command line, the environment and the configuration file.

        A mistake is one plain line and status 1, where twistd would print the help of everything first.
        """
        try:
            super().parseOptions(options)
            self.settings = read_settings(self.given)
        except (usage.UsageError, StartupError) as e:
            raise SystemExit(f"twistd rendezvous: {e} (see twistd rendezvous --help)") from None


setattr(Options, f"opt_{CONFIG}", _collect(CONFIG, CONFIG_HELP))
for _field in attrs.fields(Settings):
    setattr(
        Options,
        "opt_" + _field.name,
        _collect(option_name(_field), _help(_field), is_flag=kind_of(_field) is FLAG),
    )


class CannotStart(SystemExit, Exception):
    """
    The end of a server that could not start: status 1, its reason already told.

    It is an Exception too, for only those does twistd report from a daemon to whoever started it; that process would
    otherwise wait for ever.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.code = 1


class _Server(MultiService):
    """Turns what an operator can mend at start into one plain line and status 1."""

    log = Logger()

    def privilegedStartService(self) -> None:
        """Open the ports."""
        self._start(super().privilegedStartService)

    def startService(self) -> None:
        """Open the store, and begin."""
        self._start(super().startService)

    def _start(self, start: Callable[[], None]) -> None:
        try:
            start()
        except (CannotListenError, OSError, StartupError) as e:
            self.log.critical("cannot start: {reason}", reason=str(e))
            if sys.__stderr__ is not None:
                # sys.stderr is the log by now.
                sys.__stderr__.write(f"twistd rendezvous: {e}\n")
            raise CannotStart(str(e)) from None


def makeService(options: Options) -> IService:
    """:returns: the server that the options describe, on the global reactor."""
    from twisted.internet import reactor

    from rendezvous.service import make_service

    # The process is ours: let its timers follow a clock that only goes forward. Twisted's own follow the machine's
    # clock, and when that is set back by an hour, they wait for an hour.
    clocked: Any = reactor
    clocked.seconds = time.monotonic

    server = _Server()
    try:
        make_service(options.settings, reactor).setServiceParent(server)
    except StartupError as e:
        raise SystemExit(f"twistd rendezvous: {e}") from None
    return server
