"""The tracker's client: one UDP socket, which announces itself and is introduced to peers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from rendezvous.client._callbacks import call_back
from rendezvous.client._socket import PulseSocket
from rendezvous.client._timer import Timer
from rendezvous.client.errors import RequestRefused, ServerError, ServerUnreachable
from rendezvous.core.addresses import Address
from rendezvous.core.replies import Announced, Expired, PeerInfo, Pulsed, Pushed, PushNotice, StillAlive
from rendezvous.errors import WireError
from rendezvous.wire.tracker import Alive, Announce, Failed, Message, PulseRequest, Push, Request
from rendezvous.wire.tracker_client import decode_reply, encode_request

__all__ = ["REPEATS", "TrackerClient"]

REPEATS = (1.0, 2.0, 4.0)
"""Seconds to wait for the answer to each copy of a request; after the last one it has failed."""

T = TypeVar("T")


class _Question:
    """A request that was not answered yet."""

    def __init__(self, request: Request, datagram: bytes, given_up: Callable[[_Question], None]) -> None:
        self.request = request
        self.datagram = datagram
        # Drawing a name twice would end the one that the first answer has.
        renews = isinstance(request, PulseRequest) and request.renew_share_id
        self.waits = deque([sum(REPEATS)] if renews else REPEATS)
        self.answer: Deferred[Message] = Deferred(lambda _: given_up(self))


class TrackerClient:
    """
    A peer of the tracker.

    A request is repeated until it is answered. Requests wait for each other, because an answer does not say which one
    it is for. A peer must send something at least every 300 s: call :meth:`pulse` every minute, for example.

    :param reactor: provides ``IReactorTime``, ``IReactorUDP`` and, for a name, ``IReactorPluggableNameResolver``.
    :param server: the server's host, an address or a name, and its UDP port.
    :param port: the local UDP port; 0 lets the system choose.
    :param interface: the local IP address; by default any, of the family of the server's address.
    :param on_income: called when a peer has pushed to this one. Only the deployed dialect has it.
    :param on_datagram: called with the bytes and the source of every other datagram, such as those of peers.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        server: Address,
        *,
        port: int = 0,
        interface: str | None = None,
        on_income: Callable[[PeerInfo], object] | None = None,
        on_datagram: Callable[[bytes, Address], object] | None = None,
    ) -> None:
        self._on_income = on_income
        self._on_datagram = on_datagram
        self._socket = PulseSocket(
            reactor,
            server,
            (port, interface),
            take=self._take,
            received=lambda datagram, source: call_back(self._on_datagram, datagram, source),
            refused=lambda: None,
        )
        self._questions: deque[_Question] = deque()
        self._timer = Timer(reactor, self._send_first)

    def open(self) -> Deferred[None]:
        """
        Open the socket.

        :returns: fires when requests can be sent; fails with ``ServerUnreachable`` when the server has no address, with
            ``TimeoutError`` when the resolver does not answer, and with ``CannotListenError`` when the port is taken.
        """
        return self._socket.find_server()

    def close(self) -> Deferred[None]:
        """
        Close the socket. Requests that were not answered fail with ``CancelledError``.

        :returns: fires when it is closed.
        """
        self._timer.cancel()
        questions, self._questions = self._questions, deque()
        for question in questions:
            question.answer.errback(CancelledError())
        return self._socket.close()

    def getHost(self) -> IAddress:
        """
        The socket's local address.

        :raises RuntimeError: when the socket is not open.
        """
        return self._socket.getHost()

    def send(self, datagram: bytes, address: Address) -> None:
        """
        Send to a peer from the socket of the tracker, as hole punching needs it.

        :param datagram: the payload.
        :param address: an IP address and a port.
        :raises RuntimeError: when the socket is not open.
        :raises OSError: when the system will not send it.
        """
        self._socket.send(datagram, address)

    def announce(self) -> Deferred[str]:
        """
        Enter the table, or stay in it.

        :returns: fires with the share id, the name that peers use. This method and the others fail with
            ``RequestRefused`` when the server says so, and with ``ServerUnreachable`` without an answer.
        """
        return self._ask(Announce(), Announced).addCallback(lambda announced: announced.share_id)

    def alive(self) -> Deferred[bool]:
        """:returns: fires with whether this peer is in the table, where it then stays."""
        asked = self._ask(Alive(), (StillAlive, Expired))
        return asked.addCallback(lambda answer: isinstance(answer, StillAlive))

    def pulse(
        self,
        *,
        ip: str | None = None,
        port: int | None = None,
        multiaddr: str | None = None,
        renew_share_id: bool = False,
    ) -> Deferred[Pulsed]:
        """
        Stay in the table, and change what peers are given.

        :param ip: the host to give to peers, the own one or a private one.
        :param port: the port to give to peers.
        :param multiaddr: text to give to peers.
        :param renew_share_id: whether to draw a new name. This request is not repeated.
        :returns: fires with what was changed; fails with ``RequestRefused`` when this peer is not in the table. Then
            announce it again.
        """
        override = ip is not None or port is not None
        return self._ask(PulseRequest(override, ip, port, multiaddr, renew_share_id), Pulsed)

    def push(self, share_id: str) -> Deferred[PeerInfo]:
        """
        Be introduced to a peer. Send to its address then, and push again while there is no contact.

        :param share_id: the name of the peer.
        :returns: fires with its address; fails with ``RequestRefused`` when there is no such peer.
        """
        return self._ask(Push(share_id), Pushed).addCallback(lambda pushed: pushed.peer)

    def _ask(self, request: Request, expected: type[T] | tuple[type[T], ...]) -> Deferred[T]:
        question = _Question(request, encode_request(request), self._given_up)

        def check(answer: Message) -> T:
            if isinstance(answer, expected):
                return answer
            if isinstance(answer, Failed):
                raise RequestRefused(server_message=answer.error)
            raise ServerError("the tracker's answer is not one to the request")

        result = question.answer.addCallback(check)
        self._questions.append(question)
        if self._questions[0] is question:
            self._send_first()
        return result

    def _send_first(self) -> None:
        self._timer.cancel()
        if not self._questions:
            return
        question = self._questions[0]
        if not question.waits:
            self._questions.popleft()
            question.answer.errback(ServerUnreachable("the tracker has not answered"))
            self._send_first()
            return
        try:
            self._socket.send(question.datagram)
        except OSError as error:
            self._log.debug("A request cannot be sent: {error}", error=error)
        self._timer.set_after(question.waits.popleft())

    def _given_up(self, question: _Question) -> None:
        if question in self._questions:
            first = self._questions[0] is question
            self._questions.remove(question)
            if first:
                self._send_first()

    def _take(self, datagram: bytes) -> bool:
        try:
            answer = decode_reply(datagram)
        except WireError:
            return False
        if isinstance(answer, PushNotice):
            call_back(self._on_income, answer.peer)
        elif self._questions and _answers(answer, self._questions[0].request):
            question = self._questions.popleft()
            self._timer.cancel()
            question.answer.callback(answer)
            if not self._timer.is_set:
                self._send_first()
        return True


def _answers(answer: Message, request: Request) -> bool:
    """:returns: whether an answer can be one to a request; a late one to an earlier request mostly cannot."""
    match request:
        case Announce():
            return isinstance(answer, Announced | Failed)
        case Alive():
            return isinstance(answer, StillAlive | Expired)
        case PulseRequest():
            return isinstance(answer, Pulsed | Failed)
        case Push(share_id):
            named = not isinstance(answer, Pushed) or answer.peer.share_id in ("", share_id)
            return isinstance(answer, Pushed | Failed) and named
