//! What time alone causes: DTLS repeats, NACKs, keyframe requests, transport-wide feedback, reports, REMB, liveness,
//! levels, silence. One call looks at everything and works out when it must be called again.

use crate::arena::Arena;
use crate::command::{SlotId, TrackId};
use crate::engine::Engine;
use crate::event::{Event, SpokenLevel, TrackState};
use crate::output::{Outputs, Path};
use crate::slot::Slot;
use crate::tap::is_taped;
use crate::time::Time;
use crate::track::Track;
use crate::transport::{Transport, DEFAULT_RTT_US};
use holdspace_wire::rtcp::{ReportBlock, SenderInfo, Writer};
use holdspace_wire::seq::Seq;
use holdspace_wire::srtp::MAX_OVERHEAD;
use holdspace_wire::NoRoom;

/// Sender of our feedback; we are no source of media under it.
const FEEDBACK_SSRC: u32 = 1;
const RTCP_BYTES: usize = 1_200;
const REPORT_EVERY_US: u64 = 1_000_000;
const CAP_EVERY_MS: u64 = 1_000;
/// What REMB says when there is no cap any more: above every encoder's maximum.
const NO_CAP_BPS: u64 = 1_000_000_000;
const MAX_BLOCKS: usize = 31;
/// Sound leaves every 20 ms: of its last 20 ms feedback waits for the next packet of it.
const RIDES_US: u64 = 20_000;
/// Of one packet, sealed.
const LEAST_FEEDBACK_BYTES: usize = 44;

/// Collects RTCP for one peer; full compounds leave at once.
struct Compound<'a> {
    buffer: &'a mut Vec<u8>,
    len: usize,
    path: Path,
}

impl Compound<'_> {
    fn add(
        &mut self,
        peer: &mut Transport,
        out: &mut Outputs,
        mut part: impl FnMut(&mut Writer<'_>) -> Result<(), NoRoom>,
    ) {
        for _ in 0..2 {
            let mut writer = Writer::new(&mut self.buffer[self.len..RTCP_BYTES]);
            if part(&mut writer).is_ok() {
                self.len += writer.len();
                return;
            }
            self.send(peer, out);
        }
    }

    fn send(&mut self, peer: &mut Transport, out: &mut Outputs) {
        if self.len == 0 {
            return;
        }
        if let Some(keys) = &mut peer.keys {
            if let Ok(len) = keys.outbound.protect_rtcp(self.buffer, self.len) {
                out.send_along(self.path, &self.buffer[..len]);
            }
        }
        self.len = 0;
    }
}

impl Engine {
    /// Cheap when nothing is due; `flush` calls it when its time has come.
    pub fn tick(&mut self, now: Time, out: &mut Outputs) {
        self.wake = None;
        for index in 0..self.transports.end() {
            self.tick_ice(index, now, out);
            self.tick_flight(index, now, out);
            self.tick_rtcp(index, 0, now, out);
        }
        self.tick_tracks(now, out);
        self.tick_levels(now, out);
        self.tick_ports(now, out);
        // Everything due was done; the millisecond keeps a mistake here from becoming a busy loop.
        self.wake = self.earliest(now).map(|at| at.max(now.plus_ms(1)));
    }

    fn tick_ice(&mut self, index: usize, now: Time, out: &mut Outputs) {
        let Some(peer) = self.transports.get_mut(index) else { return };
        if let Some(state) = peer.ice.tick(now) {
            out.events.push(Event::Ice { transport: peer.id, state });
            self.open_slots(index, now);
        }
    }

    fn tick_flight(&mut self, index: usize, now: Time, out: &mut Outputs) {
        let Some(peer) = self.transports.get_mut(index) else { return };
        let path = peer.ice.send_path();
        let Some(datagrams) = peer.flight.as_mut().and_then(|flight| flight.due(now)) else { return };
        for datagram in datagrams {
            if let Some(path) = path {
                out.send_one(path, datagram);
            }
        }
    }

    /// Feedback that is due soon leaves with the sound that goes to its peer now: no send, nor waking, of its own.
    pub(crate) fn ride_along(&mut self, index: usize, now: Time, out: &mut Outputs) {
        let Some(peer) = self.transports.get(index) else { return };
        let is_due = peer.arrivals.deadline().is_some_and(|at| at.since_us(now) <= RIDES_US);
        if is_due && peer.ice.send_path().is_some_and(|path| out.takes_along(path, LEAST_FEEDBACK_BYTES)) {
            self.tick_rtcp(index, RIDES_US, now, out);
        }
    }

