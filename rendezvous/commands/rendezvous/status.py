"""``rendezvous id`` and ``rendezvous status``."""

from __future__ import annotations

from rendezvous.client import Status
from rendezvous.commands.rendezvous.context import Context

__all__ = ["show_id", "show_status"]

_WORDS = {
    Status.ONLINE: "online",
    Status.PENDING: "offline, or late with its pulses",
}


async def show_id(context: Context) -> int:
    """
    Print the id of this client; register it if the server does not know it.

    :returns: the exit status.
    """
    identity = await context.account.sign_in()
    context.output.result(identity.client_id, {"id": identity.client_id, "server": context.options.server})
    return 0


async def show_status(context: Context) -> int:
    """
    Print whether a peer is online.

    :returns: the exit status, which is 0 for a peer that is registered.
    """
    identity = await context.account.sign_in()
    found = await context.client.status(identity, context.options.peer)
    seen = "never seen" if found.last_online is None else f"last seen {found.last_online:.0f} s ago"
    context.output.result(
        f"{context.options.peer} is {_WORDS[found.status]}: {seen}",
        {"id": context.options.peer, "status": found.status.value, "last_online": found.last_online},
    )
    return 0
