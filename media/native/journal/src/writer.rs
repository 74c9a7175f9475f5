//! The handle Python's threads hold: opens files, adds and revokes keys, closes. The disk work is the thread's.

use crate::format::{encode_event, preamble, Sealer, FILE_ID_BYTES};
use crate::lane::{JournalGate, Lane, Message, NewJournal, Registered, Shared, QUEUE_LENGTH};
use crate::sink::JournalSink;
use crate::thread::WriterThread;
use crate::{JournalError, JournalNotice, EVENT_KEY, MAX_HEADER_BYTES, MAX_RECORD_BYTES};
use std::collections::hash_map::Entry;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

const KEY_BYTES: usize = 32;

/// The writer thread and the registry of open journals. `Send + Sync`; one per process. No call but `shutdown` waits
/// for the thread: one that finds its queue full is Refused, has changed nothing and may be repeated.
pub struct JournalWriter {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl JournalWriter {
    /// `notify` is called on the writer thread and must only queue.
    pub fn start(notify: impl Fn(JournalNotice) + Send + 'static) -> io::Result<JournalWriter> {
        let (queue, messages) = sync_channel(QUEUE_LENGTH);
        let shared = Arc::new(Shared::new(queue));
        let writer = WriterThread::new(Arc::clone(&shared), messages, notify);
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run())?;
        Ok(JournalWriter { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Creates the file (exclusively, mode 0600) in the caller's thread, so that its error is answered at once.
    pub fn open(&self, journal: u64, path: &Path, key: &[u8], header: &[u8]) -> Result<(), JournalError> {
        self.open_by(create, journal, (path, key, header))
    }

    /// The file is made without the lock: runtime threads take it when they meet a new key, for all their rooms.
    fn open_by(
        &self,
        create: impl FnOnce(&Path, &[u8]) -> io::Result<File>,
        journal: u64,
        (path, key, header): (&Path, &[u8], &[u8]),
    ) -> Result<(), JournalError> {
        check_key(key)?;
        if header.len() > MAX_HEADER_BYTES {
            return Err(JournalError::Refused("header too long"));
        }
        if self.shared.registry().contains_key(&journal) {
            return Err(JournalError::Duplicate);
        }
        let mut file_id = [0; FILE_ID_BYTES];
        aws_lc_rs::rand::fill(&mut file_id).map_err(|_| JournalError::Refused("no randomness"))?;
        let preamble = preamble(&file_id, header);
        let sealer = Sealer::new(file_id, &preamble);
        let event_key = sealer.derive_key(EVENT_KEY, key)?;
        let file = create(path, &preamble).map_err(JournalError::Io)?;
        let gate = Arc::new(JournalGate::default());
        let keys = Sealer::new(file_id, &preamble);
        let registered = Registered { gate: Arc::clone(&gate), keys, lanes: HashMap::new() };
        if !self.register(journal, registered) {
            // Another call with this id was quicker; the file is ours (create_new) and holds nothing yet.
            let _ = std::fs::remove_file(path);
            return Err(JournalError::Duplicate);
        }
        let written = preamble.len() as u64;
        let new = NewJournal { journal, file, path: path.to_owned(), written, sealer, event_key, gate };
        self.shared.send(Message::Open(Box::new(new))).inspect_err(|_| {
            self.shared.registry().remove(&journal);
            let _ = std::fs::remove_file(path);
        })
    }

    /// False if the id is taken.
    fn register(&self, journal: u64, registered: Registered) -> bool {
        match self.shared.registry().entry(journal) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(registered);
                true
            }
        }
    }

    /// 32-byte key of one participant; repeating it is fine, and lifts an earlier `revoke_key`. One key id has one
    /// key for the life of the journal: another key under a used id has no effect.
    pub fn add_key(&self, journal: u64, key_id: u32, key: &[u8]) -> Result<(), JournalError> {
        check_key(key)?;
        if key_id == EVENT_KEY {
            return Err(JournalError::Refused("key 0 is for events"));
        }
        let derived = {
            let registry = self.shared.registry();
            let registered = registry.get(&journal).ok_or(JournalError::UnknownJournal)?;
            if let Some(lane) = registered.lanes.get(&key_id) {
                lane.set_revoked(false);
                return Ok(());
            }
            Box::new(registered.keys.derive_key(key_id, key)?)
        };
        // Before the lane is visible, so that no record overtakes its key.
        self.shared.send(Message::Key { journal, key_id, key: derived })?;
        if let Some(registered) = self.shared.registry().get_mut(&journal) {
            let gate = Arc::clone(&registered.gate);
            registered.lanes.entry(key_id).or_insert_with(|| Arc::new(Lane::new(gate)));
        }
        Ok(())
    }

    /// From the moment this returns every sink refuses records under that key; earlier ones stay.
    pub fn revoke_key(&self, journal: u64, key_id: u32) -> Result<(), JournalError> {
        let lane = self.shared.lane(journal, key_id).ok_or(JournalError::UnknownJournal)?;
        lane.set_revoked(true);
        Ok(())
    }

