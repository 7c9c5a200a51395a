"""Event streams as Server-Sent Events (HTML Standard, section 9.2)."""

from __future__ import annotations

from rendezvous.web.events.stream import Item

__all__ = ["block"]


def block(item: Item) -> bytes:
    """:returns: the lines of an item, and of the resets before it."""
    blocks = [b"event: reset\ndata: %b\n\n" % reset for reset in item.resets]
    if item.event:
        blocks.append(b"id: %d\nevent: %b\ndata: %b\n\n" % (item.id, item.event.encode("ascii"), item.data))
    else:
        # A block without data is no event, but its id counts.
        blocks.append(b": keep-alive\nid: %d\n\n" % item.id)
    return b"".join(blocks)
