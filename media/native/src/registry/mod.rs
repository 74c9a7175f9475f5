//! What exists, as the callers of the binding know it: the answer to "is it there?" without asking a thread.
//!
//! Place in the flow: every call of `Node` is checked and noted here under one mutex, then sent to the runtime
//! thread of its room as a command. The engine checks again for itself; this copy gives immediate errors and
//! idempotence. It must hold no key material: arguments that make a thing are remembered as a keyed hash only.
//!
//! Things that make (add, open, grant) remember a hash of what they were made from; settings that may be repeated
//! with other values (set) are checked for their ids and passed on; removing what is not there is no error.

mod recording;
mod streams;

use std::collections::hash_map::{Entry, RandomState};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

use crate::errors::CoreError;

pub use recording::{KeyToRevoke, TapRequest};
pub use streams::StreamPlace;

/// What a call has to do after the registry's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Tell the runtime thread.
    Go { thread: usize },
    /// It is so already: nothing to do.
    Same { thread: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub transports_per_room: usize,
    pub tracks_per_transport: usize,
    pub slots_per_transport: usize,
    pub taps_per_room: usize,
}

#[derive(Default)]
struct Room {
    thread: usize,
    transports: HashMap<u64, Transport>,
    tracks: HashMap<u64, streams::Track>,
    slots: HashMap<u64, streams::Slot>,
    grants: HashMap<String, String>,
    taps: HashMap<u64, recording::Tap>,
}

struct Transport {
    participant: String,
    made_from: u64,
    keys: Option<u64>,
    /// The last `UFRAGS_KEPT`, oldest first.
    ufrags: Vec<String>,
    /// Every SSRC that ever left on it, and the slot it belongs to: none is used twice (DESIGN.md §2).
    ssrcs: HashMap<u32, u64>,
}

pub struct Registry {
    limits: Limits,
    hasher: RandomState,
    rooms: HashMap<u64, Room>,
    journals: HashMap<u64, u64>,
    /// Fragment → the thread of its room.
    ufrags: HashMap<String, usize>,
}

/// RFC 8445 §5.3 allows 4 and 22; DESIGN.md §2 asks for more. 256 is the standard's upper bound.
const UFRAG_CHARACTERS: std::ops::RangeInclusive<usize> = 8..=256;
const PASSWORD_CHARACTERS: std::ops::RangeInclusive<usize> = 24..=256;

/// Per transport, the engine's bound: a restart has the new fragment and the one that still carries media.
const UFRAGS_KEPT: usize = 2;

fn unknown(what: &str, id: impl std::fmt::Display) -> CoreError {
    CoreError::UnknownId(format!("{what} {id} is not there"))
}

fn duplicate(what: &str, id: impl std::fmt::Display) -> CoreError {
    CoreError::DuplicateId(format!("{what} {id} is there with other arguments"))
}

fn check_ice((ufrag, password): (&str, &str)) -> Result<(), CoreError> {
    if UFRAG_CHARACTERS.contains(&ufrag.len()) && PASSWORD_CHARACTERS.contains(&password.len()) {
        return Ok(());
    }
    Err(CoreError::BadArgument(format!(
        "an ICE user fragment has {UFRAG_CHARACTERS:?} characters and a password {PASSWORD_CHARACTERS:?}"
    )))
}

