"""
The tracker's datagrams: one JSON object each, UTF-8, in either of two dialects.

Requests are the same in both, and read with some patience:

* A boolean is ``true`` or ``"true"``, since the protocol's own answers spell booleans as text. A port is a number or
  its decimal digits. ``null`` means that a field is left out. Of two fields with one name the last counts, as with
  every common JSON parser, and unknown fields are ignored.
* An action that is no request is dropped in silence, like anything else that is not this protocol. An answer would
  itself be an object with an action, so two servers could be set to answering each other without end.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import Any, NoReturn

from attrs import frozen

from rendezvous.core.replies import Announced, Expired, PeerInfo, Pulsed, Pushed, PushNotice, Reply, StillAlive
from rendezvous.errors import WireError

__all__ = [
    "MAX_SIZE",
    "Alive",
    "Announce",
    "Dialect",
    "Failed",
    "FieldError",
    "Message",
    "PulseRequest",
    "Push",
    "Request",
    "decode",
    "encode",
]

MAX_SIZE = 1024
"""Bytes of a request."""

_PORT_DIGITS = 5


class Dialect(Enum):
    """Which of the two sets of answers a port gives."""

    DOCUMENTED = "documented"
    DEPLOYED = "deployed"


class FieldError(WireError):
    """A known action with a field that is wrong: to be answered, where any other :exc:`WireError` is not."""


@frozen
class Announce:
    """Enter me."""


@frozen
class Alive:
    """Tell me whether I am still known."""


@frozen
class Push:
    """
    Introduce me to a peer.

    :ivar share_id: the peer's name, as given.
    """

    share_id: str


@frozen
class PulseRequest:
    """
    Keep me alive, and change what is recorded of me.

    The fields mean what they do to :meth:`rendezvous.core.tracker.Tracker.pulse`.

    :ivar port: 1 to 65535.
    :ivar multiaddr: printable text.
    """

    override: bool = False
    ip: str | None = None
    port: int | None = None
    multiaddr: str | None = None
    renew_share_id: bool = False


Request = Announce | Alive | PulseRequest | Push


@frozen
class Failed:
    """
    A request that cannot be served.

    :ivar error: one short plain sentence.
    """

    error: str


Message = Reply | Failed
"""Everything that the server sends."""


def _refuse_constant(constant: str) -> NoReturn:
    """Refuse NaN and the infinities, which are not JSON."""
    raise ValueError(f"{constant} is not JSON")


_JSON = json.JSONDecoder(parse_constant=_refuse_constant)
_quoted = json.JSONEncoder(ensure_ascii=False).encode


def decode(datagram: bytes) -> Request:
    """
    Read a request.

    :raises FieldError: for a known action with a wrong field; its text is a short sentence that quotes nothing.
    :raises WireError: for what deserves no answer: over :data:`MAX_SIZE`, not UTF-8, not a JSON object, without an
        ``action``, or with one that is not a request.
    """
    if (common := _COMMON.get(datagram)) is not None:
        return common
    if len(datagram) > MAX_SIZE:
        raise WireError("too long for a tracker request")
    try:
        fields = _JSON.decode(datagram.decode())
    except (ValueError, RecursionError) as error:
        raise WireError("not JSON") from error
    action = fields.get("action") if isinstance(fields, dict) else None
    if action == "pulse":
        return _decode_pulse(fields)
    if action == "alive":
        return Alive()
    if action == "announce":
        return Announce()
    if action == "push":
        share_id = _text(fields, "shareId")
        if share_id is None:
            raise FieldError("shareId is missing.")
        return Push(share_id)
    raise WireError("not a tracker request")


# What nearly all datagrams are: requests without a field, as the usual encoders write them.
_COMMON: dict[bytes, Request] = {
    json.dumps({"action": action}, separators=separators).encode(): request
    for action, request in (("announce", Announce()), ("alive", Alive()), ("pulse", PulseRequest()))
    for separators in ((",", ":"), (", ", ": "))
}


def _decode_pulse(fields: dict[str, Any]) -> PulseRequest:
    """Read the optional fields of a pulse."""
    return PulseRequest(
        _boolean(fields, "override"),
        _text(fields, "ip"),
        _port(fields, "port"),
        _text(fields, "multiaddr"),
        _boolean(fields, "shareId"),
    )


def _text(fields: dict[str, Any], name: str) -> str | None:
    """Read printable text; a control character would grow sixfold on the way out, and half a surrogate has no UTF-8."""
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value.isprintable():
        raise FieldError(f"{name} must be text.")
    return value


def _boolean(fields: dict[str, Any], name: str) -> bool:
    """Read a boolean in either form."""
    value = fields.get(name)
    if value is None or value is False or value == "false":
        return False
    if value is True or value == "true":
        return True
    raise FieldError(f"{name} must be a boolean.")


def _port(fields: dict[str, Any], name: str) -> int | None:
    """Read a port in either form."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, str) and len(value) <= _PORT_DIGITS and value.isascii() and value.isdigit():
        value = int(value)
    if type(value) is int and 1 <= value <= 65535:
        return value
    raise FieldError(f"{name} must be 1 to 65535.")


def encode(reply: Message, dialect: Dialect, *, with_multiaddr: bool = True) -> bytes | None:
    """
    Write a reply, as compact JSON.

    :param reply: a valid reply, its multiaddr printable.
    :param with_multiaddr: whether a multiaddr in it is written too.
    :returns: the datagram, or ``None`` where the dialect has no such message: in the documented one, the target of a
        push gets no notice.
    """
    if isinstance(reply, PushNotice) and dialect is Dialect.DOCUMENTED:
        return None
    action, data = _form(reply, dialect is Dialect.DEPLOYED)
    if not with_multiaddr:
        data.pop("multiaddr", None)
    if not data:
        return f'{{"action":"{action}"}}'.encode()
    # All values are text. The encoder of the standard library takes four times as long for the whole object.
    fields = ",".join([f'"{name}":{_quoted(value)}' for name, value in data.items()])
    return f'{{"action":"{action}","data":{{{fields}}}}}'.encode()


def _form(reply: Message, deployed: bool) -> tuple[str, dict[str, str]]:
    """Choose the words for a reply: its action and its data."""
    match reply:
        case Pulsed():
            data = {"status": "1" if reply.refused else "0", "overriden": "true" if reply.overridden else "false"}
            if reply.share_id:
                data["shareId"] = reply.share_id
            return "pulseReceived", data
        case Announced():
            return "announced" if deployed else "announceReceived", {"shareId": reply.share_id}
        case StillAlive():
            return "alived", {}
        case Expired():
            return "expired", {}
        case PushNotice():
            return "income", _peer(reply.peer, deployed)
        case Pushed():
            return "pushed" if deployed else "pushReceived", _peer(reply.peer, deployed)
    return "error", {"error": reply.error}


def _peer(peer: PeerInfo, deployed: bool) -> dict[str, str]:
    """Describe one peer to another; ``multiaddr`` is there if that peer gave one."""
    host = f"[{peer.ip}]" if ":" in peer.ip else peer.ip
    data = {"peeraddr": f"{host}:{peer.port}"}
    if deployed:
        data["peerShareId"] = peer.share_id
    if peer.multiaddr:
        data["multiaddr"] = peer.multiaddr
    return data
