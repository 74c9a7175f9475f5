//! The sealed recording journal: what a tap delivers, encrypted before it touches the disk.
//!
//! Place in the flow: runtime threads append records to their own [`JournalSink`]; the one writer thread seals them
//! in chunks per (journal, key), writes and syncs in groups; `recorder/journal.py` reads the files, whose layout
//! stands in `format.rs`.
//! Must not block or panic a runtime thread, and must not write anything in clear but the chunk framing and the
//! header given at [`JournalWriter::open`].

mod format;
mod lane;
mod sink;
mod thread;
mod writer;

pub use sink::JournalSink;
pub use writer::JournalWriter;

use std::fmt;
use std::io;

/// Longest payload of one record; Python's events are bounded by it too.
pub const MAX_RECORD_BYTES: usize = 60_000;

/// Longest header a file may begin with.
pub const MAX_HEADER_BYTES: usize = 60_000;

/// Key id of the journal's own events; participants use 1 and up.
pub const EVENT_KEY: u32 = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// A whole RTP packet as the tap's rewriting made it. `codec` is the payload's, see [`codec_number`].
    Rtp { tap: u64, codec: u8, arrival_us: u64, packet: &'a [u8] },
    /// A publisher's sender report, already on the tap's outgoing clock.
    SenderReport { tap: u64, arrival_us: u64, ssrc: u32, ntp_time: u64, rtp_ts: u32 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalNotice {
    /// So many bytes of the journal are on disk for sure. At most one per sync.
    Synced {
        journal: u64,
        bytes: u64,
    },
    /// Nothing more is written to it; what is on disk stays readable.
    Failed {
        journal: u64,
        why: String,
    },
    Closed {
        journal: u64,
    },
    /// Records dropped because the writer could not keep up.
    Overflowed {
        journal: u64,
        records: u64,
    },
}

#[derive(Debug)]
pub enum JournalError {
    UnknownJournal,
    /// The journal id is open already.
    Duplicate,
    /// A bound: record or header too long, a key of the wrong length or id, or the key was revoked.
    Refused(&'static str),
    Io(io::Error),
    /// The writer thread is gone.
    Gone,
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JournalError::UnknownJournal => f.write_str("unknown journal or key id"),
            JournalError::Duplicate => f.write_str("journal id in use"),
            JournalError::Refused(why) => write!(f, "refused: {why}"),
            JournalError::Io(error) => write!(f, "{error}"),
            JournalError::Gone => f.write_str("journal writer is gone"),
        }
    }
}

impl std::error::Error for JournalError {}

/// The number a codec has in records; names as in SDP, lower case. 0 for anything else.
pub fn codec_number(name: &str) -> u8 {
    match name {
        "vp8" => 1,
        "vp9" => 2,
        "h264" => 3,
        "av1" => 4,
        "opus" => 5,
        "red" => 6,
        _ => 0,
    }
}
