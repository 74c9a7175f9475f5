//! What was sent to a subscriber under which transport-wide number, to be judged when it reports
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01). One entry per packet, written once, in constant time.

use crate::time::Time;
use holdspace_wire::rtcp::TransportCc;
use holdspace_wire::seq::{ExtSeq, Seq};

const FIRST_SENT: usize = 128;
const MAX_SENT: usize = 8_192;
/// Feedback later than this says nothing about the present; a path whose buffers hold more is useless for talking.
const SENT_KEPT_US: u64 = 2_000_000;
/// The reference time of feedback counts in these, in 24 bits.
const REFERENCE_US: i64 = 64_000;

/// One packet's fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) ext_seq: u64,
    pub(crate) sent_at: Time,
    pub(crate) bytes: u16,
    /// The probe it was sent in; 0: none.
    pub(crate) cluster: u8,
    /// On the peer's clock; None: it did not arrive.
    pub(crate) arrival_us: Option<i64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Fate {
    #[default]
    Flying,
    Lost,
    Arrived,
}

#[derive(Clone, Copy, Default)]
struct SentPacket {
    ext_seq: u64,
    at: Time,
    /// Of everything sent up to and with this packet.
    total_bytes: u64,
    bytes: u16,
    cluster: u8,
    fate: Fate,
}

#[derive(Default)]
pub(crate) struct SentPackets {
    /// The newest number given out; 0: none.
    newest: u64,
    ring: Vec<SentPacket>,
    total_bytes: u64,
    acknowledged_total: u64,
    newest_acknowledged: u64,
    reference: Option<i64>,
}

impl SentPackets {
    pub(crate) fn next_number(&self) -> u64 {
        self.newest + 1
    }

