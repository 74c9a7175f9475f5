//! A publisher's recent packets, plain, for the send queues and for retransmission: a ring of bytes filled in order
//! of arrival and found by sequence number. Slots hold numbers, never copies. Must not know subscribers.

use crate::time::Time;
use std::collections::VecDeque;

/// A stream above these is cut to its newest packets: 2 MB is a second of 16 Mbit/s.
const MAX_BYTES: usize = 2 * 1024 * 1024;
const MAX_PACKETS: usize = 4_096;
const FIRST_BYTES: usize = 8 * 1024;
const FIRST_INDEX: usize = 64;

/// What forwarding needs of a packet besides its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PacketMeta {
    pub(crate) ext_seq: u64,
    pub(crate) rtp_ts: u32,
    pub(crate) arrival: Time,
    /// Position in the track's codec list.
    pub(crate) codec: u8,
    pub(crate) marker: bool,
    pub(crate) starts_keyframe: bool,
    /// The audio-level byte as sent.
    pub(crate) audio_level: Option<u8>,
    pub(crate) video_orientation: Option<u8>,
    pub(crate) playout_delay: Option<[u8; 3]>,
    /// VP8 and VP9.
    pub(crate) picture_id: Option<u16>,
    pub(crate) tl0_pic_idx: u8,
    /// Of the dependency descriptor.
    pub(crate) frame_number: Option<u16>,
    pub(crate) temporal_id: u8,
    /// A switch up to this temporal layer is safe here.
    pub(crate) layer_sync: bool,
    /// Made of a later packet's redundancy: subscribers with RED have that themselves.
    pub(crate) is_recovered: bool,
    /// Bytes of dependency descriptor stored before the payload.
    pub(crate) descriptor_bytes: u8,
}

impl PacketMeta {
    /// Of packets without content.
    pub(crate) const BLANK: PacketMeta = PacketMeta {
        ext_seq: 0,
        rtp_ts: 0,
        arrival: Time(0),
        codec: 0,
        marker: false,
        starts_keyframe: false,
        audio_level: None,
        video_orientation: None,
        playout_delay: None,
        picture_id: None,
        tl0_pic_idx: 0,
        frame_number: None,
        temporal_id: 0,
        layer_sync: false,
        is_recovered: false,
        descriptor_bytes: 0,
    };
}

struct Entry {
    meta: PacketMeta,
    start: usize,
    len: usize,
}

pub(crate) struct PacketCache {
    entries: VecDeque<Entry>,
    /// Number of the first entry; numbers only grow.
    first_number: u64,
    /// (ext_seq, entry number), at `ext_seq` modulo its length.
    index: Vec<(u64, u64)>,
    bytes: Vec<u8>,
    /// Where the next packet goes.
    head: usize,
}

const EMPTY: (u64, u64) = (u64::MAX, u64::MAX);

