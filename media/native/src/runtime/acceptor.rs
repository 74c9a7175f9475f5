//! ICE-TCP's front door: listens for every runtime thread, and hands a connection to the thread of its room once its
//! first frame says which that is. A thread of its own, so that a crowd of strangers costs no room anything.
//!
//! A connection's first frame must be a STUN request for a fragment of ours, within 5 s (DESIGN.md §2); whether it is
//! authentic the engine says. Connections are bounded per network and in all, before and after that.

use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use holdspace_wire::framing::{Deframer, LENGTH_BYTES};
use holdspace_wire::stun::{parse_untrusted_message, Message, MAX_MESSAGE_BYTES};

use super::command::ThreadCommand;
use super::Mailbox;
use crate::sys::poll::Poller;
use crate::sys::tcp;
use crate::sys::wake::Wake;

/// From the connection to its first whole frame, and from there to an authentic check.
pub const FIRST_FRAME_WITHIN: Duration = Duration::from_secs(5);
/// Everybody of a practice behind one address, two connections each.
const MAX_PER_NETWORK: usize = 64;
/// Connections that have not said whose they are.
const MAX_SILENT: usize = 256;
const MAX_SILENT_PER_NETWORK: usize = 16;
/// In all; less where the process may open few descriptors, of which pages and the database need most.
const MAX_STREAMS: usize = 4_096;
/// Accepting fails when descriptors run out: the queue stays readable, so wait instead of spinning.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(50);

/// Which runtime thread has the room of an ICE user fragment.
pub type FindThread = Box<dyn Fn(&str) -> Option<usize> + Send>;

/// A connection whose first bytes name a fragment of ours, with all that was read of it.
#[derive(Debug)]
pub struct HandedStream {
    pub stream: TcpStream,
    pub remote: SocketAddr,
    pub local_ip: IpAddr,
    pub bytes: Vec<u8>,
    pub permit: Permit,
}

#[derive(Default, Debug)]
struct Held {
    by_network: HashMap<IpAddr, usize>,
    all: usize,
}

#[derive(Default, Debug)]
struct Doors {
    held: Mutex<Held>,
    refused: AtomicU64,
}

impl Doors {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the connections; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    doors: Arc<Doors>,
    network: IpAddr,
}

impl Permit {
    fn take(doors: &Arc<Doors>, network: IpAddr, most: usize) -> Option<Permit> {
        let mut held = doors.held();
        let of_network = held.by_network.get(&network).copied().unwrap_or(0);
        if held.all >= most || of_network >= MAX_PER_NETWORK {
            return None;
        }
        held.all += 1;
        held.by_network.insert(network, of_network + 1);
        drop(held);
        Some(Permit { doors: doors.clone(), network })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.doors.held();
        held.all -= 1;
        if let Some(count) = held.by_network.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                held.by_network.remove(&self.network);
            }
        }
    }
}

/// What one subscriber of a provider holds: an IPv4 address, or the /64 of an IPv6 one.
pub fn network_of(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
    }
}

struct Newcomer {
    stream: TcpStream,
    remote: SocketAddr,
    local_ip: IpAddr,
    bytes: Vec<u8>,
    until: Instant,
    permit: Permit,
}

enum Step {
    Wait,
    HandOver(usize),
    Close,
}

impl Newcomer {
    fn read(&mut self, find: &FindThread) -> Step {
        let mut space = [0; LENGTH_BYTES + MAX_MESSAGE_BYTES];
        let left = space.len() - self.bytes.len();
        match self.stream.read(&mut space[..left]) {
            Ok(0) => Step::Close,
            Ok(count) => {
                self.bytes.extend_from_slice(&space[..count]);
                self.whose(find)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Step::Wait,
            Err(_) => Step::Close,
        }
    }

    fn whose(&self, find: &FindThread) -> Step {
        let mut deframer = Deframer::default();
        deframer.push(&self.bytes);
        match deframer.next_untrusted_frame() {
            Ok(None) if self.bytes.len() < LENGTH_BYTES + MAX_MESSAGE_BYTES => Step::Wait,
            Ok(Some(frame)) => match parse_untrusted_message(frame) {
                Ok(Message::BindingRequest(request)) => find(request.local_ufrag).map_or(Step::Close, Step::HandOver),
                _ => Step::Close,
            },
            _ => Step::Close,
        }
    }
}

struct Acceptor {
    listeners: Vec<TcpListener>,
    mailboxes: Vec<Mailbox>,
    find: FindThread,
    doors: Arc<Doors>,
    most: usize,
    silent: Vec<Newcomer>,
}

impl Acceptor {
    fn run(&mut self, wake: &Wake, is_stopped: &AtomicBool) {
        while !is_stopped.load(Ordering::Acquire) {
            let listeners = self.listeners.iter().map(AsRawFd::as_raw_fd);
            let newcomers = self.silent.iter().map(|one| one.stream.as_raw_fd());
            let mut poller = Poller::new(std::iter::once(wake.raw()).chain(listeners).chain(newcomers));
            let until = self.silent.iter().map(|one| one.until).min();
            let wait = until.map(|until| until.saturating_duration_since(Instant::now()).as_nanos() as u64);
            poller.wait(wait);
            let first = 1 + self.listeners.len();
            let readable: Vec<bool> = (0..self.silent.len()).map(|at| poller.is_readable(first + at)).collect();
            self.serve_newcomers(&readable);
            for at in 0..self.listeners.len() {
                if poller.is_readable(1 + at) {
                    self.accept(at);
                }
            }
        }
    }

