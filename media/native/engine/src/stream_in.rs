//! One inbound stream: an SSRC with its RTX, as the server receives it. Statistics (RFC 3550 §A.3, §A.8), the
//! sender's clock, the packet cache, what is missing, and keyframe requests. Must not know who listens.

use crate::cache::PacketCache;
use crate::nack::NackGenerator;
use crate::time::Time;
use holdspace_wire::codec::dependency;
use holdspace_wire::rtcp::{ReportBlock, SenderInfo};

/// Encoders restart their rate control at every keyframe; more often hurts everyone in the room.
const KEYFRAME_EVERY_US: u64 = 500_000;

/// A sender report and when it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SenderClock {
    pub(crate) ntp_time: u64,
    pub(crate) rtp_ts: u32,
    pub(crate) arrival: Time,
}

impl SenderClock {
    /// The sender's (NTP, RTP) pair carried forward to `now`.
    pub(crate) fn at(&self, now: Time, clock_hz: u32) -> (u64, u32) {
        let elapsed_us = u128::from(now.since_us(self.arrival));
        let ntp = ((elapsed_us << 32) / 1_000_000) as u64;
        let ticks = (elapsed_us * u128::from(clock_hz) / 1_000_000) as u32;
        (self.ntp_time.wrapping_add(ntp), self.rtp_ts.wrapping_add(ticks))
    }
}

#[derive(Default)]
pub(crate) struct ReceiveStats {
    first: Option<u64>,
    newest: u64,
    received: u64,
    expected_before: u64,
    received_before: u64,
    /// In clock ticks, times 16.
    jitter_16: i64,
    transit: Option<i64>,
}

impl ReceiveStats {
    fn on_packet(&mut self, ext_seq: u64, rtp_ts: u32, clock_hz: u32, now: Time) {
        self.received += 1;
        if self.first.is_none() {
            self.first = Some(ext_seq);
            self.newest = ext_seq;
        }
        if ext_seq < self.newest {
            return;
        }
        self.newest = ext_seq;
        let arrival = (u128::from(now.0) * u128::from(clock_hz) / 1_000_000) as i64;
        let transit = i64::from((arrival as u32).wrapping_sub(rtp_ts) as i32);
        if let Some(before) = self.transit.replace(transit) {
            let difference = i64::from((transit - before) as i32).abs().min(i64::from(clock_hz));
            self.jitter_16 += difference - ((self.jitter_16 + 8) >> 4);
        }
    }

    pub(crate) fn jitter(&self) -> u32 {
        (self.jitter_16 >> 4).max(0) as u32
    }

    /// Packets the sender has sent since the first that came.
    pub(crate) fn expected(&self) -> u64 {
        self.first.map_or(0, |first| self.newest - first.min(self.newest) + 1)
    }

    /// Of these, what the network did not bring; a repair does not count.
    pub(crate) fn missing(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }
}

/// Which packets have come, by their own SSRC or by RTX: each is forwarded once. SRTP's own window cannot tell,
/// because the two ways have indexes of their own.
#[derive(Default)]
struct Received {
    newest: Option<u64>,
    bits: [u64; Received::WORDS],
}

impl Received {
    const WORDS: usize = 32;
    /// Twice what SRTP lets through late, so that nothing it passes is unknown here.
    const SPAN: u64 = Self::WORDS as u64 * 64;

