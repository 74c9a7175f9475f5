//! The one thread that seals, writes and syncs for all journals. An error of one file ends that journal only.

use crate::format::{encode_end, Sealer};
use crate::lane::{JournalGate, Message, NewJournal, Shared};
use crate::{JournalNotice, EVENT_KEY};
use aws_lc_rs::aead::LessSafeKey;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Everything that waits is sealed and written this often, from beginning to beginning: with the sinks' 100 ms, what a
/// killed process loses.
const TURN: Duration = Duration::from_millis(200);

/// After so many turns what was written is synced: with a disk that takes 300 ms for a hundred syncs, 0.8 s are lost
/// when the power fails. Fewer lose less and cost a `fdatasync` per journal each time, 0.12 ms of CPU.
const TURNS_TO_SYNC: u64 = 2;

/// How long a closing journal still takes what sinks held: they flush every 100 ms.
const LINGER: Duration = Duration::from_millis(300);

/// A chunk's records, in bytes, before it is sealed early.
const CHUNK_BYTES: usize = 64 << 10;

struct Journal {
    file: File,
    sealer: Sealer,
    keys: HashMap<u32, LessSafeKey>,
    pending: HashMap<u32, Vec<u8>>,
    gate: Arc<JournalGate>,
    written: u64,
    synced: u64,
    closing_since: Option<Instant>,
}

impl Journal {
    fn new(new: NewJournal) -> Self {
        Journal {
            file: new.file,
            sealer: new.sealer,
            keys: HashMap::from([(EVENT_KEY, new.event_key)]),
            pending: HashMap::new(),
            gate: new.gate,
            written: new.written,
            synced: 0,
            closing_since: None,
        }
    }

    fn take_records(&mut self, key_id: u32, plain: Vec<u8>, scratch: &mut Vec<u8>) -> io::Result<()> {
        let waiting = self.pending.get(&key_id).map_or(0, Vec::len);
        if waiting > 0 && waiting + plain.len() > CHUNK_BYTES {
            self.write_chunk(key_id, scratch)?;
        }
        let pending = self.pending.entry(key_id).or_default();
        if pending.is_empty() {
            *pending = plain;
        } else {
            pending.extend_from_slice(&plain);
        }
        Ok(())
    }

    fn write_chunk(&mut self, key_id: u32, scratch: &mut Vec<u8>) -> io::Result<()> {
        let (Some(key), Some(plain)) = (self.keys.get(&key_id), self.pending.get_mut(&key_id)) else {
            return Ok(());
        };
        if plain.is_empty() {
            return Ok(());
        }
        scratch.clear();
        self.sealer.seal(key_id, key, plain, scratch).map_err(io::Error::other)?;
        self.file.write_all(scratch)?;
        self.written += scratch.len() as u64;
        Ok(())
    }

    fn write_pending(&mut self, scratch: &mut Vec<u8>) -> io::Result<()> {
        let key_ids: Vec<u32> = self.pending.keys().copied().collect();
        key_ids.into_iter().try_for_each(|key_id| self.write_chunk(key_id, scratch))
    }

    /// True if something new is on disk.
    fn sync(&mut self) -> io::Result<bool> {
        if self.synced == self.written {
            return Ok(false);
        }
        self.file.sync_data()?;
        self.synced = self.written;
        Ok(true)
    }

    fn finish(&mut self, scratch: &mut Vec<u8>) -> io::Result<()> {
        self.write_pending(scratch)?;
        encode_end(self.pending.entry(EVENT_KEY).or_default());
        self.write_chunk(EVENT_KEY, scratch)?;
        self.file.sync_all()
    }
}

pub(crate) struct WriterThread<N> {
    shared: Arc<Shared>,
    messages: Receiver<Message>,
    notify: N,
    journals: HashMap<u64, Journal>,
    scratch: Vec<u8>,
}

impl<N: Fn(JournalNotice)> WriterThread<N> {
    pub(crate) fn new(shared: Arc<Shared>, messages: Receiver<Message>, notify: N) -> Self {
        WriterThread { shared, messages, notify, journals: HashMap::new(), scratch: Vec::new() }
    }

    pub(crate) fn run(mut self) {
        let mut next_turn = Instant::now() + TURN;
        let mut turns = 0_u64;
        loop {
            let wait = next_turn.saturating_duration_since(Instant::now());
            match self.messages.recv_timeout(wait) {
                Ok(Message::Shutdown) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            if now >= next_turn {
                turns += 1;
                self.write_all();
                if turns % TURNS_TO_SYNC == 0 {
                    self.sync_all();
                }
                // A disk slower than that must not keep what waits from being taken.
                next_turn = (now + TURN).max(Instant::now() + TURN / 2);
            }
        }
        let journals: Vec<u64> = self.journals.keys().copied().collect();
        journals.into_iter().for_each(|journal| self.close(journal));
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Open(new) => {
                let journal = new.journal;
                let synced = sync_directory_of(&new.path);
                self.journals.insert(journal, Journal::new(*new));
                self.end_on_error(journal, synced);
            }
            Message::Key { journal, key_id, key } => {
                if let Some(open) = self.journals.get_mut(&journal) {
                    open.keys.insert(key_id, *key);
                }
            }
            Message::Records { journal, key_id, plain } => {
                self.shared.took(plain.len());
                let scratch = &mut self.scratch;
                let open = self.journals.get_mut(&journal);
                let taken = open.map_or(Ok(()), |open| open.take_records(key_id, plain, scratch));
                self.end_on_error(journal, taken);
            }
            Message::Close { journal } => {
                if let Some(open) = self.journals.get_mut(&journal) {
                    open.closing_since.get_or_insert_with(Instant::now);
                }
            }
            Message::Shutdown => {}
        }
    }

