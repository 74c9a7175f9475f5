//! One participant's RTP connection: where it is, its keys, its SSRCs, its feedback both ways, its counters.

use crate::command::{ExtensionIds, TransportId};
use crate::dtls_flight::Flight;
use crate::feedback::ArrivalRecorder;
use crate::ice::Agent;
use crate::rate::Rate;
use crate::stats::DropCounts;
use crate::time::Time;
use holdspace_wire::srtp::{Inbound, Outbound, Profile};

/// Round trips before one is measured.
pub(crate) const DEFAULT_RTT_US: u64 = 100_000;

pub(crate) struct Keys {
    pub(crate) profile: Profile,
    pub(crate) inbound: Inbound,
    pub(crate) outbound: Outbound,
    /// To tell a repeated call from a different one.
    pub(crate) inbound_key: Vec<u8>,
    pub(crate) outbound_key: Vec<u8>,
}

/// An inbound SSRC and what it carries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Binding {
    pub(crate) ssrc: u32,
    pub(crate) track: usize,
    pub(crate) layer: usize,
    pub(crate) is_rtx: bool,
}

#[derive(Default, Clone, Copy)]
pub(crate) struct Counters {
    pub(crate) packets_in: u64,
    pub(crate) bytes_in: u64,
    pub(crate) packets_out: u64,
    pub(crate) bytes_out: u64,
    pub(crate) retransmitted_out: u64,
    pub(crate) nacks_in: u64,
    pub(crate) nacks_out: u64,
    pub(crate) plis_in: u64,
    pub(crate) plis_out: u64,
    pub(crate) recovered_in: u64,
    pub(crate) lost_in: u64,
    pub(crate) repeat_refused: u64,
    /// Packets of slots that were let go before they were sent: too old, or no longer in the cache.
    pub(crate) dropped_out: u64,
    pub(crate) dropped: DropCounts,
}

impl Counters {
    pub(crate) fn add(&mut self, other: &Counters) {
        self.packets_in += other.packets_in;
        self.bytes_in += other.bytes_in;
        self.packets_out += other.packets_out;
        self.bytes_out += other.bytes_out;
        self.retransmitted_out += other.retransmitted_out;
        self.nacks_in += other.nacks_in;
        self.nacks_out += other.nacks_out;
        self.plis_in += other.plis_in;
        self.plis_out += other.plis_out;
        self.recovered_in += other.recovered_in;
        self.lost_in += other.lost_in;
        self.repeat_refused += other.repeat_refused;
        self.dropped_out += other.dropped_out;
        self.dropped.add(&other.dropped);
    }
}

/// What one participant may send, far above cameras in three sizes and a screen together: more would be copied to
/// everybody else in the room.
const MOST_BYTES_PER_US: u64 = 5;
/// Counted for each packet besides its bytes.
const PER_PACKET_BYTES: u64 = 200;
/// Of that rate, what may come at once: keyframes, and what waited while the thread was stalled.
const BURST_US: u64 = 500_000;

/// A bound on what comes in, as the time until which it is spent.
#[derive(Default)]
pub(crate) struct Intake {
    spent_until: Time,
}

impl Intake {
    /// False: it comes too fast.
    pub(crate) fn take(&mut self, bytes: usize, now: Time) -> bool {
        let cost_us = (bytes as u64 + PER_PACKET_BYTES) / MOST_BYTES_PER_US;
        let spent_until = self.spent_until.max(now).plus_us(cost_us);
        let fits = spent_until.since_us(now) <= BURST_US;
        if fits {
            self.spent_until = spent_until;
        }
        fits
    }
}

/// The cap towards a publisher, repeated in case a REMB is lost.
#[derive(Default)]
pub(crate) struct RateCap {
    pub(crate) bps: Option<u64>,
    pub(crate) next_at: Option<Time>,
    /// Reports still to say that the cap is gone.
    pub(crate) lifts_left: u8,
}

pub(crate) struct Transport {
    pub(crate) id: TransportId,
    pub(crate) participant: String,
    pub(crate) ice: Agent,
    pub(crate) flight: Option<Flight>,
    pub(crate) keys: Option<Keys>,
    pub(crate) extensions: ExtensionIds,
    pub(crate) bindings: Vec<Binding>,
    pub(crate) tracks: Vec<usize>,
    pub(crate) slots: Vec<usize>,
    /// Every outgoing SSRC ever used here; none is used twice.
    pub(crate) used_ssrcs: Vec<u32>,
    pub(crate) intake: Intake,
    pub(crate) arrivals: ArrivalRecorder,
    pub(crate) rate: Rate,
    /// First transport-wide number sent to the newest address.
    pub(crate) proof_from: u64,
    pub(crate) rtt_us: Option<u64>,
    pub(crate) report_at: Option<Time>,
    pub(crate) cap: RateCap,
    pub(crate) counters: Counters,
}

impl Transport {
    pub(crate) fn new(id: TransportId, participant: String, ice: Agent) -> Self {
        Transport {
            id,
            participant,
            ice,
            flight: None,
            keys: None,
            extensions: ExtensionIds::default(),
            bindings: Vec::new(),
            tracks: Vec::new(),
            slots: Vec::new(),
            used_ssrcs: Vec::new(),
            intake: Intake::default(),
            arrivals: ArrivalRecorder::default(),
            rate: Rate::new(),
            proof_from: 0,
            rtt_us: None,
            report_at: None,
            cap: RateCap::default(),
            counters: Counters::default(),
        }
    }

    pub(crate) fn can_send_media(&self) -> bool {
        self.keys.is_some() && self.ice.may_send_media()
    }

    pub(crate) fn sends_over_stream(&self) -> bool {
        self.ice.send_path().is_some_and(|path| path.is_stream())
    }

    pub(crate) fn binding(&self, ssrc: u32) -> Option<Binding> {
        self.bindings.iter().find(|binding| binding.ssrc == ssrc).copied()
    }

    pub(crate) fn unbind_track(&mut self, track: usize) {
        self.bindings.retain(|binding| binding.track != track);
    }

    pub(crate) fn measure_rtt(&mut self, sample_us: u64) {
        let sample_us = sample_us.min(5_000_000);
        self.rtt_us = Some(self.rtt_us.map_or(sample_us, |rtt| (rtt * 7 + sample_us) / 8));
    }
}
