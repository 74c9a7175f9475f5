"""Deciding and writing answers to Chromium's offers; what is written is read again by aiortc."""

from dataclasses import replace
from pathlib import Path

import pytest
from aiortc.sdp import SessionDescription

from media.answer import Candidate, Local, write_answer
from media.dtls import Fingerprint
from media.errors import BadOffer
from media.negotiation import Negotiation, Plan, Policy
from media.types import Offer, TrackSource

DATA = Path(__file__).parents[1] / "data"
PLAIN = (DATA / "offer_chromium_156.sdp").read_bytes().decode()
SIMULCAST = (DATA / "offer_chromium_156_simulcast.sdp").read_bytes().decode()

SOURCES = {"0": TrackSource.microphone, "1": TrackSource.camera}
POLICY = Policy(video_codecs=("vp8",), decodable=None, audio_red=False, may_publish=frozenset(TrackSource))
LOCAL = Local(
    session_id=77,
    version=1,
    ice_ufrag="abcdefgh1234",
    ice_pwd="0123456789abcdefghijklmnopqrstuv",
    fingerprint=Fingerprint("sha-256", ":".join(["AB"] * 32)),
    candidates=[Candidate("203.0.113.5", 46000), Candidate("2001:db8::5", 46000)],
    cname="a-name",
)


def plan(sdp: str = PLAIN, policy: Policy = POLICY, **sources: TrackSource) -> Plan:
    named = {mid.removeprefix("m"): source for mid, source in sources.items()} or SOURCES
    return Negotiation().plan_answer(Offer(1, sdp, named), policy)


def sections(text: str) -> list[list[str]]:
    return [part.split("\r\n") for part in text.split("\r\nm=")[1:]]


def test_publishing_and_receiving_sections_are_answered_the_other_way_round() -> None:
    planned = plan()
    assert [section.direction for section in planned.sections] == ["recvonly", "recvonly", "sendonly", "sendonly"]
    assert [section.source for section in planned.sections[:2]] == [TrackSource.microphone, TrackSource.camera]
    assert [section.slot is not None for section in planned.sections] == [False, False, True, True]


def test_only_the_allowed_codec_is_answered_with_its_rtx() -> None:
    text = write_answer(plan(), LOCAL)
    _, camera, _, slot = sections(text)
    assert camera[0] == "video 9 UDP/TLS/RTP/SAVPF 96 97"
    assert slot[0] == "video 9 UDP/TLS/RTP/SAVPF 96 97"
    assert "a=fmtp:97 apt=96" in camera
    assert {"a=rtcp-fb:96 nack", "a=rtcp-fb:96 nack pli", "a=rtcp-fb:96 transport-cc"} <= set(camera)
    assert "a=fmtp:111 minptime=10;useinbandfec=1;usedtx=1" in sections(text)[0]


def test_the_answer_is_what_an_ice_lite_server_says() -> None:
    text = write_answer(plan(), LOCAL)
    session = text.split("\r\nm=")[0].split("\r\n")
    assert "a=ice-lite" in session
    assert "a=group:BUNDLE 0 1 2 3" in session
    read = SessionDescription.parse(text)
    assert [media.rtp.muxId for media in read.media] == ["0", "1", "2", "3"]
    assert all(media.port == 9 and media.dtls and media.dtls.role == "server" for media in read.media)
    assert [candidate.ip for candidate in read.media[0].ice_candidates] == ["203.0.113.5", "2001:db8::5"]
    priorities = [candidate.priority for candidate in read.media[0].ice_candidates]
    assert priorities == sorted(priorities, reverse=True)
    assert all(media.ice and media.ice.usernameFragment == "abcdefgh1234" for media in read.media)


def test_a_slot_announces_its_streams() -> None:
    planned = plan()
    text = write_answer(planned, LOCAL)
    audio, video = planned.sections[2].slot, planned.sections[3].slot
    assert audio is not None
    assert video is not None
    assert f"a=ssrc-group:FID {video.ssrc} {video.rtx_ssrc}" in sections(text)[3]
    assert f"a=ssrc:{audio.ssrc} msid:slots-0 audio-0" in sections(text)[2]
    assert not [line for line in sections(text)[2] if "FID" in line], "Opus has no RTX here"
    assert len({audio.ssrc, audio.rtx_ssrc, video.ssrc, video.rtx_ssrc}) == 4


def test_extensions_are_the_ones_the_core_reads() -> None:
    ids = plan().extension_ids
    assert ids == {
        "mid": 4,
        "rid": 10,
        "repaired_rid": 11,
        "audio_level": 1,
        "transport_cc": 3,
        "video_orientation": 13,
        "playout_delay": 5,
    }


def test_every_offered_rid_is_accepted() -> None:
    camera = sections(write_answer(plan(SIMULCAST), LOCAL))[1]
    assert [line for line in camera if line.startswith("a=rid")] == ["a=rid:q recv", "a=rid:h recv", "a=rid:f recv"]
    assert "a=simulcast:recv q;h;f" in camera


