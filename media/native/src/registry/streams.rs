//! Tracks and slots in the registry: whose they are, and which SSRCs a transport has used up.

use std::collections::hash_map::Entry;

use holdspace_engine::Kind;

use super::{duplicate, unknown, Registry, Room};
use crate::errors::CoreError;

pub(super) struct Track {
    transport: u64,
    mid: String,
    kind: Kind,
}

pub(super) struct Slot {
    transport: u64,
    mid: String,
    kind: Kind,
}

impl Track {
    pub(super) fn transport(&self) -> u64 {
        self.transport
    }
}

impl Slot {
    pub(super) fn transport(&self) -> u64 {
        self.transport
    }
}

/// Where a track or slot stands, and what about it never changes.
#[derive(Clone, Copy, Debug)]
pub struct StreamPlace<'a> {
    pub room: u64,
    pub transport: u64,
    pub mid: &'a str,
    pub kind: Kind,
}

impl Room {
    pub(super) fn forget_track(&mut self, track: u64) {
        self.tracks.remove(&track);
        self.taps.retain(|_, tap| tap.track() != track);
    }
}

impl Registry {
    pub fn set_track(&mut self, place: StreamPlace<'_>, track: u64) -> Result<usize, CoreError> {
        let thread = self.check_transport(place.room, place.transport)?;
        let most = self.limits.tracks_per_transport;
        let room = self.room(place.room)?;
        let has = room.tracks.values().filter(|there| there.transport == place.transport).count();
        match room.tracks.entry(track) {
            Entry::Occupied(there) => {
                let there = there.get();
                let is_same = there.transport == place.transport && there.mid == place.mid && there.kind == place.kind;
                is_same.then_some(thread).ok_or_else(|| duplicate("track", track))
            }
            Entry::Vacant(_) if has >= most => {
                Err(CoreError::Refused(format!("transport {} has its {most} tracks", place.transport)))
            }
            Entry::Vacant(vacant) => {
                vacant.insert(Track { transport: place.transport, mid: place.mid.to_owned(), kind: place.kind });
                Ok(thread)
            }
        }
    }

    pub fn check_track(&mut self, room: u64, track: u64) -> Result<usize, CoreError> {
        let place = self.room(room)?;
        place.tracks.get(&track).ok_or_else(|| unknown("track", track))?;
        Ok(place.thread)
    }

    /// Only video can be private.
    pub fn check_video(&mut self, room: u64, track: u64) -> Result<usize, CoreError> {
        let place = self.room(room)?;
        match place.tracks.get(&track).ok_or_else(|| unknown("track", track))?.kind {
            Kind::Video => Ok(place.thread),
            Kind::Audio => Err(CoreError::Refused(format!("track {track} is no video"))),
        }
    }

    /// The thread to tell; None when there is nothing to tell.
    pub fn remove_track(&mut self, room: u64, track: u64) -> Option<usize> {
        let place = self.rooms.get_mut(&room)?;
        place.tracks.get(&track)?;
        place.forget_track(track);
        Some(place.thread)
    }

    /// `ssrcs`: the slot's SSRC and, where it has one, its RTX SSRC.
    pub fn set_slot(&mut self, place: StreamPlace<'_>, slot: u64, ssrcs: &[u32]) -> Result<usize, CoreError> {
        let thread = self.check_transport(place.room, place.transport)?;
        let most = self.limits.slots_per_transport;
        let room = self.room(place.room)?;
        if let Some(there) = room.slots.get(&slot) {
            if there.transport != place.transport || there.mid != place.mid || there.kind != place.kind {
                return Err(duplicate("slot", slot));
            }
        } else if room.slots.values().filter(|there| there.transport == place.transport).count() >= most {
            return Err(CoreError::Refused(format!("transport {} has its {most} slots", place.transport)));
        }
        let transport =
            room.transports.get_mut(&place.transport).ok_or_else(|| unknown("transport", place.transport))?;
        let is_used = |ssrc: &u32| transport.ssrcs.get(ssrc).is_some_and(|owner| *owner != slot);
        if let Some(ssrc) = ssrcs.iter().find(|ssrc| is_used(ssrc)) {
            return Err(CoreError::Refused(format!("SSRC {ssrc} has been used on this transport")));
        }
        transport.ssrcs.extend(ssrcs.iter().map(|ssrc| (*ssrc, slot)));
        let made = Slot { transport: place.transport, mid: place.mid.to_owned(), kind: place.kind };
        room.slots.entry(slot).or_insert(made);
        Ok(thread)
    }

    pub fn check_slot(&mut self, room: u64, slot: u64) -> Result<usize, CoreError> {
        let place = self.room(room)?;
        place.slots.get(&slot).ok_or_else(|| unknown("slot", slot))?;
        Ok(place.thread)
    }

    /// Slot and track must be of one kind and of this room: nothing crosses rooms.
    pub fn check_source(&mut self, room: u64, slot: u64, track: Option<u64>) -> Result<usize, CoreError> {
        let place = self.room(room)?;
        let slot_kind = place.slots.get(&slot).ok_or_else(|| unknown("slot", slot))?.kind;
        let Some(track) = track else {
            return Ok(place.thread);
        };
        let track_kind = place.tracks.get(&track).ok_or_else(|| unknown("track", track))?.kind;
        if slot_kind != track_kind {
            return Err(CoreError::Refused(format!("track {track} is not of slot {slot}'s kind")));
        }
        Ok(place.thread)
    }
}
