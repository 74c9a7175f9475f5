//! The delay-based rate: up while queues are still, down to a share of what arrives when they grow
//! (draft-ietf-rmcat-gcc-02 §5.6).

use super::trendline::Usage;
use crate::time::Time;

/// Nothing useful fits under this; a path that carries less loses packets and says so.
pub(crate) const MIN_BPS: f64 = 30_000.0;
/// Above what any subscriber here is sent.
pub(crate) const MAX_BPS: f64 = 50_000_000.0;
/// Before anything is known.
pub(crate) const START_BPS: f64 = 300_000.0;
/// Of what arrives, once queues grow: the rest lets them empty.
const DECREASE: f64 = 0.85;
/// A single look at what arrives may be wrong by much; the next is a round trip away.
const MOST_AT_ONCE: f64 = 0.3;
/// Per second, far from where queues grew last.
const INCREASE: f64 = 1.08;
/// Without traffic of that size the estimate would be a guess.
const ABOVE_ACKED: f64 = 1.5;
const ABOVE_ACKED_BPS: f64 = 10_000.0;
/// Weight of a new sight of the path's limit.
const LIMIT_WEIGHT: f64 = 0.05;
/// Queues that a decrease left behind are empty by then.
const DRAIN_US: u64 = 1_500_000;
const PACKET_BITS: f64 = 1_200.0 * 8.0;
const MIN_ADD_BPS: f64 = 4_000.0;
/// Sending less than this share of the rate cannot have filled the path.
const IDLE_SHARE: f64 = 0.5;

/// What the latest feedback measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) usage: Usage,
    /// Arrived lately; None: too little was seen.
    pub(crate) recent_bps: Option<f64>,
    pub(crate) steady_bps: Option<f64>,
    pub(crate) sent_bps: f64,
    pub(crate) rtt_us: u64,
}

/// Where queues grew lately: an average and its variance relative to it.
#[derive(Clone, Copy)]
struct Limit {
    bps: f64,
    variance: f64,
}

pub(crate) struct Aimd {
    bps: f64,
    updated_at: Option<Time>,
    decreased_at: Option<Time>,
    increases: bool,
    limit: Option<Limit>,
}

impl Default for Aimd {
    fn default() -> Self {
        Aimd { bps: START_BPS, updated_at: None, decreased_at: None, increases: true, limit: None }
    }
}

impl Aimd {
    pub(crate) fn bps(&self) -> f64 {
        self.bps
    }

    /// A probe found room, or a peer's own estimate is known to be good.
    pub(crate) fn raise(&mut self, bps: f64) {
        if bps > self.bps {
            self.bps = bps.min(MAX_BPS);
            self.limit = self.limit.filter(|limit| limit.is_near(bps) || limit.bps > bps);
        }
    }

    /// True: it was lowered.
    pub(crate) fn update(&mut self, measured: &Measured, now: Time) -> bool {
        let elapsed_s = self.updated_at.replace(now).map_or(0.0, |at| now.since_us(at) as f64 / 1e6).min(1.0);
        match measured.usage {
            Usage::Over => {
                let lowered = self.may_decrease(measured, now);
                if lowered {
                    self.decrease(measured, now);
                }
                self.increases = false;
                lowered
            }
            Usage::Under => {
                self.increases = false;
                false
            }
            // One report of calm before growth begins.
            Usage::Normal if !self.increases => {
                self.increases = true;
                false
            }
            Usage::Normal => {
                self.increase(measured, elapsed_s);
                false
            }
        }
    }

    /// Again only after the last decrease could show, or when far less arrives than we thought.
    fn may_decrease(&self, measured: &Measured, now: Time) -> bool {
        // What is held back while queues empty proves nothing new.
        let wait_us = if self.is_idle(measured) { DRAIN_US } else { measured.rtt_us.clamp(50_000, 300_000) };
        let shown = self.decreased_at.is_none_or(|at| now.since_us(at) >= wait_us);
        shown || measured.recent_bps.is_some_and(|acked| acked < self.bps * 0.5 && !self.is_idle(measured))
    }

    fn is_idle(&self, measured: &Measured) -> bool {
        measured.sent_bps < self.bps * IDLE_SHARE
    }

    fn decrease(&mut self, measured: &Measured, now: Time) {
        let acked = measured.recent_bps.filter(|_| !self.is_idle(measured));
        if let Some(acked) = acked {
            self.limit = Some(Limit::seen(self.limit, acked));
        }
        let wanted = acked.unwrap_or(self.bps) * DECREASE;
        self.bps = wanted.max(self.bps * MOST_AT_ONCE).max(MIN_BPS).min(self.bps);
        self.decreased_at = Some(now);
    }

