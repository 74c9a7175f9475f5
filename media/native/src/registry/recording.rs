//! Grants, taps and journals in the registry: no tap without a grant for the track's own participant.

use std::collections::hash_map::Entry;
use std::hash::BuildHasher;

use super::{duplicate, unknown, Registry, Verdict};
use crate::errors::CoreError;

pub(super) struct Tap {
    track: u64,
    grant: String,
    journal: u64,
    key_id: u32,
    made_from: u64,
}

impl Tap {
    pub(super) fn track(&self) -> u64 {
        self.track
    }
}

/// A tap as its maker names it.
#[derive(Hash)]
pub struct TapRequest<'a> {
    pub track: u64,
    pub grant: &'a str,
    pub journal: u64,
    pub key_id: u32,
    pub key: &'a [u8],
}

/// A journal key under which nothing may be written any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyToRevoke {
    pub journal: u64,
    pub key_id: u32,
}

impl Registry {
    pub fn grant(&mut self, room: u64, grant: &str, participant: &str) -> Result<Verdict, CoreError> {
        let place = self.room(room)?;
        let thread = place.thread;
        match place.grants.entry(grant.to_owned()) {
            Entry::Occupied(there) if there.get() == participant => Ok(Verdict::Same { thread }),
            Entry::Occupied(_) => Err(duplicate("grant", grant)),
            Entry::Vacant(vacant) => {
                vacant.insert(participant.to_owned());
                Ok(Verdict::Go { thread })
            }
        }
    }

    /// The thread to tell and the keys that only taps of this grant wrote under; None when there was no such grant.
    pub fn revoke(&mut self, room: u64, grant: &str) -> Option<(usize, Vec<KeyToRevoke>)> {
        let place = self.rooms.get_mut(&room)?;
        place.grants.remove(grant)?;
        let key_of = |tap: &Tap| KeyToRevoke { journal: tap.journal, key_id: tap.key_id };
        let (ended, standing): (Vec<&Tap>, Vec<&Tap>) = place.taps.values().partition(|tap| tap.grant == grant);
        let mut keys: Vec<KeyToRevoke> = ended.into_iter().map(key_of).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.retain(|key| !standing.iter().any(|tap| key_of(tap) == *key));
        place.taps.retain(|_, tap| tap.grant != grant);
        Some((place.thread, keys))
    }

    pub fn add_tap(&mut self, room: u64, tap: u64, request: &TapRequest<'_>) -> Result<Verdict, CoreError> {
        let made_from = self.hasher.hash_one(request);
        let has_journal = self.journals.contains_key(&request.journal);
        let most = self.limits.taps_per_room;
        let place = self.room(room)?;
        let thread = place.thread;
        if let Some(there) = place.taps.get(&tap) {
            let is_same = there.made_from == made_from;
            return is_same.then_some(Verdict::Same { thread }).ok_or_else(|| duplicate("tap", tap));
        }
        let track = place.tracks.get(&request.track).ok_or_else(|| unknown("track", request.track))?;
        let granted = place.grants.get(request.grant).ok_or_else(|| unknown("grant", request.grant))?;
        if !has_journal {
            return Err(unknown("journal", request.journal));
        }
        let owner = place.transports.get(&track.transport()).map(|transport| &transport.participant);
        if owner != Some(granted) {
            return Err(CoreError::Refused(format!("the grant does not name the owner of track {}", request.track)));
        }
        if place.taps.len() >= most {
            return Err(CoreError::Refused(format!("room {room} has its {most} taps")));
        }
        let made = Tap {
            track: request.track,
            grant: request.grant.to_owned(),
            journal: request.journal,
            key_id: request.key_id,
            made_from,
        };
        place.taps.insert(tap, made);
        Ok(Verdict::Go { thread })
    }

    /// The thread to tell; None when there is nothing to tell.
    pub fn remove_tap(&mut self, room: u64, tap: u64) -> Option<usize> {
        let place = self.rooms.get_mut(&room)?;
        place.taps.remove(&tap)?;
        Some(place.thread)
    }

    pub fn check_journal(&self, journal: u64) -> Result<(), CoreError> {
        self.journals.contains_key(&journal).then_some(()).ok_or_else(|| unknown("journal", journal))
    }

    /// True: open it now (and call `forget_journal` if that fails).
    pub fn open_journal(&mut self, journal: u64, made_from: impl std::hash::Hash) -> Result<bool, CoreError> {
        let made_from = self.hasher.hash_one(made_from);
        match self.journals.entry(journal) {
            Entry::Occupied(there) if *there.get() == made_from => Ok(false),
            Entry::Occupied(_) => Err(duplicate("journal", journal)),
            Entry::Vacant(vacant) => {
                vacant.insert(made_from);
                Ok(true)
            }
        }
    }

    /// The taps (thread, room, tap) that wrote into it; None when it was not there.
    pub fn forget_journal(&mut self, journal: u64) -> Option<Vec<(usize, u64, u64)>> {
        self.journals.remove(&journal)?;
        let mut ended = Vec::new();
        for (room_id, room) in &mut self.rooms {
            let taps: Vec<u64> =
                room.taps.iter().filter(|(_, tap)| tap.journal == journal).map(|(id, _)| *id).collect();
            for tap in taps {
                room.taps.remove(&tap);
                ended.push((room.thread, *room_id, tap));
            }
        }
        Some(ended)
    }
}
