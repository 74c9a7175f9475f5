//! What one subscriber is sent and may be sent: the history of packets, the estimate made of its feedback, the pacer
//! and the probes that follow from it. `assemble` asks before it sends, `inbound_rtcp` brings what comes back.

use crate::bwe::estimator::Estimator;
use crate::bwe::history::{Acknowledged, SentPackets};
use crate::bwe::probe::Prober;
use crate::pacer::Pacer;
use crate::time::Time;
use crate::transport::DEFAULT_RTT_US;
use holdspace_wire::rtcp::TransportCc;

/// Peers whose estimate is so many times their load are not paced (DESIGN.md §2).
const UNPACED: f64 = 3.0;
/// Above the estimate, so that a frame does not wait for its own average; not while queues empty.
const PACE: f64 = 1.25;
const DRAIN_US: u64 = 1_000_000;
/// Video that is not yet known to have arrived may fill the path for so long beyond the round trip.
const STANDING_US: u64 = 250_000;
const LOAD_WINDOW_US: u64 = 150_000;
/// Feedback older than this: the peer has gone over to receiver reports alone.
const FEEDBACK_KEPT_US: u64 = 5_000_000;
const TOLD_EVERY_US: u64 = 200_000;
/// Differences under this are not told.
const TOLD_SHARE: f64 = 0.05;
/// Asked again after this when bytes in flight hold video back: feedback may come any moment.
const WINDOW_WAIT_US: u64 = 5_000;

/// Of what is sent, padding aside.
#[derive(Default)]
struct Load {
    bytes: u64,
    before: u64,
    since: Time,
    bps: f64,
}

impl Load {
    fn update(&mut self, now: Time) {
        let elapsed_us = now.since_us(self.since);
        if elapsed_us < LOAD_WINDOW_US {
            return;
        }
        let bps = (self.bytes - self.before) as f64 * 8e6 / elapsed_us as f64;
        self.bps = if elapsed_us > 10 * LOAD_WINDOW_US { bps } else { (self.bps + bps) / 2.0 };
        (self.before, self.since) = (self.bytes, now);
    }
}

#[derive(Default)]
pub(crate) struct Rate {
    pub(crate) history: SentPackets,
    pub(crate) prober: Prober,
    pub(crate) fates: Vec<Acknowledged>,
    estimator: Estimator,
    pacer: Pacer,
    load: Load,
    feedback_at: Option<Time>,
    told: Option<(f64, bool)>,
    told_at: Time,
    pub(crate) acknowledged_packets: u64,
    pub(crate) lost_packets: u64,
    /// ICE-TCP: the path loses nothing; what is missing was cut from the queue of a slow reader, here.
    pub(crate) over_stream: bool,
}

impl Rate {
    pub(crate) fn new() -> Self {
        let mut rate = Rate::default();
        rate.prober.start(Time(0));
        rate
    }

    pub(crate) fn estimate_bps(&self, now: Time) -> Option<u64> {
        self.estimator.bps(now).map(|bps| bps as u64)
    }

    pub(crate) fn is_limit(&self) -> bool {
        self.estimator.is_limit()
    }

    pub(crate) fn load_bps(&self) -> u64 {
        self.load.bps as u64
    }

    pub(crate) fn paced_bps(&self) -> Option<u64> {
        self.pacer.bps().map(|bps| bps as u64)
    }

    /// Another path: nothing that was learned holds there.
    pub(crate) fn restart(&mut self, now: Time) {
        self.estimator = Estimator::default();
        self.pacer.set(None);
        self.prober.start(now);
        self.history.forget();
    }

    /// Bytes of video that may leave now, or when to ask again. One look for peers that are not paced.
    pub(crate) fn budget(&self, now: Time, rtt_us: Option<u64>) -> Result<usize, Time> {
        let Some(bps) = self.pacer.bps() else { return Ok(usize::MAX) };
        let window_us = rtt_us.unwrap_or(DEFAULT_RTT_US) + STANDING_US;
        if self.history.bytes_in_flight() as f64 * 8e6 > bps * window_us as f64 {
            return Err(now.plus_us(WINDOW_WAIT_US));
        }
        self.pacer.budget(now)
    }

    /// The path has emptied so far that a keyframe may start.
    pub(crate) fn is_drained(&self, rtt_us: Option<u64>) -> bool {
        let Some(bps) = self.pacer.bps() else { return true };
        let window_us = rtt_us.unwrap_or(DEFAULT_RTT_US) + STANDING_US / 4;
        self.history.bytes_in_flight() as f64 * 8e6 <= bps * window_us as f64
    }

    pub(crate) fn is_paced(&self) -> bool {
        self.pacer.bps().is_some()
    }

    pub(crate) fn on_sent(&mut self, bytes: usize, packets: u32, now: Time) {
        self.load.bytes += bytes as u64;
        self.pacer.spend(bytes, now);
        self.prober.on_sent(packets, now);
    }

