//! VP8 payload descriptor (RFC 7741 §4.2) and the first bytes of a keyframe (RFC 6386 §9.1).
//!
//! ```text
//! |X|R|N|S|R| PID |   required
//! |I|L|T|K| RSV   |   if X
//! |M| picture id  |   if I; a second byte if M (15 bits)
//! |  TL0PICIDX    |   if L
//! |TID|Y| KEYIDX  |   if T or K
//! ```

use super::{FrameMark, Reader};
use crate::Malformed;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureId {
    pub value: u16,
    /// 15-bit form; else 7-bit.
    pub long: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// Bytes before the VP8 data.
    pub len: usize,
    pub non_reference: bool,
    pub starts_partition: bool,
    pub partition: u8,
    pub picture_id: Option<PictureId>,
    pub tl0_pic_idx: Option<u8>,
    pub temporal_id: Option<u8>,
    pub layer_sync: bool,
    pub key_idx: Option<u8>,
    pub starts_keyframe: bool,
}

impl Descriptor {
    pub fn starts_frame(&self) -> bool {
        self.starts_partition && self.partition == 0
    }
}

pub fn parse_untrusted(payload: &[u8]) -> Result<Descriptor, Malformed> {
    let mut reader = Reader::new(payload);
    let first = reader.byte()?;
    let flags = if first & 0x80 != 0 { reader.byte()? } else { 0 };
    let mut descriptor = Descriptor {
        len: 0,
        non_reference: first & 0x20 != 0,
        starts_partition: first & 0x10 != 0,
        partition: first & 0x07,
        picture_id: None,
        tl0_pic_idx: None,
        temporal_id: None,
        layer_sync: false,
        key_idx: None,
        starts_keyframe: false,
    };
    if flags & 0x80 != 0 {
        descriptor.picture_id = Some(read_picture_id(&mut reader)?);
    }
    if flags & 0x40 != 0 {
        descriptor.tl0_pic_idx = Some(reader.byte()?);
    }
    if flags & 0x30 != 0 {
        let byte = reader.byte()?;
        if flags & 0x20 != 0 {
            descriptor.temporal_id = Some(byte >> 6);
            descriptor.layer_sync = byte & 0x20 != 0;
        }
        if flags & 0x10 != 0 {
            descriptor.key_idx = Some(byte & 0x1f);
        }
    }
    descriptor.len = reader.at;
    let data = reader.rest().first().ok_or(Malformed("vp8 packet without data"))?;
    // The inverse key frame flag is the lowest bit of the frame tag.
    descriptor.starts_keyframe = descriptor.starts_frame() && data & 1 == 0;
    Ok(descriptor)
}

fn read_picture_id(reader: &mut Reader<'_>) -> Result<PictureId, Malformed> {
    let first = reader.byte()?;
    if first & 0x80 == 0 {
        return Ok(PictureId { value: u16::from(first), long: false });
    }
    let value = u16::from_be_bytes([first & 0x7f, reader.byte()?]);
    Ok(PictureId { value, long: true })
}

pub(super) fn read_frame_mark(payload: &[u8]) -> Result<FrameMark, Malformed> {
    let descriptor = parse_untrusted(payload)?;
    Ok(FrameMark {
        starts_frame: descriptor.starts_frame(),
        starts_keyframe: descriptor.starts_keyframe,
        temporal_id: descriptor.temporal_id.unwrap_or(0),
        layer_sync: descriptor.layer_sync || descriptor.starts_keyframe,
    })
}

/// Width and height of a keyframe's first packet.
pub fn keyframe_size(payload: &[u8], descriptor: &Descriptor) -> Option<(u16, u16)> {
    if !descriptor.starts_keyframe {
        return None;
    }
    match payload.get(descriptor.len..descriptor.len + 10)? {
        [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1] => {
            Some((u16::from_le_bytes([*w0, *w1]) & 0x3fff, u16::from_le_bytes([*h0, *h1]) & 0x3fff))
        }
        _ => None,
    }
}

/// The descriptor of a packet without temporal layers: 15 bits of picture id and nothing else.
pub fn descriptor(picture_id: u16, starts_frame: bool) -> [u8; 4] {
    let [high, low] = picture_id.to_be_bytes();
    [0x80 | u8::from(starts_frame) << 4, 0x80, high | 0x80, low]
}

/// Whether one whole picture is a keyframe; a keyframe without its start code is none, and no picture either.
pub fn parse_untrusted_picture(picture: &[u8]) -> Result<bool, Malformed> {
    let first = picture.first().ok_or(Malformed("empty vp8 picture"))?;
    let is_keyframe = first & 1 == 0;
    if is_keyframe && (picture.len() < 10 || picture[3..6] != [0x9d, 0x01, 0x2a]) {
        return Err(Malformed("vp8 keyframe without start code"));
    }
    Ok(is_keyframe)
}

/// Replaces picture id (in the width it has: 7 or 15 bits) and TL0PICIDX in place, where present.
pub fn rewrite(payload: &mut [u8], picture_id: u16, tl0_pic_idx: u8) -> Result<(), Malformed> {
    let descriptor = parse_untrusted(payload)?;
    let mut at = 2;
    if let Some(old) = descriptor.picture_id {
        if old.long {
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
        payload[at] = tl0_pic_idx;
    }
    Ok(())
}
