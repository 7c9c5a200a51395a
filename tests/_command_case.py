"""Subcommands of ``rendezvous`` in this process, against a whole server in memory."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path
from random import Random
from typing import Any, cast

import attrs

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers

from rendezvous.client import RendezvousClient
from rendezvous.client.api import Treq
from rendezvous.commands.rendezvous.account import Account
from rendezvous.commands.rendezvous.arguments import parse
from rendezvous.commands.rendezvous.context import Command, Context
from rendezvous.commands.rendezvous.identity import IdentityFile, default_path
from rendezvous.commands.rendezvous.output import Output
from rendezvous.commands.rendezvous.program import COMMANDS, finish
from rendezvous.testing import MemoryServer, Response

URL = "http://rendezvous.example:5025"


@attrs.frozen
class _Answer:
    """An ``IResponse`` of a server in memory."""

    response: Response

    @property
    def code(self) -> int:
        return self.response.status

    @property
    def headers(self) -> Headers:
        return Headers({name: [value] for name, value in self.response.headers.items()})

    def deliverBody(self, protocol: Protocol) -> None:
        """Give the whole body at once."""
        protocol.makeConnection(StringTransport())
        protocol.dataReceived(self.response.body)
        protocol.connectionLost(Failure(ResponseDone()))


@attrs.frozen
class MemoryTreq:
    """Sends requests to a server in memory, which answers each at once."""

    server: MemoryServer

    def request(self, method: str, url: str, *, headers: Headers, **options: Any) -> Deferred[Any]:
        """
        Send a request.

        :param method: its method.
        :param url: below :data:`URL`.
        :param headers: its headers.
        :param options: the rest; ``data`` is the body.
        """
        fields = {name.decode(): values[0].decode() for name, values in headers.getAllRawHeaders()}
        return succeed(_Answer(self.server.request(method, url.removeprefix(URL), options.get("data"), fields)))


class CommandCase(SynchronousTestCase):
    """A server in memory, and a user with an empty configuration folder."""

    def setUp(self) -> None:
        """Start the server."""
        self.server = MemoryServer()
        self.addCleanup(self.server.stop)
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.environ = {"XDG_CONFIG_HOME": str(self.directory), "RENDEZVOUS_SERVER": URL}
        self.out, self.err = io.StringIO(), io.StringIO()

    @property
    def path(self) -> Path:
        """:returns: where the identity is."""
        return default_path(URL, self.environ)

    def context(self, *words: str) -> Context:
        """:returns: what a subcommand is given for a command line."""
        options = parse(words, self.environ)
        client = RendezvousClient(URL, cast(Treq, MemoryTreq(self.server)), self.server.reactor)
        output = Output(self.out, self.err, json=options.json)
        file = IdentityFile(options.identity or self.path, options.server)
        account = Account(client, file, self.server.reactor, output, options.registration_token_file)

        def none(*_: object) -> Any:
            raise AssertionError("this subcommand needs none")

        return Context(options, self.server.reactor, client, account, output, none, none, Random(1).random)

    def start(self, command: Command, *words: str) -> Deferred[int]:
        """:returns: fires with the exit status."""
        context = self.context(*words)
        return Deferred.fromCoroutine(finish(command(context), context.output))

    def done(self, command: Command, *words: str) -> tuple[int, str, str]:
        """:returns: the exit status, and what this command has printed, on stdout and on stderr."""
        self.out.seek(0), self.out.truncate()
        self.err.seek(0), self.err.truncate()
        status = self.successResultOf(self.start(command, *words))
        return status, self.out.getvalue(), self.err.getvalue()

    def objects(self) -> list[Any]:
        """:returns: the JSON objects on stdout."""
        return [json.loads(line) for line in self.out.getvalue().splitlines()]


def option_names() -> dict[str, set[str]]:
    """:returns: the options of each subcommand, without the dashes, as its help shows them."""
    return {name: set(re.findall(r"(?<![\w-])--([a-z][a-z-]*)", usage(name, "--help")[1])) for name in COMMANDS}


def usage(*words: str, **environ: str) -> tuple[int, str, str]:
    """:returns: the exit status, and what was printed, of a command line that ends while it is read."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            parse(words, environ)
        except SystemExit as ended:
            return int(ended.code or 0), out.getvalue(), err.getvalue()
    raise AssertionError("the words are right")
