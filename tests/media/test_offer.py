"""Reading offers: golden ones from Chromium, and any text at all."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.errors import BadOffer
from media.offer import MAX_SDP_BYTES, SHARED_LINES, OfferReader, ParsedOffer, _share

DATA = Path(__file__).parents[1] / "data"
PLAIN = (DATA / "offer_chromium_156.sdp").read_bytes().decode()
SIMULCAST = (DATA / "offer_chromium_156_simulcast.sdp").read_bytes().decode()
LINES = PLAIN.split("\r\n")


def read(sdp: str) -> ParsedOffer:
    return OfferReader().read_untrusted(sdp)


def test_chromiums_sections_are_read_in_order() -> None:
    offer = read(PLAIN)
    shape = [(section.mid, section.kind, section.direction) for section in offer.sections]
    assert shape == [
        ("0", "audio", "sendonly"),
        ("1", "video", "sendonly"),
        ("2", "audio", "recvonly"),
        ("3", "video", "recvonly"),
    ]
    assert offer.ice_ufrag == "2eeP"
    assert [fingerprint.algorithm for fingerprint in offer.fingerprints] == ["sha-256"]
    assert all(section.rtcp_rsize for section in offer.sections)


def test_codecs_carry_their_rtx_and_feedback() -> None:
    vp8 = read(PLAIN).sections[1].codecs[0]
    assert (vp8.name, vp8.payload_type, vp8.clock_hz, vp8.rtx_payload_type) == ("vp8", 96, 90_000, 97)
    assert vp8.feedback == {"goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"}


def test_ssrcs_are_paired_by_their_groups() -> None:
    offer = read(PLAIN)
    assert offer.sections[0].ssrcs == ((3437209666, None),)
    assert offer.sections[1].ssrcs == ((13489378, 1456641731),)
    assert offer.sections[2].ssrcs == ()


def test_what_aiortc_drops_is_read() -> None:
    camera = read(SIMULCAST).sections[1]
    assert (camera.rids, camera.paused) == (("q", "h", "f"), frozenset())
    paused = read(SIMULCAST.replace("send q;h;f", "send ~q;h;f")).sections[1]
    assert (paused.rids, paused.paused) == (("q", "h", "f"), {"q"})
    assert camera.ssrcs == ()
    assert {extension.direction for extension in camera.extensions} == {"sendrecv"}


def test_security_may_stand_once_for_the_session() -> None:
    """As Firefox writes its fingerprint."""
    own = [line for line in LINES if line.startswith(("a=fingerprint", "a=setup"))][:2]
    rest = [line for line in LINES if not line.startswith(("a=fingerprint", "a=setup"))]
    offer = read("\r\n".join([*rest[:4], *own, *rest[4:]]))
    assert offer.fingerprints == read(PLAIN).fingerprints


def test_extension_direction_is_read() -> None:
    offer = read(PLAIN.replace("a=extmap:13 urn:3gpp", "a=extmap:13/recvonly urn:3gpp"))
    (orientation,) = (e for e in offer.sections[1].extensions if e.id == 13)
    assert orientation.direction == "recvonly"


def test_unchanged_sections_are_not_parsed_again() -> None:
    reader = OfferReader()
    first = reader.read_untrusted(PLAIN)
    assert reader.sections_parsed == 4
    restarted = PLAIN.replace("2eeP", "qZ8+").replace("a=recvonly", "a=inactive", 1)
    candidate = "a=candidate:1 1 udp 2122260223 192.0.2.9 50000 typ host generation 0\r\n"
    restarted = restarted.replace("a=rtcp-mux\r\n", "a=rtcp-mux\r\n" + candidate)
    second = reader.read_untrusted(restarted)
    assert reader.sections_parsed == 5, "only the section whose direction changed"
    assert second.sections[1] is first.sections[1]
    assert second.ice_ufrag == "qZ8+"


def test_equal_lines_are_one_object_and_what_strangers_write_is_not_kept_without_end() -> None:
    first, second = ("".join(("a=rtcp-fb:96 ", "nack")) for _ in range(2))
    assert first is not second
    assert _share(first) is _share(second)
    for number in range(15):
        names = range(200 * number, 200 * number + 200)
        read(PLAIN.replace("a=mid:1\r\n", "a=mid:1\r\n" + "".join(f"a=x-{name}\r\n" for name in names)))
    assert _share.cache_info().currsize == SHARED_LINES


def test_a_stopped_section_is_told_from_a_bundled_one() -> None:
    stopped = PLAIN.replace("m=audio 9", "m=audio 0", 2).replace("m=audio 0", "m=audio 9", 1)
    stopped = stopped.replace("BUNDLE 0 1 2 3", "BUNDLE 0 1 3")
    assert [section.stopped for section in read(stopped).sections] == [False, False, True, False]
    bundled = PLAIN.replace("m=video 9", "m=video 0").replace("a=mid:1", "a=bundle-only\r\na=mid:1")
    bundled = bundled.replace("a=mid:3", "a=bundle-only\r\na=mid:3")
    assert not any(section.stopped for section in read(bundled).sections)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("v=0", "v=1"),
        ("a=setup:actpass", "a=setup:passive"),
        ("a=rtcp-mux\r\n", ""),
        ("a=mid:1", "a=mid:0"),
        ("a=mid:1", "a=mid:seventeen-letters"),
        ("BUNDLE 0 1 2 3", "BUNDLE 1 0 2 3"),
        ("BUNDLE 0 1 2 3", "BUNDLE 0 1 2"),
        ("a=ice-ufrag:2eeP", "a=ice-ufrag:2"),
        ("a=ice-ufrag:2eeP", "a=x:y"),
        ("a=fingerprint:sha-256", "a=fingerprint:md5"),
        ("m=audio 9 UDP/TLS/RTP/SAVPF", "m=audio 9 RTP/AVP"),
        ("m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=audio 9 UDP/TLS/RTP/SAVPF 111 111"),
        ("m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=application 9 UDP/DTLS/SCTP webrtc-datachannel"),
        ("a=extmap:2 http", "a=extmap:0 http"),
        ("a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=sendonly", "a=extmap:4 urn:other\r\na=sendonly"),
        ("a=rtpmap:111 opus/48000/2", "a=rtpmap:111 opus"),
        ("a=rtpmap:111 opus/48000/2", "a=rtpmap:111 opus/48000/2\r\na=rtpmap:111 opus/48000/2"),
        ("a=fmtp:111 ", "a=fmtp:99 "),
        ("FID 13489378 1456641731", "FID 13489378"),
        ("FID 13489378 1456641731", "FID 13489378 13489378"),
        ("FID 13489378 1456641731", "FID 13489378 5"),
        ("a=ssrc:3437209666 cname", "a=ssrc:13489378 cname"),
        ("a=ssrc:3437209666 cname", "a=ssrc:4294967296 cname"),
        ("a=sendonly", "a=sendonly\r\na=recvonly"),
        ("s=-", "s=" + "-" * 2000),
        ("s=-", "s=" + "-\r\ns=" * 500),
    ],
)
def test_a_broken_offer_is_refused(old: str, new: str) -> None:
    assert old in PLAIN
    count = -1 if old.startswith("a=setup") or "fingerprint" in old or "ice-ufrag:2eeP" in old else 1
    with pytest.raises(BadOffer):
        read(PLAIN.replace(old, new, count))


def test_sizes_are_checked_first() -> None:
    with pytest.raises(BadOffer, match="too long"):
        read("v=0\r\n" + "a" * MAX_SDP_BYTES)
    with pytest.raises(BadOffer, match="too many sections"):
        read("v=0\r\n" + "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n" * 41)


def read_or_refuse(sdp: str) -> None:
    try:
        offer = read(sdp)
    except BadOffer:
        return
    assert offer.sections


@given(st.text(max_size=400))
def test_any_text_is_read_or_refused(text: str) -> None:
    read_or_refuse(text)


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(LINES) - 1), st.sampled_from(["drop", "repeat", "swap", "cut", "text"]), st.text()
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_change_of_a_real_offer_is_read_or_refused(changes: list[tuple[int, str, str]]) -> None:
    lines = list(LINES)
    for position, change, text in changes:
        position %= len(lines)
        match change:
            case "drop" if len(lines) > 1:
                del lines[position]
            case "repeat":
                lines.insert(position, lines[position])
            case "swap":
                other = (position + 7) % len(lines)
                lines[position], lines[other] = lines[other], lines[position]
            case "cut":
                lines[position] = lines[position][: len(text)]
            case _:
                lines[position] = lines[position][:12] + text
    read_or_refuse("\r\n".join(lines))
