//! Commands: what Python decides, carried out. Each is checked whole before anything changes; repeating one with
//! equal arguments changes nothing. Removing an object removes what hangs beneath it.

use crate::command::{Command, ExtensionIds, Kind, SlotId, SlotSpec, TapId, TrackId, TrackSpec, TransportId};
use crate::dtls_flight::Flight;
use crate::engine::Engine;
use crate::event::{Event, PortEnd, TapEnd};
use crate::ice::Agent;
use crate::layers::ALL_TEMPORAL;
use crate::output::{Outputs, Route};
use crate::port::BLURRED;
use crate::slot::{map_codecs, Slot};
use crate::tap::{remove_taps, Tap};
use crate::time::Time;
use crate::track::Track;
use crate::transport::{Binding, Keys, Transport};
use crate::EngineError;
use holdspace_wire::srtp::{Inbound, Outbound, Profile};

/// RFC 8445 §5.3 asks for 4 and 22; more, because one port serves everybody.
const MIN_UFRAG: usize = 8;
const MIN_PWD: usize = 24;
const MAX_GRANTS: usize = 256;
const MAX_CODECS: usize = 32;
const MAX_LAYERS: usize = BLURRED;
const MAX_FLIGHT: usize = 16;
/// REMBs that say a cap is gone.
const LIFTS: u8 = 3;

type Done = Result<(), EngineError>;

fn refuse_unless(holds: bool, why: &'static str) -> Done {
    if holds {
        Ok(())
    } else {
        Err(EngineError::Refused(why))
    }
}

impl Engine {
    /// Idempotent, or an error that changes nothing.
    pub fn apply(&mut self, command: Command, now: Time, out: &mut Outputs) -> Done {
        use Command as C;
        match command {
            C::AddTransport { transport, participant, ice_ufrag, ice_pwd } => {
                self.add_transport(transport, participant, ice_ufrag, ice_pwd, now, out)
            }
            C::RestartIce { transport, ice_ufrag, ice_pwd } => {
                self.restart_ice(transport, ice_ufrag, ice_pwd, now, out)
            }
            C::RemoveTransport { transport } => self.remove_transport(transport, out),
            C::SendDtls { transport, datagrams, flight } => self.send_dtls(transport, datagrams, flight, now, out),
            C::SetSrtp { transport, profile, inbound_key, outbound_key } => {
                self.set_srtp(transport, profile, inbound_key, outbound_key, now)
            }
            C::SetExtensions { transport, extensions } => self.set_extensions(transport, extensions),
            C::SetTrack { transport, track, spec } => self.set_track(transport, track, spec, now, out),
            C::RemoveTrack { track } => self.remove_track(track, out),
            C::SetSlot { transport, slot, spec } => self.set_slot(transport, slot, spec),
            C::SetSlotSource { slot, track } => self.set_slot_source(slot, track, now),
            C::SetLayer { slot, rid, temporal } => self.set_layer(slot, rid, temporal, now),
            C::SetSlotShare { slot, bps } => self.set_slot_share(slot, bps, now),
            C::SetTrackMuted { track, muted } => self.set_track_muted(track, muted, now),
            C::RequestKeyframe { track } => {
                let at = self.tracks.index_of(track).ok_or(EngineError::UnknownId)?;
                self.want_keyframes(at, u64::MAX, now);
                Ok(())
            }
            C::SetPrivate { track, private } => self.set_private(track, private, now, out),
            C::OpenPort { track } => self.open_port(track, now),
            C::ClosePort { track, reason } => self.close_port(track, reason, out),
            C::SetMaxBitrate { transport, bps } => self.set_max_bitrate(transport, bps, now),
            C::GrantRecording { grant, participant } => self.grant_recording(grant, participant),
            C::RevokeRecording { grant } => self.revoke_recording(&grant, out),
            C::AddTap { tap, track, grant } => self.add_tap(tap, track, grant, now),
            C::RemoveTap { tap } => self.end_tap(tap, TapEnd::Removed, out),
            C::FailTap { tap } => self.end_tap(tap, TapEnd::JournalFailed, out),
        }
    }

