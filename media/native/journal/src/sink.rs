//! One runtime thread's way into journals: records are gathered in buffers of its own and handed over in batches.

use crate::lane::{Lane, Shared};
use crate::{JournalError, Record, EVENT_KEY, MAX_RECORD_BYTES};
use std::collections::HashMap;
use std::sync::Arc;

/// A buffer this full is handed over. Larger saves hand-overs and lengthens what a crash loses.
const HAND_OVER_BYTES: usize = 32 << 10;

/// A buffer this old is handed over: part of the "at most a second" a killed process may lose (100 ms here, 200 ms
/// until the writer thread's next turn).
const HAND_OVER_AFTER_US: u64 = 100_000;

/// One runtime thread's way in: no lock and no system call on `append` once a key is known to the sink.
pub struct JournalSink {
    shared: Arc<Shared>,
    buffers: HashMap<(u64, u32), Buffer>,
}

struct Buffer {
    lane: Arc<Lane>,
    plain: Vec<u8>,
    records: u64,
    first_us: u64,
}

impl Buffer {
    fn is_due(&self, now_us: u64) -> bool {
        !self.plain.is_empty() && now_us.saturating_sub(self.first_us) >= HAND_OVER_AFTER_US
    }

    fn hand_over(&mut self, shared: &Shared, (journal, key_id): (u64, u32)) {
        if self.plain.is_empty() {
            return;
        }
        let plain = std::mem::take(&mut self.plain);
        shared.hand_over(journal, key_id, &self.lane.gate, plain, self.records);
        self.records = 0;
    }
}

impl JournalSink {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        JournalSink { shared, buffers: HashMap::new() }
    }

    /// Err(Refused) after `revoke_key` or `close`, Err(UnknownJournal) for keys never added. Never blocks for the
    /// disk: what the writer cannot take is dropped and reported by [`crate::JournalNotice::Overflowed`].
    pub fn append(&mut self, journal: u64, key_id: u32, record: Record<'_>) -> Result<(), JournalError> {
        let len = record.encoded_len();
        if len > MAX_RECORD_BYTES {
            return Err(JournalError::Refused("record too long"));
        }
        let id = (journal, key_id);
        if !self.buffers.contains_key(&id) {
            self.learn(id)?;
        }
        let Some(buffer) = self.buffers.get_mut(&id) else {
            return Err(JournalError::UnknownJournal);
        };
        if !buffer.lane.takes_records() {
            return Err(JournalError::Refused("key revoked or journal closed"));
        }
        let arrival_us = record.arrival_us();
        if buffer.plain.len() + len > HAND_OVER_BYTES || buffer.is_due(arrival_us) {
            buffer.hand_over(&self.shared, id);
        }
        if buffer.plain.is_empty() {
            buffer.first_us = arrival_us;
        }
        record.encode(&mut buffer.plain);
        buffer.records += 1;
        Ok(())
    }

    fn learn(&mut self, id: (u64, u32)) -> Result<(), JournalError> {
        if id.1 == EVENT_KEY {
            return Err(JournalError::Refused("key 0 is for events"));
        }
        let lane = self.shared.lane(id.0, id.1).ok_or(JournalError::UnknownJournal)?;
        self.buffers.insert(id, Buffer { lane, plain: Vec::new(), records: 0, first_us: 0 });
        Ok(())
    }

    /// Hands over buffers older than 100 ms, all of them at `u64::MAX`. Call at least every 100 ms while anything is
    /// recorded; what was accepted before a journal's closing is handed over too if that happens within 300 ms.
    pub fn flush(&mut self, now_us: u64) {
        self.buffers.retain(|id, buffer| {
            if buffer.is_due(now_us) {
                buffer.hand_over(&self.shared, *id);
            }
            !(buffer.plain.is_empty() && buffer.lane.gate.is_closed())
        });
    }
}

impl Drop for JournalSink {
    fn drop(&mut self) {
        self.flush(u64::MAX);
    }
}
