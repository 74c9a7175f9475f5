//! The stream that a browser's camera and microphone would send: 1.2 Mbit/s of VP8 at 30 frames a second, and Opus.
//!
//! libwebrtc cuts a frame into equal parts that differ by a byte; frames differ by some 15 % from each other.
//! Deterministic, so that two runs send the same sizes.

use holdspace_wire::rtp::{self, NewHeader};
use holdspace_wire::seq::ExtSeq;
use holdspace_wire::srtp::{Outbound, MAX_OVERHEAD};

use super::measure::{write_mark, Schedule};

const FRAME_NS: u64 = 1_000_000_000 / 30;
const AUDIO_NS: u64 = 20_000_000;
/// Frames of 4,300 to 5,700 bytes: 5,000 on average is 1.2 Mbit/s.
const FRAME_BYTES: std::ops::Range<u64> = 4_300..5_700;
/// Payload of a packet at most: what libwebrtc leaves of 1,200 bytes.
const PACKET_BYTES: usize = 1_150;
const AUDIO_BYTES: std::ops::Range<u64> = 70..110;
const KEYFRAME_FACTOR: u64 = 3;
/// What libwebrtc's pacer leaves between two packets of a 1.2 Mbit/s picture (2.5 times its rate).
const PACE_NS: u64 = 3_000_000;
/// Sound is never in one burst with a frame.
const AUDIO_PHASE_NS: u64 = 7_000_000;

/// How the packets of a frame leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// At once, one system call each, as a browser on a fast line.
    Single,
    /// At once, equal ones as one: the cheapest for a generator with many people to play.
    Gso,
    /// 3 ms apart.
    Paced,
}

/// What the answer said about the streams to publish.
#[derive(Clone, Debug)]
pub struct PublishSpec {
    pub video_ssrc: u32,
    pub video_payload_type: u8,
    pub video_mid: String,
    pub audio_ssrc: u32,
    pub audio_payload_type: u8,
    pub audio_mid: String,
    pub mid_extension: u8,
    pub audio_level_extension: u8,
    pub transport_cc_extension: u8,
}

pub(super) struct Publisher {
    spec: PublishSpec,
    index: u32,
    sending: Sending,
    video: Stream,
    audio: Stream,
    twcc_seq: u16,
    picture_id: u16,
    random: u64,
    pub(super) wants_keyframe: bool,
}

struct Stream {
    next_at_ns: u64,
    seq: ExtSeq,
    first_rtp_ts: u32,
    packets: u32,
    bytes: u32,
    began_ns: Option<u64>,
}

/// One packet on its way out.
struct Draft<'a> {
    is_video: bool,
    marker: bool,
    rtp_ts: u32,
    payload_parts: [&'a [u8]; 3],
    due_ns: u64,
}

impl Stream {
    fn new(first_at_ns: u64) -> Self {
        let seq = ExtSeq(1_000);
        Self { next_at_ns: first_at_ns, seq, first_rtp_ts: 77_777, packets: 0, bytes: 0, began_ns: None }
    }
}

impl Stream {
    fn rtp_ts(&self, at_ns: u64, khz: u64) -> u32 {
        let elapsed_ns = self.began_ns.map_or(0, |began| at_ns.saturating_sub(began));
        self.first_rtp_ts.wrapping_add((elapsed_ns * khz / 1_000_000) as u32)
    }
}

/// Where packets go: sealed, one datagram after the other, and into the schedules (sound, picture).
pub(super) struct Sealing<'a> {
    pub(super) outbound: &'a mut Outbound,
    pub(super) schedules: &'a mut [Schedule; 2],
    pub(super) bytes: &'a mut Vec<u8>,
    pub(super) packets: &'a mut Vec<Sealed>,
}

/// One datagram in `Sealing::bytes`.
pub(super) struct Sealed {
    pub(super) length: usize,
    pub(super) due_ns: u64,
}

impl Publisher {
    /// `index` spreads the frames of many publishers over a frame's time and their sizes.
    pub(super) fn new(spec: PublishSpec, index: u32, sending: Sending, now_ns: u64) -> Self {
        let mut publisher = Self {
            spec,
            index,
            sending,
            video: Stream::new(now_ns),
            audio: Stream::new(now_ns),
            twcc_seq: 0,
            picture_id: 100,
            random: 0x9E37_79B9_7F4A_7C15 ^ (u64::from(index) << 20),
            wants_keyframe: true,
        };
        publisher.resume(now_ns);
        publisher
    }

    /// Starts both clocks anew, for a publisher that paused.
    pub(super) fn resume(&mut self, now_ns: u64) {
        let phase_ns = u64::from(self.index).wrapping_mul(20_601_132) % FRAME_NS; // a golden part of a frame's time
        self.video.next_at_ns = now_ns + phase_ns;
        self.audio.next_at_ns = now_ns + phase_ns + AUDIO_PHASE_NS;
        self.wants_keyframe = true;
    }

    pub(super) fn next_due_ns(&self) -> u64 {
        self.video.next_at_ns.min(self.audio.next_at_ns)
    }