    fn peer(&mut self, id: TransportId) -> Result<&mut Transport, EngineError> {
        self.transports.by_id_mut(id).ok_or(EngineError::UnknownId)
    }

    fn add_transport(
        &mut self,
        id: TransportId,
        participant: String,
        ufrag: String,
        pwd: String,
        now: Time,
        out: &mut Outputs,
    ) -> Done {
        if let Some(peer) = self.transports.by_id(id) {
            let same = peer.participant == participant && peer.ice.has_credentials(&ufrag, &pwd);
            return if same { Ok(()) } else { Err(EngineError::DuplicateId) };
        }
        refuse_unless(self.transports.len() < self.config.max_transports, "too many transports")?;
        refuse_unless(ufrag.len() >= MIN_UFRAG && pwd.len() >= MIN_PWD, "ice credentials too short")?;
        out.routes.push(Route::UfragAdded { ufrag: ufrag.clone(), transport: id });
        let agent = Agent::new(ufrag, pwd, now);
        if let Some(at) = agent.deadline() {
            self.wake_at(at);
        }
        self.transports.insert(id, Transport::new(id, participant, agent));
        Ok(())
    }

    fn restart_ice(&mut self, id: TransportId, ufrag: String, pwd: String, now: Time, out: &mut Outputs) -> Done {
        refuse_unless(ufrag.len() >= MIN_UFRAG && pwd.len() >= MIN_PWD, "ice credentials too short")?;
        let peer = self.peer(id)?;
        if peer.ice.has_credentials(&ufrag, &pwd) {
            return Ok(());
        }
        refuse_unless(peer.ice.ufrags().all(|known| known != ufrag), "ufrag in use")?;
        out.routes.push(Route::UfragAdded { ufrag: ufrag.clone(), transport: id });
        if let Some(ufrag) = peer.ice.restart(ufrag, pwd, now) {
            out.routes.push(Route::UfragRemoved { ufrag });
        }
        if let Some(at) = peer.ice.deadline() {
            self.wake_at(at);
        }
        Ok(())
    }

    fn remove_transport(&mut self, id: TransportId, out: &mut Outputs) -> Done {
        let index = self.transports.index_of(id).ok_or(EngineError::UnknownId)?;
        let tracks: Vec<TrackId> =
            self.tracks.iter().filter(|track| track.transport == index).map(|track| track.id).collect();
        for track in tracks {
            self.remove_track(track, out)?;
        }
        let slots: Vec<SlotId> = self.slots.iter().filter(|slot| slot.transport == index).map(|slot| slot.id).collect();
        for slot in slots {
            self.remove_slot(slot);
        }
        let Some((_, peer)) = self.transports.remove(id) else { return Ok(()) };
        let forgotten = peer.ice.paths().map(|path| Route::AddressForgotten { path, transport: id });
        out.routes.extend(forgotten);
        out.routes.extend(peer.ice.ufrags().map(|ufrag| Route::UfragRemoved { ufrag: ufrag.to_owned() }));
        self.past.add(&peer.counters);
        if self.transports.iter().next().is_none() {
            self.paced.clear();
            self.pace_wake = None;
        }
        Ok(())
    }

    fn remove_slot(&mut self, id: SlotId) {
        let Some((index, slot)) = self.slots.remove(id) else { return };
        if let Some(track) = slot.source.and_then(|at| self.tracks.get_mut(at)) {
            track.slots.retain(|at| *at != index);
        }
    }

