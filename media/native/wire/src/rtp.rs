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
    ///
    /// ```text
    ///  0                   1                   2                   3
    /// |V=2|P|X|  CC   |M|     PT      |       sequence number         |
    /// |                           timestamp                           |
    /// |                             SSRC                              |
    /// |                     CSRC (CC times 32 bits)                   |
    /// |  extension profile (16)       |  extension length in words    |
    /// ```
    pub fn parse_untrusted(packet: &[u8]) -> Result<Header, Malformed> {
        let fixed: &[u8; FIXED_HEADER_BYTES] =
            packet.first_chunk().ok_or(Malformed("rtp packet shorter than its header"))?;
        if fixed[0] >> 6 != 2 {
            return Err(Malformed("rtp version"));
        }
        let csrc_count = fixed[0] & 0x0f;
        let mut header_len = FIXED_HEADER_BYTES + 4 * usize::from(csrc_count);
        let mut extension = None;
        if fixed[0] & 0x10 != 0 {
            let block = parse_extension_block(packet, header_len)?;
            header_len = usize::from(block.start) + usize::from(block.len);
            extension = Some(block);
        }
        if header_len > packet.len() {
            return Err(Malformed("rtp header longer than the packet"));
        }
        Ok(Header {
            has_padding: fixed[0] & 0x20 != 0,
            marker: fixed[1] & 0x80 != 0,
            payload_type: fixed[1] & 0x7f,
            seq: Seq(u16::from_be_bytes([fixed[2], fixed[3]])),
            rtp_ts: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            csrc_count,
            header_len,
            extension,
        })
    }

    /// Payload of the decrypted packet, without padding; empty for padding-only packets.
    pub fn payload_range(&self, packet: &[u8]) -> Result<Range<usize>, Malformed> {
        let mut end = packet.len();
        if self.has_padding {
            let padding = usize::from(*packet.last().unwrap_or(&0));
            if padding == 0 {
                return Err(Malformed("rtp padding of no bytes"));
            }
            end = end.saturating_sub(padding);
        }
        if end < self.header_len {
            return Err(Malformed("rtp padding longer than the payload"));
        }
        Ok(self.header_len..end)
    }

    /// Where the value of extension element `id` stands, for reading or patching in place.
    pub fn extension_range(&self, packet: &[u8], id: u8) -> Option<Range<usize>> {
        self.extensions(packet).find(|element| element.id == id).map(|element| element.range)
    }

    pub fn extension<'a>(&self, packet: &'a [u8], id: u8) -> Option<&'a [u8]> {
        packet.get(self.extension_range(packet, id)?)
    }

    pub fn extensions<'a>(&self, packet: &'a [u8]) -> Extensions<'a> {
        let Some(block) = self.extension else {
            return Extensions { packet, at: 0, end: 0, two_byte: false };
        };
        let at = usize::from(block.start);
        // The packet may be another than the one parsed; an end inside it keeps every answer in bounds.
        let end = (at + usize::from(block.len)).min(packet.len());
        Extensions { packet, at, end, two_byte: block.two_byte }
    }
}

const ONE_BYTE_PROFILE: u16 = 0xbede;
/// Two-byte profile is 0x100 in the upper 12 bits; the lower four are application bits (RFC 8285 §4.3).
const TWO_BYTE_PROFILE: u16 = 0x1000;

