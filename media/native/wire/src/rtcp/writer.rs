//! Appends RTCP packets to one compound in the caller's buffer. A packet is written whole or not at all.

use super::{
    feedback, packet_type, transport_cc, Arrivals, ReportBlock, SenderInfo, REMB_NAME, REPORT_BYTES, SDES_CNAME,
};
use crate::seq::Seq;
use crate::NoRoom;

const MAX_COUNT: usize = 31;

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

    /// At most 31 report blocks.
    pub fn sender_report(&mut self, info: &SenderInfo, reports: &[ReportBlock]) -> Result<(), NoRoom> {
        let count = report_count(reports)?;
        let body_len = 24 + reports.len() * REPORT_BYTES;
        let mut body = self.packet(packet_type::SENDER_REPORT, count, body_len)?;
        body.u32(info.ssrc);
        body.bytes(&info.ntp_time.to_be_bytes());
        body.u32(info.rtp_ts);
        body.u32(info.packets);
        body.u32(info.bytes);
        reports.iter().for_each(|block| body.report(block));
        Ok(())
    }

    /// At most 31 report blocks.
    pub fn receiver_report(&mut self, sender_ssrc: u32, reports: &[ReportBlock]) -> Result<(), NoRoom> {
        let count = report_count(reports)?;
        let mut body = self.packet(packet_type::RECEIVER_REPORT, count, 4 + reports.len() * REPORT_BYTES)?;
        body.u32(sender_ssrc);
        reports.iter().for_each(|block| body.report(block));
        Ok(())
    }

    /// `cname` of at most 255 bytes.
    pub fn sdes_cname(&mut self, ssrc: u32, cname: &str) -> Result<(), NoRoom> {
        let len = u8::try_from(cname.len()).map_err(|_| NoRoom)?;
        // At least one zero byte ends the items, up to the word boundary.
        let body_len = (4 + 2 + cname.len() + 1).next_multiple_of(4);
        let mut body = self.packet(packet_type::SDES, 1, body_len)?;
        body.u32(ssrc);
        body.bytes(&[SDES_CNAME, len]);
        body.bytes(cname.as_bytes());
        Ok(())
    }

    pub fn bye(&mut self, ssrcs: &[u32]) -> Result<(), NoRoom> {
        if ssrcs.len() > MAX_COUNT {
            return Err(NoRoom);
        }
        let mut body = self.packet(packet_type::BYE, ssrcs.len() as u8, 4 * ssrcs.len())?;
        ssrcs.iter().for_each(|ssrc| body.u32(*ssrc));
        Ok(())
    }

    /// `lost` in ascending order (mod 2¹⁶); packed into as few entries as possible.
    pub fn nack(&mut self, sender_ssrc: u32, media_ssrc: u32, lost: &[Seq]) -> Result<(), NoRoom> {
        let entries = nack_entries(lost);
        let body_len = 8 + 4 * entries.clone().count();
        let mut body = self.packet(packet_type::TRANSPORT_FEEDBACK, feedback::NACK, body_len)?;
        body.u32(sender_ssrc);
        body.u32(media_ssrc);
        entries.for_each(|(base, mask)| body.u32(u32::from(base) << 16 | u32::from(mask)));
        Ok(())
    }

    pub fn pli(&mut self, sender_ssrc: u32, media_ssrc: u32) -> Result<(), NoRoom> {
        let mut body = self.packet(packet_type::PAYLOAD_FEEDBACK, feedback::PLI, 8)?;
        body.u32(sender_ssrc);
        body.u32(media_ssrc);
        Ok(())
    }

    pub fn fir(&mut self, sender_ssrc: u32, media_ssrc: u32, command_seq: u8) -> Result<(), NoRoom> {
        let mut body = self.packet(packet_type::PAYLOAD_FEEDBACK, feedback::FIR, 16)?;
        body.u32(sender_ssrc);
        body.u32(0); // RFC 5104 §4.3.1.2: the media source stands in the entry instead
        body.u32(media_ssrc);
        body.bytes(&[command_seq, 0, 0, 0]);
        Ok(())
    }

    /// At most 255 SSRCs. `bps` is rounded down to 18 significant bits.
    pub fn remb(&mut self, sender_ssrc: u32, bps: u64, ssrcs: &[u32]) -> Result<(), NoRoom> {
        let count = u8::try_from(ssrcs.len()).map_err(|_| NoRoom)?;
        let exponent = (64 - bps.leading_zeros()).saturating_sub(18);
        let mantissa = (bps >> exponent) as u32;
        let body_len = 16 + 4 * ssrcs.len();
        let mut body = self.packet(packet_type::PAYLOAD_FEEDBACK, feedback::APPLICATION_LAYER, body_len)?;
        body.u32(sender_ssrc);
        body.u32(0);
        body.bytes(REMB_NAME);
        body.u32(u32::from(count) << 24 | exponent << 18 | mantissa);
        ssrcs.iter().for_each(|ssrc| body.u32(*ssrc));
        Ok(())
    }

    /// Writes feedback for as many arrivals as one packet holds; returns how many (call again with the rest and the
    /// next feedback count).
    pub fn transport_cc(&mut self, arrivals: &Arrivals<'_>) -> Result<usize, NoRoom> {
        let room = self.out.len().saturating_sub(self.len + 4);
        let plan = transport_cc::Plan::new(arrivals, room).ok_or(NoRoom)?;
        let body = self.packet(packet_type::TRANSPORT_FEEDBACK, feedback::TRANSPORT_CC, plan.body_len())?;
        plan.write(body.space);
        Ok(plan.count())
    }

    /// Writes the header and zeroes the body.
    fn packet(&mut self, kind: u8, count: u8, body_len: usize) -> Result<Body<'_>, NoRoom> {
        let words = u16::try_from(body_len / 4).map_err(|_| NoRoom)?;
        let end = self.len + 4 + body_len;
        let space = self.out.get_mut(self.len..end).ok_or(NoRoom)?;
        self.len = end;
        let (header, body) = space.split_at_mut(4);
        header[0] = 0x80 | count;
        header[1] = kind;
        header[2..].copy_from_slice(&words.to_be_bytes());
        body.fill(0);
        Ok(Body { space: body, at: 0 })
    }
}

struct Body<'a> {
    space: &'a mut [u8],
    at: usize,
}

impl Body<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.space[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    fn report(&mut self, block: &ReportBlock) {
        let total = block.total_lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
        self.u32(block.ssrc);
        self.u32(u32::from(block.fraction_lost) << 24 | total);
        self.u32(block.highest_seq);
        self.u32(block.jitter);
        self.u32(block.last_sr);
        self.u32(block.delay_since_last_sr);
    }
}

fn report_count(reports: &[ReportBlock]) -> Result<u8, NoRoom> {
    if reports.len() > MAX_COUNT {
        return Err(NoRoom);
    }
    Ok(reports.len() as u8)
}

/// (base, mask of the 16 after it) pairs.
fn nack_entries(lost: &[Seq]) -> impl Iterator<Item = (u16, u16)> + Clone + '_ {
    let mut rest = lost;
    std::iter::from_fn(move || {
        let (base, after) = rest.split_first()?;
        rest = after;
        let mut mask = 0;
        while let Some((next, after)) = rest.split_first() {
            let step = next.0.wrapping_sub(base.0);
            match step {
                0 => {}
                1..=16 => mask |= 1 << (step - 1),
                _ => break,
            }
            rest = after;
        }
        Some((base.0, mask))
    })
}
