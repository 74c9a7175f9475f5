//! Datagrams in: STUN checks, DTLS, SRTP. From here a media packet goes on to `forward`. All of it is written by
//! strangers: addresses count after an authenticated check, packets after their tag, SSRCs within bounds.

use crate::cache::PacketMeta;
use crate::command::{Kind, TransportId};
use crate::describe::{describe, read_dependencies};
use crate::engine::Engine;
use crate::event::{Event, TrackState};
use crate::forward::MediaIn;
use crate::ice::{Change, Refusal};
use crate::output::{Outputs, Path};
use crate::private::NEVER;
use crate::stats::DropReason;
use crate::stream_in::StreamIn;
use crate::tap::is_taped;
use crate::time::Time;
use crate::track::Carries;
use crate::transport::{Binding, Transport};
use holdspace_wire::codec::Codec;
use holdspace_wire::demux::{classify, Datagram};
use holdspace_wire::rtp::{self, Header};
use holdspace_wire::seq::ExtSeq;
use holdspace_wire::srtp::SrtpError;
use holdspace_wire::stun::{self, Message};

/// Larger than any packet of an Ethernet path; bigger ones would not fit when forwarded.
const MAX_RTP_BYTES: usize = 1_500;
/// SSRCs bound per transport: 8 tracks of 3 layers with RTX need 48.
const MAX_BINDINGS: usize = 64;
const LEVELS_EVERY_MS: u64 = 200;
/// Levels of many rooms are told at the same moments: then the thread, and Python, wake once for all of them.
const LEVELS_GRID_US: u64 = 25_000;
const STUN_ANSWER_BYTES: usize = 128;

/// A packet that passed its tag.
struct Opened<'p> {
    header: &'p Header,
    packet: &'p [u8],
    ext_seq: ExtSeq,
}

pub(crate) const fn drop_reason(error: SrtpError) -> DropReason {
    match error {
        SrtpError::Malformed => DropReason::Malformed,
        SrtpError::Replayed => DropReason::Replayed,
        SrtpError::TooManyStreams | SrtpError::Exhausted | SrtpError::NoRoom => DropReason::Bound,
        SrtpError::Unauthenticated | SrtpError::IndexUsed => DropReason::Unauthenticated,
    }
}

impl Engine {
    /// One datagram, already resolved to a transport; decrypted in place. `now` is the kernel's receive time.
    pub fn receive(&mut self, transport: TransportId, path: Path, datagram: &mut [u8], now: Time, out: &mut Outputs) {
        let Some(index) = self.transports.index_of(transport) else {
            self.stray.count(DropReason::Unauthenticated);
            return;
        };
        if let Err(reason) = self.sort(index, path, datagram, now, out) {
            if let Some(peer) = self.transports.get_mut(index) {
                peer.counters.dropped.count(reason);
            }
        }
    }

    fn sort(
        &mut self,
        index: usize,
        path: Path,
        datagram: &mut [u8],
        now: Time,
        out: &mut Outputs,
    ) -> Result<(), DropReason> {
        let kind = classify(datagram);
        if kind == Datagram::Stun {
            return self.stun_in(index, path, datagram, now, out);
        }
        let peer = self.transports.get_mut(index).ok_or(DropReason::Unauthenticated)?;
        if !peer.ice.knows(path) {
            return Err(DropReason::Unauthenticated);
        }
        match kind {
            Datagram::Dtls => self.dtls_in(index, path, datagram, now, out),
            Datagram::Rtp => self.rtp_in(index, path, datagram, now, out),
            Datagram::Rtcp => self.rtcp_in(index, path, datagram, now, out),
            Datagram::Stun | Datagram::Other => Err(DropReason::Malformed),
        }
    }

    fn stun_in(
        &mut self,
        index: usize,
        path: Path,
        datagram: &[u8],
        now: Time,
        out: &mut Outputs,
    ) -> Result<(), DropReason> {
        let message = stun::parse_untrusted_message(datagram).map_err(|_| DropReason::Malformed)?;
        let Message::BindingRequest(request) = message else { return Ok(()) };
        let peer = self.transports.get_mut(index).ok_or(DropReason::Unauthenticated)?;
        let mut change = Change::default();
        let answer = out.space(STUN_ANSWER_BYTES);
        let checked = peer.ice.check(path, &request, now, answer, &mut change);
        let len = checked.map_err(|refusal| match refusal {
            Refusal::Unauthenticated => DropReason::Unauthenticated,
            Refusal::NoRoom => DropReason::Bound,
        })?;
        out.commit_one(path, len, false, None);
        if let Some(path) = change.learned {
            self.take_from_others(index, path, now);
        }
        self.settle_ice(index, change, now, out);
        Ok(())
    }

