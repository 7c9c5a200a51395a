"""Admission of new clients: draining, and registration tokens."""

from __future__ import annotations

from twisted.web.http import Request

from rendezvous.core.registrationtokens import RegistrationTokens
from rendezvous.errors import Unauthorized, Unavailable
from rendezvous.web.authorization import bearer
from rendezvous.web.fields import Query, header

__all__ = ["DRAIN_RETRY", "Admission"]

#: Seconds after which a refused client may try again: by then a load balancer has seen that the server is draining.
DRAIN_RETRY = 30


class Admission:
    """
    Decides whether a request may begin something new: register, open a session or a WebSocket, publish a first offer.

    Clients that are there already can go on.

    :param tokens: the registration tokens; ``None`` if a client needs none.
    :ivar tokens: as given; a reload replaces them.
    :ivar is_draining: whether all new clients are refused. It holds until it is set back, or the process ends.
    """

    def __init__(self, tokens: RegistrationTokens | None = None) -> None:
        self.tokens = tokens
        self.is_draining = False

    def check_draining(self) -> None:
        """:raises Unavailable: ``draining``."""
        if self.is_draining:
            raise Unavailable(
                "The server takes no new clients: it is draining. Those that it has go on.",
                code="draining",
                retry_after=DRAIN_RETRY,
            )

    def admit(self, request: Request, shown: str | None = None) -> None:
        """
        Admit the sender of a request, or refuse it.

        The token is in the Authorization header, or in the parameter ``registration`` of the query, as pages cannot
        send headers with the handshake of a WebSocket.

        :param shown: a text from another place that may be a token.
        :raises Unavailable: ``draining``.
        :raises Unauthorized: ``registration-token``.
        """
        self.check_draining()
        if self.tokens is None or shown in self.tokens:
            return
        given = bearer(header(request, b"Authorization")) or Query(request).text("registration")
        if given is None:
            raise Unauthorized(
                "This server lets in only those who have a registration token: Authorization: Bearer <token>.",
                code="registration-token",
            )
        if given not in self.tokens:
            raise Unauthorized("This registration token is not good, or not any more.", code="registration-token")
