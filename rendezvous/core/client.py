"""The record of one registered client."""

from __future__ import annotations

__all__ = ["Client"]

Address = tuple[str, int]

#: One object for each port number: a client that refers to it keeps no integer of its own (32 bytes saved each).
_PORTS = tuple(range(65536))


class Client:
    """
    One registered client, as small as it can be: a million of them live in one process.

    :ivar client_id: 16 bytes.
    :ivar host: where its pulses come from, as the socket says it; ``None`` until the first.
    :ivar port: the port of that address.
    :ivar local_port: the UDP socket of the server that its pulses go to, by the number that the shell gives it: its
        port, or more if several sockets share one port. 0 until the first pulse, or if it is not known.
    :ivar last_seen: the last accepted pulse or verify (before those, the registration), server time.
    :ivar pulse_before_verify: the last pulse, where a verify is what was last accepted; otherwise ``None``.
    :ivar network: the network that registered it (:attr:`~rendezvous.core.sources.SourceNetwork.subscriber`); empty
        if no limit counts it.
    """

    __slots__ = ("client_id", "host", "last_seen", "local_port", "network", "port", "pulse_before_verify")

    def __init__(self, client_id: bytes, last_seen: float, network: str = "") -> None:
        self.client_id = client_id
        self.last_seen = last_seen
        self.network = network
        self.host: str | None = None
        self.port = 0
        self.local_port = 0
        self.pulse_before_verify: float | None = None

    @property
    def last_pulse(self) -> float | None:
        """:returns: when the last accepted pulse came, or ``None`` if none has."""
        if self.host is None:
            return None
        return self.last_seen if self.pulse_before_verify is None else self.pulse_before_verify

    def move(self, address: Address, local_port: int = 0) -> None:
        """Record where the client is, and which port of the server it pulses to."""
        self.host, self.port = address[0], _PORTS[address[1]]
        self.local_port = _PORTS[local_port] if local_port < len(_PORTS) else local_port

    def is_at(self, address: Address, local_port: int) -> bool:
        """:returns: whether this is what :meth:`move` has recorded last."""
        return self.host == address[0] and self.port == address[1] and self.local_port == local_port
