//! The sealed recording journal: what a tap delivers, encrypted before it touches the disk.
//!
//! Place in the flow: runtime threads append records to their own [`JournalSink`]; the one writer thread seals them
//! in chunks per (journal, key), writes and syncs in groups; `recorder/journal.py` reads the files.
//! Must not block or panic a runtime thread, and must not write anything in clear but the chunk framing and the
//! header given at [`JournalWriter::open`].

use std::fmt;
use std::io;
use std::path::Path;

/// Longest payload of one record; Python's events are bounded by it too.
pub const MAX_RECORD_BYTES: usize = 60_000;

/// Key id of the journal's own events; participants use 1 and up.
pub const EVENT_KEY: u32 = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// A whole RTP packet as the tap's rewriting made it. `codec` is the payload's (0 unknown, see `codec_number`).
    Rtp { tap: u64, codec: u8, arrival_us: u64, packet: &'a [u8] },
    /// A publisher's sender report, already on the tap's outgoing clock.
    SenderReport { tap: u64, arrival_us: u64, ssrc: u32, ntp_time: u64, rtp_ts: u32 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalNotice {
    /// So many bytes of the journal are on disk for sure. At most one per sync.
    Synced { journal: u64, bytes: u64 },
    /// Nothing more is written to it; what is on disk stays readable.
    Failed { journal: u64, why: String },
    Closed { journal: u64 },
    /// Records dropped because the writer could not keep up.
    Overflowed { journal: u64, records: u64 },
}

#[derive(Debug)]
pub enum JournalError {
    UnknownJournal,
    /// The id is open already, or its key id has another key.
    Duplicate,
    /// A bound: record or header too long, key id 0, or the key was revoked.
    Refused(&'static str),
    Io(io::Error),
    /// The writer thread is gone.
    Gone,
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JournalError::UnknownJournal => f.write_str("unknown journal"),
            JournalError::Duplicate => f.write_str("journal or key id in use"),
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

/// The writer thread and the registry of open journals. `Send + Sync`; one per process.
pub struct JournalWriter {}

impl JournalWriter {
    /// `notify` is called on the writer thread and must only queue.
    pub fn start(notify: impl Fn(JournalNotice) + Send + 'static) -> io::Result<JournalWriter> {
        todo!()
    }

    /// Creates the file (exclusively, mode 0600) in the caller's thread, so that its error is answered at once.
    pub fn open(&self, journal: u64, path: &Path, key: &[u8], header: &[u8]) -> Result<(), JournalError> {
        todo!()
    }

    /// 32-byte key of one participant; repeating it is fine, and lifts an earlier `revoke_key`.
    pub fn add_key(&self, journal: u64, key_id: u32, key: &[u8]) -> Result<(), JournalError> {
        todo!()
    }

    /// From the moment this returns every sink refuses records under that key; earlier ones stay.
    pub fn revoke_key(&self, journal: u64, key_id: u32) -> Result<(), JournalError> {
        todo!()
    }

    /// Appends an event under the journal's own key.
    pub fn event(&self, journal: u64, arrival_us: u64, event: &[u8]) -> Result<(), JournalError> {
        todo!()
    }

    /// Refuses further records at once; what the sinks still hold is sealed when they next flush (≤ 300 ms),
    /// then synced and closed, told by `Closed`.
    pub fn close(&self, journal: u64) -> Result<(), JournalError> {
        todo!()
    }

    /// A sink for one runtime thread. Each thread has its own.
    pub fn sink(&self) -> JournalSink {
        todo!()
    }

    /// Seals and closes everything that was handed over; joins the thread. Safe to call twice.
    pub fn shutdown(&self) {
        todo!()
    }
}

/// One runtime thread's way in: no lock and no system call on `append`.
pub struct JournalSink {}

impl JournalSink {
    /// Err(Refused) after `revoke_key` or `close`, Err(UnknownJournal) for keys never added. Never blocks.
    pub fn append(&mut self, journal: u64, key_id: u32, record: Record<'_>) -> Result<(), JournalError> {
        todo!()
    }

    /// Hands over buffers older than 100 ms. Call at least that often, and once with `u64::MAX` before closing.
    pub fn flush(&mut self, now_us: u64) {
        todo!()
    }
}
