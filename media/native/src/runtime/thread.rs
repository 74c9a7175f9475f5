//! One runtime thread: its sockets, its rooms, and the loop that turns datagrams, commands and deadlines into sends.
//!
//! Nothing here is shared with another thread except the command queue, the event queue and the published counters.
//! Every call into an engine is one room's turn behind `catch_unwind`: a panic ends that room and nothing else.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::os::fd::RawFd;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::mpsc::Receiver;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use holdspace_engine::{Command, EngineConfig, Local, Outputs, Path, TapId, Time, TransportId};
use holdspace_journal::JournalSink;

use super::command::ThreadCommand;
use super::counters::{add_totals, ThreadCounts};
use super::demux::{Demux, Owner, Unclaimed};
use super::events::Notice;
use super::outbox::Outbox;
use super::ports::Ports;
use super::reports::Reports;
use super::room::Room;
use super::streams::Streams;
use super::ThreadShared;
use crate::errors::panic_message;
use crate::sys::clock::{self, ClockBridge};
use crate::sys::poll::Poller;
use crate::sys::receive::{Arrival, ReceiveBatch, BATCH_DATAGRAMS, DATAGRAM_BYTES, RUN_BYTES};
use crate::sys::send::Route;

/// How often a working thread publishes its counters: a reader of `stats` is at most this far behind.
const PUBLISH_EVERY_US: u64 = 50_000;

/// The journal's sink wants to be flushed at least this often.
const SINK_FLUSH_US: u64 = 100_000;

/// A batch that waited is flushed whenever its kernel stamps have moved on by this much: what an engine queues must
/// still be in its caches (200 ms for sound) when it is assembled.
const LONGEST_SPAN_US: u64 = 50_000;

/// A room whose deadline has not moved on after its tick is looked at again after this long: a bound on wasted
/// turns, far under every timer of the engine.
const SHORTEST_TIMER_US: u64 = 200;

/// While datagrams come thicker than this they are left to gather for as long, so that one waking serves many (what
/// network cards call interrupt moderation). A thread that rests longer is woken by the first at once, and rests again
/// without this pause, which would cost a waking more.
const GATHER_US: u64 = 200;

pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) shared: Arc<ThreadShared>,
    pub(super) commands: Receiver<ThreadCommand>,
    pub(super) config: EngineConfig,
    pub(super) outboxes: Vec<Outbox>,
    pub(super) streams: Streams,
    pub(super) ports: Ports,
    pub(super) reports: Reports,
    /// Per socket: of its own, and of the one that takes its RTCP.
    pub(super) overflow: Vec<[u32; 2]>,
    pub(super) rooms: HashMap<u64, Room, RandomState>,
    pub(super) demux: Demux,
    pub(super) timers: BinaryHeap<Reverse<(Time, u64)>>,
    pub(super) outputs: Outputs,
    pub(super) touched: Vec<u64>,
    pub(super) sink: JournalSink,
    pub(super) sink_flushed_us: u64,
    pub(super) has_taps: bool,
    pub(super) counts: ThreadCounts,
    pub(super) is_dirty: bool,
    pub(super) published_us: u64,
    pub(super) published_packets: u64,
}

/// What a thread is started with.
pub(super) struct WorkerParts {
    pub(super) index: usize,
    pub(super) shared: Arc<ThreadShared>,
    pub(super) commands: Receiver<ThreadCommand>,
    pub(super) config: EngineConfig,
    pub(super) outboxes: Vec<Outbox>,
    pub(super) streams: Streams,
    pub(super) ports: Ports,
    pub(super) reports: Reports,
    pub(super) sink: JournalSink,
}

pub(super) fn now() -> Time {
    Time(clock::monotonic_ns() / 1_000)
}

/// One room's turn: the engine's answer, or what the panic said.
pub(super) fn guarded<T>(turn: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(turn)).map_err(|payload| panic_message(&*payload))
}

