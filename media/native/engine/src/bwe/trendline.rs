//! Whether queues on the path grow: the slope of the one-way delay over the latest groups, held against a threshold
//! that adapts to the path's own jitter (draft-ietf-rmcat-gcc-02 §5.4, §5.5; the slope by least squares).

use super::arrival::Delta;
use std::collections::VecDeque;

/// Groups the slope is taken over: about half a second of a call.
const WINDOW: usize = 20;
/// Share of the old value when the delay is smoothed.
const SMOOTHING: f64 = 0.9;
/// Scales the slope (ms per ms) into the threshold's range, together with the number of groups seen, up to this many.
const GAIN: f64 = 4.0;
const MAX_COUNTED: u32 = 60;
const FIRST_THRESHOLD: f64 = 12.5;
const THRESHOLD_RANGE: (f64, f64) = (6.0, 600.0);
/// Per ms: slowly up, so that a rival that fills queues does not starve us; quicker down.
const THRESHOLD_UP: f64 = 0.0087;
const THRESHOLD_DOWN: f64 = 0.039;
/// A slope this far over the threshold is a spike and teaches nothing.
const MAX_LESSON: f64 = 15.0;
const MAX_STEP_MS: f64 = 100.0;
/// The slope must stay over the threshold for so long, in at least two groups.
const OVERUSE_MS: f64 = 10.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usage {
    Normal,
    /// Queues grow.
    Over,
    /// Queues empty: wait until they are.
    Under,
}

pub(crate) struct Trendline {
    /// (arrival, smoothed delay) in ms since the first group.
    points: VecDeque<(f64, f64)>,
    first_arrival_us: Option<i64>,
    delay_ms: f64,
    smoothed_ms: f64,
    deltas: u32,
    threshold: f64,
    adapted_at_ms: Option<f64>,
    over_ms: f64,
    over_groups: u32,
    previous_slope: f64,
    usage: Usage,
}

impl Default for Trendline {
    fn default() -> Self {
        Trendline {
            points: VecDeque::with_capacity(WINDOW + 1),
            first_arrival_us: None,
            delay_ms: 0.0,
            smoothed_ms: 0.0,
            deltas: 0,
            threshold: FIRST_THRESHOLD,
            adapted_at_ms: None,
            over_ms: 0.0,
            over_groups: 0,
            previous_slope: 0.0,
            usage: Usage::Normal,
        }
    }
}

impl Trendline {
    pub(crate) fn usage(&self) -> Usage {
        self.usage
    }

    pub(crate) fn update(&mut self, delta: Delta) {
        let first = *self.first_arrival_us.get_or_insert(delta.arrived_at_us);
        let arrived_ms = delta.arrived_at_us.saturating_sub(first) as f64 / 1_000.0;
        let sent_ms = delta.sent_us as f64 / 1_000.0;
        self.deltas = (self.deltas + 1).min(1_000);
        self.delay_ms += delta.arrival_us as f64 / 1_000.0 - sent_ms;
        self.smoothed_ms = SMOOTHING * self.smoothed_ms + (1.0 - SMOOTHING) * self.delay_ms;
        self.points.push_back((arrived_ms, self.smoothed_ms));
        if self.points.len() > WINDOW {
            self.points.pop_front();
        }
        let slope = if self.points.len() == WINDOW { slope(&self.points) } else { self.previous_slope };
        self.detect(slope, sent_ms, arrived_ms);
    }

    fn detect(&mut self, slope: f64, sent_ms: f64, now_ms: f64) {
        if self.deltas < 2 {
            return;
        }
        let trend = f64::from(self.deltas.min(MAX_COUNTED)) * slope * GAIN;
        if trend > self.threshold {
            self.over_ms += if self.over_groups == 0 { sent_ms / 2.0 } else { sent_ms };
            self.over_groups += 1;
            if self.over_ms > OVERUSE_MS && self.over_groups > 1 && slope >= self.previous_slope {
                self.over_ms = 0.0;
                self.over_groups = 0;
                self.usage = Usage::Over;
            }
        } else {
            self.over_ms = 0.0;
            self.over_groups = 0;
            self.usage = if trend < -self.threshold { Usage::Under } else { Usage::Normal };
        }
        self.previous_slope = slope;
        self.adapt(trend.abs(), now_ms);
    }

    fn adapt(&mut self, trend: f64, now_ms: f64) {
        let before_ms = self.adapted_at_ms.replace(now_ms).unwrap_or(now_ms);
        if trend > self.threshold + MAX_LESSON {
            return;
        }
        let speed = if trend < self.threshold { THRESHOLD_DOWN } else { THRESHOLD_UP };
        let step_ms = (now_ms - before_ms).clamp(0.0, MAX_STEP_MS);
        self.threshold += speed * (trend - self.threshold) * step_ms;
        self.threshold = self.threshold.clamp(THRESHOLD_RANGE.0, THRESHOLD_RANGE.1);
    }
}

fn slope(points: &VecDeque<(f64, f64)>) -> f64 {
    let count = points.len() as f64;
    let (sum_x, sum_y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
    let (mean_x, mean_y) = (sum_x / count, sum_y / count);
    let (mut above, mut below) = (0.0, 0.0);
    for (x, y) in points {
        above += (x - mean_x) * (y - mean_y);
        below += (x - mean_x) * (x - mean_x);
    }
    if below > 0.0 {
        above / below
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups every 20 ms whose delay grows by `growth_us` each, after 100 quiet ones; answers how many it took.
    fn groups_until(wanted: Usage, growth_us: i64, jitter_us: i64) -> Option<usize> {
        let mut line = Trendline::default();
        let mut arrived_at_us = 0;
        for at in 0..400_i64 {
            let growth = if at < 100 { 0 } else { growth_us };
            let jitter = if at % 2 == 0 { jitter_us } else { -jitter_us };
            arrived_at_us += 20_000 + growth + jitter;
            line.update(Delta { sent_us: 20_000, arrival_us: 20_000 + growth + jitter, arrived_at_us });
            if line.usage() == wanted && (wanted != Usage::Normal || at >= 100) {
                return Some(at as usize - 100);
            }
        }
        None
    }

    #[test]
    fn growing_queues_are_seen_within_some_groups() {
        let took = groups_until(Usage::Over, 5_000, 0).expect("a queue that grows by 250 ms/s");
        assert!(took <= 8, "{took}");
        assert!(groups_until(Usage::Over, 1_000, 0).expect("50 ms/s") <= 20);
    }

    #[test]
    fn emptying_queues_are_seen_and_a_jittery_path_is_normal() {
        assert!(groups_until(Usage::Under, -5_000, 0).expect("emptying") <= 10);
        assert_eq!(groups_until(Usage::Over, 0, 8_000), None, "jitter of 16 ms without growth");
    }

    #[test]
    fn senseless_deltas_end_in_some_usage_and_no_panic() {
        let mut line = Trendline::default();
        for value in [i64::MAX, i64::MIN, 0, -1, 1, i64::MAX / 2] {
            for _ in 0..30 {
                line.update(Delta { sent_us: value, arrival_us: value, arrived_at_us: value });
                assert!((6.0..=600.0).contains(&line.threshold));
            }
        }
    }
}
