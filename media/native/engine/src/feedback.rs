//! Transport-wide congestion control, both ways (draft-holmer-rmcat-transport-wide-cc-extensions-01): what arrived
//! from a publisher, to be reported; what was sent to a subscriber, to be judged when it reports.
//! Must not estimate: `Acknowledged` is the seam for the estimator.

use crate::time::Time;
use holdspace_wire::rtcp::{Arrivals, TransportCc, Writer};
use holdspace_wire::seq::{Seq, SeqUnwrapper};
use holdspace_wire::NoRoom;
use std::collections::VecDeque;

/// Chromium reacts to queues within a report or two; more often costs uplink for nothing.
const REPORT_EVERY_US: u64 = 60_000;
/// Reported numbers kept behind so that a late packet can still be told.
const KEPT_BEHIND: usize = 64;
/// A larger jump of the sender's counter starts afresh.
const MAX_JUMP: u64 = 2_000;

/// What arrived since the last report.
#[derive(Default)]
pub(crate) struct ArrivalRecorder {
    unwrapper: SeqUnwrapper,
    first: u64,
    arrivals_us: VecDeque<Option<i64>>,
    /// Next report starts here; smaller numbers have been told.
    unreported: u64,
    report_at: Option<Time>,
    feedback_count: u8,
}

impl ArrivalRecorder {
    pub(crate) fn record(&mut self, seq: Seq, now: Time) {
        let ext = self.unwrapper.unwrap(seq).0;
        let end = self.first + self.arrivals_us.len() as u64;
        if self.arrivals_us.is_empty() || ext.saturating_sub(end) > MAX_JUMP {
            self.arrivals_us.clear();
            self.first = ext;
            self.unreported = ext;
        }
        let Some(at) = ext.checked_sub(self.first) else { return };
        while self.arrivals_us.len() as u64 <= at {
            self.arrivals_us.push_back(None);
        }
        self.arrivals_us[at as usize].get_or_insert(now.0 as i64);
        self.unreported = self.unreported.min(ext);
        self.report_at.get_or_insert(now.plus_us(REPORT_EVERY_US));
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.report_at
    }

    /// One report; false when nothing (more) is due.
    pub(crate) fn write(&mut self, writer: &mut Writer<'_>, sender_ssrc: u32, media_ssrc: u32) -> Result<bool, NoRoom> {
        let start = (self.unreported - self.first) as usize;
        let pending = self.arrivals_us.make_contiguous();
        if !pending[start.min(pending.len())..].iter().any(Option::is_some) {
            self.settle(start);
            return Ok(false);
        }
        // Feedback begins with a packet that came: one told already, so that the lost ones after it are told, too.
        let told = pending[..start].iter().rposition(Option::is_some);
        let at = told.unwrap_or_else(|| start + pending[start..].iter().take_while(|p| p.is_none()).count());
        let reported = writer.transport_cc(&Arrivals {
            sender_ssrc,
            media_ssrc,
            feedback_count: self.feedback_count,
            base_seq: Seq((self.first + at as u64) as u16),
            arrivals_us: &pending[at..],
        })?;
        self.feedback_count = self.feedback_count.wrapping_add(1);
        self.settle((at + reported).max(start + 1));
        Ok(true)
    }

    fn settle(&mut self, told: usize) {
        let told = told.min(self.arrivals_us.len());
        self.unreported = self.first + told as u64;
        let gone = told.saturating_sub(KEPT_BEHIND);
        self.arrivals_us.drain(..gone);
        self.first += gone as u64;
        if told - gone == self.arrivals_us.len() {
            self.report_at = None;
        }
    }
}

/// One packet's fate, for the estimator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) ext_seq: u64,
    pub(crate) sent_at: Time,
    pub(crate) bytes: u16,
    /// On the peer's clock, relative to the feedback's reference; None: it did not arrive.
    pub(crate) arrival_us: Option<i64>,
}

#[derive(Clone, Copy, Default)]
struct SentPacket {
    ext_seq: u64,
    at: Time,
    bytes: u16,
}

const FIRST_SENT: usize = 128;
const MAX_SENT: usize = 8_192;
/// Feedback later than this says nothing about the present.
const SENT_KEPT_US: u64 = 1_000_000;

/// What was sent under which transport-wide number.
pub(crate) struct SentPackets {
    next: u64,
    ring: Vec<SentPacket>,
}

impl SentPackets {
    pub(crate) fn new() -> Self {
        // From 1, so that a zeroed ring entry never matches.
        SentPackets { next: 1, ring: Vec::new() }
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.next
    }

    pub(crate) fn record(&mut self, now: Time, bytes: usize) -> Seq {
        let number = self.next;
        self.next += 1;
        if self.ring.is_empty() {
            self.ring = vec![SentPacket::default(); FIRST_SENT];
        }
        let oldest = self.ring[number as usize & (self.ring.len() - 1)];
        if oldest.ext_seq != 0 && now.since_us(oldest.at) < SENT_KEPT_US && self.ring.len() < MAX_SENT {
            self.grow();
        }
        let mask = self.ring.len() - 1;
        self.ring[number as usize & mask] = SentPacket { ext_seq: number, at: now, bytes: bytes as u16 };
        Seq(number as u16)
    }

    fn grow(&mut self) {
        let size = self.ring.len() * 2;
        let mut ring = vec![SentPacket::default(); size];
        for packet in &self.ring {
            ring[packet.ext_seq as usize & (size - 1)] = *packet;
        }
        self.ring = ring;
    }

    /// Translates a peer's feedback; numbers never sent or forgotten are skipped.
    pub(crate) fn acknowledge(&self, feedback: &TransportCc<'_>, fates: &mut Vec<Acknowledged>) {
        if self.ring.is_empty() {
            return;
        }
        let newest = holdspace_wire::seq::ExtSeq(self.next - 1);
        for (seq, arrival_us) in feedback.statuses() {
            let number = newest.nearest(seq).0;
            let sent = self.ring[number as usize & (self.ring.len() - 1)];
            if number != 0 && sent.ext_seq == number {
                fates.push(Acknowledged { ext_seq: number, sent_at: sent.at, bytes: sent.bytes, arrival_us });
            }
        }
    }
}

/// What the latest feedback said; the congestion controller of a later issue grows here.
#[derive(Default, Debug)]
pub(crate) struct Delivery {
    pub(crate) acknowledged_bytes: u64,
    pub(crate) acknowledged_packets: u64,
    pub(crate) lost_packets: u64,
    pub(crate) newest_acknowledged: u64,
}

impl Delivery {
    pub(crate) fn on_feedback(&mut self, fates: &[Acknowledged]) {
        for fate in fates {
            if fate.arrival_us.is_some() {
                self.acknowledged_bytes += u64::from(fate.bytes);
                self.acknowledged_packets += 1;
                self.newest_acknowledged = self.newest_acknowledged.max(fate.ext_seq);
            } else {
                self.lost_packets += 1;
            }
        }
    }
}
