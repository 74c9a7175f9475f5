"""Fake participants up to their keys: offer, ICE check, DTLS by aiortc as client; then the core's generator takes over.

The offer has the layout that pages send (media/negotiation.py). Only loopback candidates of the answer are used.
"""

import asyncio
import secrets
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aioice import stun
from aiortc.rtcdtlstransport import (
    SRTP_AEAD_AES_128_GCM,
    SRTP_AEAD_AES_256_GCM,
    SRTP_AES128_CM_SHA1_80,
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
    SRTPProtectionProfile,
)

from benchmarks.server import Server

if TYPE_CHECKING:
    from media._forwarder import LoadParticipant, LoadPublish, SrtpProfile

PROFILES: Final[dict[str, SRTPProtectionProfile]] = {
    "AEAD_AES_256_GCM": SRTP_AEAD_AES_256_GCM,
    "AEAD_AES_128_GCM": SRTP_AEAD_AES_128_GCM,
    "AES_CM_128_HMAC_SHA1_80": SRTP_AES128_CM_SHA1_80,
}

MID_EXTENSION: Final = 4
LEVEL_EXTENSION: Final = 1
TWCC_EXTENSION: Final = 3
OPUS: Final = 111
VP8: Final = 96
RTX: Final = 97
VIDEO_SSRC: Final = 0x1000_0001
AUDIO_SSRC: Final = 0x1000_0002
CHECK_TIMEOUT_S: Final = 10.0
FIRST_RTO_S: Final = 0.5
HANDSHAKE_TIMEOUT_S: Final = 20.0
IP_PKTINFO: Final = 8
"""Of <linux/in.h>; Python has no name for it. Its data: interface, our address, destination."""


@dataclass(frozen=True)
class Answer:
    """What a peer needs of the server's answer."""

    ice_ufrag: str
    ice_pwd: str
    fingerprint: str
    server: tuple[str, int]
    streams: tuple[tuple[int, bool], ...]


def write_offer(ufrag: str, password: str, fingerprint: str, *, publishes: bool) -> str:
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0 1 2 3", "a=extmap-allow-mixed"]
    sections = (("audio", "sendonly"), ("video", "sendonly"), ("audio", "recvonly"), ("video", "recvonly"))
    for mid, (kind, direction) in enumerate(sections):
        formats = str(OPUS) if kind == "audio" else f"{VP8} {RTX}"
        lines += [
            f"m={kind} 9 UDP/TLS/RTP/SAVPF {formats}",
            "c=IN IP4 0.0.0.0",
            "a=rtcp:9 IN IP4 0.0.0.0",
            f"a=ice-ufrag:{ufrag}",
            f"a=ice-pwd:{password}",
            f"a=fingerprint:sha-256 {fingerprint}",
            "a=setup:actpass",
            f"a=mid:{mid}",
            f"a=extmap:{LEVEL_EXTENSION} urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            f"a=extmap:{MID_EXTENSION} urn:ietf:params:rtp-hdrext:sdes:mid",
            f"a=extmap:{TWCC_EXTENSION} http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
            f"a={direction}",
            "a=rtcp-mux",
            "a=rtcp-rsize",
        ]
        lines += audio_lines() if kind == "audio" else video_lines()
        if publishes and direction == "sendonly":
            ssrc = AUDIO_SSRC if kind == "audio" else VIDEO_SSRC
            lines += [f"a=msid:- {kind}", f"a=ssrc:{ssrc} cname:benchmark"]
    return "\r\n".join([*lines, ""])


def audio_lines() -> list[str]:
    return [
        f"a=rtpmap:{OPUS} opus/48000/2",
        f"a=rtcp-fb:{OPUS} transport-cc",
        f"a=fmtp:{OPUS} minptime=10;useinbandfec=1",
    ]


def video_lines() -> list[str]:
    feedback = ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli")
    return [
        f"a=rtpmap:{VP8} VP8/90000",
        *(f"a=rtcp-fb:{VP8} {name}" for name in feedback),
        f"a=rtpmap:{RTX} rtx/90000",
        f"a=fmtp:{RTX} apt={VP8}",
    ]


