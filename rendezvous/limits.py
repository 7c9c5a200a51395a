"""
Every size, rate and lifetime of the server, with its unit, its default and the reason for it.

A plain number is in seconds or bytes; every other unit is in the name. What an operator may turn is an option of
``twistd rendezvous``; the decisions in :mod:`rendezvous.core` read these records and nothing else.
"""

from __future__ import annotations

import attrs

__all__ = [
    "ATTEMPT_BODY",
    "CANDIDATES_BODY",
    "GROWTH",
    "MAX_BODY",
    "MAX_INTEGER",
    "MAX_WAIT",
    "SESSION_BODY",
    "SMALL_BODY",
    "AttemptLimits",
    "Bounds",
    "PeerServerLimits",
    "SignalingLimits",
    "SocketLimits",
    "SourceLimits",
    "UnreadLimits",
]

#: Bytes of an HTTP body: ten offers of 64 KiB each, twice over for what JSON escapes, with room for topics.
MAX_BODY = 2 * 1024 * 1024

#: Bytes of a body that carries one SDP: six times 64 KiB, since JSON can escape each byte, and some fields.
SESSION_BODY = 400 * 1024

#: Bytes of the body of a request that carries candidates: 50 of 4 KiB, with half as much again for what JSON escapes.
CANDIDATES_BODY = 300 * 1024

#: Bytes of a body that carries the candidates of a side of an attempt: ten, with room for what future clients add.
ATTEMPT_BODY = 16 * 1024

#: Bytes of the body of every other request: a code of 256 characters, all of them escaped, and a few numbers.
SMALL_BODY = 4 * 1024

#: The greatest integer of a request: every JSON reader keeps it exactly (RFC 8259, section 6).
MAX_INTEGER = 2**53 - 1

#: As many times the ``max_clients`` of the start, at most, may a reload allow. So much address space is set aside.
GROWTH = 2

#: Seconds that a request may wait for news: under the idle time-out of the usual proxies, 60 s.
MAX_WAIT = 30.0


@attrs.frozen(kw_only=True)
class SourceLimits:
    """
    What one source address may take over HTTP; 0 turns a limit off.

    A source is an IPv4 address or an IPv6 /64. A site (an IPv4 /24 or an IPv6 /48) may take four times as much.
    The defaults let a school or an office behind one address work: some hundred people who start at the same moment.
    """

    #: Requests a second, and as many at once as in 8 s: 40 pages that send ten requests each at the same moment.
    requests: float = 50.0
    #: Registrations a second, and as many at once as in 100 s: 200 clients that come back after a cut.
    registrations: float = 2.0
    #: Offers and sessions a second, and as many at once as in 50 s: 100 people who publish ten offers each.
    publications: float = 20.0
    #: Held requests and event streams at one time: 250 people with four tabs each.
    waiting: int = 1000
    #: Connections at one time: 300 browsers, each of which opens up to six.
    connections: int = 2000
    #: Bytes of request bodies that have not arrived whole.
    unfinished: int = 16 * 1024 * 1024

    @classmethod
    def none(cls) -> SourceLimits:
        """:returns: no limits at all."""
        return cls(**dict.fromkeys((field.name for field in attrs.fields(cls)), 0))


@attrs.frozen(kw_only=True)
class UnreadLimits:
    """
    What clients may leave unread of the answers and events that are longer than 16 KiB.

    :ivar most: bytes in all.
    :ivar share: the part of them that one subscriber may leave unread, from 0 to 1; 0 for no limit.
    """

    #: 128 of the longest pages: what a hundred people read at the same moment, each over a slow line.
    most: int = 128 * 1024 * 1024
    share: float = 0.1


@attrs.frozen(kw_only=True)
class SocketLimits:
    """
    The bounds of WebSockets.

    :ivar most: sockets at one time.
    :ivar of_source: sockets at one time of one subscriber; 0 for no limit. A site may have four times as many.
        A subscriber has at most a quarter of all, and a site a half.
    :ivar rate: messages a second that a socket may cause; 0 for no limit. One to a topic counts for each of its
        readers. Beyond that it is read more slowly.
    """

    most: int = 10_000
    #: 250 people with four tabs each.
    of_source: int = 1000
    rate: float = 200.0
    #: Messages that a socket may cause at once: a page meets 20 others, and sends 25 messages for each of them.
    burst: float = 2000.0
    #: Characters of a message: a session description of 64 KiB, as JSON or in base64, and what is around it.
    message: int = 128 * 1024
    #: Bytes that one socket may leave unread, beyond the 16 KiB that its transport holds.
    unread: int = 1024 * 1024
    #: Topics that a socket may subscribe to: a page with some hundred documents.
    topics: int = 1000
    #: Characters of a topic: as long as one of an offer.
    topic_chars: int = 256
    #: Subscriptions of all sockets together, of which each takes some 400 bytes.
    subscriptions: int = 500_000
    #: Sockets that may subscribe to a topic. A message of 300 bytes to all of them takes some 20 ms, and one of 128 KB
    #: some 60 ms.
    subscribers: int = 1000


