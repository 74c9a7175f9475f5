//! RTCP compounds (RFC 3550 §6, RFC 4585, RFC 5104, REMB, transport-wide feedback).
//! Reading borrows from the (decrypted) compound; writing appends to a caller's buffer. One bad packet inside a
//! compound spoils only itself as long as the framing holds. Every list is bounded by the datagram it came in.

mod transport_cc;
mod writer;

use crate::seq::Seq;
use crate::Malformed;
pub use transport_cc::{Arrivals, Statuses, TransportCc};
pub use writer::Writer;

mod packet_type {
    pub(super) const SENDER_REPORT: u8 = 200;
    pub(super) const RECEIVER_REPORT: u8 = 201;
    pub(super) const SDES: u8 = 202;
    pub(super) const BYE: u8 = 203;
    pub(super) const TRANSPORT_FEEDBACK: u8 = 205;
    pub(super) const PAYLOAD_FEEDBACK: u8 = 206;
}

/// Feedback message types, in the count field of packet types 205 and 206.
mod feedback {
    pub(super) const NACK: u8 = 1;
    pub(super) const TRANSPORT_CC: u8 = 15;
    pub(super) const PLI: u8 = 1;
    pub(super) const FIR: u8 = 4;
    pub(super) const APPLICATION_LAYER: u8 = 15;
}

const REPORT_BYTES: usize = 24;
const SENDER_INFO_BYTES: usize = 24;
const SDES_CNAME: u8 = 1;
const REMB_NAME: &[u8; 4] = b"REMB";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReportBlock {
    pub ssrc: u32,
    /// Fixed point /256 since the last report.
    pub fraction_lost: u8,
    /// 24-bit signed total.
    pub total_lost: i32,
    /// Extended highest sequence number received (32 bits as sent).
    pub highest_seq: u32,
    /// In clock ticks of the stream.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time of the last sender report.
    pub last_sr: u32,
    /// 1/65,536 s since that report arrived.
    pub delay_since_last_sr: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SenderInfo {
    pub ssrc: u32,
    /// 32.32 fixed point seconds since 1900.
    pub ntp_time: u64,
    pub rtp_ts: u32,
    pub packets: u32,
    pub bytes: u32,
}

#[derive(Debug, Clone, Copy)]
pub enum Packet<'a> {
    SenderReport {
        info: SenderInfo,
        reports: Reports<'a>,
    },
    ReceiverReport {
        sender_ssrc: u32,
        reports: Reports<'a>,
    },
    Sdes(Sdes<'a>),
    Bye(Ssrcs<'a>),
    Nack {
        sender_ssrc: u32,
        media_ssrc: u32,
        lost: Lost<'a>,
    },
    Pli {
        sender_ssrc: u32,
        media_ssrc: u32,
    },
    Fir {
        sender_ssrc: u32,
        requests: FirRequests<'a>,
    },
    Remb {
        sender_ssrc: u32,
        bps: u64,
        ssrcs: Ssrcs<'a>,
    },
    TransportCc(TransportCc<'a>),
    /// Extended reports, application packets and whatever comes after us.
    Unknown {
        packet_type: u8,
        count: u8,
        body: &'a [u8],
    },
}

/// Walks a compound; framing that does not fit ends it with one `Malformed`.
pub fn parse_untrusted(compound: &[u8]) -> Compound<'_> {
    Compound { rest: compound }
}

#[derive(Debug, Clone)]
pub struct Compound<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Compound<'a> {
    type Item = Result<Packet<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match take_frame(self.rest) {
            Ok((frame, rest)) => {
                self.rest = rest;
                Some(parse_packet(&frame))
            }
            Err(malformed) => {
                self.rest = &[];
                Some(Err(malformed))
            }
        }
    }
}

struct Frame<'a> {
    count: u8,
    packet_type: u8,
    body: &'a [u8],
}

/// ```text
/// |V=2|P|  count  |  packet type  |  length in words minus one    |
/// ```
fn take_frame(bytes: &[u8]) -> Result<(Frame<'_>, &[u8]), Malformed> {
    let (&[first, packet_type, len_high, len_low], after) =
        bytes.split_first_chunk().ok_or(Malformed("rtcp header cut short"))?;
    if first >> 6 != 2 {
        return Err(Malformed("rtcp version"));
    }
    let len = 4 * usize::from(u16::from_be_bytes([len_high, len_low]));
    let (mut body, rest) = after.split_at_checked(len).ok_or(Malformed("rtcp length"))?;
    if first & 0x20 != 0 {
        let padding = usize::from(*body.last().ok_or(Malformed("rtcp padding"))?);
        let kept = body.len().checked_sub(padding).ok_or(Malformed("rtcp padding"))?;
        body = &body[..kept];
    }
    Ok((Frame { count: first & 0x1f, packet_type, body }, rest))
}

