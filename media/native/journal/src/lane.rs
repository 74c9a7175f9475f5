//! What runtime threads, Python's threads and the writer thread share: which (journal, key) pairs take records, and
//! the bounded queue to the writer. The mutex is for opening and closing; appending reads one atomic.

use crate::format::Sealer;
use crate::JournalError;
use aws_lc_rs::aead::LessSafeKey;
use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Plain records waiting for the writer thread, in bytes. At 1.2 Mbit/s each, 200 recorded people fill it in 6 s: a
/// disk that stalls longer loses records and says so. More costs memory only while the disk stalls.
const MAX_QUEUED_BYTES: usize = 256 << 20;

/// Hand-overs that may wait; at ten per second and (journal, key), 200 of them for 16 s.
pub(crate) const QUEUE_LENGTH: usize = 32_768;

const BEHIND: &str = "the journal's queue is full because the disk does not keep up; try again later";

pub(crate) enum Message {
    Open(Box<NewJournal>),
    Key { journal: u64, key_id: u32, key: Box<LessSafeKey> },
    Records { journal: u64, key_id: u32, plain: Vec<u8> },
    Close { journal: u64 },
    Shutdown,
}

pub(crate) struct NewJournal {
    pub(crate) journal: u64,
    pub(crate) file: File,
    pub(crate) path: PathBuf,
    pub(crate) written: u64,
    pub(crate) sealer: Sealer,
    pub(crate) event_key: LessSafeKey,
    pub(crate) gate: Arc<JournalGate>,
}

/// One journal as its writers see it.
#[derive(Default)]
pub(crate) struct JournalGate {
    /// Set by close, failure and shutdown; never cleared.
    closed: AtomicBool,
    /// Records dropped since the writer thread last asked.
    overflowed: AtomicU64,
}

impl JournalGate {
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn take_overflowed(&self) -> u64 {
        self.overflowed.swap(0, Ordering::Relaxed)
    }
}

/// One (journal, key id) that takes records.
pub(crate) struct Lane {
    pub(crate) gate: Arc<JournalGate>,
    revoked: AtomicBool,
}

impl Lane {
    pub(crate) fn new(gate: Arc<JournalGate>) -> Self {
        Lane { gate, revoked: AtomicBool::new(false) }
    }

    pub(crate) fn set_revoked(&self, revoked: bool) {
        self.revoked.store(revoked, Ordering::Release);
    }

    pub(crate) fn takes_records(&self) -> bool {
        !self.revoked.load(Ordering::Acquire) && !self.gate.is_closed()
    }
}

/// An open journal in the registry.
pub(crate) struct Registered {
    pub(crate) gate: Arc<JournalGate>,
    /// Derives keys of this file; the writer thread has a sealer of its own.
    pub(crate) keys: Sealer,
    pub(crate) lanes: HashMap<u32, Arc<Lane>>,
}

pub(crate) struct Shared {
    registry: Mutex<HashMap<u64, Registered>>,
    queue: SyncSender<Message>,
    queued_bytes: AtomicUsize,
}

impl Shared {
    pub(crate) fn new(queue: SyncSender<Message>) -> Self {
        Shared { registry: Mutex::default(), queue, queued_bytes: AtomicUsize::new(0) }
    }

    pub(crate) fn registry(&self) -> MutexGuard<'_, HashMap<u64, Registered>> {
        // Nothing under the lock can leave the map half-changed, so a poisoned one is as good as any.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lane(&self, journal: u64, key_id: u32) -> Option<Arc<Lane>> {
        self.registry().get(&journal)?.lanes.get(&key_id).cloned()
    }

    /// Never waits: the caller may be an event loop, or hold the node's lock.
    pub(crate) fn send(&self, message: Message) -> Result<(), JournalError> {
        self.queue.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) => JournalError::Refused(BEHIND),
            TrySendError::Disconnected(_) => JournalError::Gone,
        })
    }

    /// After everything that waits; for the end of the process only.
    pub(crate) fn send_last(&self, message: Message) {
        let _ = self.queue.send(message); // a writer thread that is gone needs no telling
    }

    /// For runtime threads: what does not fit is dropped and counted.
    pub(crate) fn hand_over(&self, journal: u64, key_id: u32, gate: &JournalGate, plain: Vec<u8>, records: u64) {
        if self.send_records(journal, key_id, plain).is_err() {
            gate.overflowed.fetch_add(records, Ordering::Relaxed);
        }
    }

    pub(crate) fn send_records(&self, journal: u64, key_id: u32, plain: Vec<u8>) -> Result<(), JournalError> {
        let len = plain.len();
        let queued = self.queued_bytes.fetch_add(len, Ordering::Relaxed);
        let sent = if queued + len <= MAX_QUEUED_BYTES {
            self.send(Message::Records { journal, key_id, plain })
        } else {
            Err(JournalError::Refused(BEHIND))
        };
        sent.inspect_err(|_| self.took(len))
    }

    /// The writer thread took records of that many bytes off the queue.
    pub(crate) fn took(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
