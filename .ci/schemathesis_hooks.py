"""
What schemathesis has to know of this server.

A request that waits holds its answer for up to 30 s, and a run has a minute. The time that it asks for is cut
to a moment just before it is sent, so that waiting is still tried.

The position of a next page is opaque: no schema says what an answer has given, so requests are sent without one.
tests/test_web_pages.py sends them.
"""

from __future__ import annotations

from typing import Any

import schemathesis

#: Seconds.
LONGEST_WAIT = 0.05


def shortened(value: Any) -> Any:
    """:returns: a wait that the server would grant, made short; anything else as it is, since it will be refused."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > LONGEST_WAIT:
        return LONGEST_WAIT
    return value


def read(value: Any) -> Any:
    """:returns: a value of a query as a number, if it is one: those of examples are texts."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Change a request just before it is sent."""
    if isinstance(case.body, dict) and "wait" in case.body:
        case.body["wait"] = shortened(case.body["wait"])
    if isinstance(case.query, dict):
        if "wait" in case.query:
            case.query["wait"] = shortened(read(case.query["wait"]))
        case.query.pop("next", None)
