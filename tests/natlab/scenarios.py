"""What happens to a path that is open: another uplink, a path that dies silently, ten minutes of silence."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tests.natlab.namespaces import LaboratoryError
from tests.natlab.programs import Rendezvous
from tests.natlab.stage import Stage

#: The seconds until data flows again, and what is wrong; empty if nothing is.
Outcome = tuple[float, str]

PATIENCE = 30.0
SILENCE = 600.0
#: A path that is direct again is looked for about once a minute.
BACK_PATIENCE = 120.0
_PAUSE = 0.05


def _open(stage: Stage) -> Rendezvous:
    caller = stage.connect()
    caller.event("connected", patience=PATIENCE)
    stage.listener.event("connected", patience=PATIENCE)
    return caller


class Flow:
    """
    Numbered lines from one command to another, one each 50 ms, and when each came.

    :param source: where they are typed.
    :param target: where they come out.
    """

    def __init__(self, source: Rendezvous, target: Rendezvous) -> None:
        self._source = source
        self._target = target
        self._sent: list[float] = []
        self._came: list[tuple[float, int]] = []
        self._end = threading.Event()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        while not self._end.wait(_PAUSE):
            self._sent.append(time.monotonic())
            self._source.say(str(len(self._sent) - 1))

    def _receive(self) -> None:
        while not self._end.is_set():
            try:
                when, event = self._target.event("data", patience=0.2)
            except LaboratoryError:
                continue
            self._came.append((when, int(event["text"])))

    def stop(self) -> None:
        """Send no more; the last lines are waited for."""
        time.sleep(_PAUSE)
        self._end.set()
        for thread in self._threads:
            thread.join()

    def gap(self, since: float) -> float:
        """:returns: the seconds from a moment until a line came that was typed after it; a long time if none did."""
        came = [when for when, number in self._came if self._sent[number] >= since]
        return min(came, default=since + PATIENCE) - since

    def twice(self) -> int:
        """:returns: how many lines came more than once."""
        return len(self._came) - len({number for _, number in self._came})


def _flowing(caller: Rendezvous, stage: Stage, happen: Callable[[], None], wait: float) -> Outcome:
    """
    Let something happen while data flows both ways.

    :param caller: the command that has connected to the listener.
    :param happen: does it.
    :param wait: the seconds that are waited afterwards.
    :returns: the seconds until data flowed again both ways, and what is wrong.
    """
    flows = [Flow(caller, stage.listener), Flow(stage.listener, caller)]
    time.sleep(1)
    happen()
    # What was typed before may still have gone the old way.
    since = time.monotonic()
    time.sleep(wait)
    for flow in flows:
        flow.stop()
    twice = sum(flow.twice() for flow in flows)
    return max(flow.gap(since) for flow in flows), f"{twice} lines came twice" if twice else ""


def uplink(stage: Stage) -> Outcome:
    """The calling host is plugged into another router."""
    other = stage.network.site("c", "port-restricted")
    caller = _open(stage)

    def switch() -> None:
        stage.network.unplug("host-a")
        stage.network.plug("host-a", other)

    return _flowing(caller, stage, switch, 6)


def dies(stage: Stage) -> Outcome:
    """All but the server and the relay becomes silent, and comes back later."""
    caller = _open(stage)
    seconds, note = _flowing(caller, stage, stage.cut, 6)
    stage.network.mend(stage.site_a)
    deadline = time.monotonic() + BACK_PATIENCE
    while not note:
        _, event = caller.event("path", patience=max(0.0, deadline - time.monotonic()))
        if event["via"] == "direct":
            break
    return seconds, note


def silence(stage: Stage) -> Outcome:
    """Nothing is sent for ten minutes, while the NATs forget a mapping after 30 seconds."""
    for site in (stage.site_a, stage.site_b):
        stage.network.set_timeouts(site, 30, 30)
    caller = _open(stage)
    time.sleep(SILENCE)
    started = time.monotonic()
    for source, target in ((caller, stage.listener), (stage.listener, caller)):
        source.say("still there")
        target.event("data", patience=PATIENCE)
    return time.monotonic() - started, ""


SCENARIOS: dict[str, Callable[[Stage], Outcome]] = {"uplink": uplink, "dies": dies, "silence": silence}
