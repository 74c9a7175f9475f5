//! From one inbound packet to every consumer of its track: into the cache once, then a number in each slot's queue,
//! and a record in each tap. The loop over slots is the hot path of the whole server.

use crate::arena::Arena;
use crate::cache::PacketMeta;
use crate::command::{Kind, SlotId};
use crate::engine::Engine;
use crate::layers::{aligned_ts, may_switch};
use crate::output::Outputs;
use crate::rewrite::{Inbound, Placed};
use crate::slot::{Origin, Slot};
use crate::tap::Offered;
use crate::time::Time;
use crate::track::Track;
use crate::transport::Binding;
use holdspace_wire::codec::Codec;

/// Without NACK the cache only bridges a batch and a queue.
const UNREPAIRED_CACHE_US: u64 = 200_000;

/// A described packet on its way to the consumers.
pub(crate) struct MediaIn<'a> {
    pub(crate) binding: Binding,
    pub(crate) meta: PacketMeta,
    pub(crate) descriptor: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) codec: Codec,
    pub(crate) clock_hz: u32,
    /// Nothing to forward: its number must vanish without a gap.
    pub(crate) swallow: bool,
}

/// What a slot made of a packet.
enum Outcome {
    Queued {
        was_idle: bool,
    },
    Ignored,
    /// A keyframe of this layer must come first.
    Waits(usize),
}

impl Engine {
    pub(crate) fn forward(&mut self, media: &MediaIn<'_>, now: Time, out: &mut Outputs) {
        let Binding { track: track_at, layer, .. } = media.binding;
        let cache_us = self.config.cache_ms * 1_000;
        let stream = self.tracks.get(track_at).and_then(|track| track.stream(layer));
        let Some(shown_from) = stream.map(|stream| stream.shown_from) else { return };
        if media.meta.ext_seq < shown_from && !self.unveils(media, now, out) {
            return;
        }
        let Some(track) = self.tracks.get_mut(track_at) else { return };
        let repaired = track.codecs.iter().any(|codec| codec.spec.nack);
        let Some(stream) = track.stream_mut(layer) else { return };
        if !media.swallow {
            let keep_us = if repaired { cache_us } else { UNREPAIRED_CACHE_US.min(cache_us) };
            stream.cache.insert(media.meta, media.descriptor, media.payload, keep_us);
        }
        let inbound = inbound_of(stream.key, &media.meta, now);
        let Some(track) = self.tracks.get(track_at) else { return };
        let has_clock = track.stream(layer).is_some_and(|stream| stream.clock.is_some());
        let (mut wanted_layers, mut report_due) = (0_u64, false);
        for slot_at in &track.slots {
            let Some(slot) = self.slots.get_mut(*slot_at) else { continue };
            report_due |= slot.report_due;
            match offer(slot, track, track_at, media, &inbound) {
                Outcome::Queued { was_idle: true } => {
                    let waiting = if slot.is_audio() { &mut self.waiting_audio } else { &mut self.waiting_video };
                    waiting.push(*slot_at);
                }
                Outcome::Waits(layer) => wanted_layers |= 1 << layer.min(63),
                Outcome::Queued { was_idle: false } | Outcome::Ignored => {}
            }
        }
        wanted_layers |= self.offer_taps(track_at, media, &inbound, out);
        if report_due && has_clock {
            self.wake_at(now);
        }
        if wanted_layers != 0 {
            self.want_keyframes(track_at, wanted_layers, now);
        }
    }

    /// Offers to taps; answers the layers of which they need a keyframe.
    fn offer_taps(&mut self, track_at: usize, media: &MediaIn<'_>, inbound: &Inbound, out: &mut Outputs) -> u64 {
        let Some(track) = self.tracks.get(track_at) else { return 0 };
        let Some(stream) = track.stream(media.binding.layer) else { return 0 };
        let mut wanted_layers = 0;
        for tap_at in &track.taps {
            let Some(tap) = self.taps.get_mut(*tap_at) else { continue };
            if media.swallow {
                tap.swallow(inbound);
                continue;
            }
            let offered = Offered {
                inbound: *inbound,
                meta: &media.meta,
                codec: media.codec,
                layer: media.binding.layer,
                clock: stream.clock,
                clock_hz: media.clock_hz,
                video_orientation: stream.video_orientation,
            };
            if tap.offer(track, &offered, media.payload, out) {
                wanted_layers |= 1 << media.binding.layer.min(63);
            }
        }
        wanted_layers
    }

    /// For consumers: of what they may see.
    pub(crate) fn want_keyframes(&mut self, track_at: usize, layers: u64, now: Time) {
        let Some(track) = self.tracks.get_mut(track_at) else { return };
        let private = track.privacy.as_mut().filter(|privacy| privacy.is_on());
        let Some(privacy) = private else { return self.want_keyframes_of_camera(track_at, layers, now) };
        privacy.blurred.keyframes.want();
        let at = privacy.blurred.keyframes.deadline(now).unwrap_or(now);
        self.wake_at(at);
    }

    pub(crate) fn want_keyframes_of_camera(&mut self, track_at: usize, layers: u64, now: Time) {
        let Some(track) = self.tracks.get_mut(track_at) else { return };
        if track.kind() != Kind::Video || track.muted {
            return;
        }
        let mut wake = None::<Time>;
        for (layer, stream) in track.streams.iter_mut().enumerate() {
            let Some(stream) = stream.as_mut().filter(|_| layers & (1 << layer.min(63)) != 0) else {
                continue;
            };
            stream.keyframes.want();
            let at = stream.keyframes.deadline(now).unwrap_or(now);
            wake = Some(wake.map_or(at, |wake| wake.min(at)));
        }
        if let Some(at) = wake {
            self.wake_at(at);
        }
    }
}

