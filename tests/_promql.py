"""What the tests read of PromQL: which metrics an expression asks for, with which labels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import attrs
from prometheus_client import Metric

__all__ = ["Selector", "groups", "lacks", "selectors"]

_METRIC = re.compile(r"\b((?:rendezvous|process)_[a-z_]+|up)\b(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'([a-z_]+)(=~|!~|!=|=)"([^"]*)"')
_GROUPS = re.compile(r"\b(?:by|on|without|ignoring) \(([^)]*)\)")

#: What Prometheus itself adds to each series.
ADDED = {"instance", "job"}


@attrs.frozen
class Selector:
    """
    What an expression asks for.

    :ivar name: of the metric.
    :ivar matchers: by label, an operator and a value.
    """

    name: str
    matchers: Mapping[str, tuple[str, str]]

    def selects(self, labels: Mapping[str, str]) -> bool:
        """:returns: whether a series with these labels of the server is asked for."""
        return all(
            label in ADDED or (label in labels and _agrees(labels[label], operator, value))
            for label, (operator, value) in self.matchers.items()
        )


def _agrees(found: str, operator: str, value: str) -> bool:
    is_equal = re.fullmatch(value, found) is not None if "~" in operator else found == value
    return is_equal != operator.startswith("!")


def selectors(expression: str) -> list[Selector]:
    """:returns: what an expression asks for."""
    return [
        Selector(name, {label: (operator, value) for label, operator, value in _MATCHER.findall(matchers)})
        for name, matchers in _METRIC.findall(expression)
    ]


def groups(expression: str) -> set[str]:
    """:returns: the labels that an expression groups by."""
    return {label.strip() for found in _GROUPS.findall(expression) for label in found.split(",")}


def lacks(expression: str, exposition: Iterable[Metric]) -> list[str]:
    """:returns: what an expression needs and a server does not give, a text for each; none is good."""
    samples = [sample for family in exposition for sample in family.samples]
    found, labels = [], set(ADDED)
    for selector in selectors(expression):
        series = [sample.labels for sample in samples if sample.name == selector.name]
        labels |= {label for each in series for label in each}
        # Whether a server answers is what Prometheus itself says.
        if selector.name != "up" and not any(map(selector.selects, series)):
            found.append(f"no series for {selector}")
    return [*found, *(f"no label {label}" for label in sorted(groups(expression) - labels))]
