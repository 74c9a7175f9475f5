"""DTLS-SRTP (RFC 5764) towards one peer: aiortc's handshake over datagrams that the packet core carries.

Datagrams arrive from the core by `DtlsSession.receive`, leave by the `send` it was given, and the exported SRTP keys
go to `on_keys`. This is the only file that touches aiortc's private names; aiortc is pinned to a minor version and
tests/media/test_dtls.py guards the seam. Always the passive side, DTLS 1.2 only. It must not know rooms, nor block.
"""

import asyncio
import contextlib
import logging
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from aiortc.rtcdtlstransport import (
    SRTP_AEAD_AES_128_GCM,
    SRTP_AEAD_AES_256_GCM,
    SRTP_AES128_CM_SHA1_80,
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
    SRTPProtectionProfile,
    State,
)
from OpenSSL import SSL

if TYPE_CHECKING:
    from media._forwarder import SrtpProfile

log = logging.getLogger(__name__)

MAX_DATAGRAM_BYTES: Final = 1200
"""Fits every path's MTU (QUIC's minimum); larger flights are sent as several datagrams."""
MAX_WAITING_DATAGRAMS: Final = 16
"""As in the core: a handshake needs at most 4 at once; more is a flood and is dropped."""
ATTEMPTS: Final = 3
HANDSHAKE_TIMEOUT_S: Final = 10.0
CERTIFICATE_AGE: Final = timedelta(days=7)

RECORD_HEADER_BYTES: Final = 13
ALERT: Final = 21

_PROFILES: Final[tuple[tuple[SRTPProtectionProfile, "SrtpProfile"], ...]] = (
    (SRTP_AEAD_AES_256_GCM, "AEAD_AES_256_GCM"),
    (SRTP_AEAD_AES_128_GCM, "AEAD_AES_128_GCM"),
    (SRTP_AES128_CM_SHA1_80, "AES_CM_128_HMAC_SHA1_80"),
)
"""Preferred first; the server's order decides."""


@dataclass(frozen=True)
class Fingerprint:
    algorithm: str
    """Hash function as in SDP, lower case."""
    value: str
    """Upper-case hexadecimal pairs with colons."""


@dataclass(frozen=True)
class SrtpKeys:
    """Master key followed by master salt, for each direction as the server sees it."""

    profile: "SrtpProfile"
    inbound: bytes
    outbound: bytes


class DtlsEnd(StrEnum):
    closed = "closed"
    """The peer said close_notify."""
    failed = "failed"
    """No handshake within the attempts and the time, a certificate that the offer did not name, or a fault of ours."""


class ServerCertificate(RTCCertificate):
    """A certificate with the one SSL context that all handshakes under it share (a context costs about 30 kB)."""

    _context: SSL.Context | None = None

    def _create_ssl_context(self, srtp_profiles: list[SRTPProtectionProfile]) -> SSL.Context:
        if self._context is None:
            context = super()._create_ssl_context(srtp_profiles)
            context.set_options(SSL.OP_NO_QUERY_MTU)
            context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # 16 kB of each connection that says nothing any more
            # Flights, alerts and repeats below are those of DTLS 1.2: 1.3 encrypts its record numbers.
            context.set_max_proto_version(SSL_DTLS1_2)
            self._context = context
        return self._context

    @property
    def fingerprint(self) -> Fingerprint:
        (sha256,) = (f for f in self.getFingerprints() if f.algorithm == "sha-256")
        return Fingerprint(sha256.algorithm, sha256.value)


SSL_DTLS1_2: Final = 0xFEFD
"""OpenSSL's DTLS1_2_VERSION, which pyOpenSSL has no name for."""


class CertificateStore:
    """The certificate for new transports, renewed weekly; live transports keep the one they began with."""

    def __init__(self) -> None:
        self._current: ServerCertificate | None = None
        self._made_at: datetime | None = None

    def current(self, now: datetime) -> ServerCertificate:
        if self._current is None or self._made_at is None or now - self._made_at >= CERTIFICATE_AGE:
            self._current = ServerCertificate.generateCertificate()
            self._made_at = now
        return self._current


def split_untrusted_records(datagram: bytes) -> list[bytes]:
    """The DTLS 1.2 records of a datagram (RFC 6347, 4.1); whatever follows the last whole one is dropped."""
    records = []
    while len(datagram) >= RECORD_HEADER_BYTES:
        end = RECORD_HEADER_BYTES + int.from_bytes(datagram[11:13], "big")
        if end > len(datagram):
            break
        records.append(datagram[:end])
        datagram = datagram[end:]
    return records


def is_plaintext_alert(record: bytes) -> bool:
    """Epoch 0 is not authenticated: anybody who can write the peer's address could end its handshake."""
    return record[0] == ALERT and record[3:5] == b"\x00\x00"


def pack_records(records: Sequence[bytes]) -> list[bytes]:
    """As few datagrams as hold the records whole."""
    datagrams: list[bytes] = []
    for record in records:
        if datagrams and len(datagrams[-1]) + len(record) <= MAX_DATAGRAM_BYTES:
            datagrams[-1] += record
        else:
            datagrams.append(record)
    return datagrams


class _Pipe:
    """What aiortc takes for an ICE transport: `role`, `state`, `_recv`, `_send`, `stop`."""

    role = "controlled"
    state = "completed"

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._closed = False

    def push(self, datagram: bytes) -> bool:
        fits = not self._closed and self._waiting.qsize() < MAX_WAITING_DATAGRAMS
        if fits:
            self._waiting.put_nowait(datagram)
        return fits

    def close(self) -> None:
        self._closed = True
        self._waiting.put_nowait(None)

    async def _recv(self) -> bytes:
        datagram = await self._waiting.get()
        if datagram is None:
            self._waiting.put_nowait(None)
            raise ConnectionError
        return datagram

    async def _send(self, data: bytes) -> None:
        raise AssertionError("flights leave by _Transport._write_ssl")

    async def stop(self) -> None:
        raise AssertionError("transports end by say_goodbye")


