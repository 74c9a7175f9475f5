//! The loss-based rate (draft-ietf-rmcat-gcc-02 §6), from transport-wide feedback or from receiver reports. Loss that
//! stays when the rate falls is the path's own (radio), not ours: it is told apart and no longer held against us.

use crate::time::Time;

/// Judged over at least so many packets and so long: fewer are chance.
const MIN_PACKETS: u64 = 20;
const MIN_WINDOW_US: u64 = 300_000;
/// Under this the rate grows, over that it falls, between them it stays.
const LOW: f64 = 0.02;
const HIGH: f64 = 0.10;
const CERTAIN: f64 = 0.2;
const INCREASE: f64 = 1.08;
/// Lowered to this share without less loss: the loss is not ours.
const EXPERIMENT: f64 = 0.75;
const UNMOVED: f64 = 0.67;
/// No path worth calling in loses more by itself.
const MAX_INHERENT: f64 = 0.25;
/// Weight of a new window in the average.
const WEIGHT: f64 = 0.25;

/// Rate and loss when the rate began to fall.
#[derive(Clone, Copy)]
struct Episode {
    bps: f64,
    loss: f64,
    /// Windows judged at the lower rate.
    low_windows: u8,
}

#[derive(Default)]
pub(crate) struct LossControl {
    lost: u64,
    packets: u64,
    since: Option<Time>,
    judged_at: Option<Time>,
    average: Option<f64>,
    inherent: f64,
    bps: Option<f64>,
    episode: Option<Episode>,
}

impl LossControl {
    /// None: loss sets no limit.
    pub(crate) fn bps(&self) -> Option<f64> {
        self.bps
    }

    pub(crate) fn average(&self) -> f64 {
        self.average.unwrap_or(0.0)
    }

    /// A burst of padding came through at this rate: loss that has ended holds nobody down any longer.
    pub(crate) fn on_probe(&mut self, bps: f64) {
        if self.episode.is_none() && self.average() - self.inherent < LOW {
            self.bps = self.bps.map(|present| present.max(bps));
        }
    }

    /// `present_bps`: the rate in force, where a decrease begins; `acked_bps`: what arrives. True: it was lowered.
    pub(crate) fn on_packets(&mut self, lost: u64, packets: u64, present_bps: f64, now: Time) -> bool {
        self.lost += lost.min(packets);
        self.packets += packets;
        let since = *self.since.get_or_insert(now);
        if self.packets < MIN_PACKETS || now.since_us(since) < MIN_WINDOW_US {
            return false;
        }
        let loss = self.lost as f64 / self.packets as f64;
        (self.lost, self.packets, self.since) = (0, 0, Some(now));
        self.judge(loss, present_bps, now)
    }

    fn judge(&mut self, loss: f64, present_bps: f64, now: Time) -> bool {
        let elapsed_s = self.judged_at.replace(now).map_or(0.0, |at| now.since_us(at) as f64 / 1e6).min(2.0);
        let average = self.average.map_or(loss, |average| average + WEIGHT * (loss - average));
        self.average = Some(average);
        self.inherent = self.inherent.min(average * 1.2);
        if self.ends_experiment(average) {
            return false;
        }
        // One window of a few dozen packets is much by chance; a path that drops a fifth is not.
        let excess = if loss > CERTAIN { loss } else { average } - self.inherent;
        if excess > HIGH {
            let from = self.bps.unwrap_or(present_bps).min(present_bps);
            self.episode.get_or_insert(Episode { bps: from, loss, low_windows: 0 });
            self.bps = Some(from * (1.0 - 0.5 * excess));
            return true;
        }
        if excess < LOW {
            self.episode = None;
            // Out of force once it stands far above the rate that the delay allows.
            self.bps = self.bps.map(|bps| bps * INCREASE.powf(elapsed_s)).filter(|bps| *bps < present_bps * 2.0);
        }
        false
    }

    /// At three quarters of the rate loss should have fallen by much; if it has not, the rate is given back.
    fn ends_experiment(&mut self, average: f64) -> bool {
        let (Some(episode), Some(bps)) = (&mut self.episode, self.bps) else { return false };
        if bps > episode.bps * EXPERIMENT {
            return false;
        }
        episode.low_windows += 1;
        if episode.low_windows < 3 {
            return true;
        }
        let Episode { bps: before, loss, .. } = *episode;
        self.episode = None;
        if average >= loss * UNMOVED && average <= MAX_INHERENT {
            self.inherent = average;
            self.bps = Some(before);
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `seconds` of 50 packets per 300 ms over a path; answers the rate at the end.
    fn run(control: &mut LossControl, from_s: u64, seconds: u64, loss_at: impl Fn(f64) -> f64) -> f64 {
        let mut owed = 0.0;
        for window in from_s * 3..(from_s + seconds) * 3 {
            let bps = control.bps().unwrap_or(2e6).min(2e6);
            owed += 50.0 * loss_at(bps);
            let lost = owed as u64;
            owed -= lost as f64;
            control.on_packets(lost, 50, bps, Time(window * 333_334));
        }
        control.bps().unwrap_or(2e6).min(2e6)
    }

    #[test]
    fn random_loss_takes_nothing_or_only_a_while() {
        for loss in [0.01, 0.05, 0.09, 0.12, 0.2] {
            let mut control = LossControl::default();
            let worst = (0..60).map(|s| run(&mut control, s, 1, |_| loss)).fold(2e6, f64::min);
            let last = run(&mut control, 60, 5, |_| loss);
            assert!(worst >= 2e6 * 0.6 && last >= 2e6 * 0.8, "{loss}: {worst} {last}");
        }
    }

    #[test]
    fn a_path_that_drops_what_exceeds_it_is_found() {
        let mut control = LossControl::default();
        let bps = run(&mut control, 0, 10, |bps| (1.0 - 300_000.0 / bps).max(0.0));
        assert!((150_000.0..340_000.0).contains(&bps), "{bps}");
        let free = run(&mut control, 10, 60, |_| 0.0);
        assert_eq!(free, 2e6, "and let go when it drops no more");
    }

    #[test]
    fn a_path_that_mends_is_no_longer_forgiven() {
        let mut control = LossControl::default();
        run(&mut control, 0, 20, |_| 0.15);
        run(&mut control, 20, 10, |_| 0.0);
        assert!(control.inherent < 0.01 && control.average() < 0.01);
        let bps = run(&mut control, 30, 10, |bps| (1.0 - 300_000.0 / bps).max(0.0));
        assert!(bps < 400_000.0, "{bps}");
    }

    #[test]
    fn too_few_packets_are_not_judged() {
        let mut control = LossControl::default();
        for at in 0..19 {
            assert!(!control.on_packets(1, 1, 1e6, Time(at * 1_000_000)));
        }
        assert_eq!(control.bps(), None);
    }
}
