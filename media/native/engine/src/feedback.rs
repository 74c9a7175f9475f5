//! Transport-wide feedback towards a publisher (draft-holmer-rmcat-transport-wide-cc-extensions-01): what arrived, to
//! be reported. The other way round is `bwe::history`.

use crate::time::Time;
use holdspace_wire::rtcp::{Arrivals, Writer};
use holdspace_wire::seq::{Seq, SeqUnwrapper};
use holdspace_wire::NoRoom;
use std::collections::VecDeque;

/// Chromium reacts to queues within a report or two; more often costs uplink for nothing.
const REPORT_EVERY_US: u64 = 60_000;
/// Reported numbers kept behind so that a late packet can still be told.
const KEPT_BEHIND: usize = 64;
/// A larger jump of the sender's counter starts afresh.
const MAX_JUMP: u64 = 2_000;

/// What arrived since the last report.
#[derive(Default)]
pub(crate) struct ArrivalRecorder {
    unwrapper: SeqUnwrapper,
    first: u64,
    arrivals_us: VecDeque<Option<i64>>,
    /// Next report starts here; smaller numbers have been told.
    unreported: u64,
    report_at: Option<Time>,
    feedback_count: u8,
}

impl ArrivalRecorder {
    pub(crate) fn record(&mut self, seq: Seq, now: Time) {
        let ext = self.unwrapper.unwrap(seq).0;
        let end = self.first + self.arrivals_us.len() as u64;
        if self.arrivals_us.is_empty() || ext.saturating_sub(end) > MAX_JUMP {
            self.arrivals_us.clear();
            self.first = ext;
            self.unreported = ext;
        }
        let Some(at) = ext.checked_sub(self.first) else { return };
        while self.arrivals_us.len() as u64 <= at {
            self.arrivals_us.push_back(None);
        }
        self.arrivals_us[at as usize].get_or_insert(now.0 as i64);
        self.unreported = self.unreported.min(ext);
        self.report_at.get_or_insert(now.plus_us(REPORT_EVERY_US));
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.report_at
    }

    /// One report; false when nothing (more) is due.
    pub(crate) fn write(&mut self, writer: &mut Writer<'_>, sender_ssrc: u32, media_ssrc: u32) -> Result<bool, NoRoom> {
        let start = (self.unreported - self.first) as usize;
        let pending = self.arrivals_us.make_contiguous();
        if !pending[start.min(pending.len())..].iter().any(Option::is_some) {
            self.settle(start);
            return Ok(false);
        }
        // Feedback begins with a packet that came: one told already, so that the lost ones after it are told, too.
        let told = pending[..start].iter().rposition(Option::is_some);
        let at = told.unwrap_or_else(|| start + pending[start..].iter().take_while(|p| p.is_none()).count());
        let reported = writer.transport_cc(&Arrivals {
            sender_ssrc,
            media_ssrc,
            feedback_count: self.feedback_count,
            base_seq: Seq((self.first + at as u64) as u16),
            arrivals_us: &pending[at..],
        })?;
        self.feedback_count = self.feedback_count.wrapping_add(1);
        self.settle((at + reported).max(start + 1));
        Ok(true)
    }

    fn settle(&mut self, told: usize) {
        let told = told.min(self.arrivals_us.len());
        self.unreported = self.first + told as u64;
        let gone = told.saturating_sub(KEPT_BEHIND);
        self.arrivals_us.drain(..gone);
        self.first += gone as u64;
        if told - gone == self.arrivals_us.len() {
            self.report_at = None;
        }
    }
}
