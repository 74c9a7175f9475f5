//! When video may leave towards one subscriber whose path shows a limit. Sound never waits, but what it uses is taken
//! from video's turn. Holds no packets: they wait in their slots' queues as numbers.

use crate::time::Time;

/// What may leave at once: more fills the path's queue before sound that follows, less costs a system call more.
const QUANTUM_US: f64 = 5_000.0;
/// DESIGN.md: at least two packets.
const MIN_QUANTUM_BYTES: usize = 2 * 1_200;
/// Turns missed because the timer was late are made up for, so far.
const CATCH_UP_US: u64 = 10_000;
/// What sound used of video's turn is forgotten beyond this.
const MAX_DEBT_US: u64 = 200_000;

#[derive(Default)]
pub(crate) struct Pacer {
    /// None: nothing waits.
    bps: Option<f64>,
    next_at: Time,
}

impl Pacer {
    pub(crate) fn set(&mut self, bps: Option<f64>) {
        self.bps = bps;
    }

    pub(crate) fn bps(&self) -> Option<f64> {
        self.bps
    }

    /// Bytes that may leave now, or when to ask again.
    pub(crate) fn budget(&self, now: Time) -> Result<usize, Time> {
        let Some(bps) = self.bps else { return Ok(usize::MAX) };
        if self.next_at > now {
            return Err(self.next_at);
        }
        Ok(((bps * QUANTUM_US / 8e6) as usize).max(MIN_QUANTUM_BYTES))
    }

    pub(crate) fn spend(&mut self, bytes: usize, now: Time) {
        let Some(bps) = self.bps else { return };
        let from = self.next_at.max(Time(now.0.saturating_sub(CATCH_UP_US)));
        let next_at = from.plus_us((bytes as f64 * 8e6 / bps) as u64);
        self.next_at = next_at.min(now.plus_us(MAX_DEBT_US));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that leave in a second, asked every `every_us`, when there is always more.
    fn bytes_in_a_second(pacer: &mut Pacer, every_us: u64, sound_bytes: usize) -> usize {
        let mut sent = 0;
        for at in (0..1_000_000_u64).step_by(every_us as usize) {
            let now = Time(5_000_000 + at);
            if at % 20_000 == 0 {
                pacer.spend(sound_bytes, now);
            }
            if let Ok(bytes) = pacer.budget(now) {
                pacer.spend(bytes, now);
                sent += bytes;
            }
        }
        sent
    }

    #[test]
    fn what_leaves_is_the_rate_less_what_sound_used() {
        for (every_us, sound_bytes) in [(1_000, 0), (3_700, 0), (1_000, 150)] {
            let mut pacer = Pacer::default();
            pacer.set(Some(800_000.0));
            let bytes = bytes_in_a_second(&mut pacer, every_us, sound_bytes) + sound_bytes * 50;
            assert!(bytes.abs_diff(100_000) < 5_500, "{every_us} {sound_bytes}: {bytes}");
        }
    }

    #[test]
    fn two_packets_may_always_leave_and_without_a_limit_everything() {
        let mut pacer = Pacer::default();
        assert_eq!(pacer.budget(Time(0)), Ok(usize::MAX));
        pacer.set(Some(30_000.0));
        assert_eq!(pacer.budget(Time(0)), Ok(2_400));
        pacer.set(Some(8e6));
        assert_eq!(pacer.budget(Time(0)), Ok(5_000));
    }

    #[test]
    fn sound_alone_cannot_put_video_off_for_good() {
        let mut pacer = Pacer::default();
        pacer.set(Some(30_000.0));
        (0..100).for_each(|_| pacer.spend(1_000, Time(1_000_000)));
        assert_eq!(pacer.budget(Time(1_000_000)), Err(Time(1_200_000)));
    }
}