    fn random_in(&mut self, range: std::ops::Range<u64>) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        range.start + self.random % (range.end - range.start)
    }

    /// Writes the packets that are due.
    pub(super) fn write_due(&mut self, now_ns: u64, out: &mut Sealing<'_>) {
        if now_ns >= self.audio.next_at_ns {
            self.write_sound(out);
        }
        if now_ns >= self.video.next_at_ns {
            self.write_frame(out);
        }
    }

    fn write_sound(&mut self, out: &mut Sealing<'_>) {
        let size = self.random_in(AUDIO_BYTES) as usize;
        let rtp_ts = self.audio.first_rtp_ts.wrapping_add(self.audio.packets * 960);
        let filling = [0x5A; PACKET_BYTES];
        let payload_parts = [&[0x78], &filling[..size], &[]];
        let draft = Draft { is_video: false, marker: false, rtp_ts, payload_parts, due_ns: self.audio.next_at_ns };
        self.write(&draft, out);
        self.audio.next_at_ns += AUDIO_NS;
    }

    fn write_frame(&mut self, out: &mut Sealing<'_>) {
        let is_keyframe = std::mem::take(&mut self.wants_keyframe);
        let factor = if is_keyframe { KEYFRAME_FACTOR } else { 1 };
        let size = (self.random_in(FRAME_BYTES) * factor) as usize;
        let count = size.div_ceil(PACKET_BYTES);
        let rtp_ts = self.video.rtp_ts(self.video.next_at_ns, 90);
        self.picture_id = (self.picture_id + 1) & 0x7FFF;
        let filling = [0xA5; PACKET_BYTES];
        for index in 0..count {
            let length = size / count + usize::from(index < size % count);
            let descriptor = vp8_descriptor(index == 0, self.picture_id);
            let head: &[u8] = match (index, is_keyframe) {
                (0, true) => &[0x10, 0x20, 0x00, 0x9D, 0x01, 0x2A, 0x80, 0x02, 0xE0, 0x01], // 640 × 480
                (0, false) => &[0x11, 0x20, 0x00],
                _ => &[],
            };
            let rest = length.saturating_sub(descriptor.len() + head.len() + 12);
            let payload_parts = [descriptor.as_slice(), head, &filling[..rest]];
            let pause_ns = if self.sending == Sending::Paced { PACE_NS * index as u64 } else { 0 };
            let due_ns = self.video.next_at_ns + pause_ns;
            let draft = Draft { is_video: true, marker: index + 1 == count, rtp_ts, payload_parts, due_ns };
            self.write(&draft, out);
        }
        self.video.next_at_ns += FRAME_NS;
    }

    fn write(&mut self, draft: &Draft<'_>, out: &mut Sealing<'_>) {
        let spec = &self.spec;
        let stream = if draft.is_video { &mut self.video } else { &mut self.audio };
        let mid = if draft.is_video { &spec.video_mid } else { &spec.audio_mid };
        let twcc = self.twcc_seq.to_be_bytes();
        let level = [0x80 | 30];
        let mut extensions: Vec<(u8, &[u8])> =
            vec![(spec.mid_extension, mid.as_bytes()), (spec.transport_cc_extension, &twcc)];
        if !draft.is_video {
            extensions.push((spec.audio_level_extension, &level));
        }
        extensions.retain(|(id, _)| *id != 0); // 0: not negotiated
        let header = NewHeader {
            marker: draft.marker,
            payload_type: if draft.is_video { spec.video_payload_type } else { spec.audio_payload_type },
            seq: stream.seq.seq(),
            rtp_ts: draft.rtp_ts,
            ssrc: if draft.is_video { spec.video_ssrc } else { spec.audio_ssrc },
            extensions: &extensions,
        };
        let schedule = &mut out.schedules[usize::from(draft.is_video)];
        let mark = write_mark(self.index, schedule.push(draft.due_ns));
        let [first, second, third] = draft.payload_parts;
        let start = out.bytes.len();
        out.bytes.resize(start + PACKET_BYTES + 200 + MAX_OVERHEAD, 0);
        let space = &mut out.bytes[start..];
        let written = rtp::write(space, &header, &[first, second, third, &mark], 0).expect("a packet fits");
        let length =
            out.outbound.protect_rtp(space, written.len, written.header_len, stream.seq).expect("numbers only grow");
        out.bytes.truncate(start + length);
        out.packets.push(Sealed { length, due_ns: draft.due_ns });
        stream.began_ns.get_or_insert(stream.next_at_ns);
        stream.seq = stream.seq.next();
        stream.packets += 1;
        stream.bytes += length as u32;
        self.twcc_seq = self.twcc_seq.wrapping_add(1);
    }

    /// (ssrc, RTP time just now, packets, bytes) of both streams, for sender reports.
    pub(super) fn report_info(&self, now_ns: u64) -> [(u32, u32, u32, u32); 2] {
        let of =
            |stream: &Stream, ssrc: u32, khz: u64| (ssrc, stream.rtp_ts(now_ns, khz), stream.packets, stream.bytes);
        [of(&self.video, self.spec.video_ssrc, 90), of(&self.audio, self.spec.audio_ssrc, 48)]
    }

    pub(super) fn video_ssrc(&self) -> u32 {
        self.spec.video_ssrc
    }
}

/// RFC 7741 §4.2: extended, with a 15-bit picture id.
fn vp8_descriptor(is_start: bool, picture_id: u16) -> [u8; 4] {
    let [high, low] = (picture_id | 0x8000).to_be_bytes();
    [0x80 | u8::from(is_start) << 4, 0x80, high, low]
}
