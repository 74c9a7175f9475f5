//! How fast packets arrived at the peer lately, on the peer's own clock.

const BUCKET_US: i64 = 50_000;
const BUCKETS: usize = 10;
/// A sudden drop shows in these alone; in more it would be hidden by what came before.
const RECENT: usize = 5;
/// A jump of the peer's clock larger than this starts afresh.
const MAX_GAP_BUCKETS: i64 = 1_000;

#[derive(Default)]
pub(crate) struct AckedRate {
    /// Bytes by bucket number modulo `BUCKETS`.
    bytes: [u64; BUCKETS],
    newest_us: Option<i64>,
    filled: usize,
}

impl AckedRate {
    pub(crate) fn on_packet(&mut self, arrival_us: i64, bytes: u16) {
        let bucket = arrival_us.div_euclid(BUCKET_US);
        let newest = self.newest_us.get_or_insert(arrival_us).div_euclid(BUCKET_US);
        let ahead = bucket.saturating_sub(newest);
        if ahead.abs() > MAX_GAP_BUCKETS {
            *self = AckedRate::default();
            return self.on_packet(arrival_us, bytes);
        }
        if ahead <= -(BUCKETS as i64) {
            return;
        }
        for skipped in 0..ahead.min(BUCKETS as i64) {
            self.bytes[at(bucket - skipped)] = 0;
        }
        self.newest_us = self.newest_us.max(Some(arrival_us));
        self.filled = (self.filled + ahead.max(0) as usize).min(BUCKETS);
        self.bytes[at(bucket)] += u64::from(bytes);
    }

    /// Packets nobody told of, between the newest and one that arrived at `until_us`: all at once they would leave a gap
    /// before them, in which nothing seems to have arrived.
    pub(crate) fn credit(&mut self, packets: u64, bytes: u16, until_us: i64) {
        let since_us = self.newest_us.map_or(until_us, |newest_us| newest_us.min(until_us));
        let gap_us = until_us.saturating_sub(since_us);
        for packet in 1..=packets as i64 {
            self.on_packet(since_us.saturating_add(gap_us / (packets as i64 + 1) * packet), bytes);
        }
    }

    /// Over the last half second; None until it has been seen.
    pub(crate) fn steady_bps(&self) -> Option<f64> {
        self.over(BUCKETS - 1)
    }

    /// Over the last quarter: follows a drop at once, at the price of some noise.
    pub(crate) fn recent_bps(&self) -> Option<f64> {
        self.over(RECENT)
    }

    /// Complete buckets only: the newest is still filling.
    fn over(&self, buckets: usize) -> Option<f64> {
        let newest = self.newest_us.filter(|_| self.filled > buckets)?.div_euclid(BUCKET_US);
        let bytes: u64 = (1..=buckets as i64).map(|back| self.bytes[at(newest - back)]).sum();
        Some(bytes as f64 * 8.0 * 1e6 / (buckets as i64 * BUCKET_US) as f64)
    }
}

fn at(bucket: i64) -> usize {
    bucket.rem_euclid(BUCKETS as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recent_rate_follows_a_drop_within_a_quarter_of_a_second() {
        let mut acked = AckedRate::default();
        (0..1_000).for_each(|at| acked.on_packet(at * 4_000, 1_000));
        let bps = acked.steady_bps().expect("four seconds seen");
        assert!((bps - 2e6).abs() < 1e5, "{bps}");
        (0..12).for_each(|at| acked.on_packet(4_000_000 + at * 30_000, 1_000));
        let (recent, steady) = (acked.recent_bps().expect("seen"), acked.steady_bps().expect("seen"));
        assert!(recent < 340_000.0 && steady > 600_000.0, "{recent} {steady}");
    }

    #[test]
    fn what_nobody_told_of_arrived_evenly() {
        let mut acked = AckedRate::default();
        (0..500).for_each(|at| acked.on_packet(at * 4_000, 1_000));
        acked.credit(50, 1_000, 2_200_000);
        acked.on_packet(2_200_000, 1_000);
        let bps = acked.recent_bps().expect("seen");
        assert!((bps - 2e6).abs() < 2e5, "{bps}");
    }

    #[test]
    fn clocks_that_jump_start_afresh_and_nothing_overflows() {
        let mut acked = AckedRate::default();
        for arrival in [0, i64::MAX, i64::MIN, 5, -5_000_000, 60_000_000, i64::MAX - 1] {
            (0..3).for_each(|_| acked.on_packet(arrival, u16::MAX));
            acked.credit(3, u16::MAX, arrival / 2);
            acked.steady_bps();
        }
        assert_eq!(acked.recent_bps(), None);
    }
}
