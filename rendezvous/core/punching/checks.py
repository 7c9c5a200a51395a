"""
Connectivity checks between two peers, for one attempt (RFC 8445, sections 6 and 7).

Both the puncher and the path use them: a probe is sent on a pair of addresses, the peer acknowledges it to the address
that it came from, and then the pair is valid. When to send a probe is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from rendezvous.core.addresses import Address
from rendezvous.core.connect import CandidateKind
from rendezvous.core.punching.actions import Action, Send
from rendezvous.core.punching.pairs import Local, Pair
from rendezvous.core.punching.probes import NEW_PATH, Codec, Data, Probe, ProbeType, RandomSource, Window
from rendezvous.core.tokenbucket import TokenBucket
from rendezvous.errors import WireError

__all__ = ["ANSWER_RATE", "Checks", "Heard"]

ANSWER_RATE = 40.0
"""Probes of the peer that are answered in a second at most, and addresses that are probed because of the peer."""

MAX_OUTSTANDING = 2048
"""Probes whose acknowledgement is waited for. The oldest is forgotten for a new one."""

MAX_PEER_REFLEXIVE = 16
"""Pairs whose address is known from a datagram of the peer only."""

CHECK_INTERVAL = 0.03
"""Seconds that pass at least between two probes to one address that are sent because the peer was heard there."""

_NONCE_SIZE = 8


@attrs.frozen
class Heard:
    """
    An authenticated datagram of the peer that was not seen before.

    :ivar pair: on which it came; ``None`` if there is no room for one more pair.
    :ivar acknowledged: whether it has made the pair valid, or shown again that it is.
    """

    message: Probe | Data
    pair: Pair | None
    acknowledged: bool = False


@attrs.frozen
class _Outstanding:
    """A probe that was sent."""

    local: Local
    address: Address
    at: float


class Checks:
    """
    The pairs of one attempt, and the probes on them.

    :param codec: of this side of the attempt.
    :param random: for nonces.
    :param path: the earlier path that this side goes on with.
    :ivar pairs: all pairs, by the name of the local endpoint and the address of the peer.
    :ivar data_window: the numbers of data that were seen; the attempts of one path share it.
    :ivar heard_at: when the peer was last heard.
    """

    def __init__(self, codec: Codec, random: RandomSource, path: bytes = NEW_PATH) -> None:
        self.codec = codec
        self.path = path
        self.pairs: dict[tuple[str, Address], Pair] = {}
        self.heard_at = float("-inf")
        self._random = random
        self._sequence = 0
        self.data_window = Window()
        self._window = Window()
        self._outstanding: dict[bytes, _Outstanding] = {}
        self._answers, self._checks = TokenBucket(ANSWER_RATE, ANSWER_RATE), TokenBucket(ANSWER_RATE, ANSWER_RATE)

    def add(self, local: Local, address: Address, kind: CandidateKind) -> Pair:
        """:returns: the pair; it is made if it is not there."""
        return self.pairs.setdefault((local.name, address), Pair(local, address, kind))

    def forget(self, names: Iterable[str]) -> None:
        """
        Forget all pairs of some local endpoints.

        :param names: of the endpoints.
        """
        gone = frozenset(names)
        self.pairs = {key: pair for key, pair in self.pairs.items() if key[0] not in gone}
        self._outstanding = {nonce: sent for nonce, sent in self._outstanding.items() if sent.local.name not in gone}

    def probe(self, now: float, pair: Pair, *, nominate: bool = False, ttl: int | None = None) -> Send:
        """
        Send a probe on a pair.

        :param ttl: for an opener; it does not count as a question that the peer leaves unanswered.
        """
        pair.probed = now
        if ttl is None and pair.silent_since is None:
            pair.silent_since = now
        return self.probe_address(now, pair.local, pair.address, nominate=nominate, ttl=ttl)

    def probe_address(
        self, now: float, local: Local, address: Address, *, nominate: bool = False, ttl: int | None = None
    ) -> Send:
        """Send a probe to an address that becomes a pair only if it answers."""
        nonce = self._random.randbytes(_NONCE_SIZE)
        if len(self._outstanding) >= MAX_OUTSTANDING:
            del self._outstanding[next(iter(self._outstanding))]
        self._outstanding[nonce] = _Outstanding(local, address, now)
        return self._send(ProbeType.PROBE, local, address, nonce, nominate=nominate, ttl=ttl)

    def data(self, pair: Pair, data: Data) -> Send:
        """Send data on a pair."""
        return Send(pair.local, pair.address, self.codec.encode_data(data))

    def bye(self, pair: Pair) -> Send:
        """Say on a pair that the path ends."""
        return self._send(ProbeType.BYE, pair.local, pair.address, self._random.randbytes(_NONCE_SIZE))

    def _send(
        self, type: ProbeType, local: Local, address: Address, nonce: bytes, *, nominate: bool = False,
        to_mapping: bool = False, ttl: int | None = None,
    ) -> Send:  # fmt: skip
        probe = Probe(
            type, self._sequence & 0xFFFFFFFF, nonce, address, nominate, self.path, to_mapping, local.birthday,
            local.relayed,
        )  # fmt: skip
        self._sequence += 1
        return Send(local, address, self.codec.encode_probe(probe), ttl)

    def receive(
        self, now: float, local: Local, datagram: bytes, source: Address, actions: list[Action]
    ) -> Heard | None:
        """
        Take a datagram: acknowledge a probe, and probe an address from which the peer was not heard before.

        :param local: the endpoint that it came to.
        :param actions: to which answers are added.
        :returns: what was heard, or ``None`` for a datagram that is not to be taken.
        """
        try:
            message = self.codec.decode(datagram)
        except WireError:
            return None
        # A copy must not do anything: not keep the path alive, nor have its source probed.
        window = self._window if isinstance(message, Probe) else self.data_window
        if not window.take(message.sequence):
            return None
        self.heard_at = now
        pair = self._pair_of(now, local, source)
        if pair is not None and isinstance(message, Probe):
            _note_kind(pair, local, message)
        acknowledged = False
        if isinstance(message, Probe):
            if message.type is ProbeType.PROBE_ACK:
                acknowledged = self._acknowledged(now, pair, local, source, message)
            elif message.type is ProbeType.PROBE:
                if not self._answers.take(now):
                    return Heard(message, pair)
                actions.append(self._answer(local, source, message))
        if pair is not None and not pair.valid and self._may_check(now, pair):
            actions.append(self.probe(now, pair))
        return Heard(message, pair, acknowledged)

    def _answer(self, local: Local, source: Address, probe: Probe) -> Send:
        """Acknowledge a probe to the address that it came from; the field ``address`` says which that is."""
        return self._send(
            ProbeType.PROBE_ACK, local, source, probe.nonce, nominate=probe.nominate,
            to_mapping=local.mapped == probe.address,
        )  # fmt: skip

    def _acknowledged(self, now: float, pair: Pair | None, local: Local, source: Address, ack: Probe) -> bool:
        """
        Enter an acknowledgement.

        Only one that comes from where the probe was sent to shows that the pair works (RFC 8445, section 7.2.5.2.1).

        :returns: whether the pair is valid by it.
        """
        sent = self._outstanding.pop(ack.nonce, None)
        if sent is None or pair is None or sent.local.name != local.name or sent.address != source:
            return False
        pair.measured(max(now - sent.at, 0.0))
        if not pair.valid:
            pair.valid, pair.valid_since = True, now
        return True

    def _pair_of(self, now: float, local: Local, source: Address) -> Pair | None:
        """:returns: the pair that a datagram came on, made if there is room for it."""
        pair = self.pairs.get((local.name, source))
        if pair is None:
            if not self._has_room():
                return None
            pair = self.add(local, source, CandidateKind.PEER_REFLEXIVE)
        pair.heard, pair.silent_since = now, None
        return pair

    def _has_room(self) -> bool:
        """:returns: whether one more peer-reflexive pair fits; the oldest one that does not work makes room."""
        found = [key for key, pair in self.pairs.items() if pair.kind is CandidateKind.PEER_REFLEXIVE]
        if len(found) < MAX_PEER_REFLEXIVE:
            return True
        useless = next((key for key in found if not self.pairs[key].valid), None)
        if useless is None:
            return False
        del self.pairs[useless]
        return True

    def _may_check(self, now: float, pair: Pair) -> bool:
        """:returns: whether a pair on which the peer was heard is probed now."""
        return (pair.probed is None or now - pair.probed >= CHECK_INTERVAL) and self._checks.take(now)


def _note_kind(pair: Pair, local: Local, message: Probe) -> None:
    """Take note of what a probe says about the way that it has come, so that both sides call it the same."""
    if message.type is ProbeType.PROBE_ACK:
        pair.to_mapping = pair.to_mapping or message.to_mapping
    elif local.mapped == message.address:
        pair.to_mapping = True
    pair.birthday = pair.birthday or message.birthday
    pair.relayed = pair.relayed or message.relayed
