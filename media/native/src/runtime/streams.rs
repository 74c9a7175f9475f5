//! ICE-TCP connections of one runtime thread: frames in, frames out, and what a slow reader loses.
//!
//! A connection is a path like any other to the engine. It comes from the acceptor with its first frame, must turn
//! out to be an authentic check, and lives as long as the engine knows its path. A queue that grows is cut at whole
//! frames: video that waits goes first, sound only when it alone is too much.

use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};

use holdspace_engine::{Local, Path, Time, STREAM};
use holdspace_wire::framing::{length_prefix, Deframer, LENGTH_BYTES};

use super::acceptor::{HandedStream, Permit};
use super::thread::{guarded, now, Worker};
use crate::sys::epoll::{Epoll, Ready};

/// Bytes read from one connection before the others have their turn.
const READ_BYTES: usize = 32 * 1024;
/// Waiting bytes over which video is cut: 1.3 s at 1.2 Mbit/s, more delay than any conversation bears.
const MAX_WAITING_WITH_VIDEO: usize = 192 * 1024;
/// Waiting bytes of sound and reports over which the oldest of them go: over 10 s of Opus.
const MAX_WAITING: usize = 64 * 1024;
/// Frames written by one system call.
const WRITE_FRAMES: usize = 64;
/// How often connections are looked for that no transport owns (any more).
const SWEEP_EVERY_US: u64 = 1_000_000;

struct Frame {
    bytes: Vec<u8>,
    is_video: bool,
}

/// What waits for a slow reader. Knows no socket.
#[derive(Default)]
pub(super) struct StreamQueue {
    frames: VecDeque<Frame>,
    waiting_bytes: usize,
    /// Of the first frame, this much has left: it must be finished whatever comes.
    begun: usize,
    /// Video was cut and goes on once everything has left.
    skips_video: bool,
    pub(super) cut: u64,
}

impl StreamQueue {
    pub(super) fn push(&mut self, packet: &[u8], is_video: bool) {
        let Some(prefix) = length_prefix(packet.len()) else {
            self.cut += 1;
            return;
        };
        self.skips_video &= !self.frames.is_empty();
        if self.waiting_bytes + packet.len() > MAX_WAITING_WITH_VIDEO {
            self.cut_video();
        }
        if is_video && self.skips_video {
            self.cut += 1;
            return;
        }
        while self.skips_video && self.waiting_bytes + packet.len() > MAX_WAITING && self.cut_oldest() {}
        self.waiting_bytes += LENGTH_BYTES + packet.len();
        self.frames.push_back(Frame { bytes: [&prefix[..], packet].concat(), is_video });
    }

    /// Every waiting frame of video of which nothing has left, and what comes until the queue is empty.
    fn cut_video(&mut self) {
        let kept = usize::from(self.begun > 0);
        let before = self.frames.len();
        let mut at = 0;
        self.frames.retain(|frame| {
            at += 1;
            at <= kept || !frame.is_video
        });
        self.cut += (before - self.frames.len()) as u64;
        self.skips_video = true;
        self.count_waiting();
    }

    /// The oldest frame of which nothing has left; false: there is none.
    fn cut_oldest(&mut self) -> bool {
        let gone = self.frames.remove(usize::from(self.begun > 0));
        self.cut += u64::from(gone.is_some());
        self.waiting_bytes -= gone.as_ref().map_or(0, |frame| frame.bytes.len());
        gone.is_some()
    }

    fn count_waiting(&mut self) {
        self.waiting_bytes = self.frames.iter().map(|frame| frame.bytes.len()).sum::<usize>() - self.begun;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The next bytes, as far as one call takes them.
    fn slices(&self) -> Vec<IoSlice<'_>> {
        let mut skip = self.begun;
        let rest = |frame: &'_ Frame| std::mem::take(&mut skip)..frame.bytes.len();
        let ranges: Vec<_> = self.frames.iter().take(WRITE_FRAMES).map(rest).collect();
        self.frames.iter().zip(ranges).map(|(frame, range)| IoSlice::new(&frame.bytes[range])).collect()
    }

    fn advance(&mut self, mut left: usize) {
        self.waiting_bytes -= left;
        while let Some(first) = self.frames.front() {
            let open = first.bytes.len() - self.begun;
            if left < open {
                self.begun += left;
                return;
            }
            left -= open;
            self.begun = 0;
            self.frames.pop_front();
        }
    }
}

struct Stream {
    socket: TcpStream,
    path: Path,
    deframer: Deframer,
    queue: StreamQueue,
    waits_for_room: bool,
    _permit: Permit,
}

