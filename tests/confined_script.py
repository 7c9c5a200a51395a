"""
Runs a program as a unit of systemd would confine it: with its filter of system calls.

Usage: ``python confined_script.py FILE COMMAND...``. The file is JSON: the names of ``calls`` that are allowed, and of
the address ``families``. Descriptor 3, if it is open, is passed on as a socket of the unit.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

ALLOW = 0x7FFF0000
REFUSE = 0x00050000 | errno.EPERM
EQUAL = 4
PR_SET_NO_NEW_PRIVS = 38
LISTEN_FD = 3


class Compare(ctypes.Structure):
    """``struct scmp_arg_cmp`` (seccomp_rule_add(3))."""

    _fields_ = (
        ("arg", ctypes.c_uint), ("op", ctypes.c_int), ("datum_a", ctypes.c_uint64), ("datum_b", ctypes.c_uint64)
    )  # fmt: skip


def confine(calls: list[str], families: list[str]) -> None:
    """
    Allow this process nothing but these calls, as ``SystemCallFilter=`` and ``RestrictAddressFamilies=`` do.

    :raises OSError: the filter cannot be made.
    """
    library: Any = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(REFUSE)))

    def allow(name: str, *compares: Compare) -> None:
        number = library.seccomp_syscall_resolve_name(name.encode("ascii"))
        if number < 0:
            return  # Another architecture's.
        given = (Compare * len(compares))(*compares)
        status = library.seccomp_rule_add_array(context, ctypes.c_uint32(ALLOW), number, len(compares), given)
        if status:
            raise OSError(-status, f"{name}: {os.strerror(-status)}")

    for name in calls:
        if name != "socket":
            allow(name)
    for family in families:
        allow("socket", Compare(0, EQUAL, getattr(socket, family), 0))
    libc: Any = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or library.seccomp_load(context):
        raise OSError(ctypes.get_errno(), "the filter cannot be loaded")


def main(path: str, command: list[str]) -> None:
    """Confine this process, and become the program."""
    rules = json.loads(Path(path).read_text(encoding="ascii"))
    try:
        os.fstat(LISTEN_FD)
    except OSError:
        pass
    else:
        os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"}
    os.environ["WATCHDOG_PID"] = str(os.getpid())
    confine(rules["calls"], rules["families"])
    os.execv(command[0], command)  # noqa: S606 - as a supervisor does


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
