//! The generator's loop: never asleep, one round looks at every socket and every timer.

use std::sync::mpsc::{Receiver, Sender};

use super::measure::{Report, Schedule};
use super::participant::Participant;
use super::{generator::Options, pin_to_cpu};
use crate::sys::clock::{monotonic_ns, ClockBridge};
use crate::sys::receive::{ReceiveBatch, DATAGRAM_BYTES};

pub(super) enum Order {
    Publish(bool),
    /// Answer with what was counted since the last of these, and count anew.
    Report(Sender<Report>),
    Stop,
}

pub(super) struct Loop {
    pub(super) participants: Vec<Participant>,
    pub(super) orders: Receiver<Order>,
    pub(super) options: Options,
    /// Of the one publisher's sound and picture.
    pub(super) schedules: [Schedule; 2],
}

impl Loop {
    pub(super) fn run(mut self) {
        if let Some(cpu) = self.options.cpu {
            pin_to_cpu(cpu);
        }
        let mut batch = match self.options.gro {
            true => ReceiveBatch::new(65_535, 8),
            false => ReceiveBatch::new(DATAGRAM_BYTES, 64),
        };
        let mut report = Report::default();
        let (mut rounds, mut idle_rounds) = (0u64, 0u64);
        let mut is_publishing = false;
        loop {
            while let Ok(order) = self.orders.try_recv() {
                match order {
                    Order::Publish(wanted) => {
                        is_publishing = wanted;
                        self.resume_publishers();
                    }
                    Order::Report(reply) => {
                        self.finish(&mut report);
                        report.idle_share = idle_rounds as f64 / rounds.max(1) as f64;
                        (rounds, idle_rounds) = (0, 0);
                        let _ = reply.send(std::mem::take(&mut report)); // the asker may have given up
                    }
                    Order::Stop => return,
                }
            }
            rounds += 1;
            idle_rounds += u64::from(!self.round(&mut batch, is_publishing, &mut report));
        }
    }

    fn resume_publishers(&mut self) {
        for publisher in self.participants.iter_mut().filter_map(|one| one.publisher.as_mut()) {
            publisher.resume(monotonic_ns());
        }
    }

    fn finish(&mut self, report: &mut Report) {
        for participant in &mut self.participants {
            participant.take_counts(report);
        }
        report.delays_ns.sort_unstable();
    }

    /// Whether there was anything to do.
    fn round(&mut self, batch: &mut ReceiveBatch, is_publishing: bool, report: &mut Report) -> bool {
        let now_ns = monotonic_ns();
        let mut was_busy = false;
        if is_publishing {
            for participant in &mut self.participants {
                let published = participant.publish_due(now_ns, &mut self.schedules);
                report.published += published;
                was_busy |= published > 0;
            }
        }
        for participant in &mut self.participants {
            was_busy |= receive_all(participant, batch, &self.schedules, report);
            participant.run_timers(now_ns);
        }
        was_busy
    }
}

fn receive_all(
    participant: &mut Participant,
    batch: &mut ReceiveBatch,
    schedules: &[Schedule; 2],
    report: &mut Report,
) -> bool {
    let count = batch.receive(participant.fd()).unwrap_or(0); // a failed receive shows as loss
    if count == 0 {
        return false;
    }
    let bridge = ClockBridge::read();
    for index in 0..count {
        let Some((arrival, bytes)) = batch.datagram(index) else {
            continue;
        };
        let arrival_ns = arrival.realtime_ns.map_or(bridge.monotonic_ns, |stamp| bridge.to_monotonic(stamp));
        let segment = arrival.segment_bytes.map_or(bytes.len(), usize::from).max(1);
        for datagram in bytes.chunks_mut(segment) {
            participant.take_datagram(datagram, arrival_ns, schedules, report);
        }
    }
    true
}
