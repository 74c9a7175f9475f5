//! What an engine is told once, when its room is made.

#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Unix time in µs at `Time(0)`; used for NTP times of our own reports only.
    pub wall_offset_us: u64,
    /// Seeds first sequence numbers, timestamps and feedback jitter. Not secret, but should differ between rooms.
    pub seed: u64,
    /// How long a publisher's packets are kept for retransmission.
    pub cache_ms: u64,
    pub max_transports: usize,
    pub max_tracks_per_transport: usize,
    pub max_slots_per_transport: usize,
    pub max_taps: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            wall_offset_us: 0,
            seed: 0,
            cache_ms: 1_000,
            max_transports: 64,
            max_tracks_per_transport: 8,
            max_slots_per_transport: 32,
            max_taps: 64,
        }
    }
}
