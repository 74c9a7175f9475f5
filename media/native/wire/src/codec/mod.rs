//! The little a forwarder must know of payloads: where frames start, which are keyframes, which layer they are.
//! One file per codec; nothing here decodes media. [`read_frame_mark`] is the table over them.

pub mod av1;
pub mod dependency;
pub mod h264;
pub mod red;
pub mod vp8;
pub mod vp9;

use crate::Malformed;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    Vp8,
    Vp9,
    H264,
    Av1,
    Opus,
    Red,
}

impl Codec {
    /// By encoding name of SDP, in lower case.
    pub fn from_name(name: &str) -> Option<Codec> {
        Some(match name {
            "vp8" => Codec::Vp8,
            "vp9" => Codec::Vp9,
            "h264" => Codec::H264,
            "av1" => Codec::Av1,
            "opus" => Codec::Opus,
            "red" => Codec::Red,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Codec::Vp8 => "vp8",
            Codec::Vp9 => "vp9",
            Codec::H264 => "h264",
            Codec::Av1 => "av1",
            Codec::Opus => "opus",
            Codec::Red => "red",
        }
    }

    pub fn is_video(self) -> bool {
        !matches!(self, Codec::Opus | Codec::Red)
    }
}

/// What one packet says about the frame it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameMark {
    pub starts_frame: bool,
    /// True on the packet that begins a keyframe (for audio: always).
    pub starts_keyframe: bool,
    pub temporal_id: u8,
    /// This temporal layer may begin here.
    pub layer_sync: bool,
}

pub fn read_frame_mark(codec: Codec, payload: &[u8]) -> Result<FrameMark, Malformed> {
    match codec {
        Codec::Vp8 => vp8::read_frame_mark(payload),
        Codec::Vp9 => vp9::read_frame_mark(payload),
        Codec::H264 => h264::read_frame_mark(payload),
        Codec::Av1 => av1::read_frame_mark(payload),
        Codec::Opus | Codec::Red => {
            Ok(FrameMark { starts_frame: true, starts_keyframe: true, temporal_id: 0, layer_sync: true })
        }
    }
}

/// Bytes taken one by one; running out is one error.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, at: 0 }
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = *self.bytes.get(self.at).ok_or(Malformed("payload descriptor cut short"))?;
        self.at += 1;
        Ok(byte)
    }

    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }
}
