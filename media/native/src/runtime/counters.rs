//! What a runtime thread publishes about itself, and what a node sums up of it.

use std::sync::{Mutex, PoisonError};

use holdspace_engine::{DelayHistogram, DropCounts, RoomTotals};

/// One thread's counters since it started, as of its last publication (every 50 ms while it works).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadCounts {
    pub rooms: usize,
    /// Rooms there are, and what rooms that are gone had counted.
    pub totals: RoomTotals,
    /// System calls that sent media.
    pub sends: u64,
    pub gso_refused: u64,
    pub unsent: u64,
    pub socket_overflow: u64,
    /// Frames that a slow reader of an ICE-TCP connection lost.
    pub stream_frames_cut: u64,
    /// Datagrams that belonged to no transport.
    pub unclaimed: UnclaimedCounts,
    /// Commands that the engine refused although the registry had let them pass.
    pub commands_refused: u64,
    pub delay: DelayHistogram,
    pub cpu_ns: u64,
    /// Packets in and out during the last publication interval, per second.
    pub packets_per_second: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnclaimedCounts {
    pub malformed: u64,
    pub unknown_ufrag: u64,
    pub unknown_address: u64,
}

/// The place where a thread publishes and others read.
#[derive(Default)]
pub struct Published {
    counts: Mutex<ThreadCounts>,
}

impl Published {
    pub fn read(&self) -> ThreadCounts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self, counts: ThreadCounts) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }
}

pub fn add_totals(sum: &mut RoomTotals, one: &RoomTotals) {
    sum.transports += one.transports;
    sum.tracks += one.tracks;
    sum.packets_in += one.packets_in;
    sum.packets_out += one.packets_out;
    sum.bytes_in += one.bytes_in;
    sum.bytes_out += one.bytes_out;
    sum.repeat_refused += one.repeat_refused;
    sum.dropped.add(&one.dropped);
    sum.port.add(&one.port);
}

/// A room that is gone: its counters go on counting, its transports and tracks do not.
pub fn retire_totals(sum: &mut RoomTotals, gone: &RoomTotals) {
    add_totals(sum, &RoomTotals { transports: 0, tracks: 0, ..*gone });
}

/// Drops of a whole node by reason, engine's and runtime's together.
pub fn drops_by_reason(engine: &DropCounts, threads: &[ThreadCounts]) -> Vec<(&'static str, u64)> {
    let mut drops: Vec<(&'static str, u64)> = engine.iter().collect();
    let sum = |of: fn(&ThreadCounts) -> u64| threads.iter().map(of).sum::<u64>();
    for (name, count) in [
        ("malformed", sum(|counts| counts.unclaimed.malformed)),
        ("unknown_ufrag", sum(|counts| counts.unclaimed.unknown_ufrag)),
        ("unknown_address", sum(|counts| counts.unclaimed.unknown_address)),
        ("unsent", sum(|counts| counts.unsent)),
        ("stream_frames_cut", sum(|counts| counts.stream_frames_cut)),
        ("commands_refused", sum(|counts| counts.commands_refused)),
    ] {
        match drops.iter_mut().find(|(known, _)| *known == name) {
            Some((_, value)) => *value += count,
            None => drops.push((name, count)),
        }
    }
    drops
}
