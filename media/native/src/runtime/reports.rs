//! RTCP, sorted by the kernel to sockets of its own: read by the clock while it comes, so that the reports of many
//! subscribers, each a small datagram at a time of its own, do not wake the thread one by one.
//!
//! Arrival times are the kernel's, so round trips and feedback lose nothing; a request (NACK, PLI) waits half of
//! [`EVERY_US`] on average.

use std::os::fd::RawFd;

use holdspace_engine::Time;

use super::thread::Worker;
use crate::sys::poll::Poller;
use crate::sys::receive::ReceiveBatch;
use crate::sys::socket::UdpSocket;

/// The pacer's quantum (DESIGN.md §2, Rate): less wakes the thread more often, more delays what was asked for.
const EVERY_US: u64 = 5_000;

/// Nothing for so long: the next one may wake the thread itself, which then sleeps in quiet rooms.
const QUIET_US: u64 = 1_000_000;

#[derive(Default)]
pub(super) struct Reports {
    /// Each with the number of the socket beside it.
    sockets: Vec<(usize, UdpSocket)>,
    came_us: u64,
    /// None: what comes wakes the thread.
    look_at_us: Option<u64>,
}

impl Reports {
    pub(super) fn new(sockets: Vec<(usize, UdpSocket)>) -> Self {
        Self { sockets, ..Self::default() }
    }

    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> + '_ {
        self.sockets.iter().map(|(_, socket)| socket.raw())
    }

    pub(super) fn look_at_us(&self) -> Option<u64> {
        self.look_at_us
    }

    fn looked(&mut self, count: usize, is_more: bool, now_us: u64) {
        if count > 0 {
            self.came_us = now_us;
        }
        let is_quiet = now_us >= self.came_us + QUIET_US;
        self.look_at_us = (!is_quiet).then_some(if is_more { now_us } else { now_us + EVERY_US });
    }
}

impl Worker {
    /// False: the thread cannot go on.
    pub(super) fn receive_reports(
        &mut self,
        batch: &mut ReceiveBatch,
        poller: &mut Poller,
        first: usize,
        woken: Time,
    ) -> bool {
        let now_us = woken.0;
        let entries = first..first + self.reports.sockets.len();
        let is_due = match self.reports.look_at_us {
            Some(at_us) => at_us <= now_us,
            None => entries.clone().any(|entry| poller.is_readable(entry)),
        };
        if !is_due {
            return true;
        }
        let (mut all, mut is_more) = (0, false);
        for at in 0..self.reports.sockets.len() {
            let (socket, raw) = (self.reports.sockets[at].0, self.reports.sockets[at].1.raw());
            let Some(count) = self.receive_batch(batch, socket, raw) else { return false };
            all += count;
            is_more |= count == batch.size();
        }
        self.reports.looked(all, is_more, now_us);
        let wakes = self.reports.look_at_us.is_none();
        entries.for_each(|entry| poller.watch_readable(entry, wakes));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_by_the_clock_while_it_comes_and_wakes_the_thread_after_quiet() {
        let mut reports = Reports::default();
        assert_eq!(reports.look_at_us(), None);
        reports.looked(1, false, 7_000_000);
        assert_eq!(reports.look_at_us(), Some(7_005_000));
        reports.looked(64, true, 7_005_100);
        assert_eq!(reports.look_at_us(), Some(7_005_100), "at once: there is more");
        reports.looked(0, false, 8_005_099);
        assert_eq!(reports.look_at_us(), Some(8_010_099));
        reports.looked(0, false, 8_010_100);
        assert_eq!(reports.look_at_us(), None);
    }
}
