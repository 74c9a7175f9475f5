"""Network namespaces for benchmarks, made in this process and gone with it: nothing of the machine's own is touched.

`enter_new` moves the calling process into a namespace of its own (call it before any thread is started), by being
root or by a user namespace. `Namespace` is a further one, joined to ours by a veth pair. See namespaces(7), setns(2).
"""

import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

CLONE_NEWNET: Final = 0x4000_0000
CLONE_NEWUSER: Final = 0x1000_0000

PACKAGES: Final = {
    "ip": "iproute2",
    "tc": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "taskset": "util-linux",
}
"""Of Debian, where the name is not the tool's own."""

T = TypeVar("T")


class NoRight(Exception):
    """Namespaces can't be made here, or a tool for them is missing; its text is for the person who asked."""


def _call(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def enter_new(*tools: str) -> None:
    """Raises NoRight without the right, or without one of the `tools` (and `ip`) in the path."""
    missing = [tool for tool in ("ip", *tools) if shutil.which(tool) is None]
    if missing:
        packages = sorted({PACKAGES.get(tool, tool) for tool in missing})
        raise NoRight(f"this benchmark needs {', '.join(missing)}: apt-get install {' '.join(packages)}")
    try:
        _call("unshare", CLONE_NEWNET)
    except PermissionError:
        _enter_as_user()
    run("ip", "link", "set", "lo", "up")


def _enter_as_user() -> None:
    user, group = os.getuid(), os.getgid()
    try:
        _call("unshare", CLONE_NEWUSER | CLONE_NEWNET)
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1", encoding="ascii")
    except OSError as error:
        raise NoRight(f"this benchmark makes network namespaces, which this user may not ({error})") from error


def run(*command: str) -> None:
    """Raises NoRight with what the tool said: inside a namespace of ours only the kernel's configuration can refuse."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own commands
    if done.returncode != 0:
        raise NoRight(f"{' '.join(command)}: {done.stderr.strip()}")


class Namespace:
    """A second namespace. It ends with `close` and what was started in it."""

    def __init__(self) -> None:
        def make() -> int:
            _call("unshare", CLONE_NEWNET)
            return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

        self._fd = _in_a_thread(make)
        self.run("ip", "link", "set", "lo", "up")

    @property
    def prefix(self) -> tuple[str, ...]:
        """Put before a command to have it run inside."""
        return ("nsenter", f"--net=/proc/{os.getpid()}/fd/{self._fd}")

    def run(self, *command: str) -> None:
        run(*self.prefix, *command)

    def join(self, name: str, ours: str, theirs: str) -> None:
        """A veth pair: `name` here with the address `ours`, `eth0` inside with `theirs` (both with prefix length)."""
        run(
            "ip",
            "link",
            "add",
            name,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            f"/proc/{os.getpid()}/fd/{self._fd}",
        )
        run("ip", "address", "add", ours, "dev", name)
        run("ip", "link", "set", name, "up")
        self.run("ip", "address", "add", theirs, "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")

    def listen(self, port: int) -> socket.socket:
        """A TCP socket that listens on the inside's loopback."""

        def make() -> socket.socket:
            _call("setns", self._fd, CLONE_NEWNET)
            return socket.create_server(("127.0.0.1", port))

        return _in_a_thread(make)

    def close(self) -> None:
        os.close(self._fd)


def _in_a_thread(work: Callable[[], T]) -> T:
    """A thread may change its namespace without changing ours."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()
