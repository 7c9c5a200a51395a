"""
What may become an offer, an answer or a candidate.

Everything is checked here against :class:`~rendezvous.limits.SignalingLimits`; the HTTP layer checks only JSON types.
Whatever is over a limit is :class:`~rendezvous.errors.Malformed` with the code ``too-long`` and the field's name; the
status 413 is kept for the body as a whole.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import attrs

from rendezvous.core.signaling.encoded import compact, string
from rendezvous.errors import Malformed
from rendezvous.limits import SignalingLimits

__all__ = ["OfferSpec", "candidate_json", "candidates_json", "characters", "offer_id", "sdp_json"]

_RESERVED = frozenset({".", "..", "by-topic"})
_NOT_IN_AN_ID = re.compile(r"[/\\\x00-\x1f\x7f]")


def characters(value: str, field: str, most: int, *, least: int = 1) -> str:
    """
    Check the length of a text.

    :param field: what the error calls it.
    :param most: the limit, in characters.
    :returns: the text.
    :raises Malformed: if it is too short or too long, or holds half of a surrogate pair, which no UTF-8 can carry.
    """
    if len(value) < least:
        raise Malformed(f"{field} must not be empty.", code="empty")
    if len(value) > most:
        raise Malformed(f"{field} must be at most {most} characters.", code="too-long")
    if not value.isascii():
        _utf8(value, field)
    return value


def sdp_json(value: str, field: str, limits: SignalingLimits) -> bytes:
    """
    Check a session description: its size only, as the server never looks inside.

    :param field: what the error calls it.
    :returns: it as a JSON string.
    :raises Malformed: if it is empty, larger than :attr:`~SignalingLimits.sdp_size`, or not Unicode.
    """
    if not value:
        raise Malformed(f"{field} must not be empty.", code="empty")
    # A character is at least one byte: a long text is refused before it is encoded.
    if len(value) > limits.sdp_size or not (value.isascii() or len(_utf8(value, field)) <= limits.sdp_size):
        raise Malformed(f"{field} must be at most {limits.sdp_size} bytes.", code="too-long")
    return string(value)


def candidates_json(values: Sequence[object], limits: SignalingLimits) -> list[bytes]:
    """
    Turn the candidates of one request into what is kept of them.

    :param values: parsed JSON of any type.
    :returns: their compact JSON.
    :raises Malformed: if there are none or too many, or one is out of its limits.
    """
    if not values:
        raise Malformed("candidates must not be empty.", code="empty")
    if len(values) > limits.candidates_per_request:
        most = limits.candidates_per_request
        raise Malformed(f"candidates must be at most {most} in one request.", code="too-long")
    return [candidate_json(value, f"candidates[{index}]", limits) for index, value in enumerate(values)]


def candidate_json(value: object, field: str, limits: SignalingLimits) -> bytes:
    """
    Turn one candidate into what is kept of it.

    :param value: parsed JSON of any type.
    :param field: what the error calls it.
    :returns: its compact JSON.
    :raises Malformed: if that is too large, or it was not JSON after all.
    """
    _check_shape(value, field, limits)
    try:
        text = compact(value)
    except (TypeError, ValueError):
        # Python reads more than JSON: NaN, and numbers beyond a double.
        raise Malformed(f"{field} is not JSON that can be passed on.") from None
    encoded = _utf8(text, field)
    if len(encoded) > limits.candidate_size:
        raise _too_long(field, limits)
    return encoded


def _check_shape(value: object, field: str, limits: SignalingLimits) -> None:
    """
    See that a candidate is worth being written as JSON, which takes 30 ms for very many values.

    :raises Malformed: too many lists and objects are within each other, or there are more values than fit.
    """
    # Each value takes two bytes at least, with what separates it from the next one.
    room = limits.candidate_size // 2
    level: list[Any] = [value]
    for _ in range(limits.candidate_depth + 1):
        level = [item for item in level if isinstance(item, (list, dict))]
        if not level:
            return
        room -= sum(map(len, level))
        if room < 0:
            raise _too_long(field, limits)
        level = [item for held in level for item in (held.values() if isinstance(held, dict) else held)]
    raise Malformed(f"{field} must be nested at most {limits.candidate_depth} deep.")


def _too_long(field: str, limits: SignalingLimits) -> Malformed:
    return Malformed(f"{field} must be at most {limits.candidate_size} bytes.", code="too-long")


def _utf8(value: str, field: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise Malformed(f"{field} holds half of a surrogate pair, which is not Unicode text.") from None


def offer_id(sdp: bytes, topics: Sequence[str]) -> str:
    """
    The id of an offer that names none: SHA-256 of ``{"sdp": ..., "topics": [sorted]}`` as compact JSON.

    Clients compute the same in JavaScript, so the topics are sorted as its ``sort`` does: by UTF-16 code units.

    :param sdp: as a JSON string.
    :param topics: as they were sent, repetitions included.
    :returns: 64 lower-case hex digits.
    """
    ordered = sorted(topics, key=lambda topic: topic.encode("utf-16-be"))
    return hashlib.sha256(b'{"sdp":%b,"topics":%b}' % (sdp, compact(ordered).encode())).hexdigest()


@attrs.frozen(kw_only=True)
class OfferSpec:
    """
    An offer as its owner asks for it, within all limits. Made by :meth:`check`.

    :ivar id: the caller's own or the derived one.
    :ivar sdp: as a JSON string.
    :ivar topics: without repetitions, in the caller's order.
    :ivar ttl_ms: clamped.
    """

    id: str
    sdp: bytes
    topics: tuple[str, ...]
    ttl_ms: int
    secret: str | None
    info: str | None
    while_connected: bool = False

    @classmethod
    def check(
        cls,
        limits: SignalingLimits,
        field: str,
        *,
        sdp: str,
        topics: Sequence[str],
        ttl_ms: int | None = None,
        secret: str | None = None,
        info: str | None = None,
        id: str | None = None,
        while_connected: bool = False,
    ) -> OfferSpec:
        """
        Hold a request against the limits.

        :param field: what the error calls the offer, such as ``offers[2]``.
        :param ttl_ms: lifetime; the default for ``None``, clamped otherwise.
        :param secret: an empty one counts as none.
        :raises Malformed: if a value is out of its limits; the message names it, as in ``offers[2].topics[0]``.
        """
        description = sdp_json(sdp, f"{field}.sdp", limits)
        names = _topics(topics, f"{field}.topics", limits)
        if secret is not None:
            characters(secret, f"{field}.secret", limits.secret_chars, least=0)
        if info is not None:
            characters(info, f"{field}.info", limits.info_chars, least=0)
        wanted = limits.ttl_default_ms if ttl_ms is None else ttl_ms
        return cls(
            id=offer_id(description, topics) if id is None else _own_id(id, f"{field}.id", limits),
            sdp=description,
            topics=names,
            ttl_ms=max(limits.ttl_min_ms, min(wanted, limits.ttl_max_ms)),
            secret=secret or None,
            info=info,
            while_connected=while_connected,
        )


def _topics(topics: Sequence[str], field: str, limits: SignalingLimits) -> tuple[str, ...]:
    if not topics:
        raise Malformed(f"{field} must not be empty.", code="empty")
    if len(topics) > limits.topics_per_offer:
        raise Malformed(f"{field} must be at most {limits.topics_per_offer}.", code="too-long")
    for index, topic in enumerate(topics):
        characters(topic, f"{field}[{index}]", limits.topic_chars)
    return tuple(dict.fromkeys(topics))


def _own_id(value: str, field: str, limits: SignalingLimits) -> str:
    """
    Check an id of the caller's own, which becomes one segment of a path.

    Dots alone are resolved away by every URL parser, percent-encoded or not; an encoded slash is a separator to some
    proxies; ``by-topic`` would make ``/offers/by-topic/ice-candidates`` mean two things.
    """
    characters(value, field, limits.id_chars)
    if value in _RESERVED:
        raise Malformed(f"{field} is a reserved word.")
    if _NOT_IN_AN_ID.search(value):
        raise Malformed(f"{field} must not hold slashes, backslashes or control characters.")
    return value