    fn send_dtls(
        &mut self,
        id: TransportId,
        datagrams: Vec<Vec<u8>>,
        flight: bool,
        now: Time,
        out: &mut Outputs,
    ) -> Done {
        refuse_unless(datagrams.len() <= MAX_FLIGHT, "too many datagrams in a flight")?;
        let peer = self.peer(id)?;
        if let Some(path) = peer.ice.send_path() {
            datagrams.iter().for_each(|datagram| out.send_one(path, datagram));
        }
        if flight {
            let flight = Flight::new(datagrams, now);
            let deadline = flight.deadline();
            peer.flight = Some(flight);
            deadline.into_iter().for_each(|at| self.wake_at(at));
        }
        Ok(())
    }

    fn set_srtp(
        &mut self,
        id: TransportId,
        profile: Profile,
        inbound_key: Vec<u8>,
        outbound_key: Vec<u8>,
        now: Time,
    ) -> Done {
        let index = self.transports.index_of(id).ok_or(EngineError::UnknownId)?;
        let report_at = now.plus_ms(200 + self.rng.below(800));
        let peer = self.peer(id)?;
        if let Some(keys) = &peer.keys {
            let same = keys.profile == profile && keys.inbound_key == inbound_key && keys.outbound_key == outbound_key;
            return if same { Ok(()) } else { Err(EngineError::DuplicateId) };
        }
        let bad = |_| EngineError::Refused("key does not fit the profile");
        let inbound = Inbound::new(profile, &inbound_key).map_err(bad)?;
        let outbound = Outbound::new(profile, &outbound_key).map_err(bad)?;
        peer.keys = Some(Keys { profile, inbound, outbound, inbound_key, outbound_key });
        peer.report_at = Some(report_at);
        self.wake_at(report_at);
        self.open_slots(index, now);
        Ok(())
    }

    fn set_extensions(&mut self, id: TransportId, extensions: ExtensionIds) -> Done {
        let ExtensionIds {
            mid,
            rid,
            repaired_rid,
            audio_level,
            abs_send_time,
            transport_cc,
            video_orientation,
            dependency_descriptor,
            playout_delay,
        } = extensions;
        let all = [
            mid,
            rid,
            repaired_rid,
            audio_level,
            abs_send_time,
            transport_cc,
            video_orientation,
            dependency_descriptor,
            playout_delay,
        ];
        refuse_unless(all.iter().flatten().all(|ext| *ext != 0), "extension id 0")?;
        self.peer(id)?.extensions = extensions;
        Ok(())
    }

    fn set_track(
        &mut self,
        transport: TransportId,
        id: TrackId,
        spec: TrackSpec,
        now: Time,
        out: &mut Outputs,
    ) -> Done {
        let index = self.transports.index_of(transport).ok_or(EngineError::UnknownId)?;
        refuse_unless(spec.codecs.len() <= MAX_CODECS && spec.rids.len() <= MAX_LAYERS, "too many codecs or rids")?;
        refuse_unless(spec.kind == Kind::Video || !spec.private, "only video can be private")?;
        let private = spec.private;
        let track_at = match self.tracks.index_of(id) {
            Some(at) => {
                let track = self.tracks.get_mut(at).ok_or(EngineError::UnknownId)?;
                let same = track.transport == index && track.spec.mid == spec.mid && track.kind() == spec.kind;
                if !same {
                    return Err(EngineError::DuplicateId);
                }
                if track.spec == spec {
                    return if private { self.set_private(id, true, now, out) } else { Ok(()) };
                }
                track.renegotiate(spec.clone());
                at
            }
            None => {
                let peer = self.transports.get(index).ok_or(EngineError::UnknownId)?;
                refuse_unless(peer.tracks.len() < self.config.max_tracks_per_transport, "too many tracks")?;
                let at = self.tracks.insert(id, Track::new(id, index, spec.clone()));
                if let Some(peer) = self.transports.get_mut(index) {
                    peer.tracks.push(at);
                }
                at
            }
        };
        if private {
            self.veil(track_at, now, out); // before any SSRC is bound
        }
        self.bind_offered(index, track_at, &spec);
        self.map_slots_of(track_at);
        Ok(())
    }

