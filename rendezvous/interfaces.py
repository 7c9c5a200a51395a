"""What a third party may implement: the store."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted.internet.defer import Deferred

    from rendezvous.core.attempts.attempt import AttemptView, Facilities, Given, Invitation, Outcome
    from rendezvous.core.attempts.history import AttemptRecord
    from rendezvous.core.attempts.table import Due
    from rendezvous.core.bans import Ban
    from rendezvous.core.connect import Candidate as AttemptCandidate
    from rendezvous.core.identity import Credential
    from rendezvous.core.notes import Key
    from rendezvous.core.presence.states import PresenceState, PulseCode
    from rendezvous.core.replies import Replies, Source
    from rendezvous.core.signaling.bloom import Bloom
    from rendezvous.core.signaling.listings import TopicUpdate
    from rendezvous.core.signaling.offers import Answer, Candidate, Offer, Role, Session
    from rendezvous.core.signaling.pages import Page
    from rendezvous.core.signaling.specs import OfferSpec
    from rendezvous.core.signaling.watches import Watch
    from rendezvous.core.sources import SourceNetwork
    from rendezvous.limits import Bounds
    from rendezvous.model import (
        ClientDetails,
        ClientPage,
        ClientQuery,
        Events,
        ObservedAddress,
        PeerStatus,
        StoreFigures,
        Swept,
    )

__all__ = [
    "IAttemptStore", "IBanStore", "ILiveTable", "IPresenceStore", "ISignalingStore", "IStore", "ISubscription",
    "ITrackerStore",
]  # fmt: skip


class ILiveTable(Interface):
    """
    The clients that this process can take pulses of at once, without a coroutine.

    A store whose truth is elsewhere may have an empty one, or one that holds the clients which have lately pulsed here.
    """

    signed = Attribute("Decides signed requests (:class:`~rendezvous.core.presence.signedrequests.SignedRequests`).")

    def keep_alive(key: bytes, address: tuple[str, int], now: float, local_port: int) -> bool:
        """
        Take the pulse of a client that is ONLINE at the address it is known by, on the port that it is known to use.

        :param key: any datagram, or the key that it spells.
        :returns: whether that is what it was; then 1020 is the answer. Otherwise nothing has changed, and
            :meth:`IPresenceStore.pulse` has to be asked.
        """

    def may_move(key: bytes, now: float) -> bool:
        """
        Count a pulse that :meth:`keep_alive` has left: it costs more than the common one.

        :param key: of a client.
        :returns: whether the client may send one now; if not, the pulse is dropped without an answer.
        """

    def __contains__(key: object) -> bool:
        """:returns: whether a datagram is the key of a client."""

    def __len__() -> int:
        """:returns: how many clients there are."""


class IPresenceStore(Interface):
    """Clients, their states and their addresses."""

    live = Attribute("The live table of this process (:class:`ILiveTable`), the same for as long as the store is.")

    async def register(now: float, source: SourceNetwork = ...) -> tuple[bytes, bytes]:
        """
        Make a client.

        :param source: where the request came from; not counted if it is left out.
        :returns: its id and its key.
        :raises Full: there is no room.
        :raises TooMany: the source holds its share.
        """

    async def authenticate(credential: Credential, now: float) -> bytes:
        """
        :returns: the client id that the credential proves.
        :raises Unauthorized: it proves none.
        :raises Forbidden: ``banned``, its client is shut out.
        """

    async def pulse(key: bytes, address: tuple[str, int], now: float, local_port: int = 0) -> PulseCode:
        """
        Take a pulse.

        :param local_port: the UDP port of the server that it came to.
        :returns: what to answer, once it is recorded.
        """

    async def verify(client_id: bytes, now: float) -> None:
        """
        Take a late client back.

        :raises NotFound: it is gone.
        """

    async def logout(client_id: bytes, now: float, source: SourceNetwork = ...) -> None:
        """End the client, its offers and its credential."""

    async def address(client_id: bytes, now: float) -> ObservedAddress:
        """
        :returns: the address that the client's last accepted pulse came from.
        :raises NotFound: it is unknown, gone, or has never pulsed.
        """

    async def status(client_id: bytes, now: float) -> PeerStatus:
        """:raises NotFound: the client is unknown or gone."""


class IBanStore(Interface):
    """What an operator decides about clients and networks. It holds at once, also while nothing can be kept."""

    bans = Attribute("Who is shut out (:class:`~rendezvous.core.bans.Bans`), the same for as long as the store is.")

    async def kick(client_id: bytes, now: float) -> None:
        """
        End a client, its offers and its credential, as a logout does.

        :raises NotFound: ``no-such-client``.
        """

    async def ban(target: str, seconds: float | None, reason: str, now: float) -> Ban:
        """
        Shut out a network, or a client by its id. A client that is there is ended as by :meth:`kick`.

        :param seconds: for how long; ``None`` for good.
        :returns: the ban.
        :raises Malformed: the target is neither, or something is out of its limits.
        :raises Full: ``full-bans``.
        """

    async def lift(target: str, now: float) -> Ban:
        """
        End a ban.

        :returns: the ban.
        :raises NotFound: ``no-such-ban``.
        """

    # What an operator sees

    def keep_history() -> None:
        """Write down from now on what happens to clients, in memory of a fixed size."""

    async def clients(query: ClientQuery, after: int, limit: int, now: float) -> ClientPage:
        """
        A part of the clients, looked for in slices over turns of the reactor.

        :param after: the position to go on after; 0 at the beginning.
        """

    async def client(client_id: bytes, now: float) -> ClientDetails:
        """
        One client, and what has happened to it.

        :raises NotFound: ``no-such-client``, nothing is known of it.
        """

    async def offers(
        after: tuple[int, int] | None, limit: int, now: float, *, sessions: bool = False
    ) -> Page[Offer, tuple[int, int]]:
        """A part of the offers, or of the sessions."""

    async def attempt_records(
        client_id: bytes | None = None, before: int | None = None, most: int | None = None
    ) -> list[AttemptRecord]:
        """
        The attempts of a client or of all: those that go on and those that have ended lately, the latest first.

        :param before: only those with smaller numbers.
        :param most: how many at most; ``None`` for all.
        """


class ISubscription(Protocol):
    """A place among those that wait for changes. As a context manager it closes itself."""

    def add(self, key: Key) -> None:
        """Wait for changes of another key too. The place counts once, however many keys it has."""

    def remove(self, key: Key) -> None:
        """Wait no longer for changes of a key."""

    def changed(self) -> Deferred[None]:
        """
        Wait for the next change.

        :returns: fires at the next change; it has fired if there was one since this was last called. Cancel it to wait
            no longer.
        :raises Unavailable: the store is closed.
        """

    def close(self) -> None:
        """Give the place back."""

    def __enter__(self) -> ISubscription: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None: ...


class ISignalingStore(Interface):
    """
    Offers and sessions: the verbs of :class:`~rendezvous.core.signaling.signaling.Signaling` and
    :class:`~rendezvous.core.signaling.sessions.Sessions`, which say what each does and raises.
    """

    limits = Attribute("What the verbs hold requests to (:class:`~rendezvous.limits.SignalingLimits`).")

    def subscribe(key: Key) -> ISubscription:
        """
        Wait for changes of what a key names (:mod:`rendezvous.core.notes`): a peer's events, one side of an offer, a
        topic that is watched.

        :returns: a place among those that wait; to be closed. Subscribe before you look: then no change is missed.
        :raises TooMany: as many wait for this key as may.
        :raises Unavailable: as many wait in all as may, or the store is closed.
        """

    # Offers. Everything is charged to the source that makes it (:mod:`rendezvous.core.sources`).

    async def publish(owner: str, specs: Sequence[OfferSpec], now: float, source: SourceNetwork = ...) -> list[Offer]:
        """Publish offers, all or none."""

    async def mine(owner: str, now: float, after: int | None = None) -> Page[Offer, int]:
        """A page of a peer's own offers."""

    async def of_peer(owner: str, now: float, after: int | None = None) -> Page[Offer, int]:
        """A page of a peer's offers, as others see them."""

    async def by_topic(
        topic: str, limit: int, bloom: Bloom | None, now: float, after: int | None = None
    ) -> Page[Offer, int]:
        """A page of the offers in a topic, and how many there are."""

    async def topic_since(topic: str, since: int | None, limit: int, bloom: Bloom | None, now: float) -> TopicUpdate:
        """
        What has changed in a topic that is watched (:meth:`watch`) after a number; its listing, if ``None`` or if some
        changes are no longer known.
        """

    async def topics(
        limit: int, offset: int, prefix: str, now: float, after: tuple[int, str] | None = None
    ) -> Page[tuple[str, int], tuple[int, str]]:
        """A page of topics with the number of peers in each, and how many topics there are."""

    async def heartbeat(owner: str, offer_id: str, now: float) -> Offer:
        """Say that the owner still waits."""

    async def withdraw(owner: str, offer_id: str, now: float) -> None:
        """End an offer."""

    async def answer(
        offer_id: str, answerer: str, sdp: str, secret: str | None, now: float, source: SourceNetwork = ...
    ) -> Answer:
        """Answer an offer; the first answer locks it."""

    async def answers(owner: str, now: float, since: int) -> Page[tuple[Offer, Answer], int]:
        """A page of the answers to a peer's offers."""

    async def add_candidates(
        offer_id: str, peer: str, values: Sequence[object], now: float, source: SourceNetwork = ...
    ) -> int:
        """Add candidates of one side."""

    async def candidates(offer_id: str, peer: str, now: float, since: int) -> Page[Candidate, int]:
        """A page of the other side's candidates."""

    async def events_since(peer: str, seq: int | None, now: float, topics: Mapping[str, int] = ...) -> Events:
        """
        A peer's events after one with this number; after the latest of all, if ``None``. They say whether some before
        them are lost, and where to go on.

        :param topics: topics that are watched and read too, each with a number before which nothing of it is read.
        """

    def watch(topic: str, now: float, source: SourceNetwork = ...) -> Watch:
        """
        Write down from now on which offers appear in a topic and which end there, until some time after the last watch
        was closed (:meth:`rendezvous.core.signaling.watches.Watches.watch`).

        :raises Malformed: the topic is out of its limits.
        """

    def watching(topics: Sequence[str]) -> int:
        """:returns: how many watch these topics, all together."""

    def stream_opened(peer: str, now: float) -> Callable[[float], None]:
        """
        A peer has opened an event stream: its offers that end with its streams go on.

        It returns what is to be called once, with the time, when that stream has closed.
        """

    # Sessions

    async def open_session(
        origin: str, topic: str, info: str, offer: str, code: str | None, now: float, source: SourceNetwork = ...
    ) -> str:
        """Open a session; its code."""

    async def sessions(origin: str, topic: str, now: float, after: int | None = None) -> Page[Session, int]:
        """A page of the unanswered sessions in a topic."""

    async def session_topics(
        origin: str, limit: int, offset: int, now: float, after: str | None = None
    ) -> Page[tuple[str, int], str]:
        """A page of an Origin's topics with the number of sessions in each, and how many topics there are."""

    async def count_sessions(origin: str, topics: Sequence[str], now: float) -> list[int]:
        """How many unanswered sessions of an Origin each topic has."""

    async def session(origin: str, code: str, now: float) -> Session:
        """The session with a code, and the candidates of both sides."""

    async def answer_session(
        origin: str, code: str, side: Role, answer: str, now: float, source: SourceNetwork = ...
    ) -> None:
        """Answer a session; the first answer locks it."""

    async def add_session_candidate(
        origin: str, code: str, side: Role, candidate: object, now: float, source: SourceNetwork = ...
    ) -> None:
        """Add one candidate of a side."""


