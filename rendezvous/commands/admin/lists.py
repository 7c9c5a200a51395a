"""What ``rendezvous-admin list`` can list: where it is, and the columns of its table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from rendezvous.commands.admin.port import Port
from rendezvous.commands.admin.tables import amount, moment, size, span

__all__ = ["LISTS", "Listing", "rows"]

#: Entries that are asked for at a time.
PAGE = 1000


@attrs.frozen
class Listing:
    """
    One kind of entries.

    :ivar path: the route.
    :ivar key: the name of the list in the answer.
    :ivar columns: the headings.
    :ivar cells: gives the columns of an entry, at a time in seconds since the epoch.
    :ivar filters: the parameters that the route knows.
    :ivar is_paged: whether it is read page after page by a cursor.
    """

    path: str
    key: str
    columns: Sequence[str]
    cells: Callable[[Mapping[str, Any], float], Sequence[object]]
    filters: frozenset[str] = frozenset()
    is_paged: bool = True


def _client(each: Mapping[str, Any], now: float) -> Sequence[object]:
    return each["client_id"], each["state"], _address(each), each["network"], span(now - each["last_seen"])


def _address(each: Mapping[str, Any]) -> str:
    host, port = each["host"], each["port"]
    if host is None:
        return "-"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _attempt(each: Mapping[str, Any], now: float) -> Sequence[object]:
    nats = " + ".join(each["mappings"]) if each["mappings"] else None
    begun = f"{span(now - each['begun'])} ago"
    clients = each["controlling"], each["controlled"]
    return *clients, begun, each["state"], nats, each["via"] or each["strategy"], each["why"]


def _ban(each: Mapping[str, Any], now: float) -> Sequence[object]:
    return each["target"], moment(each["until"], "for good"), moment(each["since"]), each["reason"]


def _limited(each: Mapping[str, Any], now: float) -> Sequence[object]:
    return each["network"], each["reason"], amount(each["times"]), f"{span(now - each['last'])} ago"


def _socket(each: Mapping[str, Any], now: float) -> Sequence[object]:
    return each["kind"], each["host"], each["client_id"], span(now - each["since"]), size(each["unread"])


def _offer(each: Mapping[str, Any], now: float) -> Sequence[object]:
    answered = "no" if each["answered"] is None else f"{span(now - each['answered'])} ago"
    first = each.get("id", each.get("origin"))
    return first, each["network"], span(each["expires"] - now), answered, size(each["size"]), " ".join(each["topics"])


LISTS = {
    "clients": Listing(
        "/clients",
        "clients",
        ("client", "state", "address", "registered from", "last seen"),
        _client,
        frozenset({"prefix", "network", "state"}),
    ),
    "topics": Listing(
        "/topics",
        "topics",
        ("peers", "topic"),
        lambda each, now: (amount(each["peers"]), each["topic"]),
        frozenset({"prefix"}),
        is_paged=False,
    ),
    "offers": Listing("/offers", "offers", ("offer", "network", "ends in", "answered", "size", "topics"), _offer),
    "sessions": Listing("/sessions", "sessions", ("origin", "network", "ends in", "answered", "size", "topic"), _offer),
    "attempts": Listing(
        "/attempts",
        "attempts",
        ("from client", "to client", "begun", "state", "nats", "path", "why"),
        _attempt,
        frozenset({"client"}),
    ),
    "sockets": Listing("/sockets", "sockets", ("kind", "address", "client", "open for", "unread"), _socket),
    "limited": Listing("/limited", "networks", ("network", "reason", "times", "last"), _limited, is_paged=False),
    "bans": Listing("/bans", "bans", ("target", "until", "since", "reason"), _ban, is_paged=False),
}
"""What can be listed, by its word on the command line."""


def rows(port: Port, listing: Listing, filters: Mapping[str, str | None], most: int) -> Iterator[dict[str, Any]]:
    """
    Read entries, a page at a time. With a filter that few entries fit, the server answers after a part of its table.

    :param filters: parameters of the route.
    :param most: how many are wanted; 0 for all.
    :returns: yields entries.
    :raises OperatorError: it was refused, or the server cannot be reached.
    """
    left = most or float("inf")
    after: str | None = None
    offset = 0
    while left > 0:
        asked: dict[str, object] = {**filters, "limit": int(min(left, PAGE))}
        if listing.is_paged:
            asked["after"] = after
        elif listing.path == "/topics":
            # The public port has this route too, and its names.
            asked |= {"limit": int(min(left, 200)), "offset": offset, "startsWith": asked.pop("prefix")}
        answer = port.get(listing.path, asked)
        found = answer[listing.key]
        yield from found[: int(min(left, len(found)))]
        left -= len(found)
        offset += len(found)
        after = answer.get("next")
        is_last = after is None if listing.is_paged else not found or offset >= answer.get("total", 0)
        if is_last:
            return
