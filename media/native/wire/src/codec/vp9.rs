//! VP9 payload descriptor (RFC 9628 §4.2), as far as frame starts, keyframes and temporal layers need it. In flexible
//! mode (F) frames name what they refer to, else TL0PICIDX and the scalability structure say it; both count pictures.
//!
//! ```text
//! |I|P|L|F|B|E|V|Z|   required
//! |M| picture id  |   if I; a second byte if M
//! | TID |U| SID |D|   if L
//! |  TL0PICIDX    |   if L and not F
//! ```

use super::{FrameMark, Reader};
use crate::Malformed;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    pub inter_predicted: bool,
    pub starts_frame: bool,
    pub ends_frame: bool,
    pub picture_id: Option<u16>,
    pub temporal_id: u8,
    pub spatial_id: u8,
    /// Pictures of higher layers that follow need none of those layers from before this one. Of the picture itself it says
    /// nothing: unlike VP8's sync bit it is no place to begin the picture's own layer.
    pub switching_up: bool,
    pub tl0_pic_idx: Option<u8>,
}

pub fn parse_untrusted(payload: &[u8]) -> Result<Descriptor, Malformed> {
    let mut reader = Reader::new(payload);
    let first = reader.byte()?;
    let flexible = first & 0x10 != 0;
    let mut descriptor = Descriptor {
        inter_predicted: first & 0x40 != 0,
        starts_frame: first & 0x08 != 0,
        ends_frame: first & 0x04 != 0,
        picture_id: None,
        temporal_id: 0,
        spatial_id: 0,
        switching_up: false,
        tl0_pic_idx: None,
    };
    if first & 0x80 != 0 {
        let high = reader.byte()?;
        descriptor.picture_id =
            Some(if high & 0x80 != 0 { u16::from_be_bytes([high & 0x7f, reader.byte()?]) } else { u16::from(high) });
    }
    if first & 0x20 != 0 {
        let layer = reader.byte()?;
        descriptor.temporal_id = layer >> 5;
        descriptor.switching_up = layer & 0x10 != 0;
        descriptor.spatial_id = (layer >> 1) & 0x07;
        if !flexible {
            descriptor.tl0_pic_idx = Some(reader.byte()?);
        }
    }
    Ok(descriptor)
}

pub(super) fn read_frame_mark(payload: &[u8]) -> Result<FrameMark, Malformed> {
    let descriptor = parse_untrusted(payload)?;
    let starts_picture = descriptor.starts_frame && descriptor.spatial_id == 0;
    let starts_keyframe = starts_picture && !descriptor.inter_predicted;
    Ok(FrameMark {
        starts_frame: starts_picture,
        starts_keyframe,
        temporal_id: descriptor.temporal_id,
        layer_sync: starts_keyframe,
    })
}

/// Replaces picture id (in the width it has: 7 or 15 bits) and TL0PICIDX in place, where present.
pub fn rewrite(payload: &mut [u8], picture_id: u16, tl0_pic_idx: u8) -> Result<(), Malformed> {
    let descriptor = parse_untrusted(payload)?;
    let mut at = 1;
    if descriptor.picture_id.is_some() {
        if payload[at] & 0x80 != 0 {
            let [high, low] = picture_id.to_be_bytes();
            payload[at] = high | 0x80;
            payload[at + 1] = low;
            at += 2;
        } else {
            payload[at] = picture_id as u8 & 0x7f;
            at += 1;
        }
    }
    if descriptor.tl0_pic_idx.is_some() {
        payload[at + 1] = tl0_pic_idx;
    }
    Ok(())
}
