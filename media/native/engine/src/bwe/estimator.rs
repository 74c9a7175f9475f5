//! One number per subscriber out of delay, loss, probes and the peer's own REMB, and whether it is a limit of the path
//! or only of what there was to send. The latter is never used as a cap.

use super::acked::AckedRate;
use super::aimd::{Aimd, Measured, MAX_BPS, MIN_BPS};
use super::arrival::ArrivalGroups;
use super::history::Acknowledged;
use super::loss::LossControl;
use super::trendline::{Trendline, Usage};
use crate::time::Time;

/// An estimate so far above the load no longer limits anything.
const FREE: f64 = 3.0;
/// A queue that delays by so much more than the least seen stands.
const STANDING_US: i64 = 120_000;
/// One that delays by less than this has emptied, whatever the slope remembers of it; a frame's own packets do so much.
const EMPTY_US: i64 = 30_000;
/// So long after the rate was lowered: later an empty queue may be one that is always short.
const EMPTIES_MS: u64 = 2_000;
/// Less than this share of what is sent arrives.
const OUTPACED: f64 = 0.75;
/// Reports lost in a row cover no more packets than this; more is another beginning.
const MAX_UNTOLD: u64 = 500;
const LEAST_DELAY_US: u64 = 10_000_000;
/// A REMB not repeated for so long has no force.
const REMB_KEPT_US: u64 = 5_000_000;

#[derive(Default)]
pub(crate) struct Estimator {
    groups: ArrivalGroups,
    trend: Trendline,
    acked: AckedRate,
    aimd: Aimd,
    loss: LossControl,
    remb: Option<(f64, Time)>,
    is_known: bool,
    is_limit: bool,
    lowered_at: Option<Time>,
    newest_told: u64,
    least_delay: LeastDelay,
}

/// The least one-way delay of the last 10 to 20 s: the way with empty queues. Between two clocks, so only differences
/// mean something.
#[derive(Default)]
struct LeastDelay {
    since: Time,
    present_us: Option<i64>,
    before_us: Option<i64>,
}

impl LeastDelay {
    /// How far above the least.
    fn excess_us(&mut self, delay_us: i64, now: Time) -> i64 {
        if now.since_us(self.since) > LEAST_DELAY_US {
            self.before_us = self.present_us.take();
            self.since = now;
        }
        let present_us = self.present_us.map_or(delay_us, |us| us.min(delay_us));
        self.present_us = Some(present_us);
        delay_us.saturating_sub(self.before_us.map_or(present_us, |us| us.min(present_us)))
    }
}

impl Estimator {
    /// None before any feedback.
    pub(crate) fn bps(&self, now: Time) -> Option<f64> {
        if !self.is_known {
            return None;
        }
        let remb = self.remb.filter(|(_, at)| now.since_us(*at) < REMB_KEPT_US).map(|(bps, _)| bps);
        let limits = [self.loss.bps(), remb].into_iter().flatten();
        Some(limits.fold(self.aimd.bps(), f64::min).clamp(MIN_BPS, MAX_BPS))
    }

    /// The path showed the estimate; otherwise there was only too little to send.
    pub(crate) fn is_limit(&self) -> bool {
        self.is_limit
    }

    /// Queues are still and the last decrease was long enough ago to ask for more.
    pub(crate) fn is_calm(&self) -> bool {
        self.trend.usage() == Usage::Normal
    }

    pub(crate) fn lowered_at(&self) -> Option<Time> {
        self.lowered_at
    }

    /// Transport-wide feedback, in order of numbers. True: the estimate was lowered.
    pub(crate) fn on_feedback(&mut self, fates: &[Acknowledged], sent_bps: f64, rtt_us: u64, now: Time) -> bool {
        if fates.is_empty() {
            return false;
        }
        let newest = fates[fates.len() - 1].ext_seq;
        // A report that was overtaken: what it tells of has been credited, and its delays are not of now.
        let is_late = newest <= self.newest_told;
        if !is_late {
            self.credit_untold(fates);
            self.newest_told = newest;
        }
        let (mut lost, mut counted) = (0, 0);
        for fate in fates {
            // What was sent before the last decrease was lost to the old rate.
            let is_recent = self.lowered_at.is_none_or(|at| fate.sent_at > at);
            counted += u64::from(is_recent);
            let Some(arrival_us) = fate.arrival_us else {
                lost += u64::from(is_recent);
                continue;
            };
            if !is_late {
                self.acked.on_packet(arrival_us, fate.bytes);
            }
            if let Some(delta) = self.groups.on_packet(fate.sent_at, arrival_us) {
                self.trend.update(delta);
            }
        }
        let queue_us = if is_late { None } else { self.queue_us(fates, now) };
        let outpaced = self.acked.recent_bps().is_some_and(|acked| acked < sent_bps * OUTPACED);
        let stands = outpaced && queue_us.is_some_and(|us| us > STANDING_US);
        let emptied =
            self.lowered_at.is_some_and(|at| now.since_ms(at) < EMPTIES_MS) && queue_us.is_some_and(|us| us < EMPTY_US);
        let usage = match self.trend.usage() {
            _ if stands => Usage::Over,
            // What arrives now is what little was sent while it emptied, not what the path carries.
            Usage::Over if emptied => Usage::Under,
            usage => usage,
        };
        let measured = Measured {
            usage,
            stands,
            recent_bps: self.acked.recent_bps(),
            steady_bps: self.acked.steady_bps(),
            sent_bps,
            rtt_us,
        };
        let mut lowered = !is_late && self.aimd.update(&measured, now);
        if measured.usage == Usage::Normal && !self.is_limit {
            // It came through without a queue: the path carries at least that.
            measured.steady_bps.into_iter().for_each(|bps| self.aimd.raise(bps));
        }
        lowered |= self.loss.on_packets(lost, counted, self.present(sent_bps, now), now);
        self.settle(lowered, sent_bps, now);
        lowered
    }

