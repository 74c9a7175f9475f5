//! What a payload and its dependency descriptor say of a packet: keyframe, numbers, temporal layer. Into `PacketMeta`,
//! once, so that nothing is parsed again per subscriber.

use crate::cache::PacketMeta;
use crate::layers::ALL_TEMPORAL;
use crate::stream_in::StreamIn;
use holdspace_wire::codec::{self, dependency, vp8, vp9, Codec};

/// Reads what the codec says; false: nothing to forward (padding only, or not what it claims to be).
pub(crate) fn describe(meta: &mut PacketMeta, codec: Codec, payload: &[u8]) -> bool {
    if payload.is_empty() {
        return false;
    }
    match codec {
        Codec::Vp8 => {
            let Ok(descriptor) = vp8::parse_untrusted(payload) else { return false };
            meta.picture_id = descriptor.picture_id.map(|id| id.value);
            meta.tl0_pic_idx = descriptor.tl0_pic_idx.unwrap_or(0);
        }
        Codec::Vp9 => {
            let Ok(descriptor) = vp9::parse_untrusted(payload) else { return false };
            meta.picture_id = descriptor.picture_id;
            meta.tl0_pic_idx = descriptor.tl0_pic_idx.unwrap_or(0);
            meta.opens = if descriptor.switching_up { ALL_TEMPORAL } else { 0 };
        }
        Codec::H264 | Codec::Av1 | Codec::Opus | Codec::Red => {}
    }
    let Ok(mark) = codec::read_frame_mark(codec, payload) else { return false };
    meta.starts_keyframe = mark.starts_keyframe;
    meta.temporal_id = mark.temporal_id;
    meta.layer_sync = mark.layer_sync;
    true
}

/// The dependency descriptor knows layers of every codec; one that cannot be read is forwarded all the same.
pub(crate) fn read_dependencies(meta: &mut PacketMeta, stream: &mut StreamIn, value: &[u8]) {
    if value.is_empty() {
        return;
    }
    let Ok(descriptor) = dependency::parse_untrusted(value, stream.structure.as_ref()) else { return };
    meta.frame_number = Some(descriptor.frame_number);
    meta.temporal_id = descriptor.temporal_id;
    meta.opens = meta.opens.max(descriptor.opens);
    if descriptor.structure.is_some() {
        stream.structure = descriptor.structure;
    }
}
