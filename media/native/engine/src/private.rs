//! Private tracks: whose camera is private is seen only as the worker behind the frame port returns it.
//!
//! The rule is one number per inbound stream, `StreamIn::shown_from`: packets before it go to no consumer and into no
//! cache (`forward` asks, nobody else could). Becoming private sets it beyond every packet; the end of privacy sets it
//! to the first packet of the camera's next keyframe, so that what came in between stays unseen for ever. What the
//! worker returns is forwarded as a layer of its own ([`BLURRED`]). Without a worker nothing is sent.

use crate::arena::Arena;
use crate::cache::{PacketCache, PacketMeta};
use crate::command::{Kind, SlotId, TrackId};
use crate::engine::Engine;
use crate::event::{Event, PortEnd};
use crate::forward::MediaIn;
use crate::output::Outputs;
use crate::port::{self, FromWorker, Mode, Port, Privacy, BLURRED, FRAME, KEYFRAME, RATE};
use crate::rewrite::Timeline;
use crate::slot::Slot;
use crate::stream_in::{KeyframeRequests, SenderClock};
use crate::time::Time;
use crate::track::Track;
use crate::transport::Binding;
use crate::EngineError;
use holdspace_wire::codec::{vp8, Codec};

type Done = Result<(), EngineError>;

const CLOCK_HZ: u32 = 90_000;
/// Payload of one packet of the worker's pictures: with every extension and the tag under 1,200 bytes.
const MAX_PART_BYTES: usize = 1_100;
/// No packet is shown.
pub(crate) const NEVER: u64 = u64::MAX;

impl Engine {
    pub(crate) fn set_private(&mut self, id: TrackId, private: bool, now: Time, out: &mut Outputs) -> Done {
        let track_at = self.video_track(id)?;
        if private {
            self.veil(track_at, now, out);
            return Ok(());
        }
        let Some(privacy) = self.tracks.get_mut(track_at).and_then(|track| track.privacy.as_mut()) else {
            return Ok(());
        };
        if privacy.mode == Mode::On {
            privacy.mode = Mode::Ending;
            self.want_keyframes_of_camera(track_at, u64::MAX, now);
        }
        Ok(())
    }

    fn video_track(&self, id: TrackId) -> Result<usize, EngineError> {
        let track_at = self.tracks.index_of(id).ok_or(EngineError::UnknownId)?;
        let is_video = self.tracks.get(track_at).is_some_and(|track| track.kind() == Kind::Video);
        if is_video {
            Ok(track_at)
        } else {
            Err(EngineError::Refused("only video can be private"))
        }
    }

    /// From here on no raw packet of the track leaves: not a new one, not a queued one, not a repeated one.
    pub(crate) fn veil(&mut self, track_at: usize, now: Time, out: &mut Outputs) {
        self.ensure_privacy(track_at);
        let Some(track) = self.tracks.get_mut(track_at) else { return };
        let Some(privacy) = track.privacy.as_mut() else { return };
        let before = std::mem::replace(&mut privacy.mode, Mode::On);
        if before != Mode::Off {
            return;
        }
        if let Some(port) = &mut privacy.port {
            port.lose();
        }
        for stream in track.streams.iter_mut().flatten() {
            stream.shown_from = NEVER;
            stream.cache = PacketCache::default();
            // Nothing is seen until a keyframe comes: the spacing of earlier requests must not lengthen that.
            stream.keyframes = KeyframeRequests::default();
        }
        out.events.push(Event::Private { track: track.id, private: true });
        for slot in self.slots.iter_mut() {
            // A slot that showed the track once may still hold its ciphertext.
            slot.forget_ciphertext();
            if slot.source == Some(track_at) {
                slot.resend.clear();
                if !slot.queue.is_empty() {
                    slot.drop_queue();
                }
            }
        }
        self.want_keyframes_of_camera(track_at, u64::MAX, now);
    }

    fn ensure_privacy(&mut self, track_at: usize) {
        let key = self.next_stream_key;
        let Some(track) = self.tracks.get_mut(track_at) else { return };
        if track.privacy.is_none() {
            track.privacy = Some(Box::new(Privacy::new(key)));
            self.next_stream_key += 1;
        }
    }

