"""The routes of attempts to connect two clients. ``docs/protocol/connect.rst`` has the rules."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from twisted.internet.defer import Deferred

from rendezvous.client._http import Exchanges, Request, segment
from rendezvous.client._replies import Fields
from rendezvous.client.errors import ClientError, NotFound, PeerNotFound
from rendezvous.client.ice import IceServer, read_servers
from rendezvous.client.records import Identity
from rendezvous.core.connect import AttemptState, Candidate, CandidateKind, NatMapping, Strategy, Via

__all__ = ["LONGEST_WAIT", "Attempt", "AttemptState", "Attempts", "Invitation", "Peer"]

LONGEST_WAIT = 30.0
"""Seconds that the server holds a request at most."""

# What these do not have is taken as the most general one, because a later server may have further ones.
_KINDS = {kind.value: kind for kind in CandidateKind}
_STRATEGIES = {strategy.value: strategy for strategy in Strategy}
_MAPPINGS = {mapping.value: mapping for mapping in NatMapping}

_KEY_SIZE = 32
_ATTEMPT_SIZE = 8


@attrs.frozen
class Peer:
    """
    The other side of an attempt.

    :ivar client_id: of the peer.
    :ivar mapping: how its NAT maps its sockets; ``UNKNOWN`` before ``go``.
    :ivar candidates: its candidates, with ``go``; otherwise none.
    """

    client_id: str
    mapping: NatMapping = NatMapping.UNKNOWN
    candidates: tuple[Candidate, ...] = ()


@attrs.frozen
class Attempt:
    """
    An attempt, as one side sees it.

    :ivar id: its 8 bytes.
    :ivar state: how far it is.
    :ivar controlling: whether this side has asked for it.
    :ivar version: grows with each change that this side can see.
    :ivar expires: when it ends at the latest, in milliseconds since the epoch.
    :ivar round: from 1 on.
    :ivar peer: the other side.
    :ivar ice_servers: STUN and TURN servers for it.
    :ivar key: the pair key, 32 bytes, with ``go``; otherwise ``None``. ``repr`` never shows it.
    :ivar hold: seconds to wait before the first probe, with ``go``.
    :ivar mapping: how the NAT of this side maps its sockets; ``UNKNOWN`` before ``go``.
    :ivar strategy: how the round goes; ``DIRECT`` before ``go``.
    :ivar code: why it has failed, for programs; otherwise ``None``.
    :ivar reason: the same for people.
    """

    id: bytes
    state: AttemptState
    controlling: bool
    version: int
    expires: int
    round: int
    peer: Peer
    ice_servers: tuple[IceServer, ...] = ()
    key: bytes | None = attrs.field(default=None, repr=False)
    hold: float = 0.0
    mapping: NatMapping = NatMapping.UNKNOWN
    strategy: Strategy = Strategy.DIRECT
    code: str | None = None
    reason: str | None = None


@attrs.frozen
class Invitation:
    """
    A peer asks this client to take part in an attempt.

    :ivar attempt: the 8 bytes of its id.
    :ivar peer: the client id of the peer.
    :ivar seq: larger than that of each earlier invitation of this client.
    :ivar expires: when it ends, in milliseconds since the epoch.
    """

    attempt: bytes
    peer: str
    seq: int
    expires: int


class Attempts:
    """
    Attempts on one server. Every method returns a cancellable Deferred.

    They fail with :exc:`~rendezvous.client.NotFound` if the server does not know the attempt or the client takes no
    part in it, and with :exc:`~rendezvous.client.RequestRefused` if it cannot be done, for example with the code
    ``too-many-attempts``.

    :param exchanges: with the server.
    """

    def __init__(self, exchanges: Exchanges) -> None:
        self._exchanges = exchanges

    def connect(
        self,
        identity: Identity,
        peer_id: str,
        candidates: Iterable[Candidate] = (),
        *,
        rtt: float | None = None,
        birthday: bool = False,
        patience: float | None = None,
    ) -> Deferred[Attempt]:
        """
        Begin an attempt.

        :param identity: who begins it.
        :param peer_id: the client id of the peer.
        :param candidates: own candidates of the kinds ``host``, ``mapped`` and ``relayed``, 10 at most. A later list
            takes the place of this one.
        :param rtt: the round trip to the server, in seconds.
        :param birthday: whether this client agrees to open many ports.
        :param patience: seconds that the request may take; by default those of the client.
        :returns: fires with the attempt; fails with ``PeerNotFound`` when there is no such peer, and with
            ``ServerBusy`` when this client has begun too many.
        """
        path = f"/peer/{segment(peer_id)}/connect"
        return self._begin(identity, path, _body(candidates, rtt, birthday=birthday), PeerNotFound, patience)

    def invitations(
        self, identity: Identity, *, wait: float = 0.0, since: int | None = None
    ) -> Deferred[tuple[Invitation, ...]]:
        """
        Ask who wants to connect.

        :param identity: who is invited.
        :param wait: seconds to wait for an invitation, :data:`LONGEST_WAIT` at most.
        :param since: the ``seq`` of the latest invitation that is known already.
        :returns: fires with the invitations that were neither accepted nor declined.
        """
        query = {"wait": f"{wait:g}" if wait else None, "since": since}
        return self._exchanges.ask(Request("GET", "/attempts", identity, query=query, wait=wait), _invitations)

    def accept(
        self,
        identity: Identity,
        attempt: bytes,
        candidates: Iterable[Candidate] = (),
        *,
        rtt: float | None = None,
        birthday: bool = False,
        patience: float | None = None,
    ) -> Deferred[Attempt]:
        """
        Accept an invitation.

        :param identity: who is invited.
        :param attempt: its id.
        :param candidates: as for :meth:`connect`.
        :param rtt: the same.
        :param birthday: the same.
        :param patience: the same.
        :returns: fires with the attempt.
        """
        body = _body(candidates, rtt, birthday=birthday)
        return self._begin(identity, f"{_path(attempt)}/accept", body, NotFound, patience)

    def candidates(self, identity: Identity, attempt: bytes, candidates: Iterable[Candidate]) -> Deferred[Attempt]:
        """
        Name own candidates, in the place of those that were named before.

        :param identity: which side.
        :param attempt: its id.
        :param candidates: 10 at most.
        :returns: fires with the attempt.
        """
        return self._begin(identity, f"{_path(attempt)}/candidates", _body(candidates, None), NotFound)

    def view(
        self,
        identity: Identity,
        attempt: bytes,
        *,
        wait: float = 0.0,
        version: int | None = None,
        patience: float | None = None,
    ) -> Deferred[Attempt]:
        """
        Read an attempt.

        :param identity: which side.
        :param attempt: its id.
        :param wait: seconds to wait for a version above ``version``, :data:`LONGEST_WAIT` at most.
        :param version: the latest that is known already.
        :param patience: seconds that the request may take beside ``wait``; by default those of the client.
        :returns: fires with the attempt.
        """
        query = {"wait": f"{wait:g}" if wait else None, "version": version}
        request = Request("GET", _path(attempt), identity, query=query, wait=wait, patience=patience, missing=NotFound)
        return self._exchanges.ask(request, read_attempt)

    def done(
        self,
        identity: Identity,
        attempt: bytes,
        *,
        ok: bool,
        seconds: float | None = None,
        via: Via | None = None,
        code: str | None = None,
    ) -> Deferred[Attempt]:
        """
        Report how an attempt has ended for this side.

        :param identity: which side.
        :param attempt: its id.
        :param ok: whether there is a path.
        :param seconds: that it took.
        :param via: how the path goes.
        :param code: why there is none.
        :returns: fires with the attempt.
        """
        body: dict[str, object] = {
            "ok": ok,
            "ms": None if seconds is None else round(seconds * 1000),
            "via": via,
            "code": code,
        }
        return self._begin(identity, f"{_path(attempt)}/done", body, NotFound)

    def end(self, identity: Identity, attempt: bytes) -> Deferred[Attempt]:
        """
        Decline an invitation, or give an attempt up.

        :param identity: which side.
        :param attempt: its id.
        :returns: fires with the attempt.
        """
        return self._exchanges.ask(Request("DELETE", _path(attempt), identity, missing=NotFound), read_attempt)

    def _begin(
        self,
        identity: Identity,
        path: str,
        body: dict[str, object],
        missing: type[ClientError],
        patience: float | None = None,
    ) -> Deferred[Attempt]:
        request = Request("POST", path, identity, body, missing=missing, patience=patience)
        return self._exchanges.ask(request, read_attempt)


def read_attempt(fields: Fields) -> Attempt:
    """
    Read an attempt from an answer.

    :raises ServerError: when a member is missing or wrong.
    """
    try:
        state = AttemptState(fields.text("state"))
    except ValueError:
        raise fields.wrong("state") from None
    role = fields.text("role")
    if role not in ("controlling", "controlled"):
        raise fields.wrong("role")
    go = state is AttemptState.GO
    return Attempt(
        id=_hex(fields, "attempt", _ATTEMPT_SIZE),
        state=state,
        controlling=role == "controlling",
        version=fields.integer("version"),
        expires=fields.integer("expires"),
        round=fields.integer("round"),
        peer=_peer(fields.member("peer")),
        ice_servers=read_servers(fields),
        key=_hex(fields, "key", _KEY_SIZE) if go else None,
        hold=fields.seconds("hold") / 1000 if go else 0.0,
        mapping=_mapping(fields),
        strategy=_STRATEGIES.get(fields.text("strategy"), Strategy.DIRECT) if go else Strategy.DIRECT,
        code=fields.text_or_none("code"),
        reason=fields.text_or_none("reason"),
    )


def _invitations(fields: Fields) -> tuple[Invitation, ...]:
    return tuple(
        Invitation(_hex(one, "attempt", _ATTEMPT_SIZE), one.text("peer"), one.integer("seq"), one.integer("expires"))
        for one in fields.objects("attempts")
    )


def _peer(fields: Fields) -> Peer:
    found = fields.objects("candidates") if fields.values.get("candidates") is not None else ()
    return Peer(fields.text("client_id"), _mapping(fields), tuple(_candidate(one) for one in found if _is_known(one)))


def _mapping(fields: Fields) -> NatMapping:
    return _MAPPINGS.get(fields.text_or_none("mapping") or "", NatMapping.UNKNOWN)


def _is_known(fields: Fields) -> bool:
    """:returns: whether the kind of a candidate is one that this client knows. A later server may have further ones."""
    return fields.text("kind") in _KINDS


def _candidate(fields: Fields) -> Candidate:
    return Candidate(_KINDS[fields.text("kind")], (fields.host("host"), fields.port("port")))


def _hex(fields: Fields, name: str, size: int) -> bytes:
    try:
        value = bytes.fromhex(fields.text(name))
    except ValueError:
        raise fields.wrong(name) from None
    if len(value) != size:
        raise fields.wrong(name)
    return value


def _body(candidates: Iterable[Candidate], rtt: float | None, *, birthday: bool = False) -> dict[str, object]:
    return {
        "candidates": [
            {"kind": candidate.kind, "host": candidate.address[0], "port": candidate.address[1]}
            for candidate in candidates
        ],
        "rtt": None if rtt is None else round(rtt * 1000),
        "birthday": True if birthday else None,
    }


def _path(attempt: bytes) -> str:
    return f"/attempts/{attempt.hex()}"
