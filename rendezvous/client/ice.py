"""STUN and TURN servers, as the server names them to an agent."""

from __future__ import annotations

import attrs

from rendezvous.client._replies import Fields

__all__ = ["IceServer", "IceServers", "read_ice", "read_servers"]


@attrs.frozen
class IceServer:
    """
    One entry: ways to one STUN or TURN server.

    :ivar urls: URIs of RFC 7064 and RFC 7065, such as ``turn:turn.example:3478?transport=udp``.
    :ivar username: for TURN, or ``None``.
    :ivar credential: for TURN, or ``None``. ``repr`` never shows it.
    """

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = attrs.field(default=None, repr=False)

    @property
    def is_turn(self) -> bool:
        """:returns: whether it is a TURN server that has a credential."""
        return self.credential is not None and any(url.startswith(("turn:", "turns:")) for url in self.urls)


@attrs.frozen
class IceServers:
    """
    What ``GET /ice`` says.

    :ivar servers: the entries; the STUN ports of the server itself come first.
    :ivar ttl: seconds that the credentials are valid.
    :ivar expires: when they end, in milliseconds since the epoch.
    """

    servers: tuple[IceServer, ...]
    ttl: float
    expires: int


def read_ice(fields: Fields) -> IceServers:
    """
    Read the answer of ``GET /ice``.

    :raises ServerError: when a member is missing or wrong.
    """
    return IceServers(read_servers(fields), fields.seconds("ttl"), fields.integer("expires"))


def read_servers(fields: Fields) -> tuple[IceServer, ...]:
    """
    Read ``iceServers``.

    :param fields: of an answer that may have it.
    :returns: the entries; none if the answer has no such member.
    :raises ServerError: when an entry is wrong.
    """
    if fields.values.get("iceServers") is None:
        return ()
    return tuple(
        IceServer(entry.texts("urls"), entry.text_or_none("username"), entry.text_or_none("credential"))
        for entry in fields.objects("iceServers")
    )
