//! A recording's view of one track: a consumer like a slot, whose packets go to the journal, plain. One SSRC, one
//! timeline across layers, mute and rejoin; RTX-recovered packets come late and in any order.
//! Payload types are fixed by codec ([`tap_payload_type`]); RED is unpacked to its newest block.

use crate::arena::Arena;
use crate::cache::PacketMeta;
use crate::command::{TapId, TrackId};
use crate::layers::{aligned_ts, may_switch};
use crate::output::{Outputs, TapKind};
use crate::rewrite::{Inbound, Placed, Timeline};
use crate::stream_in::SenderClock;
use crate::time::Time;
use crate::track::Track;
use holdspace_wire::codec::{red, vp8, Codec};
use holdspace_wire::rtcp::{SenderInfo, Writer};
use holdspace_wire::rtp::{self, NewHeader};
use holdspace_wire::seq::ExtSeq;

/// Payload type of a codec in every tap, whatever the publisher calls it. RED leaves as Opus.
pub const fn tap_payload_type(codec: Codec) -> u8 {
    match codec {
        Codec::Opus | Codec::Red => 111,
        Codec::Vp8 => 96,
        Codec::Vp9 => 98,
        Codec::H264 => 102,
        Codec::Av1 => 45,
    }
}

/// Extension id of video orientation in tap packets; the only extension they carry.
pub const TAP_ORIENTATION_ID: u8 = 1;

const SENDER_REPORT_BYTES: usize = 28;
const HEADER_BYTES: usize = 32;

pub(crate) struct Tap {
    pub(crate) id: TapId,
    pub(crate) track: usize,
    pub(crate) track_id: TrackId,
    pub(crate) grant: String,
    ssrc: u32,
    pub(crate) timeline: Timeline,
    packets: u64,
    bytes: u64,
}

/// One packet offered to a tap.
pub(crate) struct Offered<'a> {
    pub(crate) inbound: Inbound,
    pub(crate) meta: &'a PacketMeta,
    pub(crate) codec: Codec,
    pub(crate) layer: usize,
    pub(crate) clock: Option<SenderClock>,
    pub(crate) clock_hz: u32,
    pub(crate) video_orientation: Option<u8>,
}

impl Tap {
    pub(crate) fn new(id: TapId, track: usize, track_id: TrackId, grant: String, clock_hz: u32, random: u64) -> Self {
        let timeline = Timeline::new(1 + (random & 0x3fff), (random >> 32) as u32, clock_hz);
        Tap { id, track, track_id, grant, ssrc: (random >> 8) as u32 | 1, timeline, packets: 0, bytes: 0 }
    }

    /// Writes the packet if it has its place. True: a keyframe is needed first.
    pub(crate) fn offer(&mut self, track: &Track, offered: &Offered<'_>, payload: &[u8], out: &mut Outputs) -> bool {
        let Inbound { stream_key, ext_seq, now, .. } = offered.inbound;
        let attached = self.timeline.stream_key() == Some(stream_key);
        if attached && !self.timeline.is_break(stream_key, ext_seq) {
            if let Some(placed) = self.timeline.place(&offered.inbound) {
                self.write(offered, placed, payload, out);
            }
            return false;
        }
        // A recording is of the best there is.
        let best = track.layer_for(track.streams.len() - 1, now);
        if best != offered.layer || !may_switch(&self.timeline, track, best, now) {
            return false;
        }
        if offered.codec.is_video() && !offered.meta.starts_keyframe {
            return true;
        }
        let aligned = aligned_ts(&self.timeline, track, best, &offered.inbound);
        let placed = self.timeline.attach(&offered.inbound, aligned);
        self.write(offered, placed, payload, out);
        if let Some(clock) = offered.clock {
            self.report(stream_key, clock, offered.clock_hz, now, out);
        }
        false
    }

    pub(crate) fn swallow(&mut self, inbound: &Inbound) {
        // A recording needs no filler for a late padding packet's gap: nobody asks for it.
        let _ = self.timeline.swallow(inbound, false);
    }

    fn write(&mut self, offered: &Offered<'_>, placed: Placed, payload: &[u8], out: &mut Outputs) {
        let payload = match offered.codec {
            Codec::Red => match red::parse_untrusted_primary(payload) {
                Ok(block) => block.data,
                Err(_) => return,
            },
            _ => payload,
        };
        let orientation = [offered.video_orientation.unwrap_or(0)];
        let extension = [(TAP_ORIENTATION_ID, &orientation[..])];
        let header = NewHeader {
            marker: offered.meta.marker,
            payload_type: tap_payload_type(offered.codec),
            seq: ExtSeq(placed.ext_seq).seq(),
            rtp_ts: placed.rtp_ts,
            ssrc: self.ssrc,
            extensions: if offered.video_orientation.is_some() { &extension } else { &[] },
        };
        let bytes = HEADER_BYTES + payload.len();
        let space = out.tap_space(bytes);
        let len = rtp::write(space, &header, &[payload], 0).map_or(0, |written| {
            if offered.codec == Codec::Vp8 && offered.meta.picture_id.is_some() {
                let _ = vp8::rewrite(&mut space[written.header_len..], placed.picture_id, placed.tl0_pic_idx);
            }
            written.len
        });
        out.commit_tap(self.id, TapKind::Rtp, offered.inbound.now, bytes, len);
        self.packets += 1;
        self.bytes += payload.len() as u64;
    }

    /// The publisher's sender report on this tap's timeline, its NTP time kept.
    pub(crate) fn report(&mut self, stream_key: u64, clock: SenderClock, clock_hz: u32, now: Time, out: &mut Outputs) {
        let (ntp_time, rtp_ts) = clock.at(now, clock_hz);
        let Some(rtp_ts) = self.timeline.translate_ts(stream_key, rtp_ts) else { return };
        let info =
            SenderInfo { ssrc: self.ssrc, ntp_time, rtp_ts, packets: self.packets as u32, bytes: self.bytes as u32 };
        let space = out.tap_space(SENDER_REPORT_BYTES);
        let mut writer = Writer::new(space);
        let len = writer.sender_report(&info, &[]).map_or(0, |()| writer.len());
        out.commit_tap(self.id, TapKind::SenderReport, now, SENDER_REPORT_BYTES, len);
    }
}

/// Whether any tap rests on the track: loss is then chased for longer.
pub(crate) fn is_taped(track: &Track) -> bool {
    !track.taps.is_empty()
}

/// Ends taps by `condition`, and tells which.
pub(crate) fn remove_taps(
    taps: &mut Arena<TapId, Tap>,
    tracks: &mut Arena<TrackId, Track>,
    condition: impl Fn(&Tap) -> bool,
) -> Vec<TapId> {
    let gone: Vec<TapId> = taps.iter().filter(|tap| condition(tap)).map(|tap| tap.id).collect();
    for id in &gone {
        let Some((index, tap)) = taps.remove(*id) else { continue };
        if let Some(track) = tracks.get_mut(tap.track) {
            track.taps.retain(|at| *at != index);
        }
    }
    gone
}