    /// A report was lost: what it told of is not nothing, and is taken to have arrived.
    fn credit_untold(&mut self, fates: &[Acknowledged]) {
        let untold = fates[0].ext_seq.saturating_sub(self.newest_told + 1);
        let Some(arrival_us) = fates.iter().find_map(|fate| fate.arrival_us).filter(|_| untold > 0) else { return };
        if untold > MAX_UNTOLD || self.newest_told == 0 {
            self.acked = AckedRate::default();
            return;
        }
        let bytes = fates.iter().map(|fate| u64::from(fate.bytes)).sum::<u64>() / fates.len() as u64;
        self.acked.credit(untold, bytes as u16, arrival_us);
    }

    /// By how much the queue delays the newest packet told of. The trend needs complete groups, and a frame that takes a
    /// quarter of a second to arrive makes few: a standing queue shows sooner in the delay of what arrives. One way,
    /// because feedback may wait in queues of its own.
    fn queue_us(&mut self, fates: &[Acknowledged], now: Time) -> Option<i64> {
        let newest = fates.iter().rev().find_map(|fate| Some((fate.arrival_us?, fate.sent_at)));
        let (arrival_us, sent_at) = newest?;
        Some(self.least_delay.excess_us(arrival_us.saturating_sub(sent_at.0 as i64), now))
    }

    /// Where a decrease for loss begins: what is sent, not what might be; while video waits for the path to empty, what
    /// arrives was sent before.
    fn present(&self, sent_bps: f64, now: Time) -> f64 {
        let used_bps = self.acked.steady_bps().map_or(sent_bps, |acked| acked.max(sent_bps));
        self.bps(now).unwrap_or(used_bps).min(used_bps.max(MIN_BPS) * 1.5)
    }

    /// A receiver report of a peer without transport-wide feedback: loss is all there is to go by.
    pub(crate) fn on_report(&mut self, fraction_lost: f64, packets: u64, sent_bps: f64, now: Time) -> bool {
        let lost = (fraction_lost * packets as f64).round() as u64;
        let lowered = self.loss.on_packets(lost, packets, self.present(sent_bps, now), now);
        // Without delays to watch, what arrives is carried, and a little more may be.
        if self.loss.average() < 0.02 {
            self.aimd.raise(sent_bps * 1.5);
        }
        self.settle(lowered, sent_bps, now);
        lowered
    }

    /// The peer's own estimate. True: it lowered ours.
    pub(crate) fn on_remb(&mut self, bps: u64, sent_bps: f64, now: Time) -> bool {
        let before = self.bps(now);
        self.remb = Some((bps as f64, now));
        let lowered = before.is_some_and(|before| (bps as f64) < before * 0.97) && (bps as f64) < sent_bps * FREE;
        self.aimd.raise((bps as f64).min(sent_bps * 1.5));
        self.settle(lowered, sent_bps, now);
        lowered
    }

    /// A burst of padding came through at this rate.
    pub(crate) fn on_probe(&mut self, bps: f64) {
        self.is_known = true;
        self.aimd.raise(bps);
        self.loss.on_probe(bps);
    }