fn parse_packet<'a>(frame: &Frame<'a>) -> Result<Packet<'a>, Malformed> {
    let count = usize::from(frame.count);
    match (frame.packet_type, frame.count) {
        (packet_type::SENDER_REPORT, _) => {
            let (info, blocks) = frame.body.split_first_chunk().ok_or(Malformed("sender report cut short"))?;
            Ok(Packet::SenderReport { info: read_sender_info(info), reports: reports(blocks, count)? })
        }
        (packet_type::RECEIVER_REPORT, _) => {
            let (ssrc, blocks) = split_u32(frame.body)?;
            Ok(Packet::ReceiverReport { sender_ssrc: ssrc, reports: reports(blocks, count)? })
        }
        (packet_type::SDES, _) => Ok(Packet::Sdes(Sdes { rest: frame.body, chunks: frame.count })),
        (packet_type::BYE, _) => {
            let ssrcs = frame.body.get(..4 * count).ok_or(Malformed("bye cut short"))?;
            Ok(Packet::Bye(Ssrcs(ssrcs)))
        }
        (packet_type::TRANSPORT_FEEDBACK, feedback::NACK) => {
            let (sender_ssrc, media_ssrc, entries) = split_feedback(frame.body)?;
            if entries.len() % 4 != 0 {
                return Err(Malformed("nack entries"));
            }
            let lost = Lost { entries, base: 0, mask: 0 };
            Ok(Packet::Nack { sender_ssrc, media_ssrc, lost })
        }
        (packet_type::TRANSPORT_FEEDBACK, feedback::TRANSPORT_CC) => {
            let (sender_ssrc, media_ssrc, body) = split_feedback(frame.body)?;
            TransportCc::parse_untrusted(sender_ssrc, media_ssrc, body).map(Packet::TransportCc)
        }
        (packet_type::PAYLOAD_FEEDBACK, feedback::PLI) => {
            let (sender_ssrc, media_ssrc, _) = split_feedback(frame.body)?;
            Ok(Packet::Pli { sender_ssrc, media_ssrc })
        }
        (packet_type::PAYLOAD_FEEDBACK, feedback::FIR) => {
            let (sender_ssrc, _, entries) = split_feedback(frame.body)?;
            if entries.len() % 8 != 0 {
                return Err(Malformed("fir entries"));
            }
            Ok(Packet::Fir { sender_ssrc, requests: FirRequests(entries) })
        }
        (packet_type::PAYLOAD_FEEDBACK, feedback::APPLICATION_LAYER) => parse_remb(frame),
        (packet_type, count) => Ok(Packet::Unknown { packet_type, count, body: frame.body }),
    }
}

/// draft-alvestrand-rmcat-remb-03 §2.2; other application-layer feedback is unknown, not malformed.
fn parse_remb<'a>(frame: &Frame<'a>) -> Result<Packet<'a>, Malformed> {
    let (sender_ssrc, _, body) = split_feedback(frame.body)?;
    let Some((REMB_NAME, body)) = body.split_first_chunk() else {
        return Ok(Packet::Unknown { packet_type: frame.packet_type, count: frame.count, body: frame.body });
    };
    let (&[ssrc_count, a, b, c], list) = body.split_first_chunk().ok_or(Malformed("remb cut short"))?;
    let ssrcs = list.get(..4 * usize::from(ssrc_count)).ok_or(Malformed("remb ssrcs"))?;
    let exponent = u32::from(a >> 2);
    let mantissa = u64::from(u32::from_be_bytes([0, a & 0x03, b, c]));
    let bps = if exponent > 46 { u64::MAX } else { mantissa << exponent };
    Ok(Packet::Remb { sender_ssrc, bps, ssrcs: Ssrcs(ssrcs) })
}

fn read_sender_info(bytes: &[u8; SENDER_INFO_BYTES]) -> SenderInfo {
    SenderInfo {
        ssrc: u32_at(bytes, 0),
        ntp_time: u64::from(u32_at(bytes, 4)) << 32 | u64::from(u32_at(bytes, 8)),
        rtp_ts: u32_at(bytes, 12),
        packets: u32_at(bytes, 16),
        bytes: u32_at(bytes, 20),
    }
}

