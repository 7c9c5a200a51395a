"""How many bytes a datagram can cause to be sent, measured in exchanges with a whole server, and as documented."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import attrs
from hypothesis import example, given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.protocols import Protocol
from rendezvous.core.tracker import (
    MAX_MULTIADDR,
    Announced,
    Expired,
    Pulsed,
    Pushed,
    PushNotice,
    StillAlive,
)
from rendezvous.testing import MemoryServer
from rendezvous.wire.demux import classify
from rendezvous.wire.tracker import Dialect, Failed, Message, encode
from tests._rst import tables
from tests._udp_case import ALICE, BOTH, DEPLOYED, DOCUMENTED
from tests.stun_samples import request

PAGE = Path(__file__).parents[1] / "docs" / "security.rst"

#: A source that takes as many characters as one can, and another.
LONGEST = ("2001:db8:1111:2222:3333:4444:5555:6666", 65535)
OTHER = ("2001:db8:1111:2222:3333:4444:5555:7777", 65535)
#: A multiaddr that takes as many bytes as one can. What JSON spells with two counts as two, so this is no shorter way.
MULTIADDR = "a" * MAX_MULTIADDR


def compact(action: str, **fields: Any) -> bytes:
    """:returns: a request with no byte more than it needs."""
    return json.dumps({"action": action, **fields}, separators=(",", ":")).encode()


@attrs.frozen
class Exchange:
    """
    A request, and what the server sent because of it to one receiver.

    :ivar dialect: whose messages they are, as the page says it.
    :ivar request: what the page calls it.
    :ivar reply: the same of the reply.
    :ivar asked: bytes of the request.
    :ivar sent: datagrams to the receiver.
    """

    dialect: str
    request: str
    reply: str
    asked: int
    sent: tuple[bytes, ...]

    @property
    def size(self) -> int:
        """:returns: bytes of all that was sent."""
        return sum(map(len, self.sent))

    @property
    def factor(self) -> float:
        """:returns: how many bytes were sent for each that was asked with, rounded up to a tenth."""
        return -(-10 * self.size // self.asked) / 10

    @property
    def row(self) -> list[str]:
        """:returns: the exchange as a row of the page's table."""
        return [self.dialect, self.request, self.reply, str(self.asked), str(self.size), str(self.factor)]


class Meter:
    """A server without a rate limit, and the ways to ask it and count what it sends."""

    def __init__(self, **options: Any) -> None:
        self.server = MemoryServer(udp_port=BOTH, udp_rate=0.0, **options)

    def sent(self, datagram: bytes, source: tuple[str, int], at: int, to: tuple[str, int]) -> tuple[bytes, ...]:
        """:returns: what is sent to a receiver, from any port, because of a datagram."""
        before = [len(port.sent) for port in self.server.udp_ports]
        self.server.deliver(datagram, source, at)
        later = [port.sent[count:] for port, count in zip(self.server.udp_ports, before, strict=True)]
        return tuple(reply for replies in later for reply, address in replies if address == to)

    def peer(self, source: tuple[str, int], at: int) -> str:
        """:returns: the shareId of a peer that has a multiaddr as long as can be."""
        [reply] = self.server.deliver(compact("announce"), source, at)
        self.server.deliver(compact("pulse", multiaddr=MULTIADDR), source, at)
        share_id = json.loads(reply)["data"]["shareId"]
        assert isinstance(share_id, str)
        return share_id


def pulses() -> Iterator[Exchange]:
    """Measure the rendezvous dialect."""
    meter = Meter()
    _, key, _ = meter.server.register()

    def exchange(form: str, reply: str, datagram: bytes) -> Exchange:
        return Exchange("rendezvous", form, reply, len(datagram), meter.sent(datagram, ALICE, 0, ALICE))

    for form, known, unknown in (
        ("pulse of 32 bytes", key, bytes(32)),
        ("pulse of 64 hex digits", key.hex().encode(), b"0" * 64),
    ):
        yield exchange(form, "``1020``", known)
        meter.server.reactor.rightNow += 34
        yield exchange(form, "``1050``", known)
        yield exchange(form, "``1060``", unknown)
        meter.server.reactor.rightNow -= 34
    meter.server.stop()


