"""The ways to the server that are not plain UDP to one address: real Chromium in a network of its own."""

import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from playwright.async_api import Page, Playwright

from control import turn
from control.config import TurnSettings
from media.config import MediaSettings
from tests.helpers.bad_link import BadLink
from tests.helpers.networks import Network, network
from tests.media.test_chromium import Stage, open_stage, until

pytestmark = [pytest.mark.browser, pytest.mark.alone, pytest.mark.timeout(180)]

Open = Callable[..., AbstractAsyncContextManager[Stage]]


@pytest.fixture
def net() -> Iterator[Network]:
    with network() as made:
        yield made


@pytest.fixture
def opened(net: Network, playwright: Playwright, tmp_path: Path) -> Open:
    """A stage whose browsers live in `net`; `settings` as MediaSettings has them."""

    @asynccontextmanager
    async def stage(**settings: Any) -> AsyncIterator[Stage]:
        host = net.links[0].server
        wanted = MediaSettings(**{"threads": 2, "bind": (host,), "udp_port": 0, **settings})
        link, chromium = BadLink(("127.0.0.1", 0)), net.chromium(tmp_path)
        async with open_stage(playwright, wanted, link, host=host, chromium=chromium) as ready:
            yield ready

    return stage


async def path_of(page: Page) -> dict[str, Any]:
    """The pair of candidates in use, once something has come over it."""
    found: dict[str, Any] = await page.evaluate(
        """async () => {
            let reports, pair;
            for (let tries = 0; !pair && tries < 100; tries += 1) {
                if (tries) await new Promise((resolve) => setTimeout(resolve, 100));
                reports = [...(await person.pc.getStats()).values()];
                pair = reports.find((one) => one.type === "candidate-pair" && one.nominated && one.bytesReceived);
            }
            const [local, remote] = [pair.localCandidateId, pair.remoteCandidateId]
                .map((id) => reports.find((one) => one.id === id));
            return { local: local.candidateType, protocol: remote.protocol, address: remote.address };
        }"""
    )
    return found


