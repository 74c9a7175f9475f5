//! The engine's only notion of time. Must not read a clock.

/// Microseconds on the process's monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

impl Time {
    #[must_use]
    pub const fn plus_us(self, us: u64) -> Time {
        Time(self.0.saturating_add(us))
    }

    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Time {
        self.plus_us(ms * 1_000)
    }

    /// Microseconds since `earlier`; 0 when `earlier` is later (kernel stamps may run a little behind `now`).
    pub const fn since_us(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    pub const fn since_ms(self, earlier: Time) -> u64 {
        self.since_us(earlier) / 1_000
    }
}
