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

from rendezvous.core.amplification import FACTOR
from rendezvous.core.macs import datagram_key
from rendezvous.core.presence.states import PulseCode
from rendezvous.core.replies import Announced, Expired, PeerInfo, Pulsed, Pushed, PushNotice, StillAlive
from rendezvous.core.tracker import MAX_MULTIADDR
from rendezvous.testing import MemoryServer
from rendezvous.wire.demux import Kind, classify
from rendezvous.wire.signed import Request, encode_request
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

    :ivar protocol: whose messages they are, as the page says it.
    :ivar request: what the page calls it.
    :ivar reply: the same of the reply.
    :ivar asked: bytes of the request.
    :ivar sent: datagrams to the receiver.
    """

    protocol: str
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
        return [self.protocol, self.request, self.reply, str(self.asked), str(self.size), str(self.factor)]


class Observed:
    """Attempts that go on."""

    async def observe(self, *arguments: Any) -> PulseCode:
        """Take every observation."""
        return PulseCode.ON_TIME

    def client_of_check(self, attempt: bytes, nonce: bytes) -> None:
        """Know no check."""

    async def take_check_answer(self, *arguments: Any) -> None:
        """Take every answer to a check."""


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

    def announced(self, source: tuple[str, int], at: int) -> str:
        """:returns: the shareId of a peer that announces itself, and has no credit after that."""
        [reply] = self.server.deliver(compact("announce"), source, at)
        self.spend_credit(source)
        share_id = json.loads(reply)["data"]["shareId"]
        assert isinstance(share_id, str)
        return share_id

    def record(self, source: tuple[str, int], at: int) -> None:
        """Give a peer a multiaddr as long as can be."""
        self.server.deliver(compact("pulse", multiaddr=MULTIADDR), source, at)
        self.spend_credit(source)

    def spend_credit(self, source: tuple[str, int]) -> None:
        """Leave an address nothing of what its requests have earned."""
        protocol: Any = self.server.udp_ports[0].protocol
        limit = protocol.shared.amplification
        while limit.spend(source, 1):
            pass


def pulses() -> Iterator[Exchange]:
    """Measure the rendezvous protocol."""
    meter = Meter()
    _, key, headers = meter.server.register()

    def exchange(form: str, reply: str, datagram: bytes) -> Exchange:
        return Exchange("rendezvous", form, reply, len(datagram), meter.sent(datagram, ALICE, 0, ALICE))

    for form, known, unknown in (
        ("pulse of 32 bytes", key, bytes(32)),
        ("pulse of 64 hex digits", key.hex().encode(), b"0" * 64),
    ):
        yield exchange(form, "``1020``", known)
        meter.server.reactor.advance(34)
        yield exchange(form, "``1050``", known)
        yield exchange(form, "``1060``", unknown)
        meter.server.request("POST", "/verify", headers=headers)
    meter.server.stop()


def signed_requests() -> Iterator[Exchange]:
    """Measure signed pulses, and an observation of an attempt that goes on."""
    meter = Meter()
    client_id, key, _ = meter.server.register()
    meter.server.rendezvous._datagrams.attempts = Observed()

    def exchange(protocol: str, what: str, code: int, **fields: Any) -> Exchange:
        wanted = Request(bytes.fromhex(client_id), round(meter.server.reactor.seconds() * 1000), bytes(8), **fields)
        datagram = encode_request(attrs.evolve(wanted, port=1), datagram_key(key))
        return Exchange(protocol, what, f"``{code}``", len(datagram), meter.sent(datagram, ALICE, 0, ALICE))

    meter.server.reactor.advance(1)
    for silence, code in ((0, 1020), (34, 1050), (177, 1060)):
        meter.server.reactor.advance(silence)
        yield exchange("rendezvous", "signed pulse", code)
    yield exchange("connect", "observation", 1020, attempt=b"attempt!", round=1)
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
    full.announced(OTHER, at)

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
    yield exchange("``pulse``, override made", compact("pulse", override=True, port=1))
    meter.server.deliver(compact("pulse", override=True, port=LONGEST[1]), LONGEST, at)
    yield exchange("``pulse``, override refused", compact("pulse", override=True))
    yield exchange("``pulse`` for a new name", compact("pulse", shareId=True))
    yield exchange("``pulse`` with a wrong field", compact("pulse", override=0))
    yield exchange("``push`` without a name", compact("push"))
    yield exchange("``push`` to an unknown name", compact("push", shareId=""))
    meter.server.stop()
    full.server.stop()


def pushes(at: int) -> Iterator[Exchange]:
    """Measure pushes between peers that have sent as little as they can, and are to be told as much as there is."""
    name = "tracker, deployed" if at == DEPLOYED else "tracker, documented"
    for asked, pusher, target, to in (
        ("``push``", LONGEST, OTHER, LONGEST),
        ("``push``, as its target sees it", LONGEST, OTHER, OTHER),
        ("``push`` to oneself", LONGEST, LONGEST, LONGEST),
    ):
        meter = Meter()
        names = {source: meter.announced(source, at) for source in (LONGEST, OTHER)}
        meter.record(LONGEST if to == OTHER else OTHER, at)
        datagram = compact("push", shareId=names[target])
        sent = meter.sent(datagram, pusher, at, to)
        if sent:
            replies = " and ".join(f"``{json.loads(reply)['action']}``" for reply in sent)
            yield Exchange(name, asked, replies, len(datagram), sent)
        meter.server.stop()


def measured() -> list[Exchange]:
    """:returns: every exchange that the page lists, in its order."""
    return [
        *pulses(),
        *signed_requests(),
        *stuns(),
        *(exchange for at in (DOCUMENTED, DEPLOYED) for exchange in (*trackers(at), *pushes(at))),
    ]


class AmplificationTests(SynchronousTestCase):
    """The port is a poor amplifier, and the page on security says how poor."""

    def setUp(self) -> None:
        """Start a server without limits of sources."""
        self.meter = Meter()
        self.addCleanup(self.meter.server.stop)

    def test_page_shows_what_is_measured(self) -> None:
        """Row by row, to the byte."""
        [table] = [table for table in tables(PAGE.read_text(encoding="utf-8")) if table[0][-1] == "Factor"]
        self.assertEqual(table[1:], [exchange.row for exchange in measured()])

    def test_every_reply_is_measured(self) -> None:
        """Each that a variant of the tracker can send, and every code of a pulse."""
        samples: dict[type, Message] = {
            Announced: Announced("a" * 8),
            Pulsed: Pulsed(),
            StillAlive: StillAlive(),
            Expired: Expired(),
            Pushed: Pushed(PeerInfo("192.0.2.1", 1, "a" * 8)),
            PushNotice: PushNotice(PeerInfo("192.0.2.1", 1, "a" * 8)),
            Failed: Failed("x"),
        }
        self.assertEqual(set(samples), set(get_args(Message)))
        for at, dialect in ((DOCUMENTED, Dialect.DOCUMENTED), (DEPLOYED, Dialect.DEPLOYED)):
            written = [encode(reply, dialect) for reply in samples.values()]
            actions = {json.loads(datagram)["action"] for datagram in written if datagram is not None}
            seen = {json.loads(reply)["action"] for exchange in (*trackers(at), *pushes(at)) for reply in exchange.sent}
            self.assertEqual(seen, actions)
        codes = {int.from_bytes(exchange.sent[0], "big") for exchange in pulses()}
        self.assertEqual(codes, {1020, 1050, 1060})

    def test_every_code_of_a_signed_pulse_is_measured(self) -> None:
        """The reply has the code that its row says."""
        for each in signed_requests():
            [reply] = each.sent
            self.assertEqual(f"``{int.from_bytes(reply[2:4], 'big')}``", each.reply)

    def test_only_the_fixed_answers_are_longer_than_their_requests(self) -> None:
        """STUN's and the tracker's; a pulse gets an eighth of what it is, at most."""
        longer = {exchange.protocol for exchange in measured() if exchange.size > exchange.asked}
        self.assertEqual(longer, {"STUN", "tracker, documented", "tracker, deployed"})
        self.assertLessEqual(max(exchange.size / exchange.asked for exchange in pulses()), 1 / 8)

    def test_no_request_is_worth_more_than_four(self) -> None:
        """As the page says below its table, for a source that has no credit of earlier requests."""
        self.assertLessEqual(max(exchange.factor for exchange in measured()), FACTOR)

    @given(st.binary(max_size=100) | st.binary(min_size=32, max_size=32))
    @example(b"0" * 64)
    def test_no_other_datagram_is_answered_at_length(self, datagram: bytes) -> None:
        """Whatever is neither STUN nor the tracker's gets at most its own length back."""
        if classify(datagram) not in (Kind.STUN, Kind.TRACKER):
            sent = self.meter.sent(datagram, LONGEST, 0, LONGEST)
            self.assertLessEqual(sum(map(len, sent)), len(datagram))