    /// SSRCs named in the offer, by position where they stand for the layers one by one.
    fn bind_offered(&mut self, index: usize, track_at: usize, spec: &TrackSpec) {
        let layers = spec.rids.len().max(1);
        if let Some(peer) = self.transports.get_mut(index) {
            peer.bindings.retain(|binding| binding.track != track_at || binding.layer < layers);
        }
        if !spec.rids.is_empty() && spec.ssrcs.len() != spec.rids.len() {
            return;
        }
        for (layer, (ssrc, rtx_ssrc)) in spec.ssrcs.iter().take(layers).enumerate() {
            let binding = Binding { ssrc: *ssrc, track: track_at, layer, is_rtx: false };
            let mut bound = self.add_binding(index, binding);
            if let (Ok(()), Some(ssrc)) = (bound, *rtx_ssrc) {
                bound = self.add_binding(index, Binding { ssrc, is_rtx: true, ..binding });
            }
            if let (Err(reason), Some(peer)) = (bound, self.transports.get_mut(index)) {
                peer.counters.dropped.count(reason);
            }
        }
    }

    fn map_slots_of(&mut self, track_at: usize) {
        let Some(track) = self.tracks.get(track_at) else { return };
        for slot in &track.slots {
            if let Some(slot) = self.slots.get_mut(*slot) {
                slot.codec_map = map_codecs(&track.codecs, &slot.spec.codecs);
                slot.wanted_layer = wanted_layer(slot, track);
            }
        }
    }

    fn remove_track(&mut self, id: TrackId, out: &mut Outputs) -> Done {
        let gone = remove_taps(&mut self.taps, &mut self.tracks, |tap| tap.track_id == id);
        out.events.extend(gone.into_iter().map(|tap| Event::TapEnded { tap, reason: TapEnd::TrackGone }));
        let _ = self.close_port(id, PortEnd::TrackGone, out); // a track that is not there has none
        let (at, track) = self.tracks.remove(id).ok_or(EngineError::UnknownId)?;
        for slot in track.slots {
            if let Some(slot) = self.slots.get_mut(slot) {
                slot.source = None;
                slot.timeline.detach();
            }
        }
        if let Some(peer) = self.transports.get_mut(track.transport) {
            peer.unbind_track(at);
            peer.tracks.retain(|other| *other != at);
        }
        Ok(())
    }

    fn set_slot(&mut self, transport: TransportId, id: SlotId, spec: SlotSpec) -> Done {
        let index = self.transports.index_of(transport).ok_or(EngineError::UnknownId)?;
        refuse_unless(spec.codecs.len() <= MAX_CODECS, "too many codecs")?;
        if let Some(slot) = self.slots.by_id_mut(id) {
            let old = &slot.spec;
            let same = slot.transport == index
                && (&old.mid, old.kind, old.ssrc, old.rtx_ssrc) == (&spec.mid, spec.kind, spec.ssrc, spec.rtx_ssrc);
            if !same {
                return Err(EngineError::DuplicateId);
            }
            slot.spec = spec;
            if let Some(track_at) = slot.source {
                self.map_slots_of(track_at);
            }
            return Ok(());
        }
        let random = self.rng.next();
        let most = self.config.max_slots_per_transport;
        let peer = self.transports.get_mut(index).ok_or(EngineError::UnknownId)?;
        refuse_unless(peer.slots.len() < most, "too many slots")?;
        let ssrcs = [Some(spec.ssrc), spec.rtx_ssrc];
        refuse_unless(spec.rtx_ssrc != Some(spec.ssrc), "ssrc and rtx ssrc are one")?;
        let fresh = ssrcs.iter().flatten().all(|ssrc| !peer.used_ssrcs.contains(ssrc));
        refuse_unless(fresh, "ssrc was used on this transport")?;
        peer.used_ssrcs.extend(ssrcs.iter().flatten());
        let open = peer.can_send_media();
        let mut slot = Slot::new(id, index, spec, random);
        slot.open = open;
        let at = self.slots.insert(id, slot);
        if let Some(peer) = self.transports.get_mut(index) {
            peer.slots.push(at);
        }
        Ok(())
    }

