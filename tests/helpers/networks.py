"""Networks of a test's own: a namespace for browsers, joined to this one by links that can be cut, filtered and moved.

Needs root; without it the tests say so and are skipped. Whatever is made here bears the process's number in its name,
so that runs side by side do not meet, and goes with the context manager. Other browsers of the machine see an address
come and go, and drop the requests that wait: a test that makes a network is marked `alone`.
"""

import functools
import itertools
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CHROMIUM = "/usr/bin/chromium"


def run(*command: str, given: str | None = None) -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)  # noqa: S603  our own words
    if done.returncode:
        raise AssertionError(f"{shlex.join(command)}: {done.stderr.strip()}")
    return done.stdout


@functools.cache
def why_not() -> str:
    """Empty where namespaces can be made."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not all(map(shutil.which, ("ip", "nft"))):
        return "network namespaces need iproute2 and nftables"
    name = f"try{os.getpid()}"
    try:
        run("ip", "netns", "add", name)
    except AssertionError as error:
        return f"this machine makes no network namespaces: {error}"
    run("ip", "netns", "delete", name)
    return ""


@dataclass
class Link:
    """One veth pair: `outside` is ours, `inside` the browsers'."""

    number: int
    namespace: str
    outside: str
    inside: str
    net: str
    """The first three bytes of its IPv4 /24."""

    @property
    def server(self) -> str:
        return f"{self.net}.1"

    @property
    def server6(self) -> str:
        return f"fd77:{self.net.replace('.', ':')}::1"

    def down(self) -> None:
        """The cable is pulled, and with it every address goes, as it does from a telephone that leaves a network."""
        run("ip", "-n", self.namespace, "link", "set", self.inside, "down")
        run("ip", "-n", self.namespace, "addr", "flush", "dev", self.inside)

    def up(self) -> None:
        inside = ("ip", "-n", self.namespace)
        run(*inside, "link", "set", self.inside, "up")
        run(*inside, "addr", "replace", f"{self.net}.2/24", "dev", self.inside)
        run(*inside, "addr", "replace", f"{self.server6[:-1]}2/64", "dev", self.inside, "nodad")
        run(*inside, "route", "replace", "default", "via", self.server, "metric", str(100 * (self.number + 1)))


@dataclass
class Network:
    namespace: str
    links: list[Link] = field(default_factory=list)

    def inside(self, *command: str, given: str | None = None) -> str:
        return run("ip", "netns", "exec", self.namespace, *command, given=given)

    def drop(self, rule: str) -> None:
        """Let nothing that fits the rule leave or reach the browsers, as `nft` writes it: "meta l4proto udp"."""
        table = f"""
            table inet test {{
                chain out {{ type filter hook output priority 0; {rule} drop; }}
                chain in {{ type filter hook input priority 0; {rule} drop; }}
            }}
        """
        self.inside("nft", "-f", "-", given=table)

    def chromium(self, folder: Path) -> str:
        """A program that is Chromium in this network."""
        script = folder / f"chromium-{self.namespace}"
        script.write_text(f'#!/bin/sh\nexec ip netns exec {self.namespace} {CHROMIUM} "$@"\n')
        script.chmod(0o755)
        return str(script)


_numbers = itertools.count()


@contextmanager
def network(links: int = 1) -> Iterator[Network]:
    """Skips the test, with the reason, where it can't be."""
    if reason := why_not():
        pytest.skip(reason)
    made = Network(f"hs{os.getpid()}x{next(_numbers)}")
    run("ip", "netns", "add", made.namespace)
    try:
        run("ip", "-n", made.namespace, "link", "set", "lo", "up")
        for number in range(links):
            made.links.append(_add_link(made.namespace, number))
        yield made
    finally:
        run("ip", "netns", "delete", made.namespace)
        for link in made.links:
            # Its other end went with the namespace; the kernel may or may not have taken this one too.
            with suppress(AssertionError):
                run("ip", "link", "delete", link.outside)


def _add_link(namespace: str, number: int) -> Link:
    ours = next(_numbers)
    place = os.getpid() % 240 * 50 + ours % 50
    base = f"v{os.getpid() % 100_000}{ours % 100}"
    link = Link(number, namespace, f"{base}o", f"{base}i", f"10.{70 + place // 250}.{place % 250}")
    run("ip", "link", "add", link.outside, "type", "veth", "peer", "name", link.inside, "netns", namespace)
    run("ip", "addr", "add", f"{link.server}/24", "dev", link.outside)
    run("ip", "addr", "add", f"{link.server6}/64", "dev", link.outside, "nodad")
    run("ip", "link", "set", link.outside, "up")
    # A link-local address would come only after a second or two, as a change of its own that browsers wait out.
    run("ip", "-n", namespace, "link", "set", link.inside, "addrgenmode", "none")
    link.up()
    return link