    /// A worker is there, or another one.
    pub(crate) fn open_port(&mut self, id: TrackId, now: Time) -> Done {
        let track_at = self.video_track(id)?;
        self.ensure_privacy(track_at);
        self.restart_blurred(track_at);
        if let Some(privacy) = self.tracks.get_mut(track_at).and_then(|track| track.privacy.as_mut()) {
            privacy.port = Some(Port::default());
            if privacy.is_on() {
                self.want_keyframes_of_camera(track_at, u64::MAX, now);
            }
        }
        self.wake_at(now);
        Ok(())
    }

    fn restart_blurred(&mut self, track_at: usize) {
        let key = self.next_stream_key;
        self.next_stream_key += 1;
        if let Some(privacy) = self.tracks.get_mut(track_at).and_then(|track| track.privacy.as_mut()) {
            privacy.restart(key);
        }
    }

    pub(crate) fn close_port(&mut self, id: TrackId, reason: PortEnd, out: &mut Outputs) -> Done {
        let track = self.tracks.by_id_mut(id).ok_or(EngineError::UnknownId)?;
        if track.privacy.as_mut().and_then(|privacy| privacy.port.take()).is_some() {
            out.events.push(Event::PortClosed { track: id, reason });
        }
        Ok(())
    }

    /// A packet that may not be seen as things stand. True: it may after all, privacy ends with it.
    #[cold]
    pub(crate) fn unveils(&mut self, media: &MediaIn<'_>, now: Time, out: &mut Outputs) -> bool {
        let Binding { track: track_at, layer, .. } = media.binding;
        let Some(track) = self.tracks.get_mut(track_at) else { return false };
        let (Some(privacy), Some(stream)) = (&mut track.privacy, track.streams.get_mut(layer).and_then(Option::as_mut))
        else {
            return false;
        };
        if stream.shown_from != NEVER {
            return false; // from before the keyframe that ended privacy
        }
        // In order: of a keyframe whose start came late the rest went unseen.
        let begins = media.meta.starts_keyframe && stream.newest_seq() == Some(media.meta.ext_seq);
        if privacy.mode != Mode::On && begins && !media.swallow {
            stream.shown_from = media.meta.ext_seq;
            let key = stream.key;
            if std::mem::replace(&mut privacy.mode, Mode::Off) == Mode::Ending {
                out.events.push(Event::Private { track: track.id, private: false });
            }
            self.detach_from(key);
            return true;
        }
        let (is_on, is_ending) = (privacy.is_on(), privacy.mode != Mode::On);
        if is_ending {
            self.want_keyframes_of_camera(track_at, 1 << layer.min(63), now);
        }
        if is_on {
            self.feed_port(media, now, out);
        }
        false
    }

    /// Consumers that showed the stream before it was veiled: what follows is no continuation of that.
    fn detach_from(&mut self, stream_key: u64) {
        let slots = self.slots.iter_mut().map(|slot| &mut slot.timeline);
        let taps = self.taps.iter_mut().map(|tap| &mut tap.timeline);
        slots.chain(taps).filter(|timeline| timeline.stream_key() == Some(stream_key)).for_each(Timeline::detach);
    }

    /// Raw packets on their only way: into pictures, and these to the worker.
    fn feed_port(&mut self, media: &MediaIn<'_>, now: Time, out: &mut Outputs) {
        let Binding { track: track_at, layer, .. } = media.binding;
        let Some(track) = self.tracks.get(track_at) else { return };
        let Some(stream) = track.stream(layer) else { return };
        let (key, orientation) = (stream.key, stream.video_orientation);
        let has_port = track.privacy.as_ref().is_some_and(|privacy| privacy.port.is_some());
        if !has_port || media.codec != Codec::Vp8 {
            return;
        }
        let source = track.privacy.as_ref().and_then(|privacy| privacy.port.as_ref()?.source);
        if source != Some((layer, key)) {
            let is_best = track.best_of_camera(now) == layer;
            let may_begin = source.is_none() || media.meta.starts_keyframe;
            if is_best && !may_begin {
                self.want_keyframes_of_camera(track_at, 1 << layer.min(63), now);
            }
            if !is_best || !may_begin {
                return;
            }
            self.take_source(track_at, layer, key);
        }
        let Some(track) = self.tracks.get_mut(track_at) else { return };
        let (id, privacy) = (track.id, track.privacy.as_mut());
        let Some(port) = privacy.and_then(|privacy| privacy.port.as_mut()) else { return };
        let payload = if media.swallow { &[][..] } else { media.payload };
        port.frames.push(media.meta.ext_seq, media.meta.rtp_ts, media.meta.marker, payload);
        while let Some(frame) = port.frames.take(now) {
            port.note_given(frame.rtp_ts);
            out.tell_worker(id, &[&port::frame_head(&frame, orientation), &frame.data]);
            self.port_counts.frames_to_worker += 1;
        }
        if port.frames.needs_keyframe() {
            self.want_keyframes_of_camera(track_at, 1 << layer.min(63), now);
        }
    }

