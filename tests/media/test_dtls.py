"""The seam to aiortc: our session against a stock aiortc client over a link in memory that loses, cuts and forges."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from aiortc.rtcdtlstransport import RTCCertificate, RTCDtlsFingerprint, RTCDtlsParameters, RTCDtlsTransport
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from media.dtls import (
    MAX_DATAGRAM_BYTES,
    CertificateStore,
    DtlsEnd,
    DtlsSession,
    Fingerprint,
    SrtpKeys,
    is_plaintext_alert,
    pack_records,
    split_untrusted_records,
)
from media.errors import UnknownId

NOW = datetime(2026, 11, 21, tzinfo=UTC)
REPEAT_S = 0.02
HANDSHAKE, ALERT = 22, 21
FORGED_ALERT = bytes.fromhex("15fefd 0000 000000000009 0002 0228")

Shape = Callable[[bytes], list[bytes]]


class ClientPipe:
    """The client's side of the link, in aiortc's shape of an ICE transport."""

    role = "controlling"
    state = "completed"

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.to_server: Callable[[bytes], None] = lambda data: None

    async def _recv(self) -> bytes:
        data = await self.arrived.get()
        if data is None:
            raise ConnectionError
        return data

    async def _send(self, data: bytes) -> None:
        self.to_server(data)

    async def stop(self) -> None:
        self.arrived.put_nowait(None)


class Link:
    """A connected pair: the core's part (repeating flights until the client sends something) is played here."""

    def __init__(self, *, fingerprints: Sequence[Fingerprint] | None = None) -> None:
        self.pipe = ClientPipe()
        self.client_certificate = RTCCertificate.generateCertificate()
        self.client = RTCDtlsTransport(self.pipe, [self.client_certificate])
        self.client._set_role("client")
        self.certificate = CertificateStore().current(NOW)
        self.keys: list[SrtpKeys] = []
        self.ends: asyncio.Queue[DtlsEnd] = asyncio.Queue()
        self.sent: list[tuple[list[bytes], bool]] = []
        self.repeated = 0
        self.shape_upstream: Shape = lambda data: [data]
        self.lose_downstream: set[int] = set()
        self._repeat: asyncio.TimerHandle | None = None
        named = [Fingerprint(f.algorithm, f.value) for f in self.client_certificate.getFingerprints()]
        self.session = DtlsSession(
            self.certificate,
            named if fingerprints is None else fingerprints,
            send=self._downstream,
            on_keys=self.keys.append,
            on_end=self.ends.put_nowait,
            limit=asyncio.Semaphore(4),
        )
        self.pipe.to_server = self._upstream

    def _upstream(self, data: bytes) -> None:
        for piece in self.shape_upstream(data):
            if self._repeat is not None:
                self._repeat.cancel()
            self.session.receive(piece)

    def _downstream(self, datagrams: Sequence[bytes], flight: bool) -> None:
        self.sent.append((list(datagrams), flight))
        if len(self.sent) not in self.lose_downstream:
            self._arrive(datagrams)
        if flight:
            self._repeat = asyncio.get_running_loop().call_later(REPEAT_S, self._repeat_flight, datagrams)

    def _repeat_flight(self, datagrams: Sequence[bytes]) -> None:
        self.repeated += 1
        self._arrive(datagrams)

    def _arrive(self, datagrams: Sequence[bytes]) -> None:
        for datagram in datagrams:
            self.pipe.arrived.put_nowait(datagram)

    async def connect(self) -> None:
        server = self.certificate.fingerprint
        parameters = RTCDtlsParameters([RTCDtlsFingerprint(server.algorithm, server.value)], role="server")
        async with asyncio.timeout(8):
            await self.client.start(parameters)

    async def close(self) -> None:
        if self._repeat is not None:
            self._repeat.cancel()
        self.session.close()
        await self.client.stop()
        await self.pipe.stop()


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    link = Link()
    yield link
    await link.close()


def lose(numbers: set[int]) -> Shape:
    count = 0

    def shape(data: bytes) -> list[bytes]:
        nonlocal count
        count += 1
        return [] if count in numbers else [data]

    return shape


