//! What waits for Python: one queue per runtime thread behind the node's one eventfd.
//!
//! State events are bounded by the number of things that have a state: a newer state of the same thing replaces the
//! one that still waits. Datagrams, answers and refusals are bounded by count; what found no room is dropped and told
//! as `dropped_events`. Runtime threads take the lock for a push, Python for a swap; neither holds it longer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdspace_engine::{Event, TransportStats, Value};

use crate::sys::wake::Wake;

/// DTLS datagrams that may wait per transport (DESIGN.md §2): a whole flight of a browser fits.
const MAX_DTLS_WAITING: u32 = 16;

/// Answers to `request_stats` and `request_dump` that may wait.
const MAX_ANSWERS_WAITING: usize = 1_024;

/// Refused commands that may wait: each is one line of the log.
const MAX_REFUSALS_WAITING: usize = 256;

#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The transport or room was gone when the question arrived.
    Gone,
    Transport(TransportStats),
    Room(Value),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    Room {
        room: u64,
        event: Event,
    },
    RoomFailed {
        room: u64,
        message: String,
    },
    ThreadFailed {
        thread: usize,
        message: String,
    },
    Answer {
        ticket: u64,
        answer: Answer,
    },
    JournalSynced {
        journal: u64,
        bytes: u64,
    },
    JournalFailed {
        journal: u64,
        why: String,
    },
    JournalClosed {
        journal: u64,
    },
    /// The engine refused what the registry had let pass. `what`: the call, and the id it was about.
    CommandRefused {
        room: u64,
        what: String,
        why: String,
    },
    Dropped {
        count: u64,
    },
}

/// What a newer notice of the same subject makes obsolete.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Subject {
    Ice(u64),
    Track(u64),
    Codec(u64),
    Private(u64),
    Levels(u64),
    Estimate(u64),
    Journal(u64),
}

#[derive(Default)]
struct Waiting {
    /// None: replaced by a later one.
    notices: Vec<Option<Notice>>,
    replaced: usize,
    latest: HashMap<Subject, usize>,
    dtls: HashMap<u64, u32>,
    answers: usize,
    refusals: usize,
    dropped: u64,
}

pub struct EventQueue {
    waiting: Mutex<Waiting>,
    wake: Arc<Wake>,
    announced: Arc<AtomicBool>,
}

impl EventQueue {
    /// All queues of a node share its wake-up and the mark that it was given.
    pub fn new(wake: Arc<Wake>, announced: Arc<AtomicBool>) -> Self {
        Self { waiting: Mutex::new(Waiting::default()), wake, announced }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // A panic while pushing leaves at worst a missing notice; the queue itself stays whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn push(&self, notice: Notice) {
        self.lock().push(notice);
        self.announce();
    }

    /// Moves all of a room's events in, in order.
    pub fn push_room(&self, room: u64, events: &mut Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let mut waiting = self.lock();
        for event in events.drain(..) {
            waiting.push(Notice::Room { room, event });
        }
        drop(waiting);
        self.announce();
    }

    fn announce(&self) {
        if !self.announced.swap(true, Ordering::AcqRel) {
            self.wake.wake();
        }
    }

    /// Everything that waits, oldest first.
    pub fn take(&self) -> Vec<Notice> {
        let waiting = std::mem::take(&mut *self.lock());
        let mut notices: Vec<Notice> = waiting.notices.into_iter().flatten().collect();
        if waiting.dropped > 0 {
            notices.push(Notice::Dropped { count: waiting.dropped });
        }
        notices
    }
}

impl Waiting {
    fn push(&mut self, notice: Notice) {
        if !self.has_room_for(&notice) {
            self.dropped += 1;
            return;
        }
        if let Some(subject) = subject_of(&notice) {
            if let Some(earlier) = self.latest.insert(subject, self.notices.len()) {
                self.notices[earlier] = None;
                self.replaced += 1;
            }
        }
        self.notices.push(Some(notice));
        if self.replaced > 64 && self.replaced > self.notices.len() / 2 {
            self.compact();
        }
    }