    /// The worker's pictures are of another encoding from now on, on that one's clock.
    fn take_source(&mut self, track_at: usize, layer: usize, key: u64) {
        let had_source = self.tracks.get_mut(track_at).and_then(|track| {
            let port = track.privacy.as_mut()?.port.as_mut()?;
            let had_source = port.source.replace((layer, key)).is_some();
            if had_source {
                port.lose();
            }
            Some(had_source)
        });
        if had_source == Some(true) {
            self.restart_blurred(track_at);
        }
        let Some(track) = self.tracks.get_mut(track_at) else { return };
        let clock = track.stream(layer).and_then(|stream| stream.clock);
        if let Some(privacy) = &mut track.privacy {
            privacy.blurred.clock = clock;
        }
    }

    /// One message of the worker: any bytes.
    pub fn worker_says(&mut self, track: TrackId, message: &[u8], now: Time, out: &mut Outputs) {
        let Some(track_at) = self.tracks.index_of(track) else { return };
        let source = self.tracks.get(track_at).and_then(|track| track.privacy.as_ref()?.port.as_ref());
        let Some(source) = source.map(|port| port.source) else { return };
        match port::parse_untrusted(message) {
            Ok(FromWorker::Frame { is_keyframe, rtp_ts, picture }) => {
                self.show_picture(track_at, is_keyframe, rtp_ts, picture, now, out);
            }
            Ok(FromWorker::Keyframe) => {
                if let Some((layer, _)) = source {
                    self.want_keyframes_of_camera(track_at, 1 << layer.min(63), now);
                }
            }
            Ok(FromWorker::Gap) => {}
            Err(_) => self.port_counts.bad_port_messages += 1,
        }
    }

    /// Position of VP8 among the track's codecs, if a picture of this time is expected and wanted.
    fn admit_picture(&mut self, track_at: usize, rtp_ts: u32) -> Option<u8> {
        let track = self.tracks.get_mut(track_at)?;
        let codec_at = track.codecs.iter().position(|codec| codec.codec == Codec::Vp8);
        let muted = track.muted;
        let privacy = track.privacy.as_mut()?;
        if !privacy.port.as_mut().is_some_and(|port| port.take_back(rtp_ts)) {
            self.port_counts.bad_port_messages += 1;
            return None;
        }
        let wanted = codec_at.filter(|_| privacy.is_on() && !muted);
        let counted = if wanted.is_some() {
            &mut self.port_counts.frames_from_worker
        } else {
            &mut self.port_counts.frames_dropped
        };
        *counted += 1;
        wanted.map(|at| at as u8)
    }

    /// Cuts the worker's picture into packets and forwards them like a camera's.
    fn show_picture(
        &mut self,
        track_at: usize,
        is_keyframe: bool,
        rtp_ts: u32,
        picture: &[u8],
        now: Time,
        out: &mut Outputs,
    ) {
        let Some(codec) = self.admit_picture(track_at, rtp_ts) else { return };
        let Some(track) = self.tracks.get_mut(track_at) else { return };
        let camera = track.privacy.as_ref().and_then(|privacy| privacy.port.as_ref()?.source);
        let camera = camera.and_then(|(layer, _)| track.stream(layer));
        let (video_orientation, playout_delay) =
            camera.map(|stream| (stream.video_orientation, stream.playout_delay)).unwrap_or_default();
        let Some(privacy) = track.privacy.as_mut() else { return };
        (privacy.blurred.video_orientation, privacy.blurred.playout_delay) = (video_orientation, playout_delay);
        if is_keyframe {
            privacy.blurred.keyframes.arrived();
        }
        privacy.picture_id = privacy.picture_id.wrapping_add(1) & 0x7fff;
        let picture_id = Some(privacy.picture_id);
        let parts = picture.len().div_ceil(MAX_PART_BYTES);
        let first_seq = privacy.next_seq;
        privacy.next_seq += parts as u64;
        let layer_sync = is_keyframe;
        let meta = PacketMeta { rtp_ts, arrival: now, codec, picture_id, layer_sync, ..PacketMeta::default() };
        let meta = PacketMeta { video_orientation, playout_delay, ..meta };
        // Of almost one size: a picture is then one send.
        for (at, part) in picture.chunks(picture.len().div_ceil(parts)).enumerate() {
            let (ext_seq, marker) = (first_seq + at as u64, at + 1 == parts);
            let meta = PacketMeta { ext_seq, marker, starts_keyframe: is_keyframe && at == 0, ..meta };
            self.show_part(track_at, meta, at == 0, part, now, out);
        }
    }