fn parse_extension_block(packet: &[u8], at: usize) -> Result<ExtensionBlock, Malformed> {
    let head = packet.get(at..at + 4).ok_or(Malformed("rtp extension header"))?;
    let profile = u16::from_be_bytes([head[0], head[1]]);
    let len = 4 * usize::from(u16::from_be_bytes([head[2], head[3]]));
    let start = at + 4;
    if start + len > packet.len() || start + len > usize::from(u16::MAX) {
        return Err(Malformed("rtp extension length"));
    }
    let two_byte = profile & 0xfff0 == TWO_BYTE_PROFILE;
    // A profile that is neither form is opaque: skipped as a block without elements.
    let known = two_byte || profile == ONE_BYTE_PROFILE;
    let (start, len) = if known { (start, len) } else { (start + len, 0) };
    Ok(ExtensionBlock { start: start as u16, len: len as u16, two_byte })
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
        while self.at < self.end {
            let first = self.packet[self.at];
            if first == 0 {
                self.at += 1; // padding between elements
                continue;
            }
            let (id, len, value_at) = if self.two_byte {
                let len = usize::from(*self.packet.get(self.at + 1)?);
                (first, len, self.at + 2)
            } else {
                (first >> 4, usize::from(first & 0x0f) + 1, self.at + 1)
            };
            let range = value_at..value_at + len;
            // Id 15 of the one-byte form stops all reading (RFC 8285 §4.2).
            if range.end > self.end || (!self.two_byte && id == 15) {
                self.at = self.end;
                return None;
            }
            self.at = range.end;
            if id != 0 {
                return Some(Element { id, range });
            }
        }
        None
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
    /// A value longer than 255 bytes, or an id of 0, is a caller's fault: [`write`] answers `NoRoom`.
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
    let header_len = write_header(out, header)?;
    let mut len = header_len;
    for part in payload_parts {
        out.get_mut(len..len + part.len()).ok_or(NoRoom)?.copy_from_slice(part);
        len += part.len();
    }
    let padding = pad_to.saturating_sub(len).min(255);
    if padding > 0 {
        write_padding_bytes(out, len, padding)?;
    }
    Ok(Written { header_len, len: len + padding })
}

fn write_padding_bytes(out: &mut [u8], at: usize, padding: usize) -> Result<(), NoRoom> {
    let space = out.get_mut(at..at + padding).ok_or(NoRoom)?;
    space.fill(0);
    space[padding - 1] = padding as u8;
    out[0] |= 0x20;
    Ok(())
}

fn write_header(out: &mut [u8], header: &NewHeader<'_>) -> Result<usize, NoRoom> {
    let fixed: &mut [u8; FIXED_HEADER_BYTES] = out.first_chunk_mut().ok_or(NoRoom)?;
    fixed[0] = 0x80;
    fixed[1] = u8::from(header.marker) << 7 | header.payload_type & 0x7f;
    fixed[2..4].copy_from_slice(&header.seq.0.to_be_bytes());
    fixed[4..8].copy_from_slice(&header.rtp_ts.to_be_bytes());
    fixed[8..12].copy_from_slice(&header.ssrc.to_be_bytes());
    if header.extensions.is_empty() {
        return Ok(FIXED_HEADER_BYTES);
    }
    if header.extensions.iter().any(|(id, value)| *id == 0 || value.len() > 255) {
        return Err(NoRoom);
    }
    out[0] |= 0x10;
    let one_byte = header.extensions.iter().all(|(id, value)| (1..=14).contains(id) && (1..=16).contains(&value.len()));
    let block_at = FIXED_HEADER_BYTES + 4;
    let mut at = block_at;
    for (id, value) in header.extensions {
        let head = if one_byte { [id << 4 | (value.len() as u8).wrapping_sub(1), 0] } else { [*id, value.len() as u8] };
        let head = &head[..if one_byte { 1 } else { 2 }];
        let space = out.get_mut(at..at + head.len() + value.len()).ok_or(NoRoom)?;
        let (head_space, value_space) = space.split_at_mut(head.len());
        head_space.copy_from_slice(head);
        value_space.copy_from_slice(value);
        at += head.len() + value.len();
    }
    let end = block_at + (at - block_at).next_multiple_of(4);
    out.get_mut(at..end).ok_or(NoRoom)?.fill(0);
    let profile = if one_byte { ONE_BYTE_PROFILE } else { TWO_BYTE_PROFILE };
    out[12..14].copy_from_slice(&profile.to_be_bytes());
    out[14..16].copy_from_slice(&(((end - block_at) / 4) as u16).to_be_bytes());
    Ok(end)
}

/// A padding-only packet of `padding_bytes` (1–255) for probing.
pub fn write_padding(out: &mut [u8], header: &NewHeader<'_>, padding_bytes: u8) -> Result<Written, NoRoom> {
    let header_len = write_header(out, header)?;
    let padding = usize::from(padding_bytes.max(1));
    write_padding_bytes(out, header_len, padding)?;
    Ok(Written { header_len, len: header_len + padding })
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
