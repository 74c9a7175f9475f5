"""Cuts a process off from every network, for good: `cut()` before anything else is loaded.

A seccomp filter (Linux, seccomp(2)) that lets `socket` make local sockets only and refuses io_uring, which could make
others unseen. It needs no rights, holds for all threads and children to come, and cannot be undone. Pictures of people
pass through this process and through a library that has phoned home in other versions.
"""

import ctypes
import errno
import logging
import platform
import socket
import struct
from typing import Final

log = logging.getLogger(__name__)

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, FILTER_MODE = 22, 38, 2
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
ALLOW: Final = 0x7FFF0000
REFUSE: Final = 0x00050000 | errno.EACCES
KILL: Final = 0x80000000
"""Instead of a refusal the end of the process: how a test listens for attempts."""
NUMBER_AT, ARCHITECTURE_AT, FIRST_ARGUMENT_AT = 0, 4, 16
"""Offsets in struct seccomp_data, little-endian machines."""
X32_CALLS: Final = 0x40000000
"""x86-64's second numbering of the same calls starts here."""
MACHINES: Final = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""Machine → (its audit number, its number of socket(2))."""
IO_URING_SETUP: Final = 425


def cut(answer: int = REFUSE) -> bool:
    """`answer`: what an attempt meets. False where there is no such filter: nothing is cut off then."""
    if platform.machine() not in MACHINES:
        return False
    program = b"".join(struct.pack("<HBBI", *step) for step in _steps(*MACHINES[platform.machine()], answer))
    code = ctypes.create_string_buffer(program, len(program))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return bool(libc.prctl(PR_SET_SECCOMP, FILTER_MODE, ctypes.byref(head), 0, 0) == 0)


def _steps(architecture: int, socket_call: int, answer: int) -> list[tuple[int, int, int, int]]:
    """(operation, how many steps to jump over if true, if false, operand)."""
    return [
        (LOAD, 0, 0, ARCHITECTURE_AT),
        (EQUAL, 0, 7, architecture),
        (LOAD, 0, 0, NUMBER_AT),
        (AT_LEAST, 5, 0, X32_CALLS),
        (EQUAL, 4, 0, IO_URING_SETUP),
        (EQUAL, 0, 2, socket_call),
        (LOAD, 0, 0, FIRST_ARGUMENT_AT),
        (EQUAL, 0, 1, socket.AF_UNIX),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, answer),
    ]
