"""
Port mapping by UPnP-IGD, for routers that know neither PCP nor NAT-PMP. It is used only if the application asks for it.

UPnP parses XML from whatever answers a multicast on the LAN, and follows the URLs in it. The library miniupnpc does
this, in a thread, because it blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from attrs import define, evolve, frozen

from twisted.internet.defer import Deferred, DeferredList, DeferredLock, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from rendezvous.client._callbacks import call_back
from rendezvous.client.portmap.lease import LIFETIME, is_public
from rendezvous.client.portmap.router import BUDGET, PortMapping, Router

__all__ = ["Device", "UpnpClient", "UpnpExternal", "UpnpFallback", "make_device"]

DISCOVERY_MS = 2000
"""Milliseconds in which devices may answer the multicast."""
_DESCRIPTION = "twisted-rendezvous"

_log = Logger()


class Device(Protocol):
    """What is used of ``miniupnpc.UPnP``. Each method blocks, and raises ``Exception`` with a word of UPnP."""

    discoverdelay: int
    lanaddr: str

    def discover(self) -> int:
        """:returns: the number of devices that have answered."""

    def selectigd(self) -> object:
        """Choose a router."""

    def externalipaddress(self) -> str:
        """:returns: the external address of the router."""

    def addportmapping(
        self, external_port: int, protocol: str, host: str, port: int, description: str, remote: str, lease: int, /
    ) -> object:
        """Make or renew a mapping, for so many seconds."""

    def deleteportmapping(self, external_port: int, protocol: str, /) -> object:
        """Remove a mapping."""


def make_device() -> Device:
    """
    :returns: an object of miniupnpc.
    :raises ImportError: it is not installed. The message says how to install it.
    """
    try:
        from miniupnpc import UPnP
    except ImportError as error:
        raise ImportError("UPnP needs the extra upnp: pip install 'twisted-rendezvous[upnp]'") from error
    device: Device = UPnP()
    return device


@frozen
class UpnpExternal:
    """Where a mapping of UPnP is reached."""

    host: str
    port: int


class UpnpClient:
    """
    Asks the router by UPnP, one request at a time. A request that fails has no result; the reason is logged.

    :param make: makes the object of miniupnpc.
    :param call_in_thread: calls a function with arguments in a thread.
    """

    def __init__(self, make: Callable[[], Device], call_in_thread: Callable[..., Deferred[Any]]) -> None:
        self._make = make
        self._call_in_thread = call_in_thread
        self._lock = DeferredLock()
        self._device: Device | None = None

    def add(self, local_port: int) -> Deferred[UpnpExternal | None]:
        """:returns: a mapping of a port, new or renewed; ``None`` if there is none, or if its address is not public."""
        return self._call(self._add, local_port)

    def remove(self, port: int) -> Deferred[None]:
        """Remove a mapping, given its external port."""
        return self._call(self._remove, port)

    def forget(self) -> None:
        """Look for a router anew the next time."""
        self._device = None

    def _call(self, work: Callable[[int], Any], port: int) -> Deferred[Any]:
        result: Deferred[Any] = self._lock.run(self._call_in_thread, work, port)
        return result.addErrback(lambda failure: _log.debug("UPnP has failed: {why}", why=failure.getErrorMessage()))

    # These two run in a thread.

    def _add(self, local_port: int) -> UpnpExternal | None:
        device = self._device
        if device is None:
            device = self._make()
            device.discoverdelay = DISCOVERY_MS
            device.discover()
            device.selectigd()
            self._device = device
        host = device.externalipaddress()
        if not is_public(host):
            return None
        # A router that grants no lease but for ever refuses this: nothing would remove the mapping after a crash.
        device.addportmapping(local_port, "UDP", device.lanaddr, local_port, _DESCRIPTION, "", LIFETIME)
        return UpnpExternal(host, local_port)

    def _remove(self, port: int) -> None:
        if self._device is not None:
            self._device.deleteportmapping(port, "UDP")


@define(eq=False)
class _Port:
    """
    A port that the application wants mapped.

    :ivar direct: the mapping of PCP or NAT-PMP.
    :ivar upnp: the mapping of UPnP, if there is no other one.
    :ivar is_asking: whether UPnP is being asked.
    :ivar timer: when UPnP is asked the next time.
    """

    local_port: int
    on_change: Callable[[PortMapping | None], None]
    direct: PortMapping | None = None
    upnp: UpnpExternal | None = None
    is_asking: bool = False
    timer: IDelayedCall | None = None
    is_wanted: bool = True


class UpnpFallback:
    """
    Has the mappings that a router makes by PCP or NAT-PMP, and by UPnP those that it does not make.

    Its methods are those of :class:`~rendezvous.client.portmap.router.Router`. A mapping of UPnP takes seconds to make,
    so it is always given as a change.
    """

    def __init__(self, reactor: Any, router: Router, client: UpnpClient) -> None:
        self._reactor = reactor
        self._router = router
        self._client = client
        self._ports: dict[int, _Port] = {}
        self.report = router.report

    def map(self, local_port: int, on_change: Callable[[PortMapping | None], None]) -> Deferred[PortMapping | None]:
        """See :meth:`rendezvous.client.portmap.mapper.PortMapper.map`."""
        port = _Port(local_port, on_change)
        result = self._router.map(local_port, lambda mapping: self._changed(port, mapping))
        self._ports[local_port] = port

        def begin(mapping: PortMapping | None) -> PortMapping | None:
            self._take(port, mapping)
            return port.direct

        def fail(failure: Failure) -> Failure:
            self._forget(port)
            return failure

        return result.addCallbacks(begin, fail)

    def release(self, local_port: int) -> Deferred[None]:
        """See :meth:`rendezvous.client.portmap.mapper.PortMapper.release`."""
        port = self._ports.get(local_port)
        return succeed(None) if port is None else self._release(port)

    def network_changed(self) -> None:
        """See :meth:`rendezvous.client.portmap.mapper.PortMapper.network_changed`."""
        self._client.forget()
        for port in list(self._ports.values()):
            self._ask_after(port, BUDGET)
            if port.upnp is not None:
                port.upnp = None
                self._tell(port)
        self._router.network_changed()

    def stop(self) -> Deferred[None]:
        """:returns: fires when all mappings are removed."""
        released = DeferredList([self._release(port) for port in list(self._ports.values())])
        return released.addCallback(lambda _: self._router.stop())

    def _release(self, port: _Port) -> Deferred[None]:
        if not port.is_wanted:
            return succeed(None)
        self._forget(port)
        removals = [self._router.release(port.local_port)]
        if port.upnp is not None or port.is_asking:
            # Requests are made one after the other, so this removes also what is just being made.
            removals.append(self._client.remove(port.local_port))
        return DeferredList(removals).addCallback(lambda _: None)

    def _forget(self, port: _Port) -> None:
        port.is_wanted = False
        self._stop_timer(port)
        self._ports.pop(port.local_port, None)

    def _changed(self, port: _Port, mapping: PortMapping | None) -> None:
        self._take(port, mapping)
        self._tell(port)

    def _take(self, port: _Port, mapping: PortMapping | None) -> None:
        """Take what PCP and NAT-PMP have led to: with a mapping, that of UPnP is one too many."""
        if mapping is None:
            port.direct = None
            self._ask_after(port, 0)
            return
        port.direct = evolve(mapping, release=lambda: self._release(port))
        self._stop_timer(port)
        surplus, port.upnp = port.upnp, None
        if surplus is not None:
            self._drop(surplus, mapping)

    def _drop(self, surplus: UpnpExternal, mapping: PortMapping) -> None:
        """Remove a mapping of UPnP, unless it is the same as another one: a router has one table for all protocols."""
        if surplus.port != mapping.port:
            self._client.remove(surplus.port)

    def _ask_after(self, port: _Port, seconds: float) -> None:
        self._stop_timer(port)
        if port.is_wanted:
            port.timer = self._reactor.callLater(seconds, self._ask, port)

    def _stop_timer(self, port: _Port) -> None:
        if port.timer is not None and port.timer.active():
            port.timer.cancel()

    def _ask(self, port: _Port) -> None:
        if port.direct is None:
            port.is_asking = True
            self._client.add(port.local_port).addCallback(self._added, port)

    def _added(self, external: UpnpExternal | None, port: _Port) -> None:
        port.is_asking = False
        if not port.is_wanted:
            return
        if port.direct is not None:
            if external is not None:
                self._drop(external, port.direct)
            return
        if external is not None:
            self._ask_after(port, LIFETIME / 2)
        if external != port.upnp:
            port.upnp = external
            self._tell(port)

    def _tell(self, port: _Port) -> None:
        mapping = port.direct
        if mapping is None and port.upnp is not None:
            release = partial(self._release, port)
            mapping = PortMapping(port.local_port, port.upnp.host, port.upnp.port, "upnp", release)
        call_back(port.on_change, mapping)
