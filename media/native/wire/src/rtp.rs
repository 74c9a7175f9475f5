//! RTP headers (RFC 3550 §5.1), header extensions (RFC 8285), retransmission payloads (RFC 4588).
//! `Header` holds offsets, not borrows, so a packet can be decrypted in place between reading its header and its
//! payload. Must not know codecs.

use crate::seq::Seq;
use crate::{Malformed, NoRoom};
use std::ops::Range;

/// Smallest possible packet: the fixed header.
pub const FIXED_HEADER_BYTES: usize = 12;

/// A parsed header; offsets point into the packet it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub has_padding: bool,
    pub marker: bool,
    pub payload_type: u8,
    pub seq: Seq,
    pub rtp_ts: u32,
    pub ssrc: u32,
    pub csrc_count: u8,
    /// Bytes before the payload, CSRCs and extensions included: what SRTP leaves readable.
    pub header_len: usize,
    extension: Option<ExtensionBlock>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ExtensionBlock {
    start: u16,
    len: u16,
    two_byte: bool,
}

impl Header {
    /// Reads the header of a packet that may still be encrypted.
    pub fn parse_untrusted(packet: &[u8]) -> Result<Header, Malformed> {
        todo!()
    }

    /// Payload of the decrypted packet, without padding; empty for padding-only packets.
    pub fn payload_range(&self, packet: &[u8]) -> Result<Range<usize>, Malformed> {
        todo!()
    }

    /// Where the value of extension element `id` stands, for reading or patching in place.
    pub fn extension_range(&self, packet: &[u8], id: u8) -> Option<Range<usize>> {
        self.extensions(packet).find(|element| element.id == id).map(|element| element.range)
    }

    pub fn extension<'a>(&self, packet: &'a [u8], id: u8) -> Option<&'a [u8]> {
        packet.get(self.extension_range(packet, id)?)
    }

    pub fn extensions<'a>(&self, packet: &'a [u8]) -> Extensions<'a> {
        todo!()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    pub id: u8,
    pub range: Range<usize>,
}

/// Iterates the elements of a header-extension block; ends at the first that does not fit.
#[derive(Debug, Clone)]
pub struct Extensions<'a> {
    packet: &'a [u8],
    at: usize,
    end: usize,
    two_byte: bool,
}

impl Iterator for Extensions<'_> {
    type Item = Element;

    fn next(&mut self) -> Option<Element> {
        todo!()
    }
}

/// The header of a packet to be written.
#[derive(Debug, Clone, Copy)]
pub struct NewHeader<'a> {
    pub marker: bool,
    pub payload_type: u8,
    pub seq: Seq,
    pub rtp_ts: u32,
    pub ssrc: u32,
    /// (id, value) pairs; the one-byte form is used when all fit it, else the two-byte form.
    pub extensions: &'a [(u8, &'a [u8])],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub header_len: usize,
    /// Whole packet before SRTP, padding included.
    pub len: usize,
}

/// Writes header and the payload parts one after the other (a part may be the OSN of RTX), copying each once.
/// If the packet is shorter than `pad_to` it is filled with RTP padding up to that length (at most 255 bytes).
pub fn write(
    out: &mut [u8],
    header: &NewHeader<'_>,
    payload_parts: &[&[u8]],
    pad_to: usize,
) -> Result<Written, NoRoom> {
    todo!()
}

/// A padding-only packet of `padding_bytes` (1–255) for probing.
pub fn write_padding(
    out: &mut [u8],
    header: &NewHeader<'_>,
    padding_bytes: u8,
) -> Result<Written, NoRoom> {
    todo!()
}

/// Splits an RTX payload into the original sequence number and the original payload (RFC 4588 §4).
pub fn parse_untrusted_rtx(payload: &[u8]) -> Result<(Seq, &[u8]), Malformed> {
    match payload {
        [high, low, rest @ ..] => Ok((Seq(u16::from_be_bytes([*high, *low])), rest)),
        _ => Err(Malformed("rtx payload without original sequence number")),
    }
}

/// First payload part of an RTX packet.
pub fn rtx_prefix(original: Seq) -> [u8; 2] {
    original.0.to_be_bytes()
}

/// Client-to-mixer audio level (RFC 6464).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioLevel {
    pub voice: bool,
    /// −dBov: 0 is loudest, 127 is silence.
    pub level: u8,
}

pub fn read_audio_level(value: &[u8]) -> Option<AudioLevel> {
    value.first().map(|byte| AudioLevel { voice: byte & 0x80 != 0, level: byte & 0x7f })
}

/// Transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01 §2).
pub fn read_transport_seq(value: &[u8]) -> Option<Seq> {
    Some(Seq(u16::from_be_bytes(value.get(..2)?.try_into().ok()?)))
}

/// abs-send-time: 24 bits, 6.18 fixed-point seconds, wraps every 64 s.
pub fn read_abs_send_time(value: &[u8]) -> Option<u32> {
    match value {
        [a, b, c] => Some(u32::from_be_bytes([0, *a, *b, *c])),
        _ => None,
    }
}

/// The 24 bits of abs-send-time for a clock in microseconds.
pub fn abs_send_time(now_us: u64) -> [u8; 3] {
    let fixed = ((u128::from(now_us) << 18) / 1_000_000) as u32;
    let [_, a, b, c] = fixed.to_be_bytes();
    [a, b, c]
}

/// MID, RID and repaired RID (RFC 9143 §15, RFC 8852): short ASCII tokens; None if anything else.
pub fn read_stream_id(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    let fits = !text.is_empty() && text.len() <= 32 && text.bytes().all(|b| b.is_ascii_graphic());
    fits.then_some(text)
}