    pub(crate) fn record(&mut self, now: Time, bytes: usize, cluster: u8) -> Seq {
        self.newest += 1;
        let number = self.newest;
        if self.ring.is_empty() {
            self.ring = vec![SentPacket::default(); FIRST_SENT];
        }
        let oldest = self.ring[number as usize & (self.ring.len() - 1)];
        if oldest.ext_seq != 0 && now.since_us(oldest.at) < SENT_KEPT_US && self.ring.len() < MAX_SENT {
            self.grow();
        }
        self.total_bytes += bytes as u64;
        let mask = self.ring.len() - 1;
        let total_bytes = self.total_bytes;
        self.ring[number as usize & mask] =
            SentPacket { ext_seq: number, at: now, total_bytes, bytes: bytes as u16, cluster, fate: Fate::Flying };
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

    fn entry(&mut self, number: u64) -> Option<&mut SentPacket> {
        let mask = self.ring.len().checked_sub(1)?;
        Some(&mut self.ring[number as usize & mask]).filter(|sent| number != 0 && sent.ext_seq == number)
    }

    /// Another path: what went by the old one is no longer judged.
    pub(crate) fn forget(&mut self) {
        self.ring.clear();
        (self.acknowledged_total, self.newest_acknowledged) = (self.total_bytes, self.newest);
    }

    /// These never left the machine: feedback that calls them lost must not count against the path.
    pub(crate) fn mark_unsent(&mut self, first: u64, count: u64) {
        for number in first..first.saturating_add(count.min(MAX_SENT as u64)) {
            if let Some(sent) = self.entry(number) {
                sent.ext_seq = 0;
            }
        }
    }

    /// Bytes sent after the newest packet that is known to have arrived.
    pub(crate) fn bytes_in_flight(&self) -> u64 {
        self.total_bytes - self.acknowledged_total
    }

    /// Translates a peer's feedback; numbers never sent, forgotten or told before are skipped.
    pub(crate) fn acknowledge(&mut self, feedback: &TransportCc<'_>, fates: &mut Vec<Acknowledged>) {
        if self.newest == 0 {
            return;
        }
        let reference_us = self.unwrap_reference(feedback.reference_time) * REFERENCE_US;
        let newest = ExtSeq(self.newest);
        for (seq, arrival) in feedback.statuses() {
            let number = newest.nearest(seq).0;
            let Some(sent) = self.entry(number) else { continue };
            let arrival_us = arrival.map(|us| us.saturating_add(reference_us));
            match (sent.fate, arrival_us) {
                (Fate::Arrived, _) | (Fate::Lost, None) => continue,
                (_, None) => sent.fate = Fate::Lost,
                (_, Some(_)) => sent.fate = Fate::Arrived,
            }
            let (sent_at, bytes, cluster, total) = (sent.at, sent.bytes, sent.cluster, sent.total_bytes);
            if arrival_us.is_some() && number > self.newest_acknowledged {
                self.newest_acknowledged = number;
                self.acknowledged_total = total;
            }
            fates.push(Acknowledged { ext_seq: number, sent_at, bytes, cluster, arrival_us });
        }
    }

    /// The peer's 24-bit counter of 64 ms goes round every 12 days.
    fn unwrap_reference(&mut self, wrapped: i32) -> i64 {
        let before = self.reference.unwrap_or(i64::from(wrapped));
        let step = (wrapped.wrapping_sub(before as i32) << 8) >> 8;
        let reference = before + i64::from(step);
        self.reference = Some(reference);
        reference
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdspace_wire::rtcp::{parse_untrusted, Arrivals, Packet, Writer};

    fn feed(sent: &mut SentPackets, base: u16, arrivals_us: &[Option<i64>]) -> Vec<Acknowledged> {
        let mut bytes = [0; 600];
        let mut writer = Writer::new(&mut bytes);
        let arrivals = Arrivals { sender_ssrc: 1, media_ssrc: 2, feedback_count: 0, base_seq: Seq(base), arrivals_us };
        writer.transport_cc(&arrivals).expect("room");
        let len = writer.len();
        let mut fates = Vec::new();
        for part in parse_untrusted(&bytes[..len]) {
            let Ok(Packet::TransportCc(feedback)) = part else { panic!("feedback") };
            sent.acknowledge(&feedback, &mut fates);
        }
        fates
    }

    #[test]
    fn every_packet_is_judged_once_and_a_late_one_after_its_loss() {
        let mut sent = SentPackets::default();
        (0..5).for_each(|at| assert_eq!(sent.record(Time(at * 1_000), 100, 0).0, at as u16 + 1));
        let arrived = |fates: &[Acknowledged]| fates.iter().map(|f| (f.ext_seq, f.arrival_us)).collect::<Vec<_>>();
        let first = feed(&mut sent, 1, &[Some(64_000), None, Some(65_000)]);
        assert_eq!(arrived(&first), [(1, Some(64_000)), (2, None), (3, Some(65_000))]);
        assert_eq!(sent.bytes_in_flight(), 200);
        let second = feed(&mut sent, 1, &[Some(64_000), Some(70_000), None, None, None, None]);
        assert_eq!(arrived(&second), [(2, Some(70_000)), (4, None), (5, None)], "number 6 was never sent");
    }

    #[test]
    fn what_was_not_sent_is_not_judged() {
        let mut sent = SentPackets::default();
        (0..4).for_each(|_| {
            sent.record(Time(0), 100, 0);
        });
        sent.mark_unsent(2, 2);
        sent.mark_unsent(0, u64::MAX);
        let mut sent_again = SentPackets::default();
        (0..4).for_each(|_| {
            sent_again.record(Time(0), 100, 0);
        });
        sent_again.mark_unsent(2, 2);
        let fates = feed(&mut sent_again, 1, &[Some(0), None, None, Some(0)]);
        assert_eq!(fates.iter().map(|fate| fate.ext_seq).collect::<Vec<_>>(), [1, 4]);
        assert!(feed(&mut sent, 1, &[Some(0), None]).is_empty());
    }

    #[test]
    fn numbers_and_the_peers_clock_go_on_across_their_wraps() {
        let mut sent = SentPackets::default();
        (0..65_600_u64).for_each(|at| {
            sent.record(Time(at * 100), 100, 0);
        });
        let wrap_us = (1_i64 << 23) * REFERENCE_US;
        let before = feed(&mut sent, 65_530, &[Some(wrap_us - 1_000)]);
        let after = feed(&mut sent, 2, &[Some(wrap_us + 1_000)]);
        assert_eq!((before[0].ext_seq, after[0].ext_seq), (65_530, 65_538));
        assert_eq!(after[0].arrival_us.unwrap() - before[0].arrival_us.unwrap(), 2_000);
    }
}
