"""Fake participants up to their keys: offer, ICE check, DTLS by aiortc as client; then the core's generator takes over.

The offer has the layout that pages send (media/negotiation.py). Only loopback candidates of the answer are used.
"""

import asyncio
import secrets
import socket
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
CHECK_TIMEOUT_S: Final = 5.0


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
        lines += _audio_lines() if kind == "audio" else _video_lines()
        if publishes and direction == "sendonly":
            ssrc = AUDIO_SSRC if kind == "audio" else VIDEO_SSRC
            lines += [f"a=msid:- {kind}", f"a=ssrc:{ssrc} cname:benchmark"]
    return "\r\n".join([*lines, ""])


def _audio_lines() -> list[str]:
    return [
        f"a=rtpmap:{OPUS} opus/48000/2",
        f"a=rtcp-fb:{OPUS} transport-cc",
        f"a=fmtp:{OPUS} minptime=10;useinbandfec=1",
    ]


def _video_lines() -> list[str]:
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


class _Link:
    """aiortc's shape of an ICE transport, over a UDP socket that stays unconnected: the limit loop sends to it too."""

    role = "controlling"
    state = "completed"

    def __init__(self, udp: socket.socket, server: tuple[str, int]) -> None:
        self._udp = udp
        self._server = server

    async def _recv(self) -> bytes:
        while True:
            datagram = await asyncio.get_running_loop().sock_recv(self._udp, 2048)
            if datagram and 20 <= datagram[0] <= 63:  # the rest may wait for the generator
                return datagram

    async def _send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendto(self._udp, data, self._server)

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


class Peer:
    """One participant with its handshake done. `close` after the generator has taken its socket over."""

    def __init__(self, server: Server, room: str, name: str, certificate: RTCCertificate, profile: str | None) -> None:
        self._server = server
        self._room = room
        self._name = name
        self._certificate = certificate
        self._profile = profile
        self._ufrag = secrets.token_hex(4)
        self._pwd = secrets.token_hex(16)
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.udp.setblocking(False)
        self.udp.bind(("127.0.0.1", 0))

    async def connect(self, *, publishes: bool) -> "LoadParticipant":
        sources = {"0": "microphone", "1": "camera"} if publishes else {}
        where = {"room": self._room, "participant": self._name}
        await self._server.ask("join", **where, may_publish=list(sources.values()))
        (fingerprint,) = (f.value for f in self._certificate.getFingerprints() if f.algorithm == "sha-256")
        sdp = write_offer(self._ufrag, self._pwd, fingerprint, publishes=publishes)
        reply = await self._server.ask("offer", **where, sdp=sdp, sources=sources)
        answer = read_answer(reply["sdp"])
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await self._check(answer)
        client = await self._shake_hands(answer)
        publish = _publish_spec() if publishes else None
        return {
            "fd": self.udp.fileno(),
            "server": answer.server,
            "ice_username": f"{answer.ice_ufrag}:{self._ufrag}",
            "ice_password": answer.ice_pwd,
            "profile": _as_profile(client.profile),
            "send_key": client.send_key,
            "receive_key": client.receive_key,
            "streams": answer.streams,
            "transport_cc_extension": TWCC_EXTENSION,
            "publish": publish,
        }

    def close(self) -> None:
        self.udp.close()

    async def _check(self, answer: Answer) -> None:
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        request.attributes["USERNAME"] = f"{answer.ice_ufrag}:{self._ufrag}"
        request.attributes["PRIORITY"] = 1
        request.attributes["ICE-CONTROLLING"] = 1
        request.attributes["USE-CANDIDATE"] = None
        request.add_message_integrity(answer.ice_pwd.encode())
        loop = asyncio.get_running_loop()
        await loop.sock_sendto(self.udp, bytes(request), answer.server)
        datagram = await loop.sock_recv(self.udp, 2048)
        response = stun.parse_message(datagram)
        if response.message_class is not stun.Class.RESPONSE:
            raise RuntimeError("the server refused the check")

    async def _shake_hands(self, answer: Answer) -> _Client:
        client = _Client(_Link(self.udp, answer.server), [self._certificate])  # type: ignore[arg-type]  # all that it uses
        client._set_role("client")
        if self._profile is not None:
            client._srtp_profiles = [PROFILES[self._profile]]
        fingerprint = RTCDtlsFingerprint("sha-256", answer.fingerprint)
        await client.start(RTCDtlsParameters([fingerprint], role="server"))
        if client.state != "connected":
            raise RuntimeError("the handshake failed")
        if client._task is not None:  # it would read on
            client._task.cancel()
        return client


def _publish_spec() -> "LoadPublish":
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
