//! What a room tells Python, in order. The binding makes the tuples of `Node.drain` of these and adds the room's id.

use crate::command::{TapId, TrackId, TransportId};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// One datagram from a checked address; the runtime bounds how many wait per transport.
    Dtls {
        transport: TransportId,
        datagram: Vec<u8>,
    },
    Ice {
        transport: TransportId,
        state: IceState,
    },
    Track {
        transport: TransportId,
        track: TrackId,
        state: TrackState,
    },
    /// The codec in use became known or changed.
    Codec {
        transport: TransportId,
        track: TrackId,
        name: String,
        fmtp: String,
    },
    /// Every 200 ms while anything was heard.
    Levels(Vec<SpokenLevel>),
    /// What the path to a subscriber carries, at once when it falls, at most every 200 ms while it grows.
    Estimate {
        transport: TransportId,
        bps: u64,
        /// The network showed this limit; otherwise only lack of traffic kept the estimate from growing.
        is_limit: bool,
    },
    TapEnded {
        tap: TapId,
        reason: TapEnd,
    },
    /// The track became private, or its camera is seen again.
    Private {
        track: TrackId,
        private: bool,
    },
    PortClosed {
        track: TrackId,
        reason: PortEnd,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IceState {
    Connected,
    /// 8 s without a sign of life; media stops.
    Disconnected,
    /// 30 s without one; only an ICE restart revives it.
    Failed,
    /// The last stream socket of the transport is gone (ICE-TCP). A DTLS close_notify is Python's to notice.
    Closed,
}

impl IceState {
    pub const fn name(self) -> &'static str {
        match self {
            IceState::Connected => "connected",
            IceState::Disconnected => "disconnected",
            IceState::Failed => "failed",
            IceState::Closed => "closed",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackState {
    /// First packet.
    Live,
    /// None for 2 s.
    Silent,
}

impl TrackState {
    pub const fn name(self) -> &'static str {
        match self {
            TrackState::Live => "live",
            TrackState::Silent => "silent",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpokenLevel {
    pub track: TrackId,
    /// −dBov, 0 is loud, 127 silence: the loudest packet of the 200 ms.
    pub level_dbov: u8,
    /// Any packet said "voice".
    pub active: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TapEnd {
    Removed,
    GrantRevoked,
    TrackGone,
    JournalFailed,
}

impl TapEnd {
    pub const fn name(self) -> &'static str {
        match self {
            TapEnd::Removed => "removed",
            TapEnd::GrantRevoked => "grant_revoked",
            TapEnd::TrackGone => "track_gone",
            TapEnd::JournalFailed => "journal_failed",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortEnd {
    Closed,
    WorkerGone,
    TrackGone,
}

impl PortEnd {
    pub const fn name(self) -> &'static str {
        match self {
            PortEnd::Closed => "closed",
            PortEnd::WorkerGone => "worker_gone",
            PortEnd::TrackGone => "track_gone",
        }
    }
}
