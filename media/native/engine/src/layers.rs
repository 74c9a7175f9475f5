//! Which of a track's layers a consumer gets: the simulcast encoding, when it may change, on what clock it goes on,
//! and which temporal layers pass. Pure; what is wanted is Python's decision (`set_layer`).
//!
//! - Encodings stand in the offer's order, smallest first. While the wanted one is not being sent, the largest below
//!   it serves, else the smallest above.
//! - A change waits for the new encoding's keyframe and, while the old one still flows, for a sender report of both:
//!   they tell how the two timestamps belong together.
//! - A temporal layer ends with a frame; it begins at a keyframe or where the codec says that nothing older of that
//!   layer is needed: at a frame of it (VP8's Y bit), or after a frame that was sent (VP9's U bit, RFC 9628 §4.2; the
//!   dependency descriptor's "switch").

use crate::cache::PacketMeta;
use crate::port::BLURRED;
use crate::rewrite::{Inbound, Timeline};
use crate::time::Time;
use crate::track::Track;

/// Temporal ids have three bits: this lets everything through.
pub(crate) const ALL_TEMPORAL: u8 = 7;

/// The temporal layers one consumer gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Temporal {
    pub(crate) wanted: u8,
    pub(crate) current: u8,
    /// Timestamp of the newest frame and whether it passes: a frame passes whole or not at all.
    frame: Option<(u32, bool)>,
    /// Layers up to this one may begin with the next frame.
    opened: u8,
}

impl Temporal {
    pub(crate) fn new() -> Self {
        Temporal { wanted: ALL_TEMPORAL, current: ALL_TEMPORAL, frame: None, opened: 0 }
    }

    /// A stream begins at a keyframe: everything wanted passes from here.
    pub(crate) fn restart(&mut self) {
        self.current = self.wanted;
        (self.frame, self.opened) = (None, 0);
    }

    /// For packets in order; late ones have their number already and go out.
    pub(crate) fn passes(&mut self, meta: &PacketMeta) -> bool {
        if let Some((_, passes)) = self.frame.filter(|(rtp_ts, _)| *rtp_ts == meta.rtp_ts) {
            return passes;
        }
        let next = self.current.saturating_add(1);
        if meta.starts_keyframe {
            self.current = self.wanted;
        } else if meta.layer_sync && meta.temporal_id == next && next <= self.wanted {
            self.current = next;
        }
        self.current = self.current.max(self.opened).min(self.wanted);
        let passes = meta.temporal_id <= self.current;
        self.frame = Some((meta.rtp_ts, passes));
        self.opened = if passes { meta.opens } else { 0 };
        passes
    }
}

/// Whether a consumer that shows what its timeline is attached to may change to `layer` now.
pub(crate) fn may_switch(timeline: &Timeline, track: &Track, layer: usize, now: Time) -> bool {
    let Some(shown) = timeline.stream_key().and_then(|key| track.layer_of_key(key)) else { return true };
    let has_clock = |layer: usize| track.stream(layer).is_some_and(|stream| stream.clock.is_some());
    // Between the camera and the worker's pictures there is one source only, never both.
    let is_only = shown == BLURRED || layer == BLURRED;
    shown == layer || is_only || !track.is_sent(shown, now) || (has_clock(shown) && has_clock(layer))
}

/// The outgoing timestamp of a new encoding's first packet, by the sender reports of both encodings.
pub(crate) fn aligned_ts(timeline: &Timeline, track: &Track, layer: usize, packet: &Inbound) -> Option<u32> {
    let shown_key = timeline.stream_key().filter(|key| *key != packet.stream_key)?;
    let old = track.stream(track.layer_of_key(shown_key)?)?.clock?;
    let new = track.stream(layer)?.clock?;
    let since_report = packet.rtp_ts.wrapping_sub(new.rtp_ts);
    // Sender reports of one source share its NTP clock; 32.32 fixed point, and either may be the newer.
    let apart = i128::from(new.ntp_time.wrapping_sub(old.ntp_time) as i64);
    let apart = (apart * i128::from(timeline.clock_hz())) >> 32;
    let in_old = old.rtp_ts.wrapping_add(apart as u32).wrapping_add(since_report);
    timeline.translate_ts(shown_key, in_old)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(rtp_ts: u32, temporal_id: u8, layer_sync: bool) -> PacketMeta {
        PacketMeta { rtp_ts, temporal_id, layer_sync, ..PacketMeta::default() }
    }

    #[test]
    fn a_frame_passes_whole_or_not_at_all() {
        let mut temporal = Temporal::new();
        assert!(temporal.passes(&packet(1, 2, false)));
        temporal.wanted = 0;
        assert!(temporal.passes(&packet(1, 2, false)), "its first packet is out");
        assert!(!temporal.passes(&packet(2, 1, true)));
        temporal.wanted = 2;
        assert!(!temporal.passes(&packet(2, 1, true)), "its first packet is not");
    }

    #[test]
    fn layers_come_back_one_by_one_at_their_sync_points() {
        let mut temporal = Temporal::new();
        temporal.wanted = 0;
        assert!(!temporal.passes(&packet(1, 2, false)));
        temporal.wanted = 2;
        let frames =
            [(2, 2, true), (3, 0, false), (4, 1, false), (5, 1, true), (6, 2, false), (7, 2, true), (8, 2, false)];
        let passed = frames.map(|(rtp_ts, id, sync)| temporal.passes(&packet(rtp_ts, id, sync)));
        assert_eq!(passed, [false, true, false, true, false, true, true]);
    }

    #[test]
    fn layers_come_back_after_a_frame_that_opens_them_and_not_with_one_that_is_left_out() {
        let mut temporal = Temporal::new();
        temporal.wanted = 0;
        let opening = |rtp_ts, temporal_id, opens| PacketMeta { opens, ..packet(rtp_ts, temporal_id, false) };
        assert!(!temporal.passes(&opening(1, 2, 7)));
        temporal.wanted = 2;
        let frames =
            [(2, 1, 7), (3, 2, 7), (4, 0, 1), (5, 2, 7), (6, 1, 0), (7, 2, 7), (8, 0, 7), (9, 2, 7), (10, 1, 0)];
        let passed = frames.map(|(rtp_ts, id, opens)| temporal.passes(&opening(rtp_ts, id, opens)));
        assert_eq!(passed, [false, false, true, false, true, false, true, true, true]);
    }

    #[test]
    fn a_keyframe_brings_all_of_them_back() {
        let mut temporal = Temporal::new();
        temporal.wanted = 0;
        assert!(!temporal.passes(&packet(1, 1, false)));
        temporal.wanted = ALL_TEMPORAL;
        let keyframe = PacketMeta { rtp_ts: 2, starts_keyframe: true, ..PacketMeta::default() };
        assert!(temporal.passes(&keyframe) && temporal.passes(&packet(3, 2, false)));
    }
}
