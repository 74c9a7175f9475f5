//! One outgoing stream of a subscriber: which track fills it, how that track's codecs are called there, its
//! timeline, what was sent and what waits. Holds numbers of cached packets, never copies (except ciphertext for
//! peers without RTX). Must not write packets: that is `assemble`.

use crate::command::{CodecSpec, Kind, SlotId, SlotSpec};
use crate::layers::Temporal;
use crate::rewrite::{Placed, Timeline};
use crate::time::Time;
use crate::track::TrackCodec;
use holdspace_wire::codec::Codec;
use std::collections::VecDeque;

const FIRST_SENT: usize = 64;
/// 4,096 packets are 4 s of 10 Mbit/s; a NACK for older ones is hopeless.
const MAX_SENT: usize = 4_096;
/// Repeats asked for within this share of a round trip are answers under way.
const RESEND_RTT_PERCENT: u64 = 80;
/// Before the round trip is known; below it a NACK's twin may be in flight.
const RESEND_DEFAULT_MS: u64 = 40;
/// Ciphertext kept for a peer without RTX.
const MAX_KEPT: usize = 128;
const MAX_QUEUED: usize = 2_048;
/// Video that waited longer in the queue is let go: the sender is far above what the path carries.
const PATIENCE_MS: u32 = 500;
/// Within what the publisher's cache holds (`cache_ms`).
const PATIENCE_KEYFRAME_MS: u32 = 900;
/// For so long after a keyframe its backlog may still be draining.
const KEYFRAME_DRAINS_MS: u64 = 3_000;

/// How a codec of the publisher leaves towards this subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    AsIs,
    Vp8,
    Vp9,
    /// RED with its inner blocks renamed to this payload type.
    Red {
        inner: u8,
    },
    /// RED for a subscriber without it: the newest block; older ones come as packets of their own where they were lost.
    Unpacked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutCodec {
    pub(crate) payload_type: u8,
    pub(crate) rtx_payload_type: Option<u8>,
    pub(crate) form: Form,
}

/// Codecs of a track (by position) as this slot's payload types; None: the subscriber cannot decode it.
pub(crate) fn map_codecs(track: &[TrackCodec], slot: &[CodecSpec]) -> Vec<Option<OutCodec>> {
    let opus = slot.iter().find(|spec| spec.name == "opus");
    track
        .iter()
        .map(|codec| {
            let same =
                slot.iter().filter(|spec| spec.name == codec.spec.name).min_by_key(|spec| spec.fmtp != codec.spec.fmtp);
            let form = match (codec.codec, same) {
                (Codec::Vp8, _) => Form::Vp8,
                (Codec::Vp9, _) => Form::Vp9,
                (Codec::Red, Some(_)) => Form::Red { inner: opus?.payload_type },
                (Codec::Red, None) => Form::Unpacked,
                _ => Form::AsIs,
            };
            let spec = if form == Form::Unpacked { opus? } else { same? };
            let rtx_payload_type = spec.rtx_payload_type;
            Some(OutCodec { payload_type: spec.payload_type, rtx_payload_type, form })
        })
        .collect()
}

/// What stands behind an outgoing sequence number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) ext_seq: u64,
    pub(crate) source_seq: u64,
    pub(crate) stream_key: u64,
    pub(crate) track: u32,
    pub(crate) rtp_ts: u32,
    queued_ms: u32,
    resent_ms: u32,
    pub(crate) picture_id: u16,
    pub(crate) frame_number: u16,
    pub(crate) tl0_pic_idx: u8,
    pub(crate) layer: u8,
    /// Nothing but its number: fills a gap that could not be closed.
    pub(crate) empty: bool,
    pub(crate) resent: bool,
}

const NOTHING: Sent = Sent {
    ext_seq: u64::MAX,
    source_seq: 0,
    stream_key: 0,
    track: 0,
    rtp_ts: 0,
    queued_ms: 0,
    resent_ms: 0,
    picture_id: 0,
    frame_number: 0,
    tl0_pic_idx: 0,
    layer: 0,
    empty: false,
    resent: false,
};

impl Sent {
    /// What stands for a packet of padding alone.
    pub(crate) fn padding(rtp_ts: u32) -> Sent {
        Sent { rtp_ts, empty: true, ..NOTHING }
    }
}

/// Where a packet to be queued comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) track: usize,
    pub(crate) layer: usize,
    pub(crate) stream_key: u64,
    pub(crate) source_seq: u64,
    pub(crate) empty: bool,
}

