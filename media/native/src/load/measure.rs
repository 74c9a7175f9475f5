//! What a benchmark counts: loss by sequence number, delay since the scheduled send, decrypted samples.

use holdspace_wire::rtp::Header;
use holdspace_wire::seq::{ExtSeq, SeqUnwrapper};
use holdspace_wire::srtp::Inbound;

/// One packet in so many is decrypted and compared with what was published.
const CHECK_EVERY: u64 = 100;

/// Sums of one measurement window.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Packets that the sequence numbers of all receivers say there were.
    pub expected: u64,
    pub received: u64,
    /// Received on streams that nobody negotiated (the limit loop's).
    pub foreign: u64,
    pub published: u64,
    pub checked: u64,
    /// Checked packets that could not be decrypted or were not what they should be.
    pub mismatched: u64,
    pub rtcp: u64,
    pub stun_answers: u64,
    pub nacks: u64,
    pub keyframe_requests: u64,
    /// Scheduled send to kernel arrival, in ns, sorted; one per received packet.
    pub delays_ns: Vec<u32>,
    /// What the first receiver got, for the limit loop.
    pub recorded: Vec<Burst>,
    /// Share of the thread's rounds that found nothing to do: its headroom.
    pub idle_share: f64,
}

impl Report {
    pub fn percentile_ns(&self, percent: usize) -> Option<u32> {
        let last = self.delays_ns.len().checked_sub(1)?;
        self.delays_ns.get(last * percent / 100).copied()
    }
}

/// Datagrams that one receiver got for packets published in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burst {
    /// Scheduled send, on the monotonic clock.
    pub at_ns: u64,
    pub datagram_bytes: Vec<usize>,
}

/// When each packet of a published stream was scheduled, by its number (the last eight bytes of its payload).
#[derive(Default)]
pub(super) struct Schedule {
    pub(super) at_ns: Vec<u64>,
}

/// One negotiated stream as one receiver sees it.
pub(super) struct StreamMeter {
    unwrapper: SeqUnwrapper,
    /// Extended number of packet 0 as published; known once a packet was decrypted.
    origin: Option<u64>,
    window: Option<Window>,
    seen: u64,
    pub(super) highest: Option<ExtSeq>,
}

#[derive(Clone, Copy)]
struct Window {
    first: u64,
    last: u64,
    received: u64,
}

impl StreamMeter {
    pub(super) fn new() -> Self {
        Self { unwrapper: SeqUnwrapper::new(), origin: None, window: None, seen: 0, highest: None }
    }

    /// Counts a packet; returns its number as published, once that can be told.
    pub(super) fn count(&mut self, header: &Header) -> (ExtSeq, Option<u64>) {
        let seq = self.unwrapper.unwrap(header.seq);
        self.highest = self.highest.max(Some(seq));
        self.seen += 1;
        let window = self.window.get_or_insert(Window { first: seq.0, last: seq.0, received: 0 });
        window.first = window.first.min(seq.0);
        window.last = window.last.max(seq.0);
        window.received += 1;
        (seq, self.origin.map(|origin| seq.0.wrapping_sub(origin)))
    }

    pub(super) fn wants_check(&self) -> bool {
        self.origin.is_none() || self.seen % CHECK_EVERY == 0
    }

    /// Decrypts and compares; the first packet decrypted tells where the stream began. None: it cannot be read.
    pub(super) fn check(
        &mut self,
        inbound: &mut Inbound,
        packet: &mut [u8],
        header: &Header,
        seq: ExtSeq,
    ) -> Option<bool> {
        let len = inbound.unprotect_rtp(packet, header).ok()?.len;
        let payload = header.payload_range(&packet[..len]).ok()?;
        let number = u64::from_be_bytes(*packet[payload].last_chunk::<8>()?);
        let origin = seq.0.wrapping_sub(number);
        Some(*self.origin.get_or_insert(origin) == origin)
    }

    /// Adds the window's counts and begins a new one.
    pub(super) fn take(&mut self, report: &mut Report) {
        if let Some(window) = self.window.take() {
            report.expected += window.last - window.first + 1;
            report.received += window.received;
        }
    }
}