    /// `early_us`: how much before its time feedback may leave.
    fn tick_rtcp(&mut self, index: usize, early_us: u64, now: Time, out: &mut Outputs) {
        let Some(peer) = self.transports.get_mut(index).filter(|peer| peer.can_send_media()) else { return };
        let Some(path) = peer.ice.send_path() else { return };
        self.rtcp.resize(RTCP_BYTES + MAX_OVERHEAD + 4, 0);
        let mut compound = Compound { buffer: &mut self.rtcp, len: 0, path };
        write_loss(peer, &mut self.tracks, &mut self.ask, &mut compound, now, out);
        write_arrivals(peer, &self.tracks, &mut compound, now.plus_us(early_us), out);
        write_cap(peer, &self.tracks, &mut compound, now, out);
        let all = peer.report_at.is_some_and(|at| at <= now);
        if all {
            let spread_us = self.rng.below(REPORT_EVERY_US / 5);
            peer.report_at = Some(now.plus_us(REPORT_EVERY_US - REPORT_EVERY_US / 10 + spread_us));
        }
        write_reports(peer, &mut self.tracks, &mut self.slots, &mut compound, all, now, out);
        compound.send(peer, out);
    }

    fn tick_tracks(&mut self, now: Time, out: &mut Outputs) {
        for track in self.tracks.iter_mut() {
            if track.silent_at().is_some_and(|at| at <= now) {
                track.live = false;
                let Some(peer) = self.transports.get(track.transport) else { continue };
                out.events.push(Event::Track { transport: peer.id, track: track.id, state: TrackState::Silent });
            }
        }
    }

    fn tick_levels(&mut self, now: Time, out: &mut Outputs) {
        if self.levels_at.is_none_or(|at| at > now) {
            return;
        }
        self.levels_at = None;
        let heard = |track: &mut Track| {
            let level = track.heard.take()?;
            Some(SpokenLevel { track: track.id, level_dbov: level.level, active: level.voice })
        };
        let levels: Vec<SpokenLevel> = self.tracks.iter_mut().filter_map(heard).collect();
        if !levels.is_empty() {
            out.events.push(Event::Levels(levels));
        }
    }

    fn earliest(&self, now: Time) -> Option<Time> {
        let of_peer = |peer: &Transport| {
            let mut at = [peer.ice.deadline(), peer.flight.as_ref().and_then(|flight| flight.deadline())]
                .into_iter()
                .flatten()
                .min();
            if peer.can_send_media() {
                let feedback = [peer.arrivals.deadline(), peer.cap.next_at, peer.report_at];
                let streams = peer
                    .tracks
                    .iter()
                    .filter_map(|track| self.tracks.get(*track))
                    .flat_map(|track| track.streams.iter().flatten())
                    .flat_map(|stream| [stream.nacks.deadline(), stream.keyframes.deadline(now)]);
                at = feedback.into_iter().chain(streams).flatten().chain(at).min();
            }
            at
        };
        let peers = self.transports.iter().filter_map(of_peer);
        let silences = self.tracks.iter().filter_map(Track::silent_at);
        let ports = self.tracks.iter().filter_map(|track| track.port_deadline(&self.slots, now));
        peers.chain(silences).chain(ports).chain(self.levels_at).min()
    }
}

/// NACKs and keyframe requests towards a publisher.
fn write_loss(
    peer: &mut Transport,
    tracks: &mut Arena<TrackId, Track>,
    ask: &mut Vec<Seq>,
    compound: &mut Compound<'_>,
    now: Time,
    out: &mut Outputs,
) {
    let rtt_us = peer.rtt_us.unwrap_or(DEFAULT_RTT_US);
    for at in 0..peer.tracks.len() {
        let Some(track) = tracks.get_mut(peer.tracks[at]) else { continue };
        let (taped, is_video) = (is_taped(track), !track.is_audio());
        let use_pli = track.codecs.iter().any(|codec| codec.spec.pli);
        let watched = track.has_consumers() && !track.muted;
        for stream in track.streams.iter_mut().flatten() {
            ask.clear();
            let given_up = stream.nacks.due(now, rtt_us, taped, ask);
            peer.counters.lost_in += given_up;
            if given_up > 0 && is_video && watched {
                stream.keyframes.want();
            }
            if !ask.is_empty() {
                peer.counters.nacks_out += 1;
                compound.add(peer, out, |writer| writer.nack(FEEDBACK_SSRC, stream.ssrc, ask));
            }
            if is_video && stream.keyframes.take_due(now) {
                peer.counters.plis_out += 1;
                stream.fir_seq = stream.fir_seq.wrapping_add(1);
                compound.add(peer, out, |writer| match use_pli {
                    true => writer.pli(FEEDBACK_SSRC, stream.ssrc),
                    false => writer.fir(FEEDBACK_SSRC, stream.ssrc, stream.fir_seq),
                });
            }
        }
    }
}

fn any_inbound_ssrc(peer: &Transport, tracks: &Arena<TrackId, Track>) -> u32 {
    let streams = peer.tracks.iter().filter_map(|at| tracks.get(*at)).flat_map(|track| track.streams.iter().flatten());
    streams.map(|stream| stream.ssrc).next().unwrap_or(0)
}

