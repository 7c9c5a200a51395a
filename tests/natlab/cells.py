"""The cells of the matrix: two hosts, where they are, and what has to come of it."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

EASY = ("public", "full-cone", "address-restricted", "port-restricted", "random-port")
DIRECT, LAN, IPV6, MAPPED, BIRTHDAY, RELAY = "direct", "lan", "ipv6", "mapped", "birthday", "relay"


@attrs.frozen
class Side:
    """
    Where a host is.

    :ivar nat: a key of :data:`~tests.natlab.rules.NATS`.
    :ivar hops: routers between its NAT and the core.
    :ivar port_mapping: whether its router does NAT-PMP and PCP.
    :ivar ipv6: whether it has IPv6 as well, behind a firewall.
    :ivar bridges: how many bridges of containers it has.
    """

    nat: str
    hops: int = 0
    port_mapping: bool = False
    ipv6: bool = False
    bridges: int = 0

    def __str__(self) -> str:
        extras = (
            "mapping" if self.port_mapping else "",
            "ipv6" if self.ipv6 else "",
            f"{self.hops}hops" if self.hops else "",
            f"{self.bridges}bridges" if self.bridges else "",
        )
        return "+".join(filter(None, (self.nat, *extras)))


@attrs.frozen
class Required:
    """
    What has to come of a cell. Times are seconds from the call of ``connect``, without loss.

    :ivar via: the ways of connecting that count; empty if the attempt has to fail.
    :ivar worst: no run may take longer.
    :ivar median: half of the runs have to be as quick.
    :ivar share: of the runs that have to connect so.
    :ivar code: why the attempt has to fail.
    """

    via: tuple[str, ...]
    worst: float
    median: float | None = None
    share: float = 1.0
    code: str = ""


@attrs.frozen
class Cell:
    """
    Two hosts; the one of ``a`` calls ``connect``.

    :ivar row: what the table calls it.
    :ivar place: ``apart``, ``same-nat``, or ``same-carrier``.
    :ivar relay: whether there is a TURN server.
    :ivar options: of both commands.
    :ivar scenario: the name of a function of :mod:`~tests.natlab.scenarios` that is run instead of connecting again and
        again.
    """

    row: str
    a: Side
    b: Side
    required: Required
    place: str = "apart"
    relay: bool = False
    options: tuple[str, ...] = ()
    scenario: str = ""

    @property
    def name(self) -> str:
        """:returns: what it is called on the command line."""
        extras = [self.scenario, self.place if self.place != "apart" else "", "relay" if self.relay else ""]
        extras += [each.removeprefix("--") for each in self.options if each == "--birthday"]
        return ":".join(filter(None, (f"{self.a}/{self.b}", *extras)))


def _orders(first: Side, second: Side) -> Iterator[tuple[Side, Side]]:
    yield first, second
    if first != second:
        yield second, first


def _easy() -> Iterator[Cell]:
    row = "easy x easy"
    for a in EASY:
        for b in EASY:
            yield Cell(row, Side(a), Side(b), Required((DIRECT,), worst=2, median=0.7))
    with_bridges = Side("port-restricted", bridges=20)
    yield Cell(row, with_bridges, with_bridges, Required((DIRECT,), worst=2, median=0.7))


def _naive() -> Iterator[Cell]:
    row, required = "easy or linux-naive x linux-naive, a hop between", Required((DIRECT,), worst=4)
    for nat in EASY:
        for a, b in _orders(Side(nat), Side("linux-naive", hops=1)):
            yield Cell(row, a, b, required)
    naive = Side("linux-naive")
    yield Cell(row, Side("linux-naive", hops=1), naive, required)
    yield Cell(row, Side("linux-naive", hops=5), naive, required)


def _endpoint_dependent() -> Iterator[Cell]:
    for hard in ("symmetric", "address-mapping"):
        for easy in EASY[:3]:
            for a, b in _orders(Side(hard), Side(easy)):
                yield Cell("symmetric or ADM x public, cones", a, b, Required((DIRECT,), worst=2))
    restricted, symmetric = Side("port-restricted"), Side("symmetric")
    for a, b in _orders(Side("sequential"), restricted):
        yield Cell("sequential x port-restricted", a, b, Required((DIRECT,), worst=13, share=0.8))
    for a, b in _orders(symmetric, restricted):
        yield Cell("symmetric x port-restricted, relay", a, b, Required((RELAY,), worst=2), relay=True)
        required = Required((BIRTHDAY,), worst=13, share=0.9)
        yield Cell("symmetric x port-restricted, birthday", a, b, required, options=("--birthday",))


def _mapped() -> Iterator[Cell]:
    pairs = [("symmetric", "symmetric"), ("symmetric", "port-restricted"), ("port-restricted", "symmetric")]
    for mapped, other in [*pairs, ("linux-naive", "symmetric"), ("port-restricted", "port-restricted")]:
        for a, b in _orders(Side(mapped, port_mapping=True), Side(other)):
            yield Cell("one side with port mapping", a, b, Required((MAPPED, DIRECT), worst=2))


def _near() -> Iterator[Cell]:
    restricted = Side("port-restricted")
    yield Cell("same NAT, hairpin off", restricted, restricted, Required((LAN,), worst=1.5), place="same-nat")
    required = Required((DIRECT,), worst=1.5)
    yield Cell("one CGNAT with hairpin", restricted, restricted, required, place="same-carrier")
    with_ipv6 = Side("symmetric", ipv6=True)
    yield Cell("IPv6 with firewalls", with_ipv6, with_ipv6, Required((IPV6,), worst=1.5))


def _hopeless() -> Iterator[Cell]:
    symmetric = Side("symmetric")
    pairs = [(symmetric, symmetric, "symmetric-pair")]
    pairs += [(a, b, "udp-blocked") for a, b in _orders(Side("blocked"), Side("port-restricted"))]
    for a, b, code in pairs:
        yield Cell("symmetric x symmetric, UDP blocked: relay", a, b, Required((RELAY,), worst=3), relay=True)
        refused = Required((), worst=2, code=code)
        yield Cell("symmetric x symmetric, UDP blocked: no relay", a, b, refused)


def _scenarios() -> Iterator[Cell]:
    restricted, required = Side("port-restricted"), Required((), worst=2)
    yield Cell("uplink switched, data again", restricted, restricted, required, scenario="uplink")
    yield Cell("direct path dies, data again", restricted, restricted, required, relay=True, scenario="dies")
    yield Cell("ten minutes of silence, data", restricted, restricted, required, scenario="silence")


CELLS = {
    cell.name: cell
    for make in (_easy, _naive, _endpoint_dependent, _mapped, _near, _hopeless, _scenarios)
    for cell in make()
}

#: What CI runs, within five minutes.
QUICK = (
    "port-restricted/port-restricted",
    "linux-naive+1hops/linux-naive",
    "symmetric/address-restricted",
    "symmetric+mapping/symmetric",
    "symmetric/symmetric:relay",
    "symmetric/symmetric",
    "blocked/port-restricted:relay",
    "port-restricted/port-restricted:same-nat",
    "symmetric+ipv6/symmetric+ipv6",
    "port-restricted/port-restricted:uplink",
    "port-restricted/port-restricted:dies:relay",
)