class ITrackerStore(Interface):
    """
    The tracker's peers: the verbs of :class:`~rendezvous.core.tracker.Tracker`, which say what each does and raises.

    Each returns what is to be said, and to which source.
    """

    async def announce(source: Source, now: float) -> Replies:
        """Enter a peer."""

    async def tracker_pulse(
        source: Source,
        now: float,
        *,
        override: bool,
        ip: str | None,
        port: int | None,
        multiaddr: str | None,
        renew_share_id: bool,
    ) -> Replies:
        """Keep a peer alive, and change what is recorded of it: a pulse, in the tracker's words."""

    async def alive(source: Source, now: float) -> Replies:
        """Tell a peer whether it is still known."""

    async def push(source: Source, now: float, share_id: str) -> Replies:
        """Tell two peers about each other."""


class IAttemptStore(Interface):
    """
    Attempts to connect: the verbs of :class:`~rendezvous.core.attempts.attempts.Attempts`, which say what each does and
    raises.

    Attempts are named by 8 bytes. A change is notified with the key :class:`~rendezvous.core.notes.AttemptSide`. An
    invitation is among the events of the invited client, and notified as they are.
    """

    def use_facilities(facilities: Facilities) -> None:
        """Say what the server has for clients that connect."""

    def on_attempts_due(call: Callable[[], None]) -> None:
        """
        Say what is called when something is due earlier than :meth:`attempts_due` has said, and when an attempt ends.

        It is called in the middle of a decision.
        """

    async def attempts_due(now: float) -> Due:
        """Let time pass for attempts: those end that are over, and what is due to be sent is returned once."""

    async def begin_attempt(
        client_id: bytes, peer: bytes, given: Given, now: float, source: SourceNetwork = ...
    ) -> AttemptView:
        """
        Begin an attempt.

        :raises NotFound: ``no-such-peer``.
        """

    async def accept_attempt(client_id: bytes, attempt: bytes, given: Given, now: float) -> AttemptView:
        """Accept an invitation."""

    async def name_candidates(
        client_id: bytes, attempt: bytes, candidates: tuple[AttemptCandidate, ...], now: float
    ) -> AttemptView:
        """Replace the candidates of a side."""

    async def attempt(client_id: bytes, attempt: bytes, now: float) -> AttemptView:
        """Look at an attempt."""

    async def end_attempt(client_id: bytes, attempt: bytes, now: float) -> AttemptView:
        """Decline an invitation, or give up."""

    async def report_attempt(client_id: bytes, attempt: bytes, outcome: Outcome, now: float) -> AttemptView:
        """Say how it went."""

    async def invitations(client_id: bytes, now: float) -> list[Invitation]:
        """The invitations of a client that it has neither accepted nor declined."""

    async def observe(
        client_id: bytes, attempt: bytes, round: int, time: int, port: int, address: tuple[str, int], now: float
    ) -> PulseCode | None:
        """
        Take an observation whose MAC and time were right.

        :returns: the code of the answer; ``None`` for no answer, as it is not later than the last one.
        """

    def client_of_check(attempt: bytes, nonce: bytes) -> bytes | None:
        """:returns: the client under whose key the answer to an address check must hold; ``None`` if there is none."""

    async def take_check_answer(attempt: bytes, nonce: bytes, now: float) -> None:
        """Take the answer to an address check whose MAC was right."""


