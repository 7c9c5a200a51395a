"""The tracker's datagrams at the client's end: requests are written, and answers of both dialects are read."""

from __future__ import annotations

import json
from typing import Any

import attrs

from rendezvous.core.replies import Announced, Expired, PeerInfo, Pulsed, Pushed, PushNotice, StillAlive
from rendezvous.errors import WireError
from rendezvous.wire.tracker import MAX_SIZE, Alive, Announce, Failed, Message, PulseRequest, Push, Request

__all__ = ["MAX_REPLY", "decode_reply", "encode_request"]

MAX_REPLY = 4096
"""Bytes of an answer that are read at most: the server sends an address no more at once."""


def encode_request(request: Request) -> bytes:
    """
    Write a request.

    :returns: the datagram, as compact JSON.
    :raises ValueError: it would be longer than the server reads.
    """
    datagram = json.dumps(_form(request), ensure_ascii=False, separators=(",", ":")).encode()
    if len(datagram) > MAX_SIZE:
        raise ValueError(f"a tracker request has at most {MAX_SIZE} bytes, and this one has {len(datagram)}")
    return datagram


def _form(request: Request) -> dict[str, object]:
    match request:
        case Announce():
            return {"action": "announce"}
        case Alive():
            return {"action": "alive"}
        case Push(share_id):
            return {"action": "push", "shareId": share_id}
        case PulseRequest():
            fields = attrs.asdict(request)
            fields["shareId"] = fields.pop("renew_share_id")
            return {"action": "pulse"} | {
                name: value for name, value in fields.items() if value is not None and value is not False
            }


def decode_reply(datagram: bytes) -> Message:
    """
    Read an answer, or a notice that a peer wants to connect. Unknown fields are ignored.

    In the documented dialect, the name of a peer is not in an answer; it is empty then.

    :raises WireError: it is none.
    """
    if len(datagram) > MAX_REPLY or not datagram.startswith(b"{"):
        raise WireError("not an answer of a tracker")
    try:
        fields = json.loads(datagram.decode())
    except (ValueError, RecursionError) as error:
        raise WireError("not JSON") from error
    action, data = fields.get("action"), fields.get("data")
    return _read(action, data if isinstance(data, dict) else {})


def _read(action: object, data: dict[str, Any]) -> Message:
    match action:
        case "announceReceived" | "announced":
            return Announced(_text(data, "shareId"))
        case "alived":
            return StillAlive()
        case "expired":
            return Expired()
        case "pulseReceived":
            share_id = _text(data, "shareId") if "shareId" in data else None
            return Pulsed(_text(data, "status") != "0", _text(data, "overriden") == "true", share_id)
        case "pushReceived" | "pushed":
            return Pushed(_peer(data))
        case "income":
            return PushNotice(_peer(data))
        case "error":
            return Failed(_text(data, "error"))
    raise WireError("not an answer of a tracker")


def _peer(data: dict[str, Any]) -> PeerInfo:
    host, _, port = _text(data, "peeraddr").rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise WireError("the address of a peer is missing or wrong")
    share_id = _text(data, "peerShareId") if "peerShareId" in data else ""
    return PeerInfo(host, int(port), share_id, _text(data, "multiaddr") if "multiaddr" in data else None)


def _text(data: dict[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str):
        raise WireError(f"{name} is missing or wrong")
    return value
