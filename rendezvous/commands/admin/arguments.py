"""The command line of the commands that ask a running server."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from typing import Any

from rendezvous.commands.admin import verbs
from rendezvous.commands.admin.lists import LISTS

__all__ = ["add_server_commands", "duration"]

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
#: Ten years.
_LONGEST = 3660 * 86400

_Add = Callable[..., argparse.ArgumentParser]


def duration(text: str) -> int:
    """
    :returns: the seconds of a time such as ``90``, ``12h`` or ``30d``.
    :raises argparse.ArgumentTypeError: it is none, or too long.
    """
    match = re.fullmatch(r"([0-9]{1,12})([smhd]?)", text)
    if match is None or (seconds := int(match[1]) * _UNITS[match[2]]) > _LONGEST:
        raise argparse.ArgumentTypeError("must be seconds or such as 12h or 30d, and at most 3660d")
    return seconds


def add_server_commands(add: _Add, environ: Mapping[str, str]) -> None:
    """
    Add the commands to those of the program.

    :param add: makes a command, of its name, what does it, and its help.
    :param environ: where defaults may be.
    """

    def command(name: str, do: verbs.Verb, help: str) -> argparse.ArgumentParser:
        added = add(name, do, help)
        _where(added, environ)
        return added

    _reading(command)
    _acting(command)


def _where(parser: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    group = parser.add_argument_group("the server")

    def option(name: str, metavar: str, variable: str, default: str, help: str, shown: str = "") -> None:
        text = f"{help} [{variable}; default: {shown or default}]"
        group.add_argument(name, default=environ.get(variable) or default, metavar=metavar, help=text)

    option("--admin", "URL", "RENDEZVOUS_ADMIN_URL", "http://127.0.0.1:5027", "the operators' port of the server")
    option("--token-file", "FILE", "RENDEZVOUS_ADMIN_TOKEN_FILE", "rendezvous.admin-token", "the operators' token")
    option("--ca-file", "FILE", "RENDEZVOUS_ADMIN_CA_FILE", "", "certificates to trust, for https", "the system's")
    user = environ.get("USER", "")
    option("--operator", "NAME", "RENDEZVOUS_OPERATOR", user, "your name, for the server's log", "that of the user")
    parser.add_argument("--json", action="store_true", help="for programs: one JSON object a line")


def _reading(command: _Add) -> None:
    added = command("list", verbs.show_list, "List clients, offers, attempts, bans and more.")
    added.add_argument("what", nargs="?", choices=sorted(LISTS), default="clients", help="what [default: clients]")
    added.add_argument("--prefix", metavar="TEXT", help="of clients and topics: those whose id or name begins so")
    added.add_argument("--network", metavar="NET", help="of clients: those in a network, such as 198.51.100.0/24")
    added.add_argument("--state", choices=("online", "late", "registered"), help="of clients: those in a state")
    added.add_argument("--client", metavar="ID", help="of attempts: those of a client")
    added.add_argument("--limit", type=_count, default=100, metavar="N", help="at most so many; 0: all [default: 100]")
    added = command("top", verbs.show_top, "Show the numbers of the server, renewed every five seconds.")
    added.add_argument("--once", action="store_true", help="show them once, as without a terminal")
    added = command("show", verbs.show_one, "Show one client and its history, or the settings.")
    added.add_argument("what", metavar="ID|settings", help="the id of a client, or the word settings")
    added = command("watch", verbs.watch, "Show lines of the server's log as they come, until it is stopped.")
    added.add_argument("--lines", type=_count, default=10, metavar="N", help="earlier lines at first [default: 10]")


def _acting(command: _Add) -> None:
    added = command("kick", verbs.kick, "Log clients out: their credentials, offers and addresses end.")
    added.add_argument("clients", nargs="+", metavar="ID", help="the id of a client")
    added = command("ban", verbs.ban, "Ban a network, an address or a client.")
    added.add_argument("target", metavar="TARGET", help="such as 198.51.100.0/24, or the id of a client")
    added.add_argument("--for", dest="seconds", type=duration, metavar="TIME", help="such as 12h [default: for good]")
    added.add_argument("--reason", default="", metavar="TEXT", help="a note for other operators")
    added = command("unban", verbs.unban, "End a ban.")
    added.add_argument("target", metavar="TARGET", help="as it was given to ban")
    command("drain", verbs.drain, "Refuse new clients, and tell load balancers.")
    command("undrain", verbs.undrain, "Take new clients again.")
    command("reload", verbs.reload, "Let the server read its settings, certificates and tokens again, as SIGHUP does.")


def _count(text: str) -> Any:
    if re.fullmatch(r"[0-9]{1,9}", text) is None:
        raise argparse.ArgumentTypeError("must be a number")
    return int(text)
