"""The command line of ``rendezvous``. A mistake is one plain line and exit status 2."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from rendezvous._version import __version__

__all__ = ["NOT_ENCRYPTED", "SERVER_VARIABLE", "parse"]

SERVER_VARIABLE = "RENDEZVOUS_SERVER"

NOT_ENCRYPTED = (
    "WARNING: a path between peers is authenticated but NOT ENCRYPTED. Anyone on the way can read the data."
    " Send only what is encrypted already, such as WireGuard or DTLS."
)

_DEFAULT_PORTS = {"http": 80, "https": 443}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parse(words: Sequence[str], environ: Mapping[str, str]) -> argparse.Namespace:
    """
    Read the command line.

    :param words: without the name of the program.
    :param environ: the environment, which may name the server.
    :returns: ``command`` is the name of the subcommand; the others are those of its options.
    :raises SystemExit: with status 2 for a mistake, after one line on stderr; with 0 after ``--help``.
    """
    parser = _parser()
    given = parser.parse_args(words)
    if given.server is None:
        try:
            given.server = _server(environ.get(SERVER_VARIABLE, ""))
        except argparse.ArgumentTypeError as error:
            if environ.get(SERVER_VARIABLE):
                parser.error(f"{SERVER_VARIABLE}: {error}")
            parser.error(f"name the server with --server URL or {SERVER_VARIABLE}")
    return given


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="rendezvous",
        description="Connects two machines that are behind NATs, with the help of a rendezvous server.",
        epilog=NOT_ENCRYPTED,
    )
    parser.add_argument("--version", action="version", version=f"rendezvous {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    common = _common()

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[common])

    command("id", "Print the id of this client, which peers connect to; register it if it is new.")
    added = command("status", "Print whether a peer is online.")
    added.add_argument("peer", metavar="ID", type=_client_id, help="the id of the peer, 32 hex digits")
    return parser


def _common() -> _Parser:
    """:returns: the options of every subcommand."""
    common = _Parser(add_help=False)
    common.add_argument(
        "--server",
        metavar="URL",
        type=_server,
        help=f"the server, such as https://rendezvous.example; else from {SERVER_VARIABLE}",
    )
    common.add_argument(
        "--identity",
        metavar="FILE",
        type=Path,
        help="where the identity is kept [default: one file for each server, below XDG_CONFIG_HOME]",
    )
    common.add_argument("--json", action="store_true", help="print JSON objects, one on each line")
    common.add_argument("--verbose", action="store_true", help="write the log to stderr")
    return common


def _server(text: str) -> str:
    """:returns: a base URL in one spelling, so that it always finds the same identity."""
    wrong: Any = argparse.ArgumentTypeError(
        "the server must be a plain http or https URL, such as http://example.net:5025"
    )
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise wrong from None
    plain = parts.scheme in _DEFAULT_PORTS and host and port != 0 and text.isascii() and text.isprintable()
    if not plain or "@" in parts.netloc or parts.query or parts.fragment or " " in text:
        raise wrong
    name = f"[{host}]" if ":" in str(host) else str(host)
    given = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{name}{given}{parts.path.rstrip('/')}"


def _client_id(text: str) -> str:
    if re.fullmatch(r"[0-9a-fA-F]{32}", text) is None:
        raise argparse.ArgumentTypeError("a client id has 32 hex digits")
    return text.lower()