    fn show_part(
        &mut self,
        track_at: usize,
        meta: PacketMeta,
        is_first: bool,
        part: &[u8],
        now: Time,
        out: &mut Outputs,
    ) {
        let Some(privacy) = self.tracks.get_mut(track_at).and_then(|track| track.privacy.as_mut()) else { return };
        privacy.blurred.count(meta.ext_seq, meta.rtp_ts, CLOCK_HZ, now);
        let payload = [&vp8::descriptor(meta.picture_id.unwrap_or(0), is_first)[..], part].concat();
        let binding = Binding { ssrc: 0, track: track_at, layer: BLURRED, is_rtx: false };
        let (descriptor, payload) = (&[][..], &payload[..]);
        let media =
            MediaIn { binding, meta, descriptor, payload, codec: Codec::Vp8, clock_hz: CLOCK_HZ, swallow: false };
        self.forward(&media, now, out);
    }

    /// A message for the worker found its socket full.
    pub fn worker_refused(&mut self, track: TrackId, kind: u8, now: Time) {
        let Some(track_at) = self.tracks.index_of(track) else { return };
        let Some(track) = self.tracks.get_mut(track_at) else { return };
        let Some(privacy) = track.privacy.as_mut() else { return };
        match (kind, &mut privacy.port) {
            (FRAME, Some(port)) => {
                port.frames.lose();
                self.port_counts.frames_to_worker = self.port_counts.frames_to_worker.saturating_sub(1);
                self.port_counts.frames_dropped += 1;
                if let Some((layer, _)) = port.source {
                    self.want_keyframes_of_camera(track_at, 1 << layer.min(63), now);
                }
            }
            (KEYFRAME, Some(_)) => privacy.blurred.keyframes.want(),
            (RATE, Some(port)) => port.forget_rate(),
            _ => {}
        }
    }

    /// Keyframe requests and rates that are due towards workers.
    pub(crate) fn tick_ports(&mut self, now: Time, out: &mut Outputs) {
        for track in self.tracks.iter_mut() {
            let rate = track.port_rate(&self.slots, now);
            let Some(privacy) = track.privacy.as_mut() else { continue };
            let Some(port) = privacy.port.as_mut() else { continue };
            if privacy.blurred.keyframes.take_due(now) {
                out.tell_worker(track.id, &[&[KEYFRAME]]);
            }
            if let Some((_, bps)) = rate.filter(|(at, _)| *at <= now) {
                port.note_rate(bps, now);
                out.tell_worker(track.id, &[&port::rate_message(bps)]);
            }
        }
    }
}

impl Track {
    /// The worker's pictures keep the times of those they were made of. Answers their stream's key if the report is
    /// of that source.
    pub(crate) fn clock_of_blurred(&mut self, source: (usize, u64), clock: SenderClock) -> Option<u64> {
        let privacy = self.privacy.as_mut()?;
        privacy.port.as_ref().filter(|port| port.source == Some(source))?;
        privacy.blurred.clock = Some(clock);
        Some(privacy.blurred.key)
    }

    /// When the rate of the worker's encoder is to change, and to what: the narrowest share that shows the track.
    pub(crate) fn port_rate(&self, slots: &Arena<SlotId, Slot>, now: Time) -> Option<(Time, u64)> {
        let port = self.privacy.as_ref()?.port.as_ref()?;
        let showing = self.slots.iter().filter_map(|at| slots.get(*at)).filter(|slot| slot.open && !slot.is_paused());
        port.rate_deadline(showing.filter_map(|slot| slot.share_bps), now)
    }

    /// When the worker is to be told something.
    pub(crate) fn port_deadline(&self, slots: &Arena<SlotId, Slot>, now: Time) -> Option<Time> {
        let privacy = self.privacy.as_ref().filter(|privacy| privacy.port.is_some())?;
        let rate = self.port_rate(slots, now).map(|(at, _)| at);
        privacy.blurred.keyframes.deadline(now).into_iter().chain(rate).min()
    }
}
