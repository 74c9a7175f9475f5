//! Where an engine puts what must leave it. One `Outputs` per runtime thread, lent to every engine in turn and
//! drained between calls, so that the big buffers exist once per thread and stay warm in its cache.

use crate::command::{TapId, TrackId, TransportId};
use crate::event::Event;
use crate::time::Time;
use std::net::{IpAddr, SocketAddr};

/// The runtime's handle for where a datagram arrived; handed back unchanged for what is sent there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Local {
    /// A socket of this thread, or an ICE-TCP connection ([`STREAM`] is set).
    pub socket: u32,
    /// The destination address of the datagram, for IP_PKTINFO; the unspecified address where the socket has one only.
    pub ip: IpAddr,
}

/// Marks the socket number of a byte stream.
pub const STREAM: u32 = 1 << 31;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    pub local: Local,
    pub remote: SocketAddr,
}

impl Path {
    /// ICE-TCP: nothing is lost on the way, a full path shows as delay only.
    pub fn is_stream(&self) -> bool {
        self.local.socket & STREAM != 0
    }
}

/// A change of the runtime's demux tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    UfragAdded {
        ufrag: String,
        transport: TransportId,
    },
    UfragRemoved {
        ufrag: String,
    },
    /// An authenticated check came from here. Overwrites an older owner, whose engine is told by `forget_path`.
    AddressLearned {
        path: Path,
        transport: TransportId,
    },
    /// Remove the entry if it still belongs to `transport`.
    AddressForgotten {
        path: Path,
        transport: TransportId,
    },
}

/// One system call: `segments` datagrams of `segment_bytes` each (the last may be shorter) to one address.
/// At most [`MAX_SEGMENTS`] and [`MAX_SEND_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    pub path: Path,
    pub segment_bytes: usize,
    pub segments: usize,
    /// Earliest arrival among the forwarded packets in it; None for answers, repeats and reports.
    pub arrival: Option<Time>,
    /// Forwarded media packets in it, before all else: the weight of this send in the delay histogram.
    pub media_packets: u32,
    /// Whose transport-wide numbers it carries, one per media packet from the given one on (per segment, if there are
    /// none): to be told if it is not sent.
    pub numbers: Option<(TransportId, u64)>,
    /// First to go when a stream's reader is slow.
    pub is_video: bool,
    start: usize,
    len: usize,
}

impl Transmit {
    /// How many transport-wide numbers it carries, if any.
    pub fn numbered(&self) -> u64 {
        if self.media_packets > 0 {
            u64::from(self.media_packets)
        } else {
            self.segments as u64
        }
    }
}

/// A [`Transmit`] before its bytes have a place.
pub(crate) struct Run {
    pub(crate) path: Path,
    pub(crate) segment_bytes: usize,
    pub(crate) segments: usize,
    pub(crate) arrival: Option<Time>,
    pub(crate) media_packets: u32,
    pub(crate) numbers: Option<(TransportId, u64)>,
    pub(crate) is_video: bool,
}

pub const MAX_SEGMENTS: usize = 64;
pub const MAX_SEND_BYTES: usize = 16_000;

/// `flush` returns early when this much waits, so that the bytes are sent while still in the cache.
pub(crate) const FLUSH_BYTES: usize = 128 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TapKind {
    /// One plain RTP packet.
    Rtp,
    /// One RTCP sender report (28 bytes, no blocks) on the tap's timeline.
    SenderReport,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TapRecord<'a> {
    pub tap: TapId,
    pub kind: TapKind,
    pub arrival: Time,
    pub bytes: &'a [u8],
}

struct TapEntry {
    tap: TapId,
    kind: TapKind,
    arrival: Time,
    start: usize,
    len: usize,
}

#[derive(Default)]
pub struct Outputs {
    pub events: Vec<Event>,
    pub routes: Vec<Route>,
    transmits: Vec<Transmit>,
    /// Grown once and kept; only the first `used` bytes mean anything.
    bytes: Vec<u8>,
    used: usize,
    taps: Vec<TapEntry>,
    tap_bytes: Vec<u8>,
    worker_messages: Vec<(TrackId, Vec<u8>)>,
}

impl Outputs {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn transmits(&self) -> impl Iterator<Item = (&Transmit, &[u8])> {
        self.transmits.iter().map(|t| (t, &self.bytes[t.start..t.start + t.len]))
    }

