"""Runs one subcommand on a reactor, and turns each way in which it can end into an exit status."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from random import SystemRandom
from typing import Any, TextIO

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import react
from twisted.logger import Logger, LogLevel, globalLogBeginner, textFileLogObserver

from rendezvous.client import ClientError, Connector, Identity, RendezvousClient
from rendezvous.commands.rendezvous.account import Account
from rendezvous.commands.rendezvous.arguments import parse
from rendezvous.commands.rendezvous.console import Console, ConsoleEvents, open_console
from rendezvous.commands.rendezvous.context import Command, Context, port_mapper
from rendezvous.commands.rendezvous.doctor import show_diagnosis
from rendezvous.commands.rendezvous.errors import CommandError, described
from rendezvous.commands.rendezvous.forward import forward_ports
from rendezvous.commands.rendezvous.identity import IdentityFile, default_path
from rendezvous.commands.rendezvous.lines import connect_lines, listen_lines
from rendezvous.commands.rendezvous.output import Output, OutputError
from rendezvous.commands.rendezvous.serve import serve_ports
from rendezvous.commands.rendezvous.status import show_id, show_status

__all__ = ["COMMANDS", "finish", "main"]

_log = Logger()

COMMANDS: dict[str, Command] = {
    "id": show_id,
    "status": show_status,
    "doctor": show_diagnosis,
    "listen": listen_lines,
    "connect": connect_lines,
    "serve": serve_ports,
    "forward": forward_ports,
}


def main(words: Sequence[str], environ: Mapping[str, str], out: TextIO, err: TextIO) -> int:
    """
    Do what a command line says, on the global reactor, which runs only once in a process.

    :param words: without the name of the program.
    :param environ: the environment.
    :param out: stdout.
    :param err: stderr.
    :returns: the exit status: 0 if it went well, 1 if not.
    :raises SystemExit: with status 2 for a mistake in the words.
    """
    options = parse(words, environ)
    if options.verbose:
        globalLogBeginner.beginLoggingTo([textFileLogObserver(err)], redirectStandardIO=False)
    output = Output(out, err, json=options.json)

    def begin(reactor: Any) -> Deferred[Any]:
        work = Deferred.fromCoroutine(_run(reactor, options, environ, output))

        def interrupt() -> Deferred[Any]:
            work.cancel()
            return work

        reactor.addSystemEventTrigger("before", "shutdown", interrupt)
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # nohup ignores it.
            # The terminal was closed. Peers should not have to wait until they miss this side.
            signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(reactor.stop))
        # The exit status reaches react() as the failure that it expects.
        return work.addCallback(lambda status: fail(SystemExit(status)))

    try:
        react(begin)
    except SystemExit as ended:
        return int(ended.code or 0)


async def _run(reactor: Any, options: argparse.Namespace, environ: Mapping[str, str], output: Output) -> int:
    client = RendezvousClient.over(reactor, options.server)
    try:
        return await finish(_command(reactor, options, environ, output, client), output)
    finally:
        await client.close()


async def _command(
    reactor: Any, options: argparse.Namespace, environ: Mapping[str, str], output: Output, client: RendezvousClient
) -> int:
    file = IdentityFile(options.identity or default_path(options.server, environ), options.server)
    account = Account(client, file, reactor, output, options.registration_token_file)

    def make_connector(identity: Identity, on_gone: Callable[[ClientError], object]) -> Connector:
        return Connector(
            client,
            identity,
            reactor,
            relay=options.relay,
            birthday=options.birthday,
            port_mapping=options.port_mapping,
            on_gone=on_gone,
            mapper=port_mapper(reactor, upnp=options.upnp),
        )

    def make_console(events: ConsoleEvents, longest: int) -> Console:
        return open_console(reactor, events, longest)

    context = Context(options, reactor, client, account, output, make_connector, make_console, SystemRandom().random)
    return await COMMANDS[options.command](context)


async def finish(work: Coroutine[Any, Any, int], output: Output) -> int:
    """
    Await a subcommand, and print one line if it fails.

    :param work: gives the exit status.
    :param output: prints.
    :returns: the exit status.
    """
    try:
        return await _reported(work, output)
    except BrokenPipeError:
        output.discard()
    except OutputError as error:
        output.discard()
        output.warn(f"rendezvous: cannot write to stdout: {error}")
    return 1


async def _reported(work: Coroutine[Any, Any, int], output: Output) -> int:
    try:
        return await work
    except (BrokenPipeError, OutputError):
        raise
    except CommandError as error:
        output.failed(error.code, error.reason)
    except ClientError as error:
        output.failed(*described(error))
    except CancelledError:
        output.failed("interrupted", "interrupted")
    except Exception as error:
        # Twisted prints what is critical, and its traceback, also without --verbose.
        _log.failure("The command has failed", level=LogLevel.error)
        output.failed("internal", f"internal error, {type(error).__name__}: {error}; --verbose shows where")
    return 1