    /// An address claimed by a newer transport leaves the older one.
    fn take_from_others(&mut self, index: usize, path: Path, now: Time) {
        let id = self.transports.get(index).map(|peer| peer.id);
        let others = self.transports.iter().filter(|peer| Some(peer.id) != id && peer.ice.knows(path));
        for other in others.map(|peer| peer.id).collect::<Vec<TransportId>>() {
            self.forget_path(other, path, now);
        }
    }

    fn dtls_in(
        &mut self,
        index: usize,
        path: Path,
        datagram: &[u8],
        now: Time,
        out: &mut Outputs,
    ) -> Result<(), DropReason> {
        let peer = self.transports.get_mut(index).ok_or(DropReason::Unauthenticated)?;
        peer.flight = None;
        let mut change = Change::default();
        peer.ice.dtls_from(path, now, &mut change);
        let transport = peer.id;
        self.settle_ice(index, change, now, out);
        out.events.push(Event::Dtls { transport, datagram: datagram.to_vec() });
        Ok(())
    }

    /// Authenticated media: a sign of life, the end of a repeated flight, perhaps a move to another address.
    pub(crate) fn media_from(&mut self, index: usize, path: Path, now: Time, out: &mut Outputs) {
        let Some(peer) = self.transports.get_mut(index) else { return };
        peer.flight = None;
        let mut change = Change::default();
        peer.ice.media_from(path, now, &mut change);
        if change.moved || change.state.is_some() || change.dropped_ufrag.is_some() {
            self.settle_ice(index, change, now, out);
        }
    }

    fn rtp_in(
        &mut self,
        index: usize,
        path: Path,
        packet: &mut [u8],
        now: Time,
        out: &mut Outputs,
    ) -> Result<(), DropReason> {
        let peer = self.transports.get_mut(index).ok_or(DropReason::Unauthenticated)?;
        let keys = peer.keys.as_mut().ok_or(DropReason::NoKeys)?;
        let header = Header::parse_untrusted(packet).map_err(|_| DropReason::Malformed)?;
        if packet.len() > MAX_RTP_BYTES {
            return Err(DropReason::Bound);
        }
        let opened = keys.inbound.unprotect_rtp(packet, &header).map_err(drop_reason)?;
        peer.counters.packets_in += 1;
        peer.counters.bytes_in += packet.len() as u64;
        if !peer.intake.take(packet.len(), now) {
            return Err(DropReason::Bound);
        }
        let packet = packet.get(..opened.len).ok_or(DropReason::Malformed)?;
        let transport_seq = peer.extensions.transport_cc.and_then(|id| header.extension(packet, id));
        if let Some(seq) = transport_seq.and_then(rtp::read_transport_seq) {
            peer.arrivals.record(seq, now);
        }
        let report_at = peer.arrivals.deadline();
        let binding = peer.binding(header.ssrc);
        self.media_from(index, path, now, out);
        if let Some(at) = report_at {
            self.wake_at(at);
        }
        let binding = match binding {
            Some(binding) => binding,
            None => self.bind(index, &header, packet)?,
        };
        self.stream_in(index, binding, &Opened { header: &header, packet, ext_seq: opened.ext_seq }, now, out)
    }

    /// Learns an SSRC from its MID and RID (RFC 8843 §9.2, RFC 8852).
    fn bind(&mut self, index: usize, header: &Header, packet: &[u8]) -> Result<Binding, DropReason> {
        let peer = self.transports.get(index).ok_or(DropReason::UnknownSsrc)?;
        let text = |id: Option<u8>| id.and_then(|id| header.extension(packet, id)).and_then(rtp::read_stream_id);
        let mid = text(peer.extensions.mid).ok_or(DropReason::UnknownSsrc)?;
        let is_named = |at: &&usize| self.tracks.get(**at).is_some_and(|track| track.spec.mid == mid);
        let track_at = peer.tracks.iter().find(is_named).copied().ok_or(DropReason::UnknownSsrc)?;
        let track = self.tracks.get(track_at).ok_or(DropReason::UnknownSsrc)?;
        let carries = track.carries(header.payload_type).ok_or(DropReason::UnknownSsrc)?;
        let is_rtx = matches!(carries, Carries::Rtx(_));
        let rid = if is_rtx { text(peer.extensions.repaired_rid) } else { text(peer.extensions.rid) };
        let layer = match rid {
            Some(rid) => track.layer_of_rid(rid).ok_or(DropReason::UnknownSsrc)?,
            None if track.spec.rids.is_empty() => 0,
            None => {
                let position = |pair: &(u32, Option<u32>)| pair.0 == header.ssrc || pair.1 == Some(header.ssrc);
                let at = track.spec.ssrcs.iter().position(position).ok_or(DropReason::UnknownSsrc)?;
                at.min(track.streams.len() - 1)
            }
        };
        let binding = Binding { ssrc: header.ssrc, track: track_at, layer, is_rtx };
        self.add_binding(index, binding).map(|()| binding)
    }