def test_a_paused_encoding_is_answered_paused() -> None:
    camera = sections(write_answer(plan(SIMULCAST.replace("send q;h;f", "send ~q;~h;f")), LOCAL))[1]
    assert "a=simulcast:recv ~q;~h;f" in camera
    assert "a=rid:q recv" in camera


def test_what_may_not_be_published_is_inactive_and_the_bundle_stays_whole() -> None:
    planned = plan(policy=replace(POLICY, may_publish=frozenset({TrackSource.microphone})))
    text = write_answer(planned, LOCAL)
    assert planned.sections[1].direction == "inactive"
    assert planned.sections[1].source is None
    assert "a=group:BUNDLE 0 1 2 3" in text
    assert not [part for part in sections(text) if part[0].split()[1] == "0"]


def test_a_section_without_a_source_publishes_nothing() -> None:
    planned = plan(m0=TrackSource.microphone)
    assert [section.direction for section in planned.sections] == ["recvonly", "inactive", "sendonly", "sendonly"]


def test_publishers_get_only_what_everybody_decodes() -> None:
    policy = replace(POLICY, video_codecs=("av1", "vp9", "vp8"), decodable=frozenset({"vp8", "h264"}))
    planned = plan(policy=policy)
    assert [codec.name for codec in planned.sections[1].codecs] == ["vp8"]
    assert [codec.name for codec in planned.sections[3].codecs] == ["av1", "vp9", "vp8"], "slots take what comes"


def test_nothing_in_common_is_inactive() -> None:
    planned = plan(policy=replace(POLICY, decodable=frozenset({"av1"})))
    assert planned.sections[1].direction == "inactive"
    assert planned.sections[1].codecs, "a section is never answered without formats"


def test_red_comes_first_when_it_is_enabled() -> None:
    planned = plan(policy=replace(POLICY, audio_red=True))
    assert [codec.name for codec in planned.sections[0].codecs] == ["red", "opus"]
    assert "a=fmtp:63 111/111" in sections(write_answer(planned, LOCAL))[0]


def test_a_stopped_section_is_answered_stopped_and_leaves_the_bundle() -> None:
    stopped = PLAIN.replace("m=audio 9", "m=audio 0", 2).replace("m=audio 0", "m=audio 9", 1)
    planned = plan(stopped.replace("BUNDLE 0 1 2 3", "BUNDLE 0 1 3"))
    text = write_answer(planned, LOCAL)
    assert "a=group:BUNDLE 0 1 3" in text
    assert sections(text)[2][0].startswith("audio 0 ")


def test_slots_keep_their_streams_over_offers() -> None:
    negotiation = Negotiation()
    first = negotiation.plan_answer(Offer(1, PLAIN, SOURCES), POLICY)
    closed = PLAIN.replace("a=recvonly", "a=inactive")
    without = negotiation.plan_answer(Offer(2, closed, SOURCES), POLICY)
    again = negotiation.plan_answer(Offer(3, PLAIN, SOURCES), POLICY)
    assert without.sections[3].slot is None
    assert again.sections[3].slot == first.sections[3].slot


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("C9:75", "C9:76"),
        ("a=mid:3\r\n", "a=mid:4\r\n"),
        ("m=video 9 UDP/TLS/RTP/SAVPF 96 97 98", "m=audio 9 UDP/TLS/RTP/SAVPF 96 97 98"),
    ],
)
def test_a_connection_does_not_change_what_it_is(old: str, new: str) -> None:
    negotiation = Negotiation()
    first = negotiation.plan_answer(Offer(1, PLAIN, SOURCES), POLICY)
    changed = PLAIN.replace(old, new)
    if "mid" in old:
        changed = changed.replace("BUNDLE 0 1 2 3", "BUNDLE 0 1 2 4")
    assert changed != PLAIN
    with pytest.raises(BadOffer):
        negotiation.plan_answer(Offer(2, changed, SOURCES), POLICY)
    assert negotiation.plan is first


def test_a_source_of_the_other_kind_or_twice_is_refused() -> None:
    with pytest.raises(BadOffer):
        plan(m0=TrackSource.camera)
    twice = PLAIN.replace("a=recvonly", "a=sendrecv")
    with pytest.raises(BadOffer):
        plan(twice, m1=TrackSource.camera, m3=TrackSource.camera)


def test_an_ssrc_of_ours_may_not_be_claimed() -> None:
    numbers = iter(range(1000, 2000))
    negotiation = Negotiation(random_ssrc=lambda: next(numbers))
    negotiation.plan_answer(Offer(1, PLAIN, SOURCES), POLICY)
    claimed = PLAIN.replace("3437209666", "1002")
    with pytest.raises(BadOffer, match="claimed"):
        negotiation.plan_answer(Offer(2, claimed, SOURCES), POLICY)