impl PacketCache {
    pub(crate) fn new() -> Self {
        PacketCache { entries: VecDeque::new(), first_number: 0, index: Vec::new(), bytes: Vec::new(), head: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn capacity_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The packet's meta data, its dependency descriptor (may be empty) and its payload.
    pub(crate) fn get(&self, ext_seq: u64) -> Option<(&PacketMeta, &[u8], &[u8])> {
        let entry = &self.entries[self.position(ext_seq)?];
        let stored = &self.bytes[entry.start..entry.start + entry.len];
        let (descriptor, payload) = stored.split_at(usize::from(entry.meta.descriptor_bytes));
        Some((&entry.meta, descriptor, payload))
    }

    fn position(&self, ext_seq: u64) -> Option<usize> {
        if self.index.is_empty() {
            return None;
        }
        let (seq, number) = self.index[ext_seq as usize & (self.index.len() - 1)];
        (seq == ext_seq).then_some(())?;
        usize::try_from(number.checked_sub(self.first_number)?).ok().filter(|at| *at < self.entries.len())
    }

    /// Keeps a packet; those older than `keep_us` go. `descriptor` must be `meta.descriptor_bytes` long.
    pub(crate) fn insert(&mut self, meta: PacketMeta, descriptor: &[u8], payload: &[u8], keep_us: u64) {
        self.expire(meta.arrival, keep_us);
        let len = descriptor.len() + payload.len();
        let start = self.make_room(len);
        self.bytes[start..start + descriptor.len()].copy_from_slice(descriptor);
        self.bytes[start + descriptor.len()..start + len].copy_from_slice(payload);
        self.head = start + len;
        self.entries.push_back(Entry { meta, start, len });
        if self.entries.len() * 2 > self.index.len() {
            self.grow_index();
        }
        let number = self.first_number + self.entries.len() as u64 - 1;
        let mask = self.index.len() - 1;
        self.index[meta.ext_seq as usize & mask] = (meta.ext_seq, number);
    }

    fn expire(&mut self, now: Time, keep_us: u64) {
        while let Some(front) = self.entries.front() {
            if now.since_us(front.meta.arrival) <= keep_us && self.entries.len() < MAX_PACKETS {
                return;
            }
            self.pop();
        }
    }

    fn pop(&mut self) {
        if self.entries.pop_front().is_some() {
            self.first_number += 1;
        }
    }

    /// A free contiguous stretch of `len` bytes; grows up to the bound, then drops the oldest.
    fn make_room(&mut self, len: usize) -> usize {
        loop {
            if let Some(start) = self.free_stretch(len) {
                return start;
            }
            if self.bytes.len() < MAX_BYTES {
                self.grow(len);
            } else {
                self.pop();
            }
        }
    }

    fn free_stretch(&self, len: usize) -> Option<usize> {
        let Some(tail) = self.entries.front().map(|entry| entry.start) else {
            return (len <= self.bytes.len()).then_some(0);
        };
        let newest = self.entries.back().map_or(0, |entry| entry.start);
        if newest >= tail {
            if self.head + len <= self.bytes.len() {
                return Some(self.head);
            }
            return (len < tail).then_some(0);
        }
        // Wrapped: one byte stays free so that a full ring and an empty one differ.
        (self.head + len < tail).then_some(self.head)
    }

    /// A quarter larger, packets laid out afresh from the start: keeps the ring close to what a second needs.
    fn grow(&mut self, len: usize) {
        let target = (self.bytes.len() + self.bytes.len() / 4 + len).clamp(FIRST_BYTES, MAX_BYTES + len);
        let mut bytes = vec![0; target];
        let mut at = 0;
        for entry in &mut self.entries {
            bytes[at..at + entry.len].copy_from_slice(&self.bytes[entry.start..entry.start + entry.len]);
            entry.start = at;
            at += entry.len;
        }
        self.bytes = bytes;
        self.head = at;
    }

    fn grow_index(&mut self) {
        let size = (self.entries.len() * 2).next_power_of_two().max(FIRST_INDEX);
        self.index = vec![EMPTY; size];
        for (at, entry) in self.entries.iter().enumerate() {
            let number = self.first_number + at as u64;
            self.index[entry.meta.ext_seq as usize & (size - 1)] = (entry.meta.ext_seq, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(ext_seq: u64, at_ms: u64) -> PacketMeta {
        PacketMeta { ext_seq, arrival: Time(0).plus_ms(at_ms), ..PacketMeta::default() }
    }

    fn payload(ext_seq: u64) -> Vec<u8> {
        let len = 1 + (ext_seq as usize * 7919) % 1_300;
        vec![ext_seq as u8; len]
    }

    #[test]
    fn every_packet_of_the_last_second_is_found_byte_for_byte() {
        let mut cache = PacketCache::new();
        for seq in 0..20_000_u64 {
            cache.insert(meta(seq, seq * 5), &[], &payload(seq), 1_000_000);
            for back in [0, 1, 57, 199] {
                let Some(wanted) = seq.checked_sub(back) else { continue };
                let (found, _, bytes) = cache.get(wanted).expect("younger than a second");
                assert_eq!((found.ext_seq, bytes), (wanted, payload(wanted).as_slice()));
            }
            assert!(seq < 300 || cache.get(seq - 300).is_none());
        }
        assert!(cache.capacity_bytes() < 200 * 1_300 * 3 / 2, "{}", cache.capacity_bytes());
    }

    #[test]
    fn a_burst_beyond_the_bound_keeps_only_the_newest() {
        let mut cache = PacketCache::new();
        for seq in 0..10_000_u64 {
            cache.insert(meta(seq, 0), &[], &[1; 1_300], 1_000_000);
        }
        assert!(cache.len() <= MAX_PACKETS && cache.capacity_bytes() <= MAX_BYTES + 1_300);
        assert!(cache.get(9_999).is_some() && cache.get(0).is_none());
    }

    #[test]
    fn late_packets_stand_beside_newer_ones() {
        let mut cache = PacketCache::new();
        for seq in [5_u64, 7, 6, 9, 8] {
            cache.insert(meta(seq, 1), &[], &payload(seq), 1_000_000);
        }
        for seq in 5..=9 {
            assert_eq!(cache.get(seq).map(|(_, _, p)| p.to_vec()), Some(payload(seq)));
        }
        assert!(cache.get(4).is_none());
    }
}