    /// Binds an SSRC, in place of the one that held its place before.
    pub(crate) fn add_binding(&mut self, index: usize, binding: Binding) -> Result<(), DropReason> {
        let peer = self.transports.get_mut(index).ok_or(DropReason::UnknownSsrc)?;
        let track = self.tracks.get_mut(binding.track).ok_or(DropReason::UnknownSsrc)?;
        let same_place =
            |b: &Binding| b.track == binding.track && b.layer == binding.layer && b.is_rtx == binding.is_rtx;
        peer.bindings.retain(|b| !same_place(b) && b.ssrc != binding.ssrc);
        if peer.bindings.len() >= MAX_BINDINGS {
            return Err(DropReason::Bound);
        }
        let private = track.is_private();
        let place = track.streams.get_mut(binding.layer).ok_or(DropReason::Bound)?;
        if binding.is_rtx {
            if let Some(stream) = place {
                stream.rtx_ssrc = Some(binding.ssrc);
            }
        } else if place.as_ref().is_none_or(|stream| stream.ssrc != binding.ssrc) {
            let rtx_ssrc = place.as_ref().and_then(|stream| stream.rtx_ssrc);
            let stream = place.insert(StreamIn::new(self.next_stream_key, binding.ssrc, rtx_ssrc));
            stream.shown_from = if private { NEVER } else { 0 };
            self.next_stream_key += 1;
        }
        peer.bindings.push(binding);
        Ok(())
    }

    /// An authenticated packet of a bound SSRC: counted, unwrapped from RTX, described, cached and forwarded.
    fn stream_in(
        &mut self,
        index: usize,
        binding: Binding,
        opened: &Opened<'_>,
        now: Time,
        out: &mut Outputs,
    ) -> Result<(), DropReason> {
        let track = self.tracks.get_mut(binding.track).ok_or(DropReason::UnknownSsrc)?;
        let carries = track.carries(opened.header.payload_type).ok_or(DropReason::Malformed)?;
        let codec_at = match (carries, binding.is_rtx) {
            (Carries::Media(codec), false) | (Carries::Rtx(codec), true) => codec,
            _ => return Err(DropReason::Malformed),
        };
        let codec = track.codecs.get(usize::from(codec_at)).ok_or(DropReason::Malformed)?;
        let (codec, clock_hz, nack) = (codec.codec, codec.spec.clock_hz, codec.spec.nack);
        let (muted, taped) = (track.muted, is_taped(track));
        let is_watched = !track.is_audio() && track.has_consumers();
        let stream = track.stream_mut(binding.layer).ok_or(DropReason::UnknownSsrc)?;
        let Some((seq, payload)) = unwrap_stream(stream, binding.is_rtx, opened, clock_hz, now)? else {
            return Ok(());
        };
        if (binding.is_rtx && (!nack || muted)) || !stream.note(seq) {
            return Ok(()); // nobody asked for it, or it is here already
        }
        let mut wake = None;
        if nack && !muted {
            let peer = self.transports.get_mut(index).ok_or(DropReason::UnknownSsrc)?;
            let gave_up = chase_loss(stream, peer, seq, binding.is_rtx, is_watched, now);
            wake = if gave_up { Some(now) } else { stream.nacks.deadline() };
        }
        let (rtp_ts, marker) = (opened.header.rtp_ts, opened.header.marker);
        let mut meta =
            PacketMeta { ext_seq: seq, rtp_ts, arrival: now, codec: codec_at, marker, ..PacketMeta::default() };
        let described = describe(&mut meta, codec, payload);
        if meta.starts_keyframe {
            stream.keyframes.arrived();
            if !taped {
                stream.nacks.forget_before(seq);
            }
        }
        wake.into_iter().for_each(|at| self.wake_at(at));
        self.note_track(index, binding.track, codec_at, now, out);
        if muted {
            return Ok(());
        }
        let descriptor = self.read_extensions(index, binding, opened, &mut meta, now);
        let media = MediaIn { binding, meta, descriptor, payload, codec, clock_hz, swallow: !described };
        if codec == Codec::Red {
            self.recover_audio(&media, now, out);
        }
        self.forward(&media, now, out);
        if described || payload.is_empty() {
            Ok(())
        } else {
            Err(DropReason::Malformed)
        }
    }