pub(crate) struct Slot {
    pub(crate) id: SlotId,
    pub(crate) transport: usize,
    pub(crate) spec: SlotSpec,
    pub(crate) source: Option<usize>,
    pub(crate) wanted_rid: Option<String>,
    pub(crate) wanted_layer: usize,
    pub(crate) temporal: Temporal,
    pub(crate) codec_map: Vec<Option<OutCodec>>,
    /// What it may use of the subscriber's estimate; None: no limit is known. 0: paused.
    pub(crate) share_bps: Option<u64>,
    /// The subscriber is connected and has keys.
    pub(crate) open: bool,
    pub(crate) timeline: Timeline,
    ring: Vec<Sent>,
    pub(crate) queue: VecDeque<u64>,
    pub(crate) resend: VecDeque<u64>,
    pub(crate) rtx_next: u64,
    /// One past the newest number that was encrypted.
    pub(crate) sent_end: u64,
    kept: VecDeque<(u64, Vec<u8>)>,
    pub(crate) packets_sent: u64,
    pub(crate) bytes_sent: u64,
    /// The (middle NTP bits, time) of our latest sender reports, for the round trip.
    reports: VecDeque<(u32, Time)>,
    /// A stream was attached and has not been reported yet.
    pub(crate) report_due: bool,
    pub(crate) fraction_lost: f64,
    /// Outgoing number from which feedback proves the newest address.
    pub(crate) proof_from: u64,
    /// Newest number a receiver report told of.
    reported: Option<u32>,
    /// When the newest keyframe was queued.
    pub(crate) keyframe_at: Option<Time>,
    /// Queued packets grew too old and were let go: nothing is queued until the path has emptied.
    pub(crate) held: bool,
}

impl Slot {
    /// `first_seq` and `rtx_first` are below 2¹⁵, so that the subscriber agrees on rollover 0.
    pub(crate) fn new(id: SlotId, transport: usize, spec: SlotSpec, random: u64) -> Self {
        let clock_hz = spec.codecs.first().map_or(90_000, |codec| codec.clock_hz);
        let first_seq = 1 + (random & 0x3fff);
        let rtx_next = 1 + (random >> 16 & 0x3fff);
        Slot {
            id,
            transport,
            spec,
            source: None,
            wanted_rid: None,
            wanted_layer: 0,
            temporal: Temporal::new(),
            codec_map: Vec::new(),
            share_bps: None,
            open: false,
            timeline: Timeline::new(first_seq, (random >> 32) as u32, clock_hz),
            ring: Vec::new(),
            queue: VecDeque::new(),
            resend: VecDeque::new(),
            rtx_next,
            sent_end: first_seq,
            kept: VecDeque::new(),
            packets_sent: 0,
            bytes_sent: 0,
            reports: VecDeque::new(),
            report_due: false,
            fraction_lost: 0.0,
            proof_from: 0,
            reported: None,
            keyframe_at: None,
            held: false,
        }
    }

    pub(crate) fn is_audio(&self) -> bool {
        self.spec.kind == Kind::Audio
    }

    /// Gets RED as Opus (or has no use for it): packets recovered from redundancy are for this subscriber, too.
    pub(crate) fn unpacks_red(&self) -> bool {
        !self.codec_map.iter().flatten().any(|codec| matches!(codec.form, Form::Red { .. }))
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.share_bps == Some(0)
    }

    /// Lets go of all that waits; what follows begins at a keyframe, without a gap in the numbers: nothing of it was
    /// encrypted, so its indexes are not spent.
    pub(crate) fn drop_queue(&mut self) -> usize {
        let dropped = self.queue.len();
        self.queue.clear();
        self.timeline.rewind(self.sent_end);
        self.timeline.detach();
        dropped
    }

    /// Waits for its subscriber's path longer than a picture is worth. After a keyframe, which is large, patience is
    /// longer: letting go of it would only cause the next one.
    pub(crate) fn is_stale(&self, now: Time) -> bool {
        let Some(oldest) = self.queue.front().and_then(|ext_seq| self.sent(*ext_seq)) else { return false };
        let waited_ms = ((now.0 / 1_000) as u32).wrapping_sub(oldest.queued_ms);
        let is_new = self.keyframe_at.is_some_and(|at| now.since_ms(at) < KEYFRAME_DRAINS_MS);
        waited_ms > if is_new { PATIENCE_KEYFRAME_MS } else { PATIENCE_MS }
    }

    /// Lets go of what waits until the path has emptied. Answers how many packets.
    pub(crate) fn hold(&mut self) -> usize {
        self.held = true;
        self.resend.clear();
        self.drop_queue()
    }

    /// The subscriber has another path: what is sent from now on proves it, and what was lost before is not its own.
    pub(crate) fn begin_path(&mut self) {
        self.proof_from = self.timeline.next_seq();
        self.reported = None;
        self.held = false;
    }

    /// Packets a report speaks of for the first time.
    pub(crate) fn newly_reported(&mut self, highest_seq: u32) -> u64 {
        let before = self.reported.replace(highest_seq).unwrap_or(highest_seq);
        u64::from(highest_seq.saturating_sub(before)).min(MAX_SENT as u64)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.resend.is_empty()
    }