async def two_see_each_other(
    stage: Stage, *, pictures: int = 48, configuration: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    pages = [await stage.enter(name, configuration=configuration) for name in ("ann", "bob")]
    for page in pages:
        await until(page, lambda found: found["decoded"].get("3", 0) > pictures, seconds=60)
    return [await path_of(page) for page in pages]


async def test_pictures_come_by_tcp_where_udp_does_not_pass(net: Network, opened: Open) -> None:
    net.drop("meta l4proto udp")
    async with opened() as stage:
        for path in await two_see_each_other(stage):
            assert path["protocol"] == "tcp"
        assert stage.node.stats()["tcp_connections"] >= 2
        assert stage.node.stats()["dropped"].get("stream_frames_cut", 0) == 0


async def test_without_media_by_tcp_no_candidate_of_it_is_named(net: Network, opened: Open) -> None:
    async with opened(tcp=False) as stage:
        page = await stage.enter("ann")
        sdp = await page.evaluate("person.pc.remoteDescription.sdp")
        assert "tcptype" not in sdp
        assert stage.node.stats()["tcp_connections"] == 0


async def test_pictures_come_by_ipv6_alone(net: Network, opened: Open) -> None:
    link = net.links[0]
    async with opened(bind=(link.server6,)) as stage:
        for path in await two_see_each_other(stage):
            assert path["address"].strip("[]") == link.server6


async def test_of_several_addresses_the_one_that_passes_is_used(net: Network, opened: Open) -> None:
    link = net.links[0]
    net.drop("ip protocol udp")
    async with opened(bind=(link.server, link.server6), tcp=False) as stage:
        page = await stage.enter("ann")
        sdp = await page.evaluate("person.pc.remoteDescription.sdp")
        assert sdp.index(link.server) < sdp.index(link.server6), "IPv4 is preferred"
        await until(page, lambda found: found["state"] == "connected", seconds=60)
        assert (await path_of(page))["address"].strip("[]") == link.server6


async def test_behind_a_nat_the_configured_public_address_is_reached(net: Network, opened: Open) -> None:
    link = net.links[0]
    public = "203.0.113.9"
    # The browsers know only the public address; the translation is done on their side of the link.
    net.inside("ip", "route", "add", public, "via", link.server)
    net.inside(
        "nft",
        "-f",
        "-",
        given=f"""
        table ip nat {{
            chain output {{ type nat hook output priority -100; ip daddr {public} dnat to {link.server}; }}
        }}""",
    )
    net.drop(f"meta l4proto udp ct original ip daddr {link.server}")
    async with opened(advertise={link.server: public}, tcp=False) as stage:
        for path in await two_see_each_other(stage):
            assert path["address"] == public


@contextmanager
def coturn(address: str, folder: Path) -> Iterator[TurnSettings]:
    """Debian's TURN server on `address`, set up as the README says."""
    with socket.create_server((address, 0)) as free:
        port = free.getsockname()[1]
    secret = "between the two servers"
    words = [
        *("turnserver", "-n", "--no-cli", "--no-tls", "--no-dtls", "--simple-log", "--log-file=stdout"),
        *(f"--listening-ip={address}", f"--relay-ip={address}", f"--listening-port={port}"),
        *("--use-auth-secret", f"--static-auth-secret={secret}", "--realm=holdspace"),
        *(f"--pidfile={folder / 'turn.pid'}", f"--userdb={folder / 'turn.db'}"),
    ]
    with (folder / "turn.log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)  # noqa: S603  our own words
        try:
            until_it_listens(address, port)
            urls = tuple(f"turn:{address}:{port}?transport={transport}" for transport in ("udp", "tcp"))
            yield TurnSettings.model_validate({"urls": urls, "secret": secret})
        finally:
            process.terminate()
            process.wait(10)


def until_it_listens(address: str, port: int) -> None:
    deadline = monotonic() + 10
    while True:
        try:
            socket.create_connection((address, port), 1).close()
            return
        except ConnectionRefusedError:
            assert monotonic() < deadline, "the relay does not start"
            sleep(0.05)


async def test_pictures_come_by_a_relay_alone(net: Network, opened: Open, tmp_path: Path) -> None:
    with coturn(net.links[0].server, tmp_path) as settings:
        relays = list(turn.ice_servers(settings, "ann", datetime.now(UTC)))
        async with opened(tcp=False) as stage:
            configuration = {"iceServers": relays, "iceTransportPolicy": "relay"}
            for path in await two_see_each_other(stage, configuration=configuration):
                assert path["local"] == "relay"


async def test_the_relay_helps_by_tcp_where_no_udp_passes(net: Network, opened: Open, tmp_path: Path) -> None:
    net.drop("meta l4proto udp")
    with coturn(net.links[0].server, tmp_path) as settings:
        relays = list(turn.ice_servers(settings, "ann", datetime.now(UTC)))
        async with opened(tcp=False) as stage:
            for path in await two_see_each_other(stage, configuration={"iceServers": relays}):
                assert path["local"] == "relay"


async def test_the_relay_takes_no_credentials_that_have_run_out(net: Network, opened: Open, tmp_path: Path) -> None:
    with coturn(net.links[0].server, tmp_path) as settings:
        long_ago = datetime.now(UTC) - settings.lifetime - timedelta(minutes=1)
        relays = list(turn.ice_servers(settings, "ann", long_ago))
        async with opened(tcp=False) as stage:
            page = await stage.new_page()
            await page.goto(f"{stage.url}?name=ann")
            refusal = await page.evaluate(
                """async (configuration) => {
                    const entering = person.enter(false, configuration);
                    while (!person.pc) await new Promise((resolve) => setTimeout(resolve, 1));
                    const refused = new Promise((resolve) => {
                        person.pc.addEventListener("icecandidateerror", ({ errorCode }) => {
                            if (errorCode === 401) resolve(errorCode);
                        });
                    });
                    await entering;
                    return Promise.race([refused, new Promise((resolve) => setTimeout(resolve, 60_000))]);
                }""",
                {"iceServers": relays, "iceTransportPolicy": "relay"},
            )
            assert refusal == 401
            assert "a=candidate" not in await page.evaluate("person.pc.localDescription.sdp")