    fn serve_newcomers(&mut self, readable: &[bool]) {
        let now = Instant::now();
        let mut kept = Vec::new();
        for (mut one, readable) in std::mem::take(&mut self.silent).into_iter().zip(readable) {
            match if *readable { one.read(&self.find) } else { Step::Wait } {
                Step::Wait if one.until > now => kept.push(one),
                Step::HandOver(thread) => self.hand_over(one, thread),
                Step::Wait | Step::Close => self.refuse(),
            }
        }
        self.silent = kept;
    }

    fn accept(&mut self, listener: usize) {
        loop {
            match tcp::accept(&self.listeners[listener]) {
                Ok(Some((stream, remote))) => self.let_in(stream, remote),
                Ok(None) => return,
                Err(_) => {
                    std::thread::sleep(PAUSE_AFTER_FAILURE);
                    return;
                }
            }
        }
    }

    fn let_in(&mut self, stream: TcpStream, remote: SocketAddr) {
        let network = network_of(remote.ip());
        let from_there = self.silent.iter().filter(|one| one.permit.network == network).count();
        if self.silent.len() >= MAX_SILENT || from_there >= MAX_SILENT_PER_NETWORK {
            return self.refuse();
        }
        let (Some(permit), Ok(local)) = (Permit::take(&self.doors, network, self.most), stream.local_addr()) else {
            return self.refuse();
        };
        let until = Instant::now() + FIRST_FRAME_WITHIN;
        self.silent.push(Newcomer { stream, remote, local_ip: local.ip(), bytes: Vec::new(), until, permit });
    }

    fn hand_over(&self, one: Newcomer, thread: usize) {
        let Newcomer { stream, remote, local_ip, bytes, permit, .. } = one;
        let command = ThreadCommand::TakeStream(HandedStream { stream, remote, local_ip, bytes, permit });
        if let Some(mailbox) = self.mailboxes.get(thread) {
            let _ = mailbox.send(command); // a thread that is gone lets the connection fall
        }
    }

    fn refuse(&self) {
        self.doors.refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// The running acceptor; dropping it ends its thread and closes its listeners.
pub(super) struct FrontDoor {
    wake: Arc<Wake>,
    is_stopped: Arc<AtomicBool>,
    doors: Arc<Doors>,
    joiner: Option<JoinHandle<()>>,
}

impl FrontDoor {
    pub(super) fn open(
        listeners: Vec<TcpListener>,
        mailboxes: Vec<Mailbox>,
        find: FindThread,
    ) -> std::io::Result<FrontDoor> {
        let wake = Arc::new(Wake::new()?);
        let is_stopped = Arc::new(AtomicBool::new(false));
        let doors = Arc::new(Doors::default());
        let most = MAX_STREAMS.min(tcp::descriptor_limit() / 4);
        let mut acceptor = Acceptor { listeners, mailboxes, find, doors: doors.clone(), most, silent: Vec::new() };
        let (bell, stopped) = (wake.clone(), is_stopped.clone());
        let joiner = std::thread::Builder::new()
            .name("holdspace-tcp".to_owned())
            .spawn(move || acceptor.run(&bell, &stopped))?;
        Ok(FrontDoor { wake, is_stopped, doors, joiner: Some(joiner) })
    }

    /// Connections there are, and how many were refused or left without saying whose they are.
    pub(super) fn counts(&self) -> (usize, u64) {
        (self.doors.held().all, self.doors.refused.load(Ordering::Relaxed))
    }
}

impl Drop for FrontDoor {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Release);
        self.wake.wake();
        if let Some(joiner) = self.joiner.take() {
            let _ = joiner.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_ipv4_address_or_an_ipv6_64() {
        let of = |text: &str| network_of(text.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }

    #[test]
    fn places_are_bounded_by_network_and_in_all_and_come_back() {
        let doors = Arc::new(Doors::default());
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let mut held: Vec<Permit> = std::iter::from_fn(|| Permit::take(&doors, one, 100)).collect();
        assert_eq!(held.len(), MAX_PER_NETWORK);
        held.pop();
        assert!(Permit::take(&doors, one, 100).is_some());
        let other: IpAddr = "192.0.2.2".parse().unwrap();
        assert!(Permit::take(&doors, other, held.len()).is_none());
        drop(held);
        assert!(doors.held().by_network.is_empty());
    }
}