    fn write_all(&mut self) {
        let journals: Vec<u64> = self.journals.keys().copied().collect();
        journals.into_iter().for_each(|journal| self.write(journal));
    }

    /// After all have been written: one commit of the file system then serves several syncs.
    fn sync_all(&mut self) {
        let journals: Vec<u64> = self.journals.keys().copied().collect();
        journals.into_iter().for_each(|journal| self.sync(journal));
    }

    fn write(&mut self, journal: u64) {
        let Some(open) = self.journals.get_mut(&journal) else { return };
        let overflowed = open.gate.take_overflowed();
        if overflowed > 0 {
            (self.notify)(JournalNotice::Overflowed { journal, records: overflowed });
        }
        if open.closing_since.is_some_and(|since| since.elapsed() >= LINGER) {
            self.close(journal);
            return;
        }
        let written = open.write_pending(&mut self.scratch);
        self.end_on_error(journal, written);
    }

    fn sync(&mut self, journal: u64) {
        let Some(open) = self.journals.get_mut(&journal) else { return };
        let synced = open.sync();
        if let Ok(true) = synced {
            (self.notify)(JournalNotice::Synced { journal, bytes: open.synced });
        }
        self.end_on_error(journal, synced.map(|_| ()));
    }

    fn close(&mut self, journal: u64) {
        let Some(open) = self.journals.get_mut(&journal) else {
            return;
        };
        open.gate.close();
        let finished = open.finish(&mut self.scratch);
        if finished.is_ok() {
            self.forget(journal);
            (self.notify)(JournalNotice::Closed { journal });
        }
        self.end_on_error(journal, finished);
    }

    fn end_on_error(&mut self, journal: u64, outcome: io::Result<()>) {
        if let Err(error) = outcome {
            self.forget(journal);
            (self.notify)(JournalNotice::Failed { journal, why: error.to_string() });
        }
    }

    fn forget(&mut self, journal: u64) {
        if let Some(open) = self.journals.remove(&journal) {
            open.gate.close();
        }
        self.shared.registry().remove(&journal);
    }
}

/// Without it a power failure may forget the file's name.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::preamble;
    use crate::lane::{Registered, QUEUE_LENGTH};
    use std::cell::RefCell;
    use std::fs::OpenOptions;
    use std::sync::mpsc::sync_channel;

    fn open(thread: &mut WriterThread<impl Fn(JournalNotice)>, journal: u64, path: &str) -> Arc<JournalGate> {
        let preamble = preamble(&[0; 16], b"");
        let sealer = Sealer::new([0; 16], &preamble);
        let event_key = sealer.derive_key(EVENT_KEY, &[1; 32]).unwrap();
        let gate = Arc::new(JournalGate::default());
        let keys = Sealer::new([0; 16], &preamble);
        let registered = Registered { gate: Arc::clone(&gate), keys, lanes: HashMap::new() };
        thread.shared.registry().insert(journal, registered);
        let file = OpenOptions::new().write(true).open(path).unwrap();
        let new =
            NewJournal { journal, file, path: path.into(), written: 0, sealer, event_key, gate: Arc::clone(&gate) };
        thread.take(Message::Open(Box::new(new)));
        gate
    }

    #[test]
    fn a_full_disk_ends_its_journal_and_no_other() {
        let notices = RefCell::new(Vec::new());
        let (queue, messages) = sync_channel(QUEUE_LENGTH);
        let shared = Arc::new(Shared::new(queue));
        let mut thread = WriterThread::new(shared, messages, |notice| notices.borrow_mut().push(notice));
        let full = open(&mut thread, 1, "/dev/full");
        let good = tempfile::NamedTempFile::new().unwrap();
        let other = open(&mut thread, 2, good.path().to_str().unwrap());
        for journal in [1, 2] {
            thread.take(Message::Records { journal, key_id: EVENT_KEY, plain: vec![0; 100] });
        }
        thread.write_all();
        assert!(full.is_closed());
        assert!(!thread.shared.registry().contains_key(&1));
        assert!(!other.is_closed());
        assert_eq!(good.as_file().metadata().unwrap().len(), 136);
        let failed: Vec<_> = notices.borrow().iter().map(|notice| format!("{notice:?}")).collect();
        assert!(failed.iter().any(|text| text.contains("journal: 1") && text.contains("No space")));
        thread.take(Message::Records { journal: 1, key_id: EVENT_KEY, plain: vec![0; 100] });
        assert_eq!(thread.journals.len(), 1);
    }

    #[test]
    fn what_the_queue_cannot_take_is_counted_and_told() {
        let notices = RefCell::new(Vec::new());
        let (queue, messages) = sync_channel(1);
        let shared = Arc::new(Shared::new(queue));
        let mut thread = WriterThread::new(shared, messages, |notice| notices.borrow_mut().push(notice));
        let gate = open(&mut thread, 1, "/dev/null");
        thread.shared.hand_over(1, 5, &gate, vec![0; 10], 3);
        thread.shared.hand_over(1, 5, &gate, vec![0; 10], 4);
        thread.write_all();
        let overflowed = JournalNotice::Overflowed { journal: 1, records: 4 };
        assert!(notices.borrow().contains(&overflowed));
    }
}