    fn set_slot_source(&mut self, id: SlotId, track: Option<TrackId>, now: Time) -> Done {
        let slot_at = self.slots.index_of(id).ok_or(EngineError::UnknownId)?;
        let track_at = match track {
            Some(track) => Some(self.tracks.index_of(track).ok_or(EngineError::UnknownId)?),
            None => None,
        };
        let slot = self.slots.get_mut(slot_at).ok_or(EngineError::UnknownId)?;
        let kind = track_at.and_then(|at| self.tracks.get(at)).map(Track::kind);
        refuse_unless(kind.is_none_or(|kind| kind == slot.spec.kind), "kinds differ")?;
        if slot.source == track_at {
            return Ok(());
        }
        if let Some(track) = slot.source.and_then(|at| self.tracks.get_mut(at)) {
            track.slots.retain(|at| *at != slot_at);
        }
        slot.source = track_at;
        slot.timeline.detach();
        let Some(track_at) = track_at else { return Ok(()) };
        if let Some(track) = self.tracks.get_mut(track_at) {
            track.slots.push(slot_at);
            slot.codec_map = map_codecs(&track.codecs, &slot.spec.codecs);
            slot.wanted_layer = wanted_layer(slot, track);
            let index = slot.transport;
            if slot.open {
                let wanted = slot.wanted_layer;
                self.want_keyframe_of(track_at, wanted, now);
                self.schedule_probe(index, now);
            }
        }
        Ok(())
    }

    fn set_layer(&mut self, id: SlotId, rid: Option<String>, temporal: Option<u8>, now: Time) -> Done {
        let slot = self.slots.by_id_mut(id).ok_or(EngineError::UnknownId)?;
        let track_at = slot.source;
        let track = track_at.and_then(|at| self.tracks.get(at));
        let known = match (&rid, track) {
            (Some(rid), Some(track)) => track.layer_of_rid(rid).is_some(),
            _ => true,
        };
        refuse_unless(known, "the track has no such rid")?;
        slot.temporal.wanted = temporal.unwrap_or(ALL_TEMPORAL).min(ALL_TEMPORAL);
        if slot.wanted_rid == rid {
            return Ok(());
        }
        slot.wanted_rid = rid;
        if let (Some(track), Some(track_at)) = (track, track_at) {
            slot.wanted_layer = wanted_layer(slot, track);
            let wanted = slot.wanted_layer;
            let shown = slot.timeline.stream_key().and_then(|key| track.layer_of_key(key));
            // Of another encoding the first packet that could be switched at asks; before it there is nothing to ask.
            if shown.is_none() {
                self.want_keyframe_of(track_at, wanted, now);
            }
        }
        Ok(())
    }

    fn set_slot_share(&mut self, id: SlotId, bps: Option<u64>, now: Time) -> Done {
        let slot = self.slots.by_id_mut(id).ok_or(EngineError::UnknownId)?;
        refuse_unless(!slot.is_audio() || bps.is_none(), "sound has no share: it always goes first")?;
        let was_paused = slot.is_paused();
        slot.share_bps = bps;
        let (is_paused, source, wanted) = (slot.is_paused(), slot.source, slot.wanted_layer);
        if is_paused && !was_paused {
            slot.drop_queue();
        }
        if let Some(track_at) = source.filter(|_| was_paused && !is_paused) {
            self.want_keyframe_of(track_at, wanted, now);
        }
        Ok(())
    }