    fn note(&mut self, ext_seq: u64) -> bool {
        let newest = *self.newest.get_or_insert(ext_seq);
        if ext_seq + Self::SPAN <= newest {
            return false;
        }
        if ext_seq >= newest + Self::SPAN {
            self.bits = [0; Self::WORDS];
        } else {
            (newest + 1..=ext_seq).for_each(|seq| *self.word(seq) &= !(1 << (seq % 64)));
        }
        self.newest = Some(newest.max(ext_seq));
        let (word, bit) = (self.word(ext_seq), 1 << (ext_seq % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    fn word(&mut self, seq: u64) -> &mut u64 {
        &mut self.bits[(seq / 64) as usize % Self::WORDS]
    }
}

#[derive(Default)]
pub(crate) struct KeyframeRequests {
    wanted: bool,
    asked_at: Option<Time>,
}

impl KeyframeRequests {
    pub(crate) fn want(&mut self) {
        self.wanted = true;
    }

    pub(crate) fn arrived(&mut self) {
        self.wanted = false;
    }

    pub(crate) fn deadline(&self, now: Time) -> Option<Time> {
        let next_at = self.asked_at.map_or(now, |at| at.plus_us(KEYFRAME_EVERY_US));
        self.wanted.then_some(next_at)
    }

    /// True: ask the publisher now. The wish ends with the ask; who still waits renews it with the next packet.
    pub(crate) fn take_due(&mut self, now: Time) -> bool {
        let due = self.deadline(now).is_some_and(|at| at <= now);
        if due {
            self.wanted = false;
            self.asked_at = Some(now);
        }
        due
    }
}

pub(crate) struct StreamIn {
    /// Identity; never reused, unlike SSRCs and indexes.
    pub(crate) key: u64,
    pub(crate) ssrc: u32,
    pub(crate) rtx_ssrc: Option<u32>,
    pub(crate) cache: PacketCache,
    pub(crate) nacks: NackGenerator,
    pub(crate) keyframes: KeyframeRequests,
    pub(crate) clock: Option<SenderClock>,
    pub(crate) last_packet_at: Option<Time>,
    pub(crate) stats: ReceiveStats,
    received: Received,
    pub(crate) fir_seq: u8,
    /// Latest values of extensions that publishers send on some packets only; subscribers get them on all.
    pub(crate) video_orientation: Option<u8>,
    pub(crate) playout_delay: Option<[u8; 3]>,
    /// Packets before this one are for no consumer (`private`); 0 on ordinary tracks.
    pub(crate) shown_from: u64,
    /// Dependency templates since the last keyframe.
    pub(crate) structure: Option<dependency::Structure>,
}

impl StreamIn {
    pub(crate) fn new(key: u64, ssrc: u32, rtx_ssrc: Option<u32>) -> Self {
        StreamIn {
            key,
            ssrc,
            rtx_ssrc,
            cache: PacketCache::default(),
            nacks: NackGenerator::default(),
            keyframes: KeyframeRequests::default(),
            clock: None,
            last_packet_at: None,
            stats: ReceiveStats::default(),
            received: Received::default(),
            fir_seq: 0,
            video_orientation: None,
            playout_delay: None,
            shown_from: 0,
            structure: None,
        }
    }

    /// A packet on the stream's own SSRC (not one brought back by RTX).
    pub(crate) fn count(&mut self, ext_seq: u64, rtp_ts: u32, clock_hz: u32, now: Time) {
        self.stats.on_packet(ext_seq, rtp_ts, clock_hz, now);
        self.last_packet_at = Some(now);
    }

    /// Takes note of a packet that came either way; false: it came before, or is too old to know.
    pub(crate) fn note(&mut self, ext_seq: u64) -> bool {
        self.received.note(ext_seq)
    }

    pub(crate) fn first_seq(&self) -> Option<u64> {
        self.stats.first
    }

    pub(crate) fn newest_seq(&self) -> Option<u64> {
        self.stats.first.map(|_| self.stats.newest)
    }

    pub(crate) fn set_clock(&mut self, info: &SenderInfo, now: Time) {
        self.clock = Some(SenderClock { ntp_time: info.ntp_time, rtp_ts: info.rtp_ts, arrival: now });
    }

    pub(crate) fn is_live(&self, now: Time, within_ms: u64) -> bool {
        self.last_packet_at.is_some_and(|at| now.since_ms(at) < within_ms)
    }

    /// A report block for what arrived since the last one.
    pub(crate) fn report(&mut self, now: Time) -> Option<ReportBlock> {
        self.stats.first?;
        let stats = &mut self.stats;
        let (expected, received) = (stats.expected(), stats.received);
        let expected_now = expected - stats.expected_before.min(expected);
        let received_now = received - stats.received_before.min(received);
        stats.expected_before = expected;
        stats.received_before = received;
        let lost_now = expected_now.saturating_sub(received_now);
        let fraction = (lost_now * 256).checked_div(expected_now).unwrap_or(0).min(255);
        let total = (expected as i64 - received as i64).clamp(-0x80_0000, 0x7f_ffff);
        let (last_sr, delay) = self.clock.map_or((0, 0), |clock| {
            let delay = u128::from(now.since_us(clock.arrival)) * 65_536 / 1_000_000;
            ((clock.ntp_time >> 16) as u32, delay as u32)
        });
        Some(ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: fraction as u8,
            total_lost: total as i32,
            highest_seq: stats.newest as u32,
            jitter: stats.jitter(),
            last_sr,
            delay_since_last_sr: delay,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_new_once_whichever_way_it_comes() {
        let mut received = Received::default();
        assert!([65_534, 65_536, 65_535, 65_540].into_iter().all(|seq| received.note(seq)));
        assert!([65_534, 65_536, 65_535, 65_540].into_iter().all(|seq| !received.note(seq)));
        assert!(received.note(65_540 + 5_000), "a jump forgets");
        assert!(!received.note(65_540), "and what is older than the window counts as seen");
        assert!(received.note(65_540 + 4_999));
    }

    #[test]
    fn every_packet_of_a_shuffled_stream_is_new_exactly_once() {
        let mut received = Received::default();
        for block in 0..200_u64 {
            for seq in (0..100).map(|at| block * 100 + at * 37 % 100) {
                assert!(received.note(seq) && !received.note(seq));
            }
        }
    }
}
