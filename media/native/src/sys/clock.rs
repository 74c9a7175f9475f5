//! Monotonic time for the engine, and the bridge from the kernel's receive stamps (wall clock) to it.

/// Nanoseconds of `clock`, or 0 where the kernel refuses (it does not for the clocks used here).
fn read_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec for the duration of the call.
    let result = unsafe { libc::clock_gettime(clock, &mut time) };
    if result != 0 {
        return 0;
    }
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}

/// The engine's `now`: CLOCK_MONOTONIC.
pub fn monotonic_ns() -> u64 {
    read_ns(libc::CLOCK_MONOTONIC)
}

/// CLOCK_REALTIME, in which the kernel stamps received datagrams.
pub fn realtime_ns() -> u64 {
    read_ns(libc::CLOCK_REALTIME)
}

/// CPU time of the calling thread.
pub fn thread_cpu_ns() -> u64 {
    read_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// A pair of readings taken together; good for one receive batch, so that clock steps cannot accumulate.
#[derive(Clone, Copy, Debug)]
pub struct ClockBridge {
    pub monotonic_ns: u64,
    realtime_ns: u64,
}

impl ClockBridge {
    pub fn read() -> Self {
        Self { realtime_ns: realtime_ns(), monotonic_ns: monotonic_ns() }
    }

    /// A wall-clock stamp of the recent past as monotonic time. A stamp from the future, or one older than
    /// 1 s (the wall clock was stepped), counts as now: arrival times must never run backwards by much.
    pub fn to_monotonic(&self, stamp_realtime_ns: u64) -> u64 {
        const OLDEST_NS: u64 = 1_000_000_000;
        match self.realtime_ns.checked_sub(stamp_realtime_ns) {
            Some(age) if age <= OLDEST_NS => self.monotonic_ns.saturating_sub(age),
            _ => self.monotonic_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recent_stamp_keeps_its_age() {
        let bridge = ClockBridge { monotonic_ns: 5_000_000, realtime_ns: 90_000_000 };
        assert_eq!(bridge.to_monotonic(89_000_000), 4_000_000);
    }

    #[test]
    fn a_stamp_from_the_future_or_before_a_clock_step_counts_as_now() {
        let bridge = ClockBridge { monotonic_ns: 5_000_000_000, realtime_ns: 90_000_000_000 };
        assert_eq!(bridge.to_monotonic(90_000_000_001), 5_000_000_000);
        assert_eq!(bridge.to_monotonic(10_000_000_000), 5_000_000_000);
    }
}
