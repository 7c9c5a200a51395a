"""What the commands that ask a running server do."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rendezvous.commands.admin.errors import OperatorError, Unreachable
from rendezvous.commands.admin.lists import LISTS, rows
from rendezvous.commands.admin.port import Port, read_token, segment
from rendezvous.commands.admin.tables import amount, delay, moment, plain, rate, size, span, table

__all__ = ["Verb", "ban", "drain", "kick", "reload", "show_list", "show_one", "show_top", "unban", "undrain", "watch"]

#: Does a command, at a time in seconds since the epoch; what it prints it may give in pieces.
Verb = Callable[[argparse.Namespace, Callable[[], float]], str | Iterator[str]]

#: Clears a terminal, and goes to its first line.
_CLEAR = "\x1b[2J\x1b[H"

#: Seconds after which a stream that was lost is opened again.
AGAIN = 5.0

#: Rates that are shown, with what they are called.
_RATES = {
    "pulses": "pulses",
    "signed": "signed requests",
    "requests": "HTTP requests",
    "request_errors": "errors of the server",
    "registrations": "registrations",
    "publications": "offers published",
    "answers": "offers answered",
    "attempts_ok": "attempts with a path",
    "attempts_failed": "attempts without a path",
    "limited": "refused to one source",
    "full": "refused, table full",
    "dropped": "datagrams dropped",
}


def _port(given: argparse.Namespace) -> Port:
    return Port(given.admin, read_token(given.token_file), given.operator, given.ca_file)


def show_list(given: argparse.Namespace, clock: Callable[[], float]) -> str | Iterator[str]:
    """:returns: a table of entries; as JSON each entry as it comes."""
    listing, now = LISTS[given.what], clock()
    wanted = {"prefix": given.prefix, "network": given.network, "state": given.state, "client": given.client}
    for name, value in wanted.items():
        # All entries would look like those that were asked for.
        if value is not None and name not in listing.filters:
            raise OperatorError(f"list {given.what} does not take --{name} (see rendezvous-admin list --help)")
    filters = {name: value for name, value in wanted.items() if name in listing.filters}
    found = rows(_port(given), listing, filters, given.limit)
    if given.json:
        return map(json.dumps, found)
    return table(listing.columns, [listing.cells(each, now) for each in found])


def show_one(given: argparse.Namespace, clock: Callable[[], float]) -> str:
    """:returns: a client with its history, or the settings."""
    port = _port(given)
    if given.what == "settings":
        found = port.get("/settings")
        if given.json:
            return json.dumps(found)
        texts = {
            name: value if isinstance(value, str) else " ".join(value) for name, value in found["settings"].items()
        }
        return _pairs(texts)
    found = port.get(f"/clients/{segment(given.what)}")
    if given.json:
        return json.dumps(found)
    client = found["client"]
    ban, seen = client["ban"], client["last_seen"]
    facts = {
        "client": client["client_id"],
        "state": client["state"],
        "address": "-" if client["host"] is None else f"{client['host']} port {client['port']}",
        "registered from": client["network"],
        "last seen": "-" if seen is None else f"{moment(seen)}, {span(clock() - seen)} ago",
        "offers": client["offers"],
        "attempts": client["attempts"],
        "event stream": "open" if client["event_stream"] else "none",
        "WebSockets": client["sockets"],
        "banned": "no" if ban is None else f"until {moment(ban['until'], 'it is lifted')}: {ban['reason']}",
    }
    events = [(moment(each["time"]), each["event"], each["text"]) for each in client["events"]]
    return _pairs(facts) + ("\n\n" + table(("when", "event", "what"), events) if events else "")


def show_top(given: argparse.Namespace, clock: Callable[[], float]) -> str | Iterator[str]:
    """:returns: the numbers of the server; on a terminal again and again."""
    port = _port(given)
    if given.json or given.once or not sys.stdout.isatty():
        overview, rates = port.get("/overview"), port.get("/history")["rates"]
        return json.dumps({"overview": overview, "rates": rates}) if given.json else _top(overview, rates)
    return _screens(port)


def _screens(port: Port) -> Iterator[str]:
    rates: Mapping[str, Any] = {}
    for event, data in port.updates():
        if event == "figures":
            rates = data["rates"]
        elif event == "overview":
            yield _CLEAR + _top(data, rates)


def _top(overview: Mapping[str, Any], rates: Mapping[str, Any]) -> str:
    clients, memory, saving = overview["clients"], overview["signaling_memory"], overview["saving"]
    facts = {
        "server": f"rendezvous {overview['version']}, up for {span(overview['time'] - overview['started'])}"
        + (", drains" if overview["draining"] else "")
        + ("" if overview["ready"] else ", not ready"),
        "clients": f"{amount(clients['online'])} online, {amount(clients['late'])} late,"
        f" {amount(clients['registered'])} not seen yet",
        "signaling": f"{amount(overview['offers'])} offers, {amount(overview['sessions'])} sessions,"
        f" {size(memory['entries'])} of {size(memory['limit'])}",
        "streams": f"{amount(overview['event_streams'])} event streams, {amount(overview['sockets'])} WebSockets",
        "reactor": f"{delay(overview['reactor_delay'])} late at most within a minute",
        "tables": _fills({**overview["tables"], "signaling memory": memory}),
    }
    if saving is not None:
        failing = ", CANNOT BE WRITTEN" if saving["is_failing"] else ""
        facts["store"] = f"{size(saving['size'])}, {size(saving['backlog'])} to be written{failing}"
        facts["restart"] = _restart(saving["restored"])
    lines = [
        (words, *(rate(rates[name].get(window)) for window in ("1m", "10m", "1h")))
        for name, words in _RATES.items()
        if name in rates
    ]
    return f"{_pairs(facts)}\n\n{table(('rate over', '1 min', '10 min', '1 h'), lines)}"


def _fills(tables: Mapping[str, Any]) -> str:
    """:returns: how full the tables are, the fullest first, without those that are almost empty."""
    shares = {name.replace("_", " "): fill["entries"] / fill["limit"] for name, fill in tables.items() if fill["limit"]}
    filled = sorted((name for name, share in shares.items() if share >= 0.01), key=lambda name: -shares[name])
    return ", ".join(f"{name} {shares[name]:.0%}" for name in filled) or "all below 1%"


def _restart(restored: Mapping[str, Any] | None) -> str:
    """:returns: what the last restart has cost, and what was kept."""
    if restored is None:
        return "none: the store was made at the start"
    return (
        f"{span(restored['pause'])} without a server; kept {amount(restored['clients'])} clients,"
        f" {amount(restored['offers'])} offers, {amount(restored['tracker_peers'])} tracker peers"
    )


def watch(given: argparse.Namespace, clock: Callable[[], float]) -> Iterator[str]:
    """Yield the last lines of the log, and those that come. A stream that is lost is opened again."""
    port = _port(given)
    found = port.get("/log")
    last = found["next"]
    for line in found["lines"][-given.lines :] if given.lines else ():
        yield _line(given, line)
    while True:
        try:
            for event, data in port.updates(last):
                if event == "log":
                    last = data["seq"]
                    yield _line(given, data)
        except Unreachable as e:
            sys.stderr.write(f"rendezvous-admin: {e}; it is tried again\n")
        time.sleep(AGAIN)


def _line(given: argparse.Namespace, line: Mapping[str, Any]) -> str:
    if given.json:
        return json.dumps(line)
    level = "" if line["level"] == "info" else f"{plain(line['level'])}: "
    return f"{moment(line['time'])}  {level}{plain(line['text'])}"


def kick(given: argparse.Namespace, clock: Callable[[], float]) -> Iterator[str]:
    """Kick clients, one after the other; the first that cannot be kicked ends it."""
    port = _port(given)
    for client in given.clients:
        found = port.post(f"/clients/{segment(client)}/kick")
        yield json.dumps(found) if given.json else f"kicked {plain(found['client_id'])}"


def ban(given: argparse.Namespace, clock: Callable[[], float]) -> str:
    """Set a ban."""
    found = _port(given).post("/bans", {"target": given.target, "seconds": given.seconds, "reason": given.reason})
    if given.json:
        return json.dumps(found)
    until = found["until"]
    return f"banned {plain(found['target'])} {'for good' if until is None else f'until {moment(until)}'}"


def unban(given: argparse.Namespace, clock: Callable[[], float]) -> str:
    """Lift a ban."""
    found = _port(given).delete(f"/bans/{segment(given.target)}")
    return json.dumps(found) if given.json else f"lifted the ban of {plain(found['target'])}"


def drain(given: argparse.Namespace, clock: Callable[[], float]) -> str:
    """Begin to drain."""
    found = _port(given).post("/drain")
    return json.dumps(found) if given.json else "the server refuses new clients, and /ready says so"


def undrain(given: argparse.Namespace, clock: Callable[[], float]) -> str:
    """End draining."""
    found = _port(given).delete("/drain")
    return json.dumps(found) if given.json else "the server takes new clients again"


def reload(given: argparse.Namespace, clock: Callable[[], float]) -> str:
    """Have the server reload."""
    found = _port(given).post("/reload")
    if given.json:
        return json.dumps(found)
    changed = ", ".join(map(plain, found["changed"])) or "no setting has changed"
    refused = "".join(f"; only a restart can change {plain(each)}" for each in found["refused"])
    return f"reloaded: {changed}; certificates read again: {found['certificates']}{refused}"


def _pairs(facts: Mapping[str, object]) -> str:
    width = max(map(len, facts), default=0)
    return "\n".join(f"{plain(name):{width}}  {plain(value)}" for name, value in facts.items())