def stuns() -> Iterator[Exchange]:
    """Measure STUN."""
    meter = Meter()
    for name, source in (("IPv4", ALICE), ("IPv6", LONGEST)):
        for mark, fingerprint in (("", False), (" with FINGERPRINT", True)):
            datagram = request(fingerprint=fingerprint)
            sent = meter.sent(datagram, source, 0, source)
            yield Exchange("STUN", f"Binding{mark} over {name}", "success", len(datagram), sent)
    for mark, fingerprint in (("", False), (" with FINGERPRINT", True)):
        datagram = request((0x0003, b""), fingerprint=fingerprint)
        sent = meter.sent(datagram, LONGEST, 0, LONGEST)
        yield Exchange("STUN", f"Binding{mark} and an unknown attribute", "error 420", len(datagram), sent)
    meter.server.stop()


def trackers(at: int) -> Iterator[Exchange]:
    """Measure the tracker on one of the two ports."""
    name = "tracker, deployed" if at == DEPLOYED else "tracker, documented"
    meter, full = Meter(), Meter(max_tracker_peers=1)
    full.peer(OTHER, at)

    def exchange(asked: str, datagram: bytes, to: tuple[str, int] = LONGEST, within: Meter = meter) -> Exchange:
        sent = within.sent(datagram, LONGEST, at, to)
        replies = " and ".join(f"``{json.loads(reply)['action']}``" for reply in sent)
        return Exchange(name, asked, replies, len(datagram), sent)

    yield exchange("``alive`` of a stranger", compact("alive"))
    yield exchange("``pulse`` of a stranger", compact("pulse"))
    yield exchange("``announce``", compact("announce"))
    yield exchange("``announce`` to a full tracker", compact("announce"), within=full)
    yield exchange("``alive``", compact("alive"))
    yield exchange("``pulse``", compact("pulse"))
    yield exchange("``pulse`` that overrides", compact("pulse", override=True, port=1))
    meter.server.deliver(compact("pulse", override=True, port=LONGEST[1]), LONGEST, at)
    yield exchange("``pulse`` that may not", compact("pulse", override=True))
    yield exchange("``pulse`` for a new name", compact("pulse", shareId=True))
    yield exchange("``pulse`` with a wrong field", compact("pulse", override=0))
    yield exchange("``push`` without a name", compact("push"))
    yield exchange("``push`` to nobody", compact("push", shareId=""))
    target = meter.peer(OTHER, at)
    yield exchange("``push``", compact("push", shareId=target))
    own = meter.peer(LONGEST, at)
    if at == DEPLOYED:
        yield exchange("``push``, as its target sees it", compact("push", shareId=target), OTHER)
        yield exchange("``push`` to oneself", compact("push", shareId=own))
    meter.server.stop()
    full.server.stop()


def measured() -> list[Exchange]:
    """:returns: every exchange that the page lists, in its order."""
    return [*pulses(), *stuns(), *trackers(DOCUMENTED), *trackers(DEPLOYED)]


def sorted_by_factor() -> list[Exchange]:
    """:returns: the same, the worst last."""
    return sorted(measured(), key=lambda exchange: exchange.factor)


