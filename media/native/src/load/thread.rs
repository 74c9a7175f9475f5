//! The generator's loop: never asleep, one round runs the timers that are due and looks at every socket.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::Arc;

use super::measure::{Report, Schedules};
use super::participant::Participant;
use super::{generator::Options, pin_to_cpu};
use crate::sys::clock::{monotonic_ns, ClockBridge};
use crate::sys::receive::{ReceiveBatch, DATAGRAM_BYTES, RUN_BYTES};

/// Timers run in one round at most: those that are late must not keep the thread from its sockets.
const TIMERS_PER_ROUND: usize = 64;

pub(super) enum Order {
    AddSocket(Arc<OwnedFd>),
    Add {
        participant: Box<Participant>,
        socket: usize,
        source: IpAddr,
    },
    Publish(bool),
    /// Answer with what was counted since the last of these, and count anew.
    Report(Sender<Report>),
    Stop,
}

/// A socket and whose it is, by the address that datagrams are sent to.
struct Port {
    socket: Arc<OwnedFd>,
    people: HashMap<IpAddr, usize>,
}

pub(super) struct Loop {
    orders: Receiver<Order>,
    options: Options,
    ports: Vec<Port>,
    participants: Vec<Participant>,
    schedules: Schedules,
    /// (when, participant): each is in it once.
    timers: BinaryHeap<Reverse<(u64, usize)>>,
    is_publishing: bool,
    report: Report,
    began_ns: u64,
    idle_ns: u64,
}

impl Loop {
    pub(super) fn new(orders: Receiver<Order>, options: Options) -> Self {
        Self {
            orders,
            options,
            ports: Vec::new(),
            participants: Vec::new(),
            schedules: Vec::new(),
            timers: BinaryHeap::new(),
            is_publishing: false,
            report: Report::default(),
            began_ns: monotonic_ns(),
            idle_ns: 0,
        }
    }

    pub(super) fn run(mut self) {
        if let Some(cpu) = self.options.cpu {
            pin_to_cpu(cpu);
        }
        let mut batch = match self.options.gro {
            true => ReceiveBatch::new(RUN_BYTES, 16),
            false => ReceiveBatch::new(DATAGRAM_BYTES, 64),
        };
        let mut now_ns = monotonic_ns();
        loop {
            while let Ok(order) = self.orders.try_recv() {
                if matches!(order, Order::Stop) {
                    return;
                }
                self.obey(order);
            }
            let was_busy = self.round(&mut batch, now_ns);
            let after_ns = monotonic_ns();
            if !was_busy {
                self.idle_ns += after_ns - now_ns;
            }
            now_ns = after_ns;
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::AddSocket(socket) => self.ports.push(Port { socket, people: HashMap::new() }),
            Order::Add { participant, socket, source } => {
                let index = self.participants.len();
                self.ports[socket].people.insert(source, index);
                self.timers.push(Reverse((participant.next_due_ns(self.is_publishing), index)));
                self.participants.push(*participant);
                self.schedules.push(Default::default());
            }
            Order::Publish(wanted) => self.publish(wanted),
            Order::Report(reply) => {
                for participant in &mut self.participants {
                    participant.take_counts(&mut self.report);
                }
                let now_ns = monotonic_ns();
                self.report.idle_share = self.idle_ns as f64 / (now_ns - self.began_ns).max(1) as f64;
                (self.began_ns, self.idle_ns) = (now_ns, 0);
                let _ = reply.send(std::mem::take(&mut self.report)); // the asker may have given up
            }
            Order::Stop => {}
        }
    }

    fn publish(&mut self, wanted: bool) {
        self.is_publishing = wanted;
        let now_ns = monotonic_ns();
        for publisher in self.participants.iter_mut().filter_map(|one| one.publisher.as_mut()) {
            publisher.resume(now_ns);
        }
        let due = |(index, one): (usize, &Participant)| Reverse((one.next_due_ns(wanted), index));
        self.timers = self.participants.iter().enumerate().map(due).collect();
    }

    /// Whether there was anything to do.
    fn round(&mut self, batch: &mut ReceiveBatch, now_ns: u64) -> bool {
        let mut was_busy = false;
        for _ in 0..TIMERS_PER_ROUND {
            let Some(Reverse((due_ns, index))) = self.timers.peek().copied() else {
                break;
            };
            if due_ns > now_ns {
                break;
            }
            self.timers.pop();
            let participant = &mut self.participants[index];
            participant.send_waiting(now_ns);
            if self.is_publishing {
                self.report.published += participant.publish_due(now_ns, &mut self.schedules[index]);
            }
            participant.run_timers(now_ns);
            self.timers.push(Reverse((participant.next_due_ns(self.is_publishing), index)));
            was_busy = true;
        }
        for port in 0..self.ports.len() {
            was_busy |= self.receive_all(port, batch);
        }
        was_busy
    }

    fn receive_all(&mut self, port: usize, batch: &mut ReceiveBatch) -> bool {
        let port = &self.ports[port];
        let count = batch.receive(port.socket.as_raw_fd()).unwrap_or(0); // a failed receive shows as loss
        if count == 0 {
            return false;
        }
        let bridge = ClockBridge::read();
        for index in 0..count {
            let Some((arrival, bytes)) = batch.datagram(index) else {
                continue;
            };
            let owner = arrival.destination.and_then(|address| port.people.get(&address));
            let Some(participant) = owner.and_then(|owner| self.participants.get_mut(*owner)) else {
                continue; // between the handshake and `add`
            };
            let arrival_ns = arrival.realtime_ns.map_or(bridge.monotonic_ns, |stamp| bridge.to_monotonic(stamp));
            for datagram in bytes.chunks_mut(arrival.cut_bytes(bytes.len())) {
                participant.take_datagram(datagram, arrival_ns, &self.schedules, &mut self.report);
            }
        }
        true
    }
}
