"""A cell set up: its network with a server, and two ``rendezvous`` commands."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.natlab.cells import Cell, Side
from tests.natlab.network import SERVER, TURN, Network, Site
from tests.natlab.programs import COMMAND, Programs, Rendezvous

DELAY = 20.0
START_PATIENCE = 30.0

#: Runs follow each other faster than people call each other.
SERVER_OPTIONS = ("--attempts-per-minute=0",)
#: The conditions of the core in each kind of run.
CONDITIONS: dict[str, dict[str, Any]] = {
    "clear": {},
    "skew": {},
    "loss": {"loss": 0.1},
    "bursts": {"loss": 0.1, "burst": 100.0},
}
#: What the server sends to the called host is so much later with skew.
SKEW = 150.0


class Stage:
    """
    The network of a cell, as a context manager. Host ``a`` calls, host ``b`` listens.

    :ivar network: with the sites ``a`` and ``b``.
    :ivar site_a: where host ``a`` is.
    :ivar site_b: where host ``b`` is.
    :ivar programs: starts further programs.
    :ivar listener: the command that listens on host ``b``.
    """

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self._stack = ExitStack()

    def __enter__(self) -> Stage:
        try:
            self._make()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._stack.close()

    def _make(self) -> None:
        directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="rvlab-")))
        self.network = self._stack.enter_context(closing(Network()))
        self.programs = Programs(self.network, directory)
        self._server_options = (*SERVER_OPTIONS, *(self.programs.turn() if self.cell.relay else ()))
        self.start_server()
        self.site_a, self.site_b = PLACES[self.cell.place](self.network, self.cell)
        for name, site, side in (("host-a", self.site_a, self.cell.a), ("host-b", self.site_b, self.cell.b)):
            self.network.host(name, site)
            self.network.add_bridges(name, side.bridges)
            if side.port_mapping:
                self.programs.port_mapping(site)
        self.set("clear")
        self.listen()

    def start_server(self) -> None:
        """Start the server, with the state that an earlier one has left."""
        self._server = self.programs.server(*self._server_options)

    def stop_server(self, number: int) -> None:
        """
        End the server.

        :param number: the signal that ends it.
        """
        self.network.namespaces.end(self._server, number)

    def listen(self, *options: str, command: Sequence[str] = COMMAND) -> None:
        """
        Start the command that listens on host ``b``; one that runs has to be stopped before.

        :param options: of the command, besides those of the cell.
        :param command: what is started in its place.
        """
        words = ("listen", *self.cell.options, *options)
        self.listener = self.programs.rendezvous("host-b", *words, ipv6=self.cell.b.ipv6, command=command)
        _, event = self.listener.event("listening", patience=START_PATIENCE)
        self._listener_id = event["id"]

    def set(self, condition: str) -> None:
        """Set the conditions of a kind of run."""
        extra = {f"server>{self.site_b.port}": SKEW} if condition == "skew" else {}
        self.network.conditions(delay=DELAY, extra=extra, **CONDITIONS[condition])

    def punched(self) -> int:
        """:returns: how many datagrams went between the two sites since the conditions were set."""
        carried, ports = self.network.carried(), (self.site_a.port, self.site_b.port)
        return sum(carried.get(">".join(pair), 0) for pair in (ports, ports[::-1]))

    def connect(self, *, command: Sequence[str] = COMMAND) -> Rendezvous:
        """
        Start the command that connects from host ``a``.

        :param command: what is started in its place.
        """
        words = ("connect", self._listener_id, *self.cell.options)
        return self.programs.rendezvous("host-a", *words, ipv6=self.cell.a.ipv6, command=command)

    def cut(self) -> None:
        """Let the direct path die silently."""
        self.network.cut(self.site_a, SERVER, TURN)


def _site(network: Network, name: str, side: Side, **options: Any) -> Site:
    return network.site(name, side.nat, hops=side.hops, ipv6=side.ipv6, **options)


def _apart(network: Network, cell: Cell) -> tuple[Site, Site]:
    return _site(network, "a", cell.a), _site(network, "b", cell.b)


def _same_nat(network: Network, cell: Cell) -> tuple[Site, Site]:
    site = _site(network, "a", cell.a)
    return site, site


def _same_carrier(network: Network, cell: Cell) -> tuple[Site, Site]:
    carrier = network.carrier("carrier", "port-restricted", hairpin=True)
    return _site(network, "a", cell.a, behind=carrier), _site(network, "b", cell.b, behind=carrier)


PLACES: dict[str, Callable[[Network, Cell], tuple[Site, Site]]] = {
    "apart": _apart,
    "same-nat": _same_nat,
    "same-carrier": _same_carrier,
}