    fn set_track_muted(&mut self, id: TrackId, muted: bool, now: Time) -> Done {
        let track_at = self.tracks.index_of(id).ok_or(EngineError::UnknownId)?;
        let track = self.tracks.get_mut(track_at).ok_or(EngineError::UnknownId)?;
        if track.muted == muted {
            return Ok(());
        }
        track.muted = muted;
        track.heard = None;
        if let Some(port) = track.privacy.as_mut().and_then(|privacy| privacy.port.as_mut()) {
            port.lose();
        }
        for stream in track.streams.iter_mut().flatten() {
            stream.nacks.reset();
        }
        for slot in &track.slots {
            if let Some(slot) = self.slots.get_mut(*slot) {
                slot.timeline.detach();
            }
        }
        for tap in &track.taps {
            if let Some(tap) = self.taps.get_mut(*tap) {
                tap.timeline.detach();
            }
        }
        if !muted {
            self.want_keyframes(track_at, u64::MAX, now);
        }
        Ok(())
    }

    fn set_max_bitrate(&mut self, id: TransportId, bps: Option<u64>, now: Time) -> Done {
        let peer = self.peer(id)?;
        if peer.cap.bps == bps {
            return Ok(());
        }
        peer.cap.bps = bps;
        peer.cap.lifts_left = LIFTS;
        peer.cap.next_at = Some(now);
        self.wake_at(now);
        Ok(())
    }

    fn grant_recording(&mut self, grant: String, participant: String) -> Done {
        if let Some(granted) = self.grants.get(&grant) {
            return if *granted == participant { Ok(()) } else { Err(EngineError::DuplicateId) };
        }
        refuse_unless(self.grants.len() < MAX_GRANTS, "too many grants")?;
        self.grants.insert(grant, participant);
        Ok(())
    }

    fn revoke_recording(&mut self, grant: &str, out: &mut Outputs) -> Done {
        self.grants.remove(grant).ok_or(EngineError::UnknownId)?;
        let gone = remove_taps(&mut self.taps, &mut self.tracks, |tap| tap.grant == grant);
        out.events.extend(gone.into_iter().map(|tap| Event::TapEnded { tap, reason: TapEnd::GrantRevoked }));
        Ok(())
    }

    fn add_tap(&mut self, id: TapId, track: TrackId, grant: String, now: Time) -> Done {
        if let Some(tap) = self.taps.by_id(id) {
            let same = tap.track_id == track && tap.grant == grant;
            return if same { Ok(()) } else { Err(EngineError::DuplicateId) };
        }
        let participant = self.grants.get(&grant).ok_or(EngineError::UnknownId)?;
        let track_at = self.tracks.index_of(track).ok_or(EngineError::UnknownId)?;
        let tapped = self.tracks.get_mut(track_at).ok_or(EngineError::UnknownId)?;
        let publisher = self.transports.get(tapped.transport).map(|peer| &peer.participant);
        refuse_unless(publisher == Some(participant), "the grant names somebody else")?;
        refuse_unless(self.taps.len() < self.config.max_taps, "too many taps")?;
        let clock_hz = match tapped.kind() {
            Kind::Audio => 48_000,
            Kind::Video => 90_000,
        };
        let tap = Tap::new(id, track_at, track, grant, clock_hz, self.rng.next());
        let best = tapped.streams.len() - 1;
        tapped.taps.push(self.taps.insert(id, tap));
        self.want_keyframe_of(track_at, best, now);
        Ok(())
    }

    fn end_tap(&mut self, id: TapId, reason: TapEnd, out: &mut Outputs) -> Done {
        let gone = remove_taps(&mut self.taps, &mut self.tracks, |tap| tap.id == id);
        let tap = *gone.first().ok_or(EngineError::UnknownId)?;
        out.events.push(Event::TapEnded { tap, reason });
        Ok(())
    }
}

/// A rid of another track's offer counts as "the first".
fn wanted_layer(slot: &Slot, track: &Track) -> usize {
    slot.wanted_rid.as_ref().and_then(|rid| track.layer_of_rid(rid)).unwrap_or(0)
}