def read_answer(sdp: str) -> Answer:
    values: dict[str, str] = {}
    streams: list[tuple[int, bool]] = []
    servers: list[tuple[str, int]] = []
    for section in sdp.split("\r\nm="):
        ssrcs = []
        for line in section.split("\r\n"):
            name, _, value = line.removeprefix("a=").partition(":")
            if name in ("ice-ufrag", "ice-pwd", "fingerprint"):
                values[name] = value
            elif name == "candidate":
                words = value.split()
                servers.append((words[4], int(words[5])))
            elif name == "ssrc":
                ssrcs.append(int(value.split()[0]))
        if ssrcs:
            streams.append((ssrcs[0], section.startswith("video")))
    loopback = [server for server in servers if server[0].startswith("127.")]
    return Answer(
        values["ice-ufrag"],
        values["ice-pwd"],
        values["fingerprint"].removeprefix("sha-256 "),
        loopback[0],
        tuple(streams),
    )


class SharedSocket:
    """One UDP socket for many participants, each with a local address of its own out of 127.0.0.0/8.

    Ours until the generator takes it over: from then on only that may read. `release` when the participants are added.
    """

    def __init__(self) -> None:
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._udp.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        self._udp.setblocking(False)
        self._udp.bind(("0.0.0.0", 0))  # noqa: S104  all of 127.0.0.0/8; nothing but the checked server is answered
        self._inboxes: dict[str, asyncio.Queue[bytes]] = {}
        asyncio.get_running_loop().add_reader(self._udp, self._read)

    @property
    def fd(self) -> int:
        return self._udp.fileno()

    @property
    def port(self) -> int:
        return int(self._udp.getsockname()[1])

    def inbox(self, source: str) -> "asyncio.Queue[bytes]":
        return self._inboxes.setdefault(source, asyncio.Queue())

    def send(self, data: bytes, source: str, to: tuple[str, int]) -> None:
        info = struct.pack("=I4s4s", 0, socket.inet_aton(source), bytes(4))
        self._udp.sendmsg([data], [(socket.IPPROTO_IP, IP_PKTINFO, info)], 0, to)

    def _read(self) -> None:
        data, ancillary, _, _ = self._udp.recvmsg(2048, 128)
        for level, kind, info in ancillary:
            if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
                inbox = self._inboxes.get(socket.inet_ntoa(info[8:12]))
                if inbox is not None:
                    inbox.put_nowait(data)

    def release(self) -> None:
        """Stop reading; the socket stays open for the generator's copy to be made."""
        asyncio.get_running_loop().remove_reader(self._udp)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._udp)
        self._udp.close()


class _Link:
    """aiortc's shape of an ICE transport, for one participant on a shared socket."""

    role = "controlling"
    state = "completed"

    def __init__(self, shared: SharedSocket, source: str, server: tuple[str, int], pwd: str) -> None:
        self._shared = shared
        self._source = source
        self._server = server
        self._pwd = pwd

    async def _recv(self) -> bytes:
        while True:
            datagram = await self._shared.inbox(self._source).get()
            if datagram and 20 <= datagram[0] <= 63:
                return datagram
            if datagram and datagram[0] < 4:
                await self._answer_check(datagram)

    async def _answer_check(self, datagram: bytes) -> None:
        """Janus' ICE checks back although it calls itself lite."""
        request = stun.parse_message(datagram)
        if request.message_class is stun.Class.REQUEST:
            response = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, request.transaction_id)
            response.attributes["XOR-MAPPED-ADDRESS"] = self._server
            response.add_message_integrity(self._pwd.encode())
            await self._send(bytes(response))

    async def _send(self, data: bytes) -> None:
        self._shared.send(data, self._source, self._server)

    async def stop(self) -> None:
        raise AssertionError("nobody stops a benchmark's link")


class _Client(RTCDtlsTransport):
    """Keeps the exported keys instead of making aiortc's own SRTP sessions."""

    profile: str
    send_key: bytes
    receive_key: bytes

    def _setup_srtp(self) -> None:
        if self._ssl is None:
            raise RuntimeError("keys before the handshake")
        chosen = self._ssl.get_selected_srtp_profile()
        for name, profile in PROFILES.items():
            if profile.openssl_profile == chosen:
                length = 2 * (profile.key_length + profile.salt_length)
                exported = self._ssl.export_keying_material(b"EXTRACTOR-dtls_srtp", length)
                self.profile = name
                self.send_key, self.receive_key = (profile.get_key_and_salt(exported, side) for side in (0, 1))


@dataclass(frozen=True)
class Seat:
    """Where a participant sits: in which room under which name, and where its datagrams come from."""

    room: str
    name: str
    shared: SharedSocket
    source: str