_ANY = st.none() | st.booleans() | st.integers(0, 65536) | st.sampled_from(["", "true", "10.0.0.1", LONGEST[0]])


_NAMES = st.sampled_from(["own", "other", "none"])


class TotalTests(SynchronousTestCase):
    """What is sent to an address in all is at most four times what has come from there, whatever it was."""

    def setUp(self) -> None:
        """Announce a peer with the longest multiaddr, and one that sends whatever is drawn."""
        self.meter = Meter()
        self.addCleanup(self.meter.server.stop)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["announce", "alive", "pulse", "push", "push"]),
                st.dictionaries(st.sampled_from(["override", "ip", "port", "multiaddr", "shareId"]), _ANY),
                st.sampled_from([DOCUMENTED, DEPLOYED]),
                _NAMES,
                st.sampled_from([0, 0, 0, 300]),
            ),
            max_size=30,
        )
    )
    def test_no_sequence_of_requests_draws_more(
        self, requests: list[tuple[str, dict[str, Any], int, str, int]]
    ) -> None:
        """Any requests of one address in any order, with or without padding, to any names."""
        source = LONGEST
        names: dict[str, str] = {"none": "", "own": ""}
        names["other"] = self.meter.announced(OTHER, DEPLOYED)
        self.meter.record(OTHER, DEPLOYED)
        received = sent = 0
        # Nothing may be left of the example before this one.
        self.meter.spend_credit(source)
        for action, fields, at, name, padding in requests:
            if action == "push":
                fields = {**fields, "shareId": names[name]}
            if padding:
                fields = {**fields, "multiaddr" if action == "pulse" else "padding": "x" * min(padding, MAX_MULTIADDR)}
            datagram = compact(action, **fields)
            replies = self.meter.sent(datagram, source, at, source)
            received += len(datagram)
            sent += sum(map(len, replies))
            for reply in replies:
                names["own"] = json.loads(reply).get("data", {}).get("shareId", names["own"])
            self.assertLessEqual(sent, FACTOR * received)

    def test_notice_has_a_multiaddr_only_if_its_receiver_has_earned_it(self) -> None:
        """A forged announcement must not bring its victim long notices; what the victim is sent is worth three."""
        for padding, expected in (("", False), ("x" * 60, True)):
            name = self.meter.announced(OTHER, DEPLOYED)
            self.meter.announced(LONGEST, DEPLOYED)
            self.meter.record(LONGEST, DEPLOYED)
            self.meter.server.deliver(compact("alive", padding=padding), OTHER, DEPLOYED)
            if not padding:
                self.meter.spend_credit(OTHER)
            [notice] = self.meter.sent(compact("push", shareId=name), LONGEST, DEPLOYED, OTHER)
            self.assertEqual("multiaddr" in json.loads(notice)["data"], expected)