fn reports(blocks: &[u8], count: usize) -> Result<Reports<'_>, Malformed> {
    blocks.get(..count * REPORT_BYTES).map(Reports).ok_or(Malformed("report blocks cut short"))
}

fn split_feedback(body: &[u8]) -> Result<(u32, u32, &[u8]), Malformed> {
    let (sender_ssrc, rest) = split_u32(body)?;
    let (media_ssrc, rest) = split_u32(rest)?;
    Ok((sender_ssrc, media_ssrc, rest))
}

fn split_u32(bytes: &[u8]) -> Result<(u32, &[u8]), Malformed> {
    let (word, rest) = bytes.split_first_chunk().ok_or(Malformed("rtcp packet cut short"))?;
    Ok((u32::from_be_bytes(*word), rest))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Report blocks; iterate for `ReportBlock`.
#[derive(Debug, Clone, Copy)]
pub struct Reports<'a>(&'a [u8]);

impl Iterator for Reports<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let (block, rest) = self.0.split_first_chunk::<REPORT_BYTES>()?;
        self.0 = rest;
        let lost = u32_at(block, 4);
        Some(ReportBlock {
            ssrc: u32_at(block, 0),
            fraction_lost: (lost >> 24) as u8,
            // Sign-extends the lower 24 bits.
            total_lost: (lost << 8) as i32 >> 8,
            highest_seq: u32_at(block, 8),
            jitter: u32_at(block, 12),
            last_sr: u32_at(block, 16),
            delay_since_last_sr: u32_at(block, 20),
        })
    }
}

/// A list of SSRCs; iterate for `u32`.
#[derive(Debug, Clone, Copy)]
pub struct Ssrcs<'a>(&'a [u8]);

impl Iterator for Ssrcs<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let (ssrc, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*ssrc))
    }
}

/// Lost sequence numbers of a generic NACK (RFC 4585 §6.2.1); iterate for `Seq`, at most 17 per entry.
#[derive(Debug, Clone, Copy)]
pub struct Lost<'a> {
    entries: &'a [u8],
    base: u16,
    /// Bit i: `base + 1 + i` is lost too.
    mask: u16,
}

impl Iterator for Lost<'_> {
    type Item = Seq;

    fn next(&mut self) -> Option<Seq> {
        if self.mask != 0 {
            let bit = self.mask.trailing_zeros() as u16;
            self.mask &= self.mask - 1;
            return Some(Seq(self.base.wrapping_add(1 + bit)));
        }
        let (&[a, b, c, d], rest) = self.entries.split_first_chunk()?;
        self.entries = rest;
        self.base = u16::from_be_bytes([a, b]);
        self.mask = u16::from_be_bytes([c, d]);
        Some(Seq(self.base))
    }
}

/// Full intra requests (RFC 5104 §4.3.1); iterate for (media ssrc, command sequence number).
#[derive(Debug, Clone, Copy)]
pub struct FirRequests<'a>(&'a [u8]);

impl Iterator for FirRequests<'_> {
    type Item = (u32, u8);

    fn next(&mut self) -> Option<(u32, u8)> {
        let (entry, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some((u32_at(entry, 0), entry[4]))
    }
}

/// Source descriptions; iterate for (ssrc, cname bytes) of chunks that carry a CNAME. Ends at the first bad chunk.
#[derive(Debug, Clone, Copy)]
pub struct Sdes<'a> {
    rest: &'a [u8],
    chunks: u8,
}

impl<'a> Iterator for Sdes<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while self.chunks > 0 {
            self.chunks -= 1;
            let (ssrc, cname, used) = read_sdes_chunk(self.rest)?;
            self.rest = self.rest.get(used..).unwrap_or(&[]);
            if let Some(cname) = cname {
                return Some((ssrc, cname));
            }
        }
        None
    }
}

fn read_sdes_chunk(chunk: &[u8]) -> Option<(u32, Option<&[u8]>, usize)> {
    let ssrc = u32::from_be_bytes(*chunk.first_chunk()?);
    let mut cname = None;
    let mut at = 4;
    loop {
        let kind = *chunk.get(at)?;
        if kind == 0 {
            return Some((ssrc, cname, (at + 1).next_multiple_of(4)));
        }
        let len = usize::from(*chunk.get(at + 1)?);
        let text = chunk.get(at + 2..at + 2 + len)?;
        if kind == SDES_CNAME {
            cname = Some(text);
        }
        at += 2 + len;
    }
}
