"""The command line of ``rendezvous``. A mistake is one plain line and exit status 2."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from rendezvous._version import __version__

__all__ = ["NOT_ENCRYPTED", "PLAIN_HTTP", "SERVER_VARIABLE", "parse"]

SERVER_VARIABLE = "RENDEZVOUS_SERVER"

NOT_ENCRYPTED = (
    "WARNING: a path between peers is authenticated but NOT ENCRYPTED. Anyone on the way can read the data."
    " Send only what is encrypted already, such as WireGuard or DTLS."
)

PLAIN_HTTP = (
    "WARNING: the server is asked over plain HTTP. Anyone on the way can read the keys, and pass for this client or for"
    " the peer. Use a server with https."
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
    given, unknown = parser.parse_known_args(words)
    # The mistakes below are those of a subcommand, whose help lists its options.
    parser.prog = f"{parser.prog} {given.command}"
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    taken = [local for local, _ in given.ports if local] if given.command == "forward" else []
    if len(taken) != len(set(taken)):
        parser.error("each local port can be named once")
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
    _add_peer(added)
    _add_upnp(command("doctor", "Find out what kind of NAT this host is behind, and what that means for connecting."))
    added = command("listen", "Wait for a peer. Lines of stdin are sent to it, and lines that come are printed.")
    _add_allow(added)
    _add_ways(added)
    added = command("connect", "Connect to a peer. Lines of stdin are sent to it, and lines that come are printed.")
    _add_peer(added)
    _add_ways(added)
    added = command("serve", "Wait for peers that forward, and carry their datagrams to UDP ports of this machine.")
    added.add_argument("ports", metavar="PORT", type=_port, nargs="+", help="a UDP port that peers may reach")
    _add_address(added, "--host", "where the ports are")
    _add_allow(added)
    _add_ways(added)
    added = command("forward", "Connect to a peer that serves, and carry datagrams of local programs to its UDP ports.")
    _add_peer(added)
    text = "a UDP port to listen on, 0 for any free one, and the port at the peer"
    added.add_argument("ports", metavar="LOCAL_PORT:REMOTE_PORT", type=_pair, nargs="+", help=text)
    _add_address(added, "--bind", "where to listen")
    _add_ways(added)
    return parser


def _add_address(parser: argparse.ArgumentParser, option: str, text: str) -> None:
    text = f"{text} [default: %(default)s]"
    parser.add_argument(option, metavar="ADDRESS", type=_address, default="127.0.0.1", help=text)


def _add_peer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("peer", metavar="ID", type=_client_id, help="the id of the peer, 32 hex digits")


def _add_allow(parser: argparse.ArgumentParser) -> None:
    text = "a peer that may connect; repeatable [default: anyone who knows the id]"
    parser.add_argument("--allow", metavar="ID", type=_client_id, action="append", default=[], help=text)


def _add_ways(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how to connect."""
    parser.add_argument(
        "--relay",
        choices=("never", "fallback", "always"),
        default="fallback",
        help="whether to use a TURN relay of the server [default: %(default)s]",
    )
    text = "open many ports if that is the only way to a direct path; the peer has to agree too"
    parser.add_argument("--birthday", action="store_true", help=text)
    group = parser.add_mutually_exclusive_group()
    text = "do not ask the router for a port with PCP or NAT-PMP"
    group.add_argument("--no-port-mapping", dest="port_mapping", action="store_false", help=text)
    _add_upnp(group)


def _add_upnp(parser: argparse._ActionsContainer) -> None:
    text = "ask the router for a port with UPnP if nothing else works; it needs the extra 'upnp'"
    parser.add_argument("--upnp", action="store_true", help=text)


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
    common.add_argument(
        "--registration-token-file",
        metavar="FILE",
        type=Path,
        help="holds a registration token, for a server that lets in only those who have one",
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


def _port(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) is None or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError("a port is 1 to 65535")
    return int(text)


def _pair(text: str) -> tuple[int, int]:
    local, colon, remote = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError("give two ports, such as 51820:51820")
    return 0 if local == "0" else _port(local), _port(remote)


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError("give an IP address, such as 127.0.0.1") from None
