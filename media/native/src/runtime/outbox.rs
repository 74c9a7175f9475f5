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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::receive::{ReceiveBatch, DATAGRAM_BYTES};

    fn open() -> UdpSocket {
        UdpSocket::open("127.0.0.1:0".parse().unwrap(), 1 << 20).unwrap()
    }

    /// The kernel sends no segments on a socket without checksums: a path without GSO, made at home.
    fn refuse_gso(socket: &UdpSocket) {
        let on: libc::c_int = 1;
        // SAFETY: four readable bytes.
        let result = unsafe {
            libc::setsockopt(socket.raw(), libc::SOL_SOCKET, libc::SO_NO_CHECK, std::ptr::from_ref(&on).cast(), 4)
        };
        assert_eq!(result, 0);
    }

    fn received(socket: &UdpSocket) -> Vec<Vec<u8>> {
        let mut batch = ReceiveBatch::new(DATAGRAM_BYTES, 64);
        let count = batch.receive(socket.raw()).unwrap();
        (0..count).map(|index| batch.datagram(index).unwrap().1.to_vec()).collect()
    }

    #[test]
    fn a_path_without_gso_gets_the_same_bytes_one_by_one() {
        let receiver = open();
        let mut outbox = Outbox::new(open(), true);
        refuse_gso(&outbox.socket);
        let route = Route { to: receiver.local(), from: None };
        let bytes: Vec<u8> = (0..250).collect();
        assert_eq!(outbox.send(route, &bytes, 100), 2);
        assert_eq!(outbox.counts.gso_refused, 1);
        let expected: Vec<Vec<u8>> = bytes.chunks(100).map(<[u8]>::to_vec).collect();
        assert_eq!(received(&receiver), expected);
        assert_eq!(outbox.send(route, &bytes, 100), 1);
        assert_eq!(outbox.counts.gso_refused, 1, "asked once, then known");
        assert_eq!(received(&receiver), expected);
    }

    #[test]
    fn what_waits_is_bounded_and_what_finds_no_place_is_counted() {
        let mut outbox = Outbox::new(open(), true);
        let route = Route { to: outbox.socket.local(), from: None };
        outbox.keep(route, &[1; 1_000], 1_000);
        assert!(outbox.has_waiting());
        for _ in 0..5_000 {
            outbox.send(route, &[2; 1_000], 500);
        }
        assert!(outbox.waiting_bytes <= MAX_WAITING_BYTES);
        let kept = (MAX_WAITING_BYTES / 1_000) as u64;
        assert_eq!(outbox.counts.unsent, (5_001 - kept) * 2);
    }

    #[test]
    fn what_waited_leaves_first_and_unchanged() {
        let receiver = open();
        let mut outbox = Outbox::new(open(), true);
        let route = Route { to: receiver.local(), from: None };
        outbox.keep(route, b"aabb", 2);
        assert_eq!(outbox.send(route, b"cc", 2), 0, "it must not overtake");
        outbox.send_waiting();
        assert_eq!(received(&receiver), [b"aa", b"bb", b"cc"]);
        assert!(!outbox.has_waiting());
    }
}
