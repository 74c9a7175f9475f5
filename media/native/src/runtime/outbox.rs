//! Sending on one socket: segmented where the path allows it, one by one where not, later where the buffer is full.
//!
//! Bytes are sealed once: whatever happens to a send, it is repeated with the same bytes or given up and counted.

use std::collections::VecDeque;

use crate::sys::send::{self, Route, SendResult};
use crate::sys::socket::UdpSocket;

/// Bytes that may wait for a full socket buffer; at 100 Mbit/s this is a third of a second, after which media is
/// stale anyway.
const MAX_WAITING_BYTES: usize = 4 * 1024 * 1024;

struct Waiting {
    route: Route,
    segment_bytes: usize,
    bytes: Vec<u8>,
}

pub(super) struct Outbox {
    pub socket: UdpSocket,
    gso: bool,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    pub counts: OutboxCounts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OutboxCounts {
    pub gso_refused: u64,
    /// Datagrams given up: the address was unreachable, or too much waited already.
    pub unsent: u64,
}

impl Outbox {
    pub(super) fn new(socket: UdpSocket, gso: bool) -> Self {
        Self { socket, gso, waiting: VecDeque::new(), waiting_bytes: 0, counts: OutboxCounts::default() }
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// `bytes` as datagrams of `segment_bytes`, the last possibly shorter. Returns the system calls that it took.
    pub(super) fn send(&mut self, route: Route, bytes: &[u8], segment_bytes: usize) -> u32 {
        if self.has_waiting() {
            self.keep(route, bytes, segment_bytes);
            return 0;
        }
        let (calls, left) = self.try_send(&route, bytes, segment_bytes);
        if left < bytes.len() {
            self.keep(route, &bytes[left..], segment_bytes);
        }
        calls
    }

    /// Sends what waited, as far as the socket takes it.
    pub(super) fn send_waiting(&mut self) {
        while let Some(mut first) = self.waiting.pop_front() {
            self.waiting_bytes -= first.bytes.len();
            let (_, left) = self.try_send(&first.route, &first.bytes, first.segment_bytes);
            if left < first.bytes.len() {
                first.bytes.drain(..left);
                self.waiting_bytes += first.bytes.len();
                self.waiting.push_front(first);
                return;
            }
        }
    }

    /// (system calls, bytes that left or were given up); the rest met a full socket buffer.
    fn try_send(&mut self, route: &Route, bytes: &[u8], segment_bytes: usize) -> (u32, usize) {
        let fd = self.socket.raw();
        let segments = bytes.len().div_ceil(segment_bytes.max(1));
        let one_by_one = segments > 1 && !self.gso;
        let mut result = if one_by_one {
            send::send_each(fd, route, bytes, segment_bytes)
        } else {
            send::send_segmented(fd, route, bytes, segment_bytes)
        };
        let mut calls = 1;
        if result == SendResult::GsoRefused {
            self.gso = false;
            self.counts.gso_refused += 1;
            calls += 1;
            result = send::send_each(fd, route, bytes, segment_bytes);
        }
        match result {
            SendResult::Sent(_) => (calls, bytes.len()),
            SendResult::Full(sent) => (calls, (sent * segment_bytes).min(bytes.len())),
            SendResult::GsoRefused | SendResult::Unreachable => {
                self.counts.unsent += segments as u64;
                (calls, bytes.len())
            }
        }
    }

    fn keep(&mut self, route: Route, bytes: &[u8], segment_bytes: usize) {
        if self.waiting_bytes + bytes.len() > MAX_WAITING_BYTES {
            self.counts.unsent += bytes.len().div_ceil(segment_bytes.max(1)) as u64;
            return;
        }
        self.waiting_bytes += bytes.len();
        self.waiting.push_back(Waiting { route, segment_bytes, bytes: bytes.to_vec() });
    }
}