impl Worker {
    pub(super) fn new(parts: WorkerParts) -> Self {
        Self {
            index: parts.index,
            shared: parts.shared,
            commands: parts.commands,
            config: parts.config,
            overflow: vec![[0; 2]; parts.outboxes.len()],
            outboxes: parts.outboxes,
            streams: parts.streams,
            ports: parts.ports,
            reports: parts.reports,
            rooms: HashMap::default(),
            demux: Demux::default(),
            timers: BinaryHeap::new(),
            outputs: Outputs::new(),
            touched: Vec::new(),
            sink: parts.sink,
            sink_flushed_us: 0,
            has_taps: false,
            counts: ThreadCounts::default(),
            is_dirty: true,
            published_us: 0,
            published_packets: 0,
        }
    }

    /// Works until told to stop. Whatever ends it, what taps wrote is handed over.
    pub(super) fn run(&mut self) {
        let sockets = self.outboxes.iter().map(|outbox| outbox.socket.raw());
        let descriptors = std::iter::once(self.shared.wake.raw()).chain(sockets);
        let descriptors = descriptors.chain([self.streams.raw(), self.ports.raw()]);
        let mut poller = Poller::new(descriptors.chain(self.reports.descriptors()));
        let first_report = self.outboxes.len() + 3;
        let mut batch = ReceiveBatch::new(RUN_BYTES, BATCH_DATAGRAMS);
        let (mut woken, mut rested_us) = (now(), u64::MAX);
        'work: loop {
            self.let_gather(woken, rested_us);
            let resting = now();
            poller.wait(self.idle_ns());
            woken = now();
            rested_us = woken.since_us(resting);
            if poller.is_readable(0) {
                self.shared.wake.clear();
                if !self.take_commands() {
                    break 'work;
                }
                self.flush_touched();
            }
            for socket in 0..self.outboxes.len() {
                if poller.is_writable(socket + 1) {
                    self.outboxes[socket].send_waiting();
                }
                let raw = self.outboxes[socket].socket.raw();
                if poller.is_readable(socket + 1) && self.receive_batch(&mut batch, socket, raw).is_none() {
                    break 'work;
                }
            }
            if !self.receive_reports(&mut batch, &mut poller, first_report, woken) {
                break 'work;
            }
            if poller.is_readable(self.outboxes.len() + 1) {
                self.serve_streams();
            }
            if poller.is_readable(self.outboxes.len() + 2) {
                self.serve_ports();
            }
            self.run_timers();
            self.flush_touched();
            self.tidy_streams();
            for (socket, outbox) in self.outboxes.iter().enumerate() {
                poller.watch_writable(socket + 1, outbox.has_waiting());
            }
            self.do_housekeeping();
        }
        self.flush_touched();
        self.sink.flush(u64::MAX);
        self.publish(now().0);
    }

    /// Sleeps out what is left of `GATHER_US` since the thread was woken last. Deadlines wait, too: those of many rooms
    /// come thicker still than datagrams, and nothing of theirs is finer than this.
    fn let_gather(&self, woken: Time, rested_us: u64) {
        if rested_us >= GATHER_US || !self.touched.is_empty() {
            return;
        }
        let left_us = GATHER_US.saturating_sub(now().since_us(woken));
        if left_us > 0 {
            std::thread::sleep(Duration::from_micros(left_us));
        }
    }

    /// How long poll may sleep; None: until something comes.
    fn idle_ns(&self) -> Option<u64> {
        if !self.touched.is_empty() {
            return Some(0);
        }
        let mut deadline = self.timers.peek().map(|Reverse((time, _))| time.0);
        let mut at_latest = |us: u64| deadline = Some(deadline.map_or(us, |earlier| earlier.min(us)));
        if self.is_dirty {
            at_latest(self.published_us + PUBLISH_EVERY_US);
        }
        if let Some(us) = self.streams.sweep_at_us() {
            at_latest(us);
        }
        if self.has_taps {
            at_latest(self.sink_flushed_us + SINK_FLUSH_US);
        }
        if let Some(us) = self.reports.look_at_us() {
            at_latest(us);
        }
        deadline.map(|us| us.saturating_sub(now().0) * 1_000)
    }

    /// What waits on a socket, or on the one that takes its RTCP: how many runs of datagrams; None: the thread cannot go
    /// on. At most `BATCH_DATAGRAMS` are worked through before what they cause is sent.
    pub(super) fn receive_batch(&mut self, batch: &mut ReceiveBatch, socket: usize, raw: RawFd) -> Option<usize> {
        let count = match batch.receive(raw) {
            Ok(count) => count,
            Err(error) => return self.survives(&error).then_some(0),
        };
        let is_second = usize::from(raw != self.outboxes[socket].socket.raw());
        let bridge = ClockBridge::read();
        let unspecified = self.outboxes[socket].socket.unspecified_ip();
        let (mut unflushed, mut unflushed_since) = (0, Time(u64::MAX));
        for index in 0..count {
            let Some((arrival, bytes)) = batch.datagram(index) else {
                continue;
            };
            if let Some(dropped) = arrival.overflow {
                let more = dropped.wrapping_sub(std::mem::replace(&mut self.overflow[socket][is_second], dropped));
                self.counts.socket_overflow += u64::from(more);
            }
            if self.is_unusable(&arrival, bytes) {
                continue;
            }
            let local = Local { socket: socket as u32, ip: arrival.destination.unwrap_or(unspecified) };
            let path = Path { local, remote: arrival.source };
            let time_ns = arrival.realtime_ns.map_or(bridge.monotonic_ns, |stamp| bridge.to_monotonic(stamp));
            let at = Time(time_ns / 1_000);
            for datagram in bytes.chunks_mut(arrival.cut_bytes(bytes.len())) {
                if unflushed == BATCH_DATAGRAMS || at.since_us(unflushed_since) > LONGEST_SPAN_US {
                    self.flush_touched();
                    unflushed = 0;
                }
                if unflushed == 0 {
                    unflushed_since = at;
                }
                unflushed += 1;
                self.receive(path, datagram, at);
            }
        }
        self.is_dirty |= count > 0;
        self.flush_touched();
        Some(count)
    }

    /// Counts what no packet of a browser looks like: empty, or longer than any path carries.
    fn is_unusable(&mut self, arrival: &Arrival, bytes: &[u8]) -> bool {
        let cut_bytes = arrival.cut_bytes(bytes.len());
        let is_unusable = arrival.truncated || bytes.is_empty() || cut_bytes > DATAGRAM_BYTES;
        if is_unusable {
            self.counts.unclaimed.malformed += bytes.len().div_ceil(cut_bytes).max(1) as u64;
        }
        is_unusable
    }

    /// Whether the thread can go on after a failed receive; tells Python when it cannot.
    fn survives(&mut self, error: &std::io::Error) -> bool {
        if matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::ENOBUFS | libc::EPERM | libc::ECONNREFUSED)) {
            return true;
        }
        let message = format!("receiving failed: {error}");
        self.shared.events.push(Notice::ThreadFailed { thread: self.index, message });
        false
    }

    pub(super) fn receive(&mut self, path: Path, datagram: &mut [u8], at: Time) {
        let owner = match self.demux.find(&path, datagram) {
            Ok(owner) => owner,
            Err(Unclaimed::Malformed) => return self.counts.unclaimed.malformed += 1,
            Err(Unclaimed::UnknownUfrag) => return self.counts.unclaimed.unknown_ufrag += 1,
            Err(Unclaimed::UnknownAddress) => return self.counts.unclaimed.unknown_address += 1,
        };
        let Some(room) = self.rooms.get_mut(&owner.room) else {
            return;
        };
        let outputs = &mut self.outputs;
        match guarded(|| room.engine.receive(owner.transport, path, datagram, at, outputs)) {
            Ok(()) => self.after_turn(owner.room),
            Err(message) => self.fail_room(owner.room, message),
        }
    }

    /// Takes tap records, workers' messages, routes and events out of the outputs, which all rooms share, and remembers
    /// that the room has something to flush.
    pub(super) fn after_turn(&mut self, room_id: u64) {
        self.touch(room_id);
        let Some(room) = self.rooms.get_mut(&room_id) else {
            return;
        };
        room.observe(&self.outputs.events);
        let refused = room.write_taps(&mut self.outputs, &mut self.sink);
        if !self.outputs.events.is_empty() {
            self.heed_events(room_id);
            self.shared.events.push_room(room_id, &mut self.outputs.events);
        }
        self.move_routes(room_id);
        self.fail_taps(room_id, refused);
        if let Err(message) = self.write_ports(room_id) {
            self.fail_room(room_id, message);
        }
    }

    /// It has something to flush, or another deadline.
    fn touch(&mut self, room_id: u64) {
        if let Some(room) = self.rooms.get_mut(&room_id).filter(|room| !room.touched) {
            room.touched = true;
            self.touched.push(room_id);
        }
    }

    fn move_routes(&mut self, room_id: u64) {
        if self.outputs.routes.is_empty() {
            return;
        }
        let mut taken: Vec<(Owner, Path)> = Vec::new();
        for route in self.outputs.routes.drain(..) {
            taken.extend(self.demux.apply(room_id, route));
        }
        for (former, path) in taken {
            self.forget_path(former, path);
        }
    }

    fn forget_path(&mut self, former: Owner, path: Path) {
        if let Some(room) = self.rooms.get_mut(&former.room) {
            match guarded(|| room.engine.forget_path(former.transport, path, now())) {
                Ok(()) => self.touch(former.room),
                Err(message) => self.fail_room(former.room, message),
            }
        }
    }

    pub(super) fn fail_room(&mut self, room: u64, message: String) {
        if let Some(gone) = self.rooms.remove(&room) {
            // Its state is suspect: neither asked for counters nor trusted to drop in peace.
            let _ = guarded(|| drop(gone));
        }
        self.demux.forget_room(room);
        self.ports.forget_room(room);
        self.outputs = Outputs::new();
        self.shared.events.push(Notice::RoomFailed { room, message });
    }

    fn run_timers(&mut self) {
        let time = now();
        while let Some(Reverse((due, room_id))) = self.timers.peek().copied() {
            if due > time {
                break;
            }
            self.timers.pop();
            let Some(room) = self.rooms.get_mut(&room_id) else {
                continue;
            };
            if room.queued != Some(due) {
                continue; // an earlier deadline took this one's place
            }
            room.queued = None;
            let outputs = &mut self.outputs;
            match guarded(|| room.engine.tick(time, outputs)) {
                Ok(()) => self.after_turn(room_id),
                Err(message) => self.fail_room(room_id, message),
            }
            self.is_dirty = true;
        }
    }

    fn flush_touched(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        for room in touched.drain(..) {
            if let Err(message) = self.flush_room(room) {
                self.fail_room(room, message);
            }
        }
        // Rooms that were touched while others were flushed (a path moved) wait for the next round.
        touched.append(&mut self.touched);
        self.touched = touched;
    }

    pub(super) fn flush_room(&mut self, room_id: u64) -> Result<(), String> {
        loop {
            let Some(room) = self.rooms.get_mut(&room_id) else {
                return Ok(());
            };
            room.touched = false;
            debug_assert!(!self.outputs.has_worker_messages(), "another room's were written after its turn");
            let outputs = &mut self.outputs;
            let more = guarded(|| room.engine.flush(now(), outputs))?;
            self.send_transmits(room_id)?;
            let Some(room) = self.rooms.get_mut(&room_id) else {
                return Ok(());
            };
            room.observe(&self.outputs.events);
            let refused = room.write_taps(&mut self.outputs, &mut self.sink);
            self.heed_events(room_id);
            self.shared.events.push_room(room_id, &mut self.outputs.events);
            self.fail_taps(room_id, refused);
            self.write_ports(room_id)?;
            if !more {
                break;
            }
        }
        self.queue_deadline(room_id);
        Ok(())
    }

    fn fail_taps(&mut self, room: u64, refused: Vec<TapId>) {
        for tap in refused {
            self.apply(room, Command::FailTap { tap });
        }
    }

    fn send_transmits(&mut self, room_id: u64) -> Result<(), String> {
        let mut not_sent: Vec<(TransportId, u64, u64)> = Vec::new();
        for (transmit, bytes) in self.outputs.transmits() {
            if transmit.path.is_stream() {
                let socket = transmit.path.local.socket;
                self.streams.send(socket, bytes, transmit.segment_bytes, transmit.is_video);
                continue;
            }
            let Some(outbox) = self.outboxes.get_mut(transmit.path.local.socket as usize) else {
                continue;
            };
            let from = outbox.socket.is_wildcard().then_some(transmit.path.local.ip);
            let route = Route { to: transmit.path.remote, from: from.filter(|ip| !ip.is_unspecified()) };
            let unsent_before = outbox.counts.unsent;
            let calls = outbox.send(route, bytes, transmit.segment_bytes);
            let unsent = outbox.counts.unsent - unsent_before;
            if let Some((transport, first)) = transmit.numbers.filter(|_| unsent > 0) {
                let left = (transmit.segments as u64).saturating_sub(unsent);
                not_sent.push((transport, first + left, transmit.numbered().saturating_sub(left)));
            }
            if transmit.media_packets > 0 {
                self.counts.sends += u64::from(calls);
            }
            if let Some(arrival) = transmit.arrival {
                self.counts.delay.record(arrival, now(), transmit.media_packets);
            }
        }
        self.outputs.clear_transmits();
        let Some(room) = self.rooms.get_mut(&room_id) else { return Ok(()) };
        for (transport, first, count) in not_sent {
            guarded(|| room.engine.not_sent(transport, first, count))?;
        }
        Ok(())
    }

    fn queue_deadline(&mut self, room_id: u64) {
        let Some(room) = self.rooms.get_mut(&room_id) else {
            return;
        };
        let Ok(Some(deadline)) = guarded(|| room.engine.next_deadline()) else {
            return;
        };
        let deadline = deadline.max(now().plus_us(SHORTEST_TIMER_US));
        if room.queued.is_none_or(|queued| deadline < queued) {
            room.queued = Some(deadline);
            self.timers.push(Reverse((deadline, room_id)));
        }
    }

    fn do_housekeeping(&mut self) {
        if !self.is_dirty && !self.has_taps {
            return;
        }
        let time_us = now().0;
        if self.has_taps && time_us >= self.sink_flushed_us + SINK_FLUSH_US {
            self.has_taps = self.rooms.values().any(Room::has_taps);
            self.sink.flush(if self.has_taps { time_us } else { u64::MAX });
            self.sink_flushed_us = time_us;
        }
        if self.is_dirty && time_us >= self.published_us + PUBLISH_EVERY_US {
            self.publish(time_us);
        }
    }

    fn publish(&mut self, time_us: u64) {
        let mut counts = self.counts;
        counts.rooms = self.rooms.len();
        for room in self.rooms.values() {
            if let Ok(totals) = guarded(|| room.engine.totals()) {
                add_totals(&mut counts.totals, &totals);
            }
        }
        for outbox in &self.outboxes {
            counts.gso_refused += outbox.counts.gso_refused;
            counts.unsent += outbox.counts.unsent;
        }
        counts.stream_frames_cut = self.streams.cut();
        counts.cpu_ns = clock::thread_cpu_ns();
        let packets = counts.totals.packets_in + counts.totals.packets_out;
        let elapsed_us = time_us.saturating_sub(self.published_us).max(1);
        counts.packets_per_second = packets.saturating_sub(self.published_packets) * 1_000_000 / elapsed_us;
        self.published_packets = packets;
        self.published_us = time_us;
        self.is_dirty = false;
        self.shared.published.write(counts);
    }
}
