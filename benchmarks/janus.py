"""Janus from Debian's packages as a yardstick: the process, its VideoRoom by HTTP, and a participant's two connections.

In VideoRoom a person publishes on one connection and receives each other person on another one. Janus runs ICE-lite
and on an interface address, because its ICE library leaves loopback out: inside a namespace of our own (FACTS: traffic
stays inside). Everything that is not needed is switched off, and its bitrate cap and regular keyframe requests too.
"""

import asyncio
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiortc.rtcdtlstransport import RTCCertificate

from benchmarks.namespace import NoRight
from benchmarks.participant import (
    AUDIO_SSRC,
    OPUS,
    TWCC_EXTENSION,
    VIDEO_SSRC,
    VP8,
    Answer,
    Peer,
    Seat,
    audio_lines,
    publish_spec,
    video_lines,
)

if TYPE_CHECKING:
    from media._forwarder import LoadParticipant

ADDRESS: Final = "10.77.0.1"
PORT: Final = 8088
START_S: Final = 10.0
EVENT_S: Final = 15.0
MOST_BPS: Final = 20_000_000


def find_program() -> str:
    """Raises NoRight where it is not installed."""
    program = shutil.which("janus")
    if program is None:
        raise NoRight("this benchmark compares with Janus, which is not installed: apt-get install janus")
    return program


class Janus:
    """The running process."""

    def __init__(self, process: asyncio.subprocess.Process, http: aiohttp.ClientSession) -> None:
        self._process = process
        self._http = http

    @classmethod
    async def start(cls, folder: Path, *, cpu: int | None) -> "Janus":
        program = find_program()
        _configure(folder)
        pinned = ("taskset", "--cpu-list", str(cpu)) if cpu is not None else ()
        with (folder / "janus.log").open("wb") as log:
            words = (*pinned, program, f"--configs-folder={folder}", "--disable-colors")
            process = await asyncio.create_subprocess_exec(*words, stdout=log, stderr=log)
        janus = cls(process, aiohttp.ClientSession(f"http://{ADDRESS}:{PORT}"))
        async with asyncio.timeout(START_S):
            while True:
                try:
                    await janus.ask("/janus", {"janus": "create"})
                    return janus
                except aiohttp.ClientError:
                    await asyncio.sleep(0.1)

    async def ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        async with self._http.post(path, json={"transaction": secrets.token_hex(6), **body}) as response:
            answer: dict[str, Any] = await response.json(content_type=None)
        if answer["janus"] == "error":
            raise RuntimeError(f"Janus: {answer['error']}")
        return answer

    async def event(self, path: str) -> dict[str, Any]:
        """The next event that a plugin says."""
        async with asyncio.timeout(EVENT_S):
            while True:
                async with self._http.get(path) as response:
                    event: dict[str, Any] = await response.json(content_type=None)
                if event["janus"] == "event":
                    data: dict[str, Any] = event["plugindata"]["data"]
                    if "error" in data:
                        raise RuntimeError(f"Janus: {data['error']}")
                    return event

    def usage(self) -> tuple[float, int]:
        """CPU seconds and resident bytes."""
        words = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks, pages = int(words[11]) + int(words[12]), int(words[21])
        return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE")

    async def close(self) -> None:
        await self._http.close()
        self._process.terminate()
        await self._process.wait()


def _configure(folder: Path) -> None:
    libraries = next(Path("/usr/lib").glob("*/janus"))
    unused = [path.name for path in (libraries / "plugins").glob("*.so") if "videoroom" not in path.name]
    transports = [path.name for path in (libraries / "transports").glob("*.so") if "http" not in path.name]
    (folder / "janus.jcfg").write_text(
        f"""general: {{
            configs_folder = "{folder}"
            plugins_folder = "{libraries}/plugins"
            transports_folder = "{libraries}/transports"
            debug_level = 2
            session_timeout = 0
        }}
        media: {{ rtp_port_range = "20000-40000" }}
        nat: {{ ice_lite = true  ice_enforce_list = "{ADDRESS}" }}
        plugins: {{ disable = "{",".join(unused)}" }}
        transports: {{ disable = "{",".join(transports)}" }}
        """,
        encoding="ascii",
    )
    (folder / "janus.transport.http.jcfg").write_text(
        f"""general: {{ json = "compact"  base_path = "/janus"  http = true  port = {PORT}  https = false }}
        """,
        encoding="ascii",
    )
    (folder / "janus.plugin.videoroom.jcfg").write_text("general: { }\n", encoding="ascii")


