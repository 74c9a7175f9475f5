//! What a participant publishes in one media section: its codecs, its streams by layer, and who listens.

use crate::command::{CodecSpec, Kind, TrackId, TrackSpec};
use crate::port::{Mode, Privacy, BLURRED};
use crate::private::NEVER;
use crate::stream_in::StreamIn;
use crate::time::Time;
use holdspace_wire::codec::Codec;
use holdspace_wire::rtp::AudioLevel;

/// No packet for so long: the track is silent. Opus with DTX sends one every 400 ms.
const SILENT_AFTER_MS: u64 = 2_000;
/// A simulcast layer without packets for so long is not being sent.
const LAYER_LIVE_MS: u64 = 700;

/// One accepted payload type, resolved.
pub(crate) struct TrackCodec {
    pub(crate) codec: Codec,
    pub(crate) spec: CodecSpec,
}

pub(crate) struct Track {
    pub(crate) id: TrackId,
    pub(crate) transport: usize,
    pub(crate) spec: TrackSpec,
    pub(crate) codecs: Vec<TrackCodec>,
    /// One per rid (one without simulcast); None until its SSRC is known.
    pub(crate) streams: Vec<Option<StreamIn>>,
    pub(crate) muted: bool,
    /// None: never was, and no port was opened.
    pub(crate) privacy: Option<Box<Privacy>>,
    /// Indexes of slots filled by this track.
    pub(crate) slots: Vec<usize>,
    pub(crate) taps: Vec<usize>,
    pub(crate) live: bool,
    pub(crate) codec_in_use: Option<u8>,
    /// Loudest level and any voice since the last levels event.
    pub(crate) heard: Option<AudioLevel>,
}

/// What a payload type stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carries {
    Media(u8),
    /// Retransmissions of the codec at this position.
    Rtx(u8),
}

impl Track {
    pub(crate) fn new(id: TrackId, transport: usize, spec: TrackSpec) -> Self {
        let mut track = Track {
            id,
            transport,
            codecs: Vec::new(),
            streams: Vec::new(),
            muted: false,
            privacy: None,
            slots: Vec::new(),
            taps: Vec::new(),
            live: false,
            codec_in_use: None,
            heard: None,
            spec: TrackSpec { codecs: Vec::new(), ..spec.clone() },
        };
        track.renegotiate(spec);
        track
    }

    /// Takes new codecs, rids and SSRCs; streams stay.
    pub(crate) fn renegotiate(&mut self, spec: TrackSpec) {
        self.codecs = spec
            .codecs
            .iter()
            .filter_map(|spec| Some(TrackCodec { codec: Codec::from_name(&spec.name)?, spec: spec.clone() }))
            .collect();
        self.streams.resize_with(spec.rids.len().max(1), || None);
        self.codec_in_use = None;
        self.spec = spec;
    }

    pub(crate) fn is_audio(&self) -> bool {
        self.spec.kind == Kind::Audio
    }

    pub(crate) fn kind(&self) -> Kind {
        self.spec.kind
    }

    pub(crate) fn carries(&self, payload_type: u8) -> Option<Carries> {
        self.codecs.iter().enumerate().find_map(|(at, codec)| {
            if codec.spec.payload_type == payload_type {
                Some(Carries::Media(at as u8))
            } else if codec.spec.rtx_payload_type == Some(payload_type) {
                Some(Carries::Rtx(at as u8))
            } else {
                None
            }
        })
    }

    /// Name and format parameters for people: RED is only a wrapper, what it carries is Opus.
    pub(crate) fn codec_name(&self, at: u8) -> Option<(String, String)> {
        let codec = self.codecs.get(usize::from(at))?;
        let inner = self.codecs.iter().find(|other| codec.codec == Codec::Red && other.codec == Codec::Opus);
        let spec = &inner.unwrap_or(codec).spec;
        Some((spec.name.clone(), spec.fmtp.clone()))
    }

    pub(crate) fn sends_red(&self) -> bool {
        let in_use = self.codec_in_use.and_then(|at| self.codecs.get(usize::from(at)));
        in_use.is_some_and(|codec| codec.codec == Codec::Red)
    }

    pub(crate) fn layer_of_rid(&self, rid: &str) -> Option<usize> {
        self.spec.rids.iter().position(|known| known == rid)
    }

    pub(crate) fn stream(&self, layer: usize) -> Option<&StreamIn> {
        match self.streams.get(layer) {
            Some(stream) => stream.as_ref(),
            None => self.privacy.as_ref().filter(|_| layer == BLURRED).map(|privacy| &privacy.blurred),
        }
    }

    pub(crate) fn stream_mut(&mut self, layer: usize) -> Option<&mut StreamIn> {
        match self.streams.get_mut(layer) {
            Some(stream) => stream.as_mut(),
            None => self.privacy.as_mut().filter(|_| layer == BLURRED).map(|privacy| &mut privacy.blurred),
        }
    }

    pub(crate) fn layer_of_key(&self, key: u64) -> Option<usize> {
        let of_camera = self.streams.iter().position(|stream| stream.as_ref().is_some_and(|s| s.key == key));
        of_camera.or_else(|| self.privacy.as_ref().filter(|privacy| privacy.blurred.key == key).map(|_| BLURRED))
    }

    /// What comes from the camera is for the frame port alone.
    pub(crate) fn is_private(&self) -> bool {
        self.privacy.as_ref().is_some_and(|privacy| privacy.mode != Mode::Off)
    }

    /// Something of it can be shown.
    pub(crate) fn is_sent(&self, layer: usize, now: Time) -> bool {
        self.stream(layer).is_some_and(|stream| stream.is_live(now, LAYER_LIVE_MS) && stream.shown_from != NEVER)
    }

    /// The best encoding that comes from the camera, shown or not.
    pub(crate) fn best_of_camera(&self, now: Time) -> usize {
        let is_live = |stream: &Option<StreamIn>| stream.as_ref().is_some_and(|s| s.is_live(now, LAYER_LIVE_MS));
        self.streams.iter().rposition(is_live).unwrap_or(0)
    }

    /// The layer to show: the wanted one, or, while that is not being sent, the nearest below, else above.
    pub(crate) fn layer_for(&self, wanted: usize, now: Time) -> usize {
        if self.is_private() {
            return BLURRED;
        }
        if self.streams.len() == 1 || self.is_sent(wanted, now) {
            return wanted;
        }
        let mut others = (0..wanted).rev().chain(wanted + 1..self.streams.len());
        others.find(|layer| self.is_sent(*layer, now)).unwrap_or(wanted)
    }

    pub(crate) fn last_packet_at(&self) -> Option<Time> {
        self.streams.iter().flatten().filter_map(|stream| stream.last_packet_at).max()
    }

    /// When the track counts as silent if nothing comes.
    pub(crate) fn silent_at(&self) -> Option<Time> {
        self.last_packet_at().filter(|_| self.live).map(|at| at.plus_ms(SILENT_AFTER_MS))
    }

    pub(crate) fn hear(&mut self, level: AudioLevel) {
        let heard = self.heard.get_or_insert(level);
        heard.level = heard.level.min(level.level);
        heard.voice |= level.voice;
    }

    /// Any subscriber, recorder or worker would use a keyframe.
    pub(crate) fn has_consumers(&self) -> bool {
        let has_port = || self.privacy.as_ref().is_some_and(|privacy| privacy.port.is_some());
        !self.slots.is_empty() || !self.taps.is_empty() || has_port()
    }
}