    fn has_room_for(&mut self, notice: &Notice) -> bool {
        match notice {
            Notice::Room { event: Event::Dtls { transport, .. }, .. } => {
                let waiting = self.dtls.entry(transport.0).or_default();
                *waiting += 1;
                *waiting <= MAX_DTLS_WAITING
            }
            Notice::Answer { .. } => {
                self.answers += 1;
                self.answers <= MAX_ANSWERS_WAITING
            }
            Notice::CommandRefused { .. } => {
                self.refusals += 1;
                self.refusals <= MAX_REFUSALS_WAITING
            }
            _ => true,
        }
    }

    fn compact(&mut self) {
        self.notices.retain(Option::is_some);
        self.replaced = 0;
        self.latest.clear();
        for (index, notice) in self.notices.iter().enumerate() {
            if let Some(subject) = notice.as_ref().and_then(subject_of) {
                self.latest.insert(subject, index);
            }
        }
    }
}

fn subject_of(notice: &Notice) -> Option<Subject> {
    match notice {
        Notice::Room { room, event } => match event {
            Event::Ice { transport, .. } => Some(Subject::Ice(transport.0)),
            Event::Track { track, .. } => Some(Subject::Track(track.0)),
            Event::Codec { track, .. } => Some(Subject::Codec(track.0)),
            Event::Private { track, .. } => Some(Subject::Private(track.0)),
            Event::Levels(_) => Some(Subject::Levels(*room)),
            Event::Estimate { transport, .. } => Some(Subject::Estimate(transport.0)),
            Event::Dtls { .. } | Event::TapEnded { .. } | Event::PortClosed { .. } => None,
        },
        Notice::JournalSynced { journal, .. } => Some(Subject::Journal(*journal)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdspace_engine::{IceState, TransportId};

    fn queue() -> EventQueue {
        EventQueue::new(Arc::new(Wake::new().unwrap()), Arc::new(AtomicBool::new(false)))
    }

    fn ice(transport: u64, state: IceState) -> Notice {
        Notice::Room { room: 1, event: Event::Ice { transport: TransportId(transport), state } }
    }

    fn dtls(transport: u64) -> Notice {
        let event = Event::Dtls { transport: TransportId(transport), datagram: vec![22] };
        Notice::Room { room: 1, event }
    }

    #[test]
    fn the_newest_state_of_a_thing_replaces_the_one_that_waits() {
        let queue = queue();
        queue.push(ice(1, IceState::Connected));
        queue.push(ice(2, IceState::Connected));
        queue.push(ice(1, IceState::Disconnected));
        assert_eq!(queue.take(), vec![ice(2, IceState::Connected), ice(1, IceState::Disconnected)]);
    }

    #[test]
    fn a_flood_of_state_changes_stays_as_small_as_the_number_of_things() {
        let queue = queue();
        for round in 0..10_000u64 {
            queue.push(ice(round % 10, IceState::Connected));
        }
        assert!(queue.lock().notices.len() < 200);
        assert_eq!(queue.take().len(), 10);
    }

    #[test]
    fn the_seventeenth_dtls_datagram_of_a_transport_is_dropped_and_told() {
        let queue = queue();
        for _ in 0..17 {
            queue.push(dtls(1));
        }
        queue.push(dtls(2));
        let notices = queue.take();
        assert_eq!(notices.len(), 18);
        assert_eq!(notices[17], Notice::Dropped { count: 1 });
        queue.push(dtls(1));
        assert_eq!(queue.take(), vec![dtls(1)]);
    }

    #[test]
    fn a_flood_of_refusals_is_cut_and_told() {
        let queue = queue();
        for _ in 0..300 {
            queue.push(Notice::CommandRefused { room: 1, what: "set_slot 1".to_owned(), why: "no".to_owned() });
        }
        let notices = queue.take();
        assert_eq!((notices.len(), notices.last()), (257, Some(&Notice::Dropped { count: 44 })));
    }
}
