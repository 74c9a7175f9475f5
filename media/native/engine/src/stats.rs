//! Counters, drop reasons, the delay histogram and the plain data of dumps. Must not hold keys or packet bytes.

use crate::port::PortCounts;
use crate::time::Time;

/// Why an input was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    Malformed,
    /// Failed a MAC, or came from an address without a checked request.
    Unauthenticated,
    Replayed,
    UnknownSsrc,
    NoKeys,
    /// A limit of the engine.
    Bound,
}

impl DropReason {
    pub const ALL: [DropReason; 6] = [
        DropReason::Malformed,
        DropReason::Unauthenticated,
        DropReason::Replayed,
        DropReason::UnknownSsrc,
        DropReason::NoKeys,
        DropReason::Bound,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            DropReason::Malformed => "malformed",
            DropReason::Unauthenticated => "unauthenticated",
            DropReason::Replayed => "replayed",
            DropReason::UnknownSsrc => "unknown_ssrc",
            DropReason::NoKeys => "no_keys",
            DropReason::Bound => "bound",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DropCounts([u64; DropReason::ALL.len()]);

impl DropCounts {
    pub fn count(&mut self, reason: DropReason) {
        self.0[reason as usize] += 1;
    }

    pub fn get(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        DropReason::ALL.iter().map(|reason| (reason.name(), self.get(*reason)))
    }

    pub fn add(&mut self, other: &DropCounts) {
        for (sum, value) in self.0.iter_mut().zip(other.0) {
            *sum += value;
        }
    }
}

/// `TransportStats` of `_forwarder.pyi`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TransportStats {
    pub packets_in: u64,
    pub bytes_in: u64,
    pub packets_out: u64,
    pub bytes_out: u64,
    pub retransmitted_out: u64,
    pub nacks_in: u64,
    pub nacks_out: u64,
    pub plis_in: u64,
    pub plis_out: u64,
    pub recovered_in: u64,
    pub lost_in: u64,
    pub expected_in: u64,
    pub missing_in: u64,
    pub dropped: DropCounts,
    pub dropped_out: u64,
    pub rtt_ms: Option<f64>,
    pub fraction_lost_out: f64,
    pub jitter_in_ms: f64,
    pub estimate_bps: Option<u64>,
}

/// The engine's share of `NodeStats`; counters since the room was made, removed transports included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RoomTotals {
    pub transports: usize,
    pub tracks: usize,
    pub packets_in: u64,
    pub packets_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub dropped: DropCounts,
    pub repeat_refused: u64,
    pub port: PortCounts,
}

/// Plain data for `request_dump`.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    Map(Vec<(&'static str, Value)>),
}

/// Kernel receive time → packet handed to the kernel, filled by the runtime after each send
/// (`Transmit::arrival`, `Transmit::media_packets`). Buckets double from 25 µs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DelayHistogram([u64; DelayHistogram::BOUNDS_US.len()]);

impl DelayHistogram {
    /// Upper bounds; the last one holds everything above it too.
    pub const BOUNDS_US: [u64; 16] =
        [25, 50, 100, 200, 400, 800, 1_000, 1_600, 3_200, 5_000, 6_400, 12_800, 25_600, 51_200, 102_400, 1_000_000];

    pub fn record(&mut self, arrival: Time, sent: Time, packets: u32) {
        let delay_us = sent.since_us(arrival);
        let bucket = Self::BOUNDS_US.iter().position(|bound| delay_us <= *bound);
        self.0[bucket.unwrap_or(Self::BOUNDS_US.len() - 1)] += u64::from(packets);
    }

    pub fn add(&mut self, other: &DelayHistogram) {
        for (sum, value) in self.0.iter_mut().zip(other.0) {
            *sum += value;
        }
    }

    /// (upper bound in µs, count)
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        Self::BOUNDS_US.iter().copied().zip(self.0)
    }
}