    pub(crate) fn on_padding(&mut self, bytes: usize, packets: u32, now: Time) {
        self.pacer.spend(bytes, now);
        self.prober.on_sent(packets, now);
    }

    pub(crate) fn on_feedback(&mut self, feedback: &TransportCc<'_>, rtt_us: Option<u64>, now: Time) {
        self.fates.clear();
        self.history.acknowledge(feedback, &mut self.fates);
        let lost = self.fates.iter().filter(|fate| fate.arrival_us.is_none()).count() as u64;
        self.lost_packets += lost;
        self.acknowledged_packets += self.fates.len() as u64 - lost;
        if self.over_stream {
            self.fates.retain(|fate| fate.arrival_us.is_some());
        }
        self.feedback_at = Some(now);
        self.load.update(now);
        let rtt_us = rtt_us.unwrap_or(DEFAULT_RTT_US);
        let lowered = self.estimator.on_feedback(&self.fates, self.load.bps, rtt_us, now);
        let present = self.estimator.bps(now).unwrap_or(0.0);
        if let Some(found) = self.prober.on_feedback(&self.fates, present, now) {
            self.estimator.on_probe(found);
        }
        self.settle(lowered, now);
    }

    /// One block of a receiver report, of use only where there is no transport-wide feedback.
    pub(crate) fn on_report(&mut self, fraction_lost: f64, packets: u64, now: Time) {
        if self.over_stream || self.feedback_at.is_some_and(|at| now.since_us(at) < FEEDBACK_KEPT_US) {
            return;
        }
        self.load.update(now);
        let lowered = self.estimator.on_report(fraction_lost, packets, self.load.bps, now);
        self.settle(lowered, now);
    }

    pub(crate) fn on_remb(&mut self, bps: u64, now: Time) {
        self.load.update(now);
        let lowered = self.estimator.on_remb(bps, self.load.bps, now);
        self.settle(lowered, now);
    }

    fn settle(&mut self, lowered: bool, now: Time) {
        if lowered {
            self.prober.on_decrease(now);
        }
        let bps = self.estimator.bps(now).filter(|bps| self.is_limit() && *bps < self.load.bps * UNPACED);
        let drains = self.estimator.lowered_at().is_some_and(|at| now.since_us(at) < DRAIN_US);
        let factor = if drains || !self.estimator.is_calm() { 1.0 } else { PACE };
        self.pacer.set(bps.map(|bps| bps * factor));
    }

    /// Bytes of padding that are due.
    pub(crate) fn padding_due(&mut self, now: Time) -> Option<usize> {
        let present = self.estimator.bps(now).unwrap_or(0.0);
        let is_calm = self.estimator.is_calm();
        self.prober.due(present, self.estimator.is_limit(), is_calm, now)
    }

    /// What Python has not been told yet: (bits/s, whether it is a limit). Without a limit nothing follows from a rate.
    pub(crate) fn take_news(&mut self, now: Time) -> Option<(u64, bool)> {
        let present = (self.estimator.bps(now)?, self.estimator.is_limit());
        let is_news = self.told.is_none_or(|(told_bps, told_limit)| {
            let fell = present.0 < told_bps * (1.0 - TOLD_SHARE);
            let grew = present.0 > told_bps * (1.0 + TOLD_SHARE);
            told_limit != present.1 || present.1 && (fell || (grew && now.since_us(self.told_at) >= TOLD_EVERY_US))
        });
        if !is_news {
            return None;
        }
        (self.told, self.told_at) = (Some(present), now);
        Some((present.0 as u64, present.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fall_is_told_at_once_and_growth_in_steps() {
        let mut rate = Rate::default();
        assert_eq!(rate.take_news(Time(0)), None, "nothing is known");
        rate.on_sent(100_000, 80, Time(0));
        rate.on_report(0.0, 100, Time(1_000_000));
        let (first, is_limit) = rate.take_news(Time(1_000_000)).expect("known now");
        assert!(!is_limit);
        assert_eq!(rate.take_news(Time(1_000_001)), None);
        rate.on_sent(500_000, 400, Time(1_000_001));
        rate.on_report(0.0, 100, Time(1_300_000));
        assert!(rate.estimate_bps(Time(1_300_000)) > Some(first));
        assert_eq!(rate.take_news(Time(1_300_000)), None, "no limit: nothing follows from it");
        rate.on_remb(100_000, Time(1_300_001));
        assert_eq!(rate.take_news(Time(1_300_001)), Some((100_000, true)), "a fall: at once");
        rate.on_remb(120_000, Time(1_450_000));
        assert_eq!(rate.take_news(Time(1_450_000)), None, "growth: in steps");
        let grown = rate.estimate_bps(Time(1_501_000));
        assert!(grown > Some(105_000), "{grown:?}");
        assert_eq!(rate.take_news(Time(1_501_000)), grown.map(|bps| (bps, true)));
        assert_eq!(rate.paced_bps(), Some(120_000));
    }
}
