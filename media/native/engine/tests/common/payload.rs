//! What the fake browser's encoders write: payloads with the descriptors of their codec before bytes that are like no
//! other packet's, and how tests read the numbers in them.

use super::browser::Sending;
use holdspace_wire::codec::Codec;

/// Bytes of the payload descriptor of VP8.
pub const VP8_DESCRIPTOR_BYTES: usize = 6;
/// And of VP9.
pub const VP9_DESCRIPTOR_BYTES: usize = 5;

/// AV1's table of frames (S T A D F C set apart, A 8 of its RTP specification): templates 3 to 7 are a keyframe and
/// frames of the layers 0, 1, 2 and 2; after those of layer 0 the others may begin; 640 × 480. Frame number 5.
const AV1_STRUCTURE: [u8; 21] = [
    0x83, 0x00, 0x05, 0x80, 0x62, 0x14, 0xea, 0xa8, 0x70, 0x41, 0x4d, 0x14, 0x10, 0x89, 0x00, 0x84, 0x27, 0x02, 0x7f,
    0x01, 0xdf,
];

impl Sending {
    /// Of the present frame: its layer, and whether nothing older of that layer is needed.
    fn temporal(&self) -> (u8, bool) {
        match (self.temporal_layers, self.turn % 4) {
            (3, 1) => (2, true),
            (3, 2) => (1, true),
            (3, 3) => (2, false),
            (2, 1 | 3) => (1, self.turn % 4 == 1),
            _ => (0, false),
        }
    }

    pub fn is_base(&self) -> bool {
        self.temporal().0 == 0
    }
}

pub fn filler(ssrc: u32, ext_seq: u64, bytes: usize) -> Vec<u8> {
    let seed = u64::from(ssrc) << 32 ^ ext_seq;
    let mut payload = seed.to_be_bytes().to_vec();
    payload.extend((0..bytes.saturating_sub(8)).map(|at| (seed as usize).wrapping_mul(31).wrapping_add(at * 7) as u8));
    payload
}

/// One redundant block and the primary, both named by the publisher's Opus type.
pub fn red(sending: &Sending, opus: u8) -> Vec<u8> {
    let older = filler(sending.ssrc, sending.ext_seq - 1, 50);
    let newest = filler(sending.ssrc, sending.ext_seq, 50);
    let mut payload = vec![0x80 | opus, (960_u16 << 2 >> 8) as u8, (960_u16 << 2) as u8, older.len() as u8, opus];
    payload.extend(older);
    payload.extend(newest);
    payload
}

pub fn video(sending: &mut Sending, codec: Codec, part: usize, last: bool, keyframe: bool) -> Vec<u8> {
    let mut payload = match codec {
        Codec::Vp9 => vp9(sending, part, last, keyframe),
        Codec::Av1 => av1(sending, part, last, keyframe),
        _ => vp8(sending, part, keyframe),
    };
    // Packets of a frame differ by a byte or two, as libwebrtc cuts them.
    let bytes = sending.payload_bytes - part % 3;
    payload.extend(filler(sending.ssrc, sending.ext_seq, bytes));
    payload
}

fn vp8(sending: &Sending, part: usize, keyframe: bool) -> Vec<u8> {
    let [high, low] = sending.picture_id.to_be_bytes();
    let starts = u8::from(part == 0) << 4;
    let (temporal_id, sync) = sending.temporal();
    let layer = temporal_id << 6 | u8::from(sync) << 5;
    let mut payload = vec![0x80 | starts, 0xe0, 0x80 | high, low, sending.tl0, layer];
    if part == 0 {
        payload.extend([if keyframe { 0x10 } else { 0x11 }, 0, 0]);
        if keyframe {
            payload.extend([0x9d, 0x01, 0x2a, 0x80, 2, 0xe0, 1]);
        }
    }
    payload
}

/// Not flexible, one spatial layer. Nothing above layer 2 needs anything; layer 2 after layer 1 needs the layer 2 before.
fn vp9(sending: &Sending, part: usize, last: bool, keyframe: bool) -> Vec<u8> {
    let [high, low] = sending.picture_id.to_be_bytes();
    let (temporal_id, _) = sending.temporal();
    let switching_up = u8::from(temporal_id != 1) << 4;
    let predicted = u8::from(!keyframe) << 6;
    let first = 0xa0 | predicted | u8::from(part == 0) << 3 | u8::from(last) << 2;
    vec![first, 0x80 | high, low, temporal_id << 5 | switching_up, sending.tl0]
}

/// The aggregation header; layers and frames are told by the dependency descriptor beside it.
fn av1(sending: &mut Sending, part: usize, last: bool, keyframe: bool) -> Vec<u8> {
    let starts = part == 0;
    let template = match sending.temporal() {
        _ if keyframe => 3,
        (0, _) => 4,
        (1, _) => 5,
        (_, true) => 6,
        (_, false) => 7,
    };
    let mut descriptor = if starts && keyframe { AV1_STRUCTURE.to_vec() } else { vec![0; 3] };
    descriptor[0] = u8::from(starts) << 7 | u8::from(last) << 6 | template;
    descriptor[1..3].copy_from_slice(&frame_number(sending).to_be_bytes());
    sending.descriptors.insert(sending.ext_seq, descriptor);
    vec![u8::from(!starts) << 7 | u8::from(!last) << 6 | 0x10 | u8::from(starts && keyframe) << 3]
}

/// Goes round soon after the start.
fn frame_number(sending: &Sending) -> u16 {
    (sending.frames as u16).wrapping_add(0xffd0)
}

/// Of VP8: picture id and TL0PICIDX.
pub fn picture_of(payload: &[u8]) -> (u16, u8) {
    (u16::from_be_bytes([payload[2] & 0x7f, payload[3]]), payload[4])
}