    fn increase(&mut self, measured: &Measured, elapsed_s: f64) {
        let acked = measured.steady_bps.unwrap_or(0.0);
        self.limit = self.limit.filter(|limit| acked <= limit.bps || limit.is_near(acked));
        let near = self.limit.is_some_and(|limit| limit.is_near(self.bps));
        let wanted = if near {
            // About one packet per response time.
            let response_s = (measured.rtt_us as f64 / 1e6 + 0.1) * 2.0;
            let frame_bits = self.bps / 30.0;
            let packet_bits = frame_bits / (frame_bits / PACKET_BITS).ceil().max(1.0);
            self.bps + (packet_bits / response_s).max(MIN_ADD_BPS) * elapsed_s
        } else {
            self.bps * INCREASE.powf(elapsed_s) + 1_000.0 * elapsed_s
        };
        let provable = acked * ABOVE_ACKED + ABOVE_ACKED_BPS;
        self.bps = wanted.min(provable).max(self.bps).min(MAX_BPS);
    }
}

impl Limit {
    fn seen(before: Option<Limit>, bps: f64) -> Limit {
        let Some(before) = before else { return Limit { bps, variance: 0.4 * 1_000.0 } };
        let error = before.bps - bps;
        let average = (1.0 - LIMIT_WEIGHT) * before.bps + LIMIT_WEIGHT * bps;
        let relative = error * error / average.max(1.0);
        let variance = (1.0 - LIMIT_WEIGHT) * before.variance + LIMIT_WEIGHT * relative;
        if before.is_near(bps) {
            Limit { bps: average, variance: variance.clamp(400.0, 2_500.0) }
        } else {
            Limit { bps, variance: variance.clamp(400.0, 2_500.0) }
        }
    }

    /// Within three standard deviations.
    fn is_near(&self, bps: f64) -> bool {
        (bps - self.bps).abs() <= 3.0 * (self.variance * self.bps).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(usage: Usage, acked: f64) -> Measured {
        Measured { usage, recent_bps: Some(acked), steady_bps: Some(acked), sent_bps: acked, rtt_us: 50_000 }
    }

    #[test]
    fn growth_is_eight_percent_a_second_and_ends_half_above_what_arrives() {
        let mut rate = Aimd::default();
        for at in 0..=20 {
            rate.update(&measured(Usage::Normal, 10e6), Time(at * 50_000));
        }
        assert!((rate.bps() / START_BPS - 1.083).abs() < 0.01, "{}", rate.bps());
        for at in 21..1_000 {
            rate.update(&measured(Usage::Normal, 400_000.0), Time(at * 50_000));
        }
        assert!((rate.bps() - 610_000.0).abs() < 1.0, "{}", rate.bps());
    }

    #[test]
    fn a_full_path_takes_it_below_what_arrives_and_then_it_creeps() {
        let mut rate = Aimd::default();
        rate.raise(2e6);
        let full = Measured { sent_bps: 2e6, ..measured(Usage::Over, 300_000.0) };
        assert!(rate.update(&full, Time(0)));
        assert!((rate.bps() - 600_000.0).abs() < 1.0, "{}", rate.bps());
        assert!(rate.update(&full, Time(400_000)));
        assert!((rate.bps() - 255_000.0).abs() < 1.0, "not below, however long the queue: {}", rate.bps());
        for at in 9..=29 {
            rate.update(&measured(Usage::Normal, 255_000.0), Time(at * 50_000));
        }
        let grown = rate.bps() - 255_000.0;
        assert!((4_000.0..40_000.0).contains(&grown), "{grown}");
    }

    #[test]
    fn jitter_without_traffic_does_not_take_it_to_what_little_arrives() {
        let mut rate = Aimd::default();
        rate.raise(2e6);
        rate.update(&measured(Usage::Over, 40_000.0), Time(0));
        assert!((rate.bps() - 1.7e6).abs() < 1.0, "{}", rate.bps());
    }

    #[test]
    fn emptying_queues_are_waited_for() {
        let mut rate = Aimd::default();
        for at in 0..20 {
            rate.update(&measured(Usage::Under, 10e6), Time(at * 50_000));
        }
        assert_eq!(rate.bps(), START_BPS);
    }
}