class _Handle:
    """One connection's place in Janus: a session of its own with VideoRoom attached."""

    def __init__(self, janus: Janus) -> None:
        self._janus = janus
        self._session = ""
        self._handle = ""

    async def attach(self) -> None:
        created = await self._janus.ask("/janus", {"janus": "create"})
        self._session = f"/janus/{created['data']['id']}"
        attached = await self._janus.ask(self._session, {"janus": "attach", "plugin": "janus.plugin.videoroom"})
        self._handle = f"{self._session}/{attached['data']['id']}"

    async def say(self, body: Mapping[str, Any], jsep: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A request that is answered by an event."""
        message = {"janus": "message", "body": body, **({"jsep": jsep} if jsep else {})}
        await self._janus.ask(self._handle, message)
        return await self._janus.event(self._session)

    async def ask(self, body: Mapping[str, Any]) -> None:
        """A request that is answered at once."""
        await self._janus.ask(self._handle, {"janus": "message", "body": body})


async def make_rooms(janus: Janus, count: int) -> None:
    handle = _Handle(janus)
    await handle.attach()
    for room in range(1, count + 1):
        quiet = {"bitrate": MOST_BPS, "fir_freq": 0, "audiocodec": "opus", "videocodec": "vp8"}
        await handle.ask({"request": "create", "room": room, "publishers": 2, "is_private": True, **quiet})


async def publish(janus: Janus, room: int, seat: Seat, certificate: RTCCertificate) -> "tuple[int, LoadParticipant]":
    """The publisher's id in the room, and its connection, which receives nothing."""
    handle, peer = _Handle(janus), Peer(seat, certificate)
    await handle.attach()
    joined = await handle.say({"request": "join", "room": room, "ptype": "publisher"})
    offer = {"type": "offer", "sdp": _offer(peer, seat)}
    answered = await handle.say({"request": "publish"}, offer)
    answer = read_description(answered["jsep"]["sdp"], receives=False)
    return joined["plugindata"]["data"]["id"], await peer.secure(answer, publish_spec())


async def subscribe(janus: Janus, room: int, feed: int, seat: Seat, certificate: RTCCertificate) -> "LoadParticipant":
    handle, peer = _Handle(janus), Peer(seat, certificate)
    await handle.attach()
    offered = await handle.say({"request": "join", "room": room, "ptype": "subscriber", "streams": [{"feed": feed}]})
    sdp = offered["jsep"]["sdp"]
    answer = {"type": "answer", "sdp": _answer(peer, seat, sdp)}
    await handle.say({"request": "start"}, answer)
    return await peer.secure(read_description(sdp, receives=True), None)


def _head(peer: Peer, seat: Seat, mid: str) -> list[str]:
    return [
        "c=IN IP4 0.0.0.0",
        f"a=mid:{mid}",
        f"a=ice-ufrag:{peer.ufrag}",
        f"a=ice-pwd:{peer.pwd}",
        f"a=fingerprint:sha-256 {peer.fingerprint}",
        "a=setup:active",
        f"a=candidate:1 1 udp 2130706431 {seat.source} {seat.shared.port} typ host",
        "a=end-of-candidates",
        "a=rtcp-mux",
        f"a=extmap:{TWCC_EXTENSION} http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    ]


def _offer(peer: Peer, seat: Seat) -> str:
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0 1"]
    for mid, (kind, number, codec, ssrc) in enumerate(
        (("audio", OPUS, audio_lines(), AUDIO_SSRC), ("video", VP8, video_lines(), VIDEO_SSRC))
    ):
        lines += [f"m={kind} 9 UDP/TLS/RTP/SAVPF {number}", *_head(peer, seat, str(mid)), "a=sendonly", *codec]
        lines += [f"a=msid:- {kind}", f"a=ssrc:{ssrc} cname:benchmark"]
    return "\r\n".join([*lines, ""])


def _answer(peer: Peer, seat: Seat, offer: str) -> str:
    """What is offered, received."""
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    lines += re.findall(r"a=group:BUNDLE.*", offer.replace("\r", ""))
    for section in offer.replace("\r", "").split("\nm=")[1:]:
        described = section.split("\n")
        (mid,) = (line.removeprefix("a=mid:") for line in described if line.startswith("a=mid:"))
        codec = [line for line in described if line.startswith(("a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"))]
        lines += [f"m={described[0]}", *_head(peer, seat, mid), "a=recvonly", *codec]
    return "\r\n".join([*lines, ""])


def read_description(sdp: str, *, receives: bool) -> Answer:
    text = sdp.replace("\r", "")

    def first(pattern: str) -> re.Match[str]:
        found = re.search(pattern, text)
        if found is None:
            raise RuntimeError(f"Janus' description has no {pattern}")
        return found

    candidate = first(rf"a=candidate:\S+ 1 udp \d+ ({re.escape(ADDRESS)}) (\d+)")
    streams = []
    for section in text.split("\nm=")[1:] if receives else []:
        ssrc = re.search(r"a=ssrc:(\d+)", section)
        if ssrc is not None:
            streams.append((int(ssrc[1]), section.startswith("video")))
    return Answer(
        first(r"a=ice-ufrag:(\S+)")[1],
        first(r"a=ice-pwd:(\S+)")[1],
        first(r"a=fingerprint:sha-256 (\S+)")[1],
        (candidate[1], int(candidate[2])),
        tuple(streams),
    )
