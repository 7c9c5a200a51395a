"""
The table of all settings: name, default, help text, kind of value, and whether a running server can change it.

The command line, the environment, the configuration file and the documentation are made from this table.
"""

from __future__ import annotations

import os

import attrs

from rendezvous.core.presence.states import Timers
from rendezvous.core.protocols import Protocol
from rendezvous.errors import StartupError
from rendezvous.limits import Bounds, SignalingLimits, SocketLimits, SourceLimits, UnreadLimits
from rendezvous.settings.fields import about, checked, endpoints, option, texts, udp_ports
from rendezvous.settings.kinds import (
    ADDRESS,
    ENDPOINT,
    FLAG,
    GRACE,
    KEY,
    NETWORK,
    ORIGIN,
    PORT,
    RATE,
    SECONDS,
    SHARE,
    SIZE,
    STORE,
    TURN_URI,
    UDP_PORT,
    WORD,
    Endpoint,
    UDPPort,
    one_of,
    whole,
)

__all__ = ["Endpoint", "Settings", "UDPPort"]

#: The most entries that any table may be set to hold.
_MOST = 1_000_000_000


@attrs.frozen(kw_only=True)
class Settings:
    """
    How the server is to run. Durations are in seconds.

    A repeatable setting takes a sequence of values, or one value. ``udp_port`` takes integers, texts such as
    ``"5024:deployed"``, and :class:`UDPPort`. ``http`` takes texts, and :class:`Endpoint`.

    :raises StartupError: a value is not one that the setting takes, or two settings contradict each other.
    """

    http_port: int = option(5025, "TCP port for HTTP; 0 takes any free one", PORT)
    http: tuple[Endpoint, ...] = attrs.field(
        default=(),
        converter=endpoints,
        metadata=about(
            "listen for HTTP on this Twisted endpoint instead of --http-port, for example"
            " ssl:443:privateKey=key.pem:certKey=cert.pem (repeatable)",
            ENDPOINT,
            many=True,
        ),
    )
    udp_port: tuple[UDPPort, ...] = attrs.field(
        default=(UDPPort(5024), UDPPort(5026)),
        converter=udp_ports,
        metadata=about(
            "UDP port for datagrams; 0 takes any free one; with :deployed, its tracker speaks the deployed dialect"
            " instead of the documented one (repeatable; what is given replaces both defaults)",
            UDP_PORT,
            many=True,
        ),
    )
    udp_workers: int = option(
        0,
        "number of processes that answer pulses beside the main process, on Linux; 0 leaves everything to the main"
        " process",
        whole(0, 64),
    )
    interface: str = option(
        "", "the IPv4 or IPv6 address to listen on (default: all addresses of both families)", ADDRESS
    )
    pulse_interval: float = option(30.0, "seconds between two pulses of a client", SECONDS)
    pulse_grace: float | str = option(
        "10%", "how much later than that a pulse may arrive: seconds, or a part of the interval", GRACE
    )
    error_time: float = option(
        180.0, "seconds of silence, in addition to one interval, after which a client is logged out", SECONDS
    )
    registration_time: float = option(
        300.0,
        "seconds within which a new client must send its first pulse; at least pulse-interval and pulse-grace together",
        SECONDS,
    )
    logout_memory: float = option(
        30 * 86400.0, "seconds for which the server remembers that a credential was logged out", SECONDS
    )
    max_clients: int = option(
        1_000_000,
        "number of clients that are kept, and of logouts that are remembered; the next client is refused with 503",
        whole(1, _MOST),
        reloadable=True,
    )
    max_offers: int = option(
        100_000,
        "number of offers and sessions that are kept; the next one is refused with 503",
        whole(1, _MOST),
        reloadable=True,
    )
    max_signaling_memory: int = option(
        512 * 1024**2,
        "memory for offers, sessions, answers, candidates and events, in bytes or with K, M or G; what does not fit is"
        " refused with 503",
        SIZE,
        reloadable=True,
    )
    max_unread_memory: int = option(
        UnreadLimits().most,
        "memory for answers and events of more than 16K that clients have not read yet, in bytes or with K, M or G; a"
        " further one is refused with 503, or waits if it is an event",
        SIZE,
        reloadable=True,
    )
    max_waiting: int = option(
        10_000,
        "number of requests and event streams that wait for news; the next one is refused with 503",
        whole(1, _MOST),
        reloadable=True,
    )
    max_sockets: int = option(
        SocketLimits().most,
        "number of WebSockets; the next one is refused with 503",
        whole(1, _MOST),
        reloadable=True,
    )
    peerjs_key: str = option("peerjs", "the key that PeerJS clients name, which is also part of their paths", KEY)
    peerjs_discovery: bool = option(False, "let every page list the ids of all PeerJS peers", FLAG)
    offers_per_peer: int = option(
        SignalingLimits().offers_per_peer,
        "offers one peer may have; the next one is refused with 429",
        whole(1, 1_000_000),
    )
    session_lifetime: float = option(SignalingLimits().session_lifetime, "seconds that a session lives", SECONDS)
    cors_origin: tuple[str, ...] = attrs.field(
        default=(),
        converter=texts,
        metadata=about(
            "a web origin whose pages may use the server, such as https://app.example (repeatable; default: any)",
            ORIGIN,
            many=True,
            reloadable=True,
        ),
    )
    tracker_lifetime: float = option(300.0, "seconds of silence after which a tracker peer is removed", SECONDS)
    max_tracker_peers: int = option(
        100_000,
        "number of tracker peers that are kept; the next one gets an error that the tracker is full",
        whole(1, _MOST),
        reloadable=True,
    )
    max_attempts: int = option(
        10_000,
        "number of attempts to connect that are kept, each for 90 seconds at most; the next one is refused with 503",
        whole(1, _MOST),
        reloadable=True,
    )
    attempts_per_minute: int = option(
        6,
        "attempts to connect that one client may begin within a minute; 0 for no limit",
        whole(0, 1_000_000),
        reloadable=True,
    )
    turn_uri: tuple[str, ...] = attrs.field(
        default=(),
        converter=texts,
        metadata=about(
            "a TURN server for clients without a direct path, such as turn:turn.example:3478?transport=udp; it needs"
            " --turn-secret-file (repeatable)",
            TURN_URI,
            many=True,
            reloadable=True,
        ),
    )
    turn_secret_file: str = option(
        "",
        "the file with the secret that the TURN servers share with this server: coturn's static-auth-secret, on the"
        " first line; during a rotation the second line may hold the old one",
        WORD,
    )
    turn_ttl: float = option(
        3600.0, "seconds for which credentials of the TURN servers are valid", SECONDS, reloadable=True
    )
    udp_rate: float = option(
        50.0,
        "answers of the tracker and of STUN a second to one IPv4 address or IPv6 /64, with bursts of twice as many, and"
        " as many invitations and address checks; 0 for no limit",
        RATE,
        reloadable=True,
    )
    source_requests: float = option(
        SourceLimits().requests,
        "HTTP requests a second from one IPv4 address or IPv6 /64, with bursts of 8 times as many; 0 for no limit",
        RATE,
        reloadable=True,
    )
    source_registrations: float = option(
        SourceLimits().registrations,
        "registrations a second from one IPv4 address or IPv6 /64, with bursts of 100 times as many; 0 for no limit",
        RATE,
        reloadable=True,
    )
    source_publications: float = option(
        SourceLimits().publications,
        "offers and sessions a second from one IPv4 address or IPv6 /64, with bursts of 50 times as many; 0 for no"
        " limit",
        RATE,
        reloadable=True,
    )
    source_waiting: int = option(
        SourceLimits().waiting,
        "requests and event streams of one IPv4 address or IPv6 /64 that wait for news at one time; 0 for no limit",
        whole(0, _MOST),
        reloadable=True,
    )
    source_connections: int = option(
        SourceLimits().connections,
        "HTTP connections of one IPv4 address or IPv6 /64 at one time; 0 for no limit",
        whole(0, _MOST),
        reloadable=True,
    )
    source_share: str = option(
        "10%",
        "part of each table that one IPv4 address or IPv6 /64 may hold; an IPv4 /24 or an IPv6 /48 may hold two and a"
        " half times as much; 0% for no limit",
        SHARE,
        reloadable=True,
    )
    no_source_limits: bool = option(
        False,
        "turn off all limits that count what one source address or network takes, --udp-rate included, for trusted"
        " networks and benchmarks",
        FLAG,
        reloadable=True,
    )
    trusted_proxy: tuple[str, ...] = attrs.field(
        default=(),
        converter=texts,
        metadata=about(
            "the address or network of a reverse proxy whose X-Forwarded-For and Forwarded headers are used, or unix"
            " for UNIX sockets (repeatable; default: none)",
            NETWORK,
            many=True,
            reloadable=True,
        ),
    )
    without: tuple[str, ...] = attrs.field(
        default=(),
        converter=texts,
        metadata=about(
            f"turn a protocol or the demo page off: {', '.join(Protocol)} (repeatable)",
            one_of(list(Protocol)),
            many=True,
        ),
    )
    admin: tuple[Endpoint, ...] = attrs.field(
        default=(),
        converter=endpoints,
        metadata=about(
            "listen for operators on this Twisted endpoint, for example tcp:5027:interface=127.0.0.1; it needs the"
            " token of --admin-token-file (repeatable; default: none)",
            ENDPOINT,
            many=True,
        ),
    )
    admin_token_file: str = option(
        "",
        "the file with the token of operators; it is made on first start (default: rendezvous.admin-token, beside the"
        " store)",
        WORD,
    )
    registration_token_file: str = option(
        "",
        "the file with the tokens that clients need to register and to open sessions and WebSockets, one a line"
        " (default: none, and clients need no token)",
        WORD,
        reloadable=True,
    )
    log_format: str = option(
        "plain",
        "how the log is written: plain, a line of text for each event, or json, an object on a line of its own;"
        " --logfile and --syslog of twistd, before rendezvous, say where",
        one_of(("plain", "json")),
    )
    store: str = option(
        "sqlite:rendezvous.sqlite3",
        "where state is kept: sqlite:PATH for a file, or memory: to keep nothing after the end",
        STORE,
    )
    secret_file: str = option(
        "",
        "the file with the server's secret, 64 hex digits; it is made on first start (default: rendezvous.secret,"
        " beside the store); RENDEZVOUS_SECRET can hold the digits instead",
        WORD,
    )

    def __attrs_post_init__(self) -> None:
        for field in attrs.fields(Settings):
            object.__setattr__(self, field.name, checked(field, getattr(self, field.name), field.name))
        self._check_contradictions()

    def _check_contradictions(self) -> None:
        timers = self.timers
        late, kept = timers.pulse_grace, timers.error_time
        if late > kept:
            raise StartupError(f"pulse-grace ({late:.10g} s) must not be longer than error-time ({kept:.10g} s)")
        # A client whose address a crash has damaged is as if it had never pulsed. It must not be gone while on time.
        if timers.registration_time < timers.on_time:
            raise StartupError(
                f"registration-time ({timers.registration_time:.10g} s) must not be shorter than pulse-interval and"
                f" pulse-grace together ({timers.on_time:.10g} s)"
            )
        if {*self.without, Protocol.DEMO} == set(Protocol):
            raise StartupError("without must leave at least one protocol on, and turns off all of them")
        if self.http and self.http_port != attrs.fields(Settings).http_port.default:
            raise StartupError("http and http-port contradict each other: give one of them")

    @property
    def store_path(self) -> str | None:
        """:returns: the SQLite file, or ``None`` if state is in memory only."""
        return None if self.store == "memory:" else self.store.removeprefix("sqlite:")

    @property
    def secret_path(self) -> str:
        """:returns: the secret's file."""
        return self.secret_file or os.path.join(os.path.dirname(self.store_path or ""), "rendezvous.secret")

    @property
    def admin_token_path(self) -> str:
        """:returns: the file of the operators' token."""
        return self.admin_token_file or os.path.join(os.path.dirname(self.store_path or ""), "rendezvous.admin-token")

    @property
    def signaling_limits(self) -> SignalingLimits:
        """:returns: the limits of offers and sessions."""
        return SignalingLimits(
            offers_per_peer=self.offers_per_peer,
            session_lifetime=self.session_lifetime,
        )

    @property
    def bounds(self) -> Bounds:
        """:returns: how much the tables hold."""
        return Bounds(
            max_clients=self.max_clients,
            max_offers=self.max_offers,
            max_tracker_peers=self.max_tracker_peers,
            signaling_memory=self.max_signaling_memory,
            max_waiting=self.max_waiting,
            share=self.share,
            max_attempts=self.max_attempts,
            attempts_per_minute=self.attempts_per_minute,
        )

    @property
    def source_limits(self) -> SourceLimits:
        """:returns: what one source may take over HTTP."""
        if self.no_source_limits:
            return SourceLimits.none()
        return SourceLimits(
            requests=self.source_requests,
            registrations=self.source_registrations,
            publications=self.source_publications,
            waiting=self.source_waiting,
            connections=self.source_connections,
        )

    @property
    def unread_limits(self) -> UnreadLimits:
        """:returns: what clients may leave unread."""
        return UnreadLimits(most=self.max_unread_memory, share=self.share)

    @property
    def socket_limits(self) -> SocketLimits:
        """:returns: the limits of WebSockets."""
        if self.no_source_limits:
            return SocketLimits(most=self.max_sockets, of_source=0, rate=0)
        return SocketLimits(most=self.max_sockets)

    @property
    def udp_answers(self) -> float:
        """:returns: the answers a second that one source may cause over UDP; 0 for no limit."""
        return 0.0 if self.no_source_limits else self.udp_rate

    @property
    def share(self) -> float:
        """:returns: the part of each table that one subscriber may hold, from 0 to 1; 0 for no limit."""
        return 0.0 if self.no_source_limits else float(self.source_share.removesuffix("%")) / 100

    @property
    def timers(self) -> Timers:
        """:returns: the times that decide a client's state."""
        late = self.pulse_grace
        if isinstance(late, str):
            late = self.pulse_interval * float(late.rstrip("%")) / 100
        return Timers(
            pulse_interval=self.pulse_interval,
            pulse_grace=late,
            error_time=self.error_time,
            registration_time=self.registration_time,
        )