    /// Extensions that travel on: into `meta`, and the dependency descriptor's bytes.
    fn read_extensions<'p>(
        &mut self,
        index: usize,
        binding: Binding,
        opened: &Opened<'p>,
        meta: &mut PacketMeta,
        now: Time,
    ) -> &'p [u8] {
        let Some(ids) = self.transports.get(index).map(|peer| peer.extensions) else { return &[] };
        let Some(track) = self.tracks.get_mut(binding.track) else { return &[] };
        let value = |id: Option<u8>| id.and_then(|id| opened.header.extension(opened.packet, id));
        if let Some(level) = value(ids.audio_level).filter(|_| track.kind() == Kind::Audio) {
            meta.audio_level = level.first().copied();
            if let Some(level) = rtp::read_audio_level(level) {
                track.hear(level);
                let due_us = now.plus_ms(LEVELS_EVERY_MS).0;
                let at = *self.levels_at.get_or_insert(Time(due_us - due_us % LEVELS_GRID_US));
                self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
            }
        }
        let Some(stream) = track.stream_mut(binding.layer) else { return &[] };
        if let Some([orientation]) = value(ids.video_orientation) {
            stream.video_orientation = Some(*orientation);
        }
        if let Some(delay) = value(ids.playout_delay).and_then(|delay| delay.try_into().ok()) {
            stream.playout_delay = Some(delay);
        }
        meta.video_orientation = stream.video_orientation;
        meta.playout_delay = stream.playout_delay;
        let descriptor = value(ids.dependency_descriptor).unwrap_or(&[]);
        meta.descriptor_bytes = descriptor.len() as u8; // an element has at most 255 bytes
        read_dependencies(meta, stream, descriptor);
        descriptor
    }

    /// Live and codec events.
    fn note_track(&mut self, index: usize, track_at: usize, codec_at: u8, now: Time, out: &mut Outputs) {
        let Some(transport) = self.transports.get(index).map(|peer| peer.id) else { return };
        let Some(track) = self.tracks.get_mut(track_at) else { return };
        let became_live = !track.live;
        if became_live {
            track.live = true;
            out.events.push(Event::Track { transport, track: track.id, state: TrackState::Live });
        }
        if track.codec_in_use != Some(codec_at) {
            track.codec_in_use = Some(codec_at);
            if let Some((name, fmtp)) = track.codec_name(codec_at) {
                out.events.push(Event::Codec { transport, track: track.id, name, fmtp });
            }
        }
        let silent_at = track.silent_at().filter(|_| became_live);
        if let Some(at) = silent_at.map(|at| at.max(now)) {
            self.wake_at(at);
        }
    }
}

/// Its place in the media stream and its payload, an RTX packet's as of the one it repeats. None: nothing in it.
fn unwrap_stream<'p>(
    stream: &mut StreamIn,
    is_rtx: bool,
    opened: &Opened<'p>,
    clock_hz: u32,
    now: Time,
) -> Result<Option<(u64, &'p [u8])>, DropReason> {
    let payload = opened.header.payload_range(opened.packet).map_err(|_| DropReason::Malformed)?;
    let payload = opened.packet.get(payload).ok_or(DropReason::Malformed)?;
    if !is_rtx {
        stream.count(opened.ext_seq.0, opened.header.rtp_ts, clock_hz, now);
        return Ok(Some((opened.ext_seq.0, payload)));
    }
    if payload.is_empty() {
        return Ok(None); // padding to probe with
    }
    let (original, payload) = rtp::parse_untrusted_rtx(payload).map_err(|_| DropReason::Malformed)?;
    let newest = stream.newest_seq().ok_or(DropReason::UnknownSsrc)?;
    let seq = ExtSeq(newest).nearest(original).0;
    // Ahead of the stream it is a probe: the hole it would fill is not known yet.
    Ok((seq <= newest).then_some((seq, payload)))
}

/// Keeps account of holes in the stream. True: packets were given up and a keyframe is wanted.
fn chase_loss(
    stream: &mut StreamIn,
    peer: &mut Transport,
    seq: u64,
    is_rtx: bool,
    is_watched: bool,
    now: Time,
) -> bool {
    let arrived = stream.nacks.on_packet(seq, now, is_rtx);
    peer.counters.recovered_in += u64::from(arrived.recovered);
    peer.counters.lost_in += arrived.given_up;
    if let Some(sample_us) = arrived.round_trip_us {
        peer.measure_rtt(sample_us);
    }
    let gave_up = arrived.given_up > 0 && is_watched;
    if gave_up {
        stream.keyframes.want();
    }
    gave_up
}