impl Registry {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            hasher: RandomState::new(),
            rooms: HashMap::new(),
            journals: HashMap::new(),
            ufrags: HashMap::new(),
        }
    }

    fn room(&mut self, room: u64) -> Result<&mut Room, CoreError> {
        self.rooms.get_mut(&room).ok_or_else(|| unknown("room", room))
    }

    pub fn thread_of_ufrag(&self, ufrag: &str) -> Option<usize> {
        self.ufrags.get(ufrag).copied()
    }

    /// Transports and rooms on each of `threads` threads.
    pub fn load(&self, threads: usize) -> Vec<(usize, usize)> {
        let mut load = vec![(0, 0); threads];
        for room in self.rooms.values() {
            if let Some((transports, rooms)) = load.get_mut(room.thread) {
                *transports += room.transports.len();
                *rooms += 1;
            }
        }
        load
    }

    /// `thread` is where it goes if it is new.
    pub fn add_room(&mut self, room: u64, thread: usize) -> Verdict {
        match self.rooms.entry(room) {
            Entry::Occupied(there) => Verdict::Same { thread: there.get().thread },
            Entry::Vacant(place) => {
                place.insert(Room { thread, ..Room::default() });
                Verdict::Go { thread }
            }
        }
    }

    /// The thread to tell; None when the room was not there.
    pub fn remove_room(&mut self, room: u64) -> Option<usize> {
        let gone = self.rooms.remove(&room)?;
        for ufrag in gone.transports.values().flat_map(|transport| &transport.ufrags) {
            self.ufrags.remove(ufrag);
        }
        Some(gone.thread)
    }

    pub fn check_room(&mut self, room: u64) -> Result<usize, CoreError> {
        Ok(self.room(room)?.thread)
    }

    pub fn add_transport(
        &mut self,
        room: u64,
        transport: u64,
        participant: &str,
        ice: (&str, &str),
    ) -> Result<Verdict, CoreError> {
        check_ice(ice)?;
        let made_from = self.hasher.hash_one((participant, ice));
        let most = self.limits.transports_per_room;
        let is_taken = self.ufrags.contains_key(ice.0);
        let place = self.room(room)?;
        let thread = place.thread;
        if let Some(there) = place.transports.get(&transport) {
            let is_same = there.made_from == made_from;
            return is_same.then_some(Verdict::Same { thread }).ok_or_else(|| duplicate("transport", transport));
        }
        if place.transports.len() >= most {
            return Err(CoreError::Refused(format!("room {room} has its {most} transports")));
        }
        if is_taken {
            return Err(CoreError::Refused("this ICE user fragment is in use".to_owned()));
        }
        let made = Transport {
            participant: participant.to_owned(),
            made_from,
            keys: None,
            ufrags: vec![ice.0.to_owned()],
            ssrcs: HashMap::new(),
        };
        place.transports.insert(transport, made);
        self.ufrags.insert(ice.0.to_owned(), thread);
        Ok(Verdict::Go { thread })
    }

    pub fn restart_ice(&mut self, room: u64, transport: u64, ice: (&str, &str)) -> Result<usize, CoreError> {
        check_ice(ice)?;
        let is_taken = self.ufrags.contains_key(ice.0);
        let thread = self.check_transport(room, transport)?;
        let mut forgotten = None;
        if let Some(there) = self.room(room)?.transports.get_mut(&transport) {
            let is_own = there.ufrags.last().is_some_and(|ufrag| ufrag == ice.0);
            if is_taken && !is_own {
                return Err(CoreError::Refused("this ICE user fragment is in use".to_owned()));
            }
            if !is_own {
                there.ufrags.push(ice.0.to_owned());
            }
            if there.ufrags.len() > UFRAGS_KEPT {
                forgotten = Some(there.ufrags.remove(0));
            }
        }
        self.ufrags.insert(ice.0.to_owned(), thread);
        if let Some(ufrag) = forgotten {
            self.ufrags.remove(&ufrag);
        }
        Ok(thread)
    }

    /// The thread to tell; None when there is nothing to tell.
    pub fn remove_transport(&mut self, room: u64, transport: u64) -> Option<usize> {
        let place = self.rooms.get_mut(&room)?;
        let gone = place.transports.remove(&transport)?;
        place.slots.retain(|_, slot| slot.transport() != transport);
        let tracks: Vec<u64> =
            place.tracks.iter().filter(|(_, track)| track.transport() == transport).map(|(id, _)| *id).collect();
        for track in tracks {
            place.forget_track(track);
        }
        let thread = place.thread;
        for ufrag in &gone.ufrags {
            self.ufrags.remove(ufrag);
        }
        Some(thread)
    }

    pub fn check_transport(&mut self, room: u64, transport: u64) -> Result<usize, CoreError> {
        let place = self.room(room)?;
        place.transports.get(&transport).ok_or_else(|| unknown("transport", transport))?;
        Ok(place.thread)
    }

    /// Keys are set once: a second handshake is a second transport.
    pub fn set_keys(&mut self, room: u64, transport: u64, keys: impl Hash) -> Result<Verdict, CoreError> {
        let keys = self.hasher.hash_one(keys);
        let thread = self.check_transport(room, transport)?;
        let there = self.room(room)?.transports.get_mut(&transport);
        match there.and_then(|transport| transport.keys.replace(keys)) {
            None => Ok(Verdict::Go { thread }),
            Some(earlier) if earlier == keys => Ok(Verdict::Same { thread }),
            Some(earlier) => {
                if let Some(there) = self.room(room)?.transports.get_mut(&transport) {
                    there.keys = Some(earlier);
                }
                Err(duplicate("the key of transport", transport))
            }
        }
    }
}
