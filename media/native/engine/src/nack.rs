//! Which packets of a publisher's stream are missing and when to ask for them again (RFC 4585 §6.2.1).
//! Decides only; the transport writes the NACKs.

use crate::time::Time;
use holdspace_wire::seq::Seq;
use std::collections::VecDeque;

/// A hole younger than this may be mere reordering.
const REORDER_WAIT_US: u64 = 8_000;
const MAX_TRIES: u8 = 10;
/// A live picture cannot use a packet later than this; a recording can.
const GIVE_UP_US: u64 = 1_000_000;
const GIVE_UP_TAPED_US: u64 = 2_000_000;
/// A larger hole is an outage: a keyframe is cheaper than the packets.
const MAX_HOLE: u64 = 300;
const MAX_MISSING: usize = 512;
/// One NACK packet's worth; the rest follows at the next tick.
pub(crate) const MAX_PER_NACK: usize = 64;

struct Missing {
    ext_seq: u64,
    since: Time,
    asked_at: Time,
    next_at: Time,
    tries: u8,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// It had been asked for; with one request only, the time since then measures the round trip.
    pub(crate) recovered: bool,
    pub(crate) round_trip_us: Option<u64>,
    /// Packets given up because the hole is too large.
    pub(crate) given_up: u64,
}

#[derive(Default)]
pub(crate) struct NackGenerator {
    newest: Option<u64>,
    missing: VecDeque<Missing>,
}

impl NackGenerator {
    /// Forgets everything, as after mute.
    pub(crate) fn reset(&mut self) {
        *self = NackGenerator::default();
    }

    /// A retransmission fills holes only: it never opens one nor counts as the newest packet.
    pub(crate) fn on_packet(&mut self, ext_seq: u64, now: Time, is_rtx: bool) -> Arrived {
        let mut arrived = Arrived::default();
        let Some(newest) = self.newest else {
            self.newest = (!is_rtx).then_some(ext_seq);
            return arrived;
        };
        if ext_seq <= newest || is_rtx {
            let found = self.missing.binary_search_by_key(&ext_seq, |m| m.ext_seq);
            if let Some(hole) = found.ok().and_then(|at| self.missing.remove(at)) {
                arrived.recovered = hole.tries > 0;
                arrived.round_trip_us = (hole.tries == 1).then(|| now.since_us(hole.asked_at));
            }
            return arrived;
        }
        self.newest = Some(ext_seq);
        let hole = ext_seq - newest - 1;
        if hole > MAX_HOLE || self.missing.len() + hole as usize > MAX_MISSING {
            arrived.given_up = hole + self.missing.len() as u64;
            self.missing.clear();
            return arrived;
        }
        let next_at = now.plus_us(REORDER_WAIT_US);
        for ext_seq in newest + 1..ext_seq {
            self.missing.push_back(Missing { ext_seq, since: now, asked_at: now, next_at, tries: 0 });
        }
        arrived
    }

    /// A keyframe starts here: nobody watching needs what came before.
    pub(crate) fn forget_before(&mut self, ext_seq: u64) {
        while self.missing.front().is_some_and(|m| m.ext_seq < ext_seq) {
            self.missing.pop_front();
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.missing.iter().map(|m| m.next_at).min()
    }

    /// Fills `ask` with what to ask for now; returns how many were given up.
    pub(crate) fn due(&mut self, now: Time, rtt_us: u64, taped: bool, ask: &mut Vec<Seq>) -> u64 {
        let give_up_us = if taped { GIVE_UP_TAPED_US } else { GIVE_UP_US };
        let max_tries = if taped { MAX_TRIES * 2 } else { MAX_TRIES };
        let before = self.missing.len();
        self.missing.retain(|m| now < m.next_at || (m.tries < max_tries && now.since_us(m.since) < give_up_us));
        let given_up = before - self.missing.len();
        let wait_us = (rtt_us + rtt_us / 5).clamp(20_000, 300_000);
        for hole in self.missing.iter_mut().filter(|m| now >= m.next_at).take(MAX_PER_NACK) {
            hole.tries += 1;
            hole.asked_at = now;
            hole.next_at = now.plus_us(wait_us);
            ask.push(Seq(hole.ext_seq as u16));
        }
        given_up as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(nacks: &mut NackGenerator, now: Time) -> Vec<u16> {
        let mut seqs = Vec::new();
        nacks.due(now, 50_000, false, &mut seqs);
        seqs.into_iter().map(|seq| seq.0).collect()
    }

    #[test]
    fn a_hole_is_asked_for_after_the_reordering_wait_and_again_after_a_round_trip() {
        let mut nacks = NackGenerator::default();
        nacks.on_packet(65_534, Time(0), false);
        nacks.on_packet(65_537, Time(1_000), false);
        assert!(ask(&mut nacks, Time(5_000)).is_empty());
        assert_eq!(nacks.deadline(), Some(Time(9_000)));
        assert_eq!(ask(&mut nacks, Time(9_000)), [65_535, 0]);
        assert!(ask(&mut nacks, Time(60_000)).is_empty());
        assert_eq!(ask(&mut nacks, Time(69_000)), [65_535, 0]);
    }

    #[test]
    fn a_recovered_packet_tells_the_round_trip_only_when_asked_once() {
        let mut nacks = NackGenerator::default();
        nacks.on_packet(1, Time(0), false);
        nacks.on_packet(4, Time(0), false);
        ask(&mut nacks, Time(8_000));
        let arrived = nacks.on_packet(2, Time(38_000), false);
        assert_eq!((arrived.recovered, arrived.round_trip_us), (true, Some(30_000)));
        ask(&mut nacks, Time(68_000));
        let arrived = nacks.on_packet(3, Time(98_000), false);
        assert_eq!((arrived.recovered, arrived.round_trip_us), (true, None));
        assert_eq!(nacks.deadline(), None);
    }

    #[test]
    fn what_never_comes_is_given_up_later_when_taped() {
        for (taped, last_ms) in [(false, 1_000), (true, 2_000)] {
            let mut nacks = NackGenerator::default();
            nacks.on_packet(1, Time(0), false);
            nacks.on_packet(3, Time(0), false);
            let mut given_up_ms = 0;
            while let Some(at) = nacks.deadline() {
                nacks.due(at, 150_000, taped, &mut Vec::new());
                given_up_ms = at.0 / 1_000;
            }
            assert!((last_ms..last_ms + 200).contains(&given_up_ms), "{taped} {given_up_ms}");
        }
    }

    #[test]
    fn an_outage_is_given_up_at_once() {
        let mut nacks = NackGenerator::default();
        nacks.on_packet(1, Time(0), false);
        assert_eq!(nacks.on_packet(1_000, Time(0), false).given_up, 998);
        assert_eq!(nacks.deadline(), None);
    }
}