    /// Puts a placed packet into the send queue. False: the queue is full.
    pub(crate) fn enqueue(&mut self, placed: Placed, origin: Origin, now: Time) -> bool {
        if self.queue.len() >= MAX_QUEUED {
            return false;
        }
        let now_ms = (now.0 / 1_000) as u32;
        self.grow_ring(placed.ext_seq, now_ms);
        let at = placed.ext_seq as usize & (self.ring.len() - 1);
        self.ring[at] = Sent {
            ext_seq: placed.ext_seq,
            source_seq: origin.source_seq,
            stream_key: origin.stream_key,
            track: origin.track as u32,
            rtp_ts: placed.rtp_ts,
            queued_ms: now_ms,
            resent_ms: 0,
            picture_id: placed.picture_id,
            frame_number: placed.frame_number,
            tl0_pic_idx: placed.tl0_pic_idx,
            layer: origin.layer as u8,
            empty: origin.empty,
            resent: false,
        };
        self.queue.push_back(placed.ext_seq);
        true
    }

    fn grow_ring(&mut self, ext_seq: u64, now_ms: u32) {
        if self.ring.is_empty() {
            self.ring = vec![NOTHING; FIRST_SENT];
        }
        let oldest = self.ring[ext_seq as usize & (self.ring.len() - 1)];
        let young = now_ms.wrapping_sub(oldest.queued_ms) < 1_000;
        if oldest.ext_seq == u64::MAX || !young || self.ring.len() >= MAX_SENT {
            return;
        }
        let size = self.ring.len() * 2;
        let mut ring = vec![NOTHING; size];
        for sent in self.ring.iter().filter(|sent| sent.ext_seq != u64::MAX) {
            ring[sent.ext_seq as usize & (size - 1)] = *sent;
        }
        self.ring = ring;
    }

    pub(crate) fn sent(&self, ext_seq: u64) -> Option<Sent> {
        if self.ring.is_empty() {
            return None;
        }
        let sent = self.ring[ext_seq as usize & (self.ring.len() - 1)];
        (sent.ext_seq == ext_seq).then_some(sent)
    }

    /// A NACK: queues the repeat unless one is under way. True: something was queued.
    pub(crate) fn ask_resend(&mut self, ext_seq: u64, now: Time, rtt_us: Option<u64>) -> bool {
        if self.held || self.ring.is_empty() || ext_seq >= self.sent_end || self.resend.len() >= MAX_QUEUED {
            return false;
        }
        let at = ext_seq as usize & (self.ring.len() - 1);
        let sent = &mut self.ring[at];
        let wait_ms = rtt_us.map_or(RESEND_DEFAULT_MS, |us| us * RESEND_RTT_PERCENT / 100_000);
        let now_ms = (now.0 / 1_000) as u32;
        let under_way = sent.resent && u64::from(now_ms.wrapping_sub(sent.resent_ms)) < wait_ms.clamp(10, 300);
        if sent.ext_seq != ext_seq || under_way {
            return false;
        }
        sent.resent = true;
        sent.resent_ms = now_ms;
        self.resend.push_back(ext_seq);
        true
    }

    /// Padding for probes can go by its RTX stream.
    pub(crate) fn can_pad(&self) -> bool {
        self.open && !self.is_audio() && self.spec.rtx_ssrc.is_some() && self.rtx_payload_type().is_some()
    }

    pub(crate) fn rtx_payload_type(&self) -> Option<u8> {
        self.spec.codecs.iter().find_map(|codec| codec.rtx_payload_type)
    }

    /// Peers without RTX get repeats as the identical ciphertext.
    pub(crate) fn keeps_ciphertext(&self) -> bool {
        self.spec.rtx_ssrc.is_none() && self.spec.codecs.iter().any(|codec| codec.nack)
    }

    pub(crate) fn keep(&mut self, ext_seq: u64, ciphertext: &[u8]) {
        let mut buffer = match self.kept.len() {
            MAX_KEPT => self.kept.pop_front().map(|(_, buffer)| buffer).unwrap_or_default(),
            _ => Vec::new(),
        };
        buffer.clear();
        buffer.extend_from_slice(ciphertext);
        self.kept.push_back((ext_seq, buffer));
    }

    /// What left in clear of a source that has become private is not repeated.
    pub(crate) fn forget_ciphertext(&mut self) {
        self.kept.clear();
    }

    pub(crate) fn kept(&self, ext_seq: u64) -> Option<&[u8]> {
        self.kept.iter().rev().find(|(seq, _)| *seq == ext_seq).map(|(_, bytes)| bytes.as_slice())
    }

    pub(crate) fn note_report(&mut self, ntp_time: u64, now: Time) {
        self.reports.push_back(((ntp_time >> 16) as u32, now));
        if self.reports.len() > 4 {
            self.reports.pop_front();
        }
    }

    /// Round trip from a report block's echo of our sender report (RFC 3550 §6.4.1).
    pub(crate) fn round_trip_us(&self, last_sr: u32, delay_since: u32, now: Time) -> Option<u64> {
        let (_, sent_at) = self.reports.iter().find(|(middle, _)| *middle == last_sr)?;
        let held_us = u64::from(delay_since) * 1_000_000 / 65_536;
        now.since_us(*sent_at).checked_sub(held_us)
    }

    pub(crate) fn ring_len(&self) -> usize {
        self.ring.len()
    }
}
