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
    /// Scheduled send to kernel arrival, one per received packet.
    pub delays: Delays,
    /// What the first receiver got, for the limit loop.
    pub recorded: Vec<Burst>,
    /// Share of the thread's time in rounds that found nothing to do: its headroom.
    pub idle_share: f64,
}

/// Counted in steps of 2 µs up to 40 ms, of 1 ms beyond, so that a report costs the thread no sorting.
#[derive(Clone, Debug, Default)]
pub struct Delays {
    counts: Vec<u32>,
    total: u64,
}

const FINE_NS: u64 = 2_000;
const FINE_STEPS: usize = 20_000;
const COARSE_NS: u64 = 1_000_000;
const COARSE_STEPS: usize = 10_000;

impl Delays {
    pub fn record(&mut self, ns: u64) {
        if self.counts.is_empty() {
            self.counts.resize(FINE_STEPS + COARSE_STEPS, 0);
        }
        let fine = (ns / FINE_NS) as usize;
        let coarse = FINE_STEPS + (ns.saturating_sub(FINE_NS * FINE_STEPS as u64) / COARSE_NS) as usize;
        let step = if fine < FINE_STEPS { fine } else { coarse.min(FINE_STEPS + COARSE_STEPS - 1) };
        self.counts[step] += 1;
        self.total += 1;
    }

    /// The middle of the step that holds the `percent`-th percentile.
    pub fn percentile_ns(&self, percent: u64) -> Option<u64> {
        let wanted = self.total.checked_sub(1)? * percent / 100;
        let mut below = 0;
        let step = self.counts.iter().position(|count| {
            below += u64::from(*count);
            below > wanted
        })?;
        Some(match step.checked_sub(FINE_STEPS) {
            None => step as u64 * FINE_NS + FINE_NS / 2,
            Some(beyond) => FINE_STEPS as u64 * FINE_NS + beyond as u64 * COARSE_NS + COARSE_NS / 2,
        })
    }
}

/// Datagrams that one receiver got for packets published in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burst {
    /// Scheduled send, on the monotonic clock.
    pub at_ns: u64,
    pub datagram_bytes: Vec<usize>,
}

/// When the latest packets of one published stream were due, by their numbers.
#[derive(Default)]
pub(super) struct Schedule {
    at_ns: Vec<u64>,
    count: u64,
}

/// 3.5 s of pictures: older packets are late beyond measuring.
const SCHEDULE_PACKETS: usize = 512;

impl Schedule {
    /// Returns the packet's number, which its payload carries.
    pub(super) fn push(&mut self, at_ns: u64) -> u64 {
        let number = self.count;
        match self.at_ns.len() {
            SCHEDULE_PACKETS => self.at_ns[number as usize % SCHEDULE_PACKETS] = at_ns,
            _ => self.at_ns.push(at_ns),
        }
        self.count += 1;
        number
    }

    fn get(&self, number: u64) -> Option<u64> {
        let age = self.count.checked_sub(number)?;
        (1..=SCHEDULE_PACKETS as u64).contains(&age).then(|| self.at_ns[number as usize % SCHEDULE_PACKETS])
    }
}

/// Sound and picture of every publisher.
pub(super) type Schedules = Vec<[Schedule; 2]>;

/// What ends every published payload: whose it is and its number in the stream.
pub(super) fn write_mark(publisher: u32, number: u64) -> [u8; 12] {
    let mut mark = [0; 12];
    mark[..4].copy_from_slice(&publisher.to_be_bytes());
    mark[4..].copy_from_slice(&number.to_be_bytes());
    mark
}

fn read_mark(payload: &[u8]) -> Option<(u32, u64)> {
    let mark: &[u8; 12] = payload.last_chunk()?;
    Some((u32::from_be_bytes(*mark.first_chunk()?), u64::from_be_bytes(*mark.last_chunk()?)))
}

/// One negotiated stream as one receiver sees it.
pub(super) struct StreamMeter {
    unwrapper: SeqUnwrapper,
    /// Who publishes it, and the extended number of packet 0 as published; known once a packet was decrypted.
    origin: Option<(u32, u64)>,
    is_video: bool,
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
    pub(super) fn new(is_video: bool) -> Self {
        Self { unwrapper: SeqUnwrapper::new(), origin: None, is_video, window: None, seen: 0, highest: None }
    }

    pub(super) fn count(&mut self, header: &Header) -> ExtSeq {
        let seq = self.unwrapper.unwrap(header.seq);
        self.highest = self.highest.max(Some(seq));
        self.seen += 1;
        let window = self.window.get_or_insert(Window { first: seq.0, last: seq.0, received: 0 });
        window.first = window.first.min(seq.0);
        window.last = window.last.max(seq.0);
        window.received += 1;
        seq
    }

    /// When packet `seq` was due, once that can be told.
    pub(super) fn due_ns(&self, seq: ExtSeq, schedules: &Schedules) -> Option<u64> {
        let (publisher, origin) = self.origin?;
        schedules.get(publisher as usize)?[usize::from(self.is_video)].get(seq.0.wrapping_sub(origin))
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
        let (publisher, number) = read_mark(&packet[payload])?;
        let origin = (publisher, seq.0.wrapping_sub(number));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_keep_to_their_steps() {
        let mut delays = Delays::default();
        assert_eq!(delays.percentile_ns(50), None);
        (0..99).for_each(|_| delays.record(150_500));
        delays.record(90_000_000_000);
        assert_eq!(delays.percentile_ns(50), Some(151_000));
        assert_eq!(delays.percentile_ns(100), Some(40_000_000 + 9_999 * 1_000_000 + 500_000));
    }

    #[test]
    fn a_schedule_knows_its_latest_packets_only() {
        let mut schedule = Schedule::default();
        (0..1_000).for_each(|at| assert_eq!(schedule.push(at * 10), at));
        assert_eq!(schedule.get(999), Some(9_990));
        assert_eq!(schedule.get(488), Some(4_880));
        assert_eq!(schedule.get(487), None);
        assert_eq!(schedule.get(1_000), None);
    }
}