@attrs.frozen(kw_only=True)
class PeerServerLimits:
    """The bounds of messages that wait for PeerJS peers who are not there yet."""

    #: Bytes of all: a thousand pages that each look for a peer that is just loading.
    memory: int = 32 * 1024 * 1024
    #: Characters of an id and of a token. PeerJS draws ids of 36 characters and tokens of 11.
    id_chars: int = 256
    #: Bytes for one peer: the candidates and descriptions of several others that wait for it.
    of_peer: int = 512 * 1024


@attrs.frozen(kw_only=True)
class Bounds:
    """
    How much the tables hold. A running server can change it.

    :ivar max_offers: offers and sessions together.
    :ivar signaling_memory: bytes of offers, sessions, answers, candidates and events together.
    :ivar max_waiting: requests and event streams that wait, each with a connection and a timer of its own.
    :ivar share: the part of each table that one subscriber may hold, from 0 to 1; 0 for no limit. A site may hold 2.5
        times as much.
    :ivar max_attempts: attempts to connect, each of which takes some 7 KB, and 16 KB at most.
    :ivar attempts_per_minute: attempts that one client may begin within a minute; 0 for no limit.
    """

    max_clients: int
    max_offers: int
    max_tracker_peers: int
    signaling_memory: int
    max_waiting: int
    share: float
    max_attempts: int = 10_000
    attempts_per_minute: int = 6


@attrs.frozen(kw_only=True)
class AttemptLimits:
    """
    The bounds and times of attempts to connect. Times are in seconds.

    :ivar per_minute: attempts that a client may begin within a minute; 0 for no limit.
    """

    per_minute: int = 6
    #: Attempts that go on and that a client has begun: a few paths at once, each of which takes a second or two.
    at_once: int = 4
    #: Attempts of others that go on and that a client has accepted, and those of them from one network. They do not
    #: count as begun: somebody who lets attempts hang must keep a client neither from connecting nor from accepting.
    accepted: int = 16
    accepted_of_source: int = 4
    #: Invitations that wait at one client, and those of them from one network: one that floods leaves room for others.
    invitations: int = 16
    invitations_of_source: int = 4
    #: Addresses of a host with some interfaces, its port mappings and its relays.
    candidates: int = 10
    #: How often one side may change its candidates and its observed addresses in an attempt: with each change the other
    #: client asks again. Three rounds with two ports, two families and some late candidates make about 20.
    changes: int = 64
    #: Mapped candidates of one side that are checked: one for each of two families and two protocols.
    checked_candidates: int = 4
    #: A NAT that runs Linux keeps an entry for 30 s, so a further round on the same NATs is of no use soon after.
    rounds: int = 3
    #: Seconds that a client counts for the round trip to the server at most.
    rtt: float = 2.0
    #: Three rounds of 1.5 s, and the time that slow links and restarts take, many times over.
    lifetime: float = 60.0
    #: Seconds until an invitation must be accepted: the longest that a request of the invited client is held.
    invited: float = 30.0
    #: Seconds for which an attempt that has ended can be read.
    linger: float = 30.0
    #: Seconds to wait for observations: three datagrams to each port may be lost by then.
    patience: float = 0.6
    #: Seconds to wait for what would help where there is no path otherwise: the answer to an address check; and without
    #: TURN servers the observation of a side that was not observed at all, as five datagrams in a row may be lost.
    last_patience: float = 1.3
    #: Seconds that the answer over HTTP may take to reach a client: TCP sends it again after 0.2, 0.6, 1.4 and 3 s.
    uninformed: float = 4.0
    #: Seconds after which an invitation is sent.
    invite_after: tuple[float, ...] = (0.0, 0.25, 0.75, 1.75)
    #: Seconds after which an address check is sent.
    check_after: tuple[float, ...] = (0.0, 0.1, 0.3)