class IStore(IPresenceStore, IBanStore, ISignalingStore, ITrackerStore, IAttemptStore):
    """
    Where state lives.

    The verbs are coroutine functions: awaiting one that is answered from memory costs no trip through a Deferred, on
    which most requests would otherwise spend most of their time. Each verb is atomic: it happens wholly or not at all,
    whatever else goes on. It returns when what it did would survive this process, as far as the store promises that at
    all. What it returns does not change afterwards. Every verb may raise :exc:`~rendezvous.errors.Unavailable`; then
    the same call may work later.

    ``now`` is server time in seconds (:class:`~rendezvous.clock.ServerClock`). It never goes back.
    """

    def open(wall: float) -> float:
        """
        Get ready, with whatever was kept from an earlier run. Blocks: nothing is answered before it is done.

        :param wall: seconds since the epoch, on the wall clock.
        :returns: the server time to go on from.
        """

    def check_ready() -> None:
        """
        See whether a change would be kept now.

        :raises Unavailable: no: the server is not running, or the disk cannot be written. :attr:`code` says which.
        """

    async def close(now: float) -> None:
        """Save what has to be saved, and release all resources. The store may be opened again."""

    def change(bounds: Bounds) -> None:
        """Use these bounds from now on. What is there already stays, also above a new bound."""

    def figures() -> StoreFigures:
        """:returns: what it holds now."""

    async def census(now: float) -> Mapping[PresenceState, int]:
        """:returns: how many clients each state but ``GONE`` has; counted in slices over turns of the reactor."""

    async def sweep(now: float) -> Swept:
        """Free a slice of what has expired. The result says whether there is more."""
