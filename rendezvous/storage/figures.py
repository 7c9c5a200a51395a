"""What the tables of a process hold, in numbers."""

from __future__ import annotations

from rendezvous.core.signaling.offers import OFFERS
from rendezvous.model import Fill, Saving, StoreFigures
from rendezvous.storage.notifier import Notifier
from rendezvous.storage.tables import Tables

__all__ = ["figures_of"]


def figures_of(tables: Tables, notifier: Notifier, saving: Saving | None) -> StoreFigures:
    """:returns: what these tables hold now."""
    bounds, catalogue = tables.bounds, tables.offers.catalogue
    offers = catalogue.count(OFFERS)
    presence = tables.presence
    return StoreFigures(
        tables={
            "attempts": Fill(len(tables.attempt_table), bounds.max_attempts),
            "clients": Fill(len(presence), bounds.max_clients),
            "logouts": Fill(len(presence.logouts), bounds.max_clients),
            "offers": Fill(len(catalogue), bounds.max_offers),
            "tracker_peers": Fill(len(tables.tracker), bounds.max_tracker_peers),
            "waiting": Fill(len(notifier), notifier.max_waiting),
        },
        offers=offers,
        sessions=len(catalogue) - offers,
        event_streams=len(tables.offers.streams),
        signaling_memory=Fill(tables.offers.memory.held, bounds.signaling_memory),
        saving=saving,
    )