pub(super) struct Streams {
    epoll: Epoll,
    by_socket: HashMap<u32, Stream>,
    next: u32,
    broken: Vec<u32>,
    swept_us: u64,
    /// Frames cut on connections that are gone.
    past_cut: u64,
}

impl Streams {
    pub(super) fn new() -> std::io::Result<Self> {
        let (by_socket, broken) = (HashMap::new(), Vec::new());
        Ok(Self { epoll: Epoll::new()?, by_socket, next: 0, broken, swept_us: 0, past_cut: 0 })
    }

    pub(super) fn raw(&self) -> RawFd {
        self.epoll.raw()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_socket.is_empty()
    }

    pub(super) fn cut(&self) -> u64 {
        self.past_cut + self.by_socket.values().map(|stream| stream.queue.cut).sum::<u64>()
    }

    pub(super) fn sweep_at_us(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.swept_us + SWEEP_EVERY_US)
    }

    fn add(&mut self, handed: HandedStream) -> std::io::Result<(Path, Vec<u8>)> {
        while self.by_socket.contains_key(&(STREAM | self.next)) {
            self.next = (self.next + 1) & !STREAM;
        }
        let socket = STREAM | self.next;
        self.next = (self.next + 1) & !STREAM;
        self.epoll.add(handed.stream.as_raw_fd(), socket)?;
        let path = Path { local: Local { socket, ip: handed.local_ip }, remote: handed.remote };
        let (deframer, queue) = (Deframer::default(), StreamQueue::default());
        let (stream, permit) = (handed.stream, handed.permit);
        let made = Stream { socket: stream, path, deframer, queue, waits_for_room: false, _permit: permit };
        self.by_socket.insert(socket, made);
        Ok((path, handed.bytes))
    }

    /// Each datagram of the run as one frame, now as far as the connection takes it.
    pub(super) fn send(&mut self, socket: u32, bytes: &[u8], segment_bytes: usize, is_video: bool) {
        let Some(stream) = self.by_socket.get_mut(&socket) else { return };
        for packet in bytes.chunks(segment_bytes.max(1)) {
            stream.queue.push(packet, is_video);
        }
        self.write(socket);
    }

    /// On connections that `is_meant` tells: video that still waits for a slow reader may not be seen any more.
    pub(super) fn cut_video(&mut self, is_meant: impl Fn(&Path) -> bool) {
        let meant = self.by_socket.values_mut().filter(|stream| is_meant(&stream.path) && !stream.queue.is_empty());
        meant.for_each(|stream| stream.queue.cut_video());
    }

    fn write(&mut self, socket: u32) {
        let Some(stream) = self.by_socket.get_mut(&socket) else { return };
        while !stream.queue.is_empty() {
            match stream.socket.write_vectored(&stream.queue.slices()) {
                Ok(0) => break,
                Ok(count) => stream.queue.advance(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return self.broken.push(socket),
            }
        }
        let waits = !stream.queue.is_empty();
        if waits != stream.waits_for_room {
            stream.waits_for_room = waits;
            if self.epoll.watch_writable(stream.socket.as_raw_fd(), socket, waits).is_err() {
                self.broken.push(socket);
            }
        }
    }

    /// Some of what arrived; None: the connection is over.
    fn read(&mut self, socket: u32, space: &mut [u8]) -> Option<usize> {
        match self.by_socket.get_mut(&socket)?.socket.read(space) {
            Ok(0) => None,
            Ok(count) => Some(count),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Some(0),
            Err(_) => None,
        }
    }

    fn remove(&mut self, socket: u32) -> Option<Path> {
        let gone = self.by_socket.remove(&socket)?;
        self.past_cut += gone.queue.cut;
        Some(gone.path)
    }
}

impl Worker {
    /// A connection from the acceptor. Its first frame decides whether it stays.
    pub(super) fn take_stream(&mut self, handed: HandedStream) {
        let Ok((path, bytes)) = self.streams.add(handed) else { return };
        let socket = path.local.socket;
        self.take_frames(socket, &bytes, now());
        if self.demux.owner_of(&path).is_none() {
            self.close_stream(socket);
        }
    }

    pub(super) fn serve_streams(&mut self) {
        for Ready { token, readable, writable } in self.streams.epoll.ready() {
            if writable {
                self.streams.write(token);
            }
            if readable {
                let mut space = [0; READ_BYTES];
                match self.streams.read(token, &mut space) {
                    Some(count) => self.take_frames(token, &space[..count], now()),
                    None => self.close_stream(token),
                }
            }
        }
        self.is_dirty = true;
    }

