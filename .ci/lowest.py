"""
Print pip constraints that hold every dependency at the lowest version we allow.

``python .ci/lowest.py setup.cfg``: the bounds are read from where they are declared, so the two cannot differ. Only
what users and tests install is held; the developers' tools are not.
"""

from __future__ import annotations

import configparser
import re
import sys

LOWER_BOUND = re.compile(r"(?P<name>[\w.-]+)(\[[\w,-]+\])?>=(?P<version>[\w.]+)(; *python_version\b.*)?")


def requirements(setup_cfg: str) -> list[str]:
    """
    List what the package, its client and its tests require.

    :param setup_cfg: the text of ``setup.cfg``.
    """
    config = configparser.ConfigParser()
    config.read_string(setup_cfg)
    extras = config["options.extras_require"]
    lines = [config["options"]["install_requires"], extras["client"], extras["test"]]
    return [line for line in "\n".join(lines).splitlines() if line]


def constraint(requirement: str) -> str:
    """
    Turn ``name[extra]>=1.2`` into ``name==1.2``. What is said of the version of Python is left out.

    :raises ValueError: if the requirement is anything but a lower bound.
    """
    match = LOWER_BOUND.fullmatch(requirement)
    if match is None:
        raise ValueError(f"{requirement!r} is not a lower bound and nothing else")
    return f"{match['name']}=={match['version']}"


def constraints(setup_cfg: str) -> list[str]:
    """
    List one constraint for each requirement, sorted, without repetition.

    :param setup_cfg: the text of ``setup.cfg``.
    :raises ValueError: if a requirement is anything but a lower bound.
    """
    return sorted({constraint(requirement) for requirement in requirements(setup_cfg)})


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        print(*constraints(file.read()), sep="\n")