fn inbound_of(stream_key: u64, meta: &PacketMeta, now: Time) -> Inbound {
    Inbound {
        stream_key,
        ext_seq: meta.ext_seq,
        rtp_ts: meta.rtp_ts,
        picture_id: meta.picture_id,
        tl0_pic_idx: meta.tl0_pic_idx,
        frame_number: meta.frame_number,
        now,
    }
}

fn offer(slot: &mut Slot, track: &Track, track_at: usize, media: &MediaIn<'_>, inbound: &Inbound) -> Outcome {
    let unwanted = slot.held || slot.is_paused() || (media.meta.is_recovered && !slot.unpacks_red());
    if !slot.open || unwanted {
        return Outcome::Ignored;
    }
    let layer = media.binding.layer;
    let was_idle = slot.is_idle();
    let origin = Origin {
        track: track_at,
        layer,
        stream_key: inbound.stream_key,
        source_seq: inbound.ext_seq,
        empty: media.swallow,
    };
    let attached = slot.timeline.stream_key() == Some(inbound.stream_key);
    if attached && !slot.timeline.is_break(inbound.stream_key, inbound.ext_seq) {
        let decodable = slot.codec_map.get(usize::from(media.meta.codec)).is_some_and(Option::is_some);
        if media.meta.starts_keyframe {
            slot.keyframe_at = Some(inbound.now);
        }
        let placed = match media.swallow || !decodable {
            true => slot.timeline.swallow(inbound, false).map(|placed| (placed, media.swallow)),
            false => place(slot, media.codec, &media.meta, inbound),
        };
        let queued =
            placed.is_some_and(|(placed, empty)| slot.enqueue(placed, Origin { empty, ..origin }, inbound.now));
        return match queued {
            true => Outcome::Queued { was_idle },
            false => Outcome::Ignored,
        };
    }
    let target = track.layer_for(slot.wanted_layer, inbound.now);
    if media.swallow || layer != target || slot.codec_map.get(usize::from(media.meta.codec)).is_none_or(Option::is_none)
    {
        return Outcome::Ignored;
    }
    if !may_switch(&slot.timeline, track, layer, inbound.now) {
        return Outcome::Ignored;
    }
    if media.codec.is_video() && !media.meta.starts_keyframe {
        return Outcome::Waits(layer);
    }
    let placed = slot.timeline.attach(inbound, aligned_ts(&slot.timeline, track, layer, inbound));
    slot.temporal.restart();
    slot.report_due = true;
    slot.keyframe_at = Some(inbound.now);
    if !slot.enqueue(placed, origin, inbound.now) {
        return Outcome::Ignored;
    }
    catch_up(slot, track, origin, inbound.now);
    Outcome::Queued { was_idle }
}

/// Its number in the slot's stream, unless it is of a temporal layer that is left out. True: only the number goes out,
/// because it was spoken for before the rest of the frame was left out.
fn place(slot: &mut Slot, codec: Codec, meta: &PacketMeta, inbound: &Inbound) -> Option<(Placed, bool)> {
    if slot.timeline.is_late(inbound.ext_seq) {
        let left_out = slot.timeline.left_out(inbound);
        return slot.timeline.place(inbound).map(|placed| (placed, left_out));
    }
    if slot.temporal.passes(meta) {
        return slot.timeline.place(inbound).map(|placed| (placed, false));
    }
    // A gap in VP8's picture ids would have the decoder wait for what is not coming.
    slot.timeline.swallow(inbound, codec == Codec::Vp8).map(|placed| (placed, true))
}

/// The keyframe's first packet came late (by RTX): what followed it is in the cache already.
fn catch_up(slot: &mut Slot, track: &Track, origin: Origin, now: Time) {
    let Some(stream) = track.stream(origin.layer) else { return };
    let newest = stream.newest_seq().unwrap_or(origin.source_seq);
    for source_seq in origin.source_seq + 1..=newest.min(origin.source_seq + 1_000) {
        let Some((meta, _, _)) = stream.cache.get(source_seq) else { continue };
        let Some(codec) = track.codecs.get(usize::from(meta.codec)) else { continue };
        if let Some((placed, empty)) = place(slot, codec.codec, meta, &inbound_of(stream.key, meta, now)) {
            slot.enqueue(placed, Origin { source_seq, empty, ..origin }, now);
        }
    }
}

impl Engine {
    /// A NACK of a subscriber; answers with RTX at the next flush.
    pub(crate) fn ask_resend(&mut self, slot_at: usize, ext_seq: u64, now: Time, rtt_us: Option<u64>) {
        let Some(slot) = self.slots.get_mut(slot_at).filter(|slot| slot.open) else { return };
        let was_idle = slot.is_idle();
        if slot.ask_resend(ext_seq, now, rtt_us) && was_idle {
            let waiting = if slot.is_audio() { &mut self.waiting_audio } else { &mut self.waiting_video };
            waiting.push(slot_at);
        }
    }
}

/// Which slot of a subscriber has this outgoing SSRC.
pub(crate) fn slot_by_ssrc(slots: &Arena<SlotId, Slot>, candidates: &[usize], ssrc: u32) -> Option<usize> {
    candidates.iter().copied().find(|at| slots.get(*at).is_some_and(|slot| slot.spec.ssrc == ssrc))
}
