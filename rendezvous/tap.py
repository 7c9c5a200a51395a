"""
What ``twistd rendezvous`` runs: options in, service out.

The one module that names the global reactor. ``service`` is imported late: it imports Klein, which installs a reactor.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import attrs

from twisted.application.internet import TimerService
from twisted.application.service import IService
from twisted.python import usage

from rendezvous._version import __version__
from rendezvous.errors import StartupError
from rendezvous.logs.places import Log, open_log
from rendezvous.process import ServerProcess, Signals, terminal_of
from rendezvous.settings import (
    CONFIG,
    CONFIG_HELP,
    FLAG,
    Settings,
    config_file,
    default_text,
    environment_name,
    kind_of,
    option_name,
    read_settings,
)
from rendezvous.supervisor import supervisor_of, watchdog_interval

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

    def parseArgs(self, *words: str) -> None:
        """
        Take no words that are not options.

        :raises UsageError: there is one.
        """
        if words:
            raise usage.UsageError(f"{words[0]!r} is not an option: each option begins with --, such as --http-port")

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
        # A daemon changes its directory before it can be asked to read the file again.
        self._check_log()
        self._check_pidfile()
        path = config_file(self.given)
        if path is not None:
            self.given[CONFIG] = [os.path.abspath(path)]

    def _check_log(self) -> None:
        if self.settings.log_format == Settings().log_format or self.parent is None:
            return
        if self.parent.get("logger"):
            raise SystemExit("twistd rendezvous: --log-format and twistd's --logger contradict each other: give one")

    def _check_pidfile(self) -> None:
        """See that there is room for the file of the process id, about which twistd fails with a traceback."""
        twistd: Any = self.parent
        if twistd is None or not twistd.get("pidfile") or twistd.get("chroot"):
            return
        path = os.path.join(twistd.get("rundir") or os.curdir, twistd["pidfile"])
        directory = os.path.dirname(path) or os.curdir
        if not os.path.isdir(directory):
            reason = f"there is no directory {directory!r}"
        elif not os.access(path if os.path.exists(path) else directory, os.W_OK):
            reason = "Permission denied"
        else:
            return
        raise SystemExit(
            f"twistd rendezvous: the file of the process id {path!r} (--pidfile) cannot be written: {reason}"
        )

    def open_log(self) -> Log | None:
        """
        Open the log where the options of ``twistd`` say.

        :returns: the log; ``None`` if ``twistd`` has another one (``--logger``), or if this is not ``twistd``.
        :raises SystemExit: it cannot be written.
        """
        twistd: Any = self.parent
        if twistd is None or "logger" not in twistd or twistd["logger"]:
            return None
        try:
            return open_log(self.settings.log_format, twistd, os.environ)
        except OSError as e:
            raise SystemExit(
                f"twistd rendezvous: the log file {twistd['logfile']!r} cannot be written: {e.strerror}"
            ) from None

    def read_again(self) -> Settings:
        """
        :returns: the settings as they are now: only the configuration file can have changed.
        :raises StartupError: they cannot be read.
        """
        return read_settings(self.given)


setattr(Options, f"opt_{CONFIG}", _collect(CONFIG, CONFIG_HELP))
for _field in attrs.fields(Settings):
    setattr(
        Options,
        "opt_" + _field.name,
        _collect(option_name(_field), _help(_field), is_flag=kind_of(_field) is FLAG),
    )


def makeService(options: Options) -> IService:
    """:returns: the server that the options describe, on the global reactor."""
    from twisted.internet import reactor

    # SIGHUP is handled before anything that takes its time.
    signals = Signals(reactor)

    from rendezvous.server import make_service
    from rendezvous.systemlimits import check_system
    from rendezvous.udp.mmsg import load_calls

    # The process is ours: let its timers follow a clock that only goes forward. Twisted's own follow the machine's
    # clock, and when that is set back by an hour, they wait for an hour.
    clocked: Any = reactor
    clocked.seconds = time.monotonic
    # NumPy's linear algebra, which nothing here uses, would start a thread for each core.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    check_system(options.settings)
    try:
        server = make_service(options.settings, reactor, load_calls())
    except StartupError as e:
        signals.stop()
        raise SystemExit(f"twistd rendezvous: {e}") from None
    server.rendezvous.read_again = options.read_again
    log = options.open_log()
    if log is not None and log.rotate is not None:
        signals.rotate_with(log.rotate)
    supervisor = supervisor_of(os.environ, time.monotonic)
    process = ServerProcess(
        signals,
        terminal_of(),
        lambda: server.reload(options.read_again()),
        supervisor,
        None if log is None else log.observer,
    )
    interval = watchdog_interval(os.environ, os.getpid())
    if interval is not None:
        watchdog = TimerService(interval, supervisor.alive)
        watchdog.clock = reactor
        watchdog.setServiceParent(process)
    server.setServiceParent(process)
    return process
