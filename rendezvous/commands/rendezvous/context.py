"""What every subcommand is given."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Coroutine
from typing import Any

import attrs

from rendezvous.client import ClientError, Identity, RendezvousClient
from rendezvous.client.portmap import PortMapper
from rendezvous.commands.rendezvous.account import Account
from rendezvous.commands.rendezvous.console import Console, ConsoleEvents
from rendezvous.commands.rendezvous.errors import CommandError
from rendezvous.commands.rendezvous.output import Output

__all__ = ["Command", "Context", "port_mapper"]


@attrs.define
class Context:
    """
    What a subcommand works with.

    :ivar options: the command line, checked.
    :ivar reactor: the running reactor.
    :ivar client: the server that the options name.
    :ivar account: this user at the server.
    :ivar output: prints.
    :ivar make_connector: makes what connects and listens under an identity. The function that it is given is called
        once if the server forgets this identity.
    :ivar make_console: opens stdin and stdout, for lines of at most so many bytes.
    :ivar random: gives numbers from 0 to 1.
    """

    options: argparse.Namespace
    reactor: Any
    client: RendezvousClient
    account: Account
    output: Output
    make_connector: Callable[[Identity, Callable[[ClientError], object]], Any]
    make_console: Callable[[ConsoleEvents, int], Console]
    random: Callable[[], float]


def port_mapper(reactor: Any, *, upnp: bool) -> PortMapper:
    """
    Make what asks the next router for ports.

    :param upnp: whether UPnP may be used.
    :raises CommandError: it may, and its extra is not installed.
    """
    try:
        return PortMapper(reactor, upnp=upnp)
    except ImportError as error:
        raise CommandError("missing-extra", str(error)) from None


#: A subcommand: it gives the exit status, or raises a CommandError or a ClientError.
Command = Callable[[Context], Coroutine[Any, Any, int]]