fn write_arrivals(
    peer: &mut Transport,
    tracks: &Arena<TrackId, Track>,
    compound: &mut Compound<'_>,
    due_by: Time,
    out: &mut Outputs,
) {
    if peer.arrivals.deadline().is_none_or(|at| at > due_by) {
        return;
    }
    let media_ssrc = any_inbound_ssrc(peer, tracks);
    let mut arrivals = std::mem::take(&mut peer.arrivals);
    let mut more = true;
    while more {
        more = false;
        compound.add(peer, out, |writer| {
            more = arrivals.write(writer, FEEDBACK_SSRC, media_ssrc)?;
            Ok(())
        });
    }
    peer.arrivals = arrivals;
}

/// REMB while a cap stands, and a few times after it was lifted.
fn write_cap(
    peer: &mut Transport,
    tracks: &Arena<TrackId, Track>,
    compound: &mut Compound<'_>,
    now: Time,
    out: &mut Outputs,
) {
    if peer.cap.next_at.is_none_or(|at| at > now) {
        return;
    }
    let ssrcs: Vec<u32> = peer.bindings.iter().filter(|b| !b.is_rtx).map(|b| b.ssrc).collect();
    let is_audio = |ssrc: &u32| {
        let track = peer.binding(*ssrc).and_then(|binding| tracks.get(binding.track));
        track.is_some_and(Track::is_audio)
    };
    let ssrcs: Vec<u32> = ssrcs.into_iter().filter(|ssrc| !is_audio(ssrc)).collect();
    let bps = peer.cap.bps.unwrap_or(NO_CAP_BPS);
    if !ssrcs.is_empty() {
        compound.add(peer, out, |writer| writer.remb(FEEDBACK_SSRC, bps, &ssrcs));
    }
    if peer.cap.bps.is_none() {
        peer.cap.lifts_left = peer.cap.lifts_left.saturating_sub(1);
    }
    let goes_on = peer.cap.bps.is_some() || peer.cap.lifts_left > 0;
    peer.cap.next_at = goes_on.then(|| now.plus_ms(CAP_EVERY_MS));
}

/// Sender reports for slots (all, or only those newly attached) and, with `all`, a block per inbound stream.
fn write_reports(
    peer: &mut Transport,
    tracks: &mut Arena<TrackId, Track>,
    slots: &mut Arena<SlotId, Slot>,
    compound: &mut Compound<'_>,
    all: bool,
    now: Time,
    out: &mut Outputs,
) {
    for at in 0..peer.slots.len() {
        let Some(slot) = slots.get_mut(peer.slots[at]) else { continue };
        if !all && !slot.report_due {
            continue;
        }
        let Some(info) = sender_info(slot, tracks, now) else { continue };
        slot.report_due = false;
        slot.note_report(info.ntp_time, now);
        compound.add(peer, out, |writer| {
            writer.sender_report(&info, &[])?;
            writer.sdes_cname(info.ssrc, &slot.spec.cname)
        });
    }
    if !all {
        return;
    }
    let mut blocks: Vec<ReportBlock> = Vec::new();
    for binding in peer.bindings.iter().filter(|binding| !binding.is_rtx) {
        let Some(track) = tracks.get_mut(binding.track) else { continue };
        let downlink = if track.is_audio() { worst_loss(track, slots) } else { 0 };
        let block = track.stream_mut(binding.layer).and_then(|stream| stream.report(now));
        blocks.extend(block.map(|block| ReportBlock { fraction_lost: block.fraction_lost.max(downlink), ..block }));
    }
    for blocks in blocks.chunks(MAX_BLOCKS) {
        compound.add(peer, out, |writer| writer.receiver_report(FEEDBACK_SSRC, blocks));
    }
}

/// The worst loss among a track's subscribers that do not repair it by RED, in 1/256: told to the publisher, whose Opus
/// encoder then sends FEC. The cumulative count stays our own, and with it the publisher's estimate of its uplink.
fn worst_loss(track: &Track, slots: &Arena<SlotId, Slot>) -> u8 {
    let repairs = |slot: &Slot| track.sends_red() && !slot.unpacks_red();
    let listening = track.slots.iter().filter_map(|at| slots.get(*at)).filter(|slot| slot.open && !repairs(slot));
    listening.map(|slot| (slot.fraction_lost * 256.0) as u8).max().unwrap_or(0)
}

/// The publisher's clock carried to now, its RTP time on the slot's timeline. None before its first report.
fn sender_info(slot: &Slot, tracks: &Arena<TrackId, Track>, now: Time) -> Option<SenderInfo> {
    let key = slot.timeline.stream_key()?;
    let track = tracks.get(slot.source?)?;
    let clock = track.stream(track.layer_of_key(key)?)?.clock?;
    let codec = track.codec_in_use.and_then(|at| track.codecs.get(usize::from(at)));
    let (ntp_time, rtp_ts) = clock.at(now, codec.map_or(90_000, |codec| codec.spec.clock_hz));
    Some(SenderInfo {
        ssrc: slot.spec.ssrc,
        ntp_time,
        rtp_ts: slot.timeline.translate_ts(key, rtp_ts)?,
        packets: slot.packets_sent as u32,
        bytes: slot.bytes_sent as u32,
    })
}