    /// Appends an event under the journal's own key.
    pub fn event(&self, journal: u64, arrival_us: u64, event: &[u8]) -> Result<(), JournalError> {
        if event.len() > MAX_RECORD_BYTES {
            return Err(JournalError::Refused("event too long"));
        }
        let known = self.shared.registry().get(&journal).is_some_and(|r| !r.gate.is_closed());
        if !known {
            return Err(JournalError::UnknownJournal);
        }
        let mut plain = Vec::with_capacity(event.len() + 32);
        encode_event(&mut plain, arrival_us, event);
        self.shared.send_records(journal, EVENT_KEY, plain)
    }

    /// Refuses further records at once; what the sinks still hold is sealed when they next flush (≤ 300 ms),
    /// then synced and closed, told by `Closed`.
    pub fn close(&self, journal: u64) -> Result<(), JournalError> {
        let gate = self.shared.registry().get(&journal).map(|registered| Arc::clone(&registered.gate));
        let gate = gate.ok_or(JournalError::UnknownJournal)?;
        // The gate second, so that a refused call has changed nothing; the thread lingers longer than that takes.
        self.shared.send(Message::Close { journal })?;
        gate.close();
        Ok(())
    }

    /// A sink for one runtime thread. Each thread has its own.
    pub fn sink(&self) -> JournalSink {
        JournalSink::new(Arc::clone(&self.shared))
    }

    /// Seals and closes everything that was handed over; joins the thread. Safe to call twice.
    pub fn shutdown(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            self.shared.send_last(Message::Shutdown);
            let _ = thread.join();
        }
    }
}

impl Drop for JournalWriter {
    fn drop(&mut self) {
        self.shutdown();
    }
}

fn check_key(key: &[u8]) -> Result<(), JournalError> {
    if key.len() == KEY_BYTES {
        Ok(())
    } else {
        Err(JournalError::Refused("a journal key has 32 bytes"))
    }
}

fn create(path: &Path, preamble: &[u8]) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    if let Err(error) = file.write_all(preamble) {
        // It is ours (create_new) and holds nothing yet.
        let _ = std::fs::remove_file(path);
        return Err(error);
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Record;
    use std::sync::mpsc::{channel, Receiver};
    use std::time::Duration;

    /// A writer whose thread takes nothing off its queue, and that queue's other end.
    fn stalled(queue_length: usize) -> (JournalWriter, Receiver<Message>) {
        let (queue, messages) = sync_channel(queue_length);
        (JournalWriter { shared: Arc::new(Shared::new(queue)), thread: Mutex::new(None) }, messages)
    }

    fn is_refused(result: Result<(), JournalError>) -> bool {
        matches!(result, Err(JournalError::Refused(_)))
    }

    const PACKET: Record<'static> = Record::Rtp { tap: 1, codec: 5, arrival_us: 0, packet: &[0; 40] };

    #[test]
    fn a_slow_disk_does_not_hold_up_a_runtime_thread() {
        let folder = tempfile::tempdir().unwrap();
        let writer = JournalWriter::start(|_| {}).unwrap();
        writer.open(1, &folder.path().join("first"), &[1; 32], b"").unwrap();
        writer.add_key(1, 5, &[5; 32]).unwrap();
        let mut sink = writer.sink();
        let appended_meanwhile = |path: &Path, preamble: &[u8]| {
            let (done, appended) = channel();
            std::thread::spawn(move || done.send(sink.append(1, 5, PACKET)));
            let result = appended.recv_timeout(Duration::from_secs(60));
            assert!(matches!(result, Ok(Ok(()))), "the sink waits for the disk: {result:?}");
            create(path, preamble)
        };
        let path = folder.path().join("second");
        writer.open_by(appended_meanwhile, 2, (&path, &[2; 32], b"")).unwrap();
    }

    #[test]
    fn of_two_openings_with_one_id_the_later_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let writer = JournalWriter::start(|_| {}).unwrap();
        let overtaken = |path: &Path, preamble: &[u8]| {
            writer.open(1, &folder.path().join("quicker"), &[1; 32], b"").unwrap();
            create(path, preamble)
        };
        let path = folder.path().join("slower");
        let opened = writer.open_by(overtaken, 1, (&path, &[1; 32], b""));
        assert!(matches!(opened, Err(JournalError::Duplicate)));
        assert!(!path.exists());
        writer.add_key(1, 5, &[5; 32]).unwrap();
    }

    #[test]
    fn a_full_queue_refuses_every_call_and_nothing_is_half_done() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (writer, messages) = stalled(1);
        writer.open(1, &path, &[1; 32], b"").unwrap();
        let other = folder.path().join("other");
        assert!(is_refused(writer.open(2, &other, &[1; 32], b"")));
        assert!(!other.exists());
        assert!(is_refused(writer.event(1, 0, b"event")));
        assert!(is_refused(writer.add_key(1, 5, &[5; 32])));
        assert!(is_refused(writer.close(1)));
        let mut sink = writer.sink();
        assert!(matches!(sink.append(1, 5, PACKET), Err(JournalError::UnknownJournal)), "the key was not added");
        // Once there is room, each of them can be repeated.
        let make_room = || drop(messages.try_recv().unwrap());
        make_room();
        writer.add_key(1, 5, &[5; 32]).unwrap();
        sink.append(1, 5, PACKET).unwrap();
        make_room();
        writer.event(1, 0, b"event").unwrap();
        make_room();
        writer.open(2, &other, &[1; 32], b"").unwrap();
        make_room();
        writer.close(1).unwrap();
        assert!(is_refused(sink.append(1, 5, PACKET)), "closed from the moment of its return");
    }
}
