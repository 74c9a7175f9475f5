//! RTCP compounds (RFC 3550 §6, RFC 4585, RFC 5104, REMB, transport-wide feedback).
//! Reading borrows from the (decrypted) compound; writing appends to a caller's buffer. One bad packet inside a
//! compound spoils only itself as long as the framing holds.

use crate::seq::Seq;
use crate::{Malformed, NoRoom};

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
    SenderReport { info: SenderInfo, reports: Reports<'a> },
    ReceiverReport { sender_ssrc: u32, reports: Reports<'a> },
    Sdes(Sdes<'a>),
    Bye(Ssrcs<'a>),
    Nack { sender_ssrc: u32, media_ssrc: u32, lost: Lost<'a> },
    Pli { sender_ssrc: u32, media_ssrc: u32 },
    Fir { sender_ssrc: u32, requests: FirRequests<'a> },
    Remb { sender_ssrc: u32, bps: u64, ssrcs: Ssrcs<'a> },
    TransportCc(TransportCc<'a>),
    /// Extended reports, application packets and whatever comes after us.
    Unknown { packet_type: u8, count: u8, body: &'a [u8] },
}

/// Walks a compound; framing that does not fit ends it with one `Malformed`.
pub fn parse_untrusted(compound: &[u8]) -> Compound<'_> {
    todo!()
}

#[derive(Debug, Clone)]
pub struct Compound<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Compound<'a> {
    type Item = Result<Packet<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}

/// Report blocks; iterate for `ReportBlock`.
#[derive(Debug, Clone, Copy)]
pub struct Reports<'a>(&'a [u8]);

impl Iterator for Reports<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        todo!()
    }
}

/// A list of SSRCs; iterate for `u32`.
#[derive(Debug, Clone, Copy)]
pub struct Ssrcs<'a>(&'a [u8]);

impl Iterator for Ssrcs<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        todo!()
    }
}

/// Lost sequence numbers of a generic NACK; iterate for `Seq` (at most 17 per entry).
#[derive(Debug, Clone, Copy)]
pub struct Lost<'a> {
    entries: &'a [u8],
    pending: (u16, u32),
}

impl Iterator for Lost<'_> {
    type Item = Seq;

    fn next(&mut self) -> Option<Seq> {
        todo!()
    }
}

/// Full intra requests; iterate for (media ssrc, command sequence number).
#[derive(Debug, Clone, Copy)]
pub struct FirRequests<'a>(&'a [u8]);

impl Iterator for FirRequests<'_> {
    type Item = (u32, u8);

    fn next(&mut self) -> Option<(u32, u8)> {
        todo!()
    }
}

/// Source descriptions; iterate for (ssrc, cname bytes) of chunks that carry a CNAME.
#[derive(Debug, Clone, Copy)]
pub struct Sdes<'a>(&'a [u8]);

impl<'a> Iterator for Sdes<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}

/// Transport-wide feedback; iterate [`TransportCc::statuses`] for each packet's fate.
#[derive(Debug, Clone, Copy)]
pub struct TransportCc<'a> {
    pub sender_ssrc: u32,
    pub media_ssrc: u32,
    pub base_seq: Seq,
    pub status_count: u16,
    /// Signed 24 bits, in units of 64 ms.
    pub reference_time: i32,
    pub feedback_count: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl<'a> TransportCc<'a> {
    /// (transport seq, arrival): arrival in µs relative to `reference_time` × 64 ms, None if it was not received.
    pub fn statuses(&self) -> Statuses<'a> {
        todo!()
    }
}

#[derive(Debug, Clone)]
pub struct Statuses<'a> {
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl Iterator for Statuses<'_> {
    type Item = (Seq, Option<i64>);

    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}

/// What the receiver of packets reports by transport-wide feedback.
#[derive(Debug, Clone, Copy)]
pub struct Arrivals<'a> {
    pub sender_ssrc: u32,
    pub media_ssrc: u32,
    pub feedback_count: u8,
    pub base_seq: Seq,
    /// Arrival of `base_seq + i` in µs on one clock, None if it has not come. The first must be Some.
    pub arrivals_us: &'a [Option<i64>],
}

/// Appends packets to one compound.
pub struct Writer<'b> {
    out: &'b mut [u8],
    len: usize,
}

impl<'b> Writer<'b> {
    pub fn new(out: &'b mut [u8]) -> Self {
        Writer { out, len: 0 }
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn sender_report(&mut self, info: &SenderInfo, reports: &[ReportBlock]) -> Result<(), NoRoom> {
        todo!()
    }

    pub fn receiver_report(&mut self, sender_ssrc: u32, reports: &[ReportBlock]) -> Result<(), NoRoom> {
        todo!()
    }

    pub fn sdes_cname(&mut self, ssrc: u32, cname: &str) -> Result<(), NoRoom> {
        todo!()
    }

    pub fn bye(&mut self, ssrcs: &[u32]) -> Result<(), NoRoom> {
        todo!()
    }

    /// `lost` in ascending order (mod 2¹⁶); packed into as few entries as possible.
    pub fn nack(&mut self, sender_ssrc: u32, media_ssrc: u32, lost: &[Seq]) -> Result<(), NoRoom> {
        todo!()
    }

    pub fn pli(&mut self, sender_ssrc: u32, media_ssrc: u32) -> Result<(), NoRoom> {
        todo!()
    }

    pub fn fir(&mut self, sender_ssrc: u32, media_ssrc: u32, command_seq: u8) -> Result<(), NoRoom> {
        todo!()
    }

    pub fn remb(&mut self, sender_ssrc: u32, bps: u64, ssrcs: &[u32]) -> Result<(), NoRoom> {
        todo!()
    }

    /// Writes feedback for as many arrivals as one packet holds; returns how many (call again with the rest).
    pub fn transport_cc(&mut self, arrivals: &Arrivals<'_>) -> Result<usize, NoRoom> {
        todo!()
    }
}
