//! What Python asks of a room: one variant per call of `media/_forwarder.pyi` that concerns a room's inside.
//! Journals are the runtime's; of `add_tap` the engine sees only what the packet path needs.

use crate::event::PortEnd;
use holdspace_wire::srtp::Profile;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransportId(pub u64);
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackId(pub u64);
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(pub u64);
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TapId(pub u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Audio,
    Video,
}

/// One payload type as negotiated with one participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecSpec {
    /// Lower case: `vp8 vp9 h264 av1 opus red`.
    pub name: String,
    pub payload_type: u8,
    pub clock_hz: u32,
    pub rtx_payload_type: Option<u8>,
    pub nack: bool,
    pub pli: bool,
    pub remb: bool,
    pub twcc: bool,
    pub fmtp: String,
}

/// Header-extension ids as negotiated with one participant; None was not negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExtensionIds {
    pub mid: Option<u8>,
    pub rid: Option<u8>,
    pub repaired_rid: Option<u8>,
    pub audio_level: Option<u8>,
    pub abs_send_time: Option<u8>,
    pub transport_cc: Option<u8>,
    pub video_orientation: Option<u8>,
    pub dependency_descriptor: Option<u8>,
    pub playout_delay: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackSpec {
    pub mid: String,
    pub kind: Kind,
    pub codecs: Vec<CodecSpec>,
    /// (ssrc, rtx_ssrc) known from the offer; may be empty.
    pub ssrcs: Vec<(u32, Option<u32>)>,
    /// Simulcast rids in the offer's order; empty without simulcast.
    pub rids: Vec<String>,
    /// Video of which nobody sees more than the worker at the frame port returns. False ends nothing.
    pub private: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotSpec {
    pub mid: String,
    pub kind: Kind,
    pub ssrc: u32,
    pub rtx_ssrc: Option<u32>,
    pub codecs: Vec<CodecSpec>,
    pub cname: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    AddTransport {
        transport: TransportId,
        participant: String,
        ice_ufrag: String,
        ice_pwd: String,
    },
    RestartIce {
        transport: TransportId,
        ice_ufrag: String,
        ice_pwd: String,
    },
    RemoveTransport {
        transport: TransportId,
    },
    SendDtls {
        transport: TransportId,
        datagrams: Vec<Vec<u8>>,
        flight: bool,
    },
    SetSrtp {
        transport: TransportId,
        profile: Profile,
        inbound_key: Vec<u8>,
        outbound_key: Vec<u8>,
    },
    SetExtensions {
        transport: TransportId,
        extensions: ExtensionIds,
    },
    SetTrack {
        transport: TransportId,
        track: TrackId,
        spec: TrackSpec,
    },
    RemoveTrack {
        track: TrackId,
    },
    SetSlot {
        transport: TransportId,
        slot: SlotId,
        spec: SlotSpec,
    },
    SetSlotSource {
        slot: SlotId,
        track: Option<TrackId>,
    },
    SetLayer {
        slot: SlotId,
        rid: Option<String>,
        /// Highest temporal layer to send; None: all.
        temporal: Option<u8>,
    },
    SetSlotShare {
        slot: SlotId,
        bps: Option<u64>,
    },
    SetTrackMuted {
        track: TrackId,
        muted: bool,
    },
    RequestKeyframe {
        track: TrackId,
    },
    SetPrivate {
        track: TrackId,
        private: bool,
    },
    /// The runtime has a worker's socket for the track, or another one.
    OpenPort {
        track: TrackId,
    },
    ClosePort {
        track: TrackId,
        reason: PortEnd,
    },
    SetMaxBitrate {
        transport: TransportId,
        bps: Option<u64>,
    },
    GrantRecording {
        grant: String,
        participant: String,
    },
    RevokeRecording {
        grant: String,
    },
    AddTap {
        tap: TapId,
        track: TrackId,
        grant: String,
    },
    RemoveTap {
        tap: TapId,
    },
    /// The runtime could not write this tap's records; ends it with [`crate::TapEnd::JournalFailed`].
    FailTap {
        tap: TapId,
    },
}

impl Command {
    /// For the log: the call's name and the id it is about, never what it carries (keys, passwords, consents).
    pub fn name_and_id(&self) -> (&'static str, Option<u64>) {
        match self {
            Command::AddTransport { transport, .. } => ("add_transport", Some(transport.0)),
            Command::RestartIce { transport, .. } => ("restart_ice", Some(transport.0)),
            Command::RemoveTransport { transport } => ("remove_transport", Some(transport.0)),
            Command::SendDtls { transport, .. } => ("send_dtls", Some(transport.0)),
            Command::SetSrtp { transport, .. } => ("set_srtp", Some(transport.0)),
            Command::SetExtensions { transport, .. } => ("set_extensions", Some(transport.0)),
            Command::SetTrack { track, .. } => ("set_track", Some(track.0)),
            Command::RemoveTrack { track } => ("remove_track", Some(track.0)),
            Command::SetSlot { slot, .. } => ("set_slot", Some(slot.0)),
            Command::SetSlotSource { slot, .. } => ("set_slot_source", Some(slot.0)),
            Command::SetLayer { slot, .. } => ("set_layer", Some(slot.0)),
            Command::SetSlotShare { slot, .. } => ("set_slot_share", Some(slot.0)),
            Command::SetTrackMuted { track, .. } => ("set_track_muted", Some(track.0)),
            Command::SetPrivate { track, .. } => ("set_private", Some(track.0)),
            Command::OpenPort { track } => ("open_frame_port", Some(track.0)),
            Command::ClosePort { track, .. } => ("close_frame_port", Some(track.0)),
            Command::RequestKeyframe { track } => ("request_keyframe", Some(track.0)),
            Command::SetMaxBitrate { transport, .. } => ("set_max_bitrate", Some(transport.0)),
            Command::GrantRecording { .. } => ("grant_recording", None),
            Command::RevokeRecording { .. } => ("revoke_recording", None),
            Command::AddTap { tap, .. } => ("add_tap", Some(tap.0)),
            Command::RemoveTap { tap } => ("remove_tap", Some(tap.0)),
            Command::FailTap { tap } => ("fail_tap", Some(tap.0)),
        }
    }
}