    fn settle(&mut self, lowered: bool, sent_bps: f64, now: Time) {
        self.is_known = true;
        if lowered {
            self.is_limit = true;
            self.lowered_at = Some(now);
        } else if self.bps(now).is_some_and(|bps| bps > sent_bps * FREE && bps >= 1_000_000.0) {
            self.is_limit = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path of a rate and a tail-drop buffer, a sender that obeys or not; feedback every 50 ms, 20 ms away.
    struct Path {
        estimator: Estimator,
        capacity_bps: f64,
        buffer_ms: f64,
        free_at_us: f64,
        number: u64,
        random: u64,
        loss_of_1000: u64,
        now_us: u64,
        flying: Vec<Acknowledged>,
    }

    impl Path {
        fn new(capacity_bps: f64) -> Path {
            Path {
                estimator: Estimator::default(),
                capacity_bps,
                buffer_ms: 500.0,
                free_at_us: 0.0,
                number: 0,
                random: 9,
                loss_of_1000: 0,
                now_us: 0,
                flying: Vec::new(),
            }
        }

        fn chance(&mut self) -> u64 {
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.random >> 33) % 1_000
        }

        fn send(&mut self, bytes: u16) {
            self.number += 1;
            let now = self.now_us as f64;
            let starts = self.free_at_us.max(now);
            let dropped = starts - now > self.buffer_ms * 1e3;
            let lost = self.chance() < self.loss_of_1000;
            if !dropped {
                self.free_at_us = starts + f64::from(bytes) * 8e6 / self.capacity_bps;
            }
            let arrival_us = (!dropped && !lost).then_some(self.free_at_us as i64 + 20_000);
            self.flying.push(Acknowledged {
                ext_seq: self.number,
                sent_at: Time(self.now_us),
                bytes,
                cluster: 0,
                arrival_us,
            });
        }

        /// Sends `rate(estimate)` in frames at 30 fps; answers the estimate at the end.
        fn run(&mut self, seconds: u64, rate: impl Fn(f64) -> f64) -> f64 {
            let mut bps = 0.0;
            for ms in 0..seconds * 1_000 {
                self.now_us += 1_000;
                if ms % 33 == 0 {
                    bps = rate(self.estimator.bps(Time(self.now_us)).unwrap_or(300_000.0));
                    let mut left = bps * 0.033 / 8.0;
                    while left > 0.0 {
                        self.send(left.min(1_200.0) as u16);
                        left -= 1_200.0;
                    }
                }
                if ms % 50 == 0 {
                    let seen = (self.now_us - 20_000.min(self.now_us)) as i64;
                    let told = self.flying.iter().position(|fate| fate.arrival_us.is_some_and(|at| at > seen));
                    let fates: Vec<Acknowledged> = self.flying.drain(..told.unwrap_or(self.flying.len())).collect();
                    self.estimator.on_feedback(&fates, bps, 60_000, Time(self.now_us));
                }
            }
            self.estimator.bps(Time(self.now_us)).expect("feedback came")
        }
    }

    #[test]
    fn traffic_that_comes_through_is_no_limit() {
        let mut path = Path::new(10e6);
        let bps = path.run(10, |_| 800_000.0);
        assert!(bps > 750_000.0 && !path.estimator.is_limit(), "{bps}");
        path.run(10, |_| 40_000.0);
        assert!(!path.estimator.is_limit(), "less to send is no limit");
    }

    #[test]
    fn a_drop_to_300_kbit_is_found_within_a_second_and_kept_to() {
        let mut path = Path::new(5e6);
        path.run(10, |_| 2e6);
        path.capacity_bps = 300_000.0;
        let first = path.run(1, |bps| bps.min(2e6));
        assert!(path.estimator.is_limit() && first < 450_000.0, "{first}");
        for _ in 0..20 {
            let bps = path.run(1, |bps| bps.min(2e6));
            assert!((120_000.0..400_000.0).contains(&bps), "{bps}");
        }
        path.capacity_bps = 5e6;
        let after = path.run(20, |bps| bps.min(2e6));
        assert!(after > 600_000.0, "{after}: grows without probes, too");
    }

    #[test]
    fn random_loss_is_no_reason_to_starve() {
        for loss in [10, 50, 100] {
            let mut path = Path::new(5e6);
            path.run(10, |_| 1.2e6);
            path.loss_of_1000 = loss;
            let bps = path.run(60, |bps| bps.min(1.2e6));
            assert!(bps > 800_000.0, "{loss}: {bps}");
        }
    }

    #[test]
    fn a_peer_without_feedback_is_judged_by_its_reports() {
        let mut estimator = Estimator::default();
        let mut bps = 0.0;
        for s in 1..30 {
            estimator.on_report(0.0, 100, 1e6, Time(s * 1_000_000));
            bps = estimator.bps(Time(s * 1_000_000)).expect("known");
        }
        assert!(bps > 1e6 && !estimator.is_limit());
        for s in 30..40 {
            estimator.on_report(0.4, 100, bps.min(1e6), Time(s * 1_000_000));
            bps = estimator.bps(Time(s * 1_000_000)).expect("known");
        }
        assert!(bps < 600_000.0 && estimator.is_limit(), "{bps}");
    }

    #[test]
    fn a_peers_own_estimate_counts_while_it_is_repeated() {
        let mut estimator = Estimator::default();
        estimator.on_report(0.0, 100, 1e6, Time(1));
        assert!(estimator.on_remb(200_000, 1e6, Time(1_000_000)));
        assert_eq!(estimator.bps(Time(1_000_000)), Some(200_000.0));
        assert!(estimator.is_limit());
        assert!(estimator.bps(Time(9_000_000)).expect("known") > 1e6);
        estimator.on_remb(0, 1e6, Time(9_000_000));
        assert_eq!(estimator.bps(Time(9_000_000)), Some(MIN_BPS));
    }
}