class _Transport(RTCDtlsTransport):
    """aiortc's transport with its two edges replaced: where flights go, and where exported keys go."""

    _ssl: Any

    def __init__(
        self, pipe: _Pipe, certificate: ServerCertificate, send: "SendDatagrams", on_keys: Callable[[SrtpKeys], None]
    ) -> None:
        super().__init__(pipe, [certificate])  # type: ignore[arg-type]  # _Pipe is all of RTCIceTransport it uses
        self._srtp_profiles = [profile for profile, _ in _PROFILES]
        self._send_datagrams = send
        self._on_keys = on_keys
        self._set_role("server")

    async def _do_handshake(self) -> None:
        self._ssl.set_ciphertext_mtu(MAX_DATAGRAM_BYTES)
        await super()._do_handshake()

    def _setup_srtp(self) -> None:
        chosen = self._ssl.get_selected_srtp_profile()
        for profile, name in _PROFILES:
            if profile.openssl_profile == chosen:
                length = 2 * (profile.key_length + profile.salt_length)
                exported = self._ssl.export_keying_material(b"EXTRACTOR-dtls_srtp", length)
                inbound, outbound = (profile.get_key_and_salt(exported, index) for index in (0, 1))
                self._on_keys(SrtpKeys(name, inbound, outbound))
                return
        self._set_state(State.FAILED)

    async def _write_ssl(self) -> None:
        self._flush()

    def _flush(self) -> None:
        """Send everything OpenSSL wrote, cut at records (aiortc would cut after 1,500 bytes)."""
        written = b""
        while True:
            try:
                written += self._ssl.bio_read(65_536)
            except SSL.Error:
                break
        records = [record for record in split_untrusted_records(written) if not is_plaintext_alert(record)]
        if records:
            only_alerts = all(record[0] == ALERT for record in records)
            self._send_datagrams(pack_records(records), not self.encrypted and not only_alerts)

    def say_goodbye(self) -> None:
        """aiortc's `stop` without its being a coroutine: the core's transport is removed right after."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._state is State.CONNECTED:
            with contextlib.suppress(SSL.Error):
                self._ssl.shutdown()
            self._flush()


SendDatagrams = Callable[[Sequence[bytes], bool], None]
"""`(datagrams, flight)`: a flight is repeated by the core until the peer answers."""


class DtlsSession:
    """One peer's DTLS from its first datagram to close_notify; callbacks come on the loop that calls `receive`.

    A failed handshake begins again with a fresh transport, up to three times within ten seconds; keys are reported at
    most once, `on_end` at most once, and nothing after `close`.
    """

    def __init__(
        self,
        certificate: ServerCertificate,
        fingerprints: Sequence[Fingerprint],
        *,
        send: SendDatagrams,
        on_keys: Callable[[SrtpKeys], None],
        on_end: Callable[[DtlsEnd], None],
        limit: asyncio.Semaphore,
    ) -> None:
        self._certificate = certificate
        self._fingerprints = tuple(fingerprints)
        self._send = send
        self._on_keys = on_keys
        self._on_end = on_end
        self._limit = limit
        self._pipe = _Pipe()
        self._transport: _Transport | None = None
        self._handshake: asyncio.Task[None] | None = None
        self._ended = False

    @property
    def fingerprints(self) -> tuple[Fingerprint, ...]:
        """Those of the peer that the handshake is checked against."""
        return self._fingerprints

    def receive(self, datagram: bytes) -> None:
        """Take one untrusted datagram; the first begins the handshake."""
        records = [record for record in split_untrusted_records(datagram) if not is_plaintext_alert(record)]
        if self._ended or not records or not self._pipe.push(b"".join(records)):
            return
        if self._handshake is None:
            self._handshake = asyncio.get_running_loop().create_task(self._shake_hands())

    def close(self) -> None:
        """Say close_notify if there is anybody to say it to."""
        self._ended = True
        if self._handshake is not None and not self._handshake.done():
            self._handshake.cancel()
        if self._transport is not None:
            self._transport.say_goodbye()
        self._pipe.close()

    async def _shake_hands(self) -> None:
        parameters = RTCDtlsParameters(
            fingerprints=[RTCDtlsFingerprint(f.algorithm, f.value) for f in self._fingerprints], role="client"
        )
        try:
            async with self._limit, asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                for attempt in range(1, ATTEMPTS + 1):
                    transport = _Transport(self._pipe, self._certificate, self._send, self._on_keys)
                    await transport.start(parameters)
                    if transport.state == "connected":
                        self._transport = transport
                        transport.on("statechange", self._on_state)
                        return
                    log.info("dtls handshake failed attempt=%d", attempt)
                    if transport.encrypted:
                        break  # the handshake was whole but the certificate is not the offer's: no attempt changes it
        except TimeoutError:
            log.info("dtls handshake timed out after_s=%g", HANDSHAKE_TIMEOUT_S)
        except Exception as error:
            # Nobody awaits this task, so the peer would wait for nothing. Only where, for a message may quote keys.
            at = traceback.extract_tb(error.__traceback__)[-1]
            log.warning("dtls handshake broke error=%s at=%s:%s", type(error).__name__, at.name, at.lineno)
        self._end(DtlsEnd.failed)

    def _on_state(self) -> None:
        if self._transport is not None and self._transport.state == "closed":
            self._end(DtlsEnd.closed)

    def _end(self, reason: DtlsEnd) -> None:
        if not self._ended:
            self._ended = True
            self._on_end(reason)