class Peer:
    """One participant up to its keys, whatever server it talks to."""

    def __init__(self, seat: Seat, certificate: RTCCertificate, profile: str | None = None) -> None:
        self._seat = seat
        self._certificate = certificate
        self._profile = profile
        self.ufrag = secrets.token_hex(4)
        self.pwd = secrets.token_hex(16)

    @property
    def fingerprint(self) -> str:
        (found,) = (f.value for f in self._certificate.getFingerprints() if f.algorithm == "sha-256")
        return found

    async def connect(self, server: Server, *, publishes: bool) -> "LoadParticipant":
        """Into a room of ours."""
        sources = {"0": "microphone", "1": "camera"} if publishes else {}
        where = {"room": self._seat.room, "participant": self._seat.name}
        await server.ask("join", **where, may_publish=list(sources.values()))
        sdp = write_offer(self.ufrag, self.pwd, self.fingerprint, publishes=publishes)
        reply = await server.ask("offer", **where, sdp=sdp, sources=sources)
        return await self.secure(read_answer(reply["sdp"]), publish_spec() if publishes else None)

    async def secure(self, answer: Answer, publish: "LoadPublish | None") -> "LoadParticipant":
        """ICE check and DTLS. `socket` is left for the generator's number of it."""
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await self._check(answer)
        client = await self._shake_hands(answer)
        return {
            "socket": -1,
            "source": self._seat.source,
            "server": answer.server,
            "ice_username": f"{answer.ice_ufrag}:{self.ufrag}",
            "ice_password": answer.ice_pwd,
            "profile": _as_profile(client.profile),
            "send_key": client.send_key,
            "receive_key": client.receive_key,
            "streams": answer.streams,
            "transport_cc_extension": TWCC_EXTENSION,
            "publish": publish,
        }

    async def _check(self, answer: Answer) -> None:
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        request.attributes["USERNAME"] = f"{answer.ice_ufrag}:{self.ufrag}"
        request.attributes["PRIORITY"] = 1
        request.attributes["ICE-CONTROLLING"] = 1
        request.attributes["USE-CANDIDATE"] = None
        request.add_message_integrity(answer.ice_pwd.encode())
        seat = self._seat
        inbox = seat.shared.inbox(seat.source)
        response = stun.parse_message(await self._asked_until_answered(bytes(request), inbox, answer))
        if response.message_class is not stun.Class.RESPONSE:
            raise RuntimeError("the server refused the check")

    async def _asked_until_answered(self, request: bytes, inbox: "asyncio.Queue[bytes]", answer: Answer) -> bytes:
        """Sends the request again as browsers do, after twice the time each time (RFC 8489 §6.2.1)."""
        wait = FIRST_RTO_S
        while True:
            self._seat.shared.send(request, self._seat.source, answer.server)
            with suppress(TimeoutError):
                return await asyncio.wait_for(inbox.get(), wait)
            wait *= 2

    async def _shake_hands(self, answer: Answer) -> _Client:
        client = _Client(_Link(self._seat.shared, self._seat.source, answer.server, self.pwd), [self._certificate])  # type: ignore[arg-type]  # all that it uses
        client._set_role("client")
        if self._profile is not None:
            client._srtp_profiles = [PROFILES[self._profile]]
        fingerprint = RTCDtlsFingerprint("sha-256", answer.fingerprint)
        async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
            await client.start(RTCDtlsParameters([fingerprint], role="server"))
        if client.state != "connected":
            raise RuntimeError("the handshake failed")
        if client._task is not None:  # it would read on
            client._task.cancel()
        return client


def publish_spec() -> "LoadPublish":
    return {
        "video_ssrc": VIDEO_SSRC,
        "video_payload_type": VP8,
        "video_mid": "1",
        "audio_ssrc": AUDIO_SSRC,
        "audio_payload_type": OPUS,
        "audio_mid": "0",
        "mid_extension": MID_EXTENSION,
        "audio_level_extension": LEVEL_EXTENSION,
        "transport_cc_extension": TWCC_EXTENSION,
    }


def _as_profile(name: str) -> "SrtpProfile":
    match name:
        case "AEAD_AES_256_GCM" | "AEAD_AES_128_GCM" | "AES_CM_128_HMAC_SHA1_80":
            return name
    raise ValueError(name)