    fn take_frames(&mut self, socket: u32, bytes: &[u8], at: Time) {
        let Some(stream) = self.streams.by_socket.get_mut(&socket) else { return };
        let path = stream.path;
        let mut deframer = std::mem::take(&mut stream.deframer);
        deframer.push(bytes);
        loop {
            match deframer.next_untrusted_frame() {
                Ok(Some(frame)) => self.receive(path, frame, at),
                Ok(None) => break,
                Err(_) => {
                    self.counts.unclaimed.malformed += 1;
                    return self.close_stream(socket);
                }
            }
        }
        if let Some(stream) = self.streams.by_socket.get_mut(&socket) {
            stream.deframer = deframer;
        }
    }

    /// Closes it and tells its transport, which may have other paths.
    fn close_stream(&mut self, socket: u32) {
        let Some(path) = self.streams.remove(socket) else { return };
        let Some(owner) = self.demux.owner_of(&path) else { return };
        let Some(room) = self.rooms.get_mut(&owner.room) else { return };
        let outputs = &mut self.outputs;
        match guarded(|| room.engine.path_lost(owner.transport, path, now(), outputs)) {
            Ok(()) => self.after_turn(owner.room),
            Err(message) => self.fail_room(owner.room, message),
        }
    }

    /// Closes what broke while it was sent to and, now and then, what no transport owns any more.
    pub(super) fn tidy_streams(&mut self) {
        for socket in std::mem::take(&mut self.streams.broken) {
            self.close_stream(socket);
        }
        let time_us = now().0;
        if self.streams.sweep_at_us().is_none_or(|at| time_us < at) {
            return;
        }
        self.streams.swept_us = time_us;
        let is_ownerless = |stream: &&Stream| self.demux.owner_of(&stream.path).is_none();
        let found = self.streams.by_socket.values().filter(is_ownerless).map(|stream| stream.path.local.socket);
        for socket in found.collect::<Vec<u32>>() {
            self.close_stream(socket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(queue: &StreamQueue) -> (usize, usize) {
        let video = queue.frames.iter().filter(|frame| frame.is_video).count();
        (queue.frames.len() - video, video)
    }

    #[test]
    fn a_slow_reader_loses_video_first_and_the_frame_under_way_is_finished() {
        let mut queue = StreamQueue::default();
        queue.push(&[1; 1_000], true);
        queue.advance(500);
        queue.push(&[2; 100], false);
        while queue.cut == 0 {
            queue.push(&[3; 1_000], true);
        }
        assert_eq!(waiting(&queue), (1, 1), "sound, and the video frame of which half has left");
        assert_eq!(queue.slices()[0].len(), 502);
        assert_eq!(queue.waiting_bytes, 502 + 102);
        queue.push(&[4; 1_000], true);
        assert_eq!(waiting(&queue), (1, 1), "no picture with a hole in it");
        queue.advance(604);
        queue.push(&[5; 1_000], true);
        assert_eq!(waiting(&queue), (0, 1), "everything left: video goes on");
        queue.push(&[6; 100], false);
        queue.cut_video();
        assert_eq!(waiting(&queue), (1, 0), "when told to, at once");
    }

    #[test]
    fn sound_is_cut_only_when_it_alone_is_too_much_and_the_oldest_goes() {
        let mut queue = StreamQueue::default();
        for number in 0..2_000_u32 {
            queue.push(&[&number.to_be_bytes()[..], &[0; 100]].concat(), false);
            if number == 1_000 {
                queue.push(&[3; 1_000], true);
            }
        }
        assert!(queue.cut > 0);
        assert!(queue.waiting_bytes <= MAX_WAITING_WITH_VIDEO);
        let newest = &queue.frames.back().unwrap().bytes[2..6];
        assert_eq!(newest, 1_999_u32.to_be_bytes());
        assert_eq!(waiting(&queue).1, 0);
    }

    #[test]
    fn what_is_written_in_pieces_leaves_in_order_and_whole() {
        let mut queue = StreamQueue::default();
        let mut expected = Vec::new();
        for size in 1..50_usize {
            queue.push(&vec![size as u8; size], size % 2 == 0);
            expected.extend_from_slice(&[0, size as u8]);
            expected.extend(vec![size as u8; size]);
        }
        let mut written = Vec::new();
        while !queue.is_empty() {
            let bytes: Vec<u8> = queue.slices().iter().flat_map(|slice| slice.to_vec()).take(7).collect();
            queue.advance(bytes.len());
            written.extend(bytes);
        }
        assert_eq!(written, expected);
        assert_eq!((queue.waiting_bytes, queue.cut), (0, 0));
    }
}