def fragment_and_reorder(data: bytes) -> list[bytes]:
    """A ClientHello cut into three handshake fragments (RFC 6347, 4.2.3), the last one first."""
    if data[0] != HANDSHAKE or data[13] != 1 or data[3:5] != b"\0\0":
        return [data]
    body, header = data[25:], data[13:25]
    cuts = [0, len(body) // 3, 2 * len(body) // 3, len(body)]
    fragments = []
    for number in range(3):
        part = body[cuts[number] : cuts[number + 1]]
        handshake = header[:6] + cuts[number].to_bytes(3, "big") + len(part).to_bytes(3, "big") + part
        sequence = (32 + number).to_bytes(6, "big")
        fragments.append(data[:5] + sequence + len(handshake).to_bytes(2, "big") + handshake)
    return fragments[::-1]


def exported_by_client(link: Link, keys: SrtpKeys) -> bytes:
    assert link.client._ssl is not None
    length = len(keys.inbound) + len(keys.outbound)
    return link.client._ssl.export_keying_material(b"EXTRACTOR-dtls_srtp", length)


async def test_both_ends_export_the_same_keys(link: Link) -> None:
    await link.connect()
    (keys,) = link.keys
    assert keys.profile == "AEAD_AES_256_GCM"
    exported = exported_by_client(link, keys)
    assert keys.inbound == exported[:32] + exported[64:76]
    assert keys.outbound == exported[32:64] + exported[76:88]


@pytest.mark.parametrize("flight", [1, 2])
async def test_a_lost_server_flight_is_repeated_by_the_core(link: Link, flight: int) -> None:
    link.lose_downstream = {flight}
    await link.connect()
    assert link.client.state == "connected"
    assert [is_flight for _, is_flight in link.sent[:2]] == [True, True]
    assert link.repeated >= 1


@pytest.mark.parametrize("flight", [1, 2])
async def test_a_lost_client_flight_is_repeated_by_the_client(link: Link, flight: int) -> None:
    link.shape_upstream = lose({flight})
    await link.connect()
    assert link.client.state == "connected"
    assert len(link.keys) == 1


async def test_a_fragmented_and_reordered_hello_is_put_together(link: Link) -> None:
    pieces: list[int] = []

    def shape(data: bytes) -> list[bytes]:
        fragments = fragment_and_reorder(data)
        pieces.append(len(fragments))
        return fragments

    link.shape_upstream = shape
    await link.connect()
    assert pieces[0] == 3
    assert link.client.state == "connected"
    assert len(link.keys) == 1


async def test_a_forged_plaintext_alert_changes_nothing(link: Link) -> None:
    link.shape_upstream = lambda data: [FORGED_ALERT, data + FORGED_ALERT, FORGED_ALERT]
    await link.connect()
    assert link.client.state == "connected"
    assert link.ends.empty()


async def test_garbage_and_floods_leave_the_handshake_alone(link: Link) -> None:
    for _ in range(100):
        link.session.receive(b"\x16\xfe\xfd" + bytes(300))
    link.session.receive(b"")
    link.session.receive(bytes(12))
    await link.connect()
    assert link.client.state == "connected"


async def test_no_datagram_is_longer_than_a_safe_mtu(link: Link) -> None:
    await link.connect()
    link.session.close()
    datagrams = [datagram for datagrams, _ in link.sent for datagram in datagrams]
    assert datagrams
    assert max(map(len, datagrams)) <= MAX_DATAGRAM_BYTES


async def test_close_notify_from_the_peer_ends_the_session(link: Link) -> None:
    await link.connect()
    await link.client.stop()
    async with asyncio.timeout(8):
        assert await link.ends.get() is DtlsEnd.closed


async def test_closing_says_close_notify_and_reports_nothing(link: Link) -> None:
    await link.connect()
    before = len(link.sent)
    link.session.close()
    (datagrams, flight) = link.sent[before]
    assert datagrams[0][0] == ALERT
    assert not flight
    assert link.ends.empty()


async def test_a_certificate_the_offer_did_not_name_is_refused_at_once() -> None:
    link = Link(fingerprints=[Fingerprint("sha-256", ":".join(["00"] * 32))])
    await link.connect()
    async with asyncio.timeout(8):
        assert await link.ends.get() is DtlsEnd.failed
    assert link.keys == []
    await link.close()


@pytest.mark.parametrize("error", [UnknownId("transport 7 and its secret"), SSL.Error("secret")])
async def test_keys_that_cannot_be_handed_on_end_the_session_at_once(
    link: Link, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def refuse(_: SrtpKeys) -> None:
        raise error

    link.session._on_keys = refuse
    with caplog.at_level(logging.INFO, logger="media.dtls"):
        await link.connect()
        async with asyncio.timeout(8):
            assert await link.ends.get() is DtlsEnd.failed
    assert f"dtls handshake broke error={type(error).__name__} at=refuse:" in caplog.text
    assert "secret" not in caplog.text


async def test_a_handshake_ruined_by_a_forged_hello_begins_again(link: Link, caplog: pytest.LogCaptureFixture) -> None:
    hello = bytes([1, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 10]) + bytes(10)
    with caplog.at_level(logging.INFO, logger="media.dtls"):
        link.session.receive(b"\x16\xfe\xfd" + bytes(8) + len(hello).to_bytes(2, "big") + hello)
        await link.connect()
        async with asyncio.timeout(8):
            while not link.keys:  # noqa: ASYNC110  (keys are reported by a plain call)
                await asyncio.sleep(0)
    assert "handshake failed attempt=1" in caplog.text
    assert link.client.state == "connected"


async def test_a_handshake_waits_for_its_turn(link: Link) -> None:
    await link.session._limit.acquire()
    for _ in range(3):
        await link.session._limit.acquire()
    arrived = asyncio.Event()
    link.shape_upstream = lambda data: (arrived.set(), [data])[1]
    connecting = asyncio.create_task(link.connect())
    await arrived.wait()
    await asyncio.sleep(0)
    assert link.sent == []
    link.session._limit.release()
    await connecting
    assert link.client.state == "connected"


def test_certificates_are_renewed_weekly() -> None:
    store = CertificateStore()
    first = store.current(NOW)
    assert store.current(NOW + timedelta(days=6, hours=23)) is first
    assert store.current(NOW + timedelta(days=7)) is not first


@given(st.binary(max_size=400))
def test_any_bytes_split_into_whole_records(data: bytes) -> None:
    records = split_untrusted_records(data)
    assert data.startswith(b"".join(records))
    assert all(len(record) == 13 + int.from_bytes(record[11:13], "big") for record in records)
    assert all(is_plaintext_alert(record) in (True, False) for record in records)


@given(st.lists(st.binary(min_size=13, max_size=1200), max_size=12))
def test_packed_records_stay_whole_and_in_order(records: list[bytes]) -> None:
    datagrams = pack_records(records)
    assert b"".join(datagrams) == b"".join(records)
    assert all(len(datagram) <= MAX_DATAGRAM_BYTES for datagram in datagrams)
