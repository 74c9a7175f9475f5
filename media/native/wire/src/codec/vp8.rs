//! VP8 payload descriptor (RFC 7741 §4.2) and the first bytes of a keyframe (RFC 6386 §9.1).

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
    todo!()
}

/// Width and height of a keyframe's first packet.
pub fn keyframe_size(payload: &[u8], descriptor: &Descriptor) -> Option<(u16, u16)> {
    todo!()
}

/// Replaces picture id (in the width it has: 7 or 15 bits) and TL0PICIDX in place, where present.
pub fn rewrite(payload: &mut [u8], picture_id: u16, tl0_pic_idx: u8) -> Result<(), Malformed> {
    todo!()
}