@attrs.frozen(kw_only=True)
class SignalingLimits:
    """
    The bounds of offers and sessions.

    Characters are Unicode code points, so an emoji counts once. Sizes are of the UTF-8 form.
    """

    #: A session description of a browser is 1 to 8 KB; with many media sections it stays under 64.
    sdp_size: int = 64 * 1024
    #: Long enough for any passphrase, short enough to compare and store without thought.
    secret_chars: int = 128
    #: A line for people to read in a list.
    info_chars: int = 128
    #: Each topic of an offer costs an index entry, so one offer must not buy many.
    topics_per_offer: int = 20
    #: The length of a file name, which is what topics are most often made from.
    topic_chars: int = 256
    #: An id of the caller's own: as long as a topic, as it is often derived from one.
    id_chars: int = 256
    #: One request is answered in one turn of the reactor, so its work is bounded.
    offers_per_request: int = 10
    #: Several topics with a few spare offers in each; far above what one peer can have in use at once.
    offers_per_peer: int = 100
    #: Five minutes: the time a person waits for a call to connect, with room.
    ttl_default_ms: int = 300_000
    #: Below a minute an offer would end while the other side still gathers candidates.
    ttl_min_ms: int = 60_000
    #: An hour later the addresses in a description are most likely stale.
    ttl_max_ms: int = 3_600_000
    #: An ICE candidate is 100 to 300 bytes; clients wrap it in objects of their own.
    candidate_size: int = 4096
    #: Lists and objects within each other. A candidate is flat and its wrappings are few; what is taken from one side
    #: must be readable for the other, however deep in the stack the reading happens.
    candidate_depth: int = 32
    #: What an agent with several interfaces gathers before its first request goes out.
    candidates_per_request: int = 50
    #: Trickle ICE over a whole call with restarts; the bound on what a pair may leave here.
    candidates_per_side: int = 256
    #: Bytes of the candidates of both sides of an offer: some 1000 of a usual size.
    candidate_bytes_per_offer: int = 256 * 1024
    #: A page of topics or of offers when the caller names no limit.
    page_default: int = 50
    #: A page of 200 offers of a usual size is 400 KB, the most that is worth sending at once.
    page_max: int = 200
    #: The bytes of a page of any listing, unless its first item has more by itself. JSON of this size is written in
    #: some 2 ms, and a few hundred readers who do not read do not fill the memory.
    page_bytes: int = 1024 * 1024
    #: The decoded filter: 5000 peers at 1 % mistaken. HTTP's first line has 16 KiB here, for its base64 and the topic.
    bloom_size: int = 8 * 1024
    #: Offers looked at for one filtered page, which takes some 1 ms; the next page goes on behind them.
    bloom_scan: int = 1000
    #: Offers that have ended and are not freed yet that one page passes over, which takes some 2 ms.
    ended_scan: int = 5000
    #: Seconds an event can be replayed to a stream that reconnects: a lost connection and a slow retry, twice.
    event_linger: float = 120.0
    #: Events kept for one peer: both sides' candidates of several calls that connect at once.
    events_per_peer: int = 1024
    #: Bytes of the events kept for one peer: two hundred answers of 8 KB, as large as they come from browsers.
    event_bytes_per_peer: int = 2 * 1024 * 1024
    #: Events kept for all peers together, so that a flood ends the replay window early instead of the memory.
    events_kept: int = 200_000

    #: Topics that are watched by streams and requests, and those that were lately; each takes up to 2 KB with its name.
    watched_topics: int = 20_000
    #: Topics of one stream: the rooms of a page that has many open.
    topics_of_stream: int = 32
    #: Streams and requests that watch one topic. To write one event to all of them takes some 30 ms, in ten turns of
    #: the reactor.
    watchers_of_topic: int = 500
    #: Those of them of one subscriber, where sources are limited: a school behind one address, and room for others.
    watchers_of_source: int = 250
    #: Changes kept of one topic: some hundred peers that come, are answered and go while a stream reconnects.
    changes_of_topic: int = 1024
    #: Changes kept of all topics together.
    changes_kept: int = 100_000
    #: Changes that a stream reads at a time, and bytes of the offers in them; then other requests get their turn.
    changes_in_a_read: int = 100
    change_bytes_in_a_read: int = 256 * 1024
    #: Seconds for which a ticket for an event stream is good, and how many there are at a time: some 600 bytes each.
    ticket_time: float = 60.0
    tickets: int = 10_000

    #: Seconds within which the owner of an offer that ends with its streams must open the first one: a slow start of a
    #: page, and the time to reconnect after a restart of the server.
    connect_time: float = 10.0
    #: Seconds after which such an offer ends when the last stream has closed: a reconnecting page is back by then.
    disconnect_time: float = 5.0

    #: The Origin header: a scheme, a host name of 253 characters and a port fit well within it.
    origin_chars: int = 512
    #: Free text about the peer that opened a session: the sessions protocol promises 1024.
    session_info_chars: int = 1024
    #: A code of the caller's own.
    code_chars: int = 256
    #: Seconds a session lives; the protocol has no way to ask for more.
    session_lifetime: float = 300.0
    #: A page of topics in the sessions protocol when the caller names no limit.
    session_page_default: int = 100
    #: The most of the sessions protocol, for pages of topics and for pages of the sessions of one topic.
    session_page_max: int = 1000
