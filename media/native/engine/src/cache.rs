//! A publisher's recent packets, plain, for the send queues and for retransmission: blocks of bytes filled in order
//! of arrival, packets found by sequence number. Slots hold numbers, never copies. Must not know subscribers.

use crate::time::Time;
use std::collections::VecDeque;

/// A stream above these is cut to its newest packets: 2 MB is a second of 16 Mbit/s.
const MAX_BYTES: usize = 2 * 1024 * 1024;
const MAX_PACKETS: usize = 4_096;
/// A block holds a quarter of what there is already, within these: what is not yet filled and what is not yet free
/// are small beside the rest, and nothing is ever moved.
const BLOCK_BYTES: std::ops::RangeInclusive<usize> = 2 * 1024..=16 * 1024;
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
    /// This temporal layer may begin here.
    pub(crate) layer_sync: bool,
    /// Layers up to this one may begin after this frame, for who gets it.
    pub(crate) opens: u8,
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
        opens: 0,
        is_recovered: false,
        descriptor_bytes: 0,
    };
}

struct Entry {
    meta: PacketMeta,
    block: u32,
    start: u32,
    len: u32,
}

#[derive(Default)]
pub(crate) struct PacketCache {
    entries: VecDeque<Entry>,
    /// Number of the first entry, modulo 2³²; numbers only grow.
    first_number: u32,
    /// Numbers of entries, at `ext_seq` modulo its length; an entry says itself whether it is the one.
    index: Vec<u32>,
    /// Packets go to the last one, which never grows.
    blocks: VecDeque<Vec<u8>>,
    /// Number of the first block, modulo 2³².
    first_block: u32,
    capacity_bytes: usize,
}

impl PacketCache {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn capacity_bytes(&self) -> usize {
        self.capacity_bytes
    }

    /// The packet's meta data, its dependency descriptor (may be empty) and its payload.
    pub(crate) fn get(&self, ext_seq: u64) -> Option<(&PacketMeta, &[u8], &[u8])> {
        let mask = self.index.len().checked_sub(1)?;
        let at = self.index[ext_seq as usize & mask].wrapping_sub(self.first_number) as usize;
        let entry = self.entries.get(at).filter(|entry| entry.meta.ext_seq == ext_seq)?;
        let block = &self.blocks[entry.block.wrapping_sub(self.first_block) as usize];
        let stored = &block[entry.start as usize..][..entry.len as usize];
        let (descriptor, payload) = stored.split_at(usize::from(entry.meta.descriptor_bytes));
        Some((&entry.meta, descriptor, payload))
    }

    /// Keeps a packet; those older than `keep_us` go. `descriptor` must be `meta.descriptor_bytes` long.
    pub(crate) fn insert(&mut self, meta: PacketMeta, descriptor: &[u8], payload: &[u8], keep_us: u64) {
        self.expire(meta.arrival, keep_us);
        let len = descriptor.len() + payload.len();
        self.make_room(len);
        let Some(block) = self.blocks.back_mut() else { return };
        let start = block.len();
        block.extend_from_slice(descriptor);
        block.extend_from_slice(payload);
        let block = self.first_block.wrapping_add(self.blocks.len() as u32 - 1);
        self.entries.push_back(Entry { meta, block, start: start as u32, len: len as u32 });
        if self.entries.len() * 2 > self.index.len() {
            return self.grow_index();
        }
        let mask = self.index.len() - 1;
        self.index[meta.ext_seq as usize & mask] = self.first_number.wrapping_add(self.entries.len() as u32 - 1);
    }

    fn expire(&mut self, now: Time, keep_us: u64) {
        while let Some(front) = self.entries.front() {
            if now.since_us(front.meta.arrival) <= keep_us && self.entries.len() < MAX_PACKETS {
                return;
            }
            self.pop();
        }
    }

    /// The oldest packet goes, and with the last one of its block that, too, unless it is still being filled.
    fn pop(&mut self) {
        if self.entries.pop_front().is_none() {
            return;
        }
        self.first_number = self.first_number.wrapping_add(1);
        let oldest = self.entries.front().map(|entry| entry.block);
        while self.blocks.len() > 1 && oldest != Some(self.first_block) {
            let block = self.blocks.pop_front().unwrap_or_default();
            self.capacity_bytes -= block.capacity();
            self.first_block = self.first_block.wrapping_add(1);
        }
    }

    /// Sees to it that the last block takes `len` bytes more; beyond the bound the oldest packets go.
    fn make_room(&mut self, len: usize) {
        if self.entries.is_empty() {
            self.blocks.back_mut().into_iter().for_each(Vec::clear);
        }
        if self.blocks.back().is_some_and(|block| block.capacity() - block.len() >= len) {
            return;
        }
        let size = (self.capacity_bytes / 4).clamp(*BLOCK_BYTES.start(), *BLOCK_BYTES.end()).max(len);
        while self.capacity_bytes + size > MAX_BYTES && !self.entries.is_empty() {
            self.pop();
        }
        let block = Vec::with_capacity(size);
        self.capacity_bytes += block.capacity();
        self.blocks.push_back(block);
    }

    fn grow_index(&mut self) {
        let size = (self.entries.len() * 2).next_power_of_two().max(FIRST_INDEX);
        self.index = vec![0; size];
        for (at, entry) in self.entries.iter().enumerate() {
            self.index[entry.meta.ext_seq as usize & (size - 1)] = self.first_number.wrapping_add(at as u32);
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
        let mut cache = PacketCache::default();
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
        let mut cache = PacketCache::default();
        for seq in 0..10_000_u64 {
            cache.insert(meta(seq, 0), &[], &[1; 1_300], 1_000_000);
        }
        assert!(cache.len() <= MAX_PACKETS && cache.capacity_bytes() <= MAX_BYTES + 1_300);
        assert!(cache.get(9_999).is_some() && cache.get(0).is_none());
    }

    #[test]
    fn late_packets_stand_beside_newer_ones() {
        let mut cache = PacketCache::default();
        for seq in [5_u64, 7, 6, 9, 8] {
            cache.insert(meta(seq, 1), &[], &payload(seq), 1_000_000);
        }
        for seq in 5..=9 {
            assert_eq!(cache.get(seq).map(|(_, _, p)| p.to_vec()), Some(payload(seq)));
        }
        assert!(cache.get(4).is_none());
    }
}