class AmplificationTests(SynchronousTestCase):
    """The port is a poor amplifier, and the page on security says how poor."""

    def setUp(self) -> None:
        """Start a server that limits nobody."""
        self.meter = Meter()
        self.addCleanup(self.meter.server.stop)

    def test_page_shows_what_is_measured(self) -> None:
        """Row by row, to the byte."""
        [table] = [table for table in tables(PAGE.read_text(encoding="utf-8")) if table[0][-1] == "Factor"]
        self.assertEqual(table[1:], [exchange.row for exchange in measured()])

    def test_every_reply_is_measured(self) -> None:
        """Each that a dialect has words for, and every code of a pulse."""
        samples: dict[type, Message] = {
            Announced: Announced("a" * 8),
            Pulsed: Pulsed(),
            StillAlive: StillAlive(),
            Expired: Expired(),
            Pushed: Pushed("192.0.2.1", 1, "a" * 8),
            PushNotice: PushNotice("192.0.2.1", 1, "a" * 8),
            Failed: Failed("x"),
        }
        self.assertEqual(set(samples), set(get_args(Message)))
        for at, dialect in ((DOCUMENTED, Dialect.DOCUMENTED), (DEPLOYED, Dialect.DEPLOYED)):
            written = [encode(reply, dialect) for reply in samples.values()]
            actions = {json.loads(datagram)["action"] for datagram in written if datagram is not None}
            seen = {json.loads(reply)["action"] for exchange in trackers(at) for reply in exchange.sent}
            self.assertEqual(seen, actions)
        codes = {int.from_bytes(exchange.sent[0], "big") for exchange in pulses()}
        self.assertEqual(codes, {1020, 1050, 1060})

    def test_only_the_fixed_answers_are_longer_than_their_requests(self) -> None:
        """STUN's and the tracker's; a pulse gets an eighth of what it is, at most."""
        longer = {exchange.dialect for exchange in measured() if exchange.size > exchange.asked}
        self.assertEqual(longer, {"STUN", "tracker, documented", "tracker, deployed"})
        self.assertLessEqual(max(exchange.size / exchange.asked for exchange in pulses()), 1 / 8)

    def test_only_a_push_is_worth_more_than_four(self) -> None:
        """As the page says below its table: all else is short whatever anybody has left here."""
        worst = {exchange.request.startswith("``push``"): exchange.factor for exchange in sorted_by_factor()}
        self.assertLessEqual(worst[False], 4)
        self.assertGreater(worst[True], 4)

    @given(st.binary(max_size=100) | st.binary(min_size=32, max_size=32))
    @example(b"0" * 64)
    def test_no_other_datagram_is_answered_at_length(self, datagram: bytes) -> None:
        """Whatever is neither STUN nor the tracker's gets at most its own length back."""
        if classify(datagram) not in (Protocol.STUN, Protocol.TRACKER):
            sent = self.meter.sent(datagram, LONGEST, 0, LONGEST)
            self.assertLessEqual(sum(map(len, sent)), len(datagram))


_ANY = st.none() | st.booleans() | st.integers(0, 65536) | st.sampled_from(["", "true", "10.0.0.1", LONGEST[0]])


class WorstCaseTests(SynchronousTestCase):
    """No request does worse than the worst row of the table."""

    def setUp(self) -> None:
        """Announce two peers whose records are as long as can be, to a server that limits nobody."""
        self.meter = Meter()
        self.addCleanup(self.meter.server.stop)
        self.own, self.other = (self.meter.peer(source, DEPLOYED) for source in (LONGEST, OTHER))
        self.worst = {at: max(exchange.factor for exchange in trackers(at)) for at in (DOCUMENTED, DEPLOYED)}

    @given(
        st.sampled_from(["announce", "alive", "pulse", "push"]),
        st.dictionaries(st.sampled_from(["override", "ip", "port", "multiaddr", "shareId"]), _ANY),
        st.sampled_from([DOCUMENTED, DEPLOYED]),
        st.booleans(),
    )
    def test_no_tracker_request_does_worse(self, action: str, fields: dict[str, Any], at: int, itself: bool) -> None:
        """Whatever its fields are, and whoever it names."""
        if action == "push" and "shareId" in fields:
            fields["shareId"] = self.own if itself else self.other
        elif action == "pulse":
            fields.pop("multiaddr", None)
            fields.pop("shareId", None)
        datagram = compact(action, **fields)
        self.assertLessEqual(
            sum(map(len, self.meter.sent(datagram, LONGEST, at, LONGEST))) / len(datagram), max(self.worst.values())
        )