    pub fn clear_transmits(&mut self) {
        self.transmits.clear();
        self.used = 0;
    }

    pub fn tap_records(&self) -> impl Iterator<Item = TapRecord<'_>> {
        self.taps.iter().map(|t| TapRecord {
            tap: t.tap,
            kind: t.kind,
            arrival: t.arrival,
            bytes: &self.tap_bytes[t.start..t.start + t.len],
        })
    }

    pub fn clear_tap_records(&mut self) {
        self.taps.clear();
        self.tap_bytes.clear();
    }

    /// For the workers of private tracks, in order: one datagram each.
    pub fn worker_messages(&self) -> impl Iterator<Item = (TrackId, &[u8])> {
        self.worker_messages.iter().map(|(track, message)| (*track, message.as_slice()))
    }

    pub fn has_worker_messages(&self) -> bool {
        !self.worker_messages.is_empty()
    }

    pub fn clear_worker_messages(&mut self) {
        self.worker_messages.clear();
    }

    pub(crate) fn tell_worker(&mut self, track: TrackId, parts: &[&[u8]]) {
        self.worker_messages.push((track, parts.concat()));
    }

    pub fn has_transmits(&self) -> bool {
        !self.transmits.is_empty()
    }

    /// Bytes waiting to be sent.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.used
    }

    /// Free space behind what waits, at least `bytes` long; [`Outputs::commit`] makes it part of a send.
    pub(crate) fn space(&mut self, bytes: usize) -> &mut [u8] {
        let end = self.used + bytes;
        if self.bytes.len() < end {
            self.bytes.resize(end.next_multiple_of(16 * 1024), 0);
        }
        &mut self.bytes[self.used..]
    }

    /// The first `len` bytes of the space are one send.
    pub(crate) fn commit(&mut self, run: Run, len: usize) {
        let Run { path, segment_bytes, segments, arrival, media_packets, is_video, numbers } = run;
        let start = self.used;
        let transmit =
            Transmit { path, segment_bytes, segments, arrival, media_packets, is_video, numbers, start, len };
        self.transmits.push(transmit);
        self.used += len;
    }

    /// One datagram that is not media.
    pub(crate) fn send_one(&mut self, path: Path, bytes: &[u8]) {
        self.space(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.commit_one(path, bytes.len(), false, None);
    }

    /// RTCP that comes right behind media for the same peer can leave in the same system call.
    pub(crate) fn takes_along(&self, path: Path, bytes: usize) -> bool {
        self.transmits.last().is_some_and(|last| {
            let is_whole = last.len == last.segments * last.segment_bytes && bytes <= last.segment_bytes;
            let has_room = last.segments < MAX_SEGMENTS && last.len + bytes <= MAX_SEND_BYTES;
            last.path == path && last.media_packets > 0 && !path.is_stream() && is_whole && has_room
        })
    }

    /// One datagram of RTCP, along with what leaves before it where it fits.
    pub(crate) fn send_along(&mut self, path: Path, bytes: &[u8]) {
        if !self.takes_along(path, bytes.len()) {
            return self.send_one(path, bytes);
        }
        self.space(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.used += bytes.len();
        if let Some(last) = self.transmits.last_mut() {
            last.segments += 1;
            last.len += bytes.len();
        }
    }

    pub(crate) fn commit_one(&mut self, path: Path, len: usize, is_video: bool, numbers: Option<(TransportId, u64)>) {
        let run = Run { path, segment_bytes: len, segments: 1, arrival: None, media_packets: 0, is_video, numbers };
        self.commit(run, len);
    }

    /// Space for one tap record of at most `bytes`; `commit_tap` keeps `len` of it.
    pub(crate) fn tap_space(&mut self, bytes: usize) -> &mut [u8] {
        let start = self.tap_bytes.len();
        self.tap_bytes.resize(start + bytes, 0);
        &mut self.tap_bytes[start..]
    }

    pub(crate) fn commit_tap(&mut self, tap: TapId, kind: TapKind, arrival: Time, space: usize, len: usize) {
        let start = self.tap_bytes.len() - space;
        self.tap_bytes.truncate(start + len);
        if len > 0 {
            self.taps.push(TapEntry { tap, kind, arrival, start, len });
        }
    }
}
