"""A wall clock that is set, while requests wait and clients pulse."""

from __future__ import annotations

import threading
import time

from tests.attack.field import Field, attack
from tests.attack.load import fetch, request

__all__: list[str] = []


def _wait(field: Field, auth: str, took: list[float]) -> None:
    """Wait four seconds for answers that do not come, as the server counts them."""
    start = time.monotonic()
    try:
        status = fetch(field.http, request("GET", "/offers/answers?wait=4", auth=auth), "127.0.9.1", 8.0).status
    except OSError as e:
        field.expect(f"a request that waits 4 s was not answered in 8 s: {e!r}", holds=False)
        return
    took.append(time.monotonic() - start)
    field.expect(f"a request that waits was answered {status}", holds=status == 200)


def _jumps(field: Field, shifts: list[float]) -> None:
    made = field.ask("POST", "/register").json
    auth = f"{made['client_id']}:{made['private_id']}"
    for shift in shifts:
        took: list[float] = []
        waiting = threading.Thread(target=_wait, args=(field, auth, took))
        waiting.start()
        time.sleep(1.0)
        field.shim.shift(shift)
        waiting.join()
        field.expect(f"a request that waits 4 s was answered after {took} s", holds=bool(took) and 3.5 < took[0] < 5.0)
    field.expect(
        "the client that never pulsed is still there", holds=field.ask("POST", "/verify", auth=auth).status == 200
    )


@attack("clock-back", quick=True, shim=True, least=9.0)
def back(field: Field) -> None:
    """The wall clock is set back by an hour, and right again."""
    _jumps(field, [-3600.0, 0.0])


@attack("clock-forward", shim=True, least=9.0)
def forward(field: Field) -> None:
    """The wall clock is set forward by ten minutes, and right again."""
    _jumps(field, [600.0, 0.0])
